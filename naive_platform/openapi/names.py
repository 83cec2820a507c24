"""What the document calls each route of the management API: its noun, and an operation for every verb."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Names:
    """The tag a route stands under, and its operationId by verb; clients are generated from these: they stay."""

    tag: str
    operations: Mapping[str, str]


# Shown in this order.
TAGS = {
    "Chat": "The typed llm primitive: completions, models, estimates and what each call cost.",
    "Users": "Tenant users: your own end users, for whom calls are made.",
    "Account kits": "Policies: what the users of a kit may do, and how much of it.",
    "Keys": "API keys and what each opens.",
    "Sign-in": "Registering, signing in, and who one is.",
    "Usage": "What was called and charged.",
    "Billing": "Credits: balance, packs, ledger and statements.",
    "Webhooks": "Where your servers are told what happened.",
    "Audit": "Who changed what, and from where.",
    "Proxy": "Upstream's own API at our address: change base URL and key, keep the client.",
    "Platform": "Health, figures, this document, and what other services tell the platform.",
}

# By the route's name in permissions.TABLE.
NAMES: Mapping[str, Names] = {
    "register": Names("Sign-in", {"post": "register"}),
    "login": Names("Sign-in", {"post": "login"}),
    "select-company": Names("Sign-in", {"post": "selectCompany"}),
    "me": Names("Sign-in", {"get": "getMe"}),
    "keys": Names("Keys", {"get": "listKeys", "post": "createKey"}),
    "key": Names("Keys", {"get": "getKey", "patch": "updateKey", "delete": "revokeKey"}),
    "key-rotate": Names("Keys", {"post": "rotateKey"}),
    "users": Names("Users", {"get": "listUsers", "post": "createUser"}),
    "user": Names("Users", {"get": "getUser", "patch": "updateUser", "delete": "suspendUser"}),
    "user-usage": Names("Usage", {"get": "getUserUsage"}),
    "user-sessions": Names("Users", {"get": "listUserSessions", "post": "createUserSession"}),
    "user-session": Names("Users", {"delete": "revokeUserSession"}),
    "account-kits": Names("Account kits", {"get": "listAccountKits", "post": "createAccountKit"}),
    "account-kit": Names(
        "Account kits",
        {"get": "getAccountKit", "patch": "updateAccountKit", "delete": "deleteAccountKit"},
    ),
    "account-kit-effective": Names("Account kits", {"get": "getEffectiveAccountKit"}),
    "account-kit-preview": Names("Account kits", {"post": "previewAccountKit"}),
    "account-kit-assign": Names("Account kits", {"post": "assignAccountKit"}),
    "account-kit-assign-many": Names("Account kits", {"post": "assignAccountKitToMany"}),
    "status": Names("Usage", {"get": "getStatus"}),
    "usage": Names("Usage", {"get": "getUsage"}),
    "packs": Names("Billing", {"get": "listPacks"}),
    "topup": Names("Billing", {"post": "createTopUp"}),
    "ledger": Names("Billing", {"get": "listLedgerEntries"}),
    "statement": Names("Billing", {"get": "getStatement"}),
    "audit": Names("Audit", {"get": "listAuditEntries"}),
    "audit-export": Names("Audit", {"get": "exportAuditEntries"}),
    "webhooks": Names("Webhooks", {"get": "listWebhooks", "post": "createWebhook"}),
    "webhook": Names("Webhooks", {"get": "getWebhook", "patch": "updateWebhook", "delete": "deleteWebhook"}),
    "webhook-test": Names("Webhooks", {"post": "testWebhook"}),
    "webhook-rotate-secret": Names("Webhooks", {"post": "rotateWebhookSecret"}),
    "webhook-deliveries": Names("Webhooks", {"get": "listWebhookDeliveries"}),
    "webhook-replay": Names("Webhooks", {"post": "replayWebhookDelivery"}),
    "stripe-webhook": Names("Platform", {"post": "receiveStripeEvent"}),
}
