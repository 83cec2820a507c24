"""A client's connection has an end, whatever the client does; the server's log is not the client's."""

import asyncio
import json
import logging
import socket

import pytest

from naive_platform import connections
from tests.conftest import Run
from tests.platform.servers import Receive, Send, exchange, serving, until

GET = b"GET / HTTP/1.1\r\nHost: x\r\n"


async def hello(_scope: object, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


async def flood(_scope: object, receive: Receive, send: Send) -> None:
    """What never ends and never looks: only the server can tell that the client has gone."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    leaving = asyncio.ensure_future(receive_until_gone(receive))
    while not leaving.done():
        await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
        await asyncio.sleep(0)


async def receive_until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def unread(port: int) -> socket.socket:
    """A client that asks and never reads."""
    client = socket.create_connection(("127.0.0.1", port))
    client.sendall(GET + b"\r\n")
    return client


def test_client_that_takes_nothing_is_cut_off(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connections, "CLIENT_STALL_S", 0.3)

    async def work() -> None:
        async with serving(flood) as (server, port):
            with unread(port):
                await until(lambda: server.server_state.tasks)
                await until(lambda: not server.server_state.tasks and not server.server_state.connections)

    run(work())
    assert "Traceback" not in caplog.text
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_answer_that_nobody_takes_is_not_kept_after_its_end(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole answer is written at once and waits in the server: a close alone would wait with it."""
    monkeypatch.setattr(connections, "CLIENT_STALL_S", 0.3)
    size = 16 * 1024 * 1024

    async def large(_scope: object, _receive: Receive, send: Send) -> None:
        headers = [(b"content-length", b"%d" % size), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"x" * size})

    async def work() -> None:
        async with serving(large) as (server, port):
            with unread(port):
                await until(lambda: server.server_state.connections)
                await until(lambda: not server.server_state.connections)

    run(work())


def test_client_that_reads_on_is_served_to_the_end(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "CLIENT_STALL_S", 0.5)

    async def work() -> int:
        async with serving(flood) as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(GET + b"\r\n")
            got, ends_at = 0, asyncio.get_running_loop().time() + 1.2
            while asyncio.get_running_loop().time() < ends_at:
                got += len(more := await reader.read(2**20))
                assert more
                await asyncio.sleep(0.02)
            writer.close()
            return got

    assert run(work()) > 2**20


def test_call_cut_at_the_servers_end_leaves_no_traceback(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def stuck(_scope: object, _receive: Receive, _send: Send) -> None:
        await asyncio.sleep(60)

    async def work() -> bytes:
        async with serving(stuck) as (server, port):
            asking = asyncio.ensure_future(exchange(port, GET + b"\r\n"))
            await until(lambda: server.server_state.tasks)
        return await asking

    assert run(work()).startswith(b"HTTP/1.1 503 ")
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(
    "head",
    [
        GET + b"".join(b"x-%d: y\r\n" % number for number in range(300)) + b"\r\n",
        GET + b"x: " + b"y" * 100_000 + b"\r\n\r\n",
        GET + b"x: " + b"y" * 1_000_000,
        b"GET /?" + b"y" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=["many headers", "long header", "header without end", "long URL"],
)
def test_head_too_large_is_refused_in_json_and_closed(run: Run, head: bytes) -> None:
    async def work() -> bytes:
        async with serving(hello) as (_, port):
            return await exchange(port, head)

    got = run(work())
    assert got.startswith(b"HTTP/1.1 400 ")
    assert (
        "headers"
        in json.loads(got.partition(b"\r\n\r\n")[2].removesuffix(b"<ConnectionResetError>"))["error"][
            "message"
        ]
    )


def test_what_is_not_http_is_refused_in_json(run: Run) -> None:
    async def work() -> bytes:
        async with serving(hello) as (_, port):
            return await exchange(port, b"\x16\x03\x01 nonsense\r\n\r\n")

    assert json.loads(run(work()).partition(b"\r\n\r\n")[2])["error"]["code"] == "invalid_input"


@pytest.mark.parametrize("begun", [b"", GET, GET + b"\r\n" + GET], ids=["nothing", "first", "second request"])
def test_head_that_does_not_come_closes_the_connection(
    run: Run, monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    monkeypatch.setattr(connections, "HEAD_TIMEOUT_S", 0.3)

    async def work() -> bytes:
        async with serving(hello) as (_, port):
            return await exchange(port, begun, within_s=3)

    assert not run(work()).endswith(b"<open>")


def test_many_requests_on_one_connection_are_answered(run: Run) -> None:
    async def work() -> bytes:
        async with serving(hello) as (_, port):
            return await exchange(port, (GET + b"\r\n") * 50 + GET + b"Connection: close\r\n\r\n")

    assert run(work()).count(b"200 OK") == 51


def test_upgrade_is_answered_without_it_and_without_a_log_line(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> bytes:
        async with serving(hello) as (_, port):
            wish = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: eA==\r\n"
            return await exchange(port, GET + wish + b"\r\n", within_s=1)

    assert run(work()).startswith(b"HTTP/1.1 200 ")
    assert not caplog.records


def test_client_that_left_is_not_watched(run: Run) -> None:
    """An answer may end, or its connection be closed once more, after the client has gone."""

    async def work() -> None:
        async with serving(hello) as (server, port):
            client = socket.create_connection(("127.0.0.1", port))
            await until(lambda: server.server_state.connections)
            (connection,) = server.server_state.connections
            client.close()
            await until(lambda: not server.server_state.connections)
            assert isinstance(connection, connections.Connection)
            connection.on_response_complete()
            assert connection._stall_timer is None

    run(work())
