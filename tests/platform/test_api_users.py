"""/v1/users: tenant users are created, found, changed and suspended, each company's own alone."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import kits, tenants
from accounts.models import AccountKit, AuditEntry, TenantUser
from tests import factories


@pytest.fixture
def acme() -> factories.Cast:
    return factories.acme()


def ask(member: factories.Cast, method: str, url: str, body: Any = None, **headers: str) -> Any:
    sent = {} if body is None else {"data": body, "content_type": "application/json"}
    headers = {"Authorization": member.authorization} | headers
    return getattr(Client(), method)(url, headers=headers, **sent)


def get(member: factories.Cast, url: str, **query: Any) -> Any:
    return Client().get(url, query, headers={"Authorization": member.authorization})


def make(member: factories.Cast, **given: Any) -> dict[str, Any]:
    answer = ask(member, "post", "/v1/users", given)
    assert answer.status_code == 201, answer.content
    found: dict[str, Any] = answer.json()
    return found


def new_kit(member: factories.Cast) -> AccountKit:
    return kits.create(company_id=member.company_id, name=f"Kit {uuid4()}", now=timezone.now())


def error(answer: Any) -> dict[str, Any]:
    found: dict[str, Any] = answer.json()["error"]
    return found


def ids_of(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.content
    return [user["id"] for user in answer.json()["users"]]


def entries(member: factories.Cast, target_id: object) -> list[AuditEntry]:
    rows = AuditEntry.objects.filter(company_id=member.company_id, target_id=str(target_id))
    return list(rows.order_by("created_at", "id"))


def test_user_is_created_and_read_by_each_of_its_names(acme: factories.Cast) -> None:
    given = {"external_id": "alice", "email": "alice@example.org", "label": "Alice", "metadata": {"seats": 3}}

    made = make(acme, **given)

    assert set(made) == {
        *("id", "external_id", "email", "label", "status", "account_kit_id", "is_default", "metadata"),
        *("created_at", "last_active_at"),
    }
    assert {name: made[name] for name in given} == given
    assert (made["status"], made["is_default"], made["account_kit_id"]) == ("active", False, str(acme.kit.id))
    for name in (made["id"], "ext:alice"):
        assert get(acme, f"/v1/users/{name}").json() == made
    for name in ("default", "me", str(acme.tenant_user.id)):
        assert get(acme, f"/v1/users/{name}").json()["id"] == str(acme.tenant_user.id)


def test_external_id_that_is_taken_is_told_with_its_user(acme: factories.Cast) -> None:
    first, second = make(acme, external_id="alice"), make(acme)

    created = ask(acme, "post", "/v1/users", {"external_id": "alice"})
    changed = ask(acme, "patch", f"/v1/users/{second['id']}", {"external_id": "alice"})

    for answer in (created, changed):
        assert (answer.status_code, error(answer)["code"]) == (409, "duplicate_record")
        assert error(answer)["details"] == {"field": "external_id", "existing_id": first["id"]}


@pytest.mark.parametrize("status", ["suspended", "active"])
def test_status_is_changed_and_leaves_its_own_entry(acme: factories.Cast, status: str) -> None:
    made = make(acme)

    answer = ask(acme, "patch", f"/v1/users/{made['id']}", {"status": status})

    assert (answer.status_code, answer.json()["status"]) == (200, status)
    expected = "tenant_user.suspended" if status == "suspended" else "tenant_user.reactivated"
    assert entries(acme, made["id"])[-1].action == expected


def test_delete_suspends_and_the_default_user_stays(acme: factories.Cast) -> None:
    made = make(acme, external_id="bob")

    answer = ask(acme, "delete", "/v1/users/ext:bob")

    assert (answer.status_code, answer.json()["status"]) == (200, "suspended")
    assert get(acme, f"/v1/users/{made['id']}").json()["status"] == "suspended"
    kept = ask(acme, "delete", "/v1/users/default")
    assert (kept.status_code, error(kept)["code"]) == (409, "conflict")


def test_metadata_is_merged_and_null_removes(acme: factories.Cast) -> None:
    made = make(acme, metadata={"plan": "pro", "seats": 3})

    answer = ask(acme, "patch", f"/v1/users/{made['id']}", {"metadata": {"plan": None, "city": "Oslo"}})

    assert answer.json()["metadata"] == {"seats": 3, "city": "Oslo"}


def test_each_mutation_leaves_one_entry_of_who_and_what(acme: factories.Cast) -> None:
    made = make(acme, external_id="alice", metadata={"plan": "free", "token": "s3cret"})
    answer = ask(acme, "patch", f"/v1/users/{made['id']}", {"label": "Alice"})
    ask(acme, "delete", f"/v1/users/{made['id']}")

    created, updated, suspended = entries(acme, made["id"])

    assert [entry.action for entry in (created, updated, suspended)] == [
        *("tenant_user.created", "tenant_user.updated", "tenant_user.suspended")
    ]
    assert (updated.actor_kind, updated.actor_id) == ("key", acme.key.id)
    assert updated.request_id == answer.headers["X-Request-Id"]
    assert (updated.before, updated.after) == ({"label": ""}, {"label": "Alice"})
    assert (created.before, created.target_label) == (None, "alice")
    assert created.after is not None
    assert created.after["metadata"] == {"plan": "free", "token": "[secret]"}
    assert (suspended.before, suspended.after) == ({"status": "active"}, {"status": "suspended"})


def test_refused_change_leaves_no_entry(acme: factories.Cast) -> None:
    made = make(acme)

    ask(acme, "patch", f"/v1/users/{made['id']}", {"label": "Alice", "account_kit_id": str(uuid4())})

    assert [entry.action for entry in entries(acme, made["id"])] == ["tenant_user.created"]
    assert get(acme, f"/v1/users/{made['id']}").json()["label"] == ""


def deep(levels: int) -> Any:
    found: Any = {}
    for _ in range(levels):
        found = {"a": found}
    return found


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"external_id": ""}, "external_id"),
        ({"external_id": "x" * 256}, "external_id"),
        ({"external_id": "a\x00"}, "external_id"),
        ({"external_id": 7}, "external_id"),
        ({"email": "nobody"}, "email"),
        ({"label": "x" * 201}, "label"),
        ({"label": None}, "label"),
        ({"account_kit_id": "free"}, "account_kit_id"),
        ({"metadata": []}, "metadata"),
        ({"metadata": {"a": "x" * 16_384}}, "metadata"),
        ({"metadata": {"a": "\x00"}}, "metadata"),
        ({"metadata": {"a": 10**30}}, "metadata"),
        ({"metadata": deep(100)}, "metadata"),
        ({"company_id": "0197"}, "company_id"),
        ({"is_default": True}, "is_default"),
        ({"balance": 1_000}, "balance"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_bad_input_is_refused_by_name(acme: factories.Cast, given: dict[str, Any], field: str) -> None:
    before = TenantUser.objects.filter(company_id=acme.company_id).count()

    for answer in (ask(acme, "post", "/v1/users", given), ask(acme, "patch", "/v1/users/default", given)):
        assert (answer.status_code, error(answer)["code"]) == (400, "invalid_input")
        assert error(answer)["message"].startswith(f"{field}: ")
    assert TenantUser.objects.filter(company_id=acme.company_id).count() == before


def test_status_deleted_cannot_be_set(acme: factories.Cast) -> None:
    answer = ask(acme, "patch", "/v1/users/default", {"status": "deleted"})

    assert (answer.status_code, error(answer)["details"]) == (400, {"field": "status"})


@pytest.mark.parametrize("method", ["get", "patch", "delete"])
def test_user_of_globex_is_answered_as_an_unknown_one(acme: factories.Cast, method: str) -> None:
    globex = factories.globex()
    theirs = make(globex, external_id="theirs")
    body = {"label": "Mine"} if method == "patch" else None

    found = [
        ask(acme, method, f"/v1/users/{name}", body)
        for name in (theirs["id"], uuid4(), "ext:theirs", "ext:nobody", "x", "ext:", "ext:%00")
    ]

    bodies = []
    for answer in found:
        assert answer.status_code == 404
        bodies.append({**error(answer), "request_id": ""})
    assert bodies == [bodies[0]] * len(bodies)
    assert get(globex, f"/v1/users/{theirs['id']}").json() == theirs


def test_kit_of_globex_is_answered_as_an_unknown_one(acme: factories.Cast) -> None:
    unknown, theirs = uuid4(), factories.globex().kit.id
    for method, url in (("post", "/v1/users"), ("patch", "/v1/users/default")):
        bodies = []
        for kit_id in (theirs, unknown):
            answer = ask(acme, method, url, {"account_kit_id": str(kit_id)})
            assert answer.status_code == 404
            bodies.append(error(answer)["message"].replace(str(kit_id), "…"))
        assert bodies[0] == bodies[1]


def test_sealed_and_kit_scoped_keys_read_me_alone(acme: factories.Cast) -> None:
    made = make(acme, external_id="alice")
    sealed = factories.with_key(acme, active_tenant_user_id=UUID(made["id"]))
    scoped = factories.with_key(acme, account_kit_id=acme.kit.id)

    assert get(sealed, "/v1/users/me").json()["id"] == made["id"]
    assert get(scoped, "/v1/users/me").json()["id"] == str(acme.tenant_user.id)
    for member in (sealed, scoped):
        refused = [
            get(member, "/v1/users"),
            get(member, f"/v1/users/{made['id']}"),
            get(member, "/v1/users/ext:alice"),
            ask(member, "patch", "/v1/users/me", {"label": "Mine"}),
            ask(member, "delete", "/v1/users/me"),
            ask(member, "post", "/v1/users", {}),
        ]
        assert [(answer.status_code, error(answer)["details"]) for answer in refused] == [
            (403, {"reason": "key_scope"})
        ] * len(refused)


def test_me_of_a_key_for_another_kit_is_refused(acme: factories.Cast) -> None:
    scoped = factories.with_key(acme, account_kit_id=new_kit(acme).id)

    answer = get(scoped, "/v1/users/me")

    assert (answer.status_code, error(answer)["details"]) == (403, {"reason": "key_kit_mismatch"})


def test_member_makes_users_and_does_not_choose_their_kits(acme: factories.Cast) -> None:
    member, kit = factories.with_key(acme), new_kit(acme)
    made = make(member, label="Theirs")

    chosen = [
        ask(member, "post", "/v1/users", {"account_kit_id": str(kit.id)}),
        ask(member, "patch", f"/v1/users/{made['id']}", {"account_kit_id": str(kit.id)}),
    ]

    assert [(answer.status_code, error(answer)["details"]["required"]) for answer in chosen] == [
        (403, "admin")
    ] * 2
    assert ask(member, "patch", f"/v1/users/{made['id']}", {"label": "Mine"}).status_code == 200
    admin = factories.with_key(acme, role="admin")
    given = ask(admin, "patch", f"/v1/users/{made['id']}", {"account_kit_id": str(kit.id)})
    assert given.json()["account_kit_id"] == str(kit.id)


def test_list_is_paged_to_its_end_without_gap_or_double(acme: factories.Cast) -> None:
    made = [make(acme)["id"] for _ in range(6)]
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = get(acme, "/v1/users", limit=3, **cursor)
        found += ids_of(page)
        if page.json()["next_cursor"] is None:
            break
        cursor = {"cursor": page.json()["next_cursor"]}
    assert sorted(found) == sorted([*made, str(acme.tenant_user.id)])
    assert found == sorted(found, reverse=True)


def test_list_is_narrowed_by_each_filter(acme: factories.Cast) -> None:
    kit = new_kit(acme)
    alice = make(acme, external_id="A-1", email="Alice@example.org", label="Élodie ΟΔΟΣ")["id"]
    bob = make(acme, external_id="B_1", label="Bob", account_kit_id=str(kit.id))["id"]
    ask(acme, "delete", f"/v1/users/{bob}")
    tomorrow = (timezone.now() + timedelta(days=1)).isoformat().replace("+00:00", "Z")

    def list_by(**query: Any) -> list[str]:
        return ids_of(get(acme, "/v1/users", **query))

    assert list_by(status="suspended") == [bob]
    assert bob not in list_by(status="active")
    assert list_by(account_kit_id=str(kit.id)) == [bob]
    assert list_by(external_id="A-1") == [alice]
    assert list_by(external_id="a-1") == []
    assert list_by(search="alICE@") == list_by(search="ÉLODIE οδοσ") == list_by(search="a-") == [alice]
    assert list_by(search="b_") == [bob]
    assert list_by(search="b%") == list_by(search="odie") == []
    assert len(list_by(created_until=tomorrow)) == 3
    assert list_by(created_since=tomorrow) == []
    assert list_by(search="b", status="suspended", account_kit_id=str(kit.id)) == [bob]


@pytest.mark.parametrize(
    "query",
    [
        {"status": "deleted"},
        {"account_kit_id": "x"},
        {"created_since": "yesterday"},
        {"cursor": "x"},
        {"limit": "201"},
        {"ordering": "company__name"},
        {"email__regex": "."},
        {"search": "a\x00"},
    ],
    ids=str,
)
def test_filter_that_is_none_is_refused(acme: factories.Cast, query: dict[str, str]) -> None:
    answer = get(acme, "/v1/users", **query)

    assert (answer.status_code, error(answer)["code"]) == (400, "invalid_input")
    assert error(answer)["details"]["field"] in query


def test_lists_show_nobody_of_globex(acme: factories.Cast) -> None:
    globex = factories.globex()
    make(globex, external_id="theirs", label="Theirs")

    assert ids_of(get(acme, "/v1/users")) == [str(acme.tenant_user.id)]
    for query in ({"account_kit_id": str(globex.kit.id)}, {"search": "theirs"}, {"external_id": "theirs"}):
        assert ids_of(get(acme, "/v1/users", **query)) == []


def test_page_takes_as_many_queries_as_a_row(acme: factories.Cast) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as found:
            get(acme, "/v1/users", search="u", limit=200)
        return len(found)

    before = queries()
    now = timezone.now()
    for number in range(20):
        tenants.create(company_id=acme.company_id, label=f"User {number}", now=now)
    assert queries() == before
    assert before <= 4


MANY = 20_000
_MANY = """
    WITH kit AS (
        INSERT INTO accounts_accountkit
            (id, company_id, name, description, is_default, primitives_config, connections_config, created_at)
        SELECT gen_random_uuid(), %(company)s, 'Kit ' || n, '', false, '{}', '{"mode": "open"}', now()
        FROM generate_series(1, 1000) n RETURNING id
    ), numbered AS (SELECT id, row_number() OVER () AS number FROM kit)
    INSERT INTO accounts_tenantuser (id, company_id, external_id, email, label, status, account_kit_id, is_default,
        metadata, created_at)
    SELECT gen_random_uuid(), %(company)s, 'ext-' || n, 'user' || n || '@example.org', 'User ' || md5(n::text),
        CASE WHEN n %% 500 = 0 THEN 'suspended' ELSE 'active' END, numbered.id, false, '{}',
        now() - n * interval '1 minute'
    FROM generate_series(1, %(many)s) n JOIN numbered ON numbered.number = 1 + n %% 1000
"""


def test_lists_of_a_large_company_are_served_by_indexes(acme: factories.Cast) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_MANY, {"company": acme.company_id, "many": MANY})
        cursor.execute("ANALYZE accounts_tenantuser, accounts_accountkit")
    kit_id = str(AccountKit.objects.filter(company_id=acme.company_id, name="Kit 7").get().id)
    queries: list[str] = []
    asked: list[tuple[str, dict[str, str]]] = [
        *(("/v1/users", {"search": text}) for text in ("user1777", "USER", "nobody", "e")),
        ("/v1/users", {"status": "suspended"}),
        ("/v1/users", {"account_kit_id": kit_id, "search": "ext-"}),
        ("/v1/users", {"external_id": "ext-77"}),
        ("/v1/users", {"created_until": "2020-01-01T00:00:00Z"}),
        ("/v1/users", {"limit": "200"}),
        ("/v1/account-kits", {"limit": "200"}),
    ]
    for url, query in asked:
        with CaptureQueriesContext(connection) as found:
            assert get(acme, url, **query).status_code == 200
        assert len(found) <= 4, (url, query)
        queries += [each["sql"] for each in found if 'FROM "accounts_tenantuser"' in each["sql"]]
    assert len(queries) >= len(asked)
    for each in queries:
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN {each}")
            plan = "\n".join(line for (line,) in cursor.fetchall())
        assert "Seq Scan" not in plan, f"{each}\n{plan}"
