"""The routes in process, for what a running platform cannot be brought to: no key, no upstream, no room."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx
import orjson
import pytest
from django.db import connection

from billing import batches
from llm import catalog, upstream
from llm.permits import permits
from naive_platform.asgi import application
from tests import factories
from tests.conftest import Run

HELLO = {"model": "openai/gpt-4o-mini", "max_tokens": 20, "messages": [{"role": "user", "content": "Hi"}]}
MODELS = {
    "data": [
        {
            "id": "openai/gpt-4o-mini",
            "name": "GPT-4o-mini",
            "context_length": 128_000,
            "pricing": {"prompt": "0.00000015", "completion": "0.0000006"},
        }
    ]
}

type Talk = Callable[[httpx.AsyncClient], Awaitable[httpx.Response]]


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """An upstream that is configured and answers nothing: a port that nobody listens on."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    monkeypatch.setattr("django.conf.settings.OPENROUTER_API_KEY", "sk-or-v1-test")
    monkeypatch.setattr("django.conf.settings.OPENROUTER_BASE_URL", url)


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A catalogue in the database, and none in memory."""
    monkeypatch.setattr(catalog, "_shelf", catalog._Shelf())
    with connection.cursor() as cursor:
        catalog.save(orjson.dumps(MODELS), cursor.execute)
        yield
        cursor.execute("DELETE FROM llm_catalog_snapshot")


def ask(run: Run, talk: Talk) -> httpx.Response:
    async def work() -> httpx.Response:
        await catalog.start()
        transport = httpx.ASGITransport(application)
        try:
            async with httpx.AsyncClient(transport=transport, base_url="http://naive") as client:
                return await talk(client)
        finally:
            await catalog.stop()
            await upstream.close()
            await batches.stop()

    return run(work())


def post(member: factories.Cast, body: Any = None) -> Talk:
    headers = {"Authorization": member.authorization}
    return lambda client: client.post("/v1/llm/chat/completions", json=body or HELLO, headers=headers)


def held(member: factories.Cast) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT held_nanocredits FROM billing_wallet WHERE company_id = %s", [member.company_id]
        )
        return int(cursor.fetchone()[0])


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


@pytest.mark.usefixtures("shelf")
def test_no_operators_key_is_501_and_names_the_setting(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django.conf.settings.OPENROUTER_API_KEY", "")
    answer = ask(run, post(factories.acme()))
    assert code(answer) == (501, "not_configured")
    assert answer.json()["error"]["details"] == {"missing": ["OPENROUTER_API_KEY"]}


@pytest.mark.usefixtures("shelf")
def test_bad_body_comes_before_the_missing_key(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django.conf.settings.OPENROUTER_API_KEY", "")
    assert code(ask(run, post(factories.acme(), {"model": "a/b"}))) == (400, "invalid_input")


@pytest.mark.usefixtures("shelf", "nowhere")
def test_upstream_that_is_down_costs_nothing(run: Run) -> None:
    acme = factories.acme()
    answer = ask(run, post(acme))
    assert code(answer) == (502, "provider_error")
    assert "x-should-retry" not in answer.headers
    assert held(acme) == 0
    assert factories.balance_nanocredits(acme) == factories.GRANT_NANOCREDITS


@pytest.mark.usefixtures("shelf", "nowhere")
def test_models_are_served_while_upstream_is_down(run: Run) -> None:
    headers = {"Authorization": factories.acme().authorization}
    answer = ask(run, lambda client: client.get("/v1/llm/models", headers=headers))
    assert [model["id"] for model in answer.json()["data"]] == ["openai/gpt-4o-mini"]


@pytest.mark.usefixtures("shelf", "nowhere")
def test_company_with_all_its_calls_running_is_429(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django.conf.settings.MAX_CALLS_PER_COMPANY", 0)
    acme = factories.acme()
    answer = ask(run, post(acme))
    assert code(answer) == (429, "rate_limited")
    assert answer.headers["retry-after"] == "1"
    assert held(acme) == 0


@pytest.mark.usefixtures("shelf", "nowhere")
def test_full_gateway_is_503(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django.conf.settings.MAX_CALLS_PER_PROCESS", 0)
    answer = ask(run, post(factories.acme()))
    assert code(answer) == (503, "unavailable")
    assert 2 <= int(answer.headers["retry-after"]) <= 5


@pytest.mark.usefixtures("shelf", "nowhere")
def test_places_are_given_back_whatever_happens(run: Run) -> None:
    for member in (factories.acme(), factories.initech()):
        ask(run, post(member))
    assert permits.running == 0


@pytest.mark.usefixtures("shelf", "nowhere")
def test_place_that_comes_free_soon_is_waited_for(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django.conf.settings.MAX_CALLS_PER_COMPANY", 1)
    company_id = factories.acme().company_id

    async def work() -> None:
        first = await permits.acquire(company_id)
        asyncio.get_running_loop().call_later(0.01, permits.release, first)
        permits.release(await permits.acquire(company_id))

    run(work())
    assert permits.running == 0


@pytest.mark.usefixtures("shelf", "nowhere")
def test_unknown_model_suggests_one_that_is_there(run: Run) -> None:
    error = ask(run, post(factories.acme(), {**HELLO, "model": "openai/gpt-4o"})).json()["error"]
    assert "openai/gpt-4o-mini" in error["hint"]


@pytest.mark.usefixtures("nowhere")
def test_without_any_catalogue_a_call_is_held_by_default(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first minute of a deployment: prices are not known yet, and calls are not refused for it."""
    monkeypatch.setattr(catalog, "_shelf", catalog._Shelf())

    async def work() -> list[object]:
        return list(await catalog.price_all(["nobody/knows"]))

    async def with_close() -> list[object]:
        try:
            return await work()
        finally:
            await upstream.close()

    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM llm_catalog_snapshot")
    assert run(with_close()) == [None]


@pytest.mark.usefixtures("nowhere")
def test_gateway_starts_while_upstream_is_down(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "_shelf", catalog._Shelf())
    headers = {"Authorization": factories.acme().authorization}
    answer = ask(run, lambda client: client.get("/v1/llm/models", headers=headers))
    assert answer.json()["count"] == 0


@pytest.mark.parametrize("role", ["viewer"])
@pytest.mark.usefixtures("shelf", "nowhere")
def test_read_only_key_cannot_spend(run: Run, role: str) -> None:
    acme = factories.acme()
    acme.key.role = role
    acme.key.save(update_fields=["role"])
    answer = ask(run, post(acme))
    assert code(answer) == (403, "forbidden")
    assert answer.json()["error"]["details"]["reason"] == "key_scope"
