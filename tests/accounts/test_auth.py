"""From the Authorization header to a principal: who gets in, who does not, and how soon that changes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from time import monotonic
from typing import Any

import pytest
from django.db import connections
from django.utils import timezone

from accounts import auth, changes, companies, database, keys, kits, tenants, tokens
from accounts.auth import Principal
from accounts.errors import Forbidden, Unauthorized, Unavailable
from accounts.ids import APIKeyId, TenantUserId
from accounts.models import TenantUser, User
from tests import factories
from tests.accounts.conftest import Own
from tests.accounts.outages import hang_up, revoke_silently, unreachable
from tests.conftest import Run

UNKNOWN = tokens.generate(tokens.KEY_PREFIX)


@asynccontextmanager
async def listening() -> AsyncIterator[None]:
    await auth.start()
    assert changes.is_listening()
    try:
        yield
    finally:
        await auth.stop()


async def refused_within(seconds: float, authorization: str) -> float:
    """How long the key still opened."""
    began = monotonic()
    while True:
        try:
            await auth.authenticate(authorization)
        except Unauthorized:
            return monotonic() - began
        assert monotonic() - began < seconds, f"still open after {seconds} s"
        await asyncio.sleep(0.005)


def on_own_connection(act: Any, **given: Any) -> None:
    try:
        act(**given)
    finally:
        connections.close_all()


def issue(member: factories.Cast, **changes: Any) -> keys.IssuedKey:
    wanted = {
        "name": "Test",
        "role": "member",
        "created_by_id": member.owner.id,
        "now": timezone.now(),
        **changes,
    }
    return keys.create(company_id=member.company_id, **wanted)


def test_principal_carries_company_key_and_default_user(run: Run, settings: Any) -> None:
    acme = factories.acme()
    principal = run(auth.authenticate(acme.authorization))
    assert principal == Principal(
        company_id=acme.company_id,
        company_name=acme.company.name,
        company_status="active",
        markup=settings.MARKUP,
        key_id=APIKeyId(acme.key.id),
        key_name="Default",
        key_role="owner",
        kit_scope_id=None,
        sealed_user_id=None,
        default_user_id=TenantUserId(acme.tenant_user.id),
        cap_scope_id=acme.key.id,
        cap_credits=None,
        cap_period=None,
        expires_at=None,
        requests_per_minute=None,
        created_by_id=acme.owner.id,
        is_personal=False,
        session_id=None,
    )
    assert not principal.is_narrow


def test_company_markup_takes_the_place_of_the_operators(run: Run) -> None:
    acme = factories.acme()
    companies.set_markup(company_id=acme.company_id, markup=Decimal("1.01"))
    assert run(auth.authenticate(acme.authorization)).markup == Decimal("1.01")
    companies.set_markup(company_id=acme.company_id, markup=Decimal("0.0001"))
    assert run(auth.authenticate(acme.authorization)).markup == Decimal("0.0001")


def test_scope_seal_cap_and_end_are_carried(run: Run) -> None:
    acme = factories.acme()
    end = timezone.now() + timedelta(hours=1)
    given = {"account_kit_id": acme.kit.id, "active_tenant_user_id": acme.tenant_user.id, "expires_at": end}
    issued = issue(acme, **given, cap_credits=Decimal("2.5"), cap_period="week")
    principal = run(auth.authenticate(f"Bearer {issued.secret}"))
    assert (principal.kit_scope_id, principal.sealed_user_id) == (acme.kit.id, acme.tenant_user.id)
    assert (principal.cap_credits, principal.cap_period) == (Decimal("2.5"), "week")
    assert (principal.cap_scope_id, principal.expires_at) == (issued.key.id, end)
    assert principal.is_narrow


@pytest.mark.parametrize("narrow", ["account_kit_id", "active_tenant_user_id"])
def test_scope_or_seal_alone_makes_a_key_narrow(run: Run, narrow: str) -> None:
    acme = factories.acme()
    target = acme.kit.id if narrow == "account_kit_id" else acme.tenant_user.id
    assert run(auth.authenticate(f"Bearer {issue(acme, **{narrow: target}).secret}")).is_narrow


@pytest.mark.parametrize(
    "header",
    [
        None, "", " ", "Bearer", "Bearer ", "Bearer null", "Bearer undefined", "bearer {key}", "BEARER {key}",
        "Bearer  {key}", "Bearer {key} ", "Bearer {key}\n", " Bearer {key}", "Bearer\t{key}", "{key}", "Basic {key}",
        "Token {key}", "Bearer {key}, Bearer {key}", "Bearer '{key}'", "Bearer ' OR 1=1 --",
        "Bearer nv_sk_live_' OR '1'='1' -- aaaaaaaaaaaaaaaaaaaa", "Bearer nv_sk_live_\x00" + "a" * 37,
        "Bearer " + "a" * 10_000, "Bearer " + "é" * 49, "Bearer nv_sk_live_" + "٣" * 38,
        "Bearer sk-or-v1-" + "0" * 64,
    ],
    ids=range(26),
)  # fmt: skip
def test_header_of_another_shape_is_401_without_a_query(run: Run, header: str | None) -> None:
    acme = factories.acme()
    with unreachable(), pytest.raises(Unauthorized) as caught:
        run(auth.authenticate(header.replace("{key}", acme.secret) if header else header))
    assert caught.value.hint


def test_wrong_check_is_401_without_a_query(run: Run) -> None:
    secret = factories.acme().secret
    changed = secret[:-1] + ("a" if secret[-1] != "a" else "b")
    with unreachable(), pytest.raises(Unauthorized):
        run(auth.authenticate(f"Bearer {changed}"))


def test_unknown_revoked_and_expired_look_the_same(run: Run) -> None:
    acme = factories.acme()
    revoked, expired = issue(acme), issue(acme, expires_at=timezone.now() + timedelta(milliseconds=1))
    keys.revoke(company_id=acme.company_id, key_id=revoked.key.id, now=timezone.now())
    seen = set()
    for secret in (tokens.generate(tokens.KEY_PREFIX), revoked.secret, expired.secret):
        with pytest.raises(Unauthorized) as caught:
            run(auth.authenticate(f"Bearer {secret}"))
        seen.add((caught.value.message, caught.value.hint, str(caught.value.details)))
    assert len(seen) == 1


def test_key_made_under_another_pepper_opens_nothing(run: Run, settings: Any) -> None:
    acme = factories.acme()
    settings.KEY_PEPPER = "another"
    with pytest.raises(Unauthorized):
        run(auth.authenticate(acme.authorization))


def test_rotated_key_works_until_its_overlap_ends_and_shares_the_cap(run: Run) -> None:
    acme = factories.acme()
    overlap = timedelta(milliseconds=300)
    now = timezone.now()
    new = keys.rotate(company_id=acme.company_id, key_id=acme.key.id, now=now, overlap=overlap)

    async def scenario() -> None:
        async with listening():
            old_principal = await auth.authenticate(acme.authorization)
            new_principal = await auth.authenticate(f"Bearer {new.secret}")
            assert old_principal.cap_scope_id == new_principal.cap_scope_id == acme.key.id
            await refused_within(1, acme.authorization)
            assert timezone.now() >= now + overlap
            await auth.authenticate(f"Bearer {new.secret}")

    run(scenario())


def test_key_ends_on_time_also_when_it_is_cached(run: Run) -> None:
    acme = factories.acme()
    end = timezone.now() + timedelta(milliseconds=250)
    header = f"Bearer {issue(acme, expires_at=end).secret}"

    async def scenario() -> None:
        async with listening():
            await auth.authenticate(header)
            await refused_within(1, header)
            assert timezone.now() - end < timedelta(milliseconds=200)

    run(scenario())


def test_hit_asks_no_database(run: Run, own: Own) -> None:
    acme = factories.acme()

    async def scenario() -> None:
        async with listening():
            first = await auth.authenticate(acme.authorization)
            revoke_silently(own, acme.key)
            assert await auth.authenticate(acme.authorization) is first

    run(scenario())


def test_revocation_on_another_connection_acts_within_a_second(run: Run) -> None:
    acme = factories.acme()
    given = {"company_id": acme.company_id, "key_id": acme.key.id, "now": timezone.now()}

    async def scenario() -> float:
        async with listening():
            await auth.authenticate(acme.authorization)
            await asyncio.to_thread(on_own_connection, keys.revoke, **given)
            return await refused_within(1, acme.authorization)

    assert run(scenario()) < 1


def test_suspension_and_new_markup_of_the_company_act_on_cached_keys(run: Run) -> None:
    acme = factories.acme()

    async def until(is_so: Any) -> None:
        async with asyncio.timeout(1):
            while not is_so(await auth.authenticate(acme.authorization)):
                await asyncio.sleep(0.005)

    async def scenario() -> None:
        async with listening():
            await auth.authenticate(acme.authorization)
            company = {"company_id": acme.company_id}
            await asyncio.to_thread(on_own_connection, companies.suspend, **company)
            await until(lambda principal: principal.company_status == "suspended")
            await asyncio.to_thread(on_own_connection, companies.set_markup, markup=Decimal(2), **company)
            await until(lambda principal: principal.markup == 2)

    run(scenario())


def test_without_a_listener_every_call_asks_the_database(run: Run, own: Own) -> None:
    acme = factories.acme()
    assert not changes.is_listening()
    run(auth.authenticate(acme.authorization))
    revoke_silently(own, acme.key)
    with pytest.raises(Unauthorized):
        run(auth.authenticate(acme.authorization))


def test_cache_is_not_used_while_the_listener_is_down(run: Run, own: Own) -> None:
    acme, other = factories.acme(), factories.acme()

    async def scenario() -> None:
        async with listening():
            await auth.authenticate(acme.authorization)
            await auth.authenticate(other.authorization)
            with unreachable():
                hang_up(own, "naive-changes")
                await until_listening(expected=False)
                revoke_silently(own, acme.key)
                with pytest.raises(Unauthorized):
                    await auth.authenticate(acme.authorization)
            await until_listening(expected=True)
            revoke_silently(own, other.key)
            with pytest.raises(Unauthorized):
                await auth.authenticate(other.authorization)

    run(scenario())


async def until_listening(*, expected: bool) -> None:
    async with asyncio.timeout(5):
        while changes.is_listening() is not expected:
            await asyncio.sleep(0.005)


def test_key_revoked_before_anybody_listened_again_is_refused(run: Run, own: Own) -> None:
    acme = factories.acme()

    async def scenario() -> None:
        async with listening():
            await auth.authenticate(acme.authorization)
            hang_up(own, "naive-changes")
            revoke_silently(own, acme.key)
            await until_listening(expected=False)
            await until_listening(expected=True)
            await refused_within(0.2, acme.authorization)

    run(scenario())


def test_unknown_key_is_asked_for_once(run: Run) -> None:
    header = f"Bearer {tokens.generate(tokens.KEY_PREFIX)}"

    async def scenario() -> None:
        async with listening():
            for _ in range(2):
                with pytest.raises(Unauthorized):
                    await auth.authenticate(header)
            await database.close()
            with unreachable(), pytest.raises(Unauthorized):
                await auth.authenticate(header)

    run(scenario())


def test_database_away_is_unavailable_and_never_a_principal(run: Run) -> None:
    acme = factories.acme()
    with unreachable(), pytest.raises(Unavailable):
        run(auth.authenticate(acme.authorization))


def test_database_away_at_the_start_is_overcome(run: Run) -> None:
    acme = factories.acme()

    async def scenario() -> None:
        with unreachable():
            await auth.start()
            assert not changes.is_listening()
        await until_listening(expected=True)
        assert (await auth.authenticate(acme.authorization)).company_id == acme.company_id

    run(scenario())


def test_no_clear_token_stays_in_memory(run: Run) -> None:
    acme = factories.acme()

    async def scenario() -> str:
        async with listening():
            await auth.authenticate(acme.authorization)
            with pytest.raises(Unauthorized):
                await auth.authenticate("Bearer " + UNKNOWN)
            return repr(auth._principals._entries) + repr(auth._unknown._entries)

    kept = run(scenario())
    assert str(acme.key.id) in kept
    assert acme.secret not in kept
    assert acme.secret[11:] not in kept


def test_key_is_one_companys_only(run: Run) -> None:
    acme, globex = factories.acme(), factories.globex()
    found = [run(auth.authenticate(member.authorization)).company_id for member in (acme, globex)]
    assert found == [acme.company_id, globex.company_id]


def test_viewers_key_is_read_only(run: Run) -> None:
    acme = factories.acme()
    auth.require_write(run(auth.authenticate(f"Bearer {issue(acme, role='member').secret}")))
    with pytest.raises(Forbidden) as caught:
        auth.require_write(run(auth.authenticate(f"Bearer {issue(acme, role='viewer').secret}")))
    assert caught.value.details == {"reason": "key_scope"}


def test_default_kit_and_user_may_change_hands(run: Run) -> None:
    acme = factories.acme()
    other = kits.create(company_id=acme.company_id, name="Other", now=timezone.now(), is_default=True)
    tenants.assign_kit(company_id=acme.company_id, user_id=acme.tenant_user.id, account_kit_id=other.id)
    assert run(auth.authenticate(acme.authorization)).default_user_id == acme.tenant_user.id


def test_default_user_need_not_be_the_first(run: Run) -> None:
    acme = factories.acme()
    users = [tenants.create(company_id=acme.company_id, now=timezone.now()) for _ in range(5)]
    TenantUser.objects.filter(id=acme.tenant_user.id).update(is_default=False)
    TenantUser.objects.filter(id=users[2].id).update(is_default=True)
    # Rows written later, so that the default one is neither the first nor the last that is found.
    TenantUser.objects.filter(id__in=[users[3].id, users[4].id]).update(label="Later")
    assert run(auth.authenticate(acme.authorization)).default_user_id == users[2].id


def test_key_of_a_deactivated_person_opens_nothing_until_they_are_back(run: Run) -> None:
    acme = factories.acme()
    made_by_operator = issue(acme, created_by_id=None)
    User.objects.filter(id=acme.owner.id).update(is_active=False)
    with pytest.raises(Unauthorized):
        run(auth.authenticate(acme.authorization))
    run(auth.authenticate(f"Bearer {made_by_operator.secret}"))
    User.objects.filter(id=acme.owner.id).update(is_active=True)
    run(auth.authenticate(acme.authorization))


def test_deactivation_acts_on_cached_keys_of_every_company_within_a_second(run: Run) -> None:
    acme, globex = factories.acme(), factories.globex()
    companies.add_member(
        company_id=globex.company_id, user_id=acme.owner.id, role="admin", now=timezone.now()
    )
    abroad = f"Bearer {issue(globex, created_by_id=acme.owner.id).secret}"
    deactivate = User.objects.filter(id=acme.owner.id).update

    async def scenario() -> None:
        async with listening():
            for header in (acme.authorization, abroad):
                await auth.authenticate(header)
            await asyncio.to_thread(on_own_connection, deactivate, is_active=False)
            for header in (acme.authorization, abroad):
                await refused_within(1, header)
            await auth.authenticate(globex.authorization)

    run(scenario())


def test_strangers_leave_room_for_keys_that_opened_a_moment_ago(run: Run) -> None:
    acme = factories.acme()

    async def scenario() -> None:
        async with asyncio.timeout(5), listening(), AsyncExitStack() as flood:
            await auth.authenticate(acme.authorization)
            for _ in range(database.STRANGERS_MAX):
                await flood.enter_async_context(database.for_strangers())
            stranger = asyncio.ensure_future(
                auth.authenticate(f"Bearer {tokens.generate(tokens.KEY_PREFIX)}")
            )
            changes._feed.heard(None)
            await auth.authenticate(acme.authorization)
            assert not stranger.done()
            await flood.aclose()
            with pytest.raises(Unauthorized):
                await stranger

    run(scenario())


def test_stranger_who_turned_out_a_friend_waits_no_more_and_a_revoked_friend_does(run: Run) -> None:
    acme = factories.acme()

    async def scenario() -> None:
        await auth.authenticate(acme.authorization)
        async with asyncio.timeout(5), AsyncExitStack() as flood:
            for _ in range(database.STRANGERS_MAX):
                await flood.enter_async_context(database.for_strangers())
            given = {"company_id": acme.company_id, "key_id": acme.key.id, "now": timezone.now()}
            await asyncio.to_thread(on_own_connection, keys.revoke, **given)
            with pytest.raises(Unauthorized):
                await auth.authenticate(acme.authorization)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(auth.authenticate(acme.authorization), 0.1)

    run(scenario())


def test_flood_of_forged_keys_lets_a_good_one_through(run: Run) -> None:
    acme = factories.acme()
    outcomes: set[str] = set()

    async def flood(until: asyncio.Event) -> None:
        while not until.is_set():
            try:
                await auth.authenticate(f"Bearer {tokens.generate(tokens.KEY_PREFIX)}")
            except (Unauthorized, Unavailable) as exc:
                outcomes.add(type(exc).__name__)
                await asyncio.sleep(0)

    async def scenario() -> None:
        async with listening(), asyncio.TaskGroup() as group:
            await auth.authenticate(acme.authorization)
            enough = asyncio.Event()
            for _ in range(database.STRANGERS_WAITING_MAX + 100):
                group.create_task(flood(enough))
            for _ in range(3):
                await asyncio.sleep(0.1)
                changes._feed.heard(None)
                await auth.authenticate(acme.authorization)
            enough.set()

    run(scenario())
    assert outcomes == {"Unauthorized", "Unavailable"}


def test_missed_notification_is_made_good_by_the_time_and_one_read(run: Run, own: Own) -> None:
    acme = factories.acme()

    async def scenario() -> float:
        async with listening():
            await auth.authenticate(acme.authorization)
            revoke_silently(own, acme.key)
            return await refused_within(auth.CACHE_TTL_S + 1, acme.authorization)

    assert run(scenario()) > 1
