"""The admin in unfold's look: raw rows for staff alone, nothing to change where functions have the rules."""

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.test import Client

from accounts.raw_rows import RawRows
from naive_platform.operator import admin_site
from tests import factories
from tests.platform import desks

RAW = sorted(
    model._meta.label_lower for model, rows in admin.site._registry.items() if isinstance(rows, RawRows)
)


def test_staff_with_a_second_factor_alone_come_in() -> None:
    owner, half = Client(), desks.operator(has_second_factor=False)
    owner.force_login(factories.acme().owner)

    assert desks.operator().get("/admin/").status_code == 200
    assert owner.get("/admin/").status_code == 404
    assert half.get("/admin/").status_code == 403
    assert Client().get("/admin/").status_code == 302


def test_staff_without_the_right_see_no_rows_and_make_nobody_an_operator() -> None:
    acme, staff = factories.acme(), desks.operator()
    person = staff.person  # type: ignore[attr-defined]
    person.is_superuser = False
    person.save()
    page = f"/admin/accounts/user/{acme.owner.id}/change/"
    for url in ("/admin/accounts/company/", "/admin/billing/wallet/", page):
        assert staff.get(url).status_code == 403, url

    person.user_permissions.set(Permission.objects.filter(codename__in=("view_user", "change_user")))
    form = {
        "email": acme.owner.email,
        "name": "Grace",
        "is_active": "on",
        "is_staff": "on",
        "is_superuser": "on",
    }
    assert staff.post(page, form).status_code == 302
    acme.owner.refresh_from_db()
    assert (acme.owner.name, acme.owner.is_staff, acme.owner.is_superuser) == ("Grace", False, False)
    other = desks.operator().person  # type: ignore[attr-defined]
    for path in ("change", "password"):
        assert staff.post(f"/admin/accounts/user/{other.id}/{path}/", {"password1": "x"}).status_code == 403


def test_sidebar_leads_back_to_the_console() -> None:
    page = desks.text_of(desks.operator(), "/admin/")

    for link in (
        "/operator/",
        "/operator/reconciliation/",
        "/admin/accounts/company/",
        "/admin/billing/wallet/",
    ):
        assert f'href="{link}"' in page, link


def test_content_policy_loosens_what_unfold_needs_and_nothing_else() -> None:
    policy = desks.operator().get("/admin/")["Content-Security-Policy"]
    told = dict(part.strip().partition(" ")[::2] for part in policy.split(";"))

    assert told["script-src"] == "'self' 'unsafe-eval'"
    assert told["style-src"] == "'self' 'unsafe-inline'"
    assert told["default-src"] == told["form-action"] == "'self'"
    assert told["frame-ancestors"] == told["object-src"] == told["base-uri"] == "'none'"
    assert "unsafe" not in desks.operator().get("/operator/")["Content-Security-Policy"]
    assert {*told} == {*admin_site.POLICY}


@pytest.mark.parametrize("label", RAW)
def test_raw_rows_are_shown_and_never_changed(label: str) -> None:
    factories.acme()
    staff, url = desks.operator(), f"/admin/{label.replace('.', '/')}/"

    assert staff.get(url).status_code == 200
    assert staff.get(url, {"q": "01890000-0000-7000-8000-000000000000"}).status_code == 200
    assert staff.get(f"{url}add/").status_code == 403
    first = admin.site._registry[next(m for m in admin.site._registry if m._meta.label_lower == label)].model
    row = first._default_manager.order_by("pk").first()
    if row is not None:
        assert staff.get(f"{url}{row.pk}/change/").status_code == 200
        assert staff.post(f"{url}{row.pk}/change/", {}).status_code == 403
        assert staff.post(f"{url}{row.pk}/delete/", {"post": "yes"}).status_code == 403
