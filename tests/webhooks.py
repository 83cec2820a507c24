"""Endpoints for tests, and receivers on loopback that remember what they were sent and answer what they are told."""

import contextlib
import ssl
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import standardwebhooks

from accounts import webhook_events, webhooks
from accounts.webhook_models import WebhookDelivery, WebhookEndpoint
from accounts.webhooks import IssuedEndpoint
from tests import factories

# A public address, so that no name is looked up.
URL = "https://93.184.215.14/hook"
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def issued(member: factories.Cast, *events: str, url: str = URL, now: datetime = NOW) -> IssuedEndpoint:
    """An endpoint of the member's, which hears of everything where nothing is named."""
    return webhooks.create(
        company_id=member.company_id, url=url, events=list(events or webhook_events.KINDS), now=now
    )


def tell(member: factories.Cast, *, now: datetime = NOW, **payload: Any) -> int:
    """Something for those to hear who listen to key.created."""
    return webhook_events.tell(
        company_id=member.company_id,
        kind=webhook_events.Kind.KEY_CREATED,
        payload=payload or {"name": "told by a test"},
        now=now,
    )


def of(endpoint: WebhookEndpoint) -> list[WebhookDelivery]:
    """The endpoint's deliveries, the first one first."""
    rows = WebhookDelivery.objects.filter(endpoint_id=endpoint.id)
    return list(rows.select_related("event").order_by("created_at", "id"))


def clear() -> None:
    """Take what other tests have left undelivered out of this one's way."""
    WebhookDelivery.objects.filter(state="pending").update(state="failed", next_at=None, claimed_until=None)


@dataclass(frozen=True, slots=True)
class Request:
    """What came, to the byte."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def message_id(self) -> str:
        return self.headers["webhook-id"]

    def verified(self, secret: str) -> dict[str, Any]:
        """The body, as the official library believes it. Errors: WebhookVerificationError."""
        found: dict[str, Any] = standardwebhooks.Webhook(secret).verify(self.body, self.headers)
        return found


@dataclass(slots=True)
class Receiver:
    """A server on loopback; each answer but the last of `answers` is given once."""

    port: int = 0
    scheme: str = "http"
    answers: list[tuple[int, Sequence[tuple[str, str]], bytes]] = field(
        default_factory=lambda: [(204, (), b"")]
    )
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    # While it is cleared, nobody is answered.
    is_open: threading.Event = field(default_factory=threading.Event)
    most_at_once: int = 0
    _at_once: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/hook"

    def answer(self, status: int, body: bytes = b"", *headers: tuple[str, str]) -> None:
        self.answers = [(status, headers, body)]

    def take(self, request: Request) -> tuple[int, Sequence[tuple[str, str]], bytes]:
        with self._lock:
            self.requests.append(request)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        self.is_open.wait(30)
        with self._lock:
            self._at_once -= 1
            return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@contextlib.contextmanager
def receiving(tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """A receiver for this while, answering 204."""
    receiver = Receiver(scheme="https" if tls else "http")
    receiver.is_open.set()
    server = _Server(receiver, tls)
    receiver.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield receiver
    finally:
        receiver.is_open.set()
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, receiver: Receiver, tls: ssl.SSLContext | None) -> None:
        self.receiver, self._tls = receiver, tls
        super().__init__(("127.0.0.1", 0), _Handler)

    def get_request(self) -> tuple[Any, Any]:
        connection, address = super().get_request()
        self.receiver.connections += 1
        if self._tls is not None:
            connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves is none of the test's business."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        headers = {name.lower(): value for name, value in self.headers.items()}
        status, more, body = self.server.receiver.take(
            Request(path=self.path, headers=headers, body=self.rfile.read(length))
        )
        self.send_response(status)
        for name, value in more:
            self.send_header(name, value)
        if "Content-Length" not in dict(more):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""
