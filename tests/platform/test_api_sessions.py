"""/v1/users/{id}/sessions: tokens for a tenant user's own device, and the little they open."""

import json
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.utils import timezone

from accounts import tenants
from accounts.models import AuditEntry
from tests import factories

NOW = timezone.now()


@pytest.fixture
def acme() -> factories.Cast:
    return factories.acme()


def ask(member: factories.Cast | str, method: str, url: str, body: Any = None, **headers: str) -> Any:
    authorization = f"Bearer {member}" if isinstance(member, str) else member.authorization
    return Client().generic(
        method.upper(),
        f"/v1{url}",
        b"" if body is None else json.dumps(body),
        content_type="application/json",
        headers={"Authorization": authorization} | headers,
    )


def issued(member: factories.Cast, user: str = "default", **body: Any) -> dict[str, Any]:
    answer = ask(member, "post", f"/users/{user}/sessions", body)
    assert answer.status_code == 201, answer.content
    found: dict[str, Any] = answer.json()
    return found


def error(answer: Any) -> dict[str, Any]:
    found: dict[str, Any] = answer.json()["error"]
    assert found["request_id"] == answer.headers["X-Request-Id"]
    return found


def told(answer: Any) -> str:
    return json.dumps({name: value for name, value in error(answer).items() if name != "request_id"})


def test_session_is_issued_listed_and_revoked(acme: factories.Cast) -> None:
    tenants.create(company_id=acme.company_id, external_id="alice", now=NOW)
    made = issued(acme, "ext:alice", ttl_seconds=60)
    listed = ask(acme, "get", f"/users/{made['user_id']}/sessions").json()
    assert listed == {
        "sessions": [{name: value for name, value in made.items() if name != "token"}],
        "next_cursor": None,
    }
    assert made["key_id"] == str(acme.key.id)
    assert ask(made["token"], "get", "/auth/me").status_code == 200
    gone = ask(acme, "delete", f"/users/ext:alice/sessions/{made['id']}")
    assert (gone.status_code, gone.json()["revoked_at"] is None) == (200, False)
    assert ask(made["token"], "get", "/auth/me").status_code == 401
    assert ask(acme, "get", "/users/ext:alice/sessions").json()["sessions"] == []


@pytest.mark.parametrize("user", ["default", "me", "ext:alice", "{id}"])
def test_user_is_named_in_every_way(acme: factories.Cast, user: str) -> None:
    alice = tenants.create(company_id=acme.company_id, external_id="alice", now=NOW)
    expected = alice.id if user in {"ext:alice", "{id}"} else acme.tenant_user.id
    assert issued(acme, user.format(id=alice.id))["user_id"] == str(expected)


def test_session_reads_who_it_is_and_nothing_of_the_company(acme: factories.Cast) -> None:
    alice = tenants.create(company_id=acme.company_id, external_id="alice", now=NOW)
    made = issued(acme, "ext:alice")
    me = ask(made["token"], "get", "/auth/me").json()
    assert (me["kind"], me["session_id"], me["user"]["id"]) == ("session", made["id"], str(alice.id))
    assert (me["is_narrow"], me["active_tenant_user_id"]) == (True, str(alice.id))
    assert (me["person"], me["companies"]) == (None, [])
    assert ask(made["token"], "get", "/users/me").json()["id"] == str(alice.id)
    assert ask(made["token"], "get", "/users/me/usage").json()["user_id"] == str(alice.id)


@pytest.mark.parametrize(
    ("method", "url"),
    [
        ("get", "/status"),
        ("get", "/users"),
        ("get", "/users/default"),
        ("get", "/users/ext:alice"),
        ("patch", "/users/me"),
        ("get", "/usage"),
        ("get", "/auth/keys"),
        ("post", "/auth/keys"),
        ("post", "/auth/select-company"),
        ("get", "/users/me/sessions"),
        ("post", "/users/me/sessions"),
        ("get", "/audit"),
        ("post", "/billing/topup"),
    ],
)
def test_session_opens_nothing_else(acme: factories.Cast, method: str, url: str) -> None:
    tenants.create(company_id=acme.company_id, external_id="alice", now=NOW)
    answer = ask(issued(acme, "ext:alice")["token"], method, url, {} if method != "get" else None)
    assert (answer.status_code, error(answer)["details"]) == (403, {"reason": "key_scope"})


def test_stranger_finds_neither_the_user_nor_the_session(acme: factories.Cast) -> None:
    globex = factories.globex()
    made = issued(acme)
    seen = {
        told(ask(globex, method, f"/users/{user}/sessions", {} if method == "post" else None))
        for method in ("get", "post")
        for user in (made["user_id"], str(uuid4()), "ext:nobody", "nonsense")
    }
    assert len(seen) == 1
    for user in ("default", made["user_id"]):
        answer = ask(globex, "delete", f"/users/{user}/sessions/{made['id']}")
        assert (answer.status_code, error(answer)["code"]) == (404, "not_found")
    answers = {
        told(ask(globex, "delete", f"/users/me/sessions/{one}")).replace(one, "…")
        for one in (made["id"], str(uuid4()))
    }
    assert len(answers) == 1
    assert ask(made["token"], "get", "/auth/me").status_code == 200


def test_session_of_one_user_is_not_anothers(acme: factories.Cast) -> None:
    tenants.create(company_id=acme.company_id, external_id="alice", now=NOW)
    made = issued(acme)
    for session_id in (made["id"], "nonsense"):
        assert ask(acme, "delete", f"/users/ext:alice/sessions/{session_id}").status_code == 404
    assert ask(made["token"], "get", "/auth/me").status_code == 200


@pytest.mark.parametrize("ttl", [0, -1, 86_401, "900", 1.5, True, None])
def test_session_lasts_a_day_at_most(acme: factories.Cast, ttl: Any) -> None:
    answer = ask(acme, "post", "/users/me/sessions", {"ttl_seconds": ttl})
    assert (answer.status_code, error(answer)["details"]) == (400, {"field": "ttl_seconds"})


def test_person_signed_in_lists_and_revokes_and_is_told_to_issue_with_a_key(acme: factories.Cast) -> None:
    client, made = Client(), issued(acme)
    client.force_login(acme.owner)
    path = "/v1/users/default/sessions"
    answer = client.post(path, "{}", content_type="application/json")
    assert (answer.status_code, error(answer)["details"]) == (403, {"reason": "key_required"})
    assert [one["id"] for one in client.get(path).json()["sessions"]] == [made["id"]]
    assert client.delete(f"{path}/{made['id']}", content_type="application/json").status_code == 200
    assert ask(made["token"], "get", "/auth/me").status_code == 401


def test_suspended_user_gets_no_session(acme: factories.Cast) -> None:
    alice = tenants.create(company_id=acme.company_id, now=NOW)
    tenants.suspend(company_id=acme.company_id, user_id=alice.id)
    answer = ask(acme, "post", f"/users/{alice.id}/sessions", {})
    assert (answer.status_code, error(answer)["details"]["reason"]) == (403, "user_suspended")


def test_viewer_issues_none_and_reads_them(acme: factories.Cast) -> None:
    viewer, made = factories.with_key(acme, role="viewer"), issued(acme)
    assert ask(viewer, "post", "/users/me/sessions", {}).status_code == 403
    assert ask(viewer, "delete", f"/users/me/sessions/{made['id']}").status_code == 403
    assert ask(viewer, "get", "/users/me/sessions").status_code == 200


def test_limited_key_may_issue_since_it_counts_itself(acme: factories.Cast) -> None:
    limited = factories.with_key(acme, cap_credits=1, cap_period="day")
    me = ask(issued(limited)["token"], "get", "/auth/me").json()
    assert (me["key"]["id"], me["key"]["cap_credits"]) == (str(limited.key.id), 1)


def test_issue_and_end_each_leave_one_entry_without_the_token(acme: factories.Cast) -> None:
    made = issued(acme)
    ask(acme, "delete", f"/users/me/sessions/{made['id']}")
    ask(acme, "delete", f"/users/me/sessions/{made['id']}")
    entries = list(AuditEntry.objects.filter(target_id=made["id"]).order_by("id"))
    assert [entry.action for entry in entries] == ["user_session.created", "user_session.revoked"]
    assert {(entry.actor_kind, entry.actor_id) for entry in entries} == {("key", acme.key.id)}
    assert made["token"][8:40] not in repr(list(AuditEntry.objects.filter(target_id=made["id"]).values()))


def test_session_is_issued_once_for_one_idempotency_key(acme: factories.Cast) -> None:
    first, again = (
        ask(acme, "post", "/users/me/sessions", {}, **{"Idempotency-Key": "k"}).json() for _ in range(2)
    )
    assert first == again
