"""Walks over the URL map of the management API: what must hold for every route, also for those that come later."""

import contextlib
import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from accounts import companies
from accounts.models import AuditEntry, Role
from naive_platform.api import contract, permissions
from naive_platform.api.permissions import Permission
from tests import factories
from tests.billing import shop
from tests.platform import examples
from tests.platform.examples import EXAMPLES, NAMED, VERBS, Asked, World

type Who = Literal[
    "owner", "admin", "member", "viewer", "sealed key", "kit key", "session token", "no key", "stranger"
]
ROLES: tuple[Who, ...] = ("owner", "admin", "member", "viewer")
NARROW: tuple[Who, ...] = ("sealed key", "kit key", "session token")
ALL = list(examples.pairs())
MUTATIONS = list(examples.pairs(*examples.MUTATIONS))
# Where one must be somebody.
CLOSED = [pair for pair in ALL if permissions.TABLE[pair[0]][pair[1]].role is not None]


def cases(pairs: list[tuple[str, str]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("route", "verb"), pairs, ids=[f"{verb} {route}" for route, verb in pairs])


@pytest.fixture(autouse=True)
def _played_payments(settings: Settings) -> None:
    shop.play(settings)


@pytest.fixture(scope="module")
def acme() -> World:
    """A company that nothing is done to: it reads, and is refused."""
    return examples.world()


@pytest.fixture(scope="module")
def globex() -> World:
    """The stranger, whose things Acme must never see."""
    found = examples.world(factories.globex())
    factories.give(found.member, credits=Decimal(5))
    return found


@pytest.fixture(scope="module")
def browser(acme: World) -> Client:
    """The browser that Acme's owner has signed in with."""
    return examples.signed_in(acme)


def error(answer: Any) -> dict[str, Any]:
    found: dict[str, Any] = answer.json()["error"]
    assert found["request_id"] == answer["X-Request-Id"]
    return found


def entries(*answers: Any) -> list[AuditEntry]:
    named = [answer["X-Request-Id"] for answer in answers]
    return list(AuditEntry.objects.filter(request_id__in=named).order_by("created_at", "id"))


# The map.


@pytest.mark.parametrize("route", sorted({*permissions.TABLE, *examples.addresses()}))
def test_table_and_url_map_say_the_same(route: str) -> None:
    assert route in examples.addresses(), "the table has it, the URL map has not"
    _, view = examples.addresses()[route]
    assert view.name == route
    assert {verb for verb in VERBS if hasattr(view, verb)} == set(permissions.TABLE[route])


@cases(ALL)
def test_every_verb_has_a_contract_and_an_example(route: str, verb: str) -> None:
    found = contract.of(getattr(examples.addresses()[route][1], verb))
    assert found.summary
    assert EXAMPLES[route, verb].status in found.answers
    assert (route, verb) in examples.READS or bool(EXAMPLES[route, verb].leaves) == (verb != "get")


def test_there_is_no_example_of_what_is_not_there() -> None:
    assert set(EXAMPLES) == set(ALL)


@pytest.mark.parametrize("route", sorted(permissions.TABLE))
def test_verbs_that_are_not_in_the_table_are_not_there(acme: World, route: str) -> None:
    path = examples.asked(route, next(iter(permissions.TABLE[route])), acme).path
    for verb in {*VERBS, "options", "trace"} - set(permissions.TABLE[route]):
        answer = examples.send(verb, Asked(path, {}, None, {}), world=acme, secret=acme.secret)
        assert answer.status_code == 405, (verb, answer.content)
        allowed = set(answer["Allow"].lower().split(", "))
        assert allowed - {"head"} == set(permissions.TABLE[route])


# Who may.


@pytest.fixture(scope="module")
def credentials(acme: World, globex: World) -> dict[Who, str | None]:
    """Somebody of each kind, who asks for what is Acme's."""
    return {
        **{role: acme.key(Role(role)) for role in ROLES},
        "sealed key": acme.key(active_tenant_user_id=acme.user_id),
        "kit key": acme.key(account_kit_id=acme.member.kit.id),
        "session token": acme.session_token,
        "no key": None,
        "stranger": globex.secret,
    }


def probe(request: Asked) -> Asked:
    """The same with a parameter that no route knows: whoever is let in is told of it, and nothing is done."""
    return dataclasses.replace(request, query={**request.query, "nothing": "1"})


def verdict(answer: Any) -> tuple[int, str | None]:
    """401, 404, 403 with its reason, or 200 for whom the route let in."""
    details = error(answer).get("details", {})
    if answer.status_code == 400 and details == {"field": "nothing"}:
        return 200, None
    return answer.status_code, details.get("reason")


def expected(permission: Permission, who: Who) -> tuple[int, str | None]:
    """The verdict by the table alone."""
    if permission.role is None:
        return 200, None
    if who == "no key":
        return 401, None
    if who in NARROW:
        return (200, None) if permission.opens_to_narrow else (403, "key_scope")
    # The stranger is the owner of another company.
    role = Role.OWNER if who == "stranger" else Role(who)
    return (200, None) if permission.role.is_at_most(role) else (403, "role")


@cases(ALL)
def test_permission_matrix(acme: World, credentials: dict[Who, str | None], route: str, verb: str) -> None:
    permission, asked = permissions.TABLE[route][verb], []
    for who, secret in credentials.items():
        places = {"user_id": "me"} if who in NARROW and permission.opens_to_narrow else {}
        request = examples.asked(route, verb, acme, **places)
        answer = examples.send(verb, probe(request), world=acme, secret=secret)
        assert verdict(answer) == expected(permission, who), (who, answer.content)
        asked.append(answer)
        if who == "stranger" and examples.named_in_path(route):
            assert examples.send(verb, request, world=acme, secret=secret).status_code == 404
        elif who in NARROW and permission.opens_to_narrow:
            assert examples.send(verb, request, world=acme, secret=secret).status_code == 200
    assert entries(*asked) == []


@cases([(route, verb) for route, verb in ALL if permissions.TABLE[route][verb].opens_to_narrow])
def test_narrow_credential_reads_nobody_else(
    acme: World, credentials: dict[Who, str | None], route: str, verb: str
) -> None:
    if not examples.named_in_path(route):
        return
    request = examples.asked(route, verb, acme, user_id=str(acme.member.tenant_user.id))
    for who in NARROW:
        answer = examples.send(verb, request, world=acme, secret=credentials[who])
        assert verdict(answer) == (403, "key_scope"), who


# Whoever belongs to another company may go on there, out of a suspended one too.
@cases([pair for pair in CLOSED if pair[0] != "select-company"])
def test_suspended_company_reads_and_changes_nothing(suspended: World, route: str, verb: str) -> None:
    answer = examples.send(
        verb, probe(examples.asked(route, verb, suspended)), world=suspended, secret=suspended.secret
    )
    assert verdict(answer) == ((200, None) if verb == "get" else (403, "company_suspended"))


@pytest.fixture(scope="module")
def suspended() -> World:
    found = examples.world()
    companies.suspend(company_id=found.company_id)
    return found


@cases([pair for pair in CLOSED if pair[1] != "get"])
def test_session_of_the_dashboard_changes_nothing_without_its_csrf_token(
    acme: World, browser: Client, route: str, verb: str
) -> None:
    request = examples.asked(route, verb, acme)
    allowed = examples.with_token(browser, probe(request))
    others = examples.with_token(Client(), request)
    for forged in (request, others):
        answer = examples.send(verb, forged, world=acme, client=browser)
        assert verdict(answer) == (403, "csrf")
        assert entries(answer) == []
    assert verdict(examples.send(verb, allowed, world=acme, client=browser)) == (200, None)


def test_change_by_the_dashboards_session_is_its_persons(acme: World, browser: Client) -> None:
    owner = acme.member.owner
    request = examples.with_token(browser, examples.asked("account-kits", "post", acme))

    answer = examples.send("post", request, world=acme, client=browser)

    assert answer.status_code == 201, answer.content
    (entry,) = entries(answer)
    assert (entry.actor_kind, entry.actor_id, entry.person_id) == ("person", owner.id, owner.id)
    assert (entry.actor_label, entry.ip) == (owner.email, acme.address)


# What is left of it.


@cases(MUTATIONS)
def test_every_mutation_works_for_the_least_role_and_leaves_its_entry(route: str, verb: str) -> None:
    world, example = examples.world(), EXAMPLES[route, verb]
    role = permissions.TABLE[route][verb].role
    secret = None if role is None else world.key(role)
    before = AuditEntry.objects.count()

    answer = examples.send(verb, examples.asked(route, verb, world), world=world, secret=secret)

    assert answer.status_code == example.status, answer.content
    found = entries(answer)
    assert sorted(entry.action for entry in found) == sorted(example.leaves)
    assert {entry.ip for entry in found} <= {world.address}
    if route != "register":
        assert {entry.company_id for entry in found} <= {world.company_id}
    assert_no_secret(answer.json(), found)
    if route != "stripe-webhook":
        assert AuditEntry.objects.count() == before + len(found), "an entry without its request's id"


def assert_no_secret(answer: Mapping[str, Any], found: list[AuditEntry]) -> None:
    told = repr([AuditEntry.objects.filter(id=entry.id).values().get() for entry in found])
    for name in ("api_key", "secret", "token"):
        if isinstance(answer.get(name), str):
            assert answer[name] not in told
    assert factories.PASSWORD not in told


@cases(MUTATIONS)
def test_mutation_that_is_refused_leaves_nothing(acme: World, route: str, verb: str) -> None:
    if permissions.TABLE[route][verb].role is None:
        request = Asked(examples.asked(route, verb, acme).path, {}, b'{"email": "x"}', {})
        answer = examples.send(verb, request, world=acme)
        assert answer.status_code == 400
    else:
        request = examples.asked(route, verb, acme)
        answer = examples.send(verb, request, world=acme, secret=acme.session_token)
        assert answer.status_code == 403
    assert entries(answer) == []


@cases(list(examples.pairs("get")))
def test_reading_changes_nothing(acme: World, browser: Client, route: str, verb: str) -> None:
    request = examples.asked(route, verb, acme)
    for by in ({"secret": acme.secret}, {"client": browser}):
        with read_only():
            answer = examples.send(verb, request, world=acme, **by)
        assert answer.status_code == EXAMPLES[route, verb].status, answer.content
        assert entries(answer) == []


@contextlib.contextmanager
def read_only() -> Iterator[None]:
    """PostgreSQL itself refuses whatever would change anything, also inside a function."""
    with connection.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only = on")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SET default_transaction_read_only = off")


# What belongs to somebody else.


def foreign(route: str, verb: str, acme: World) -> list[tuple[str, ...]]:
    """Which of the ids that this request names could be somebody else's: each alone, and all of them."""
    usual = without_time(examples.asked(route, verb, acme))
    named = [
        name for name in NAMED if without_time(examples.asked(route, verb, acme.naming(None, name))) != usual
    ]
    return [*((name,) for name in named), *([tuple(named)] if len(named) > 1 else [])]


def without_time(request: Asked) -> Any:
    return request.path, request.query, None if request.headers else request.body


BOLA = [pair for pair in CLOSED if pair in EXAMPLES]


@cases(BOLA)
@pytest.mark.parametrize("by", ["key", "session"])
def test_what_is_globexs_is_to_acme_as_if_it_were_not_there(
    acme: World, globex: World, browser: Client, route: str, verb: str, by: str
) -> None:
    session = browser if by == "session" else None
    for names in foreign(route, verb, acme):
        theirs, unknown = (
            outcome(acme, acme.naming(other, *names), route, verb, session) for other in (globex, None)
        )
        assert theirs == unknown, names
        if set(names) & set(examples.named_in_path(route)):
            assert theirs[0] == 404, (names, theirs)
        else:
            assert theirs[0] in ((200,) if verb == "get" and theirs[0] != 404 else (404,)), (names, theirs)


def outcome(
    asker: World, named: World, route: str, verb: str, browser: Client | None
) -> tuple[int, Any, list[str], list[str]]:
    """Status, body, headers and queries of an answer, the ids that were asked for and of the request left out."""
    request = examples.asked(route, verb, named)
    if browser is not None and verb != "get":
        request = examples.with_token(browser, request)
    secret = None if browser else asker.secret
    with CaptureQueriesContext(connection) as queries:
        answer = examples.send(verb, request, world=asker, secret=secret, client=browser)
    if answer.streaming:
        return answer.status_code, None, sorted(answer.headers), []
    text = answer.content.decode().replace(answer["X-Request-Id"], "REQUEST")
    for name in NAMED:
        text = text.replace(str(getattr(named, name)), name)
    assert entries(answer) == []
    return (
        answer.status_code,
        json.loads(text),
        sorted(answer.headers),
        [_VALUE.sub("?", query["sql"]) for query in queries],
    )


@cases([pair for pair in BOLA if pair[1] != "get"])
def test_nothing_of_globex_is_changed_by_acme(acme: World, globex: World, route: str, verb: str) -> None:
    before = everything(globex)
    for names in foreign(route, verb, acme):
        examples.send(
            verb,
            examples.asked(route, verb, acme.naming(globex, *names)),
            world=acme,
            secret=acme.secret,
        )
    assert everything(globex) == before


OF_COMPANIES = (
    *("accounts_company", "accounts_accountkit", "accounts_apikey", "accounts_tenantuser"),
    *("accounts_membership", "accounts_webhook_endpoint", "accounts_webhook_delivery"),
    *("accounts_audit_entry", "accounts_user_session", "billing_wallet", "billing_entry"),
)


def everything(world: World) -> dict[str, list[Any]]:
    """Every row of a company."""
    found = {}
    with connection.cursor() as cursor:
        for table in OF_COMPANIES:
            column = "id" if table == "accounts_company" else "company_id"
            cursor.execute(
                f"SELECT t::text FROM {table} t WHERE {column} = %s ORDER BY 1",  # noqa: S608
                [world.company_id],
            )
            found[table] = cursor.fetchall()
    assert all(found[table] for table in OF_COMPANIES)
    return found


# What differs from one request to the next.
_VALUE = re.compile(r"'[^']*'|\"s\d+_x\d+\"")
# T2: what nobody says of themselves.
UNSAYABLE = (
    *(
        "company_id",
        "company",
        "wallet_id",
        "balance",
        "held",
        "is_staff",
        "is_superuser",
        "role",
        "id",
        "slug",
    ),
    *("created_by_id", "created_by", "created_at", "digest", "last_4", "family_id", "is_personal", "markup"),
)
# What a request says by right: of a company one belongs to, and of a key no higher than one's own.
SAYABLE = {("select-company", "post"): {"company_id"}, ("keys", "post"): {"role"}}


@cases([pair for pair in ALL if pair != ("stripe-webhook", "post")])
def test_nobody_says_of_themselves_whose_or_who_they_are(acme: World, route: str, verb: str) -> None:
    found = contract.of(getattr(examples.addresses()[route][1], verb))
    request = examples.asked(route, verb, acme)
    secret = acme.secret if permissions.TABLE[route][verb].role is not None else None
    for shape in (found.body, found.query):
        known = set(shape().fields) if shape else set()
        assert known & set(UNSAYABLE) <= SAYABLE.get((route, verb), set())
    by_address = dataclasses.replace(request, query={**request.query, "company__name": "x"})
    asked = [("company__name", by_address)]
    if verb != "get":
        body = json.loads(request.body or b"{}") | {"wallet_id": str(acme.company_id)}
        asked.append(("wallet_id", dataclasses.replace(request, body=json.dumps(body).encode())))
    for name, wrong in asked:
        answer = examples.send(verb, wrong, world=acme, secret=secret)
        assert (answer.status_code, error(answer)["details"]["field"]) == (400, name), answer.content
        assert entries(answer) == []


@cases([pair for pair in MUTATIONS if pair != ("stripe-webhook", "post")])
def test_forms_are_not_read(acme: World, route: str, verb: str) -> None:
    example = EXAMPLES[route, verb]
    if example.body is None:
        return
    path = examples.asked(route, verb, acme).path
    answer = getattr(Client(), verb)(
        path,
        data="company_id=1",
        content_type="application/x-www-form-urlencoded",
        headers={"Authorization": f"Bearer {acme.secret}"} if route not in ("register", "login") else {},
        REMOTE_ADDR=acme.address,
    )
    assert (answer.status_code, error(answer)["code"]) == (415, "unsupported_media_type")


def test_every_action_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs/audit.md").read_text()
    left = {action for example in EXAMPLES.values() for action in example.leaves}
    assert {action for action in left if f"`{action}`" not in page} == set()
