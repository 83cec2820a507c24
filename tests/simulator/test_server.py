"""HTTP on real sockets, the journal, and the process itself."""

import json
import signal
import socket
import subprocess
import sys
import time
from urllib.parse import urlsplit

from tests.simulator import process
from tests.simulator.process import MODEL, PROMPT, ROOT, Simulator

BODY = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "Say ok"}]}).encode()


def head(key: str, *lines: str) -> bytes:
    first = "POST /api/v1/chat/completions HTTP/1.1\r\nHost: x\r\n"
    return (
        first + "".join(f"{line}\r\n" for line in (f"Authorization: Bearer {key}", *lines)) + "\r\n"
    ).encode()


def test_connection_serves_many_requests_even_sent_at_once(sim: Simulator, key: str) -> None:
    request = head(key, f"Content-Length: {len(BODY)}") + BODY
    last = head(key, f"Content-Length: {len(BODY)}", "Connection: close") + BODY
    with sim.connect() as connection:
        connection.sendall(request + request + last)
        raw, _ = process.read_all(connection)
    assert raw.count(b"HTTP/1.1 200 OK") == 3
    assert sim.calls(key) == 3


def test_chunked_body_in_small_pieces(sim: Simulator, key: str) -> None:
    with sim.connect() as connection:
        connection.sendall(head(key, "Transfer-Encoding: chunked", "Connection: close"))
        for start in range(0, len(BODY), 7):
            piece = BODY[start : start + 7]
            connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
        connection.sendall(b"0\r\n\r\n")
        raw, _ = process.read_all(connection)
    assert b'"content":"ok"' in raw


def test_client_that_waits_to_continue_is_told_to(sim: Simulator, key: str) -> None:
    with sim.connect() as connection:
        connection.sendall(head(key, f"Content-Length: {len(BODY)}", "Expect: 100-continue"))
        assert process.read_until(connection, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(BODY)
        assert process.read_until(connection, b"\r\n\r\n").startswith(b"HTTP/1.1 200 OK")


def test_what_is_no_http_is_refused(sim: Simulator) -> None:
    for said in (
        b"hello\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    ):
        with sim.connect() as connection:
            connection.sendall(said)
            raw, _ = process.read_all(connection)
        assert raw.startswith(b"HTTP/1.1 400 Bad Request")


def test_head_has_no_body_and_keeps_the_connection(sim: Simulator) -> None:
    with sim.connect() as connection:
        for path, status in (("/api/v1/models", b"200"), ("/api/v1/nothing", b"404")):
            connection.sendall(f"HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert process.read_until(connection, b"\r\n\r\n").startswith(b"HTTP/1.1 " + status)


def test_large_body_is_read_and_too_large_a_one_refused(sim: Simulator, key: str) -> None:
    long = "tide " * 100_000
    assert (
        sim.chat(key, prompt=long, model="google/gemini-2.5-flash").json()["usage"]["prompt_tokens"] > 100_000
    )
    with sim.connect() as connection:
        connection.sendall(head(key, f"Content-Length: {65 * 1024 * 1024}"))
        sent = bytes(1024 * 1024)
        try:
            for _ in range(65):
                connection.sendall(sent)
        except (BrokenPipeError, ConnectionResetError):
            return
        assert connection.recv(100).startswith(b"HTTP/1.1 413")


def test_slow_reader_gets_everything(sim: Simulator, key: str) -> None:
    with sim.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        process.ask(connection, key, "completion_tokens=15000,chunk_tokens=1", stream=True)
        time.sleep(0.3)
        raw = process.read_until(connection, b"data: [DONE]")
    assert raw.count(b'"delta"') == 15_002


def test_journal_counts_and_keeps_what_came(sim: Simulator, key: str) -> None:
    sim.control("POST", "requests/reset")
    sim.chat(key)
    sim.get("/models")
    sim.control("GET", "ledger")
    found = sim.control("GET", "requests")
    assert (found["accepted"], found["total"]) == (1, 2)
    assert found["by_path"]["GET /api/v1/models"] == 1
    first = found["last"][0]
    assert (first["method"], first["path"], first["state"]) == ("POST", "/api/v1/chat/completions", "done")
    assert first["headers"]["authorization"] == f"Bearer {key}"
    assert json.loads(first["body"])["messages"][0]["content"] == PROMPT
    assert len(sim.control("GET", "requests", last="1")["last"]) == 1


def test_ledger_can_be_reset_and_process_ends_at_once() -> None:
    with process.running("--speed", "instant") as own:
        own.chat("sk-or-v1-a")
        assert own.control("GET", "ledger")["calls"] == 1
        assert own.control("POST", "ledger/reset") == {"total_usd": "0", "calls": 0, "by_key": {}}
        connection = own.begin("sk-or-v1-a", "hang_after=0", stream=True)
        process.read_until(connection, b"PROCESSING")
        own.process.send_signal(signal.SIGTERM)
        assert own.process.wait(5) == 0
        connection.close()
        own.client.close()


def refused(*arguments: str) -> str:
    command = [sys.executable, "-m", "simulator", *arguments]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert found.returncode != 0
    assert found.stderr.count("\n") == 1
    return found.stderr


def test_taken_port_and_public_address_are_refused_in_one_line(sim: Simulator) -> None:
    port = str(urlsplit(sim.url).port)
    assert f"cannot listen on 127.0.0.1:{port}" in refused("--port", port)
    assert "not a loopback address" in refused("--host", "0.0.0.0")  # noqa: S104


def test_real_speed_takes_its_time() -> None:
    with process.running("--speed", "real") as own:
        answer = own.chat("sk-or-v1-a", stream=True, max_tokens=12)
        assert answer.elapsed.total_seconds() > 0.2 + 4 * 0.02
        own.client.close()
