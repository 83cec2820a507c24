"""Wrong clocks, lost disks and brokers, keys sent twice, a restored backup, and a hand in the books."""

import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import redis
from django.conf import settings
from django.db import DatabaseError, connection, transaction
from psycopg import conninfo, sql
from pytest_django import Settings

from billing import days, ledger, money, spool
from billing.models import Entry, Settlement
from llm import tasks, upstream
from naive_platform import folders
from tests import factories
from tests.e2e.conftest import database_url, eventually, open_holds, owner_url
from tests.failures import outcome
from tests.failures.conftest import Platform
from tests.failures.gateways import Gateway, Starter
from tests.failures.proxies import DatabaseProxy
from tests.failures.streams import body

PACE = {"HOLD_TTL_S": "20", "BROADCAST_SECRET": "told-by-upstream", "BROADCAST_GRACE_S": "0.2"}
# What a gateway believes the time to be.
SKEW = """
import datetime as dt, sys, time
real_ns, real_s = time.time_ns, time.time
time.time_ns, time.time = lambda: real_ns() + {s} * 10**9, lambda: real_s() + {s}
class Any(type):
    def __instancecheck__(cls, found): return isinstance(found, dt.datetime)
class Shifted(dt.datetime, metaclass=Any):
    @classmethod
    def now(cls, tz=None): return dt.datetime.now(tz) + dt.timedelta(seconds={s})
for name, module in list(sys.modules.items()):
    if name.split(".")[0] in ("accounts", "billing", "llm", "naive_platform"):
        for known in [known for known, found in vars(module).items() if found is dt.datetime]:
            setattr(module, known, Shifted)
"""


@pytest.mark.parametrize("skew_s", [3600, -3600])
def test_row_46_only_the_clock_of_the_database_decides_when_a_call_is_looked_up(
    skew_s: int, clean: Platform, acme: factories.Cast, gateway: Starter
) -> None:
    wrong = gateway(SKEW.format(s=skew_s))
    first = wrong.post(acme, body(max_tokens=20)).headers["x-naive-generation-id"]
    wrong.post(acme, body("omit_cost,generation_delay_ms=500", max_tokens=20))
    second = clean.post(acme.secret, body(max_tokens=20)).headers["x-naive-generation-id"]
    outcome.all_is_paid(clean, acme)
    assert sorted(outcome.sources(acme)) == ["generation", "inline", "inline"]
    # A wrong clock shows in the ids of its holds, and nowhere in the order of the entries.
    assert abs(stamp_s(first) - stamp_s(second) - skew_s) < 60
    seqs = dict(Entry.objects.filter(company_id=acme.company.id).values_list("reference", "seq"))
    assert seqs[first] < seqs[second]


def stamp_s(call: str) -> int:
    """The second that the UUIDv7 of a call names."""
    return int(call.removeprefix("gen_").replace("-", "")[:12], 16) // 1000


@pytest.fixture
def proxy(platform: Platform) -> Iterator[DatabaseProxy]:
    with DatabaseProxy(database_url()) as found:
        yield found


@pytest.fixture
def other_machine(proxy: DatabaseProxy, gateway: Starter, tmp_path: Path) -> Gateway:
    """A gateway with a disk of its own, over the proxy."""
    return gateway(
        DATABASE_URL=proxy.url, SPOOL_DIR=str(tmp_path / "spool"), SETTLE_RETRY_S="0.2", HOLD_TTL_S="3"
    )


def spooled(
    platform: Platform, acme: factories.Cast, proxy: DatabaseProxy, machine: Gateway, disk: Path
) -> list[Path]:
    """Make a call whose evidence is in the spool alone, and kill its gateway."""
    platform.post(acme.secret, body(max_tokens=5))
    before = platform.upstream.accepted()
    with ThreadPoolExecutor(1) as client:
        asking = client.submit(machine.post, acme, body("delay_headers_ms=500", max_tokens=40))
        eventually(lambda: platform.upstream.accepted() > before, what="upstream has it")
        with proxy.away():
            assert asking.result().status_code == 200
            machine.kill()
    return list(disk.glob("*.jsonl"))


def test_row_48_call_whose_spool_was_lost_with_its_machine_is_charged_by_broadcast(
    clean: Platform, acme: factories.Cast, proxy: DatabaseProxy, other_machine: Gateway, tmp_path: Path
) -> None:
    clean.broadcast()
    try:
        assert spooled(clean, acme, proxy, other_machine, tmp_path / "spool")
        shutil.rmtree(tmp_path / "spool")
        assert outcome.all_is_paid(clean, acme) > 0
    finally:
        clean.broadcast(ends=True)
    assert outcome.sources(acme)[1] == "broadcast"


def test_row_48_without_broadcast_it_is_counted_as_unattributed(
    clean: Platform, acme: factories.Cast, proxy: DatabaseProxy, other_machine: Gateway, tmp_path: Path
) -> None:
    before = unattributed(acme)
    assert spooled(clean, acme, proxy, other_machine, tmp_path / "spool")
    shutil.rmtree(tmp_path / "spool")
    eventually(lambda: open_holds(acme.company.id) == 0, what="its time is over")
    outcome.books_are_right(acme)
    assert outcome.sources(acme)[1] == "no_evidence"
    assert unattributed(acme) == before + 1


def unattributed(member: factories.Cast) -> int:
    """How many calls the comparison with upstream's books would count as given back without evidence.

    Without those of other companies: what earlier tests left open is given back while this one runs.
    """
    with transaction.atomic():
        found = days.close(day=date(2001, 1, 1), reading=None, activity=None).unattributed_calls
        transaction.set_rollback(True)
    given_back = Settlement.objects.filter(source="no_evidence")
    return int(found) - given_back.exclude(company_id=member.company.id).count()


def test_row_49_spool_that_is_replayed_twice_with_a_torn_line_charges_once(
    clean: Platform, acme: factories.Cast, proxy: DatabaseProxy, other_machine: Gateway, tmp_path: Path
) -> None:
    (file,) = spooled(clean, acme, proxy, other_machine, tmp_path / "spool")
    text = file.read_bytes()
    settling = next(line for line in text.splitlines() if b'"settle"' in line)
    for number, more in enumerate([b"", settling[: len(settling) // 2], settling + b"\n" + settling[:-1]]):
        draft = tmp_path / "draft"
        draft.write_bytes(text + more)
        draft.rename(clean.spool / f"{number}.jsonl")
    clean.have_done("llm.tasks.replay_spool", times=2)
    assert outcome.all_is_paid(clean, acme) > 0
    assert outcome.sources(acme) == ["inline", "inline"]
    eventually(lambda: not list(clean.spool.glob("?.jsonl")), what="all of it is applied")
    assert not list(clean.spool.glob("*.damaged"))


def keyed(
    platform: Platform, acme: factories.Cast, request: dict[str, Any], key: str = "order-1"
) -> httpx.Response:
    return platform.post(acme.secret, request, headers={"Idempotency-Key": key})


def test_row_50_key_that_is_sent_eight_times_at_once_makes_one_call(
    clean: Platform, acme: factories.Cast
) -> None:
    request = body("delay_headers_ms=300", max_tokens=20)
    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(lambda _: keyed(clean, acme, request), range(8)))
    assert Counter(answer.status_code for answer in answers) == {200: 1, 409: 7}
    codes = {answer.json()["error"]["code"] for answer in answers if answer.status_code == 409}
    assert codes == {"idempotency_in_progress"}
    assert clean.upstream.accepted() == 1
    assert outcome.all_is_paid(clean, acme) > 0


def test_row_50_key_of_a_finished_call_brings_the_same_answer_again(
    clean: Platform, acme: factories.Cast
) -> None:
    first, second = (keyed(clean, acme, body(max_tokens=20)) for _ in range(2))
    assert first.content == second.content
    assert clean.upstream.accepted() == 1
    assert outcome.all_is_paid(clean, acme) > 0


def test_row_50_key_with_another_body_is_refused(clean: Platform, acme: factories.Cast) -> None:
    keyed(clean, acme, body(max_tokens=20))
    other = keyed(clean, acme, body(max_tokens=21))
    assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_mismatch")
    assert clean.upstream.accepted() == 1


def test_row_50_key_of_a_finished_stream_names_its_generation(clean: Platform, acme: factories.Cast) -> None:
    request = body(stream=True, max_tokens=20)
    first = keyed(clean, acme, request)
    again = keyed(clean, acme, request)
    assert (again.status_code, again.json()["error"]["code"]) == (409, "already_completed")
    assert first.headers["x-naive-generation-id"] in again.text
    assert clean.upstream.accepted() == 1
    outcome.all_is_paid(clean, acme)


def test_row_50_key_of_a_call_that_cost_nothing_is_free_again(clean: Platform, acme: factories.Cast) -> None:
    clean.upstream.faults(status=503)
    assert keyed(clean, acme, body(max_tokens=20)).status_code >= 500
    clean.upstream.faults()
    assert keyed(clean, acme, body(max_tokens=20)).status_code == 200
    assert outcome.all_is_paid(clean, acme) > 0
    assert outcome.sources(acme) == ["inline", "inline"]


def test_row_52_broker_that_forgets_everything_loses_no_call(clean: Platform, acme: factories.Cast) -> None:
    for _ in range(4):
        clean.post(acme.secret, body("omit_cost,generation_delay_ms=900", max_tokens=20))
    # All that the platform keeps there; other tests have the other databases.
    with redis.Redis.from_url(clean.environ["REDIS_URL"]) as broker:
        for _ in range(3):
            broker.flushdb()
            clean.post(acme.secret, body(max_tokens=5))
    assert outcome.all_is_paid(clean, acme) > 0
    assert outcome.sources(acme).count("generation") == 4


@contextmanager
def restored(backup: Path) -> Iterator[None]:
    """The books as a backup has them, in a database of their own; what runs in this process finds them there."""
    name = f"{connection.settings_dict['NAME']}_restored"
    server = conninfo.make_conninfo(owner_url(), dbname="postgres")
    remove = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(remove)
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        run("pg_restore", "--dbname", conninfo.make_conninfo(owner_url(), dbname=name), str(backup))
        before = connection.settings_dict["NAME"]
        connection.close()
        connection.settings_dict["NAME"] = name
        try:
            yield
        finally:
            connection.close()
            connection.settings_dict["NAME"] = before
            admin.execute(remove)


def run(program: str, *arguments: str) -> None:
    binaries, _ = folders.binaries(Path("/nowhere"), None)
    subprocess.run([binaries / program, *arguments], check=True)


@pytest.mark.usefixtures("upstream_here")
def test_row_53_books_of_a_backup_are_brought_up_to_date_from_spool_and_upstream(
    clean: Platform, acme: factories.Cast, tmp_path: Path, settings: Settings
) -> None:
    clean.post(acme.secret, body(max_tokens=20))
    clean.post(acme.secret, body("omit_cost,generation_delay_ms=1500", max_tokens=20))
    run("pg_dump", "--format=custom", "--file", str(tmp_path / "backup"), owner_url())
    clean.post(acme.secret, body(max_tokens=20))
    outcome.all_is_paid(clean, acme)
    balance = factories.balance_nanocredits(acme)
    shutil.copytree(clean.spool, tmp_path / "spool")
    with restored(tmp_path / "backup"):
        assert (len(outcome.endings(acme)), outcome.stages(acme)) == (1, ["dispatched"])
        settings.SPOOL_DIR = tmp_path / "spool"
        spool.replay()
        # What was made since is named by the spool, priced by upstream, and posted by the operator.
        (lost,) = gap(acme)
        record = json.loads(upstream.look_up("generation", params={"id": lost}), parse_float=Decimal)["data"]
        post_lost_call(acme, lost, record["total_cost"])
        # What was open then is settled as it ever is: by its id, from upstream's record.
        eventually(lambda: swept(acme), what="the call that ran is settled")
        assert factories.balance_nanocredits(acme) == balance
        assert outcome.violations(acme) == []


def swept(acme: factories.Cast) -> bool:
    spool.replay()
    tasks.sweep_open_holds()
    return open_holds(acme.company.id) == 0


def gap(acme: factories.Cast) -> list[str]:
    """The generations whose holds are in no book."""
    found = outcome.rows(
        "SELECT details ->> 'generation_id' FROM billing_anomaly WHERE company_id = %s AND kind = 'unknown_hold'",
        acme.company.id,
    )
    return [generation for (generation,) in found]


def post_lost_call(acme: factories.Cast, generation_id: str, cost_usd: Decimal) -> None:
    owed = money.charge_nanocredits(
        cost_usd=cost_usd, markup=settings.MARKUP, credit_value_usd=settings.CREDIT_VALUE_USD
    )
    ledger.post(
        company_id=acme.company_id,
        amount_nanocredits=-owed,
        action="correction",
        reference=f"restore:{generation_id}",
        note="Made after the backup",
    )


TAMPERED = {
    "an amount": (
        "UPDATE billing_entry SET amount_nanocredits = amount_nanocredits + 1 WHERE {it}",
        {"T2", "T3"},
        2,
    ),
    "a note": ("UPDATE billing_entry SET note = 'nothing to see' WHERE {it}", {"T3"}, 2),
    "a row": ("DELETE FROM billing_entry WHERE {it}", {"T1", "T2", "T3"}, 3),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_row_54_hand_in_the_ledger_is_refused_and_where_it_is_forced_named(
    what: str, clean: Platform, acme: factories.Cast
) -> None:
    for _ in range(3):
        clean.post(acme.secret, body(max_tokens=10))
    outcome.all_is_paid(clean, acme)
    statement, rules, entry = TAMPERED[what]
    tamper = statement.format(it=f"company_id = '{acme.company.id}' AND seq = 2")
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        execute(tamper)
    with transaction.atomic():
        execute("SET LOCAL session_replication_role = replica")
        execute(tamper)
        found = {(rule[:2], where) for rule, _, where, _ in outcome.violations(acme)}
        transaction.set_rollback(True)
    assert {(rule, f"entry {entry}") for rule in rules} <= found


def execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)
