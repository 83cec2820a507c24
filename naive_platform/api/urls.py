"""Every address of the management API."""

from django.urls import path

from naive_platform.api import billing, payments, usage

urlpatterns = [
    path("billing/packs", billing.Packs.as_view()),
    path("billing/topup", billing.TopUp.as_view()),
    path("billing/ledger", billing.Ledger.as_view()),
    path("billing/statement", billing.Statement.as_view()),
    path("payments/stripe", payments.StripeWebhook.as_view()),
    path("status", usage.Status.as_view()),
    path("usage", usage.Usage.as_view()),
    path("users/<str:user_id>/usage", usage.UserUsage.as_view()),
]
