"""/v1/auth/keys: made, listed, changed, rotated, revoked; nobody gets more by a key than they have."""

import dataclasses
import json
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import companies, kits, people, tenants
from accounts.models import APIKey, AuditEntry, User
from tests import factories

NOW = timezone.now().replace(microsecond=0)


@pytest.fixture
def acme() -> factories.Cast:
    return factories.acme()


def ask(member: factories.Cast, method: str, path: str = "", body: Any = None, **headers: str) -> Any:
    return Client(raise_request_exception=False).generic(
        method.upper(),
        f"/v1/auth/keys{path}",
        b"" if body is None else json.dumps(body),
        content_type="application/json",
        headers={"Authorization": member.authorization} | headers,
    )


def made(member: factories.Cast, **given: Any) -> dict[str, Any]:
    answer = ask(member, "post", "", {"name": "Made", **given})
    assert answer.status_code == 201, answer.content
    found: dict[str, Any] = answer.json()
    return found


def error(answer: Any) -> dict[str, Any]:
    found: dict[str, Any] = answer.json()["error"]
    assert found["request_id"] == answer.headers["X-Request-Id"]
    return found


def told(answer: Any) -> dict[str, Any]:
    return {name: value for name, value in error(answer).items() if name != "request_id"}


def with_key(member: factories.Cast, **given: Any) -> factories.Cast:
    """The member with another key, which its owner made."""
    return factories.with_key(member, **({"role": "owner"} | given))


def with_colleague(member: factories.Cast, role: str) -> factories.Cast:
    """A colleague with a key of their own."""
    person = people.create(
        email=f"{uuid4().hex}@example.org", password=factories.PASSWORD, name="Colleague", now=NOW
    )
    companies.add_member(company_id=member.company_id, user_id=person.id, role=role, now=NOW)
    return dataclasses.replace(
        with_key(member, role=role, created_by_id=person.id, name=f"{role}'s"), owner=person
    )


def test_key_is_made_read_changed_and_revoked(acme: factories.Cast) -> None:
    end = (NOW + timedelta(days=9)).isoformat()
    limits = {"cap_credits": 2.5, "cap_period": "week", "requests_per_minute": 30, "expires_at": end}
    created = made(acme, role="viewer", **limits)
    path = f"/{created['id']}"
    read = ask(acme, "get", path).json()
    assert read == {name: value for name, value in created.items() if name != "api_key"}
    assert (read["role"], read["cap_credits"], read["requests_per_minute"]) == ("viewer", 2.5, 30)
    assert (read["last_4"], read["created_by"]) == (created["api_key"][-4:], str(acme.owner.id))
    changed = ask(
        acme, "patch", path, {"name": "Other", "cap_credits": None, "cap_period": None, "expires_at": None}
    )
    assert changed.status_code == 200, changed.content
    assert changed.json() == read | {
        "name": "Other",
        "cap_credits": None,
        "cap_period": None,
        "expires_at": None,
    }
    gone = ask(acme, "delete", path).json()
    assert (gone["revoked"], ask(acme, "delete", path).json()["revoked_at"]) == (True, gone["revoked_at"])
    assert ask(with_secret(acme, created), "get", path).status_code == 401


def with_secret(member: factories.Cast, created: dict[str, Any]) -> factories.Cast:
    return dataclasses.replace(member, secret=created["api_key"])


def test_secret_is_shown_once_and_kept_nowhere(acme: factories.Cast) -> None:
    created = made(acme)
    secret = created["api_key"]
    said = [ask(acme, "get").content, ask(acme, "get", f"/{created['id']}").content]
    said.append(ask(acme, "patch", f"/{created['id']}", {"name": "New"}).content)
    said.append(repr(list(AuditEntry.objects.filter(company_id=acme.company_id).values())).encode())
    row = APIKey.objects.get(id=created["id"])
    for text in said:
        assert secret[11:43].encode() not in text
        assert bytes(row.digest).hex().encode() not in text
        assert b"digest" not in text


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"name": ""}, "name"),
        ({"role": "root"}, "role"),
        ({"cap_credits": 5}, "cap_period"),
        ({"cap_period": "day"}, "cap_credits"),
        ({"cap_credits": -1, "cap_period": "day"}, "cap_credits"),
        ({"cap_credits": "5", "cap_period": "day"}, "cap_credits"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": "tomorrow"}, "expires_at"),
        ({"requests_per_minute": 0}, "requests_per_minute"),
        ({"requests_per_minute": True}, "requests_per_minute"),
        ({"account_kit_id": "default"}, "account_kit_id"),
        ({"created_by_id": "0197f3a0-0000-7000-8000-000000000000"}, "created_by_id"),
        ({"company_id": "0197f3a0-0000-7000-8000-000000000000"}, "company_id"),
        ({"is_personal": True}, "is_personal"),
    ],
    ids=str,
)
def test_bad_input_names_its_field_and_makes_no_key(
    acme: factories.Cast, given: dict[str, Any], field: str
) -> None:
    answer = ask(acme, "post", "", {"name": "Made", **given})
    assert (answer.status_code, error(answer)["details"]) == (400, {"field": field})
    assert error(answer)["message"].startswith(f"{field}: ")
    assert APIKey.objects.filter(company_id=acme.company_id).count() == 1


@pytest.mark.parametrize("field", ["role", "account_kit_id", "active_tenant_user_id", "revoked_at", "digest"])
def test_scope_and_role_never_change(acme: factories.Cast, field: str) -> None:
    answer = ask(acme, "patch", f"/{acme.key.id}", {field: None})
    assert (answer.status_code, error(answer)["details"]) == (400, {"field": field})


# Lists.


def test_list_is_read_page_by_page_the_newest_first(acme: factories.Cast) -> None:
    wanted = [str(acme.key.id), *(made(acme, name=f"Key {number}")["id"] for number in range(4))]
    found: list[str] = []
    page = ask(acme, "get", "?limit=2").json()
    while page["keys"]:
        assert len(page["keys"]) <= 2
        found += [key["id"] for key in page["keys"]]
        if page["next_cursor"] is None:
            break
        page = ask(acme, "get", f"?limit=2&cursor={page['next_cursor']}").json()
    assert sorted(found, reverse=True) == found
    assert sorted(found) == sorted(wanted)


def test_list_is_narrowed_by_what_it_is_asked(acme: factories.Cast) -> None:
    user = tenants.create(company_id=acme.company_id, external_id="alice", now=NOW)
    sealed = made(acme, active_tenant_user_id="ext:alice")
    scoped = made(acme, account_kit_id=str(acme.kit.id))
    gone = made(acme)
    ask(acme, "delete", f"/{gone['id']}")
    assert sealed["active_tenant_user_id"] == str(user.id)
    for query, expected in {
        "user_id=ext:alice": {sealed["id"]},
        f"user_id={user.id}": {sealed["id"]},
        f"account_kit_id={acme.kit.id}": {scoped["id"]},
        "revoked=true": {gone["id"]},
        "revoked=false": {str(acme.key.id), sealed["id"], scoped["id"]},
        f"account_kit_id={uuid4()}": set(),
    }.items():
        assert {key["id"] for key in ask(acme, "get", f"?{query}").json()["keys"]} == expected
    assert ask(acme, "get", "?user_id=ext:bob").status_code == 404
    assert ask(acme, "get", "?revoked=yes").status_code == 400
    assert ask(acme, "get", "?ordering=created_by__password").status_code == 400


def test_list_of_many_keys_takes_few_queries(acme: factories.Cast) -> None:
    for number in range(20):
        with_key(acme, name=f"Key {number}")
    with CaptureQueriesContext(connection) as queries:
        assert len(ask(acme, "get").json()["keys"]) == 21
    assert len(queries) <= 6


# Whose keys.


@pytest.mark.parametrize("method", ["get", "patch", "delete", "post"])
def test_stranger_finds_no_key_and_learns_nothing(acme: factories.Cast, method: str) -> None:
    globex = factories.globex()
    seen = set()
    for key_id in (acme.key.id, uuid4(), "nonsense"):
        path = f"/{key_id}/rotate" if method == "post" else f"/{key_id}"
        answer = ask(globex, method, path, None if method in {"get", "delete"} else {})
        assert answer.status_code == 404
        seen.add(json.dumps(told(answer)).replace(str(key_id), "…"))
    assert len(seen) == 1
    assert ask(acme, "get").status_code == 200
    assert str(acme.key.id) not in ask(globex, "get").content.decode()


@pytest.mark.parametrize("role", ["member", "viewer"])
def test_below_an_admin_one_sees_ones_own_keys(acme: factories.Cast, role: str) -> None:
    colleague = with_colleague(acme, role)
    assert [key["id"] for key in ask(colleague, "get").json()["keys"]] == [str(colleague.key.id)]
    others, nobodys = (ask(colleague, "get", f"/{key_id}") for key_id in (acme.key.id, uuid4()))
    assert (others.status_code, nobodys.status_code) == (404, 404)
    if role == "member":
        for method, path, body in (
            ("delete", "", None),
            ("patch", "", {"name": "x"}),
            ("post", "/rotate", {}),
        ):
            assert ask(colleague, method, f"/{acme.key.id}{path}", body).status_code == 404
        assert made(colleague)["created_by"] == str(colleague.owner.id)
    assert ask(acme, "get").status_code == 200


def test_key_of_the_operators_sees_its_own_family_alone(acme: factories.Cast) -> None:
    """Not every key that nobody made: one of those may be an owner's."""
    with_key(acme, created_by_id=None)
    mine = with_key(acme, created_by_id=None, role="member")
    successor = ask(mine, "post", f"/{mine.key.id}/rotate", {}).json()
    seen = {key["id"] for key in ask(mine, "get").json()["keys"]}
    assert seen == {str(mine.key.id), successor["id"]}


def test_admin_sees_all_keys_and_ends_any(acme: factories.Cast) -> None:
    admin = with_colleague(acme, "admin")
    assert len(ask(admin, "get").json()["keys"]) == 2
    assert ask(admin, "delete", f"/{acme.key.id}").json()["revoked"] is True


@pytest.mark.parametrize(("method", "path"), [("patch", ""), ("post", "/rotate")])
def test_key_above_ones_own_role_is_not_changed_nor_rotated(
    acme: factories.Cast, method: str, path: str
) -> None:
    """A rotation gives the successor's secret: an admin would become an owner, a lesser key its maker."""
    admin, lesser = with_colleague(acme, "admin"), with_key(acme, role="member")
    for asker in (admin, lesser):
        answer = ask(asker, method, f"/{acme.key.id}{path}", {})
        assert (answer.status_code, error(answer)["details"]["reason"]) == (403, "role")
    assert APIKey.objects.filter(company_id=acme.company_id, role="owner").count() == 1


def test_key_makes_none_above_itself_whoever_made_it(acme: factories.Cast) -> None:
    lesser = with_key(acme, role="member")
    answer = ask(lesser, "post", "", {"name": "More", "role": "admin"})
    assert (answer.status_code, error(answer)["details"]) == (
        403,
        {"reason": "role", "role": "member", "required": "admin"},
    )
    assert made(lesser)["role"] == "member"


@pytest.mark.parametrize("limit", [{"cap_credits": 1, "cap_period": "day"}, {"requests_per_minute": 5}])
def test_limited_key_gets_around_its_limit_by_no_other_key(acme: factories.Cast, limit: Any) -> None:
    free, limited = with_key(acme), with_key(acme, **limit)
    lifted = dict.fromkeys(limit)
    for method, path, body in (
        ("post", "", {"name": "Free"}),
        ("patch", f"/{limited.key.id}", lifted),
        ("patch", f"/{free.key.id}", {"name": "x"}),
        ("post", f"/{free.key.id}/rotate", {}),
    ):
        answer = ask(limited, method, path, body)
        assert (answer.status_code, error(answer)["details"]) == (403, {"reason": "key_limit"})
    own = ask(limited, "post", f"/{limited.key.id}/rotate", {}).json()
    assert {name: own[name] for name in limit} == limit


def test_key_that_ends_makes_none_that_lasts_longer(acme: factories.Cast) -> None:
    end = NOW + timedelta(hours=1)
    ending = with_key(acme, expires_at=end)
    for given in ({}, {"expires_at": (end + timedelta(seconds=1)).isoformat()}):
        answer = ask(ending, "post", "", {"name": "Longer", **given})
        assert error(answer)["details"] == {"field": "expires_at"}
    assert ask(ending, "patch", f"/{ending.key.id}", {"expires_at": None}).status_code == 400
    answer = ask(ending, "post", f"/{acme.key.id}/rotate", {})
    assert (answer.status_code, error(answer)["details"]) == (403, {"reason": "key_end"})
    assert datetime.fromisoformat(made(ending, expires_at=end.isoformat())["expires_at"]) == end
    assert ask(ending, "post", f"/{ending.key.id}/rotate", {}).status_code == 201


def test_narrow_key_does_nothing_here(acme: factories.Cast) -> None:
    for narrow in ({"account_kit_id": acme.kit.id}, {"active_tenant_user_id": acme.tenant_user.id}):
        key = with_key(acme, **narrow)
        for method, path in (
            ("get", ""),
            ("post", ""),
            ("get", f"/{key.key.id}"),
            ("delete", f"/{key.key.id}"),
        ):
            answer = ask(key, method, path, {} if method == "post" else None)
            assert (answer.status_code, error(answer)["details"]) == (403, {"reason": "key_scope"})


def test_key_is_neither_sealed_nor_scoped_to_what_is_anothers(acme: factories.Cast) -> None:
    globex = factories.globex()
    for given in (
        {"account_kit_id": str(globex.kit.id)},
        {"active_tenant_user_id": str(globex.tenant_user.id)},
        {"account_kit_id": str(uuid4())},
        {"active_tenant_user_id": "ext:nobody"},
    ):
        assert ask(acme, "post", "", {"name": "Made", **given}).status_code == 404
    assert made(acme, active_tenant_user_id="default")["active_tenant_user_id"] == str(acme.tenant_user.id)
    other = kits.create(company_id=acme.company_id, name="Other", now=NOW)
    both = {"account_kit_id": str(other.id), "active_tenant_user_id": "default"}
    assert error(ask(acme, "post", "", {"name": "Made", **both}))["details"] == {"field": "account_kit_id"}


def test_key_of_a_sign_in_is_rotated_by_its_person_alone(acme: factories.Cast) -> None:
    """Its successor opens the person's other companies: no colleague is to get it, nor whoever has another key."""
    colleague, admin = with_colleague(acme, "member"), with_colleague(acme, "admin")
    signed_in = with_key(colleague, created_by_id=colleague.owner.id, role="member", is_personal=True)
    browser = Client()
    browser.force_login(acme.owner)
    path = f"/{signed_in.key.id}/rotate"
    answers = [ask(colleague, "post", path, {}), ask(admin, "post", path, {}), ask(acme, "post", path, {})]
    answers.append(browser.post(f"/v1/auth/keys{path}", b"{}", content_type="application/json"))
    for answer in answers:
        assert (answer.status_code, error(answer)["details"]) == (403, {"reason": "key_personal"})
    own = ask(signed_in, "post", path, {})
    browser.force_login(colleague.owner)
    path = f"/{own.json()['id']}/rotate"
    answer = browser.post(f"/v1/auth/keys{path}", b"{}", content_type="application/json")
    assert (own.status_code, answer.status_code) == (201, 201)
    assert APIKey.objects.get(id=answer.json()["id"]).is_personal


def test_person_signed_in_makes_keys_in_their_own_name(acme: factories.Cast) -> None:
    client = Client()
    client.force_login(acme.owner)
    answer = client.post("/v1/auth/keys", json.dumps({"name": "Mine"}), content_type="application/json")
    assert (answer.status_code, answer.json()["created_by"]) == (201, str(acme.owner.id))
    entry = AuditEntry.objects.get(request_id=answer.headers["X-Request-Id"])
    assert (entry.actor_kind, entry.person_id) == ("person", acme.owner.id)


# Rotation.


def test_rotation_gives_a_successor_and_leaves_the_old_key_its_overlap(acme: factories.Cast) -> None:
    answer = ask(acme, "post", f"/{acme.key.id}/rotate", {"overlap_hours": 1})
    found = answer.json()
    assert (answer.status_code, found["rotated_from"], found["name"]) == (201, str(acme.key.id), "Default")
    old = ask(with_secret(acme, found), "get", f"/{acme.key.id}").json()
    left = datetime.fromisoformat(old["expires_at"]) - timezone.now()
    assert timedelta(minutes=59) < left <= timedelta(hours=1)
    assert ask(acme, "get").status_code == 200
    again = ask(acme, "post", f"/{acme.key.id}/rotate", {})
    assert (again.status_code, error(again)["code"]) == (409, "conflict")


def test_rotation_without_overlap_ends_the_old_key_at_once(acme: factories.Cast) -> None:
    found = ask(acme, "post", f"/{acme.key.id}/rotate", {"overlap_hours": 0}).json()
    assert ask(acme, "get").status_code == 401
    assert ask(with_secret(acme, found), "get").status_code == 200


@pytest.mark.parametrize("hours", [-1, 721, 1.5, "24", True])
def test_overlap_is_a_whole_number_of_hours_up_to_a_month(acme: factories.Cast, hours: Any) -> None:
    answer = ask(acme, "post", f"/{acme.key.id}/rotate", {"overlap_hours": hours})
    assert error(answer)["details"] == {"field": "overlap_hours"}


def test_rotation_takes_a_day_where_nothing_is_said(acme: factories.Cast) -> None:
    assert ask(acme, "post", f"/{acme.key.id}/rotate").status_code == 201
    left = (APIKey.objects.get(id=acme.key.id).expires_at or NOW) - timezone.now()
    assert timedelta(hours=23) < left <= timedelta(hours=24)


def test_key_is_made_once_for_one_idempotency_key(acme: factories.Cast) -> None:
    first, again = (ask(acme, "post", "", {"name": "Once"}, **{"Idempotency-Key": "k"}) for _ in range(2))
    assert first.content == again.content
    assert APIKey.objects.filter(company_id=acme.company_id, name="Once").count() == 1


# What is left of it.


def test_each_change_leaves_one_entry_of_what_it_changed(acme: factories.Cast) -> None:
    created = made(acme)
    path = f"/{created['id']}"
    ask(acme, "patch", path, {"name": "New", "requests_per_minute": 9})
    ask(acme, "patch", path, {"name": "New"})
    ask(acme, "post", f"{path}/rotate", {})
    ask(acme, "delete", path)
    entries = list(
        AuditEntry.objects.filter(company_id=acme.company_id, target_id=created["id"]).order_by("id")
    )
    assert [entry.action.removeprefix("api_key.") for entry in entries] == [
        "created",
        "updated",
        "rotated",
        "revoked",
    ]
    assert (entries[1].before, entries[1].after) == (
        {"name": "Made", "requests_per_minute": None},
        {"name": "New", "requests_per_minute": 9},
    )
    assert {(entry.actor_kind, entry.actor_id, entry.person_id) for entry in entries} == {
        ("key", acme.key.id, acme.owner.id)
    }


def test_keys_of_who_leaves_are_revoked_and_each_leaves_an_entry(acme: factories.Cast) -> None:
    colleague = with_colleague(acme, "admin")
    companies.remove_member(company_id=acme.company_id, user_id=colleague.owner.id, now=timezone.now())
    assert ask(colleague, "get").status_code == 401
    left = AuditEntry.objects.filter(company_id=acme.company_id, target_id=str(colleague.key.id))
    assert {entry.action for entry in left} == {"api_key.created", "api_key.revoked"}
    assert AuditEntry.objects.filter(
        company_id=acme.company_id, action="member.removed", target_id=str(colleague.owner.id)
    ).exists()
    assert User.objects.filter(id=colleague.owner.id).exists()
