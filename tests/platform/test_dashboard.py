"""The dashboard's first page and the way to it."""

import json
import re
import shlex
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson
import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import companies, ids, kits, people, tenants
from accounts.models import AccountKit, TenantUser, User
from billing import batches, holds, ledger, money, settlement
from billing.holds import HoldRequest
from naive_platform.dashboard import overview
from tests import factories
from tests.conftest import Run
from tests.factories import Cast

PAGE = "/dashboard/"


def hold_request(
    member: Cast, *, model: str, held: str, user: TenantUser | None, hold_id: UUID
) -> HoldRequest:
    return HoldRequest(
        hold_id=hold_id,
        company_id=member.company_id,
        key_id=member.key.id,
        kit_id=member.kit.id,
        tenant_user_id=(user or member.tenant_user).id,
        wanted_nanocredits=money.nanocredits_from_credits(Decimal(held)),
        least_nanocredits=0,
        markup=Decimal("1.25"),
        credit_value_usd=Decimal("0.50"),
        ttl_s=900,
        details=orjson.dumps({"model": model, "streamed": True}),
    )


async def place(request: HoldRequest) -> None:
    await batches.start()
    await holds.place(request)
    await batches.stop()


def call(
    run: Run,
    member: Cast,
    *,
    model: str = "acme/model",
    cost_usd: str | None = "0",
    user: TenantUser | None = None,
    held: str = "1",
    hold_id: UUID | None = None,
    source: settlement.Source = "stream",
) -> None:
    """One call through the books: charged with `cost_usd`, or still open where that is None."""
    request = hold_request(member, model=model, held=held, user=user, hold_id=hold_id or ids.uuid7())
    run(place(request))
    if cost_usd is None:
        return
    hold = settlement.HoldKey(
        company_id=request.company_id,
        hold_id=request.hold_id,
        markup=request.markup,
        credit_value_usd=request.credit_value_usd,
    )
    evidence = settlement.Evidence(
        source=source,
        cost_usd=Decimal(cost_usd),
        generation_id=f"gen-{request.hold_id}",
        details=orjson.dumps({"model": model, "tokens_prompt": 1234, "tokens_completion": 42}),
    )
    assert settlement.settle_now(hold=hold, evidence=evidence).outcome == "posted"


def person(*, is_staff: bool = False) -> User:
    email = f"{ids.uuid7().hex}@nowhere.example"
    user = people.create(email=email, password=factories.PASSWORD, name="A person", now=timezone.now())
    user.is_staff = is_staff
    user.save()
    return user


def begun(ago: timedelta) -> UUID:
    """The id of a hold that was placed so long ago."""
    milliseconds = int((timezone.now() - ago).timestamp() * 1000)
    return UUID(int=milliseconds << 80 | ids.uuid7().int & (1 << 80) - 1)


def page_of(user: User) -> str:
    client = Client()
    client.force_login(user)
    answer = client.get(PAGE)
    assert answer.status_code == 200
    return answer.content.decode()


def figure(page: str, name: str) -> str:
    """The exact amount under a name, as the page's <data> element has it."""
    found = re.search(rf'<dt>{name}</dt>\s*<dd><data class="amount" value="([^"]+)"', page)
    assert found, f"no figure {name}"
    return found.group(1)


def sign_in(client: Client, member: Cast, *, password: str = factories.PASSWORD, **query: str) -> Any:
    form = {"username": member.owner.email, "password": password, **query}
    return client.post("/login/", form)


# Signing in


def test_signing_in_leads_to_the_dashboard(client: Client) -> None:
    acme = factories.acme()

    answer = sign_in(client, acme)

    assert answer["Location"] == PAGE
    assert client.get(PAGE).status_code == 200


def test_wrong_password_is_refused_with_a_message(client: Client) -> None:
    answer = sign_in(client, factories.acme(), password="wrong horse")

    page = answer.content.decode()
    assert answer.status_code == 200
    assert 'role="alert"' in page
    assert "do not open an account" in page
    assert client.get(PAGE).status_code == 302


def test_unknown_address_reads_like_a_wrong_password(client: Client) -> None:
    acme = factories.acme()
    known = sign_in(client, acme, password="wrong").content.decode()
    unknown = client.post(
        "/login/", {"username": "nobody@acme.example", "password": "wrong"}
    ).content.decode()

    alert = re.compile(r'role="alert">.*?</div>', re.DOTALL)
    assert alert.search(known).group() == alert.search(unknown).group()  # type: ignore[union-attr]


def test_empty_form_is_told_what_is_missing(client: Client) -> None:
    page = client.post("/login/", {}).content.decode()

    assert "Enter your e-mail address." in page
    assert "Enter your password." in page


def test_anonymous_person_is_sent_to_sign_in_and_back(client: Client) -> None:
    answer = client.get(PAGE)
    assert answer["Location"] == f"/login/?next={PAGE}"

    sent_on = sign_in(client, factories.acme(), next="/admin/login/?next=/admin/")
    assert sent_on["Location"] == "/admin/login/?next=/admin/"


@pytest.mark.parametrize(
    "elsewhere",
    ["//evil.example", "https://evil.example/", "https:evil.example", "/\\evil.example", "///evil.example",
     "javascript:alert(1)", "\\\\evil.example", "/login/", "/logout/"],
)  # fmt: skip
def test_next_that_leads_elsewhere_is_not_followed(client: Client, elsewhere: str) -> None:
    assert sign_in(client, factories.acme(), next=elsewhere)["Location"] == PAGE
    # And for who is in already.
    assert client.get("/login/", {"next": elsewhere})["Location"] == PAGE


def test_signing_out_takes_a_post(client: Client) -> None:
    client.force_login(factories.acme().owner)

    assert client.get("/logout/").status_code == 405
    assert client.get(PAGE).status_code == 200
    assert client.post("/logout/")["Location"] == "/login/"
    assert client.get(PAGE).status_code == 302


def test_root_leads_to_the_dashboard(client: Client) -> None:
    assert client.get("/")["Location"] == PAGE


# What the page shows


def test_page_shows_balance_and_held_as_two_numbers(run: Run) -> None:
    acme = factories.acme(credits=Decimal("20"))
    call(run, acme, model="openai/gpt-4o-mini", cost_usd="0.00012104999999999999")
    call(run, acme, model="openai/gpt-4o-mini", cost_usd=None, held="2.5")

    page = page_of(acme.owner)

    assert figure(page, "Balance") == "19.999697375"
    assert figure(page, "Held") == "2.5"
    assert figure(page, "Available") == "17.499697375"


def test_page_shows_what_a_call_cost_to_the_last_digit(run: Run) -> None:
    acme = factories.acme()
    call(run, acme, model="openai/gpt-4o-mini", cost_usd="0.00012104999999999999")

    page = page_of(acme.owner)

    assert "$0.00012104999999999999" in page
    assert 'value="0.000302625"' in page
    assert "1,234 → 42" in page
    assert companies.DEFAULT_USER_LABEL in page
    assert figure(page, "Last 24 hours") == figure(page, "Last 30 days") == "0.000302625"
    assert "1 call<" in page


def test_cost_above_the_hold_is_shown_as_overrun(run: Run) -> None:
    acme = factories.acme(credits=Decimal("0.1"))
    call(run, acme, model="openai/gpt-4o", cost_usd="0.1", held="0.1")

    page = page_of(acme.owner)

    assert 'is-parked">overrun<' in page
    assert figure(page, "Balance") == "-0.15"
    assert "No credits are available." in page


def test_call_that_costs_all_it_held_is_no_overrun(run: Run) -> None:
    acme = factories.acme()
    call(run, acme, cost_usd="0.1", held="0.25")

    assert 'is-parked">overrun<' not in page_of(acme.owner)


def test_charge_by_estimate_is_shown_as_one(run: Run) -> None:
    acme = factories.acme()
    call(run, acme, cost_usd="0.001", source="estimate")

    assert 'is-parked">estimate<' in page_of(acme.owner)


def test_spend_counts_the_calls_of_its_window(run: Run) -> None:
    acme = factories.acme()
    call(run, acme, cost_usd="0.001")
    call(run, acme, cost_usd="0.002", hold_id=begun(timedelta(hours=25)))
    call(run, acme, cost_usd="0.004", hold_id=begun(timedelta(days=31)))

    page = page_of(acme.owner)

    assert figure(page, "Last 24 hours") == "0.0025"
    assert figure(page, "Last 30 days") == "0.0075"


def test_spend_of_more_calls_than_are_added_up_says_so(run: Run) -> None:
    acme = factories.acme()
    for cost_usd in ("0.004", "0.002", "0.001"):
        call(run, acme, cost_usd=cost_usd)
    since = timezone.now() - timedelta(days=1)

    newest = overview.spend(company_id=acme.company_id, since=since, calls_max=2)

    assert newest == overview.Spend(calls=2, nanocredits=7_500_000, is_partial=True)
    assert not overview.spend(company_id=acme.company_id, since=since).is_partial


def test_globex_never_appears_for_acme(run: Run) -> None:
    acme, globex = factories.acme(), factories.globex()
    now = timezone.now()
    theirs = tenants.create(company_id=globex.company_id, external_id="alice", label="Globex Alice", now=now)
    ours = tenants.create(company_id=acme.company_id, external_id="alice", label="Acme Alice", now=now)
    kits.create(company_id=globex.company_id, name="Globex kit", now=now)
    call(run, globex, model="globex/secret-model", cost_usd="0.25", user=theirs)
    call(run, acme, model="acme/model", cost_usd="0.01", user=ours)

    page = page_of(acme.owner)

    assert "acme/model" in page
    assert "Acme Alice" in page
    assert "globex" not in page.lower()
    assert f"…{globex.key.last_4}<" not in page
    assert figure(page, "Last 30 days") == "0.025"


def test_user_of_another_company_stays_unnamed_even_on_an_own_call(run: Run) -> None:
    acme, globex = factories.acme(), factories.globex()
    theirs = tenants.create(company_id=globex.company_id, label="Globex Alice", now=timezone.now())
    call(run, acme, model="acme/model", user=theirs)

    page = page_of(acme.owner)

    assert "acme/model" in page
    assert "Globex Alice" not in page


def test_last_twenty_generations_are_shown_newest_first(run: Run) -> None:
    acme = factories.acme()
    for number in range(22):
        call(run, acme, model=f"acme/model-{number:02}", cost_usd="0")

    shown = re.findall(r"acme/model-(\d\d)", page_of(acme.owner))

    assert shown == [f"{number:02}" for number in range(21, 1, -1)]


def test_queries_do_not_grow_with_what_is_shown(run: Run) -> None:
    acme = factories.acme()
    call(run, acme)
    with CaptureQueriesContext(connection) as few:
        page_of(acme.owner)
    for number in range(5):
        user = tenants.create(company_id=acme.company_id, label=f"User {number}", now=timezone.now())
        kits.create(company_id=acme.company_id, name=f"Kit {number}", now=timezone.now())
        call(run, acme, user=user)

    with CaptureQueriesContext(connection) as many:
        page_of(acme.owner)

    assert len(many) == len(few)


def test_first_run_has_a_line_to_paste(settings: Any) -> None:
    settings.PUBLIC_URL = "https://naive.example/"
    acme = factories.acme()

    page = page_of(acme.owner)

    line = re.search(r"curl -N.*?(?=</code>)", page, re.DOTALL)
    assert line
    words = shlex.split(line.group().replace("&quot;", '"').replace("&#x27;", "'"))
    assert words[2] == "https://naive.example/v1/llm/chat/completions"
    assert "Authorization: Bearer $NAIVE_API_KEY" in words
    assert json.loads(words[-1])["messages"]
    assert f"…{acme.key.last_4}<" in page
    assert acme.secret not in page


def test_empty_states_say_what_to_do_next() -> None:
    initech = factories.initech()

    page = page_of(initech.owner)

    assert "Make your first call" in page
    assert "No calls yet. Run the line above" in page


def test_company_without_a_wallet_has_a_page() -> None:
    owner = person()
    companies.create(name="Made by hand", owner_id=owner.id, now=timezone.now())

    page = page_of(owner)

    assert figure(page, "Balance") == "0"
    assert "This company has no live key" in page


def test_kits_show_whether_llm_is_on() -> None:
    acme = factories.acme()
    off = {"llm": {"enabled": False}}
    kits.create(company_id=acme.company_id, name="Closed kit", primitives_config=off, now=timezone.now())

    page = page_of(acme.owner)

    assert re.search(r"Default</strong>.*?llm on", page, re.DOTALL)
    assert re.search(r"Closed kit</strong>.*?llm off", page, re.DOTALL)


def test_kits_show_what_they_allow() -> None:
    acme = factories.acme()
    rules = {"allowed_models": ["anthropic/*"], "denied_models": ["*:free"], "max_tokens": 4096}
    factories.set_llm(acme, {"defaults": rules})

    page = page_of(acme.owner)

    assert "Only models that match anthropic/*, but not *:free · 4,096 tokens out at most" in page


def test_kit_that_cannot_be_read_does_not_break_the_page() -> None:
    acme = factories.acme()
    AccountKit.objects.filter(id=acme.kit.id).update(
        primitives_config={"llm": {"defaults": {"max_tokens": -1}}}
    )

    assert "llm unreadable" in page_of(acme.owner)
    AccountKit.objects.filter(id=acme.kit.id).update(primitives_config=[])
    assert "llm unreadable" in page_of(acme.owner)


def test_names_are_never_markup(run: Run) -> None:
    acme = factories.acme()
    kits.create(company_id=acme.company_id, name="<script>kit</script>", now=timezone.now())
    call(run, acme, model="<script>model</script>", cost_usd="0")

    page = page_of(acme.owner)

    assert "<script" not in page
    assert "&lt;script&gt;model" in page


# Notices


@pytest.mark.parametrize(
    ("is_simulator", "key", "words"),
    [(True, "", "Simulated upstream."), (False, "", "No upstream."), (False, "sk-or-v1-test", "")],
)
def test_page_says_what_answers_the_calls(settings: Any, is_simulator: bool, key: str, words: str) -> None:
    settings.UPSTREAM_IS_SIMULATOR, settings.OPENROUTER_API_KEY = is_simulator, key

    page = page_of(factories.acme().owner)

    assert words in page
    assert ("upstream." in page) == bool(words)


def test_page_says_why_calls_are_refused() -> None:
    acme = factories.acme()
    ledger.freeze(company_id=acme.company_id)
    companies.suspend(company_id=acme.company_id)

    page = page_of(acme.owner)

    assert "The wallet is frozen." in page
    assert "This company is suspended." in page


# Who may see it, and how it is sent


@pytest.mark.parametrize(
    ("is_staff", "words", "has_admin"),
    [(True, "You run this deployment", True), (False, "You are in no company yet", False)],
)
def test_person_without_a_company_is_told_where_to_go(is_staff: bool, words: str, has_admin: bool) -> None:
    client = Client()
    client.force_login(person(is_staff=is_staff))

    answer = client.get(PAGE)

    page = answer.content.decode()
    assert answer.status_code == 403
    assert words in page
    assert ('href="/admin/"' in page) is has_admin


def test_person_in_two_companies_sees_the_first() -> None:
    acme = factories.acme()
    companies.create(name="Second company", owner_id=acme.owner.id, now=timezone.now())

    assert acme.company.name in page_of(acme.owner)


@pytest.mark.parametrize("address", [PAGE, "/login/", "/nothing/"])
def test_pages_carry_their_security_headers(client: Client, address: str) -> None:
    if address != "/login/":
        client.force_login(factories.acme().owner)

    answer = client.get(address)

    policy = answer["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer["X-Frame-Options"] == "DENY"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert not re.search(r"<script|<style|\sstyle=|\son\w+=", answer.content.decode())


def test_page_is_kept_by_no_cache() -> None:
    client = Client()
    client.force_login(factories.acme().owner)

    assert "no-store" in client.get(PAGE)["Cache-Control"]


def test_admin_is_there_for_staff_alone(client: Client) -> None:
    client.force_login(factories.acme().owner)
    assert client.get("/admin/").status_code == 302

    client.force_login(person(is_staff=True))
    assert client.get("/admin/").status_code == 200
