"""Pages about the company itself, below /dashboard/: keys, team, webhooks, audit log, settings."""

from django.urls import path

from naive_platform.dashboard import audit, keys, settings, team, webhooks

urlpatterns = [
    path("keys/", keys.listed, name="dashboard-keys"),
    path("keys/new/", keys.create, name="dashboard-keys-new"),
    path("keys/<str:key_id>/", keys.key, name="dashboard-keys-key"),
    path("keys/<str:key_id>/rotate/", keys.rotate, name="dashboard-keys-rotate"),
    path("keys/<str:key_id>/revoke/", keys.revoke, name="dashboard-keys-revoke"),
    path("team/", team.members, name="dashboard-team"),
    path("team/leave/", team.leave, name="dashboard-team-leave"),
    path("team/invite/", team.invite, name="dashboard-team-invite"),
    path("team/invitations/", team.invited, name="dashboard-team-invitations"),
    path("team/invitations/<str:invitation_id>/resend/", team.resend, name="dashboard-team-resend"),
    path("team/invitations/<str:invitation_id>/withdraw/", team.withdraw, name="dashboard-team-withdraw"),
    path("team/<str:user_id>/", team.member, name="dashboard-team-member"),
    path("team/<str:user_id>/remove/", team.remove, name="dashboard-team-remove"),
    path("webhooks/", webhooks.listed, name="dashboard-webhooks"),
    path("webhooks/new/", webhooks.create, name="dashboard-webhooks-new"),
    path("webhooks/<str:webhook_id>/", webhooks.webhook, name="dashboard-webhooks-webhook"),
    path("webhooks/<str:webhook_id>/edit/", webhooks.edit, name="dashboard-webhooks-edit"),
    path("webhooks/<str:webhook_id>/enable/", webhooks.enable, name="dashboard-webhooks-enable"),
    path("webhooks/<str:webhook_id>/rotate/", webhooks.rotate, name="dashboard-webhooks-rotate"),
    path("webhooks/<str:webhook_id>/test/", webhooks.send_test, name="dashboard-webhooks-test"),
    path("webhooks/<str:webhook_id>/delete/", webhooks.delete, name="dashboard-webhooks-delete"),
    path(
        "webhooks/<str:webhook_id>/deliveries/<str:delivery_id>/",
        webhooks.delivery,
        name="dashboard-webhooks-delivery",
    ),
    path("audit/", audit.listed, name="dashboard-audit"),
    path("audit/export/", audit.export, name="dashboard-audit-export"),
    path("audit/<str:entry_id>/", audit.entry, name="dashboard-audit-entry"),
    path("settings/", settings.settings, name="dashboard-settings"),
    path("settings/person/", settings.person, name="dashboard-settings-person"),
]
