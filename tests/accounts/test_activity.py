"""Last uses: noted on the way, written off it."""

from datetime import UTC, datetime

from accounts import activity, auth, database, subjects
from accounts.models import APIKey, TenantUser
from tests import factories
from tests.accounts.conftest import Own
from tests.accounts.outages import unreachable
from tests.conftest import Run


def last_used_at(member: factories.Cast) -> datetime | None:
    return APIKey.objects.get(id=member.key.id).last_used_at


async def call(member: factories.Cast) -> None:
    principal = await auth.authenticate(member.authorization)
    subject = await subjects.resolve(principal, path_user=None, header_user=None)
    subjects.require_active(principal, subject)


def test_last_use_of_key_and_user_is_written_later_by_one_statement(run: Run) -> None:
    members = [factories.acme(), factories.acme()]
    for member in members:
        run(call(member))
    assert [last_used_at(member) for member in members] == [None, None]
    run(activity.write())
    for member in members:
        assert last_used_at(member) is not None
        assert TenantUser.objects.get(id=member.tenant_user.id).last_active_at is not None


def test_last_use_is_written_at_the_stop(run: Run) -> None:
    acme = factories.acme()
    run(auth.start())
    run(call(acme))
    run(auth.stop())
    assert last_used_at(acme) is not None


def test_what_cannot_be_written_is_kept(run: Run) -> None:
    acme = factories.acme()
    run(call(acme))

    async def write_without_database() -> None:
        await database.close()
        with unreachable():
            await activity.write()
        await database.close()

    run(write_without_database())
    assert last_used_at(acme) is None
    run(activity.write())
    assert last_used_at(acme) is not None


def test_row_that_somebody_holds_is_passed_over(run: Run, own: Own) -> None:
    held, free = factories.acme(), factories.acme()
    run(call(held))
    run(call(free))
    with own.transaction():
        own.execute("SELECT 1 FROM accounts_apikey WHERE id = %s FOR UPDATE", [held.key.id])
        run(activity.write())
    assert last_used_at(held) is None
    found = last_used_at(free)
    assert found is not None
    assert abs((datetime.now(UTC) - found).total_seconds()) < 60  # noqa: TID251


def test_refused_call_is_no_activity_of_the_user(run: Run) -> None:
    acme = factories.acme()
    run(auth.authenticate(acme.authorization))
    run(activity.write())
    assert TenantUser.objects.get(id=acme.tenant_user.id).last_active_at is None
