"""Evidence that comes twice, late, wrong, changed or from another call: one charge, by the best of it."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from accounts import companies
from billing import anomalies, ledger, money, settlement
from billing.anomalies import Word
from billing.errors import ImplausibleCost
from billing.models import Entry
from billing.settlement import Evidence, HoldKey, Source
from llm import tasks
from tests import factories, races
from tests.e2e.conftest import eventually, open_holds
from tests.failures import outcome
from tests.failures.conftest import Platform
from tests.failures.gateways import Starter
from tests.failures.streams import Client, body

PACE = {
    "LOOKUP_BACKOFF_S": "0.2,0.2,0.3,0.3,0.5,0.5,0.5,1,1,1.5",
    "ESTIMATE_AFTER_S": "4",
    "SECOND_LOOK_S": "1,2",
}
# Upstream has charged and will never tell: the call stays open until a test tells.
UNTOLD = "omit_cost,generation=never"


@dataclass(frozen=True, slots=True)
class Untold:
    """An open call, and what upstream's ledger has for it."""

    key: HoldKey
    cost_usd: Decimal

    def evidence(self, source: Source = "generation", *, times: int = 1) -> Evidence:
        return Evidence(source=source, cost_usd=self.cost_usd * times)


@pytest.fixture
def untold(clean: Platform, acme: factories.Cast) -> Untold:
    clean.post(acme.secret, body(UNTOLD))
    return Untold(outcome.open_key(acme), Decimal(clean.upstream.ledger()["total_usd"]))


def test_row_25_same_evidence_from_many_sides_charges_once(
    untold: Untold, clean: Platform, acme: factories.Cast
) -> None:
    ended = races.at_once(
        *[lambda: settlement.settle_now(hold=untold.key, evidence=untold.evidence()).outcome] * 8
    )
    assert sorted(map(str, ended)) == ["already"] * 7 + ["posted"]
    outcome.all_is_paid(clean, acme)


def test_row_26_first_of_two_costs_wins_and_a_person_hears_of_the_other(
    clean: Platform, acme: factories.Cast
) -> None:
    clean.post(acme.secret, body())
    cost = outcome.all_is_paid(clean, acme)
    (ending,) = outcome.endings(acme)
    again = settlement.settle_now(
        hold=ending.key(acme), evidence=Evidence(source="generation", cost_usd=2 * cost)
    )
    assert again.outcome == "already"
    assert outcome.anomalies(acme) == ["settled_differently"]
    assert outcome.all_is_paid(clean, acme) == cost


def test_row_26_better_evidence_corrects_the_first(
    untold: Untold, clean: Platform, acme: factories.Cast
) -> None:
    settlement.settle_now(hold=untold.key, evidence=untold.evidence("estimate", times=3))
    settlement.settle_now(hold=untold.key, evidence=untold.evidence())
    outcome.all_is_paid(clean, acme)
    actions = (
        Entry.objects.filter(company_id=acme.company.id).order_by("seq").values_list("action", flat=True)
    )
    assert list(actions) == ["grant", "llm_call", "correction"]


def test_row_27_sweep_that_meets_living_calls_charges_none_twice(
    clean: Platform, acme: factories.Cast, gateway: Starter
) -> None:
    # Their time is over while they still run, so each is looked up before, while and after it settles.
    hurried = gateway(HOLD_TTL_S="1")
    requests = [
        body(f"chunk_delay_ms=40,completion_tokens={tokens},generation_delay_ms=0", stream=True)
        for tokens in range(70, 110, 5)
    ]
    clients = [Client(hurried.url, acme, request) for request in requests]
    for client in clients:
        with client:
            assert b"data: [DONE]" in client.read_all()
    outcome.all_is_paid(clean, acme)
    assert set(outcome.sources(acme)) <= {"stream", "generation"}
    assert len(outcome.endings(acme)) == clean.upstream.ledger()["calls"] == len(requests)


@pytest.mark.usefixtures("upstream_here")
def test_row_28_many_reconcilers_at_once_settle_each_call_once(clean: Platform, acme: factories.Cast) -> None:
    for _ in range(8):
        clean.post(acme.secret, body("omit_cost,generation_delay_ms=600", max_tokens=20))
    clean.have_done("llm.tasks.sweep_open_holds", times=40)
    while open_holds(acme.company.id):
        assert races.at_once(*[tasks.sweep_open_holds] * 3) == [None] * 3
    outcome.all_is_paid(clean, acme)
    assert outcome.sources(acme) == ["generation"] * 8
    entries = Entry.objects.filter(company_id=acme.company.id, action="llm_call")
    assert entries.count() == 8


def looks_again(platform: Platform) -> bool:
    """Have the worker look at settled calls now; it ships to do so twice a minute."""
    platform.have_done("llm.tasks.look_again")
    return True


def test_row_29_record_that_is_late_is_charged_by_estimate_first_and_exactly_later(
    clean: Platform, acme: factories.Cast
) -> None:
    cut = body("cut_after=6,generation_delay_ms=5500", stream=True)
    held = clean.post(acme.secret, cut).headers["x-naive-credits-held"]
    eventually(lambda: open_holds(acme.company.id) == 0, what="it is estimated")
    (estimate,) = outcome.endings(acme)
    assert estimate.source == "estimate"
    assert 0 < estimate.charged_nanocredits <= money.nanocredits_from_credits(Decimal(held))
    eventually(lambda: looks_again(clean) and outcome.sources(acme) == ["generation"], what="it is corrected")
    outcome.all_is_paid(clean, acme)


def test_row_29_call_that_nothing_can_be_estimated_of_is_pending_and_then_a_persons(
    clean: Platform, acme: factories.Cast
) -> None:
    clean.post(acme.secret, body("cut_after=0,generation=never", model="openrouter/auto", stream=True))
    eventually(lambda: outcome.stages(acme) == ["parked"], what="it is parked")
    assert outcome.held_nanocredits(acme) > 0
    assert outcome.violations(acme) == []


@pytest.mark.parametrize(
    "faults",
    [
        "generation_failures=3",
        "generation_failures=3,generation_status=429",
        "generation_failures=2,generation_status=500",
    ],
)
def test_row_30_look_up_that_fails_is_no_evidence(faults: str, clean: Platform, acme: factories.Cast) -> None:
    clean.post(acme.secret, body(f"omit_cost,{faults}"))
    assert outcome.all_is_paid(clean, acme) > 0
    assert outcome.sources(acme) == ["generation"]


def test_row_30_look_ups_that_all_fail_stop_no_call(clean: Platform, acme: factories.Cast) -> None:
    clean.upstream.faults(status=500, on="generation")
    clean.post(acme.secret, body("omit_cost", max_tokens=20))
    for _ in range(10):
        assert clean.post(acme.secret, body(max_tokens=5)).status_code == 200
    assert open_holds(acme.company.id) == 1
    clean.upstream.faults()
    outcome.all_is_paid(clean, acme)


def test_row_31_record_that_says_zero_first_is_looked_at_again(clean: Platform, acme: factories.Cast) -> None:
    clean.post(acme.secret, body("cut_after=3,generation=zero-first", stream=True))
    eventually(lambda: open_holds(acme.company.id) == 0, what="a first look")
    eventually(lambda: looks_again(clean) and bool(outcome.endings(acme)[0].cost_usd), what="a second look")
    assert outcome.all_is_paid(clean, acme) > 0
    assert outcome.sources(acme) == ["generation"]


def test_row_31_record_that_changes_corrects_the_call(clean: Platform, acme: factories.Cast) -> None:
    clean.post(acme.secret, body("cut_after=3,generation=corrected", stream=True))
    eventually(lambda: open_holds(acme.company.id) == 0, what="a first look")
    owed = Decimal(clean.upstream.ledger()["total_usd"])
    eventually(lambda: looks_again(clean) and outcome.endings(acme)[0].cost_usd == owed, what="a second look")
    outcome.all_is_paid(clean, acme)


@pytest.mark.parametrize("part", ["0.5", "3"])
def test_row_32_correction_moves_the_difference_once(
    part: str, clean: Platform, acme: factories.Cast
) -> None:
    clean.post(acme.secret, body())
    cost = outcome.all_is_paid(clean, acme) * Decimal(part)
    (ending,) = outcome.endings(acme)
    correction = {"source": "operator", "reference": "ticket-1", "cost_usd": cost}
    made = [
        ledger.correct(company_id=acme.company_id, hold_id=ending.key(acme).hold_id, **correction).outcome  # type: ignore[arg-type]
        for _ in range(2)
    ]
    assert made == ["corrected", "already"]
    assert [(one.cost_usd, one.source) for one in outcome.endings(acme)] == [(cost, "operator")]
    outcome.books_are_right(acme)


def test_row_32_correction_below_zero_is_refused(clean: Platform, acme: factories.Cast) -> None:
    clean.post(acme.secret, body())
    (ending,) = outcome.endings(acme)
    with pytest.raises(ImplausibleCost):
        ledger.correct(
            company_id=acme.company_id, hold_id=ending.key(acme).hold_id, cost_usd=Decimal("-0.01"), source="operator",
            reference="ticket-1",
        )  # fmt: skip
    outcome.all_is_paid(clean, acme)


def decide(acme: factories.Cast, decision: Word, cost_usd: Decimal | None = None) -> None:
    """Let the operator decide over the member's one anomaly."""
    ((kind, reference),) = outcome.rows(
        "SELECT kind, reference FROM billing_anomaly WHERE company_id = %s", acme.company.id
    )
    anomalies.decide(
        kind=kind, reference=reference, decision=decision, actor="user:operator", reason="Asked", cost_usd=cost_usd
    )  # fmt: skip


def test_row_33_negative_cost_is_no_credit_and_a_persons(clean: Platform, acme: factories.Cast) -> None:
    clean.post(acme.secret, body("cost=negative"))
    assert outcome.anomalies(acme) == ["implausible_cost"]
    assert outcome.spent_nanocredits(acme) == 0
    assert outcome.stages(acme) == ["parked"]
    decide(acme, "charge", Decimal(clean.upstream.ledger()["total_usd"]))
    assert outcome.all_is_paid(clean, acme) > 0


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("cost", ["nan", "infinity"])
def test_row_34_cost_that_is_no_number_is_looked_up(
    cost: str, stream: bool, clean: Platform, acme: factories.Cast
) -> None:
    clean.post(acme.secret, body(f"cost={cost}", stream=stream))
    assert outcome.all_is_paid(clean, acme) > 0
    assert outcome.sources(acme) == ["generation"]


def test_row_34_cost_beyond_every_range_is_a_persons(clean: Platform, acme: factories.Cast) -> None:
    clean.post(acme.secret, body("cost=huge"))
    assert outcome.anomalies(acme) == ["implausible_cost"]
    assert outcome.stages(acme) == ["parked"]
    decide(acme, "charge", Decimal(clean.upstream.ledger()["total_usd"]))
    assert outcome.all_is_paid(clean, acme) > 0


def test_row_35_implausible_cost_is_held_and_not_charged_until_a_person_says_so(
    clean: Platform, acme: factories.Cast
) -> None:
    held = clean.post(acme.secret, body("cost_usd=2", max_tokens=20)).headers["x-naive-credits-held"]
    assert outcome.anomalies(acme) == ["implausible_cost"]
    assert outcome.held_nanocredits(acme) == money.nanocredits_from_credits(Decimal(held))
    assert outcome.spent_nanocredits(acme) == 0
    decide(acme, "charge", Decimal(2))
    assert outcome.all_is_paid(clean, acme) == 2


def test_row_35_implausible_cost_that_a_person_voids_is_given_back(
    clean: Platform, acme: factories.Cast
) -> None:
    clean.post(acme.secret, body("cost_usd=2", max_tokens=20))
    decide(acme, "void")
    assert outcome.spent_nanocredits(acme) == 0
    outcome.books_are_right(acme)


@pytest.fixture
def parrot() -> Iterator[Callable[[httpx.Response], str]]:
    """Repeats an answer of the simulator's to whoever calls; returns its base URL."""
    servers: list[ThreadingHTTPServer] = []

    def repeat(answer: httpx.Response) -> str:
        class Repeats(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(200)
                for name in ("x-generation-id", "content-type", "content-length"):
                    self.send_header(name, answer.headers[name])
                self.end_headers()
                self.wfile.write(answer.content)

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing of it is news."""

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Repeats))
        threading.Thread(target=servers[-1].serve_forever).start()
        return f"http://127.0.0.1:{servers[-1].server_port}/api/v1"

    yield repeat
    for server in servers:
        server.shutdown()
        server.server_close()


def test_row_36_generation_of_another_company_is_not_charged_again(
    clean: Platform, acme: factories.Cast, gateway: Starter, parrot: Callable[[httpx.Response], str]
) -> None:
    clean.post(acme.secret, body())
    sent = clean.upstream.last_request()
    theirs = httpx.post(f"{clean.upstream.url}{sent['path']}", content=sent["body"], headers=sent["headers"])
    globex = factories.globex()
    assert json.loads(theirs.content)["usage"]["cost"] > 0
    repeating = gateway(OPENROUTER_BASE_URL=parrot(theirs))
    repeating.post(acme, body())
    repeating.post(globex, body())
    assert outcome.all_is_paid(clean, acme) > 0
    assert outcome.anomalies(globex) == ["generation_conflict"]
    assert outcome.spent_nanocredits(globex) == 0
    assert outcome.stages(globex) == ["parked"]


@pytest.mark.parametrize("whose", ["other-id", "other-model", "other-user", "other-time"])
def test_row_37_record_of_another_call_is_not_posted(
    whose: str, clean: Platform, acme: factories.Cast
) -> None:
    clean.post(acme.secret, body(f"omit_cost,generation={whose}"))
    eventually(lambda: outcome.stages(acme) == ["parked"], what="it is left to a person")
    assert outcome.anomalies(acme) == ["generation_mismatch"]
    assert outcome.spent_nanocredits(acme) == 0
    decide(acme, "charge", Decimal(clean.upstream.ledger()["total_usd"]))
    assert outcome.all_is_paid(clean, acme) > 0


def test_row_43_cost_above_the_hold_is_charged_in_full_and_ends_the_credit(clean: Platform) -> None:
    acme = factories.acme(credits=Decimal("0.01"))
    answer = clean.post(acme.secret, body("price_factor=9,completion_tokens=3000", max_tokens=3000))
    held = money.nanocredits_from_credits(Decimal(answer.headers["x-naive-credits-held"]))
    (ending,) = outcome.endings(acme)
    assert ending.charged_nanocredits > held
    assert ending.cost_usd == Decimal(clean.upstream.ledger()["total_usd"])
    assert factories.balance(acme) < 0
    assert clean.post(acme.secret, body(max_tokens=5)).status_code == 402
    assert outcome.violations(acme) == []
    ((overrun,),) = outcome.rows(
        "SELECT sum(overrun_nanocredits) FROM billing_usage WHERE company_id = %s", acme.company.id
    )
    assert overrun == ending.charged_nanocredits - held


def test_row_45_price_that_changes_in_the_middle_of_a_call_is_the_next_ones(
    clean: Platform, acme: factories.Cast
) -> None:
    with Client(clean.url, acme, body("chunk_delay_ms=40,completion_tokens=60", stream=True)) as client:
        client.read_frames(2)
        companies.set_markup(company_id=acme.company_id, markup=Decimal(3))
        client.read_all()
    eventually(lambda: is_charged_at(clean, acme, Decimal(3)), timeout_s=3.0, what="the new price")
    outcome.all_is_paid(clean, acme)
    assert outcome.endings(acme)[0].markup == Decimal("1.25")


def is_charged_at(platform: Platform, acme: factories.Cast, markup: Decimal) -> bool:
    platform.post(acme.secret, body(max_tokens=5))
    return outcome.endings(acme)[-1].markup == markup
