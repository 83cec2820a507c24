"""The simulator as a real process, and what tests ask of it."""

import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

ROOT = Path(__file__).resolve().parents[2]
READY_S = 30
GENERATION_DELAY_MS = 150
MODEL = "openai/gpt-4o-mini"
PROMPT = "Explain how tides work in the North Sea."


@contextlib.contextmanager
def running(*arguments: str) -> Iterator["Simulator"]:
    """`python -m simulator` for the length of a with block."""
    command = [sys.executable, "-m", "simulator", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            yield Simulator(json.loads(line), process)
        finally:
            process.terminate()
            process.wait(READY_S)


def eventually[T](look: Callable[[], T | None], *, within_s: float = 10) -> T:
    """What `look` finds once it finds something."""
    ends_at = time.monotonic() + within_s
    while True:
        found = look()
        if found is not None:
            return found
        if time.monotonic() > ends_at:
            raise AssertionError("it never came")
        time.sleep(0.01)


def decoded(text: str) -> Any:
    """JSON with its numbers as exact decimals."""
    return json.loads(text, parse_float=Decimal)


class Simulator:
    """A running simulator and a client of it."""

    def __init__(self, ready: dict[str, str], process: "subprocess.Popen[str]") -> None:
        self.url, self.sim_url, self.process = ready["url"], ready["sim_url"], process
        self.client = httpx.Client(timeout=20, trust_env=False)

    def post(self, path: str, key: str, body: object, faults: str = "", **headers: str) -> httpx.Response:
        """A JSON POST with a bearer key and, if any, the faults it is to meet."""
        sent = {"Authorization": f"Bearer {key}", **headers}
        if faults:
            sent["X-Sim-Faults"] = faults
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.client.post(f"{self.url}{path}", content=content, headers=sent)

    def chat(self, key: str, faults: str = "", prompt: str = PROMPT, **fields: Any) -> httpx.Response:
        body = {"model": MODEL, "messages": [{"role": "user", "content": prompt}], **fields}
        return self.post("/chat/completions", key, body, faults)

    def stream(self, key: str, faults: str = "", **fields: Any) -> list[Any]:
        """The data frames of a streamed chat, [DONE] as the string it is."""
        return frames(self.chat(key, faults, stream=True, **fields).text)

    def get(self, path: str, key: str = "", faults: str = "", **query: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        if faults:
            headers["X-Sim-Faults"] = faults
        return self.client.get(f"{self.url}{path}", headers=headers, params=query)

    def generation(self, generation_id: str, key: str) -> Any:
        """The record of a call, once it is there."""

        def look() -> Any:
            found = self.get("/generation", key, id=generation_id)
            return decoded(found.text)["data"] if found.status_code == 200 else None

        return eventually(look)

    def control(self, method: str, path: str, body: object = None, **query: str) -> Any:
        content = None if body is None else json.dumps(body).encode()
        found = self.client.request(method, f"{self.sim_url}/__sim/{path}", content=content, params=query)
        return found.json()

    def spent(self, key: str) -> Decimal:
        """What the simulator's ledger says it charged a key."""
        account = self.control("GET", "ledger")["by_key"].get(key, {"total_usd": "0"})
        return Decimal(account["total_usd"])

    def calls(self, key: str) -> int:
        account = self.control("GET", "ledger")["by_key"].get(key, {"calls": 0})
        return int(account["calls"])

    def connect(self) -> socket.socket:
        where = urlsplit(self.sim_url)
        return socket.create_connection((where.hostname or "", where.port or 0), timeout=20)

    def begin(self, key: str, faults: str = "", **fields: Any) -> socket.socket:
        """A chat request on a socket of its own, its answer still to be read."""
        connection = self.connect()
        ask(connection, key, faults, **fields)
        return connection


def ask(connection: socket.socket, key: str, faults: str, **fields: Any) -> None:
    """Send a chat request over a socket."""
    body = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": PROMPT}], **fields}).encode()
    head = f"POST /api/v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
    head += f"X-Sim-Faults: {faults}\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body)


def frames(text: str) -> list[Any]:
    """The data frames of an event stream, comments left out."""
    found: list[Any] = []
    for line in text.splitlines():
        if line.startswith("data: "):
            said = line.removeprefix("data: ")
            found.append(said if said == "[DONE]" else decoded(said))
    return found


def read_until(connection: socket.socket, mark: bytes) -> bytes:
    """Bytes up to and with a mark; AssertionError if the connection ends before."""
    found = bytearray()
    while mark not in found[-65536 - len(mark) :]:
        data = connection.recv(65536)
        assert data, found[-200:]
        found += data
    return bytes(found)


def read_all(connection: socket.socket) -> tuple[bytes, bool]:
    """Everything until the end, and whether the end was a reset; closes our side."""
    found = b""
    with connection:
        try:
            while data := connection.recv(65536):
                found += data
        except ConnectionResetError:
            return found, True
    return found, False
