"""The caches and the feed they live by: what is kept, what is dropped, and when nothing is believed."""

import asyncio
from time import monotonic
from uuid import UUID

import pytest
from psycopg import sql

from accounts import changes, ids, keys, tenants
from accounts.changes import Cache, Mark
from tests import factories
from tests.accounts.conftest import Own
from tests.accounts.outages import Proxy, database_at
from tests.conftest import Run


def cache(*, entries_max: int = 100, ttl_s: float = 5.0) -> Cache[str, int]:
    return Cache(entries_max=entries_max, ttl_s=ttl_s)


async def until(listening: bool, *, within_s: float = 5.0) -> None:
    async with asyncio.timeout(within_s):
        while changes.is_listening() is not listening:
            await asyncio.sleep(0.005)


def test_value_is_kept_until_its_time(run: Run) -> None:
    async def scenario() -> None:
        await changes.start()
        kept = cache(ttl_s=0.05)
        kept.put("a", 1, as_of=changes.mark())
        kept.put("b", 2, as_of=changes.mark(), ends_in_s=0.01)
        kept.put("c", 3, as_of=changes.mark(), ends_in_s=-1)
        kept.put("d", 4, as_of=changes.mark(), ends_in_s=60)
        assert [kept.get(key) for key in "abcd"] == [1, 2, None, 4]
        await asyncio.sleep(0.06)
        assert [kept.get(key) for key in "abcd"] == [None] * 4
        await changes.stop()

    run(scenario())


def test_cache_is_bounded_and_forgets_the_oldest(run: Run) -> None:
    run(changes.start())
    kept = cache(entries_max=3)
    for number, key in enumerate("abcb"):
        kept.put(key, number, as_of=changes.mark(), company_id=ids.uuid7())
    assert [kept.get(key) for key in "abc"] == [0, 3, 2]
    kept.put("d", 4, as_of=changes.mark(), company_id=ids.uuid7())
    assert [kept.get(key) for key in "abcd"] == [None, 3, 2, 4]
    assert len(kept) == len(kept._keys_of) == 3
    run(changes.stop())


def test_one_companys_change_leaves_the_others(run: Run, own: Own) -> None:
    one, other = ids.uuid7(), ids.uuid7()

    async def scenario() -> None:
        await changes.start()
        kept = cache()
        kept.put("one", 1, as_of=changes.mark(), company_id=one)
        kept.put("other", 2, as_of=changes.mark(), company_id=other)
        kept.put("nobody's", 3, as_of=changes.mark())
        await notified(own, str(one))
        assert [kept.get(key) for key in ("one", "other", "nobody's")] == [None, 2, 3]
        await notified(own, "not a company")
        assert len(kept) == 0
        assert changes.is_listening()
        await changes.stop()

    run(scenario())


async def notified(own: Own, payload: str) -> None:
    """Send a notification and wait until it has been heard."""
    before = changes.mark().epoch
    own.execute(sql.SQL("NOTIFY accounts_changed, {}").format(payload))
    async with asyncio.timeout(1):
        while changes.mark().epoch == before:
            await asyncio.sleep(0.001)


def test_answer_read_before_a_change_is_not_kept(run: Run, own: Own) -> None:
    """The race of every cache: the query saw the old row, the notification came before its answer was put."""

    async def scenario() -> None:
        await changes.start()
        kept = cache()
        as_of = changes.mark()
        await notified(own, str(ids.uuid7()))
        kept.put("a", 1, as_of=as_of)
        assert kept.get("a") is None
        await changes.stop()

    run(scenario())


def test_nothing_is_kept_or_given_while_nobody_listens(run: Run) -> None:
    kept = cache()
    kept.put("a", 1, as_of=Mark(epoch=changes.mark().epoch, at_s=monotonic()))
    assert len(kept) == 0
    run(changes.start())
    kept.put("a", 1, as_of=changes.mark())
    assert kept.get("a") == 1
    run(changes.stop())
    assert kept.get("a") is None


def test_answer_read_before_anybody_listened_is_not_kept(run: Run) -> None:
    kept = cache()
    as_of = changes.mark()
    run(changes.start())
    kept.put("a", 1, as_of=as_of)
    assert kept.get("a") is None


def test_second_start_changes_nothing(run: Run) -> None:
    run(changes.start())
    before = changes.mark().epoch
    run(changes.start())
    assert changes.mark().epoch == before
    run(changes.stop())
    assert not changes.is_listening()


def test_listener_of_another_loop_is_left_alone(run: Run) -> None:
    run(changes.start())
    with asyncio.Runner() as other:
        other.run(changes.start())
        other.run(changes.stop())
    assert changes.is_listening()
    run(changes.stop())


def test_listener_left_behind_by_a_closed_loop_is_replaced(run: Run) -> None:
    with asyncio.Runner() as other:
        other.run(changes.start())
    assert not changes.is_listening()
    run(changes.start())
    assert changes.is_listening()


def test_server_that_falls_silent_turns_the_caches_off(run: Run) -> None:
    """A cut network says nothing: no notification comes, and no error either."""

    async def scenario() -> None:
        async with Proxy() as proxy:
            with database_at("127.0.0.1", proxy.port):
                await changes.start()
            assert changes.is_listening()
            proxy.speaks.clear()
            most_s = changes.HEARTBEAT_INTERVAL_S + changes.HEARTBEAT_TIMEOUT_S + 1
            await until(listening=False, within_s=most_s)
            proxy.speaks.set()
            await until(listening=True)
            await changes.stop()

    run(scenario())


def heard_by(own: Own) -> list[UUID]:
    return [UUID(notice.payload) for notice in own.notifies(timeout=0.05)]


def test_every_write_that_matters_is_told_and_activity_is_not(own: Own) -> None:
    acme = factories.acme()
    own.execute("LISTEN accounts_changed")
    tenants.suspend(company_id=acme.company_id, user_id=acme.tenant_user.id)
    assert heard_by(own) == [acme.company_id]
    for table, column in (("accounts_apikey", "last_used_at"), ("accounts_tenantuser", "last_active_at")):
        own.execute(
            sql.SQL("UPDATE {} SET {} = now() WHERE company_id = %s").format(
                sql.Identifier(table), sql.Identifier(column)
            ),
            [acme.company_id],
        )
    assert heard_by(own) == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE accounts_company SET markup = 2 WHERE id = %s",
        "UPDATE accounts_accountkit SET name = 'Renamed' WHERE company_id = %s",
        "UPDATE accounts_tenantuser SET metadata = '{\"a\": 1}' WHERE company_id = %s",
        "UPDATE accounts_apikey SET revoked_at = now(), last_used_at = now() WHERE company_id = %s",
        "DELETE FROM accounts_apikey WHERE company_id = %s",
    ],
)
def test_rows_changed_by_hand_are_told_too(own: Own, statement: str) -> None:
    acme = factories.acme()
    own.execute("LISTEN accounts_changed")
    own.execute(statement.encode(), [acme.company_id])
    assert heard_by(own) == [acme.company_id]


def test_write_that_is_rolled_back_is_not_told(own: Own) -> None:
    acme = factories.acme()
    own.execute("LISTEN accounts_changed")
    with own.transaction(force_rollback=True):
        own.execute("UPDATE accounts_company SET markup = 2 WHERE id = %s", [acme.company_id])
    assert heard_by(own) == []
    assert keys.get(company_id=acme.company_id, key_id=acme.key.id).revoked_at is None


def test_crowd_that_misses_reads_once(run: Run) -> None:
    reads: list[int] = []

    async def read() -> int:
        reads.append(1)
        await asyncio.sleep(0.02)
        return 7

    async def scenario() -> None:
        await changes.start()
        kept = cache()
        asked = [kept.read_once("a", read) for _ in range(400)]
        assert await asyncio.gather(*asked) == [7] * 400
        assert len(reads) == 1
        assert await kept.read_once("a", read) == 7
        assert len(reads) == 2
        await changes.stop()

    run(scenario())


def test_nobody_joins_a_read_from_before_a_change(run: Run) -> None:
    answers = iter([1, 2])

    async def read() -> int:
        answer = next(answers)
        await asyncio.sleep(0.05)
        return answer

    async def scenario() -> None:
        await changes.start()
        kept = cache()
        before = asyncio.ensure_future(kept.read_once("a", read))
        await asyncio.sleep(0.01)
        changes._feed.heard(None)
        assert await kept.read_once("a", read) == 2
        assert await before == 1
        assert not kept._flights
        await changes.stop()

    run(scenario())


def test_caller_who_leaves_does_not_take_the_read_along(run: Run) -> None:
    async def read() -> int:
        await asyncio.sleep(0.02)
        return 7

    async def scenario() -> None:
        await changes.start()
        kept = cache()
        leaver = asyncio.ensure_future(kept.read_once("a", read))
        stayer = asyncio.ensure_future(kept.read_once("a", read))
        await asyncio.sleep(0)
        leaver.cancel()
        assert await stayer == 7
        await changes.stop()

    run(scenario())


def test_read_that_fails_fails_for_all_and_is_tried_anew(run: Run) -> None:
    async def fail() -> int:
        raise LookupError("away")

    async def succeed() -> int:
        return 7

    async def scenario() -> None:
        await changes.start()
        kept = cache()
        found = await asyncio.gather(*(kept.read_once("a", fail) for _ in range(3)), return_exceptions=True)
        assert all(isinstance(one, LookupError) for one in found)
        assert await kept.read_once("a", succeed) == 7
        await changes.stop()

    run(scenario())


class Source:
    """What a cache reads from: it can be slow, fail, and count how often it was asked."""

    def __init__(self, kept: Cache[str, int]) -> None:
        self.kept = kept
        self.value = 1
        self.asked = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.is_away = False

    async def read(self) -> int:
        self.asked += 1
        as_of = changes.mark()
        await self.may_answer.wait()
        if self.is_away:
            raise ConnectionError
        self.kept.put("a", self.value, as_of=as_of)
        return self.value

    def recall(self) -> int | None:
        return self.kept.recall("a", self.read)


async def begun(ttl_s: float) -> Source:
    """A source whose value is in the cache, in the last part of its time."""
    await changes.start()
    source = Source(cache(ttl_s=ttl_s))
    assert await source.kept.read_once("a", source.read) == 1
    await asyncio.sleep(ttl_s * changes.REFRESH_AFTER)
    return source


def test_value_in_use_is_read_anew_before_its_time_and_nobody_waits(run: Run) -> None:
    async def scenario() -> None:
        source = await begun(ttl_s=0.2)
        source.value = 2
        source.may_answer.clear()
        assert [source.recall() for _ in range(100)] == [1] * 100
        await asyncio.sleep(0.15)
        assert source.recall() == 1
        assert source.asked == 2
        source.may_answer.set()
        await source.kept.rest()
        assert source.recall() == 2
        await changes.stop()

    run(scenario())


def test_value_that_nobody_asked_for_ends_in_time(run: Run) -> None:
    async def scenario() -> None:
        source = await begun(ttl_s=0.1)
        await asyncio.sleep(0.05)
        assert source.recall() is None
        assert source.asked == 1
        await changes.stop()

    run(scenario())


def test_value_that_is_gone_when_read_anew_is_gone(run: Run) -> None:
    async def scenario() -> None:
        source = await begun(ttl_s=0.5)

        async def find_nothing() -> int:
            source.kept.forget("a")
            raise LookupError

        assert source.kept.recall("a", find_nothing) == 1
        await source.kept.rest()
        assert source.recall() is None
        await changes.stop()

    run(scenario())


def test_change_that_is_heard_ends_a_value_that_is_read_anew(run: Run) -> None:
    async def scenario() -> None:
        source = await begun(ttl_s=0.2)
        source.may_answer.clear()
        assert source.recall() == 1
        await asyncio.sleep(0)
        changes._feed.heard(None)
        assert source.recall() is None
        source.may_answer.set()
        await source.kept.rest()
        assert source.recall() is None
        await changes.stop()

    run(scenario())


def test_value_that_cannot_be_read_anew_is_believed_a_moment_longer(run: Run) -> None:
    async def scenario() -> None:
        source = await begun(ttl_s=0.1)
        source.is_away = True
        assert source.recall() == 1
        await source.kept.rest()
        await asyncio.sleep(0.05)
        assert source.recall() == 1
        assert source.asked == 2
        await asyncio.sleep(changes.RETRY_S)
        assert source.recall() is None
        await changes.stop()

    run(scenario())


def test_own_end_of_a_value_holds_also_while_it_is_read_anew(run: Run) -> None:
    async def scenario() -> None:
        source = await begun(ttl_s=0.1)
        source.kept.put("a", 1, as_of=changes.mark(), ends_in_s=0.15)
        await asyncio.sleep(0.07)
        source.may_answer.clear()
        assert source.recall() == 1
        await asyncio.sleep(0.05)
        assert source.recall() == 1
        await asyncio.sleep(0.05)
        assert source.recall() is None
        source.may_answer.set()
        await changes.stop()

    run(scenario())


def test_value_is_believed_only_so_long_past_its_time(run: Run) -> None:
    async def scenario() -> None:
        source = await begun(ttl_s=0.1)
        source.may_answer.clear()
        assert source.recall() == 1
        entry = source.kept._entries["a"]
        assert entry.last_s - entry.ends_at_s == pytest.approx(changes.STALE_MAX_S)
        assert entry.is_over(entry.last_s)
        source.may_answer.set()
        await changes.stop()

    run(scenario())


def test_deactivated_person_is_told_to_the_companies_of_their_keys(own: Own) -> None:
    acme = factories.acme()
    own.execute("LISTEN accounts_changed")
    own.execute("UPDATE accounts_user SET last_login = now(), name = 'Other' WHERE id = %s", [acme.owner.id])
    assert heard_by(own) == []
    own.execute("UPDATE accounts_user SET is_active = false WHERE id = %s", [acme.owner.id])
    assert heard_by(own) == [acme.company_id]


@pytest.mark.parametrize("answers", [True, False])
def test_end_waits_for_reads_but_not_for_ever(run: Run, *, answers: bool) -> None:
    async def scenario() -> None:
        source = await begun(ttl_s=0.5)
        source.may_answer.clear()
        assert source.recall() == 1
        if answers:
            asyncio.get_running_loop().call_later(0.05, source.may_answer.set)
        async with asyncio.timeout(changes.REST_TIMEOUT_S + 1):
            await changes.stop()
        await asyncio.sleep(0)
        assert not source.kept._flights

    run(scenario())
