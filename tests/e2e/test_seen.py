"""What a gateway saw of an answer that it lost: noted on the open hold, for the case that upstream keeps no record."""

from decimal import Decimal
from typing import Any

import pytest
from django.db import connection

from tests import factories
from tests.e2e.conftest import Platform, eventually

# 3 and 15 USD per million tokens.
MODEL = "anthropic/claude-sonnet-4.6"
PROMPT, OUTPUT = Decimal("0.000003"), Decimal("0.000015")
TEXT = "Tell me about the tides. " * 40


def lose(platform: Platform, member: factories.Cast, faults: str, **fields: Any) -> None:
    body = {
        "model": f"{MODEL}:sim=generation=never,{faults}",
        "messages": [{"role": "user", "content": TEXT}],
    }
    platform.post(member.secret, {**body, "max_tokens": 400, **fields})


def noted(member: factories.Cast) -> Decimal:
    """What stands on the company's one open hold, once the call is over."""

    def read() -> list[tuple[Any, ...]]:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT estimate_usd FROM billing_open_hold WHERE company_id = %s AND attempts > 0",
                [member.company_id],
            )
            return list(cursor.fetchall())

    eventually(lambda: bool(read()), what="the call was looked up")
    ((estimate_usd,),) = read()
    return Decimal(estimate_usd)


def test_cut_stream_is_worth_its_prompt_and_what_came(clean: Platform, acme: factories.Cast) -> None:
    lose(clean, acme, "cut_after=20,completion_tokens=300,chunk_tokens=3", stream=True)
    prompt_tokens = len(TEXT) // 4
    # Twenty chunks of three tokens; each token is about a word of four letters or more.
    least, most = prompt_tokens * PROMPT + 20 * OUTPUT, 3 * prompt_tokens * PROMPT + 150 * OUTPUT
    assert least <= noted(acme) <= most


@pytest.mark.parametrize("faults", ["cut_bytes=40", "early_headers,cut_bytes=40"])
def test_lost_answer_in_one_piece_is_worth_its_prompt(
    faults: str, clean: Platform, acme: factories.Cast
) -> None:
    lose(clean, acme, faults)
    assert len(TEXT) // 4 * PROMPT <= noted(acme) <= len(TEXT) // 2 * PROMPT


def test_it_is_never_worth_more_than_was_held(clean: Platform, acme: factories.Cast) -> None:
    """Characters of many bytes look like more tokens than they are: the hold bounds the guess."""
    short = {"stream": True, "max_tokens": 1200, "messages": [{"role": "user", "content": "Hi"}]}
    faults = "cut_after=395,unicode,completion_tokens=1200"
    request = {"model": f"{MODEL}:sim=generation=never,{faults}", **short}
    held_usd = clean.post(acme.secret, request, path="/v1/llm/estimate").json()["worst_case_cost_usd"]
    lose(clean, acme, faults, **short)
    assert abs(noted(acme) - Decimal(str(held_usd))) < Decimal("0.00000001")


def test_model_without_a_price_is_worth_nothing_known(clean: Platform, acme: factories.Cast) -> None:
    lose(clean, acme, "", model="openrouter/auto:sim=generation=never,omit_cost")
    with connection.cursor() as cursor:
        cursor.execute("SELECT estimate_usd FROM billing_open_hold WHERE company_id = %s", [acme.company_id])
        assert cursor.fetchall() == [(None,)]
