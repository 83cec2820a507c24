"""Looking on: an operator sees a company's dashboard as its owner would, and can do nothing there."""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.test import Client
from django.urls import URLResolver, reverse
from django.utils import timezone

from accounts import ids, webhooks
from accounts.models import AccountKit
from naive_platform.api import urls as api_urls
from naive_platform.dashboard import navigation, viewings
from naive_platform.dashboard import urls as dashboard_urls
from tests import factories
from tests import webhooks as hooks
from tests.factories import Cast
from tests.platform import desks


def look_on(staff: Client, member: Cast, reason: str = "They asked about a call") -> Any:
    return staff.post(reverse("operator-viewing", args=[member.company_id]), {"reason": reason})


def told(member: Cast) -> list[str]:
    found = desks.entries(company_id=member.company_id, actor_kind="operator")
    return [entry.action for entry in found]


def test_every_page_is_shown_with_its_banner_and_read_only() -> None:
    acme, staff = factories.acme(), desks.operator()

    assert look_on(staff, acme)["Location"] == "/dashboard/"
    for entry in navigation.ENTRIES:
        page = desks.text_of(staff, entry.url)
        assert f"You see {acme.company.name} as its owner would; read-only until" in page, entry.name
        assert acme.secret not in page
        assert staff.post(entry.url, {"name": "x"}).status_code in (403, 405), entry.name


def _addresses(member: Cast, patterns: Any, prefix: str = "/") -> Iterator[str]:
    """Every address below these patterns, of the member's own things."""
    known = {
        "kit_id": member.kit.id,
        "key_id": member.key.id,
        "user_id": member.tenant_user.id,
        "month": "2026-01",
    }
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from _addresses(member, pattern.url_patterns, prefix + str(pattern.pattern))
            continue
        route = str(pattern.pattern)
        for name in pattern.pattern.converters:
            route = re.sub(rf"<(?:\w+:)?{name}>", str(known.get(name, ids.uuid7())), route)
        yield prefix + route


def test_no_address_of_the_dashboard_or_the_api_changes_anything() -> None:
    acme, staff = factories.acme(), desks.operator()
    look_on(staff, acme)
    # Which company or colours a browser prefers is nobody's but its own.
    own = {reverse("dashboard-choose-company"), reverse("dashboard-prefer")}
    pages = [url for url in _addresses(acme, dashboard_urls.urlpatterns, "/dashboard/") if url not in own]
    assert len(pages) > 60

    for url in pages:
        assert staff.post(url, {"confirm": "1", "name": "x"}).status_code in (403, 405), url
    # There nobody's session is asked for: whoever signs in, and the payment provider.
    public = ("/v1/auth/", "/v1/payments/")
    routes = [url for url in _addresses(acme, api_urls.urlpatterns, "/v1/") if not url.startswith(public)]
    assert len(routes) > 20
    for url in routes:
        for verb in (staff.get, staff.post, staff.put, staff.patch, staff.delete):
            answer = verb(url, content_type="application/json")
            assert answer.status_code in (401, 403, 404, 405), (url, answer.status_code)

    assert told(acme) == ["company.viewed"]
    assert (
        desks.entries(
            company_id=acme.company_id, actor_id=staff.session["_auth_user_id"], actor_kind="person"
        )
        == []
    )


def test_nothing_is_changed_while_looking_on() -> None:
    acme, staff = factories.acme(), desks.operator()
    look_on(staff, acme)
    kits = AccountKit.objects.filter(company_id=acme.company_id)

    staff.post("/dashboard/kits/new/", {"name": "Theirs"})
    answer = staff.post("/v1/account-kits", {"name": "Theirs"}, content_type="application/json")

    assert answer.status_code == 403
    assert kits.count() == 1
    assert told(acme) == ["company.viewed"]


def test_beginning_and_end_are_in_the_companys_log() -> None:
    acme, staff, owner = factories.acme(), desks.operator(), Client()
    owner.force_login(acme.owner)
    look_on(staff, acme)

    assert staff.post(reverse("operator-viewing-end"))["Location"].endswith(f"{acme.company_id}/")
    assert staff.post(reverse("operator-viewing-end"))["Location"] == "/operator/"

    assert told(acme) == ["company.viewed", "company.viewing_ended"]
    [begun] = desks.entries(company_id=acme.company_id, action="company.viewed")
    assert begun.reason == "They asked about a call"
    assert "company.viewed" in owner.get("/dashboard/audit/").content.decode()
    # The operator belongs to no company.
    assert staff.get("/dashboard/").status_code == 403


def test_it_takes_a_reason_and_a_post() -> None:
    acme, staff, owner = factories.acme(), desks.operator(), Client()
    owner.force_login(acme.owner)

    assert look_on(staff, acme, reason=" ").status_code == 400
    staff.get(reverse("operator-viewing", args=[acme.company_id]), {"reason": "x"})
    assert look_on(owner, acme).status_code == 404
    assert told(acme) == []


def test_it_ends_by_itself() -> None:
    acme, staff = factories.acme(), desks.operator()
    look_on(staff, acme)
    session = staff.session
    past = timezone.now() - timedelta(seconds=1)
    session[viewings.SESSION] = {**session[viewings.SESSION], "until": past.isoformat()}
    session.save()

    assert staff.get("/dashboard/").status_code == 403
    ended = desks.entries(company_id=acme.company_id, action="company.viewing_ended")
    assert len(ended) == 1
    assert viewings.SESSION not in staff.session


def test_who_is_no_operator_any_more_looks_on_no_more() -> None:
    acme, staff = factories.acme(), desks.operator()
    look_on(staff, acme)
    person = staff.person  # type: ignore[attr-defined]
    person.is_staff = False
    person.save()

    assert staff.get("/dashboard/").status_code == 403


def test_looking_at_another_company_ends_the_first() -> None:
    acme, globex, staff = factories.acme(), factories.globex(), desks.operator()
    look_on(staff, acme)
    look_on(staff, globex)

    assert told(acme) == ["company.viewed", "company.viewing_ended"]
    page = desks.text_of(staff, "/dashboard/")
    assert globex.company.name in page
    assert f"You see {acme.company.name}" not in page


def test_sign_out_ends_it() -> None:
    acme, staff = factories.acme(), desks.operator()
    look_on(staff, acme)
    staff.logout()

    assert staff.get("/dashboard/").status_code == 302


def test_password_in_an_address_of_a_webhook_is_hidden() -> None:
    acme, staff, owner = factories.acme(), desks.operator(), Client()
    owner.force_login(acme.owner)
    issued = webhooks.create(
        company_id=acme.company_id, url=f"{hooks.URL}?key=hunter2", events=["credits.low"], now=timezone.now()
    )
    look_on(staff, acme)

    for page in ("/dashboard/webhooks/", f"/dashboard/webhooks/{issued.endpoint.id}/"):
        assert "hunter2" not in desks.text_of(staff, page)
        assert "hunter2" in desks.text_of(owner, page)


def test_what_users_wrote_is_hidden() -> None:
    found = viewings.Viewing(id=factories.acme().company.id, company_id=factories.acme().company.id, reason="x",
                             until=timezone.now())  # fmt: skip

    assert all(found.refusal(route, "get") for route in viewings.HIDDEN)
    assert found.refusal("kits", "patch") == viewings.READ_ONLY
    assert found.refusal("kits", "get") is None
