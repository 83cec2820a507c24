"""Demo data at scale: thousands of companies whose calls are written as whole tables, in one transaction."""

import itertools
import math
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection, transaction

from accounts import ids
from accounts.errors import Conflict
from accounts.models import AccountKit, APIKey, AuditEntry, Company, Membership, Role, TenantUser, User
from billing import money, sums
from naive_platform.demo_data import company as demo_company
from naive_platform.demo_data import models

SQL = Path(__file__).resolve().parent / "crowd.sql"
SLUG = "seed-"
SEED = 20_260_102
# Of all users, the first company's.
HOT_USERS = 0.1
KEYS_MAX, HOT_KEYS = 4, 40
AUDIT_ENTRIES_HOT, AUDIT_ENTRIES = 5_000, 3
# How many calls are under way at the end, for each that was made.
OPEN_SHARE, OPEN_MIN = 0.00005, 20
WEEKEND = 0.3
ROWS_AT_ONCE = 2_000
CAP_CREDITS = Decimal(100_000)
TOPUP_CREDITS = 250
FIRST_NAMES = (
    "Mara",
    "Jonas",
    "Priya",
    "Sam",
    "Aiko",
    "Noor",
    "Chidi",
    "Elena",
    "Lucas",
    "Wei",
    "Ines",
    "Oskar",
)
LAST_NAMES = (
    "Lind",
    "Weber",
    "Rao",
    "Field",
    "Tanaka",
    "Haddad",
    "Okafor",
    "Petrova",
    "Moreau",
    "Zhang",
    "Sousa",
)
NAMES = (
    "Northwind",
    "Bluefin",
    "Granite",
    "Juniper",
    "Harbor",
    "Copper",
    "Meridian",
    "Lantern",
    "Orchard",
    "Pioneer",
)
TRADES = (
    "Logistics",
    "Health",
    "Robotics",
    "Analytics",
    "Foods",
    "Energy",
    "Studios",
    "Legal",
    "Travel",
    "Insurance",
)

type Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Size:
    """How much is made. `days` end with the hour that is over."""

    calls: int
    companies: int
    users: int
    days: int


@dataclass(frozen=True, slots=True)
class _Tenant:
    """A company of the crowd, before and after its rows are there."""

    number: int
    row: Company
    owner: User
    kits: dict[str, AccountKit]
    users: list[TenantUser]
    keys: list[APIKey]


def count() -> int:
    """How many companies of earlier crowds there are."""
    return Company.objects.filter(slug__startswith=SLUG).count()


def others(*, demo_email: str) -> list[str]:
    """The names of companies that are neither of a crowd nor this person's, who is there for show."""
    demos = Membership.objects.filter(user__email=demo_email).values("company_id")
    found = Company.objects.exclude(slug__startswith=SLUG).exclude(id__in=demos).order_by("created_at")
    return list(found.values_list("name", flat=True))


def seed(size: Size, *, now: datetime, say: Say) -> None:
    """Add a crowd of companies that have called for some days; `manage.py verify_ledger` finds nothing wrong.

    Shape: one transaction, as the owner of the books; a fifth of the calls are the first company's, the rest have a
    long tail. Nobody knows the companies' keys and passwords.
    Errors: Conflict where the login is not the owner's.
    """
    until = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    with transaction.atomic():
        _require_owner()
        _run(SQL.read_text())
        _row("SELECT setseed(0.42)")
        tenants = _found(size, at=until - timedelta(days=size.days), offset=count())
        say(f"{size.companies:,} companies, {sum(len(one.users) for one in tenants):,} users")
        _fill(tenants)
        _calls(size, until=until, say=say)
        _end(tenants, size, until=until)
    # As autovacuum would in time: whoever adds up a day finds it by an index that knows where days lie.
    say("Statistics, and sums of the days")
    _run("VACUUM (ANALYZE)")
    for back in range(1, size.days + 2):
        sums.take_day(day=(until - timedelta(days=back)).date())
    _run("VACUUM (ANALYZE) billing_usage_day, billing_company_day, billing_model_day, billing_source_day")


def _require_owner() -> None:
    found = _row("SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = 'billing_entry'::regclass")
    if found != (True,):
        raise Conflict(
            "This login does not own the books, and cannot write them.",
            hint="Set DATABASE_OWNER_URL, as for manage.py migrate.",
        )


def _found(size: Size, *, at: datetime, offset: int) -> list[_Tenant]:
    """The companies with their people, kits, users and keys, without the calls."""
    rng = random.Random(SEED + offset)  # noqa: S311 - no secret.
    numbers = range(offset + 1, offset + size.companies + 1)
    tenants = [
        _tenant(number, users, at=at, rng=rng, is_hot=place == 0)
        for place, (number, users) in enumerate(zip(numbers, _users_each(size), strict=True))
    ]
    _insert(User, (one.owner for one in tenants))
    _insert(Company, (one.row for one in tenants))
    _insert(
        Membership,
        (Membership(company=t.row, user=t.owner, role=Role.OWNER.value, created_at=at) for t in tenants),
    )
    _insert(AccountKit, (kit for one in tenants for kit in one.kits.values()))
    _insert(TenantUser, (user for one in tenants for user in one.users))
    _insert(APIKey, (key for one in tenants for key in one.keys))
    return tenants


def _users_each(size: Size) -> Iterator[int]:
    """How many users each company has: the first a tenth of them, the others ever fewer, each at least one."""
    hot = max(int(size.users * HOT_USERS), 1) if size.companies > 1 else size.users
    yield hot
    shares = [1 / place for place in range(2, size.companies + 1)]
    spare, given = max(size.users - hot - len(shares), 0), 0
    for reached in itertools.accumulate(shares):
        until = round(spare * reached / sum(shares))
        yield 1 + until - given
        given = until


def _tenant(number: int, users: int, *, at: datetime, rng: random.Random, is_hot: bool) -> _Tenant:
    name = f"{rng.choice(NAMES)} {rng.choice(TRADES)} {number}"
    row = Company(id=ids.uuid7(at), name=name, slug=f"{SLUG}{number:06d}", created_at=at)
    owner = User(
        email=f"owner-{number:06d}@seed.test", name=_person(rng), created_at=at, email_verified_at=at
    )
    owner.set_unusable_password()
    configs = {"Default": {}, "Free": demo_company.FREE_KIT, "Pro": demo_company.PRO_KIT}
    kits = {
        kit: AccountKit(
            id=ids.uuid7(at),
            company=row,
            name=kit,
            is_default=kit == "Default",
            primitives_config=config,
            connections_config={"mode": "open"},
            created_at=at,
        )
        for kit, config in configs.items()
    }
    people = [_user(row, place, kits, at=at, rng=rng) for place in range(1, users + 1)]
    keys = [
        _key(row, owner, place, at=at, rng=rng)
        for place in range(1, (HOT_KEYS if is_hot else rng.randint(1, KEYS_MAX)) + 1)
    ]
    return _Tenant(number, row, owner, kits, people, keys)


def _user(
    company: Company, place: int, kits: dict[str, AccountKit], *, at: datetime, rng: random.Random
) -> TenantUser:
    if place == 1:
        return TenantUser(
            id=ids.uuid7(at), company=company, label="Default", account_kit=kits["Default"], is_default=True,
            created_at=at,
        )  # fmt: skip
    kit = rng.choices(("Default", "Free", "Pro"), (5, 3, 2))[0]
    return TenantUser(
        id=ids.uuid7(at),
        company=company,
        external_id=f"cus_{place:06d}",
        email=f"user-{place}@{company.slug}.test",
        label=_person(rng),
        account_kit=kits[kit],
        created_at=at,
    )


def _key(company: Company, owner: User, place: int, *, at: datetime, rng: random.Random) -> APIKey:
    key = APIKey(
        id=ids.uuid7(at),
        company=company,
        name="Default" if place == 1 else f"Service {place}",
        role=Role.MEMBER.value,
        created_by=owner,
        # Of no secret that there is.
        digest=rng.randbytes(32),
        last_4=f"{rng.getrandbits(16):04x}",
        created_at=at,
    )
    key.family_id = key.id
    if place == 2:
        key.cap_credits, key.cap_period = CAP_CREDITS, "month"
    return key


def _person(rng: random.Random) -> str:
    return f"{rng.choice(FIRST_NAMES)} {rng.choice(LAST_NAMES)}"


def _fill(tenants: list[_Tenant]) -> None:
    """Tell the session's tables who calls, and which models."""
    companies = enumerate(tenants, start=1)
    _copy("seed_company", ((no, t.row.id, len(t.users), len(t.keys)) for no, t in companies))
    _copy("seed_wallet (no)", ((no,) for no in range(1, len(tenants) + 1)))
    _copy(
        "seed_user",
        (
            (no, place, user.id, user.account_kit.id, user.account_kit.name)
            for no, t in enumerate(tenants, start=1)
            for place, user in enumerate(t.users, start=1)
        ),
    )
    _copy(
        "seed_key",
        (
            (no, place, key.id)
            for no, t in enumerate(tenants, start=1)
            for place, key in enumerate(t.keys, start=1)
        ),
    )
    _copy("seed_model", _model_slots())
    _run("ANALYZE seed_company; ANALYZE seed_user; ANALYZE seed_key; ANALYZE seed_model")


def _model_slots() -> Iterator[tuple[Any, ...]]:
    for kit, asked in models.BY_KIT.items():
        each = [model for model, share in asked for _ in range(share)]
        for slot, model in enumerate(itertools.islice(itertools.cycle(each), 100)):
            yield (
                *(kit, slot, model.id, model.provider, model.prompt_usd, model.completion_usd),
                *(model.first_token_ms, model.token_ms),
            )


def _calls(size: Size, *, until: datetime, say: Say) -> None:
    prices = (settings.MARKUP, settings.CREDIT_VALUE_USD)
    cap = money.nanocredits_from_credits(CAP_CREDITS)
    done = 0
    for start, calls in _days(size, until):
        _row("SELECT pg_temp.seed_draw(%s, %s, %s, %s, %s)", start, calls, *prices, cap)
        _row("SELECT pg_temp.seed_movements(%s, %s)", start, TOPUP_CREDITS * money.NANOCREDITS_PER_CREDIT)
        _row("SELECT pg_temp.seed_write(%s, %s, %s)", *prices, settings.HOLD_TTL_S)
        done += calls
        say(f"{start:%Y-%m-%d}: {done:,} of {size.calls:,} calls")


def _days(size: Size, until: datetime) -> Iterator[tuple[datetime, int]]:
    """Each day's beginning and how many calls it has: thinner at weekends, more every week."""
    starts = [until - timedelta(days=back) for back in range(size.days, 0, -1)]
    weights = [
        (0.5 + place / size.days) * (WEEKEND if start.weekday() > 4 else 1)
        for place, start in enumerate(starts)
    ]
    given = 0
    for start, reached in zip(starts, itertools.accumulate(weights), strict=True):
        share = math.floor(size.calls * reached / sum(weights)) if start != starts[-1] else size.calls
        if share > given:
            yield start, share - given
        given = max(given, share)


def _end(tenants: list[_Tenant], size: Size, *, until: datetime) -> None:
    """Calls that are still under way, the wallets as all of it leaves them, and what people did meanwhile."""
    under_way = max(OPEN_MIN, int(size.calls * OPEN_SHARE))
    _row(
        "SELECT pg_temp.seed_open(%s, %s, %s, %s, %s)",
        *(until, under_way, settings.MARKUP, settings.CREDIT_VALUE_USD, settings.HOLD_TTL_S),
    )
    _run(
        "INSERT INTO billing_wallet (company_id, posted_nanocredits, held_nanocredits, version, chain_head, created_at)"
        " SELECT c.id, w.balance, coalesce(o.held, 0), w.seq, w.head, company.created_at"
        " FROM seed_company c JOIN seed_wallet w USING (no) JOIN accounts_company company ON company.id = c.id"
        " LEFT JOIN (SELECT company_id, sum(amount) AS held FROM seed_open GROUP BY 1) o ON o.company_id = c.id"
    )
    since = until - timedelta(days=size.days)
    _insert(
        AuditEntry,
        (
            _audit_entry(one, since + (until - since) * place / most, place)
            for one in tenants
            for most in [min(AUDIT_ENTRIES_HOT, size.calls) if one is tenants[0] else AUDIT_ENTRIES]
            for place in range(most)
        ),
    )


def _audit_entry(tenant: _Tenant, at: datetime, place: int) -> AuditEntry:
    key = tenant.keys[place % len(tenant.keys)]
    return AuditEntry(
        id=ids.uuid7(at),
        company_id=tenant.row.id,
        actor_kind=AuditEntry.Actor.PERSON.value,
        actor_id=tenant.owner.id,
        actor_label=tenant.owner.email,
        person_id=tenant.owner.id,
        action="api_key.updated",
        target_kind="api_key",
        target_id=str(key.id),
        target_label=key.name,
        before={"requests_per_minute": 60 + place % 60},
        after={"requests_per_minute": 61 + place % 60},
        created_at=at,
    )


def _insert(model: Any, rows: Iterable[Any]) -> None:
    model.objects.bulk_create(rows, batch_size=ROWS_AT_ONCE)


def _copy(table: str, rows: Iterable[tuple[Any, ...]]) -> None:
    with connection.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def _run(statements: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statements)


def _row(statement: str, *parameters: Any) -> tuple[Any, ...]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        found: tuple[Any, ...] = cursor.fetchone()
    return found
