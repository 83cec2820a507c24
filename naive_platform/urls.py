"""Every address of the control plane; those of the data plane are in llm/api.py."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from billing.payments import fake
from naive_platform import fake_checkout
from naive_platform.dashboard import invitations
from naive_platform.openapi import pages

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="dashboard-overview")),
    path("accounts/", include("naive_platform.signing_in.urls")),
    path("invitations/<str:token>/", invitations.invitation, name="invitation"),
    path("dashboard/", include("naive_platform.dashboard.urls")),
    path("operator/", include("naive_platform.operator.urls")),
    path("admin/", admin.site.urls),
    path("v1/openapi.json", pages.openapi, name="openapi"),
    path("v1/", include("naive_platform.api.urls")),
    path("docs", pages.docs, name="docs"),
    path("llms.txt", pages.llms, name="llms"),
    path(f"{fake.PAGE.lstrip('/')}<str:session_id>", fake_checkout.checkout, name="fake-checkout"),
    # Browsers ask for it on pages that name no icon, such as the admin's.
    path("favicon.ico", RedirectView.as_view(url="/static/favicon.svg")),
]
