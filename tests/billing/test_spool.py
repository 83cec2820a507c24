"""The spool: what was written while the database was away comes home, once."""

import asyncio
import subprocess
import sys
import threading
import time
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

import orjson
import pytest
from django.db import connection

from billing import holds, settlement, spool
from billing.errors import BooksUnavailable
from billing.holds import HoldRequest
from billing.settlement import Settlement
from tests import races
from tests.billing import books
from tests.billing.books import CREDIT
from tests.billing.conftest import Away
from tests.conftest import Run


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.jsonl"))


def dispatched_record(request: HoldRequest, generation_id: str = "gen-spooled") -> dict[str, object]:
    return {
        "kind": "dispatched",
        "company": request.company_id,
        "hold": request.hold_id,
        "generation": generation_id,
    }


def test_estimate_comes_home_with_the_generation_id(run: Run) -> None:
    acme = books.wallet()
    known, unknown, odd = (run(books.held(acme)) for _ in range(3))
    spool.append(dispatched_record(known, "gen-known") | {"estimate_usd": Decimal("0.0012")})
    spool.append(dispatched_record(unknown, "gen-unknown") | {"estimate_usd": None})
    spool.append(dispatched_record(odd, "gen-odd") | {"estimate_usd": "much"})
    spool.close()
    assert spool.replay() == 3
    found = dict(
        books.rows(
            "SELECT hold_id, estimate_usd FROM billing_open_hold WHERE company_id = %s", acme.company_id
        )
    )
    assert found == {known.hold_id: Decimal("0.0012"), unknown.hold_id: None, odd.hold_id: None}


def test_generation_of_a_hold_in_no_book_is_kept_for_a_person(run: Run) -> None:
    acme = books.wallet()
    lost, known = acme.request(), run(books.held(acme))
    for request in (lost, known):
        spool.append(dispatched_record(request, f"gen-{request.hold_id.hex}"))
        spool.append(dispatched_record(request, f"gen-{request.hold_id.hex}"))
    spool.close()
    assert spool.replay() == 4
    found = books.rows(
        "SELECT kind, hold_id, details ->> 'generation_id' FROM billing_anomaly WHERE company_id = %s",
        acme.company_id,
    )
    assert found == [("unknown_hold", lost.hold_id, f"gen-{lost.hold_id.hex}")]
    assert (books.open_hold(known) or {})["stage"] == "dispatched"


async def settle_while_away(acme: books.Wallet, away: Away, usd: str = "0.4") -> HoldRequest:
    request = await books.held(acme)
    with away():
        ended = await settlement.settle(hold=books.key(request), evidence=books.cost(usd))
    assert ended == Settlement("spooled", CREDIT, 0, 0)
    assert not ended.is_charged
    return request


def child(*arguments: object) -> int:
    """Another process that writes a spool; its exit code."""
    command = [sys.executable, "-m", "tests.billing.spooler", *map(str, arguments)]
    return subprocess.run(command, check=False, timeout=30).returncode


def generation_of(request: HoldRequest) -> object:
    return (books.open_hold(request) or {})["generation_id"]


def test_settlement_during_an_outage_is_spooled_and_settled_once_on_replay(run: Run, away: Away) -> None:
    acme = books.wallet()
    run(settle_while_away(acme, away))
    assert acme.state() == (10 * CREDIT, CREDIT)
    spool.rotate()
    assert [spool.replay(), spool.replay()] == [1, 0]
    assert acme.state() == (9 * CREDIT, 0)
    assert books.violations(acme) == []


def test_spooled_settlement_becomes_replayable_by_itself(run: Run, away: Away, spool_dir: Path) -> None:
    acme = books.wallet()

    async def outage() -> None:
        await settle_while_away(acme, away)
        assert spool.replay() == 0
        await asyncio.sleep(spool.ROTATE_AFTER_S + 0.3)

    run(outage())
    assert spool.replay() == 1
    assert files(spool_dir) == []


def test_quarantine_and_void_travel_through_the_spool(run: Run, away: Away) -> None:
    acme = books.wallet()

    async def outage() -> None:
        bad, gone = await books.held(acme), await books.held(acme)
        with away():
            await settlement.settle(hold=books.key(bad), evidence=books.cost("-1"))
            await settlement.void(hold=books.key(gone), evidence=books.cost(None))

    run(outage())
    spool.close()
    assert spool.replay() == 2
    assert books.anomalies(acme) == ["implausible_cost"]
    assert acme.state() == (10 * CREDIT, CREDIT)


def test_files_are_kept_while_the_database_is_away(run: Run, away: Away, spool_dir: Path) -> None:
    acme = books.wallet()
    run(settle_while_away(acme, away))
    spool.close()
    connection.close()
    with away(), pytest.raises(BooksUnavailable):
        spool.replay()
    assert len(files(spool_dir)) == 1
    assert spool.replay() == 1
    assert acme.state() == (9 * CREDIT, 0)


def test_generation_id_comes_home_from_a_dead_process(run: Run, spool_dir: Path) -> None:
    acme = books.wallet()
    request = run(books.held(acme))
    assert child("die", spool_dir, orjson.dumps(dispatched_record(request)).decode()) == 9
    assert spool.replay() == 1
    assert generation_of(request) == "gen-spooled"
    assert files(spool_dir) == []


def test_file_of_a_living_process_is_left_alone(run: Run, spool_dir: Path) -> None:
    request = run(books.held(books.wallet()))
    spool.append(dispatched_record(request))
    assert spool.replay() == 0
    assert generation_of(request) is None
    assert len(files(spool_dir)) == 1


def test_torn_last_line_is_ignored_and_the_rest_applied(run: Run, spool_dir: Path) -> None:
    acme = books.wallet()
    first, second = run(books.held(acme)), run(books.held(acme))
    lines = [orjson.dumps(dispatched_record(request, request.hold_id.hex)) for request in (first, second)]
    spool_dir.mkdir()
    (spool_dir / "dead.jsonl").write_bytes(lines[0] + b"\n" + lines[1][:-7])
    assert spool.replay() == 1
    assert generation_of(first) == first.hold_id.hex
    assert generation_of(second) is None
    assert list(spool_dir.iterdir()) == []


@pytest.mark.parametrize("line", [b"\x00\x00\x00", b'{"kind": "unheard of"}', b"[]", b'{"no": "kind"}'])
def test_file_with_a_damaged_line_is_applied_and_kept_for_a_person(
    run: Run, spool_dir: Path, line: bytes
) -> None:
    request = run(books.held(books.wallet()))
    spool_dir.mkdir()
    good = orjson.dumps(dispatched_record(request))
    (spool_dir / "dead.jsonl").write_bytes(line + b"\n" + good + b"\n")
    assert spool.replay() == 1
    assert generation_of(request) == "gen-spooled"
    assert files(spool_dir) == []
    assert (spool_dir / "dead.damaged").exists()


def test_refused_record_stops_no_other_and_is_kept_alone(run: Run, spool_dir: Path) -> None:
    acme = books.wallet()
    first, second = run(books.held(acme)), run(books.held(acme))
    bad = b'{"kind": "dispatched", "company": "no uuid"}'
    good = [orjson.dumps(dispatched_record(request, request.hold_id.hex)) for request in (first, second)]
    spool_dir.mkdir()
    (spool_dir / "dead.jsonl").write_bytes(b"\n".join([good[0], bad, good[1], b""]))
    assert spool.replay() == 2
    assert [generation_of(request) for request in (first, second)] == [first.hold_id.hex, second.hold_id.hex]
    assert [path.name for path in spool_dir.iterdir()] == ["dead.damaged"]
    assert (spool_dir / "dead.damaged").read_bytes() == bad + b"\n"
    assert spool.replay() == 0


def test_settlement_that_postgresql_refuses_stops_no_other(run: Run, spool_dir: Path) -> None:
    acme = books.wallet()
    first, second = run(books.held(acme)), run(books.held(acme))
    good = {
        "kind": "settle", "company": acme.company_id, "settlement": "post", "cost_usd": "0.4",
        "charged_nanocredits": CREDIT, "source": "inline", "generation": "", "details": "{}",
    }  # fmt: skip
    bad = good | {"hold": first.hold_id, "source": "hearsay"}
    lines = [orjson.dumps(record, default=str) for record in (bad, good | {"hold": second.hold_id})]
    spool_dir.mkdir()
    (spool_dir / "dead.jsonl").write_bytes(b"\n".join([*lines, b""]))
    assert spool.replay() == 1
    assert acme.state() == (9 * CREDIT, CREDIT)
    assert (spool_dir / "dead.damaged").read_bytes() == lines[0] + b"\n"


def test_file_that_cannot_be_read_stops_no_other(run: Run, spool_dir: Path) -> None:
    request = run(books.held(books.wallet()))
    (spool_dir / "a.jsonl").mkdir(parents=True)
    (spool_dir / "b.jsonl").symlink_to("b.jsonl")
    (spool_dir / "c.jsonl").write_bytes(orjson.dumps(dispatched_record(request)) + b"\n")
    assert spool.replay() == 1
    assert generation_of(request) == "gen-spooled"
    assert [path.name for path in sorted(spool_dir.iterdir())] == ["a.jsonl", "b.jsonl"]


def test_wallet_that_somebody_keeps_stops_no_other_file(run: Run) -> None:
    acme, globex = books.wallet(), books.wallet()
    for who in (acme, globex):
        request = run(books.held(who))
        spool.append(
            {"kind": "settle", "company": who.company_id, "hold": request.hold_id, "settlement": "post",
             "cost_usd": "0.4", "charged_nanocredits": CREDIT, "source": "inline", "generation": "", "details": "{}"}
        )  # fmt: skip
        spool.rotate()
    books.rows("SET lock_timeout = '100ms'")
    with books.wallet_kept(acme), pytest.raises(BooksUnavailable):
        spool.replay()
    assert globex.state() == (9 * CREDIT, 0)
    assert spool.replay() == 1
    books.rows("RESET lock_timeout")
    assert acme.state() == (9 * CREDIT, 0)


@pytest.mark.parametrize("value", ["\ud800", 2**64, {1: 2}])
def test_record_that_json_cannot_say_is_told(spool_dir: Path, value: object) -> None:
    assert not spool.append({"kind": "dispatched", "generation": value})
    assert spool.append({"kind": "dispatched", "generation": "gen-1"})
    spool.rotate()
    assert [path.read_bytes() for path in files(spool_dir)] == [
        b'{"kind":"dispatched","generation":"gen-1"}\n'
    ]


def test_nobody_who_writes_waits_for_the_disk(spool_dir: Path) -> None:
    """A lock on letting go stands in for a disk that takes long to sync."""
    spool.append({"kind": "dispatched"})
    with spool._letting_go:
        syncing = threading.Thread(target=spool.rotate)
        syncing.start()
        writing = threading.Thread(target=spool.append, args=[{"kind": "dispatched"}])
        writing.start()
        writing.join(timeout=5)
        assert not writing.is_alive()
    syncing.join(timeout=5)


def test_what_is_spooled_during_a_rotation_gets_one_of_its_own(spool_dir: Path) -> None:
    spool.append({"kind": "dispatched"})
    with spool._letting_go:
        spool.rotate_soon()
        time.sleep(spool.ROTATE_AFTER_S + 0.2)
        assert spool._rotation is None
        spool.rotate_soon()
    time.sleep(0.2)
    spool.append({"kind": "dispatched"})
    time.sleep(spool.ROTATE_AFTER_S)
    assert len(files(spool_dir)) == 2
    assert spool._live is None


def test_record_of_an_unknown_hold_is_reported_and_holds_nothing_up(run: Run, spool_dir: Path) -> None:
    acme = books.wallet()
    record = {
        "kind": "settle", "company": acme.company_id, "hold": uuid4(), "settlement": "post", "cost_usd": "0.4",
        "charged_nanocredits": CREDIT, "source": "inline", "generation": "gen-lost", "details": "{}",
    }  # fmt: skip
    spool.append(record)
    spool.close()
    assert spool.replay() == 1
    assert books.anomalies(acme) == ["unknown_hold"]
    assert files(spool_dir) == []


def test_evidence_that_comes_home_after_a_void_charges_the_call(run: Run, away: Away) -> None:
    acme = books.wallet()
    request = run(settle_while_away(acme, away))
    nothing = settlement.Evidence(source="no_evidence")
    settlement.void_now(hold=books.key(request), evidence=nothing)
    spool.close()
    spool.replay()
    assert acme.state() == (9 * CREDIT, 0)
    assert books.violations(acme) == []


def test_live_evidence_after_a_void_charges_the_call_at_once(run: Run, spool_dir: Path) -> None:
    acme = books.wallet()

    async def too_late() -> None:
        request = await books.held(acme)
        await settlement.void(hold=books.key(request), evidence=settlement.Evidence(source="no_evidence"))
        ended = await settlement.settle(hold=books.key(request), evidence=books.cost("0.4"))
        assert (ended.outcome, ended.charged_nanocredits) == ("already", CREDIT)

    run(too_late())
    assert files(spool_dir) == []
    assert acme.state() == (9 * CREDIT, 0)


def test_two_replays_at_once_apply_each_file_once(run: Run, spool_dir: Path) -> None:
    acme = books.wallet()
    for _ in range(6):
        request = run(books.held(acme))
        spool.append(dispatched_record(request, request.hold_id.hex))
        spool.rotate()
    assert len(files(spool_dir)) == 6
    assert sum(found for found in races.at_once(*[spool.replay] * 4) if isinstance(found, int)) == 6
    assert files(spool_dir) == []


def test_live_file_is_replaced_before_it_grows_without_bound(spool_dir: Path) -> None:
    record = {"kind": "dispatched", "filler": "x" * (spool.FILE_BYTES_MAX // 4)}
    for _ in range(5):
        spool.append(record)
    assert len(files(spool_dir)) == 2
    assert all(path.stat().st_size < spool.FILE_BYTES_MAX * 1.3 for path in files(spool_dir))


def test_threads_never_mix_their_lines(spool_dir: Path) -> None:
    def write() -> None:
        for number in range(200):
            spool.append({"kind": "dispatched", "number": number, "filler": "x" * number})

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (path,) = files(spool_dir)
    assert len([orjson.loads(line) for line in path.read_bytes().splitlines()]) == 800


def test_full_disk_is_told_and_the_next_record_starts_a_new_line(spool_dir: Path) -> None:
    """A file size limit stands in for a full disk: the kernel writes what fits, then refuses."""
    assert child("fill", spool_dir) == 0
    (path,) = files(spool_dir)
    assert path.read_bytes() == b'{"kind":"a"}\n{"kind":"bbb\n{"kind":"c"}\n'


def test_forked_child_opens_a_file_of_its_own(spool_dir: Path) -> None:
    assert child("fork", spool_dir) == 0
    assert sorted(path.read_bytes() for path in files(spool_dir)) == [
        b'{"kind":"child"}\n',
        b'{"kind":"parent"}\n',
    ]


def test_empty_spool_leaves_no_file_behind(spool_dir: Path) -> None:
    spool.close()
    assert spool.replay() == 0
    assert not spool_dir.exists()


def test_note_of_a_settled_call_is_no_news(run: Run) -> None:
    acme = books.wallet()
    request = run(books.settled(acme))
    spool.append(dispatched_record(request))
    spool.close()
    assert spool.replay() == 1
    assert books.open_hold(request) is None


def test_ids_are_made_fit_to_be_kept() -> None:
    assert holds.printable("gen-1764-Ab\n\x00é" + "x" * 300) == ("gen-1764-Ab???" + "x" * 300)[:200]
