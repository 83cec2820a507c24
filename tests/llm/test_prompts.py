"""Stored prompts: off unless a kit says so, nobody's to read in the database, and gone when their time is over."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from django.db import connection, transaction
from django.utils import timezone

from accounts import companies, database, ids, kits
from accounts.errors import InvalidInput, NotFound
from accounts.models import AccountKit, AuditEntry
from llm import prompts, stored_prompts
from llm.prompt_models import StoredPrompt
from llm.prompts import Kept
from tests import factories
from tests.conftest import Run
from tests.factories import Cast

ASKED = b'{"model":"a/b","messages":[{"role":"user","content":"What is in the attic?"}]}'
ANSWERED = '{"choices":[{"message":{"content":"Grüße und Bücher"}}]}'.encode()
DAY = timedelta(days=1)

type Asking = psycopg.AsyncConnection[Any]


@pytest.fixture(autouse=True)
def _nothing_stays_in_memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(prompts, "STOP_TIMEOUT_S", 60.0)  # A busy machine is no bug.
    yield
    assert prompts.waiting_bytes() == 0


@pytest.fixture
def acme() -> Cast:
    member = factories.acme()
    keep_for(member, 7)
    return member


def keep_for(member: Cast, days: int | None, *, kit: AccountKit | None = None) -> AccountKit:
    changes = {"prompt_retention_days": days}
    return kits.update(company_id=member.company_id, kit_id=(kit or member.kit).id, changes=changes)


def begin(member: Cast, *, asked: bytes = ASKED, days: int = 7, kit: AccountKit | None = None) -> Kept:
    kept = prompts.begin(
        company_id=member.company_id,
        hold_id=ids.uuid7(),
        kit_id=(kit or member.kit).id,
        days=days,
        request=asked,
    )
    assert kept is not None
    return kept


@contextlib.asynccontextmanager
async def writing() -> AsyncIterator[None]:
    """While the gateway runs; at its end everything is written."""
    await prompts.start()
    try:
        yield
    finally:
        await prompts.stop()


async def write(
    member: Cast, *answers: bytes, asked: bytes = ASKED, days: int = 7, kit: AccountKit | None
) -> UUID:
    async with writing():
        kept = begin(member, asked=asked, days=days, kit=kit)
        for answer in answers:
            kept.add(answer)
        prompts.hand_in(kept)
    return kept.hold_id


def store(
    run: Run,
    member: Cast,
    *answers: bytes,
    asked: bytes = ASKED,
    days: int = 7,
    kit: AccountKit | None = None,
) -> UUID:
    return run(write(member, *(answers or (ANSWERED,)), asked=asked, days=days, kit=kit))


def rows(member: Cast) -> int:
    return StoredPrompt.objects.filter(company_id=member.company_id).count()


def read(member: Cast, hold_id: UUID, *, in_days: float = 0) -> stored_prompts.Prompt:
    now = timezone.now() + timedelta(days=in_days)
    return stored_prompts.read(company_id=member.company_id, hold_id=hold_id, now=now)


def is_readable(member: Cast, hold_id: UUID, *, in_days: float = 0) -> bool:
    now = timezone.now() + timedelta(days=in_days)
    return stored_prompts.is_stored(company_id=member.company_id, hold_id=hold_id, now=now)


def turned_on(member: Cast, at: datetime) -> None:
    """As if the member's kit had been turned on then."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("ALTER TABLE accounts_accountkit DISABLE TRIGGER accounts_accountkit_prompts")
        AccountKit.objects.filter(id=member.kit.id).update(prompts_since_at=at)
        cursor.execute("ALTER TABLE accounts_accountkit ENABLE TRIGGER accounts_accountkit_prompts")


# The switch


def test_kit_stores_nothing_until_it_is_told_to() -> None:
    member = factories.acme()
    assert (member.kit.prompt_retention_days, member.kit.prompts_since_at) == (None, None)
    assert kits.gate(member.kit).prompt_retention_days is None


@pytest.mark.parametrize("days", [0, -1, 366, 1.5, "7", True])
def test_days_that_cannot_be_kept_are_refused(days: object) -> None:
    member = factories.acme()
    with pytest.raises(InvalidInput, match=r"^prompt_retention_days: must be a whole number from 1 to 365"):
        kits.update(
            company_id=member.company_id, kit_id=member.kit.id, changes={"prompt_retention_days": days}
        )


def test_switch_is_audited_with_what_it_was_and_became(acme: Cast) -> None:
    keep_for(acme, None)
    entries = AuditEntry.objects.filter(company_id=acme.company_id, action="account_kit.updated")
    found = [(entry.before, entry.after) for entry in entries.order_by("id")]
    assert found == [
        ({"prompt_retention_days": None}, {"prompt_retention_days": 7}),
        ({"prompt_retention_days": 7}, {"prompt_retention_days": None}),
    ]


def test_other_changes_of_a_kit_leave_what_is_stored(run: Run, acme: Cast) -> None:
    hold_id = store(run, acme)
    kits.update(company_id=acme.company_id, kit_id=acme.kit.id, changes={"description": "The same"})
    keep_for(acme, 7)
    stored_prompts.purge(now=timezone.now())
    assert is_readable(acme, hold_id)


# What is stored


def test_prompt_and_answer_are_read_as_they_were(run: Run, acme: Cast) -> None:
    hold_id = store(run, acme, ANSWERED[:20], ANSWERED[20:])
    found = read(acme, hold_id)
    assert (found.request.text, found.request.is_cut) == (ASKED.decode(), False)
    assert found.answer == stored_prompts.Text(ANSWERED.decode(), is_cut=False)
    assert [(turn.role, turn.text) for turn in found.turns] == [("user", "What is in the attic?")]
    assert found.answered == "Grüße und Bücher"
    assert found.expires_at == ids.made_at(hold_id) + 7 * DAY


def test_call_without_an_answer_is_stored_without_one(run: Run, acme: Cast) -> None:
    found = read(acme, run(write(acme, kit=None)))
    assert (found.answer, found.answered) == (None, "")


def test_nothing_of_it_can_be_read_in_the_database(run: Run, acme: Cast) -> None:
    hold_id = store(run, acme)
    row = StoredPrompt.objects.get(company_id=acme.company_id, hold_id=hold_id)
    for kept in (bytes(row.request), bytes(row.answer or b"")):
        assert b"attic" not in kept
        assert b"choices" not in kept


def test_what_was_moved_to_another_row_does_not_open(run: Run, acme: Cast) -> None:
    mine, other = store(run, acme), store(run, acme, asked=b'{"prompt":"Another"}')
    mine_of = StoredPrompt.objects.filter(company_id=acme.company_id, hold_id=mine)
    theirs = StoredPrompt.objects.get(company_id=acme.company_id, hold_id=other)
    mine_of.update(request=theirs.request)
    with pytest.raises(NotFound):
        read(acme, mine)


def test_what_is_longer_is_cut_and_says_so(run: Run, acme: Cast) -> None:
    piece = b"x" * 700_000
    hold_id = store(run, acme, piece, piece, piece, asked=piece * 2)
    found = read(acme, hold_id)
    assert (len(found.request.text), found.request.is_cut) == (prompts.STORED_BYTES_MAX, True)
    assert found.answer is not None
    assert (len(found.answer.text), found.answer.is_cut) == (prompts.STORED_BYTES_MAX, True)


def test_call_that_ends_after_its_kit_was_turned_off_is_not_stored(run: Run, acme: Cast) -> None:
    keep_for(acme, None)
    store(run, acme)
    assert rows(acme) == 0


def test_call_that_began_before_the_switch_was_turned_off_and_on_is_not_stored(run: Run, acme: Cast) -> None:
    async def work() -> None:
        async with writing():
            kept = begin(acme)
            for days in (None, 7):
                await asyncio.to_thread(_switch, acme, days)
            prompts.hand_in(kept)

    run(work())
    assert rows(acme) == 0


def _switch(member: Cast, days: int | None) -> None:
    try:
        keep_for(member, days)
    finally:
        connection.close()


# Who reads


def test_every_look_is_written_into_the_audit_log(run: Run, acme: Cast) -> None:
    hold_id = store(run, acme)
    for _ in range(2):
        read(acme, hold_id)
    assert is_readable(acme, hold_id)
    looks = AuditEntry.objects.filter(company_id=acme.company_id, action="prompt.read")
    assert [(look.target_kind, look.target_id) for look in looks] == [("generation", f"gen_{hold_id}")] * 2
    assert "attic" not in repr(looks.values())


def test_another_company_finds_nothing_and_leaves_no_entry(run: Run, acme: Cast) -> None:
    globex, hold_id = factories.globex(), store(run, acme)
    with pytest.raises(NotFound):
        read(globex, hold_id)
    assert not AuditEntry.objects.filter(action="prompt.read", target_id=f"gen_{hold_id}").exists()


# Its time


def test_prompt_ends_with_its_days(run: Run, acme: Cast) -> None:
    hold_id = store(run, acme)
    assert is_readable(acme, hold_id, in_days=6.9)
    assert not is_readable(acme, hold_id, in_days=7)
    stored_prompts.purge(now=timezone.now() + 6.9 * DAY)
    assert rows(acme) == 1
    stored_prompts.purge(now=timezone.now() + 7 * DAY)
    assert rows(acme) == 0


def test_longer_time_does_not_lengthen_what_was_promised_before(run: Run, acme: Cast) -> None:
    hold_id = store(run, acme)
    keep_for(acme, 30)
    assert read(acme, hold_id).expires_at == ids.made_at(hold_id) + 7 * DAY


def test_shorter_time_holds_for_what_is_stored_already(run: Run, acme: Cast) -> None:
    hold_id = store(run, acme)
    keep_for(acme, 2)
    assert read(acme, hold_id).expires_at == ids.made_at(hold_id) + 2 * DAY
    assert not is_readable(acme, hold_id, in_days=2)
    stored_prompts.purge(now=timezone.now() + 2 * DAY)
    assert rows(acme) == 0


def test_shorter_time_that_was_lengthened_again_has_ended_what_it_ended(run: Run, acme: Cast) -> None:
    hold_id = store(run, acme)
    three_days_ago = timezone.now() - 3 * DAY
    StoredPrompt.objects.filter(company_id=acme.company_id, hold_id=hold_id).update(called_at=three_days_ago)
    turned_on(acme, three_days_ago - DAY)
    assert is_readable(acme, hold_id)
    keep_for(acme, 2)
    keep_for(acme, 7)
    assert not is_readable(acme, hold_id)
    stored_prompts.purge(now=timezone.now())
    assert rows(acme) == 0


def test_turning_off_hides_at_once_and_turning_on_brings_nothing_back(run: Run, acme: Cast) -> None:
    hold_id = store(run, acme)
    keep_for(acme, None)
    assert not is_readable(acme, hold_id)
    keep_for(acme, 7)
    assert not is_readable(acme, hold_id)
    later = store(run, acme)
    stored_prompts.purge(now=timezone.now())
    assert (rows(acme), is_readable(acme, later)) == (1, True)


def test_deleted_kit_and_closed_company_leave_nothing(run: Run, acme: Cast) -> None:
    second = kits.create(
        company_id=acme.company_id, name="Second", now=timezone.now(), prompt_retention_days=7
    )
    kept, gone = store(run, acme), store(run, acme, kit=second)
    kits.delete(company_id=acme.company_id, kit_id=second.id)
    stored_prompts.purge(now=timezone.now())
    assert (is_readable(acme, kept), is_readable(acme, gone), rows(acme)) == (True, False, 1)
    companies.close(company_id=acme.company_id, now=timezone.now())
    assert not is_readable(acme, kept)
    stored_prompts.purge(now=timezone.now())
    assert rows(acme) == 0


def test_purge_takes_batch_after_batch_and_no_neighbours(run: Run, acme: Cast) -> None:
    globex = factories.globex()
    keep_for(globex, 7)
    theirs = store(run, globex)
    for _ in range(3):
        store(run, acme)
    keep_for(acme, None)
    assert stored_prompts.purge(now=timezone.now(), batch_rows=1) >= 3
    assert (rows(acme), is_readable(globex, theirs)) == (0, True)


def test_settings_name_the_kits_that_store(acme: Cast) -> None:
    kits.create(company_id=acme.company_id, name="Quiet", now=timezone.now())
    found = stored_prompts.kits_that_store(company_id=acme.company_id)
    assert [kit.id for kit in found] == [acme.kit.id]


# Its way


@contextlib.asynccontextmanager
async def asking() -> AsyncIterator[Asking]:
    """A connection of the test's own, where every statement sees what is there now."""
    async with await psycopg.AsyncConnection.connect(database.conninfo(), autocommit=True) as connected:
        yield connected


async def writer(looking: Asking, *, which: str) -> int:
    """The process in the database that writes prompts, once it is one of those."""
    query = f"SELECT pid FROM pg_stat_activity WHERE application_name = 'naive-prompts' AND {which}"  # noqa: S608
    async with asyncio.timeout(60):
        while (row := await (await looking.execute(query.encode())).fetchone()) is None:
            await asyncio.sleep(0.01)
    return int(row[0])


def test_nobody_waits_for_a_table_that_is_locked(run: Run, acme: Cast) -> None:
    async def work() -> UUID:
        async with writing(), asking() as locking, locking.transaction(), asking() as looking:
            await locking.execute("LOCK TABLE llm_stored_prompt IN ACCESS EXCLUSIVE MODE")
            kept = begin(acme)
            prompts.hand_in(kept)
            await writer(looking, which="wait_event_type = 'Lock'")
        return kept.hold_id

    assert is_readable(acme, run(work()))


def test_connection_that_breaks_is_made_anew(run: Run, acme: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompts, "RETRY_S", (0.01,))

    async def work() -> UUID:
        async with writing(), asking() as looking:
            prompts.hand_in(begin(acme))
            pid = await writer(looking, which="state = 'idle' AND query LIKE '%INSERT%'")
            await looking.execute("SELECT pg_terminate_backend(%s)", (pid,))
            kept = begin(acme)
            prompts.hand_in(kept)
        return kept.hold_id

    assert is_readable(acme, run(work()))
    assert rows(acme) == 2


def test_what_finds_no_room_is_dropped_and_counted(
    run: Run, acme: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompts, "WAITING_BYTES_MAX", 3 * len(ASKED))
    monkeypatch.setattr(prompts, "WAITING_ROWS_MAX", 1)
    before = prompts.count.dropped

    async def work() -> None:
        async with writing():
            first, too_long, second = begin(acme), begin(acme), begin(acme)
            assert _try(acme) is None
            too_long.add(b"x" * len(ASKED))
            for kept in (first, too_long, second):
                prompts.hand_in(kept)

    run(work())
    # One has no room from the start, one for its answer, one behind the row that waits.
    assert (prompts.count.dropped - before, rows(acme)) == (3, 1)


def _try(member: Cast) -> Kept | None:
    return prompts.begin(
        company_id=member.company_id, hold_id=ids.uuid7(), kit_id=member.kit.id, days=7, request=ASKED
    )


def test_where_nobody_writes_nothing_is_kept(acme: Cast) -> None:
    before = prompts.count.dropped
    assert _try(acme) is None
    assert prompts.count.dropped == before + 1


def test_what_the_database_refuses_is_dropped_unread_and_the_next_goes_on(
    run: Run, acme: Cast, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    async def work() -> tuple[UUID, UUID]:
        async with writing():
            bad, good = begin(acme, days=10**12), begin(acme)
            prompts.hand_in(bad)
            async with asyncio.timeout(60):
                while "not stored" not in caplog.text:
                    await asyncio.sleep(0.01)
            prompts.hand_in(good)
        return bad.hold_id, good.hold_id

    bad, good = run(work())
    assert (is_readable(acme, bad), is_readable(acme, good)) == (False, True)
    assert "1 prompts are not stored: NumericValueOutOfRange" in caplog.text
    assert "attic" not in caplog.text


def test_call_that_is_written_twice_is_stored_once(run: Run, acme: Cast) -> None:
    async def work() -> None:
        async with writing():
            kept, again = begin(acme), begin(acme)
            again.hold_id = kept.hold_id
            prompts.hand_in(kept)
            prompts.hand_in(again)

    run(work())
    assert rows(acme) == 1


def test_unknown_kit_stores_nothing(run: Run, acme: Cast) -> None:
    stranger = AccountKit(id=uuid4())
    store(run, acme, kit=stranger)
    assert rows(acme) == 0
