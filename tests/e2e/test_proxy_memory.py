"""What the proxy keeps of large answers and uploads, and what a client that hardly reads costs its neighbours."""

import json
import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx

from tests import factories
from tests.e2e.conftest import NO_TLS, Platform, eventually, open_holds
from tests.e2e.memory import Memory

BASE = "/v1/proxy/openrouter"
MEGABYTE = 1024 * 1024
# What a call may take beside what the process has anyway; a page here and there is the allocator's.
CALL_BYTES_MAX = 2 * MEGABYTE
HEAD = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.mp3"\r\n\r\n'
TAIL = b'\r\n--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nopenai/whisper-1\r\n--b--\r\n'


def upload(platform: Platform, member: factories.Cast, megabytes: int) -> httpx.Response:
    def form() -> Iterator[bytes]:
        yield HEAD
        for _ in range(megabytes * 16):
            yield bytes(MEGABYTE // 16)
        yield TAIL

    headers = {"Authorization": member.authorization, "Content-Type": "multipart/form-data; boundary=b"}
    url = f"{platform.url}{BASE}/audio/transcriptions"
    return httpx.post(url, content=form(), headers=headers, timeout=60, verify=NO_TLS)


def test_what_is_kept_is_seen(clean: Platform, acme: factories.Cast, memory: Memory) -> None:
    """The measure itself: a JSON body is kept whole."""
    before = memory.forget()
    body = {
        "model": "openai/gpt-4o-mini",
        "messages": [{"role": "user", "content": "x" * 8 * MEGABYTE}],
        "n": 0,
    }
    assert clean.post(acme.secret, body, path=f"{BASE}/chat/completions").status_code == 400
    assert memory.peak() - before > CALL_BYTES_MAX


def test_upload_is_not_kept(clean: Platform, acme: factories.Cast, memory: Memory) -> None:
    for megabytes in (1, 20):
        assert upload(clean, acme, megabytes).status_code == 200
    before = memory.forget()
    assert upload(clean, acme, 24).status_code == 200
    assert memory.peak() - before <= CALL_BYTES_MAX
    eventually(lambda: open_holds(acme.company.id) == 0, what="it is settled")


def test_long_stream_is_not_kept(clean: Platform, acme: factories.Cast, memory: Memory) -> None:
    request = {
        "model": "openai/gpt-4o-mini:sim=completion_tokens=16000,chunk_tokens=1",
        "messages": [{"role": "user", "content": "Go on."}],
        "stream": True,
    }
    path = f"{BASE}/chat/completions"
    sizes = []
    for _ in range(2):
        before = memory.forget()
        sizes.append(len(clean.post(acme.secret, request, path=path).content))
        grown = memory.peak() - before
    assert sizes[1] > MEGABYTE
    assert grown <= CALL_BYTES_MAX


def test_long_answer_is_not_kept(clean: Platform, acme: factories.Cast, memory: Memory) -> None:
    path, grown = f"{BASE}/embeddings", 0
    for inputs in (100, 100, 600):
        before = memory.forget()
        request = {"model": "openai/text-embedding-3-small", "input": ["Hi"] * inputs}
        answer = clean.post(acme.secret, request, path=path)
        grown = memory.peak() - before
        assert [row["index"] for row in answer.json()["data"]] == list(range(inputs))
        assert answer.json()["usage"]["cost"] > 0
    assert len(answer.content) > 4 * CALL_BYTES_MAX
    assert grown <= 2 * CALL_BYTES_MAX  # A megabyte to look through, and what is read of the rest.
    eventually(lambda: open_holds(acme.company.id) == 0, what="it is settled")


def test_client_that_hardly_reads_costs_no_one_else(
    clean: Platform, acme: factories.Cast, memory: Memory
) -> None:
    where = urlsplit(clean.url)
    body = {
        "model": "openai/gpt-4o-mini:sim=completion_tokens=16000,chunk_tokens=1",
        "messages": [{"role": "user", "content": "Go on."}],
        "stream": True,
    }
    raw = json.dumps(body).encode()
    head = f"POST {BASE}/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: {acme.authorization}\r\n"
    neighbour = {**body, "stream": False, "max_tokens": 20, "model": "openai/gpt-4o-mini"}
    clean.post(acme.secret, neighbour, path=f"{BASE}/chat/completions")
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect((where.hostname or "", where.port or 0))
        before = memory.forget()
        slow.sendall(head.encode() + b"Content-Length: %d\r\n\r\n" % len(raw) + raw)
        for _ in range(3):
            slow.recv(1)
            began = time.monotonic()
            assert clean.post(acme.secret, neighbour, path=f"{BASE}/chat/completions").status_code == 200
            assert time.monotonic() - began < 5
        assert memory.peak() - before <= 2 * CALL_BYTES_MAX
    eventually(lambda: open_holds(acme.company.id) == 0, timeout_s=60, what="every call is settled")
