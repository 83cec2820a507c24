"""Streams of no stated length hold for their beginning and for more as they go on; nobody pays for what is not held."""

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import httpx
import psycopg
import pytest
from django.db import connection

from accounts import database
from billing import ledger, money, settlement
from tests import factories
from tests.e2e.conftest import Platform, eventually, open_holds

# 15 USD per million tokens: a slice of 1,024 is 0.01536 USD, 0.0384 credits.
MODEL = "anthropic/claude-sonnet-4.6"
SLICE_CREDITS = Decimal("0.0384")
HELLO: dict[str, Any] = {"model": MODEL, "stream": True, "messages": [{"role": "user", "content": "Hi"}]}


def body(faults: str = "", **changes: Any) -> dict[str, Any]:
    return {**HELLO, "model": f"{MODEL}:sim={faults}" if faults else MODEL, **changes}


def rows(query: str, member: factories.Cast) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, [member.company_id])
        return list(cursor.fetchall())


def extended(member: factories.Cast) -> list[int]:
    """The amounts of the company's extensions, in nanocredits."""
    query = (
        "SELECT amount_nanocredits FROM billing_hold_extension WHERE company_id = %s ORDER BY hold_id, number"
    )
    return [row[0] for row in rows(query, member)]


def costs(member: factories.Cast) -> list[tuple[str, Decimal]]:
    query = "SELECT source, cost_usd FROM billing_settlement WHERE company_id = %s ORDER BY hold_id"
    return [(source, Decimal(cost)) for source, cost in rows(query, member)]


def violations() -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM billing_violations")
        return list(cursor.fetchall())


def settled(platform: Platform, member: factories.Cast) -> None:
    """Every call is in the books at upstream's own price, and nothing is held or broken."""
    eventually(lambda: open_holds(member.company.id) == 0, what="every hold settled")
    assert sum(cost for _, cost in costs(member)) == Decimal(platform.upstream.ledger()["total_usd"])
    assert violations() == []


def last_frame(answer: httpx.Response) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(answer.content.rstrip().rpartition(b"data: ")[2])
    return found


def test_first_hold_is_for_the_beginning(clean: Platform, acme: factories.Cast) -> None:
    estimate = clean.post(acme.secret, HELLO, path="/v1/llm/estimate").json()
    answer = clean.post(acme.secret, HELLO)
    held = Decimal(answer.headers["x-naive-credits-held"])
    assert SLICE_CREDITS < held < SLICE_CREDITS * 2
    assert held == Decimal(str(estimate["hold_credits"])) < Decimal(str(estimate["worst_case_credits"])) / 10
    assert estimate["hold_grows"]
    sent = json.loads(clean.upstream.last_request()["body"])
    assert "max_tokens" not in sent
    assert "provider" not in sent
    assert "x-naive-max-tokens" not in answer.headers


def test_long_answer_is_held_for_while_it_comes(clean: Platform, acme: factories.Cast) -> None:
    answer = clean.post(acme.secret, body("completion_tokens=3000"))
    assert answer.content.rstrip().endswith(b"[DONE]")
    assert set(extended(acme)) <= {money.nanocredits_from_credits(SLICE_CREDITS * n) for n in range(1, 20)}
    held = Decimal(answer.headers["x-naive-credits-held"]) + money.credits_from_nanocredits(
        sum(extended(acme))
    )
    assert held >= 20 - factories.balance(acme) > SLICE_CREDITS * 2
    assert costs(acme)[0][0] == "stream"
    settled(clean, acme)


def test_short_answer_needs_no_more(clean: Platform, acme: factories.Cast) -> None:
    assert clean.post(acme.secret, body("completion_tokens=60")).status_code == 200
    assert extended(acme) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"max_tokens": 4000},
        {"stream": False},
        {"model": "google/gemini-2.5-flash"},
        {"provider": {"only": ["amazon-bedrock"]}},
        {"reasoning": {"effort": "low"}},
        {"tools": [{"type": "function", "function": {"name": "write"}}]},
        {"model": "openai/gpt-oss-120b:nitro"},
        {"provider": {"sort": "throughput"}},
        {"thinking": {"type": "enabled"}},
    ],
    ids=str,
)
def test_what_cannot_be_counted_or_stopped_is_held_in_full(
    changes: dict[str, Any], clean: Platform, acme: factories.Cast
) -> None:
    estimate = clean.post(acme.secret, {**HELLO, **changes}, path="/v1/llm/estimate").json()
    assert estimate["hold_credits"] == estimate["worst_case_credits"]
    assert not estimate["hold_grows"]


def test_kits_ceiling_is_sent_and_held_for_piece_by_piece(clean: Platform, acme: factories.Cast) -> None:
    factories.set_llm(acme, {"defaults": {"max_tokens": 1500}})
    answer = clean.post(acme.secret, body("completion_tokens=3000"))
    assert answer.headers["x-naive-max-tokens"] == "1500"
    assert Decimal(answer.headers["x-naive-credits-held"]) < SLICE_CREDITS * 2
    # Once all that can come is held for, there is nothing more to ask for.
    whole = money.nanocredits_from_credits(SLICE_CREDITS) * 476 // 1024
    assert extended(acme) == [whole + (money.nanocredits_from_credits(SLICE_CREDITS) * 476 % 1024 > 0)]
    settled(clean, acme)


def test_wallet_below_the_first_slice_lowers_max_tokens(clean: Platform) -> None:
    poor = factories.acme(credits=SLICE_CREDITS / 2)
    answer = clean.post(poor.secret, body("completion_tokens=3000"))
    assert 16 <= int(answer.headers["x-naive-max-tokens"]) < 600
    assert answer.content.rstrip().endswith(b"[DONE]")
    assert extended(poor) == []
    assert factories.balance(poor) >= 0
    settled(clean, poor)


def test_stream_is_cut_where_the_wallet_ends(clean: Platform) -> None:
    poor = factories.acme(credits=SLICE_CREDITS * 2)
    answer = clean.post(poor.secret, body("completion_tokens=6000,chunk_delay_ms=2"))
    assert answer.status_code == 200
    assert answer.content.count(b'"content":"') > 50
    error = last_frame(answer)["error"]
    assert (error["code"], error["metadata"]["error_type"]) == (402, "insufficient_credits")
    assert error["metadata"]["generation_id"] == answer.headers["x-naive-generation-id"]
    assert error["metadata"]["limit"] == "wallet"
    assert "Top up" in error["message"]
    assert b"[DONE]" not in answer.content
    settled(clean, poor)
    # Upstream was stopped long before its end, and all of it was held for.
    assert costs(poor)[0][1] < 6000 * Decimal("0.000015") / 2
    assert factories.balance(poor) >= 0


def test_last_credits_are_used_before_the_cut(clean: Platform) -> None:
    """A step that the wallet cannot cover whole is taken as far as it goes."""
    poor = factories.acme(credits=SLICE_CREDITS * Decimal("1.8"))
    clean.post(poor.secret, body("completion_tokens=6000,chunk_delay_ms=2"))
    assert 0 < extended(poor)[-1] < money.nanocredits_from_credits(SLICE_CREDITS)
    settled(clean, poor)
    assert factories.balance(poor) >= 0


def test_key_cap_cuts_as_the_wallet_does(clean: Platform, acme: factories.Cast) -> None:
    factories.set_llm(acme, {"defaults": {"monthly_credits_per_user": float(SLICE_CREDITS * 2)}})
    answer = clean.post(acme.secret, body("completion_tokens=6000,chunk_delay_ms=2"))
    error = last_frame(answer)["error"]
    assert (error["code"], error["metadata"]["limit"]) == (402, "user_cap")
    settled(clean, acme)


def test_frozen_wallet_ends_a_stream_that_needs_more(clean: Platform, acme: factories.Cast) -> None:
    answers: list[httpx.Response] = []
    slow = body("completion_tokens=2000,chunk_delay_ms=10")
    thread = threading.Thread(target=lambda: answers.append(clean.post(acme.secret, slow)))
    thread.start()
    eventually(lambda: open_holds(acme.company.id) == 1, what="the stream runs")
    ledger.freeze(company_id=acme.company_id)
    thread.join()
    error = last_frame(answers[0])["error"]
    assert (error["code"], error["metadata"]["error_type"]) == (403, "wallet_frozen")
    settled(clean, acme)


def test_provider_that_does_not_stop_is_read_to_its_end(clean: Platform) -> None:
    """The client is told at once; the charge is exact and known, though the wallet passes below zero by it."""
    poor = factories.acme(credits=SLICE_CREDITS * 2)
    answer = clean.post(poor.secret, body("completion_tokens=4000,provider=Amazon Bedrock,cancellable=0"))
    assert last_frame(answer)["error"]["code"] == 402
    settled(clean, poor)
    assert costs(poor)[0][0] == "stream"
    assert factories.balance(poor) < 0


def test_all_that_can_come_is_held_once_nobody_can_stop_it(clean: Platform, acme: factories.Cast) -> None:
    """Else many such streams would each run past a wallet that covers their beginnings only."""
    worst = clean.post(acme.secret, HELLO, path="/v1/llm/estimate").json()["worst_case_credits"]
    running = body("completion_tokens=300,chunk_delay_ms=10,provider=Amazon Bedrock,cancellable=0")
    answer = clean.post(acme.secret, running)
    held = Decimal(answer.headers["x-naive-credits-held"])
    whole = money.nanocredits_from_credits(Decimal(str(worst)) - held)
    assert len(extended(acme)) == 1
    assert abs(extended(acme)[0] - whole) < money.nanocredits_from_credits(SLICE_CREDITS) // 10
    assert answer.content.rstrip().endswith(b"[DONE]")
    settled(clean, acme)


def test_what_nobody_pays_for_is_not_given_however_much_comes_at_once(clean: Platform) -> None:
    poor = factories.acme(credits=SLICE_CREDITS * 2)
    answer = clean.post(poor.secret, body("completion_tokens=2000,chunk_tokens=2000,chunk_delay_ms=300"))
    assert last_frame(answer)["error"]["code"] == 402
    assert len(answer.content) < 2000
    settled(clean, poor)


def test_call_that_is_settled_already_is_not_cut(clean: Platform, acme: factories.Cast) -> None:
    """Upstream's broadcast comes before the end of an answer that is taken slowly: what it made is paid for."""
    answers: list[httpx.Response] = []
    slow = body("completion_tokens=1200,chunk_delay_ms=5,cost_usd=0.018")
    thread = threading.Thread(target=lambda: answers.append(clean.post(acme.secret, slow)))
    thread.start()
    eventually(lambda: open_holds(acme.company.id) == 1, what="the stream runs")
    ((hold_id, markup, value),) = rows(
        "SELECT hold_id, markup, credit_value_usd FROM billing_hold WHERE company_id = %s", acme
    )
    settlement.settle_now(
        hold=settlement.HoldKey(acme.company_id, hold_id, Decimal(markup), Decimal(value)),
        evidence=settlement.Evidence(source="broadcast", cost_usd=Decimal("0.018")),
    )
    thread.join()
    assert answers[0].content.rstrip().endswith(b"[DONE]")
    assert b'"error"' not in answers[0].content
    settled(clean, acme)


def test_many_streams_of_one_small_wallet_take_no_more_than_it_has(clean: Platform) -> None:
    """The published bound (money.md 2.4): what is made between our cut and upstream's stop, of each stream."""
    poor = factories.acme(credits=SLICE_CREDITS * 6)
    greedy = body("completion_tokens=6000,chunk_delay_ms=2")
    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda _: clean.post(poor.secret, greedy), range(20)))
    assert {answer.status_code for answer in answers} <= {200, 402}
    settled(clean, poor)
    assert factories.balance(poor) >= 0


@contextlib.contextmanager
def books_kept(member: factories.Cast) -> Iterator[None]:
    """Somebody keeps the lock of the member's wallet: no extension is answered."""
    with contextlib.closing(psycopg.connect(database.conninfo())) as other:
        other.execute(
            "SELECT FROM billing_wallet WHERE company_id = %s FOR NO KEY UPDATE", [member.company_id]
        )
        yield
        other.rollback()


def test_books_that_do_not_answer_for_long_end_a_stream(clean: Platform, acme: factories.Cast) -> None:
    """What runs on unheld is bounded: eight slices, counted from above."""
    answers: list[httpx.Response] = []
    slow = body("completion_tokens=12000,chunk_delay_ms=2,first_token_ms=500")
    thread = threading.Thread(target=lambda: answers.append(clean.post(acme.secret, slow)))
    thread.start()
    eventually(lambda: open_holds(acme.company.id) == 1, what="the stream runs")
    with books_kept(acme):
        thread.join()
    error = last_frame(answers[0])["error"]
    assert (error["code"], error["metadata"]["error_type"]) == (503, "unavailable")
    settled(clean, acme)
    assert costs(acme)[0][1] < 12000 * Decimal("0.000015") / 2


def test_books_that_do_not_answer_do_not_cut_a_stream(clean: Platform, acme: factories.Cast) -> None:
    """Somebody keeps the wallet's lock over a second: the stream goes on, and what it missed is asked for again."""
    answers: list[httpx.Response] = []
    slow = body("completion_tokens=1200,chunk_delay_ms=5")
    thread = threading.Thread(target=lambda: answers.append(clean.post(acme.secret, slow)))
    thread.start()
    eventually(lambda: open_holds(acme.company.id) == 1, what="the stream runs")
    with books_kept(acme):
        time.sleep(1.2)
    thread.join()
    assert answers[0].content.rstrip().endswith(b"[DONE]")
    assert extended(acme)
    settled(clean, acme)
