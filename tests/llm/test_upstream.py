"""The client of upstream: what counts is whether a request can have been run."""

import asyncio
import contextlib
import gzip
import socket
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from llm import upstream
from llm.errors import NotConfigured, UpstreamError, UpstreamLost, UpstreamTimeout, UpstreamUnreachable

type Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def server(serve: Serve) -> AsyncIterator[str]:
    """A server that reads one request's head and body, then does what `serve` says."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.lower().splitlines() if line.startswith(b"content-length:")), 0
        )
        await reader.readexactly(length)
        await serve(reader, writer)
        writer.close()

    running = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with running:
        yield f"http://127.0.0.1:{running.sockets[0].getsockname()[1]}"


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django.conf.settings.OPENROUTER_API_KEY", "sk-or-v1-test")


async def ask(url: str) -> bytes:
    client = upstream.Client()
    try:
        answer = await client.post("chat/completions", upstream.Sending(b"{}"), is_stream=True)
        try:
            return await answer.read()
        finally:
            await answer.close()
    finally:
        await client.close()


def outcome(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> bytes:
    async def run() -> bytes:
        async with server(serve) as url:
            monkeypatch.setattr("django.conf.settings.OPENROUTER_BASE_URL", url)
            return await ask(url)

    return asyncio.run(run())


def write(*pieces: bytes) -> Serve:
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()

    return serve


@pytest.mark.usefixtures("configured")
class TestWhatCanHaveBeenRun:
    def test_answer_is_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert outcome(write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"), monkeypatch) == b"{}"

    def test_refused_connection_was_not_sent(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{closed.getsockname()[1]}"
            monkeypatch.setattr("django.conf.settings.OPENROUTER_BASE_URL", url)
            with pytest.raises(UpstreamUnreachable) as caught:
                asyncio.run(ask(url))
        assert not caught.value.maybe_charged

    def test_unknown_host_was_not_sent(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("django.conf.settings.OPENROUTER_BASE_URL", "http://nowhere.invalid")
        with pytest.raises(UpstreamUnreachable):
            asyncio.run(ask(""))

    def test_close_before_headers_may_have_been_run(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(UpstreamLost) as caught:
            outcome(write(), monkeypatch)
        assert caught.value.maybe_charged

    def test_cut_inside_the_body_may_have_been_run(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(UpstreamLost) as caught:
            outcome(write(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{"), monkeypatch)
        assert caught.value.maybe_charged

    def test_cut_inside_a_chunked_body_may_have_been_run(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(UpstreamLost):
            outcome(write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"), monkeypatch)

    def test_what_is_not_http_may_have_been_run(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(UpstreamError) as caught:
            outcome(write(b"nonsense\r\n\r\n"), monkeypatch)
        assert caught.value.maybe_charged

    def test_silence_is_a_timeout_that_may_have_been_run(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(upstream, "READ_TIMEOUT_S", 0.2)

        async def silence(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
            await reader.read()

        with pytest.raises(UpstreamTimeout) as caught:
            outcome(silence, monkeypatch)
        assert caught.value.maybe_charged
        assert caught.value.status == 504

    def test_silence_inside_the_body_is_a_timeout(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(upstream, "READ_TIMEOUT_S", 0.2)

        async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{")
            await reader.read()

        with pytest.raises(UpstreamTimeout):
            outcome(stall, monkeypatch)

    def test_compressed_answer_is_read_in_small_pieces(self, monkeypatch: pytest.MonkeyPatch) -> None:
        bomb = gzip.compress(b"x" * 5_000_000)
        head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
        monkeypatch.setattr(upstream, "ANSWER_BYTES_MAX", 1_000_000)
        with pytest.raises(UpstreamLost, match="too long"):
            outcome(write(head + bomb), monkeypatch)

    @pytest.mark.parametrize("encoding", [b"gzip", b"X-GZip", b"deflate", b"Identity"])
    def test_compressed_answer_is_read(self, encoding: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
        packed = {b"deflate": zlib.compress(b"{}"), b"Identity": b"{}"}.get(encoding, gzip.compress(b"{}"))
        head = b"HTTP/1.1 200 OK\r\nContent-Encoding: %s\r\nContent-Length: %d\r\n\r\n"
        assert outcome(write(head % (encoding, len(packed)) + packed), monkeypatch) == b"{}"

    def test_answer_that_is_not_what_it_says_is_lost(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(UpstreamLost, match="not what they say"):
            outcome(
                write(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}"),
                monkeypatch,
            )

    def test_unknown_encoding_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(UpstreamLost, match="zstd"):
            outcome(
                write(b"HTTP/1.1 200 OK\r\nContent-Encoding: zstd\r\nContent-Length: 2\r\n\r\n{}"),
                monkeypatch,
            )

    def test_endless_answer_is_cut(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(upstream, "ANSWER_BYTES_MAX", 1000)
        with pytest.raises(UpstreamLost, match="too long"):
            outcome(write(b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n" + b"x" * 2000), monkeypatch)

    def test_redirect_is_not_followed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked = []

        async def redirect(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.append(1)
            writer.write(b"HTTP/1.1 307 Moved\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n")

        assert outcome(redirect, monkeypatch) == b""
        assert len(asked) == 1


def test_no_key_names_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django.conf.settings.OPENROUTER_API_KEY", "")
    with pytest.raises(NotConfigured) as caught:
        upstream.require_configured()
    assert caught.value.details == {"missing": ["OPENROUTER_API_KEY"]}


def test_look_up_that_is_answered_byte_by_byte_ends(
    configured: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream, "LOOKUP_TIMEOUT_S", 0.5)

    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        with contextlib.suppress(OSError):
            for _byte in range(50):
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.1)

    async def run() -> float:
        async with server(drip) as url:
            monkeypatch.setattr("django.conf.settings.OPENROUTER_BASE_URL", url)
            began = asyncio.get_running_loop().time()
            with pytest.raises(UpstreamTimeout):
                await asyncio.to_thread(upstream.look_up, "generation")
            return asyncio.get_running_loop().time() - began

    assert asyncio.run(run()) < 2
