"""A database that is away, dies in the middle of a call, or commits and cannot say so; on a cluster of its own."""

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
import pytest
from django.conf import settings
from django.db import connection

from naive_platform import logins
from tests import factories
from tests.e2e.conftest import database_url, eventually, open_holds
from tests.failures import outcome
from tests.failures.conftest import Platform
from tests.failures.gateways import Starter
from tests.failures.proxies import DatabaseProxy
from tests.failures.streams import Client, body
from tests.platform.conftest import Ground, open_folder

PACE = {"SETTLE_RETRY_S": "0.3", "HOLD_TTL_S": "20"}


@dataclass(frozen=True, slots=True)
class Cluster:
    """A PostgreSQL of our own; whoever looks after it restarts it when it dies."""

    keeper_pid: int
    owner_url: str

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """`pg_ctl stop -m immediate`, and nobody starts it before the with block ends."""
        with psycopg.connect(self.owner_url) as asking:
            ((pid,),) = asking.execute(
                "SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)"
            ).fetchall()
        os.kill(self.keeper_pid, signal.SIGSTOP)
        os.kill(int(pid), signal.SIGQUIT)
        try:
            eventually(lambda: not self.answers(), what="it is gone")
            yield
        finally:
            os.kill(self.keeper_pid, signal.SIGCONT)
            connection.close()
            eventually(self.answers, what="it is back")

    def answers(self) -> bool:
        try:
            psycopg.connect(self.owner_url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[Cluster]:
    """Everything in this file happens there: the platform, and what tests look up."""
    with open_folder() as base:
        ground = Ground(base / "data")
        script = "echo $DATABASE_URL; echo $DATABASE_OWNER_URL; exec sleep 600"
        keeper = ground.embedded("sh", "-c", script, REDIS_URL=settings.REDIS_URL)
        try:
            assert keeper.stdout is not None
            application, owner = keeper.stdout.readline().strip(), keeper.stdout.readline().strip()
            with _everything_on(application, owner):
                yield Cluster(keeper.pid, owner)
        finally:
            ground.remove()


@contextlib.contextmanager
def _everything_on(application: str, owner: str) -> Iterator[None]:
    before = settings.DATABASE_URL, settings.DATABASE_OWNER_URL, connection.settings_dict["NAME"]
    with logins.using(owner):
        settings.DATABASE_URL, settings.DATABASE_OWNER_URL = application, owner
        connection.settings_dict["NAME"] = psycopg.conninfo.conninfo_to_dict(owner)["dbname"]
        try:
            yield
        finally:
            settings.DATABASE_URL, settings.DATABASE_OWNER_URL, connection.settings_dict["NAME"] = before


@pytest.fixture
def proxy(platform: Platform) -> Iterator[DatabaseProxy]:
    with DatabaseProxy(database_url()) as found:
        yield found


def test_row_21_call_that_cannot_be_held_for_is_refused_and_not_sent(
    cluster: Cluster, clean: Platform, acme: factories.Cast
) -> None:
    clean.post(acme.secret, body(max_tokens=5))
    with cluster.stopped():
        refused = clean.post(acme.secret, body())
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) >= 1
    assert clean.upstream.accepted() == 1
    eventually(lambda: clean.post(acme.secret, body()).status_code == 200, what="calls are taken again")
    outcome.all_is_paid(clean, acme)


@pytest.mark.parametrize("stream", [False, True])
def test_row_22_answer_is_delivered_while_the_database_is_down_and_charged_when_it_is_back(
    stream: bool, cluster: Cluster, clean: Platform, acme: factories.Cast
) -> None:
    request = body("delay_headers_ms=700", stream=stream, max_tokens=40)
    with Client(clean.url, acme, request) as client:
        eventually(lambda: clean.upstream.accepted() == 1, what="upstream has it")
        with cluster.stopped():
            answer = client.read_all()
    assert b'"credits_used":null' in answer
    assert not stream or b"data: [DONE]" in answer
    eventually(lambda: is_replayed(clean, acme), what="its spool is replayed")
    assert outcome.all_is_paid(clean, acme) > 0
    assert len(outcome.endings(acme)) == 1


def is_replayed(platform: Platform, acme: factories.Cast) -> bool:
    platform.have_done("llm.tasks.replay_spool")
    return open_holds(acme.company.id) == 0


def test_row_23_hold_whose_commit_was_never_heard_of_is_refused_and_given_back(
    proxy: DatabaseProxy, clean: Platform, acme: factories.Cast, gateway: Starter
) -> None:
    cut_off = gateway(DATABASE_URL=proxy.url, HOLD_TTL_S="2")
    proxy.lose_answer_to(b"billing_place_holds(")
    refused = cut_off.post(acme, body())
    assert (refused.status_code, proxy.has_lost) == (503, True)
    assert int(refused.headers["retry-after"]) >= 1
    assert outcome.holds(acme) == 1
    assert outcome.all_is_paid(clean, acme) == 0
    assert outcome.sources(acme) == ["no_evidence"]
    assert clean.upstream.accepted() == 0


@pytest.mark.parametrize("stream", [False, True])
def test_row_24_settlement_whose_commit_was_never_heard_of_is_charged_once(
    stream: bool, proxy: DatabaseProxy, clean: Platform, acme: factories.Cast, gateway: Starter
) -> None:
    cut_off = gateway(DATABASE_URL=proxy.url, SETTLE_RETRY_S="3")
    proxy.lose_answer_to(b"billing_settle(")
    answer = cut_off.post(acme, body(stream=stream, max_tokens=40))
    assert (answer.status_code, proxy.has_lost) == (200, True)
    assert b'"credits_used":0.0' in answer.content
    assert outcome.all_is_paid(clean, acme, timeout_s=0) > 0
    assert outcome.sources(acme) == ["stream" if stream else "inline"]
