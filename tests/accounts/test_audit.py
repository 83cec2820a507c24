"""The audit log: who, what, before and after; no secret gets in, nothing gets out again, every filter has its index."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import audit, ids, kits
from accounts.audit import Actor, Filters
from accounts.models import AuditEntry, User
from billing import ledger
from tests import factories, logins
from tests.platform import desks

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
MANY = 200_000


def recorded(**given: Any) -> AuditEntry:
    """What `audit.record` wrote of this."""
    company_id = uuid4()
    words = {"action": "thing.updated", "target_kind": "thing", "target_id": "1"} | given
    with transaction.atomic():
        audit.record(company_id=company_id, **words)
    return AuditEntry.objects.get(company_id=company_id)


def entries(company_id: UUID | None, **filters: Any) -> list[AuditEntry]:
    return list(AuditEntry.objects.filter(company_id=company_id, **filters).order_by("created_at", "id"))


def test_entry_names_who_acts() -> None:
    person = uuid4()
    actor = Actor(
        kind=AuditEntry.Actor.KEY,
        id=uuid4(),
        label="CI",
        person_id=person,
        ip="2001:db8::1",
        request_id="req_1",
    )
    with audit.acting(actor):
        found = recorded(target_label="Mine", reason="why", now=NOW)
    assert (found.actor_kind, found.actor_id, found.actor_label) == ("key", actor.id, "CI")
    assert (found.person_id, found.ip, found.request_id) == (person, "2001:db8::1", "req_1")
    assert (found.target_label, found.reason, found.created_at) == ("Mine", "why", NOW)


def test_nobody_is_the_platform_and_a_door_ends_with_its_block() -> None:
    with audit.acting(Actor(kind=AuditEntry.Actor.OPERATOR, label="ann")):
        audit.name(Actor(kind=AuditEntry.Actor.PERSON, label="bob"))
        assert recorded().actor_label == "bob"
    assert (audit.actor(), recorded().actor_kind) == (audit.PLATFORM, "platform")


@pytest.mark.parametrize("said", ["unknown", "1.2.3.4, 5.6.7.8", "", None, "999.1.1.1", "a" * 500])
def test_address_that_is_none_is_left_out(said: str | None) -> None:
    with audit.acting(Actor(kind=AuditEntry.Actor.KEY, ip=said)):
        assert recorded().ip is None


@pytest.mark.parametrize(
    ("said", "kept"),
    [("::ffff:192.0.2.1", "192.0.2.1"), ("2001:DB8:0::1", "2001:db8::1"), ("fe80::1%eth0", "fe80::1")],
)
def test_address_has_one_spelling(said: str, kept: str) -> None:
    with audit.acting(Actor(kind=AuditEntry.Actor.KEY, ip=said)):
        assert recorded().ip == kept


def test_only_what_differs_is_kept() -> None:
    before = {"name": "A", "rules": {"a": 1}, "gone": 1, "cap": Decimal("1.50")}
    after = {"name": "A", "rules": {"a": 2}, "new": None, "cap": Decimal("2.000000001")}
    found = recorded(before=before, after=after)
    assert found.before == {"rules": {"a": 1}, "gone": 1, "cap": "1.50"}
    assert found.after == {"rules": {"a": 2}, "gone": None, "cap": "2.000000001"}


@pytest.mark.parametrize(
    "name",
    [
        "secret",
        "password",
        "Password1",
        "signing_secret",
        "access_token",
        "apiKey",
        "api_key",
        "API-Key",
        "authorization",
        "digest",
        "private_key",
        "client-secret",
        "db_credentials",
        "cookie",
        "secret_key",
        "aws_secret_access_key",
        "signing-key",
    ],
)
def test_secret_is_masked_by_its_name_at_any_depth(name: str) -> None:
    deep = {"a": [{"b": ({name: "hunter2", "other": 1},)}], name: {"inner": "hunter2"}}
    found = recorded(before=None, after=deep)
    assert found.after == {"a": [{"b": [{name: audit.MASKED, "other": 1}]}], name: audit.MASKED}


@pytest.mark.parametrize(
    "secret",
    [
        "nv_sk_live_" + "a1" * 19,
        "nv_sess_" + "b2" * 20,
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "sk-or-v1-0123456789abcdef",
        "sk_live_abcdefgh12",
        "Bearer abcdefghijk",
    ],
)
def test_secret_is_masked_by_its_look_wherever_it_stands(secret: str) -> None:
    told = f"see {secret} there"
    with audit.acting(Actor(kind=AuditEntry.Actor.KEY, label=told)):
        found = recorded(
            after={"note": [{told: told}]}, before={"note": told}, reason=told, target_label=told
        )
    row = AuditEntry.objects.filter(id=found.id).values().get()
    assert secret not in repr(row)
    assert found.after == {"note": [{f"see {audit.MASKED} there": f"see {audit.MASKED} there"}]}


@pytest.mark.parametrize(
    "name", ["max_tokens", "tokens", "api_key_id", "digest_sent", "secret_rotated_at", "key"]
)
def test_what_only_sounds_like_a_secret_is_kept(name: str) -> None:
    assert recorded(after={name: 4096}).after == {name: 4096}


def test_what_is_too_long_is_cut_and_does_not_fail_the_mutation() -> None:
    with audit.acting(Actor(kind=AuditEntry.Actor.KEY, label="l" * 1000)):
        found = recorded(target_id="i" * 1000, target_label="t" * 1000, reason="r" * 9000)
    assert (len(found.actor_label), len(found.target_id), len(found.target_label)) == (200, 255, 200)
    assert len(found.reason) == audit.REASON_LENGTH_MAX


def test_entry_is_refused_where_no_transaction_holds_it_together_with_its_mutation() -> None:
    company_id = uuid4()
    with pytest.raises(RuntimeError, match="transaction"):
        audit.record(company_id=company_id, action="a.b", target_kind="a", target_id=1)
    assert entries(company_id) == []


def test_mutation_that_fails_leaves_no_entry() -> None:
    company_id = uuid4()

    def fail() -> None:
        with transaction.atomic():
            audit.record(company_id=company_id, action="a.b", target_kind="a", target_id=1)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert entries(company_id) == []


REWRITES = [
    "UPDATE accounts_audit_entry SET reason = 'another'",
    "DELETE FROM accounts_audit_entry",
    "TRUNCATE accounts_audit_entry",
]


@pytest.mark.parametrize("statement", REWRITES)
def test_owner_of_the_database_rewrites_nothing(statement: str) -> None:
    recorded()
    with (
        pytest.raises(DatabaseError, match="append-only") as caught,
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)
    assert isinstance(caught.value.__cause__, psycopg.errors.RestrictViolation)


@pytest.mark.parametrize("statement", [*REWRITES, "ALTER TABLE accounts_audit_entry DISABLE TRIGGER ALL"])
def test_application_may_read_and_add_and_nothing_else(statement: str) -> None:
    with logins.as_application():
        entry = recorded()
        with pytest.raises(DatabaseError) as caught, transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)
        assert isinstance(caught.value.__cause__, psycopg.errors.InsufficientPrivilege)
    assert AuditEntry.objects.filter(id=entry.id).exists()


def test_page_is_the_companys_alone_latest_first() -> None:
    company_id, stranger = uuid4(), uuid4()
    for number in range(5):
        with audit.acting(Actor(kind=AuditEntry.Actor.KEY, label=str(number))), transaction.atomic():
            audit.record(company_id=company_id, action="a.b", target_kind="a", target_id=number)
    with transaction.atomic():
        audit.record(company_id=stranger, action="a.b", target_kind="a", target_id=9)
    expected = [entry.id for entry in AuditEntry.objects.filter(company_id=company_id).order_by("-id")]

    seen: list[UUID] = []
    before_id = None
    while True:
        found = audit.page(company_id=company_id, filters=Filters(), limit=2, before_id=before_id)
        seen += [line.id for line in found.lines]
        before_id = found.before_id
        if before_id is None:
            break

    assert seen == expected


@pytest.fixture(scope="module")
def many() -> UUID:
    """A company with 200,000 entries, of which each filter finds a few; all newer ones are another's."""
    company_id = uuid4()
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO accounts_audit_entry (id, company_id, actor_kind, actor_id, actor_label, request_id, action,
                                              target_kind, target_id, target_label, before, after, reason, created_at)
            SELECT encode(overlay(uuid_send(gen_random_uuid()) PLACING substring(
                       int8send((extract(epoch FROM at) * 1000)::bigint) FROM 3) FROM 1 FOR 6), 'hex')::uuid,
                   %s, CASE WHEN rare THEN 'person' ELSE 'key' END, md5((n %% 50)::text || rare)::uuid, 'k',
                   'req_' || n,
                   CASE WHEN rare THEN 'company.closed' ELSE 'tenant_user.created' END,
                   CASE WHEN rare THEN 'company' ELSE 'tenant_user' END, 't' || n, '', NULL, '{"a": 1}', '', at
              FROM (SELECT n, n %% 50000 = 7 AS rare, %s::timestamptz - n * interval '1 second' AS at
                      FROM generate_series(%s, 1, -1) n)
            """,
            [company_id, NOW, MANY],
        )
        cursor.execute(
            """
            INSERT INTO accounts_audit_entry (id, company_id, actor_kind, actor_label, request_id, action, target_kind,
                                              target_id, target_label, reason, created_at)
            SELECT ('ff' || substring(gen_random_uuid()::text FROM 3))::uuid, %s, 'key', 'k', 'req_' || n,
                   'tenant_user.created', 'tenant_user', 't' || n, '', '', now()
              FROM generate_series(1, %s) n
            """,
            [uuid4(), MANY // 20],
        )
        cursor.execute("ANALYZE accounts_audit_entry")
    return company_id


@pytest.mark.parametrize(
    "filters",
    [
        Filters(),
        Filters(action="company.closed"),
        Filters(action="tenant_user.created"),
        Filters(actor_kind="person"),
        Filters(actor_kind="key", target_kind="tenant_user"),
        Filters(actor_id=UUID("0123456789abcdef0123456789abcdef")),
        Filters(target_kind="company"),
        Filters(target_id="t123456"),
        Filters(request_id="req_150000"),
        Filters(since=NOW - timedelta(hours=30), until=NOW - timedelta(hours=29, minutes=59)),
        Filters(action="company.closed", actor_kind="person", target_kind="company"),
        Filters(action="nothing.done"),
    ],
    ids=str,
)
def test_every_filter_reads_a_few_rows_of_200_000(many: UUID, filters: Filters) -> None:
    with CaptureQueriesContext(connection) as queries:
        audit.page(company_id=many, filters=filters, limit=50)
    (query,) = queries.captured_queries
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + query["sql"])
        (plan,) = cursor.fetchone()[0]
    top = plan["Plan"]
    assert top["Shared Hit Blocks"] + top["Shared Read Blocks"] < 400, plan


def test_moments_are_the_entries_own(many: UUID) -> None:
    at = NOW - timedelta(seconds=100)
    found = audit.page(company_id=many, filters=Filters(since=at, until=at + timedelta(seconds=3)), limit=50)
    assert {line.created_at for line in found.lines} == {at + timedelta(seconds=s) for s in range(3)}


@pytest.mark.parametrize("at", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
def test_moments_beyond_all_entries_are_moments_too(at: datetime) -> None:
    company_id = recorded().company_id
    assert company_id
    for filters in (Filters(since=at), Filters(until=at)):
        found = audit.page(company_id=company_id, filters=filters, limit=5).lines
        is_wanted = (filters.since is not None) == (at.year == 1)
        assert bool(found) is is_wanted


def test_first_id_of_a_moment_is_below_every_id_made_then() -> None:
    before = ids.first_at(timezone.now())
    made = ids.uuid7()
    assert before <= made < ids.first_at(timezone.now(), ahead=timedelta(milliseconds=1))


def test_command_that_moves_credits_acts_as_its_operator() -> None:
    acme = factories.acme()
    words = ("2.5", "--action", "grant", "--reason", "Sorry", "--reference", "t-1", "--actor", "operator:ann")
    for _ in range(2):
        call_command("credit", str(acme.company_id), *words)
    (found,) = entries(acme.company_id, action="credits.granted")
    assert (found.actor_kind, found.actor_label, found.reason) == ("operator", "ann", "Sorry")
    assert (found.target_label, found.after) == ("t-1", {"amount": "2.5", "balance_after": "22.5"})


def test_wallet_that_is_frozen_twice_leaves_one_entry() -> None:
    acme = factories.acme()
    for _ in range(2):
        ledger.freeze(company_id=acme.company_id)
    ledger.unfreeze(company_id=acme.company_id)
    ledger.set_credit_line(company_id=acme.company_id, nanocredits=5_000_000_000)
    found = entries(acme.company_id, target_kind="wallet")
    assert [(one.action, one.before, one.after) for one in found] == [
        ("wallet.frozen", {"is_frozen": False}, {"is_frozen": True}),
        ("wallet.unfrozen", {"is_frozen": True}, {"is_frozen": False}),
        ("wallet.credit_line_set", {"credit_line": "0"}, {"credit_line": "5"}),
    ]


@pytest.fixture
def operator() -> tuple[Client, User]:
    client = desks.operator()
    return client, client.person  # type: ignore[attr-defined]


def test_admin_leaves_the_person_with_the_address_and_the_request(operator: tuple[Client, User]) -> None:
    client, person = operator
    acme = factories.acme()
    page = f"/admin/accounts/company/{acme.company_id}/change/"
    form = {"name": "Renamed", "markup": "1.5", "low_credits": str(acme.company.low_credits)}

    answer = client.post(page, form, REMOTE_ADDR="192.0.2.7")

    assert answer.status_code == 302
    (found,) = entries(acme.company_id, action="company.updated")
    assert (found.actor_kind, found.actor_id, found.person_id) == ("operator", person.id, person.id)
    assert (found.actor_label, found.ip) == (person.email, "192.0.2.7")
    assert found.request_id == answer["X-Request-Id"]
    assert found.before == {"name": acme.company.name, "markup": None}
    assert found.after == {"name": "Renamed", "markup": "1.5"}
    assert audit.actor() == audit.PLATFORM


@pytest.mark.parametrize(
    ("table", "action", "left"),
    [
        ("apikey", "revoke", "api_key.revoked"),
        ("company", "suspend", "company.suspended"),
    ],
)
def test_actions_of_the_admin_leave_the_person(
    operator: tuple[Client, User], table: str, action: str, left: str
) -> None:
    client, person = operator
    acme = factories.acme()
    chosen = acme.key.id if table == "apikey" else acme.company_id
    client.post(f"/admin/accounts/{table}/", {"action": action, "_selected_action": [str(chosen)]})
    (found,) = entries(acme.company_id, action=left)
    assert (found.actor_kind, found.person_id, found.target_id) == ("operator", person.id, str(chosen))


def test_admin_leaves_who_was_let_in_and_never_a_password(operator: tuple[Client, User]) -> None:
    client, person = operator
    email = f"{uuid4().hex}@example.org"
    password = f"{uuid4().hex}!"
    form = {"email": email, "name": "New", "password1": password, "password2": password}
    client.post("/admin/accounts/user/add/", form | {"usable_password": "true"})
    made = User.objects.get_by_natural_key(email)
    page = f"/admin/accounts/user/{made.id}"
    assert client.post(
        f"{page}/change/", {"email": email, "name": "New", "is_staff": "on", "is_active": "on"}
    )
    again = {"password1": password + "2", "password2": password + "2", "usable_password": "true"}
    assert client.post(f"{page}/password/", again).status_code == 302

    found = entries(None, target_id=str(made.id))
    assert [one.action for one in found] == ["person.created", "person.updated", "person.password_set"]
    assert (found[1].before, found[1].after) == ({"is_staff": False}, {"is_staff": True})
    assert {one.person_id for one in found} == {person.id}
    assert password not in repr(list(AuditEntry.objects.filter(target_id=str(made.id)).values()))


def test_kit_of_a_command_is_the_platforms() -> None:
    acme = factories.acme()
    kits.update(company_id=acme.company_id, kit_id=acme.kit.id, changes={"name": "Renamed"})
    (found,) = entries(acme.company_id, action="account_kit.updated")
    assert (found.actor_kind, found.after) == ("platform", {"name": "Renamed"})
