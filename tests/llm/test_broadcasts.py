"""What becomes of a broadcast trace: an open hold is charged once, a settled one compared, everything else ignored."""

import asyncio
import gzip
import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx
import pytest

from accounts.errors import InvalidInput
from billing import batches, holds, settlement, standings
from billing.errors import BooksUnavailable
from billing.holds import HoldRequest
from billing.settlement import Evidence, HoldKey, Source
from llm import broadcasts
from naive_platform.asgi import application
from tests.accounts import outages
from tests.billing import books
from tests.billing.books import CREDIT, Wallet
from tests.conftest import Run
from tests.llm.deliveries import delivery, double, span

USER = "0123456789abcdef0123456789abcdef"
SECRET = "what upstream was told"
PATH = "/v1/broadcast"


@pytest.fixture
def run(run: Run) -> Iterator[Run]:
    """An event loop for one test, its batchers stopped afterwards."""
    yield run
    run(batches.stop())


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django.conf.settings.BROADCAST_GRACE_S", 0)
    monkeypatch.setattr("django.conf.settings.BROADCAST_SECRET", SECRET)


def held(run: Run, made: Wallet) -> HoldRequest:
    """A call that was sent and of which nothing was heard."""
    return run(books.held(made, details=b'{"user": "%s"}' % USER.encode()))


def told(request: HoldRequest, **more: Any) -> dict[str, Any]:
    """Its span; 0.4 USD are one credit."""
    return span(
        request.hold_id, **{"cost": double("0.4"), "generation_id": named(request), "user": USER, **more}
    )


def named(request: HoldRequest) -> str:
    return f"gen-{request.hold_id.hex}"


def clean(made: Wallet) -> bool:
    """Whether nothing is wrong with its books and nothing waits for a person."""
    return not books.anomalies(made) and not books.violations(made)


def receive(run: Run, *spans: Any, **more: Any) -> dict[str, int]:
    return {name: count for name, count in run(broadcasts.receive(delivery(*spans, **more))).items() if count}


async def end(request: HoldRequest, usd: str | None, source: Source = "inline") -> settlement.Settlement:
    """What the call's own gateway, or a worker, does."""
    key = HoldKey(request.company_id, request.hold_id, request.markup, request.credit_value_usd)
    cost = None if usd is None else Decimal(usd)
    evidence = Evidence(
        source=source, cost_usd=cost, generation_id=named(request) if cost is not None else None
    )
    return await (settlement.void if cost is None else settlement.settle)(hold=key, evidence=evidence)


def settled(request: HoldRequest) -> tuple[Any, ...]:
    """(kind, cost, source, generation id, model) of its settlement."""
    ((*found, details),) = books.rows(
        "SELECT kind, cost_usd, source, generation_id, details ->> 'model' FROM billing_settlement WHERE hold_id = %s",
        request.hold_id,
    )
    return (*found, details)


def test_open_hold_is_charged_what_the_trace_says(run: Run) -> None:
    acme = books.wallet()
    request = held(run, acme)
    assert receive(run, told(request, cost=double("0.39999999999999999999"))) == {"settled": 1}
    assert acme.state() == (9 * CREDIT, 0)
    cost = Decimal("0.39999999999999999999")
    assert settled(request) == ("post", cost, "broadcast", named(request), "openai/gpt-4o-mini")
    assert clean(acme)


@pytest.mark.parametrize("form", ["digest", "hex", "dashed"])
def test_trace_s_own_id_is_enough(run: Run, form: str) -> None:
    acme = books.wallet()
    request = held(run, acme)
    ids = {
        "digest": standings.digest(request.hold_id),
        "hex": request.hold_id.hex,
        "dashed": str(request.hold_id),
    }
    assert receive(run, told(request, trace_id=ids[form]), resource={}) == {"settled": 1}
    assert acme.state() == (9 * CREDIT, 0)


def test_trace_without_a_generation_id_settles_too(run: Run) -> None:
    acme = books.wallet()
    request = held(run, acme)
    assert receive(run, told(request, generation_id="")) == {"settled": 1}
    assert settled(request)[3] is None


def test_same_trace_again_and_again_charges_once(run: Run) -> None:
    acme = books.wallet()
    one = told(held(run, acme))
    counts = [receive(run, one, one), receive(run, one)]
    assert counts == [{"settled": 1, "known": 1}, {"known": 1}]
    assert acme.state() == (9 * CREDIT, 0)
    assert books.anomalies(acme) == []


def test_each_of_many_calls_is_charged_to_its_own_company(run: Run) -> None:
    acme, globex = books.wallet(100 * CREDIT), books.wallet(100 * CREDIT)
    requests = [held(run, made) for made in (acme, globex, acme)]
    strangers = [span(uuid.uuid4()) for _ in range(broadcasts.SPANS_AT_ONCE)]
    counts = receive(run, *strangers, *map(told, requests), None)
    assert counts == {"settled": 3, "ignored": len(strangers) + 1}
    assert (acme.state(), globex.state()) == ((98 * CREDIT, 0), (99 * CREDIT, 0))


def test_trace_of_no_call_of_ours_is_counted_and_ignored(run: Run) -> None:
    acme = books.wallet()
    request = held(run, acme)
    assert receive(run, span(acme.request().hold_id, generation_id="gen-of-somebody")) == {"unknown": 1}
    assert (books.open_hold(request) or {})["stage"] == "held"


def test_gateway_that_settles_within_the_grace_is_let_do_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django.conf.settings.BROADCAST_GRACE_S", 0.3)
    acme = books.wallet()
    request = held(run, acme)

    async def race() -> int:
        taken = asyncio.create_task(broadcasts.receive(delivery(told(request))))
        await asyncio.sleep(0.1)
        await end(request, "0.4")
        return (await taken)["known"]

    assert run(race()) == 1
    assert settled(request)[2] == "inline"
    assert books.anomalies(acme) == []


def test_gateway_that_settles_after_it_with_the_same_cost_changes_nothing(run: Run) -> None:
    acme = books.wallet()
    request = held(run, acme)
    receive(run, told(request))
    answer = run(end(request, "0.4"))
    assert (answer.outcome, answer.charged_nanocredits) == ("already", CREDIT)
    assert [entry[1:3] for entry in books.entries(acme)] == [("grant", 10 * CREDIT), ("llm_call", -CREDIT)]
    assert clean(acme)


def test_gateway_that_settles_after_it_with_another_cost_is_believed(run: Run) -> None:
    acme = books.wallet()
    request = held(run, acme)
    receive(run, told(request))
    assert run(end(request, "0.8")).charged_nanocredits == 2 * CREDIT
    assert acme.state() == (8 * CREDIT, 0)
    assert clean(acme)


def test_race_with_the_live_settlement_charges_once(run: Run) -> None:
    acme = books.wallet(100 * CREDIT)
    requests = [held(run, acme) for _ in range(20)]

    async def race() -> None:
        ends = [end(request, "0.4") for request in requests]
        taken = [broadcasts.receive(delivery(told(request))) for request in requests]
        await asyncio.gather(*(work for pair in zip(taken, ends, strict=True) for work in pair))

    run(race())
    assert acme.state() == (80 * CREDIT, 0)
    assert clean(acme)


@pytest.mark.parametrize("source", ["inline", "generation"])
def test_late_trace_with_the_same_cost_says_nothing_new(run: Run, source: Source) -> None:
    acme = books.wallet()
    request = held(run, acme)
    run(end(request, "0.40", source))
    assert receive(run, told(request)) == {"known": 1}
    assert books.anomalies(acme) == []


@pytest.mark.parametrize("source", ["inline", "generation", "estimate"])
def test_late_trace_with_another_cost_is_a_person_s_and_charges_nothing(run: Run, source: Source) -> None:
    acme = books.wallet()
    request = held(run, acme)
    run(end(request, "0.4", source))
    for _ in range(2):
        assert receive(run, told(request, cost=double("0.8"))) == {"quarantined": 1}
    assert books.anomalies(acme) == ["late_broadcast"]
    assert acme.state() == (9 * CREDIT, 0)


@pytest.mark.parametrize(("cost", "kinds"), [("0.4", ["late_broadcast"]), ("0", [])])
def test_late_trace_of_a_call_that_was_given_back(run: Run, cost: str, kinds: list[str]) -> None:
    acme = books.wallet()
    request = held(run, acme)
    run(end(request, None, "no_evidence"))
    assert receive(run, told(request, cost=double(cost))) == {"quarantined" if kinds else "known": 1}
    assert books.anomalies(acme) == kinds
    assert acme.state() == (10 * CREDIT, 0)


def test_late_trace_is_compared_with_what_the_call_costs_today(run: Run) -> None:
    acme = books.wallet()
    request = held(run, acme)
    run(end(request, "0.4", "estimate"))
    run(end(request, "0.8", "inline"))
    assert receive(run, told(request, cost=double("0.8"))) == {"known": 1}
    assert receive(run, told(request, cost=double("0.4"))) == {"quarantined": 1}


def test_trace_of_another_user_is_a_person_s_and_the_hold_goes_its_way(run: Run) -> None:
    acme = books.wallet()
    request = held(run, acme)
    assert receive(run, told(request, user="somebody-else")) == {"quarantined": 1}
    assert books.anomalies(acme) == ["generation_mismatch"]
    assert acme.state() == (10 * CREDIT, CREDIT)
    assert (books.open_hold(request) or {})["stage"] == "held"


def test_trace_of_another_generation_than_the_hold_waits_for_is_a_person_s(run: Run) -> None:
    acme = books.wallet()
    request = held(run, acme)

    async def note() -> None:
        holds.dispatched(hold_id=request.hold_id, company_id=request.company_id, generation_id="gen-mine")
        await asyncio.sleep(0.2)

    run(note())
    assert receive(run, told(request)) == {"quarantined": 1}
    assert books.anomalies(acme) == ["generation_mismatch"]
    assert receive(run, told(request, generation_id="gen-mine")) == {"settled": 1}


@pytest.mark.parametrize("cost", ["-0.01", "NaN", "1e30", "400"])
def test_impossible_cost_is_a_person_s(run: Run, cost: str) -> None:
    acme = books.wallet()
    request = held(run, acme)
    assert receive(run, told(request, cost=double(cost)), told(held(run, acme))) == {
        "quarantined": 1,
        "settled": 1,
    }
    assert books.anomalies(acme) == ["implausible_cost"]
    assert acme.state() == (9 * CREDIT, CREDIT)
    assert (books.open_hold(request) or {})["stage"] == "parked"


def test_generation_of_another_call_is_charged_once(run: Run) -> None:
    acme, globex = books.wallet(), books.wallet()
    mine, theirs = held(run, acme), held(run, globex)
    receive(run, told(mine))
    assert receive(run, told(theirs, generation_id=named(mine))) == {"quarantined": 1}
    assert books.anomalies(globex) == ["generation_conflict"]
    assert (acme.state(), globex.state()) == ((9 * CREDIT, 0), (10 * CREDIT, CREDIT))


def test_call_with_no_cost_is_settled_for_nothing(run: Run) -> None:
    acme = books.wallet()
    request = held(run, acme)
    assert receive(run, told(request, cost=double("0"))) == {"settled": 1}
    assert acme.state() == (10 * CREDIT, 0)
    assert settled(request)[:2] == ("post", 0)


def test_delivery_is_not_taken_while_the_database_is_away(run: Run) -> None:
    acme = books.wallet()
    request = held(run, acme)
    with outages.unreachable(), pytest.raises(BooksUnavailable):
        receive(run, told(request))
    assert acme.state() == (10 * CREDIT, CREDIT)


def test_settlement_that_only_the_spool_took_is_asked_for_again(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django.conf.settings.SETTLE_RETRY_S", 0.2)
    acme = books.wallet()
    request = held(run, acme)
    with books.wallet_kept(acme), pytest.raises(BooksUnavailable):
        receive(run, told(request))
    receive(run, told(request))
    assert acme.state() == (9 * CREDIT, 0)
    assert books.anomalies(acme) == []


def test_what_is_no_delivery_is_refused(run: Run) -> None:
    with pytest.raises(InvalidInput):
        run(broadcasts.receive(b"<html>"))


def ask(run: Run, body: bytes = b"{}", *, method: str = "POST", **headers: str) -> httpx.Response:
    async def work() -> httpx.Response:
        transport = httpx.ASGITransport(application)
        async with httpx.AsyncClient(transport=transport, base_url="http://naive") as client:
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            return await client.request(method, PATH, content=body, headers=sent)

    return run(work())


@pytest.mark.parametrize(
    "headers",
    [
        {"x_broadcast_secret": SECRET},
        {"authorization": f"Bearer {SECRET}"},
        {"authorization": f"bearer  {SECRET}"},
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_door_opens_to_the_secret(run: Run, headers: dict[str, str], method: str) -> None:
    acme = books.wallet()
    answer = ask(run, delivery(told(held(run, acme)), None), method=method, **headers)
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "spans": {"settled": 1, "ignored": 1}}
    assert acme.state() == (9 * CREDIT, 0)


@pytest.mark.parametrize(
    "headers",
    [{}, {"x_broadcast_secret": ""}, {"x_broadcast_secret": SECRET[:-1]}, {"authorization": SECRET},
     {"authorization": f"Basic {SECRET}"}, {"authorization": "Bearer "}, {"x_broadcast_secret": SECRET.upper()}],
)  # fmt: skip
def test_forged_delivery_moves_nothing(run: Run, headers: dict[str, str]) -> None:
    acme = books.wallet()
    answer = ask(run, delivery(told(held(run, acme))), **headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized")
    assert acme.state() == (10 * CREDIT, CREDIT)


def test_door_says_what_to_set_where_nothing_is(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django.conf.settings.BROADCAST_SECRET", "")
    for secret in ("", "x"):
        answer = ask(run, x_broadcast_secret=secret)
        assert (answer.status_code, answer.json()["error"]["code"]) == (501, "not_configured")
        assert "BROADCAST_SECRET" in answer.json()["error"]["message"]


def test_upstream_s_trial_is_answered_without_looking_at_it(run: Run) -> None:
    trial = {"x_broadcast_secret": SECRET, "x_test_connection": "true"}
    assert ask(run, b"", **trial).status_code == 200
    assert ask(run, b"", x_test_connection="true").status_code == 401


@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [(b"<html>", "identity", 400), (b"{}", "gzip", 400), (b"{}", "br", 415), (b"", "identity", 400)],
)
def test_bodies_that_cannot_be_read_are_refused(run: Run, body: bytes, encoding: str, status: int) -> None:
    answer = ask(run, body, x_broadcast_secret=SECRET, content_encoding=encoding)
    assert answer.status_code == status


def test_gzip_is_taken_and_a_bomb_is_not(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django.conf.settings.BODY_LIMIT_MB", 1)
    acme = books.wallet()
    packed = gzip.compress(delivery(told(held(run, acme))))
    headers = {"x_broadcast_secret": SECRET, "content_encoding": "gzip"}
    assert ask(run, packed, **headers).status_code == 200
    assert acme.state() == (9 * CREDIT, 0)
    assert ask(run, gzip.compress(b" " * 2**24), **headers).status_code == 413
    assert ask(run, packed[:-9], **headers).status_code == 400


def test_door_takes_nothing_else(run: Run) -> None:
    answer = ask(run, method="DELETE", x_broadcast_secret=SECRET)
    assert (answer.status_code, set(answer.headers["allow"].split(", "))) == (405, {"POST", "PUT"})
