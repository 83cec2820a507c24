"""/metrics: the books' figures for the operator's monitoring, read seldom and shown to nobody else."""

import asyncio
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families
from pytest_django import Settings

from billing import batches
from naive_platform import logins as platform_logins
from naive_platform import observability
from naive_platform.asgi import application
from tests import logins
from tests.billing import books
from tests.conftest import Run

NOWHERE = "postgresql://nobody@127.0.0.1:1/nowhere"
ELSEWHERE = ("192.0.2.1", 4000)
HERE = ("127.0.0.1", 4000)
NAMES = {
    *("books_up", "spool_bytes", "open_holds", "open_holds_credits", "lookups_due", "lookups_late_seconds"),
    *(
        "second_looks",
        "anomalies_undecided",
        "alerts_open",
        "day_calls",
        "day_held_credits",
        "day_charged_credits",
    ),
    *(
        "refused_calls_total",
        "false_refusals_total",
        "day_overrun_credits",
        "day_held_ratio",
        "unattributed_calls",
        "unattributed_usd_bound",
    ),
    *("broker_up", "queued_tasks", "catalog_age_seconds", "minute_settlements"),
    *("calls_total", "running_calls", "holds_placed_total", "settled_calls_total"),
    *("limited_calls_total", "limits_judged_total", "limits_trips_total", "limits_unjudged_total"),
    *("limits_up", "valkey_failures_total"),
    *("webhook_deliveries", "webhook_late_seconds", "webhook_endpoints"),
    *("prompts_stored_total", "prompts_dropped_total", "prompts_waiting_bytes"),
}
HISTOGRAMS = {"call_seconds", "first_token_seconds"}

CATALOG = """
    INSERT INTO llm_catalog_snapshot (id, body, sha256, model_count, fetched_at)
    VALUES (1, '', '', 0, clock_timestamp() - interval '100 s')
    ON CONFLICT (id) DO UPDATE SET fetched_at = excluded.fetched_at
"""


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing was read yet; on a connection of the application's."""
    monkeypatch.setattr(observability, "exposition", observability.Exposition())
    with logins.as_application():
        yield


async def scrape(
    headers: dict[str, str] | None = None, *, method: str = "GET", client: tuple[str, int] = HERE
) -> tuple[int, dict[bytes, bytes], bytes]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    named = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    scope = {"type": "http", "path": "/metrics", "method": method, "client": client, "headers": named}
    await application(scope, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


def values(text: bytes) -> dict[str, float]:
    """Every sample by its name and labels, as Prometheus reads it."""
    families = text_string_to_metric_families(text.decode())
    samples = [sample for family in families for sample in family.samples]
    return {sample.name + ",".join(sample.labels.values()): sample.value for sample in samples}


def test_every_figure_is_there_for_prometheus_to_read(run: Run) -> None:
    with connection.cursor() as cursor:
        cursor.execute(CATALOG)
        try:
            status, headers, body = run(scrape())
        finally:
            cursor.execute("DELETE FROM llm_catalog_snapshot")
    assert (status, headers[b"content-type"]) == (200, b"text/plain; version=0.0.4; charset=utf-8")
    assert set(re.findall(r"# TYPE naive_(\w+) (?:gauge|counter)", body.decode())) == NAMES
    assert set(re.findall(r"# TYPE naive_(\w+) histogram", body.decode())) == HISTOGRAMS
    assert values(body)["naive_books_up"] == 1


def test_open_hold_and_charge_are_in_the_figures() -> None:
    before = values(observability.render(now=timezone.now()))
    acme = books.wallet()
    with asyncio.Runner() as runner:
        runner.run(one_open_one_charged(acme))
    after = values(observability.render(now=timezone.now()))
    grown = {name for name in after if after[name] > before.get(name, 0)}
    assert {"naive_open_holds0,queued", "naive_open_holds_credits0", "naive_day_calls"} <= grown
    assert after["naive_day_charged_credits"] - before["naive_day_charged_credits"] == pytest.approx(1)


async def one_open_one_charged(acme: books.Wallet) -> None:
    await books.held(acme)
    await books.settled(acme, "0.4")
    await batches.stop()


def test_scrapes_ask_the_database_once_in_a_while(run: Run) -> None:
    async def many() -> set[bytes]:
        return {body for _, _, body in await asyncio.gather(*(scrape() for _ in range(20)))}

    assert len(run(many())) == 1
    with platform_logins.using(NOWHERE):
        assert values(run(scrape())[2])["naive_books_up"] == 1


def test_scraper_that_leaves_takes_the_figures_from_nobody(run: Run) -> None:
    async def two() -> bytes:
        leaving = asyncio.create_task(scrape())
        await asyncio.sleep(0)
        staying = asyncio.create_task(scrape())
        await asyncio.sleep(0)
        leaving.cancel()
        return (await staying)[2]

    assert values(run(two()))["naive_books_up"] == 1


def test_database_that_is_away_is_said_and_the_spool_all_the_same(run: Run) -> None:
    with platform_logins.using(NOWHERE):
        status, _, body = run(scrape())
    assert status == 200
    assert {"naive_books_up", "naive_spool_bytes"} <= set(values(body))
    assert not any(name.startswith("naive_open_holds") for name in values(body))
    assert values(body)["naive_books_up"] == 0


@pytest.mark.parametrize(
    ("client", "headers"),
    [
        (ELSEWHERE, {}),
        (HERE, {"x-forwarded-for": "127.0.0.1"}),
        (HERE, {"forwarded": "for=127.0.0.1"}),
        (HERE, {"via": "1.1 proxy"}),
    ],
)
def test_without_a_token_there_is_nothing_for_others(
    run: Run, client: tuple[str, int], headers: dict[str, str]
) -> None:
    status, _, body = run(scrape(headers, client=client))
    assert (status, body) == (404, b"")


def test_token_opens_it_from_anywhere_and_its_lack_closes_it_here_too(run: Run, settings: Settings) -> None:
    settings.METRICS_TOKEN = "sesame"
    for said in ({}, {"authorization": "Bearer sesam"}, {"authorization": "sesame"}):
        status, headers, body = run(scrape(said))
        assert (status, headers[b"www-authenticate"], body) == (401, b"Bearer", b"")
    assert run(scrape({"authorization": "Bearer sesame"}, client=ELSEWHERE))[0] == 200


def test_other_methods_are_refused_and_head_has_no_body(run: Run) -> None:
    assert run(scrape(method="POST"))[0] == 405
    status, headers, body = run(scrape(method="HEAD"))
    assert (status, body) == (200, b"")
    assert int(headers[b"content-length"]) > 1000


def test_figures_are_read_quickly() -> None:
    begun = time.monotonic()
    observability.render(now=timezone.now())
    assert time.monotonic() - begun < 2
