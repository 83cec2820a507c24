"""Every address of the management API; each route's name is its row in permissions.py."""

from django.urls import URLPattern, path

from naive_platform.api import audit, auth, billing, keys, kits, payments, sessions, usage, users, webhooks
from naive_platform.api.routes import Route


def _address(address: str, route: type[Route]) -> URLPattern:
    found: URLPattern = path(address, route.as_view(), name=route.name)
    return found


urlpatterns = [
    _address("account-kits", kits.Kits),
    _address("account-kits/<str:kit_id>", kits.Kit),
    _address("account-kits/<str:kit_id>/assign", kits.KitAssignMany),
    _address("account-kits/<str:kit_id>/effective", kits.KitEffective),
    _address("account-kits/<str:kit_id>/preview", kits.KitPreview),
    _address("account-kits/<str:kit_id>/users/<str:user_id>/assign", kits.KitAssign),
    _address("audit", audit.Audit),
    _address("audit/export", audit.AuditExport),
    _address("auth/register", auth.Register),
    _address("auth/login", auth.Login),
    _address("auth/select-company", auth.SelectCompany),
    _address("auth/me", auth.Me),
    _address("auth/keys", keys.Keys),
    _address("auth/keys/<str:key_id>", keys.Key),
    _address("auth/keys/<str:key_id>/rotate", keys.KeyRotate),
    _address("billing/packs", billing.Packs),
    _address("billing/topup", billing.TopUp),
    _address("billing/ledger", billing.Ledger),
    _address("billing/statement", billing.Statement),
    _address("payments/stripe", payments.StripeWebhook),
    _address("status", usage.Status),
    _address("usage", usage.Usage),
    _address("users", users.Users),
    _address("users/<str:user_id>", users.User),
    _address("users/<str:user_id>/sessions", sessions.Sessions),
    _address("users/<str:user_id>/sessions/<str:session_id>", sessions.Session),
    _address("users/<str:user_id>/usage", usage.UserUsage),
    _address("webhooks", webhooks.Webhooks),
    _address("webhooks/<str:webhook_id>", webhooks.Webhook),
    _address("webhooks/<str:webhook_id>/test", webhooks.WebhookTest),
    _address("webhooks/<str:webhook_id>/rotate-secret", webhooks.WebhookRotateSecret),
    _address("webhooks/<str:webhook_id>/deliveries", webhooks.WebhookDeliveries),
    _address("webhooks/<str:webhook_id>/deliveries/<str:delivery_id>/replay", webhooks.WebhookReplay),
]
