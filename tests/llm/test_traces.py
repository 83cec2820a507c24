"""OTLP JSON as it was seen, as it might come, and as nobody should send it."""

import hashlib
import json
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts import ids
from accounts.errors import InvalidInput
from llm import traces
from tests.llm import deliveries
from tests.llm.deliveries import attribute, delivery, double, span

HOLD = UUID("01932b3c-4d5e-7f60-8a9b-0c1d2e3f4a5b")
DIGEST = hashlib.sha256(str(HOLD).encode()).hexdigest()[:32]


def one(raw: bytes) -> traces.Span:
    found = traces.read(raw)
    assert (len(found.spans), found.ignored) == (1, 0)
    return found.spans[0]


def test_span_as_upstream_writes_it() -> None:
    found = one(delivery(span(HOLD, cost=double("0.00012104999999999999"), generation_id="gen-1", user="u")))
    assert (found.hold_id, found.generation_id, found.user) == (HOLD, "gen-1", "u")
    assert found.cost_usd == Decimal("0.00012104999999999999")
    assert found.facts == {
        "model": "openai/gpt-4o-mini", "provider": "OpenAI", "finish_reason": "stop",
        "tokens_prompt": 10, "tokens_completion": 20,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("value", "cost"),
    [({"doubleValue": "0.02"}, "0.02"), ({"stringValue": "0.02"}, "0.02"), ({"intValue": "2"}, "2"),
     (double("7.5e-7"), "0.00000075"), (double("0"), "0"), (double("-0.01"), "-0.01"), ({"stringValue": "1E3"}, "1000"),
     (double("0.1000000000000000055511151231257827"), "0.1000000000000000055511151231257827")],
)  # fmt: skip
def test_cost_is_exact_in_every_form(value: Any, cost: str) -> None:
    found = one(delivery(span(HOLD, cost=value)))
    assert str(found.cost_usd.normalize()) == str(Decimal(cost).normalize())


def test_older_names_are_known() -> None:
    older = {"gen_ai.usage.cost": double("0.5"), "gen_ai.usage.prompt_tokens": {"intValue": 3}}
    found = one(delivery(span(HOLD, cost=None, also=older, without=["gen_ai.usage.input_tokens"])))
    assert (found.cost_usd, found.facts["tokens_prompt"]) == (Decimal("0.5"), 3)


@pytest.mark.parametrize(
    ("trace_id", "hold_id", "digest"),
    [
        (str(HOLD), HOLD, None),
        (HOLD.hex, HOLD, HOLD.hex),
        (HOLD.hex.upper(), HOLD, HOLD.hex),
        (DIGEST, None, DIGEST),
    ],
)
def test_trace_s_own_id_names_the_hold_where_nothing_else_does(
    trace_id: str, hold_id: UUID | None, digest: str | None
) -> None:
    found = one(delivery(span(HOLD, trace_id=trace_id), resource={}))
    assert (found.hold_id, found.digest) == (hold_id, digest)


def test_id_that_was_sent_counts_before_the_trace_s_own() -> None:
    found = one(
        delivery(span(ids.uuid7(), trace_id=ids.uuid7().hex), resource={"openrouter.trace.id": str(HOLD)})
    )
    assert (found.hold_id, found.digest) == (HOLD, None)


@pytest.mark.parametrize(
    "resource",
    [
        {"openrouter.trace.id": "gen-1767-abc"},
        {"openrouter.trace.id": str(uuid4())},
        {"openrouter.trace.id": "{" + HOLD.hex + "}"},
    ],
)
def test_other_people_s_traces_are_ignored(resource: dict[str, str]) -> None:
    found = traces.read(delivery(span(HOLD, trace_id=DIGEST), resource=resource))
    assert (found.spans, found.ignored) == ((), 1)


def test_spans_without_a_cost_are_ignored() -> None:
    assert traces.read(delivery(span(HOLD, cost=None))) == traces.Traces((), 1)


def test_part_of_another_span_is_not_counted_beside_it() -> None:
    whole, part = (
        span(HOLD, cost=double("0.5"), span_id="a"),
        span(HOLD, cost=double("0.2"), span_id="b", parent="a"),
    )
    found = traces.read(delivery(part, whole))
    assert [one.cost_usd for one in found.spans] == [Decimal("0.5")]


def test_parent_that_the_caller_named_hides_nothing() -> None:
    assert one(delivery(span(HOLD, parent="0123456789abcdef"))).hold_id == HOLD


def test_parent_in_another_trace_hides_nothing() -> None:
    """A caller may name any parent, a neighbour's span, too."""
    mine = span(ids.uuid7(), cost=double("0.5"), span_id="a", parent="b")
    theirs = span(HOLD, cost=double("0.2"), span_id="b")
    assert len(traces.read(delivery(mine, theirs)).spans) == 2


def test_trace_that_only_a_span_names_is_not_believed() -> None:
    stolen = span(ids.uuid7(), also={"openrouter.trace.id": {"stringValue": str(HOLD)}})
    assert one(delivery(stolen, resource={})).hold_id != HOLD


@pytest.mark.parametrize("name", ["gen_ai.usage.total_cost", "user.id"])
def test_attribute_that_says_two_things_says_nothing(name: str) -> None:
    doubled = span(HOLD, user="u")
    doubled["attributes"].append(attribute(name, {"stringValue": "0.9"}))
    found = traces.read(delivery(doubled))
    assert [one.user for one in found.spans] == ([] if name.endswith("cost") else [None])


BAD: list[Any] = [
    None, 1, "span", [], {}, {"attributes": 5}, {"attributes": [None, {"key": {}}]},
    {"traceId": [], "attributes": []}, span(HOLD, cost={"doubleValue": True}), span(HOLD, cost={"stringValue": "0,5"}),
    span(HOLD, cost={"stringValue": "sNaN"}), span(HOLD, cost={"arrayValue": []}),
    span(HOLD, cost={"stringValue": "0x1"}), span(HOLD, cost="0.5"),
    span(HOLD, cost={"stringValue": "1e999999999999999999999"}), span(HOLD, cost={"stringValue": "9" * 5000}),
]  # fmt: skip


@pytest.mark.parametrize("bad", BAD, ids=range(len(BAD)))
def test_span_that_makes_no_sense_spoils_no_other(bad: Any) -> None:
    found = traces.read(delivery(bad, span(HOLD), bad))
    assert [one.hold_id for one in found.spans] == [HOLD]
    assert found.ignored == 2


@pytest.mark.parametrize("number", ["9" * 5000, "1e999999999999999999999", "-" + "1" * 300, "0." + "1" * 300])
def test_number_that_is_none_spoils_only_its_own_place(number: str) -> None:
    raw = delivery(span(HOLD, cost=double(number)), span(HOLD))
    assert [one.hold_id for one in traces.read(raw).spans] == [HOLD]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_cost_that_is_no_amount_is_handed_on_for_a_person(number: str) -> None:
    assert not one(delivery(span(HOLD, cost=double(number)))).cost_usd.is_finite()


def test_facts_are_short_and_storable() -> None:
    long = {
        "gen_ai.response.model": {"stringValue": "m" * 10_000},
        "gen_ai.response.id": {"stringValue": "g\0"},
    }
    counts = {
        "gen_ai.usage.input_tokens": {"intValue": "9" * 30},
        "gen_ai.usage.output_tokens": double("1.5"),
    }
    found = one(delivery(span(HOLD, also=long | counts, without=[*long, *counts])))
    assert found.generation_id == ""
    assert found.facts == {"provider": "OpenAI", "finish_reason": "stop"}


@pytest.mark.parametrize(
    "raw", [b"{}", b'{"resourceSpans":[]}', b'{"resourceSpans":[null,7,{"scopeSpans":{}}]}']
)
def test_nothing_told_is_nothing_wrong(raw: bytes) -> None:
    assert traces.read(raw) == traces.Traces((), 0)


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[]", b"null", b"7", b'{"resourceSpans":{}}', b"\xff\xfe{}", b"[" * 100_000, b"<html>"],
)
def test_what_is_no_otlp_json_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidInput):
        traces.read(raw)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(deliveries.KEYS), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(junk=JSON, at=st.integers(0, 4))
def test_no_junk_raises_or_spoils_a_neighbour(junk: Any, at: int) -> None:
    whole = json.loads(delivery(span(HOLD)))
    resource = whole["resourceSpans"][0]
    for place in (whole["resourceSpans"], resource["scopeSpans"], resource["scopeSpans"][0]["spans"])[
        : at + 1
    ]:
        place.insert(0, junk)
    found = traces.read(json.dumps(whole).encode())
    assert HOLD in [one.hold_id for one in found.spans]
