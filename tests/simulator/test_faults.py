"""Knobs: where they can be set, which one wins, and that a typo never passes in silence."""

from pathlib import Path

import pytest

from simulator import faults
from simulator.faults import BadFault
from tests.simulator.process import MODEL, PROMPT, Simulator

README = Path(faults.__file__).with_name("README.md")


def test_unknown_knob_is_named_together_with_the_known_ones(sim: Simulator, key: str) -> None:
    answer = sim.chat(key, "cut_aftr=1")
    assert answer.status_code == 400
    message = answer.json()["error"]["message"]
    assert message.startswith("Unknown fault 'cut_aftr'. Known faults: after_done, broadcast,")
    assert sim.chat(key, model=f"{MODEL}:sim=nope").status_code == 400
    assert sim.control("POST", "faults", {"nope": 1})["error"]["code"] == 400


@pytest.mark.parametrize(
    "text", ["cut_after=x", "usage_style=old", "crlf=2", "status=200", "cost_usd=-1", "html=404", "on=chat"]
)
def test_value_that_a_knob_does_not_take_is_refused(text: str) -> None:
    with pytest.raises(BadFault, match=f"Fault '{text.partition('=')[0]}' does not take"):
        faults.combine(text)


def test_later_texts_win_and_a_bare_name_is_a_one() -> None:
    found = faults.combine("cut_after=1,crlf", "cut_after=2", "")
    assert (found.cut_after, found.crlf) == (2, True)
    assert faults.combine("", "", "") is faults.NONE


def test_model_suffix_works_with_variants_and_is_not_shown(sim: Simulator, key: str) -> None:
    for name in (MODEL, f"{MODEL}:nitro", "openai/gpt-oss-20b:free"):
        frames = sim.stream(key, model=f"{name}:sim=usage_style=empty,no_done")
        assert frames[-1]["choices"] == []
        assert ":sim=" not in frames[-1]["model"]


@pytest.mark.usefixtures("healthy")
def test_header_wins_over_suffix_and_suffix_over_global(sim: Simulator, key: str) -> None:
    sim.control("POST", "faults", {"cost_usd": 3})
    assert sim.chat(key).json()["usage"]["cost"] == 3
    suffixed = f"{MODEL}:sim=cost_usd=2"
    assert sim.chat(key, model=suffixed).json()["usage"]["cost"] == 2
    assert sim.chat(key, "cost_usd=1", model=suffixed).json()["usage"]["cost"] == 1
    sim.control("POST", "faults", {})
    assert sim.chat(key).json()["usage"]["cost"] < 1


@pytest.mark.usefixtures("healthy")
def test_global_knobs_meet_paid_calls_unless_told_otherwise(sim: Simulator, key: str) -> None:
    sim.control("POST", "faults", {"status": 503})
    assert sim.chat(key).status_code == 503
    assert sim.get("/models").status_code == 200
    sim.control("POST", "faults", {"status": 503, "on": "models"})
    assert sim.chat(key).status_code == 200
    assert sim.get("/models").status_code == 503
    sim.control("POST", "faults", {"status": 503, "on": "all"})
    assert sim.get("/generation", key, id="gen-1").status_code == 503


def test_global_knobs_are_shown(sim: Simulator) -> None:
    shown = sim.control("GET", "faults")
    assert shown["active"] == ""
    assert set(shown["known"]) == set(faults.KNOBS)


def test_readme_lists_every_knob_and_no_other() -> None:
    rows = [line.split("|")[1:3] for line in README.read_text().splitlines() if line.startswith("| `")]
    listed = {name.strip(" `"): values.strip(" `").replace("\\", "") for name, values in rows}
    assert {name: listed[name] for name in faults.KNOBS} == {
        name: ", ".join(kind.values.split("|")) for name, (kind, _) in faults.KNOBS.items()
    }


def test_prompt_and_answer_can_be_made_any_size(sim: Simulator, key: str) -> None:
    used = sim.chat(
        key, "prompt_tokens=250000,completion_tokens=40", model="anthropic/claude-sonnet-4.5"
    ).json()
    assert used["usage"]["prompt_tokens"] == 250_000
    assert used["usage"]["completion_tokens"] == 40
    assert used["usage"]["cost"] == 250_000 * 6e-6 + 40 * 22.5e-6
    cached = sim.chat(key, "prompt_tokens=100,cached_tokens=60,cache_write_tokens=30", prompt=PROMPT).json()
    details = cached["usage"]["prompt_tokens_details"]
    assert (details["cached_tokens"], details["cache_write_tokens"]) == (60, 30)
