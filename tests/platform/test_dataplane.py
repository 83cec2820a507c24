"""The door of the llm routes: what it reads, how much of it, and what it says when something ends early."""

import asyncio
import contextlib
import gc
import json
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest

from accounts.errors import NotFound
from billing import batches
from llm import upstream
from naive_platform import dataplane, uploads
from naive_platform.asgi import application
from naive_platform.dataplane import LeanRequest
from naive_platform.uploads import Upload
from tests import factories
from tests.conftest import Run
from tests.platform.servers import Message, exchange, serving, until

CHAT = "/v1/llm/chat/completions"
ROUTES = [
    CHAT,
    "/v1/llm/estimate",
    "/v1/llm/models",
    "/v1/llm/generation",
    "/v1/users/me/llm/models",
    "/v1/llm/x",
]
PIECE = 64 * 1024


class Piece(bytes):
    """Bytes that say when they are let go."""

    freed = 0

    def __del__(self) -> None:
        type(self).freed += 1


def scope(
    path: str, *, headers: dict[str, str] | None = None, query: bytes = b"", **more: Any
) -> dict[str, Any]:
    sent = {"host": "naive", **(headers or {})}
    return {
        "type": "http",
        "method": "POST",
        "path": path,
        "query_string": query,
        "headers": [(name.encode(), value.encode()) for name, value in sent.items() if value],
        "scheme": "http",
        "server": ("127.0.0.1", 1),
        "client": ("127.0.0.1", 1),
        **more,
    }


async def answer(
    scope: dict[str, Any], pieces: list[Message] | None = None
) -> tuple[int, dict[str, str], Any]:
    """What the door says to a request whose body comes in `pieces`, and then no more."""
    left, said = list(pieces or []), list[Message]()

    async def receive() -> Message:
        if not left:
            await asyncio.sleep(60)
        return left.pop(0)

    async def send(message: Message) -> None:
        said.append(message)

    await application(scope, receive, send)
    if not said:
        return 0, {}, None
    headers = {name.decode(): value.decode() for name, value in said[0]["headers"]}
    return said[0]["status"], headers, json.loads(b"".join(message["body"] for message in said[1:]))


def piece(*, more: bool = True, size: int = PIECE) -> Message:
    return {"type": "http.request", "body": b" " * size, "more_body": more}


def of(member: factories.Cast, **more: str) -> dict[str, str]:
    return {"authorization": member.authorization, "transfer-encoding": "chunked", **more}


def test_body_that_a_client_left_behind_is_let_go_at_once(run: Run) -> None:
    request = scope(CHAT, headers=of(factories.acme()))

    async def work() -> tuple[int, int]:
        Piece.freed = 0
        pieces = [{**piece(), "body": Piece(b" " * 100)} for _ in range(30)]
        status, _, _ = await answer(request, [*pieces, {"type": "http.disconnect"}])
        pieces.clear()
        return status, Piece.freed

    gc.disable()
    try:
        assert run(work()) == (0, 30)
    finally:
        gc.enable()
    assert uploads.room.taken_bytes == 0


@pytest.mark.parametrize(
    ("limit", "expected"), [("BYTES_MAX", (503, "unavailable")), ("COMPANY_BYTES_MAX", (429, "rate_limited"))]
)
def test_bodies_beyond_the_room_are_refused_before_more_is_read(
    run: Run, monkeypatch: pytest.MonkeyPatch, limit: str, expected: tuple[int, str]
) -> None:
    monkeypatch.setattr(uploads, limit, 3 * PIECE)
    monkeypatch.setattr(uploads, "LINGER_S", 0.05)
    status, headers, body = run(answer(scope(CHAT, headers=of(factories.acme())), [piece()] * 4))
    assert (status, body["error"]["code"]) == expected
    assert int(headers["retry-after"]) >= 1
    assert headers["connection"] == "close"
    assert uploads.room.taken_bytes == 0


def test_bodies_of_one_company_at_once_are_bounded_and_strangers_are_not(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django.conf.settings.MAX_CALLS_PER_COMPANY", 1)
    monkeypatch.setattr(uploads, "LINGER_S", 0.05)
    monkeypatch.setattr(uploads, "PIECE_TIMEOUT_S", 0.3)
    acme, globex = factories.acme(), factories.globex()

    async def work() -> list[int]:
        members = (acme, acme, globex)
        sent = [answer(scope(CHAT, headers=of(member)), [piece()]) for member in members]
        return [status for status, _, _ in await asyncio.gather(*sent)]

    assert sorted(run(work())) == [400, 400, 429]


def test_body_that_trickles_for_ever_is_cut(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "BODY_TIMEOUT_S", 0.3)
    monkeypatch.setattr(uploads, "LINGER_S", 0.05)
    authorization = factories.acme().authorization

    async def work() -> bytes:
        async with serving(application) as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\nContent-Length: 999\r\n\r\n"
            writer.write(head.encode())
            trickling = asyncio.ensure_future(trickle(writer))
            got = b""
            # What was on its way when the server closed may have it end with a reset: cut is cut.
            with contextlib.suppress(ConnectionError):
                async with asyncio.timeout(5):
                    while more := await reader.read(65536):
                        got += more
            trickling.cancel()
            writer.close()
            return got

    got = run(work())
    assert got.startswith(b"HTTP/1.1 400 ")
    assert b"not whole after 0.3 s" in got


async def trickle(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while True:
            writer.write(b" ")
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("authorized", [True, False], ids=["413", "401"])
def test_answer_before_the_body_is_read_to_its_end_closes_and_arrives(run: Run, authorized: bool) -> None:
    authorization = factories.acme().authorization if authorized else "Bearer none"
    size = 33 * 1024 * 1024
    head = (
        f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\nContent-Length: {size}\r\n\r\n"
    )

    async def work() -> bytes:
        async with serving(application) as (_, port):
            return await exchange(port, head.encode() + b" " * size)

    got = run(work())
    assert got.startswith(b"HTTP/1.1 413 " if authorized else b"HTTP/1.1 401 ")
    assert b"\r\nconnection: close\r\n" in got
    assert not got.endswith(b">")


def test_refusal_with_a_small_body_keeps_the_connection(run: Run) -> None:
    one = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"

    async def work() -> bytes:
        async with serving(application) as (_, port):
            return await exchange(port, f"{one}\r\n{{}}{one}Connection: close\r\n\r\n{{}}".encode())

    assert run(work()).count(b"HTTP/1.1 401 ") == 2


@pytest.mark.parametrize("path", ROUTES)
def test_too_many_query_parameters_are_400_on_every_route(run: Run, path: str) -> None:
    request = scope(
        path, headers={"authorization": factories.acme().authorization}, query=b"&".join([b"a=b"] * 1001)
    )
    status, headers, body = run(answer(request))
    assert (status, body["error"]["code"]) == (400, "invalid_input")
    assert "parameters" in body["error"]["message"]
    assert headers["x-request-id"] == body["error"]["request_id"]


@pytest.mark.parametrize("host", ["", "evil/#@x", "a,b"], ids=["none", "bad", "two"])
def test_request_without_a_good_host_is_400(run: Run, host: str) -> None:
    headers = {"host": host, "authorization": factories.acme().authorization}
    status, _, body = run(answer(scope("/v1/llm/models", headers=headers, method="GET")))
    assert (status, body["error"]["code"]) == (400, "invalid_input")
    assert "Host" in body["error"]["message"]


def test_url_that_is_not_utf_8_has_its_request_id(run: Run) -> None:
    status, headers, body = run(answer(scope("/v1/llm/models", query=b"\xff")))
    assert status == 400
    assert headers["x-request-id"] == body["error"]["request_id"]


def test_user_header_is_utf_8(run: Run) -> None:
    acme = factories.acme()
    acme.tenant_user.external_id = "müller/日本"
    acme.tenant_user.save(update_fields=["external_id"])
    headers = {"authorization": acme.authorization, "x-naive-user-id": "ext:müller/日本"}
    status, _, body = run(answer(scope("/v1/llm/models", headers=headers, method="GET")))
    assert status == 200, body


def test_user_header_that_is_not_utf_8_is_400(run: Run) -> None:
    request = scope("/v1/llm/models", headers={"authorization": factories.acme().authorization}, method="GET")
    request["headers"].append((b"x-naive-user-id", b"ext:m\xfcller"))
    status, _, body = run(answer(request))
    assert (status, body["error"]["code"]) == (400, "invalid_input")
    assert "X-Naive-User-Id" in body["error"]["message"]


@contextlib.asynccontextmanager
async def silent_upstream(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[int]]:
    """An upstream that takes every call and answers none; yields how many it took."""
    taken: list[int] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.append(len(await reader.read(65536)))
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    running = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = running.sockets[0].getsockname()[1]
    monkeypatch.setattr("django.conf.settings.OPENROUTER_API_KEY", "sk-or-v1-test")
    monkeypatch.setattr("django.conf.settings.OPENROUTER_BASE_URL", f"http://127.0.0.1:{port}/api/v1")
    try:
        yield taken
    finally:
        await upstream.close()
        running.close()


async def cut_in_the_middle(authorization: str, monkeypatch: pytest.MonkeyPatch) -> bytes:
    sent = b'{"model": "openrouter/auto", "messages": [{"role": "user", "content": "Hi"}]}'
    head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\nContent-Length: {len(sent)}\r\n\r\n"
    async with silent_upstream(monkeypatch) as taken, serving(application) as (server, port):
        asking = asyncio.ensure_future(exchange(port, head.encode() + sent, within_s=20))
        await until(lambda: taken)
        server.should_exit = True
        return await asking


def test_call_that_outlives_the_grace_is_told_so_in_json(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    head, _, body = run(
        with_billing(cut_in_the_middle(factories.acme().authorization, monkeypatch))
    ).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"x-should-retry: false" in head
    error = json.loads(body)["error"]
    assert error["code"] == "unavailable"
    assert "cut" in error["message"]
    assert "/v1/llm/generation" in error["hint"]
    assert "Traceback" not in caplog.text


async def with_billing[T](work: Coroutine[Any, Any, T]) -> T:
    try:
        return await work
    finally:
        await batches.stop()


def test_bug_says_that_the_call_may_have_been_charged() -> None:
    request = LeanRequest(scope(CHAT), Upload(scope(CHAT), none))
    response = dataplane._on_bug(request, ZeroDivisionError("no"))
    error = json.loads(response.content)["error"]
    assert response.status_code == 500
    assert response["x-should-retry"] == "false"
    assert "/v1/llm/generation" in error["hint"]
    assert "nothing" not in error["message"]


def test_error_after_a_hold_names_the_call() -> None:
    error = NotFound("No.")
    error.headers = {"X-Naive-Generation-Id": "gen_1"}  # type: ignore[attr-defined]
    response = dataplane._on_domain_error(LeanRequest(scope(CHAT), Upload(scope(CHAT), none)), error)
    assert response["X-Naive-Generation-Id"] == "gen_1"


async def none() -> Message:
    return {"type": "http.disconnect"}


def test_websocket_is_refused_without_an_error(run: Run) -> None:
    said: list[Message] = []

    async def send(message: Message) -> None:
        said.append(message)

    run(application({"type": "websocket", "path": "/v1/llm/models", "headers": []}, none, send))
    assert said == [{"type": "websocket.close"}]
