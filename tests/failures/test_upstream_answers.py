"""What upstream may answer, cut or never say: no call is assumed free that is not proven so, none is charged twice."""

import json

import pytest

from billing.models import Entry
from tests import factories
from tests.e2e.conftest import eventually, open_holds
from tests.failures import outcome
from tests.failures.conftest import Platform
from tests.failures.gateways import Gateway, Starter
from tests.failures.streams import body

STYLES = ["finish", "usage", "empty", "choice", "string"]
REFUSALS = [400, 401, 402, 403, 404, 408, 413, 422, 429, 500, 502, 503, 504, 524, 529]


@pytest.mark.parametrize("stream", [False, True])
def test_row_05_answer_cut_before_its_usage_is_looked_up(
    stream: bool, clean: Platform, acme: factories.Cast
) -> None:
    for style in ("rst", "fin"):
        clean.post(acme.secret, body(f"cut_after=3,cut_style={style}", stream=stream))
    assert outcome.all_is_paid(clean, acme) > 0
    assert outcome.sources(acme) == ["generation"] * 2


CUTS = [
    "cut_after=2,cut_bytes=1", "cut_after=2,cut_bytes=40", "split=1,cut_after=2,cut_bytes=25",
    "split=3,unicode,cut_after=1,cut_bytes=60",
]  # fmt: skip


def test_row_06_answer_cut_inside_a_chunk_is_looked_up(clean: Platform, acme: factories.Cast) -> None:
    for cut in CUTS:
        answer = clean.post(acme.secret, body(cut, stream=True))
        last = json.loads(answer.content.rstrip().rpartition(b"data: ")[2])
        assert last["error"]["metadata"]["generation_id"] == answer.headers["x-naive-generation-id"]
    assert outcome.all_is_paid(clean, acme) > 0
    assert outcome.sources(acme) == ["generation"] * len(CUTS)


@pytest.mark.parametrize("billed", ["", ",error_billed"])
def test_row_07_error_event_in_a_200_is_looked_up_and_not_assumed_free(
    billed: str, clean: Platform, acme: factories.Cast
) -> None:
    for style in STYLES:
        answer = clean.post(acme.secret, body(f"midstream_error={style}{billed}", stream=True))
        assert answer.status_code == 200
        assert b'"error":' in answer.content
    assert (outcome.all_is_paid(clean, acme) > 0) == bool(billed)
    ended = outcome.endings(acme)
    assert [(one.kind, one.cost_usd > 0) for one in ended] == [("post", bool(billed))] * len(STYLES)


def test_row_08_refusal_before_any_model_ran_is_given_back(clean: Platform, acme: factories.Cast) -> None:
    for status in REFUSALS:
        answer = clean.post(acme.secret, body(f"status={status}", stream=status % 2 == 0))
        assert answer.status_code >= 400
    assert outcome.all_is_paid(clean, acme, timeout_s=0) == 0
    assert [(one.kind, one.source) for one in outcome.endings(acme)] == [("void", "inline")] * len(REFUSALS)


@pytest.mark.parametrize("billed", ["", ",error_billed"])
def test_row_09_error_that_names_a_generation_is_looked_up(
    billed: str, clean: Platform, acme: factories.Cast
) -> None:
    for status in (500, 502, 503):
        answer = clean.post(acme.secret, body(f"status={status},error_generation{billed}"))
        assert answer.headers["x-should-retry"] == "false"
    assert (outcome.all_is_paid(clean, acme) > 0) == bool(billed)
    assert outcome.sources(acme) == ["generation"] * 3


@pytest.mark.parametrize("faults", ["ok_error=top", "ok_error=top,error_billed", "omit_usage", "omit_cost"])
def test_row_10_success_with_an_error_or_without_usage_is_looked_up(
    faults: str, clean: Platform, acme: factories.Cast
) -> None:
    clean.post(acme.secret, body(faults))
    assert (outcome.all_is_paid(clean, acme) > 0) == (faults != "ok_error=top")
    assert outcome.sources(acme) == ["generation"]


@pytest.mark.parametrize("billed", ["", ",error_billed"])
def test_row_10_error_with_a_usage_beside_it_costs_what_that_says(
    billed: str, clean: Platform, acme: factories.Cast
) -> None:
    clean.post(acme.secret, body(f"ok_error=choice{billed}"))
    assert (outcome.all_is_paid(clean, acme) > 0) == bool(billed)
    assert outcome.sources(acme) == ["inline"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("model", "faults"),
    [("openai/gpt-oss-120b:free", ""), ("openai/gpt-4o-mini", "cache=hit"), ("openai/gpt-4o-mini", "byok")],
)
def test_row_11_cost_of_zero_is_posted_and_not_taken_for_a_missing_one(
    model: str, faults: str, stream: bool, clean: Platform, acme: factories.Cast
) -> None:
    clean.post(acme.secret, body(faults, model=model, stream=stream))
    assert outcome.all_is_paid(clean, acme, timeout_s=0) == 0
    (ending,) = outcome.endings(acme)
    assert (ending.kind, ending.source) == ("post", "stream" if stream else "inline")
    assert not Entry.objects.filter(company_id=acme.company.id, action="llm_call").exists()


@pytest.fixture(scope="module")
def impatient(lasting_gateway: Starter) -> Gateway:
    """A gateway that waits for upstream for fractions of a second."""
    return lasting_gateway(
        "upstream.READ_TIMEOUT_S = pumps.READ_TIMEOUT_S = 0.4; upstream.JSON_TIMEOUT_S = 1.5", HOLD_TTL_S="2"
    )


@pytest.mark.parametrize("faults", ["hang_after=0", "hang_after=2", "stall_after=2"])
def test_row_12_stream_that_falls_silent_is_looked_up_and_never_sent_again(
    faults: str, clean: Platform, acme: factories.Cast, impatient: Gateway
) -> None:
    answer = impatient.post(acme, body(f"{faults},provider=OpenAI", stream=True))
    assert b'"code":504' in answer.content
    outcome.all_is_paid(clean, acme)
    assert outcome.sources(acme) == ["generation"]
    assert clean.upstream.accepted() == 1


def test_row_12_answer_whose_headers_never_come_is_never_sent_again(
    clean: Platform, acme: factories.Cast, impatient: Gateway
) -> None:
    answer = impatient.post(acme, body("delay_headers_ms=2500", max_tokens=20))
    assert (answer.status_code, answer.headers["x-should-retry"]) == (504, "false")
    eventually(lambda: open_holds(acme.company.id) == 0, what="its time is over")
    eventually(lambda: clean.upstream.ledger()["calls"] == 1, what="upstream has run it")
    # Nothing names the call, so it is given back; upstream's broadcast is what finds such a one (row 16).
    assert outcome.sources(acme) == ["no_evidence"]
    assert clean.upstream.accepted() == 1
    outcome.books_are_right(acme)


def test_row_12_answer_in_one_piece_has_the_longer_time(
    clean: Platform, acme: factories.Cast, impatient: Gateway
) -> None:
    assert impatient.post(acme, body("delay_headers_ms=700", max_tokens=20)).status_code == 200
    assert outcome.all_is_paid(clean, acme) > 0


UNREACHABLE = {
    "refused": "http://127.0.0.1:9/api/v1",
    "no such name": "http://upstream.invalid/api/v1",
    "no TLS there": "https://{authority}/api/v1",
}


@pytest.mark.parametrize("why", UNREACHABLE)
def test_row_13_call_that_could_not_be_sent_is_given_back(
    why: str, clean: Platform, acme: factories.Cast, gateway: Starter
) -> None:
    url = UNREACHABLE[why].format(authority=clean.upstream.url.removeprefix("http://"))
    answer = gateway(OPENROUTER_BASE_URL=url).post(acme, body())
    assert answer.status_code in (502, 503)
    assert answer.headers.get("x-should-retry") != "false"
    assert outcome.all_is_paid(clean, acme, timeout_s=0) == 0
    (ending,) = outcome.endings(acme)
    assert (ending.kind, ending.source) == ("void", "inline")
