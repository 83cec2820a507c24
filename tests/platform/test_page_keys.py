"""API keys on pages: whose are seen, what each shows, and a secret that is shown in one answer alone."""

import html
import re
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import companies, ids, keys, kits, people, tenants, tokens
from accounts.models import APIKey, AuditEntry, User
from billing import batches, caps, holds, settlement
from billing.caps import Cap, Used
from billing.holds import HoldRequest
from tests import factories
from tests.conftest import Run
from tests.factories import Cast

PAGE = "/dashboard/keys/"
SECRET = re.compile(r"nv_sk_live_[0-9A-Za-z]{38}")
FORM = {"name": "A server", "role": "member"}


def client_of(user: User, *, is_htmx: bool = False) -> Client:
    client = Client(headers={"HX-Request": "true"}) if is_htmx else Client()
    client.force_login(user)
    return client


def member(acme: Cast, role: str, name: str = "A member") -> User:
    user = people.create(
        email=f"{ids.uuid7().hex}@acme.example", password=factories.PASSWORD, name=name, now=timezone.now()
    )
    companies.add_member(company_id=acme.company_id, user_id=user.id, role=role, now=timezone.now())
    return user


def key_of(acme: Cast, **given: Any) -> APIKey:
    return factories.with_key(acme, **given).key


def text_of(answer: Any) -> str:
    return html.unescape(answer.content.decode())


def created(acme: Cast, **given: str) -> Any:
    return client_of(acme.owner).post(f"{PAGE}new/", FORM | given)


# The list.


def test_list_says_of_each_key_what_it_is_for() -> None:
    acme = factories.acme()
    kit = kits.create(company_id=acme.company_id, name="Free", now=timezone.now())
    user = tenants.create(
        company_id=acme.company_id, label="Jonas", account_kit_id=kit.id, now=timezone.now()
    )
    sealed = key_of(acme, name="Terminal", account_kit_id=kit.id, active_tenant_user_id=user.id)
    key_of(acme, name="Soon", expires_at=timezone.now() + timedelta(days=1), role="viewer")

    page = text_of(client_of(acme.owner).get(PAGE))

    assert "kit Free · user Jonas" in page
    assert f"…{sealed.last_4}" in page
    assert re.search(r'Soon.*?is-expiring">expiring<.*?viewer', page, re.DOTALL)
    assert re.search(r'Terminal.*?is-live">live<', page, re.DOTALL)
    assert "Owner of Acme" in page


def test_list_says_what_is_used_of_a_cap_in_this_period(run: Run) -> None:
    acme = factories.with_key(factories.acme(), name="Capped", cap_credits=Decimal("2.5"), cap_period="month")
    spend(run, acme)

    page = client_of(acme.owner).get(PAGE).content.decode()

    assert re.search(
        r'value="0\.025">0\.02<span class="fine">5</span></data> <span class="note">of 2\.5 a month<', page
    )


def test_last_months_use_is_not_this_months(run: Run) -> None:
    acme = factories.with_key(factories.acme(), cap_credits=Decimal("2.5"), cap_period="month")
    spend(run, acme)
    cap, company_id = Cap(acme.key.family_id, "month"), acme.company_id
    next_month = timezone.now() + timedelta(days=32)

    assert caps.used(caps={cap}, now=timezone.now(), company_id=company_id) == {cap: Used(25_000_000, 0)}
    assert caps.used(caps={cap}, now=next_month, company_id=company_id) == {cap: Used(0, 0)}
    assert caps.used(caps={cap}, now=timezone.now(), company_id=factories.globex().company_id) == {
        cap: Used(0, 0)
    }


async def place(request: HoldRequest) -> None:
    await batches.start()
    await holds.place(request)
    await batches.stop()


def spend(run: Run, acme: Cast) -> None:
    """A call of 0.01 USD, which is 0.025 credits, that counts into the key's monthly cap."""
    start = keys.cap_period_start("month", timezone.now())
    request = HoldRequest(
        hold_id=ids.uuid7(),
        company_id=acme.company_id,
        key_id=acme.key.id,
        kit_id=acme.kit.id,
        tenant_user_id=acme.tenant_user.id,
        wanted_nanocredits=1_000_000_000,
        least_nanocredits=0,
        markup=Decimal("1.25"),
        credit_value_usd=Decimal("0.50"),
        ttl_s=900,
        details=b'{"model": "acme/model"}',
        caps=(holds.Cap("key", acme.key.family_id, "month", start, 2_500_000_000),),
    )
    run(place(request))
    hold = settlement.HoldKey(
        company_id=request.company_id,
        hold_id=request.hold_id,
        markup=request.markup,
        credit_value_usd=request.credit_value_usd,
    )
    evidence = settlement.Evidence(
        source="stream",
        cost_usd=Decimal("0.01"),
        generation_id=f"gen-{request.hold_id}",
        details=b'{"model": "acme/model"}',
    )
    assert settlement.settle_now(hold=hold, evidence=evidence).outcome == "posted"


def test_filters_live_in_the_url() -> None:
    acme = factories.acme()
    gone = key_of(acme, name="Gone")
    keys.revoke(company_id=acme.company_id, key_id=gone.id, now=timezone.now())
    key_of(acme, name="Of the kit", account_kit_id=acme.kit.id)
    client = client_of(acme.owner)

    assert "Gone" not in text_of(client.get(PAGE))
    revoked = text_of(client.get(f"{PAGE}?state=revoked"))
    assert "Gone" in revoked
    assert "Of the kit" not in revoked
    assert "Gone" in text_of(client.get(f"{PAGE}?state=all"))
    of_kit = text_of(client.get(f"{PAGE}?kit={acme.kit.id}"))
    assert "Of the kit" in of_kit
    assert f"…{acme.key.last_4}" not in of_kit


@pytest.mark.parametrize("query", ["kit=nonsense", "user=1", "cursor=bm90aGluZw"])
def test_what_cannot_be_read_of_the_url_says_what_to_do(query: str) -> None:
    answer = client_of(factories.acme().owner).get(f"{PAGE}?{query}")

    assert answer.status_code == 400
    assert 'role="alert"' in answer.content.decode()


def test_list_goes_on_by_cursor() -> None:
    acme = factories.acme()
    for number in range(50):
        key_of(acme, name=f"Number {number:02}")
    client = client_of(acme.owner)

    first = client.get(PAGE).content.decode()
    following = re.search(r'rel="next" href="([^"]+)"', first)
    assert following
    second = client.get(PAGE + html.unescape(following.group(1))).content.decode()

    assert first.count("Number ") == 50
    assert "Number " not in second
    assert "Default" in second


def test_member_sees_their_own_and_an_admin_all() -> None:
    acme = factories.acme()
    mine = member(acme, "member")
    key_of(acme, name="Mine", created_by_id=mine.id)

    theirs = text_of(client_of(mine).get(PAGE))
    assert "Mine" in theirs
    assert "Default" not in theirs
    assert "You see the keys that you made." in theirs
    assert "Mine" in text_of(client_of(member(acme, "admin")).get(PAGE))


def test_number_of_queries_does_not_grow() -> None:
    acme = factories.acme()
    client = client_of(acme.owner)
    words: dict[str, Any] = {"cap_credits": Decimal(1), "account_kit_id": acme.kit.id}
    key_of(acme, **words, cap_period="day", active_tenant_user_id=acme.tenant_user.id)
    with CaptureQueriesContext(connection) as few:
        client.get(PAGE)
    for period in ("day", "week", "month", "total"):
        key_of(acme, **words, cap_period=period, created_by_id=member(acme, "admin").id)

    with CaptureQueriesContext(connection) as many:
        client.get(PAGE)

    assert len(many) == len(few) <= 12


def test_names_are_never_markup() -> None:
    acme = factories.acme()
    key = key_of(acme, name="<script>alert(1)</script>")
    client = client_of(acme.owner)

    for page in (PAGE, f"{PAGE}{key.id}/", f"{PAGE}{key.id}/revoke/", f"{PAGE}{key.id}/rotate/"):
        assert "<script>alert" not in client.get(page).content.decode()


# Making one.


def test_secret_is_in_one_answer_and_nowhere_else() -> None:
    acme = factories.acme()
    client = client_of(acme.owner)

    answer = client.post(f"{PAGE}new/", FORM)

    page = answer.content.decode()
    (secret,) = set(SECRET.findall(page))
    key = APIKey.objects.get(company=acme.company, name="A server")
    assert answer.status_code == 200
    assert "no-store" in answer["Cache-Control"]
    assert tokens.digest(secret) == bytes(key.digest)
    assert f"Authorization: Bearer {secret}" in text_of(answer)
    assert f'data-copy="{secret}"' in page
    assert not SECRET.search(
        client.get(PAGE).content.decode() + client.get(f"{PAGE}{key.id}/").content.decode()
    )
    stored = Session.objects.get(session_key=client.session.session_key).get_decoded()
    assert secret not in f"{stored}{client.cookies}{answer.headers}"


def test_form_sent_a_second_time_makes_no_second_key() -> None:
    acme = factories.acme()
    client = client_of(acme.owner)
    number = re.search(r'name="submission" value="(\w+)"', client.get(f"{PAGE}new/").content.decode())
    assert number
    form = FORM | {"submission": number.group(1)}
    client.post(f"{PAGE}new/", form)

    again = client.post(f"{PAGE}new/", form, follow=True)

    assert "sent already" in text_of(again)
    assert not SECRET.search(text_of(again))
    assert APIKey.objects.filter(company=acme.company, name="A server").count() == 1
    # What says something else is another form.
    assert SECRET.search(text_of(client.post(f"{PAGE}new/", form | {"name": "Another"})))


def test_key_has_what_the_form_says() -> None:
    acme = factories.acme()
    ends_at = timezone.now().replace(second=0, microsecond=0) + timedelta(days=3)

    answer = created(
        acme,
        role="viewer",
        account_kit_id=str(acme.kit.id),
        active_tenant_user_id="default",
        expires_at=f"{ends_at:%Y-%m-%dT%H:%M}",
        cap_credits="12.5",
        cap_period="week",
        requests_per_minute="60",
    )

    assert answer.status_code == 200, re.findall(r'class="error".*', text_of(answer))
    key = APIKey.objects.get(company=acme.company, name="A server")
    assert (key.role, key.account_kit_id, key.active_tenant_user_id) == (
        "viewer",
        acme.kit.id,
        acme.tenant_user.id,
    )
    assert (key.expires_at, key.cap_credits, key.cap_period, key.requests_per_minute) == (
        ends_at, Decimal("12.5"), "week", 60,
    )  # fmt: skip
    assert key.created_by_id == acme.owner.id
    entry = AuditEntry.objects.get(target_id=str(key.id))
    assert (entry.action, entry.actor_label) == ("api_key.created", acme.owner.email)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"name": ""}, "Give the key a name."),
        ({"name": "x" * 201}, "at most 200 characters"),
        ({"role": "boss"}, "not one of the available choices"),
        ({"cap_credits": "5"}, "Must be one of day, week, month, total."),
        ({"cap_period": "day"}, "Is needed beside cap_period."),
        ({"cap_credits": "-1", "cap_period": "day"}, "greater than or equal to 0"),
        ({"expires_at": "2020-01-01T00:00"}, "Must lie in the future."),
        ({"expires_at": "soon"}, "Write a day and a time"),
        ({"requests_per_minute": "0"}, "greater than or equal to 1"),
        ({"active_tenant_user_id": "nobody"}, "Is no user of this company"),
        ({"account_kit_id": "0197aaaa-0000-7000-8000-000000000000"}, "not one of the available choices"),
    ],
)
def test_what_is_wrong_stands_at_its_field(given: dict[str, str], says: str) -> None:
    acme = factories.acme()

    answer = created(acme, **given)

    assert answer.status_code == 400
    assert says in text_of(answer)
    assert 'class="error"' in answer.content.decode()
    assert not SECRET.search(answer.content.decode())


def test_role_is_at_most_ones_own() -> None:
    acme = factories.acme()
    client = client_of(member(acme, "member"))

    form = client.get(f"{PAGE}new/").content.decode()
    assert 'value="viewer"' in form
    assert 'value="admin"' not in form
    assert client.post(f"{PAGE}new/", FORM | {"role": "admin"}).status_code == 400
    assert not APIKey.objects.filter(company=acme.company, name="A server").exists()


def test_key_of_globexes_user_or_kit_is_not_made() -> None:
    acme, globex = factories.acme(), factories.globex()

    assert created(acme, active_tenant_user_id=str(globex.tenant_user.id)).status_code == 400
    assert created(acme, account_kit_id=str(globex.kit.id)).status_code == 400


# Changing, rotating, revoking.


def test_key_is_changed_and_says_so() -> None:
    acme = factories.acme()
    key = key_of(acme, name="Before", cap_credits=Decimal(5), cap_period="day")
    client = client_of(acme.owner)
    form = {"name": "After", "cap_credits": "", "cap_period": "", "requests_per_minute": "10"}

    answer = client.post(f"{PAGE}{key.id}/", form, follow=True)

    key.refresh_from_db()
    assert (key.name, key.cap_credits, key.cap_period, key.requests_per_minute) == ("After", None, "", 10)
    assert "Key After saved." in text_of(answer)


def test_end_that_is_not_touched_stays_to_the_second() -> None:
    acme = factories.acme()
    ends_at = timezone.now() + timedelta(days=2)
    key = key_of(acme, name="Before", expires_at=ends_at)
    page = client_of(acme.owner).get(f"{PAGE}{key.id}/").content.decode()
    shown = re.search(r'name="expires_at" value="([^"]+)"', page)
    assert shown

    client_of(acme.owner).post(f"{PAGE}{key.id}/", {"name": "After", "expires_at": shown.group(1)})

    key.refresh_from_db()
    assert (key.name, key.expires_at) == ("After", ends_at)


def test_rotation_shows_the_successors_secret_and_when_the_old_one_ends() -> None:
    acme = factories.acme()
    key = key_of(acme, name="Turning")

    page = text_of(client_of(acme.owner).post(f"{PAGE}{key.id}/rotate/", {"overlap_hours": "2"}))

    key.refresh_from_db()
    successor = APIKey.objects.get(rotated_from=key)
    (secret,) = set(SECRET.findall(page))
    assert tokens.digest(secret) == bytes(successor.digest)
    assert key.expires_at is not None
    assert timedelta(minutes=119) < key.expires_at - timezone.now() <= timedelta(hours=2)
    assert f"…{key.last_4}" in page
    after = text_of(client_of(acme.owner).get(f"{PAGE}{key.id}/"))
    assert f"…{successor.last_4}" in after
    assert f"{key.id}/rotate/" not in after


@pytest.mark.parametrize("hours", ["-1", "721", "", "soon"])
def test_overlap_has_its_bounds(hours: str) -> None:
    acme = factories.acme()

    answer = client_of(acme.owner).post(f"{PAGE}{acme.key.id}/rotate/", {"overlap_hours": hours})

    assert answer.status_code == 400
    assert not APIKey.objects.filter(rotated_from=acme.key).exists()


@pytest.mark.parametrize("is_htmx", [False, True])
def test_revoking_names_what_follows_and_ends_the_key(is_htmx: bool) -> None:
    acme = factories.acme()
    APIKey.objects.filter(id=acme.key.id).update(last_used_at=timezone.now())
    client = client_of(acme.owner, is_htmx=is_htmx)

    asked = text_of(client.get(f"{PAGE}{acme.key.id}/revoke/"))
    answer = client.post(f"{PAGE}{acme.key.id}/revoke/")

    assert "It was last used on" in asked
    assert "cannot be undone" in asked
    assert (answer.status_code, answer.headers.get("HX-Redirect")) == (
        (204, PAGE) if is_htmx else (302, None)
    )
    acme.key.refresh_from_db()
    assert acme.key.revoked_at is not None


def test_personal_key_of_another_is_revoked_and_never_rotated() -> None:
    acme = factories.acme()
    other = member(acme, "member")
    key = key_of(acme, created_by_id=other.id, is_personal=True)
    client = client_of(acme.owner)

    answer = client.post(f"{PAGE}{key.id}/rotate/", {"overlap_hours": "1"})

    assert answer.status_code == 403
    assert not SECRET.search(answer.content.decode())
    assert client.post(f"{PAGE}{key.id}/revoke/").status_code == 302


# Who may.

ACTS: tuple[tuple[str, dict[str, str]], ...] = (
    ("", {"name": "Taken"}),
    ("rotate/", {"overlap_hours": "1"}),
    ("revoke/", {}),
)


@pytest.mark.parametrize(("act", "form"), ACTS)
def test_globexes_key_is_not_found(act: str, form: dict[str, str]) -> None:
    globex, client = factories.globex(), client_of(factories.acme().owner)

    for key_id in (globex.key.id, "nonsense", ids.uuid7()):
        assert client.get(f"{PAGE}{key_id}/{act}").status_code == 404
        assert client.post(f"{PAGE}{key_id}/{act}", form).status_code == 404
    globex.key.refresh_from_db()
    assert (globex.key.name, globex.key.revoked_at) == ("Default", None)


@pytest.mark.parametrize(("act", "form"), ACTS)
def test_viewer_changes_nothing_and_a_member_only_their_own(act: str, form: dict[str, str]) -> None:
    acme = factories.acme()
    viewer, other = member(acme, "viewer"), member(acme, "member")
    own = key_of(acme, created_by_id=viewer.id, role="viewer", name="Of a viewer")

    assert client_of(viewer).post(f"{PAGE}{own.id}/{act}", form).status_code == 403
    assert client_of(other).post(f"{PAGE}{own.id}/{act}", form).status_code == 404
    own.refresh_from_db()
    assert (own.name, own.revoked_at) == ("Of a viewer", None)


def test_viewer_is_told_why_they_make_no_key() -> None:
    client = client_of(member(factories.acme(), "viewer"))

    assert "Create a key" not in text_of(client.get(PAGE))
    for answer in (client.get(f"{PAGE}new/"), client.post(f"{PAGE}new/", FORM)):
        assert answer.status_code == 403
        assert "takes the role member" in text_of(answer)


def test_admin_does_not_change_an_owners_key_and_may_end_it() -> None:
    acme = factories.acme()
    client = client_of(member(acme, "admin"))

    assert client.post(f"{PAGE}{acme.key.id}/rotate/", {"overlap_hours": "1"}).status_code == 403
    assert "Your role here is admin" in text_of(client.post(f"{PAGE}{acme.key.id}/", {"name": "Taken"}))
    assert client.post(f"{PAGE}{acme.key.id}/revoke/").status_code == 302


def test_suspended_company_changes_nothing() -> None:
    acme = factories.acme()
    companies.suspend(company_id=acme.company_id)
    client = client_of(acme.owner)

    assert client.get(PAGE).status_code == 200
    assert client.post(f"{PAGE}{acme.key.id}/revoke/").status_code == 403
    assert created(acme).status_code == 403


def test_stranger_is_sent_to_sign_in() -> None:
    assert Client().get(PAGE).status_code == 302
