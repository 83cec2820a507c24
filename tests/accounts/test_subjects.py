"""For whom a call is: every way to name a user, every way two of them disagree."""

import asyncio
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection, connections, transaction
from django.utils import timezone

from accounts import auth, changes, companies, database, keys, kits, subjects, tenants
from accounts.auth import Principal
from accounts.errors import Forbidden, NotFound, Unavailable
from accounts.models import AccountKit, TenantUser
from accounts.subjects import Subject
from llm import bodies
from tests import factories
from tests.accounts.outages import unreachable
from tests.conftest import Run


def add_user(member: factories.Cast, external_id: str | None = None, **given: Any) -> TenantUser:
    return tenants.create(company_id=member.company_id, external_id=external_id, now=timezone.now(), **given)


def on_own_connection(act: Any, *args: Any, **given: Any) -> None:
    try:
        act(*args, **given)
    finally:
        connections.close_all()


def principal_of(run: Run, member: factories.Cast, **narrow: Any) -> Principal:
    """The company's own key, or a narrow one made on the spot."""
    if not narrow:
        return run(auth.authenticate(member.authorization))
    who: dict[str, Any] = {"company_id": member.company_id, "created_by_id": member.owner.id}
    issued = keys.create(**who, **narrow, name="Narrow", role="member", now=timezone.now())
    return run(auth.authenticate(f"Bearer {issued.secret}"))


def resolve(run: Run, principal: Principal, path: str | None = None, header: str | None = None) -> Subject:
    return run(subjects.resolve(principal, path_user=path, header_user=header))


def test_without_a_name_it_is_the_default_user(run: Run) -> None:
    acme = factories.acme()
    subject = resolve(run, principal_of(run, acme))
    assert (subject.user_id, subject.status) == (acme.tenant_user.id, "active")
    assert (subject.kit.id, subject.kit.name, dict(subject.kit.config)) == (acme.kit.id, "Default", {})


def test_path_wins_over_the_header_and_the_header_over_the_default(run: Run) -> None:
    acme = factories.acme()
    principal, one, two = principal_of(run, acme), add_user(acme), add_user(acme)
    assert resolve(run, principal, str(one.id), str(two.id)).user_id == one.id
    assert resolve(run, principal, None, str(two.id)).user_id == two.id
    assert resolve(run, principal, str(one.id)).user_id == one.id


@pytest.mark.parametrize("where", ["path", "header"])
def test_user_is_named_by_id_external_id_default_or_me(run: Run, where: str) -> None:
    acme = factories.acme()
    principal, alice = principal_of(run, acme), add_user(acme, "älice / 1", email="a@example.org")
    expected = {
        str(alice.id): alice.id,
        str(alice.id).upper(): alice.id,
        "ext:älice / 1": alice.id,
        "default": acme.tenant_user.id,
        "me": acme.tenant_user.id,
    }
    for name, user_id in expected.items():
        assert resolve(run, principal, **{where: name}).user_id == user_id
    found = resolve(run, principal, **{where: "ext:älice / 1"})
    assert (found.external_id, found.email) == ("älice / 1", "a@example.org")


def test_external_id_is_never_a_keyword_or_an_id(run: Run) -> None:
    acme = factories.acme()
    principal, other = principal_of(run, acme), add_user(acme)
    sly = [add_user(acme, name) for name in ("default", "me", str(other.id))]
    assert resolve(run, principal, "default").user_id == acme.tenant_user.id
    assert resolve(run, principal, "me").user_id == acme.tenant_user.id
    assert resolve(run, principal, str(other.id)).user_id == other.id
    for user in sly:
        assert resolve(run, principal, f"ext:{user.external_id}").user_id == user.id


@pytest.mark.parametrize("where", ["path", "header"])
@pytest.mark.parametrize(
    "name",
    [
        "", " ", "0", "alice", "DEFAULT", "Me", "ext:", "ext:nobody", "EXT:alice", "ext:" + "x" * 256, "ext:a\x00",
        "ext:\ud800", "\x00", "'; DROP TABLE accounts_apikey --", "../me", "me/..", "null", "undefined",
        "{01970000-0000-7000-8000-000000000000}", "x" * 100_000, "01970000-0000-7000-8000-000000000000",
    ],
    ids=range(21),
)  # fmt: skip
def test_unknown_and_malformed_names_are_not_found(run: Run, where: str, name: str) -> None:
    acme = factories.acme()
    with pytest.raises(NotFound, match="Tenant user was not found"):
        resolve(run, principal_of(run, acme), **{where: name})


def test_foreign_user_looks_like_an_unknown_one(run: Run) -> None:
    acme, globex = factories.acme(), factories.globex()
    add_user(globex, "spy")
    seen = set()
    for name in (str(globex.tenant_user.id), "ext:spy", str(uuid4())):
        with pytest.raises(NotFound) as caught:
            resolve(run, principal_of(run, acme), name)
        seen.add((caught.value.message, caught.value.hint, str(caught.value.details)))
    assert len(seen) == 1


def test_deleted_user_is_not_found(run: Run) -> None:
    acme = factories.acme()
    gone = add_user(acme, "gone")
    TenantUser.objects.filter(id=gone.id).update(status="deleted")
    for name in (str(gone.id), "ext:gone"):
        with pytest.raises(NotFound):
            resolve(run, principal_of(run, acme), name)


def test_sealed_key_is_for_its_user(run: Run) -> None:
    acme = factories.acme()
    alice = add_user(acme, "alice")
    principal = principal_of(run, acme, active_tenant_user_id=alice.id)
    for name in (None, "me", str(alice.id), "ext:alice"):
        assert resolve(run, principal, name).user_id == alice.id
        assert resolve(run, principal, None, name).user_id == alice.id
        assert resolve(run, principal, name, "me").user_id == alice.id


@pytest.mark.parametrize(
    ("path", "header"),
    [
        ("bob", None),
        (None, "bob"),
        ("me", "bob"),
        ("bob", "me"),
        ("default", None),
        (None, "default"),
        ("bob", "bob"),
    ],
)
def test_sealed_key_refuses_every_other_user(run: Run, path: str | None, header: str | None) -> None:
    acme = factories.acme()
    alice, _ = add_user(acme, "alice"), add_user(acme, "bob")
    principal = principal_of(run, acme, active_tenant_user_id=alice.id)
    names = [f"ext:{name}" if name == "bob" else name for name in (path, header)]
    with pytest.raises(Forbidden) as caught:
        resolve(run, principal, *names)
    assert caught.value.details == {"reason": "key_subject_mismatch"}


@pytest.mark.parametrize(
    ("path", "header"), [("nobody", None), (None, "nobody"), ("bob", "nobody"), ("nobody", "bob")]
)
def test_sealed_key_and_an_absent_user_is_not_found_before_forbidden(
    run: Run, path: str | None, header: str | None
) -> None:
    acme, globex = factories.acme(), factories.globex()
    alice, bob = add_user(acme, "alice"), add_user(acme, "bob")
    principal = principal_of(run, acme, active_tenant_user_id=alice.id)
    for absent in (str(globex.tenant_user.id), str(uuid4()), "malformed"):
        known = {"bob": str(bob.id), "nobody": absent}
        with pytest.raises(NotFound):
            resolve(run, principal, known.get(path or ""), known.get(header or ""))


def test_kit_scoped_key_is_for_users_of_its_kit(run: Run) -> None:
    acme = factories.acme()
    kit = kits.create(company_id=acme.company_id, name="Pro", now=timezone.now())
    inside, outside = add_user(acme, account_kit_id=kit.id), add_user(acme)
    principal = principal_of(run, acme, account_kit_id=kit.id)
    assert resolve(run, principal, str(inside.id)).kit.id == kit.id
    for name in (str(outside.id), None, "me"):
        with pytest.raises(Forbidden) as caught:
            resolve(run, principal, name)
        assert caught.value.details == {"reason": "key_kit_mismatch"}
    with pytest.raises(NotFound):
        resolve(run, principal, str(uuid4()))


def test_suspended_user_is_found_and_then_refused(run: Run) -> None:
    acme = factories.acme()
    alice = add_user(acme)
    tenants.suspend(company_id=acme.company_id, user_id=alice.id)
    principal = principal_of(run, acme)
    subject = resolve(run, principal, str(alice.id))
    with pytest.raises(Forbidden) as caught:
        subjects.require_active(principal, subject)
    assert caught.value.details == {"reason": "user_suspended", "user_id": str(alice.id)}
    subjects.require_active(principal, resolve(run, principal))


@pytest.mark.parametrize("status", ["suspended", "closed"])
def test_company_that_is_not_active_is_refused(run: Run, status: str) -> None:
    acme = factories.acme()
    principal = principal_of(run, acme)
    companies._change(acme.company_id, "company.changed", status=status)
    later = Principal(
        **{name: getattr(principal, name) for name in Principal.__slots__} | {"company_status": status}
    )
    with pytest.raises(Forbidden, match=status) as caught:
        subjects.require_active(later, resolve(run, later))
    assert caught.value.details == {"reason": "company_suspended"}


def test_limits_of_the_kit_come_as_exact_decimals(run: Run) -> None:
    acme = factories.acme()
    factories.set_llm(acme, {"defaults": {"max_cost_usd_per_call": 0.1, "monthly_credits_per_user": "0.3"}})
    rules = resolve(run, principal_of(run, acme)).kit.rules
    assert f"{rules.max_cost_usd_per_call} {rules.monthly_credits_per_user}" == "0.1 0.3"


def test_database_away_is_unavailable(run: Run) -> None:
    acme = factories.acme()
    principal = principal_of(run, acme)

    async def ask() -> None:
        await auth.stop()
        with unreachable():
            await database.close()
            await subjects.resolve(principal, path_user=None, header_user=None)

    with pytest.raises(Unavailable):
        run(ask())


def test_change_of_kit_or_user_acts_on_the_next_call(run: Run) -> None:
    """A toggle in the dashboard, another kit for the user, a suspension: each within a second, by notification."""
    acme = factories.acme()
    principal = principal_of(run, acme)
    other = kits.create(company_id=acme.company_id, name="Other", now=timezone.now())
    user = {"company_id": acme.company_id, "user_id": acme.tenant_user.id}

    async def until(is_so: Any) -> None:
        async with asyncio.timeout(1):
            while not is_so(await subjects.resolve(principal, path_user=None, header_user=None)):
                await asyncio.sleep(0.005)

    async def scenario() -> None:
        await auth.start()
        first = await subjects.resolve(principal, path_user=None, header_user=None)
        assert await subjects.resolve(principal, path_user="me", header_user=None) is first
        await asyncio.to_thread(on_own_connection, factories.set_llm, acme, {"enabled": False})
        await until(lambda subject: not subject.kit.rules.enabled)
        await asyncio.to_thread(on_own_connection, tenants.assign_kit, account_kit_id=other.id, **user)
        await until(lambda subject: subject.kit.id == other.id)
        await asyncio.to_thread(on_own_connection, tenants.suspend, **user)
        await until(lambda subject: subject.status == "suspended")
        assert changes.is_listening()

    run(scenario())


@pytest.mark.parametrize("written", [0.5, Decimal("0.5")])
def test_numbers_of_the_kits_provider_reach_upstream_as_numbers(run: Run, written: object) -> None:
    acme = factories.acme()
    factories.set_llm(acme, {"defaults": {"provider": {"max_price": {"prompt": written, "request": 2}}}})
    rules = resolve(run, principal_of(run, acme)).kit.rules
    assert repr(rules.provider) == "{'max_price': {'prompt': Decimal('0.5'), 'request': 2}}"
    sent = bodies.read(b'{"model":"m"}').splice({"provider": rules.provider})
    assert sent == b'{"model":"m","provider":{"max_price":{"prompt":0.5,"request":2}}}'


@pytest.mark.parametrize("stored", [[], "x", 7, {"llm": True}])
def test_kit_whose_configuration_is_broken_is_closed_and_can_be_mended(run: Run, stored: object) -> None:
    acme = factories.acme()
    principal = principal_of(run, acme)
    AccountKit.objects.filter(id=acme.kit.id).update(primitives_config=stored)
    with pytest.raises(Forbidden, match="cannot be read"):
        kits.require_primitive(resolve(run, principal).kit, "llm")
    factories.set_llm(acme, {"enabled": True})
    kits.require_primitive(resolve(run, principal).kit, "llm")


def test_user_deleted_without_a_word_is_gone_after_the_time_and_one_read(run: Run) -> None:
    acme = factories.acme()
    user = add_user(acme)
    principal = principal_of(run, acme)

    def delete_silently() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("ALTER TABLE accounts_tenantuser DISABLE TRIGGER accounts_tenantuser_changed")
            cursor.execute("UPDATE accounts_tenantuser SET status = 'deleted' WHERE id = %s", [user.id])
            cursor.execute("ALTER TABLE accounts_tenantuser ENABLE TRIGGER accounts_tenantuser_changed")

    async def until_not_found() -> None:
        while await subjects.resolve(principal, path_user=str(user.id), header_user=None):
            await asyncio.sleep(0.01)

    async def scenario() -> None:
        await auth.start()
        await subjects.resolve(principal, path_user=str(user.id), header_user=None)
        await asyncio.to_thread(on_own_connection, delete_silently)
        with pytest.raises(NotFound):
            await asyncio.wait_for(until_not_found(), auth.CACHE_TTL_S + 1)

    run(scenario())
