"""Session tokens: for one tenant user, for a while, and never longer than the key that issued them."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from accounts import auth, companies, keys, people, sessions, subjects, tenants
from accounts.auth import Principal
from accounts.errors import Conflict, Forbidden, InvalidInput, NotFound, Unauthorized
from accounts.models import APIKey, AuditEntry, TenantUser, User
from accounts.session_models import UserSession
from tests import factories
from tests.accounts.test_auth import listening, on_own_connection, refused_within
from tests.conftest import Run


def issue(member: factories.Cast, key: APIKey | None = None, **given: Any) -> sessions.IssuedSession:
    wanted: dict[str, Any] = {"user_id": member.tenant_user.id, "now": timezone.now(), **given}
    return sessions.issue(company_id=member.company_id, api_key_id=(key or member.key).id, **wanted)


def key_of(member: factories.Cast, **given: Any) -> APIKey:
    wanted: dict[str, Any] = {"name": "Issues", "role": "member", "now": timezone.now()}
    wanted["created_by_id"] = member.owner.id
    return keys.create(company_id=member.company_id, **(wanted | given)).key


def opened(run: Run, issued: sessions.IssuedSession) -> Principal:
    return run(auth.authenticate(f"Bearer {issued.token}"))


def refused(run: Run, issued: sessions.IssuedSession) -> bool:
    try:
        opened(run, issued)
    except Unauthorized:
        return True
    return False


def test_session_is_sealed_and_counts_as_the_key_that_issued_it(run: Run) -> None:
    acme = factories.acme()
    key = key_of(acme, role="admin", cap_credits=Decimal(3), cap_period="day", requests_per_minute=7)
    successor = keys.rotate(company_id=acme.company_id, key_id=key.id, now=timezone.now()).key
    alice = tenants.create(company_id=acme.company_id, now=timezone.now())
    issued = issue(acme, successor, user_id=alice.id)
    principal = opened(run, issued)
    assert (principal.sealed_user_id, principal.session_id) == (alice.id, issued.session.id)
    assert (principal.key_id, principal.cap_scope_id) == (successor.id, key.id)
    assert (principal.cap_credits, principal.cap_period) == (Decimal(3), "day")
    assert principal.requests_per_minute == 7
    assert principal.expires_at == issued.session.expires_at
    assert principal.is_narrow
    assert (principal.key_role, principal.is_personal) == ("member", False)


def test_viewers_key_issues_a_token_that_only_reads(run: Run) -> None:
    acme = factories.acme()
    issued = issue(acme, key := key_of(acme))
    APIKey.objects.filter(id=key.id).update(role="viewer")
    with pytest.raises(Forbidden):
        auth.require_write(opened(run, issued))


def test_token_is_stored_nowhere() -> None:
    issued = issue(factories.acme())
    with connection.cursor() as cursor:
        statement = "SELECT row_to_json(s)::text FROM accounts_user_session s WHERE id = %s"
        cursor.execute(statement, [issued.session.id])
        row = cursor.fetchone()[0]
    assert issued.token not in row
    assert issued.token[8:40] not in row
    assert issued.token not in repr(issued)
    kept = AuditEntry.objects.filter(target_id=str(issued.session.id)).values()
    assert issued.token[8:40] not in repr(list(kept))


@pytest.mark.parametrize("ttl_s", [0, -1, 86_401, True, 1.5, "900", None])
def test_session_lasts_a_day_at_most(ttl_s: Any) -> None:
    with pytest.raises(InvalidInput, match=r"^ttl_seconds: "):
        issue(factories.acme(), ttl_s=ttl_s)


def test_session_takes_a_quarter_of_an_hour_and_ends_with_its_key_at_the_latest() -> None:
    acme, now = factories.acme(), timezone.now()
    assert issue(acme, now=now).session.expires_at == now + timedelta(minutes=15)
    ending = key_of(acme, expires_at=now + timedelta(minutes=5))
    assert issue(acme, ending, now=now).session.expires_at == now + timedelta(minutes=5)


def test_session_is_for_users_and_by_keys_of_its_company() -> None:
    acme, globex = factories.acme(), factories.globex()
    for user_id in (globex.tenant_user.id, uuid4()):
        with pytest.raises(NotFound, match="Tenant user"):
            issue(acme, user_id=user_id)
    with pytest.raises(NotFound, match="API key"):
        issue(acme, globex.key)


@pytest.mark.parametrize("column", ["tenant_user_id", "api_key_id"])
def test_database_itself_refuses_another_companys_user_or_key(column: str) -> None:
    acme, globex = factories.acme(), factories.globex()
    other = globex.tenant_user.id if column == "tenant_user_id" else globex.key.id
    with pytest.raises(IntegrityError), transaction.atomic():
        UserSession.objects.filter(id=issue(acme).session.id).update(**{column: other})


def test_suspended_user_gets_no_session_and_an_ended_key_issues_none() -> None:
    acme = factories.acme()
    alice = tenants.create(company_id=acme.company_id, now=timezone.now())
    tenants.suspend(company_id=acme.company_id, user_id=alice.id)
    with pytest.raises(Forbidden) as caught:
        issue(acme, user_id=alice.id)
    assert caught.value.details["reason"] == "user_suspended"
    keys.revoke(company_id=acme.company_id, key_id=(key := key_of(acme)).id, now=timezone.now())
    with pytest.raises(Conflict):
        issue(acme, key)


def end_session(acme: factories.Cast, issued: sessions.IssuedSession) -> None:
    named = {"user_id": issued.session.tenant_user_id, "session_id": issued.session.id}
    sessions.revoke(company_id=acme.company_id, **named, now=timezone.now())


def end_key(acme: factories.Cast, issued: sessions.IssuedSession) -> None:
    keys.revoke(company_id=acme.company_id, key_id=issued.session.api_key_id, now=timezone.now())


def end_key_by_rotation(acme: factories.Cast, issued: sessions.IssuedSession) -> None:
    key_id, now = issued.session.api_key_id, timezone.now()
    keys.rotate(company_id=acme.company_id, key_id=key_id, overlap=timedelta(0), now=now)


def leave(acme: factories.Cast, issued: sessions.IssuedSession) -> None:
    maker = APIKey.objects.get(id=issued.session.api_key_id).created_by_id
    assert maker is not None
    companies.remove_member(company_id=acme.company_id, user_id=maker, now=timezone.now())


def deactivate(acme: factories.Cast, issued: sessions.IssuedSession) -> None:
    User.objects.filter(api_keys=issued.session.api_key_id).update(is_active=False)


def delete_user(acme: factories.Cast, issued: sessions.IssuedSession) -> None:
    TenantUser.objects.filter(id=issued.session.tenant_user_id).update(status="deleted")


def close(acme: factories.Cast, issued: sessions.IssuedSession) -> None:
    companies.close(company_id=acme.company_id, now=timezone.now())


ENDS = [end_session, end_key, end_key_by_rotation, leave, deactivate, delete_user, close]


@pytest.mark.parametrize("end", ENDS)
def test_session_ends_within_a_second_also_where_it_is_cached(run: Run, end: Callable[..., None]) -> None:
    acme = factories.acme()
    clerk = people.create(
        email=f"{uuid4().hex}@example.org", password=factories.PASSWORD, name="Clerk", now=timezone.now()
    )
    companies.add_member(company_id=acme.company_id, user_id=clerk.id, role="member", now=timezone.now())
    alice = tenants.create(company_id=acme.company_id, now=timezone.now())
    issued = issue(acme, key_of(acme, created_by_id=clerk.id), user_id=alice.id)
    header = f"Bearer {issued.token}"

    async def scenario() -> None:
        async with listening():
            first = await auth.authenticate(header)
            assert await auth.authenticate(header) is first
            await asyncio.to_thread(on_own_connection, end, acme=acme, issued=issued)
            await refused_within(1, header)

    run(scenario())


def test_session_ends_on_time_also_where_it_is_cached(run: Run) -> None:
    acme = factories.acme()
    issued = issue(acme, ttl_s=1)

    async def scenario() -> None:
        async with listening():
            await auth.authenticate(f"Bearer {issued.token}")
            await refused_within(2, f"Bearer {issued.token}")
            assert timezone.now() >= issued.session.expires_at

    run(scenario())


def test_suspended_users_session_is_told_so(run: Run) -> None:
    acme = factories.acme()
    alice = tenants.create(company_id=acme.company_id, now=timezone.now())
    issued = issue(acme, user_id=alice.id)
    tenants.suspend(company_id=acme.company_id, user_id=alice.id)
    principal = opened(run, issued)
    subject = run(subjects.resolve(principal, path_user=None, header_user=None))
    with pytest.raises(Forbidden) as caught:
        subjects.require_active(principal, subject)
    assert caught.value.details == {"reason": "user_suspended", "user_id": str(alice.id)}


@pytest.mark.parametrize("where", ["path", "header"])
def test_session_is_for_nobody_else(run: Run, where: str) -> None:
    acme, globex = factories.acme(), factories.globex()
    alice = tenants.create(company_id=acme.company_id, external_id="alice", now=timezone.now())
    principal = opened(run, issue(acme, user_id=alice.id))

    def resolve(name: str) -> Any:
        users = {"path_user": None, "header_user": None, f"{where}_user": name}
        return run(subjects.resolve(principal, **users))

    for name in ("me", "ext:alice", str(alice.id)):
        assert resolve(name).user_id == alice.id
    for name in ("default", str(acme.tenant_user.id)):
        with pytest.raises(Forbidden) as caught:
            resolve(name)
        assert caught.value.details == {"reason": "key_subject_mismatch"}
    for name in (str(globex.tenant_user.id), str(uuid4()), "ext:bob", "nonsense"):
        with pytest.raises(NotFound):
            resolve(name)


def test_new_sessions_empty_nobodys_cache(run: Run) -> None:
    acme, globex = factories.acme(), factories.globex()

    async def scenario() -> None:
        async with listening():
            first = await auth.authenticate(acme.authorization)
            await auth.authenticate(globex.authorization)
            await asyncio.to_thread(on_own_connection, issue, member=acme)
            # What is told of Globex later is heard later.
            await asyncio.to_thread(on_own_connection, companies.suspend, company_id=globex.company_id)
            async with asyncio.timeout(1):
                while (await auth.authenticate(globex.authorization)).company_status != "suspended":
                    await asyncio.sleep(0.005)
            assert await auth.authenticate(acme.authorization) is first

    run(scenario())


def test_revoking_twice_keeps_the_first_moment_and_one_entry() -> None:
    acme, now = factories.acme(), timezone.now()
    session = issue(acme).session
    named: dict[str, Any] = {"user_id": acme.tenant_user.id, "session_id": session.id}
    named["company_id"] = acme.company_id
    first = sessions.revoke(**named, now=now).revoked_at
    assert sessions.revoke(**named, now=now + timedelta(minutes=1)).revoked_at == first == now
    actions = AuditEntry.objects.filter(target_id=str(session.id)).values_list("action", flat=True)
    assert sorted(actions) == ["user_session.created", "user_session.revoked"]


def test_list_has_what_has_not_ended_page_by_page() -> None:
    acme, now = factories.acme(), timezone.now()
    live = [issue(acme).session for _ in range(3)]
    end_session(acme, ended := issue(acme))
    issue(acme, now=now - timedelta(hours=1))
    named: dict[str, Any] = {"company_id": acme.company_id, "user_id": acme.tenant_user.id, "now": now}
    first = sessions.page(**named, limit=2)
    rest = sessions.page(**named, limit=2, before_id=first.before_id)
    found = [session.id for session in (*first.sessions, *rest.sessions)]
    assert found == sorted((session.id for session in live), reverse=True)
    assert ended.session.id not in found
    assert rest.before_id is None


def test_sessions_past_their_end_are_deleted_and_others_stay(run: Run) -> None:
    acme, now = factories.acme(), timezone.now()
    old, live = issue(acme, now=now - timedelta(hours=1)), issue(acme)
    assert sessions.forget(now=now) >= 1
    left = UserSession.objects.filter(company_id=acme.company_id).values_list("id", flat=True)
    assert list(left) == [live.session.id]
    assert refused(run, old)
    assert not refused(run, live)
