"""Pages of account kits and of the tenant users who have them."""

from django.urls import path

from naive_platform.dashboard import kit_editor, kit_users, kits, prompts, user_page, users

urlpatterns = [
    path("kits/", kits.listed, name="dashboard-kits"),
    path("kits/new/", kits.new, name="dashboard-kits-new"),
    path("kits/names/", kits.names, name="dashboard-kits-names"),
    path("kits/<uuid:kit_id>/", kit_editor.primitives, name="dashboard-kits-kit"),
    path("kits/<uuid:kit_id>/apply/", kit_editor.apply, name="dashboard-kits-apply"),
    path("kits/<uuid:kit_id>/matches/", kit_editor.matches, name="dashboard-kits-matches"),
    path("kits/<uuid:kit_id>/delete/", kits.delete, name="dashboard-kits-delete"),
    path("kits/<uuid:kit_id>/users/", kit_users.tab, name="dashboard-kits-users"),
    path("kits/<uuid:kit_id>/prompts/", prompts.storage, name="dashboard-kit-prompts"),
    path("kits/<uuid:kit_id>/<slug:tab>/", kit_editor.edit, name="dashboard-kits-tab"),
    path("users/", users.listed, name="dashboard-users"),
    path("users.csv", users.sheet, name="dashboard-users-csv"),
    path("users/new/", users.new, name="dashboard-users-new"),
    path("users/assign/", kit_users.assign, name="dashboard-users-assign"),
    path("users/suspend/", users.suspend, name="dashboard-users-suspend-many"),
    path("users/<uuid:user_id>/", user_page.user, name="dashboard-users-user"),
    path("users/<uuid:user_id>/edit/", user_page.edit, name="dashboard-users-edit"),
    path("users/<uuid:user_id>/suspend/", user_page.suspend, name="dashboard-users-suspend"),
    path("users/<uuid:user_id>/reactivate/", user_page.reactivate, name="dashboard-users-reactivate"),
    path("users/<uuid:user_id>/delete/", user_page.delete, name="dashboard-users-delete"),
    path(
        "users/<uuid:user_id>/sessions/<uuid:session_id>/end/",
        user_page.end_session,
        name="dashboard-users-session-end",
    ),
]
