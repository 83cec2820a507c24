"""The listening socket that all gateways share, and the time each has for its end."""

import json
import re
import socket
import threading
from pathlib import Path

import pytest
from uvicorn.main import main as uvicorn_command

from naive_platform import gateway, stack
from naive_platform.supervisor import StartFailed, Supervisor
from tests.platform.conftest import ROOT


def test_answers_in_two_writes_are_not_held_back() -> None:
    with stack.listen(0) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_port_that_is_taken_is_named() -> None:
    with stack.listen(0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(StartFailed, match=f"Port {port}.*--port"):
            stack.listen(port)


def test_gateway_has_time_to_close_after_every_grace() -> None:
    """Streams end first, then every other request is cut, then what is open is closed, and only then comes SIGKILL."""
    late_s = gateway.DRAIN_GRACE_S + 5 + gateway.LATE_STREAMS_S
    assert gateway.DRAIN_GRACE_S < stack.GATEWAY_GRACE_S < late_s < stack.GATEWAY_STOP_S


def test_figures_of_the_end_are_the_documented_ones() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    told = re.search(r"## How a gateway ends\n(.*?)\n## ", text, re.DOTALL)
    assert told
    assert re.findall(r"\d+(?= s\b)", told.group(1)) == [
        f"{seconds:g}" for seconds in (gateway.DRAIN_GRACE_S, stack.GATEWAY_GRACE_S, stack.GATEWAY_STOP_S)
    ]


def test_gateway_speaks_only_http_over_bounded_connections(tmp_path: Path) -> None:
    with Supervisor(say=print) as children, stack.listen(0) as listener:
        program = stack.Stack(children, tmp_path, environ={})._gateway(1, listener)
        words = list(program.argv[program.argv.index("uvicorn") + 1 :])
        found = uvicorn_command.make_context("uvicorn", words).params
    assert (found["http"], found["ws"]) == ("naive_platform.connections:Connection", "none")
    assert found["timeout_graceful_shutdown"] == stack.GATEWAY_GRACE_S
    assert found["proxy_headers"] is False


@pytest.mark.parametrize(
    ("status", "reason", "is_up"),
    [(200, "", True), (503, "settlement_debt", True), (503, "spool", True), (503, "database", False)],
)
def test_gateway_that_sells_nothing_for_now_is_up(status: int, reason: str, is_up: bool) -> None:
    """Else a platform in debt could not be started again, and nobody would settle what it owes."""
    body = json.dumps({"reason": reason}).encode()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            client, _ = server.accept()
            with client:
                client.recv(1000)
                client.sendall(b"HTTP/1.1 %d .\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body))

        thread = threading.Thread(target=answer)
        thread.start()
        assert stack._gateway_answers(f"http://127.0.0.1:{server.getsockname()[1]}") is is_up
        thread.join()
