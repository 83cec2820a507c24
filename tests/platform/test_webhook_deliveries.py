"""Deliveries on real sockets, by the tasks that Celery runs: signed, retried, pinned, never to a private network."""

import asyncio
import datetime
import functools
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
import standardwebhooks
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from django.db import connections
from django.utils import timezone
from pytest_django import Settings

from accounts import deliveries, webhooks
from accounts.deliveries import Outcome
from accounts.webhook_models import WebhookDelivery, WebhookEndpoint
from naive_platform import tasks
from naive_platform.webhooks import posting, rounds
from tests import factories
from tests import webhooks as hooks
from tests.webhooks import Receiver

NAME = "hooks.example.com"


@pytest.fixture(autouse=True)
def _private(settings: Settings) -> Iterator[None]:
    """Loopback may be sent to, and nothing else is under way."""
    settings.DEBUG = settings.WEBHOOK_ALLOW_PRIVATE = True
    hooks.clear()
    yield
    hooks.clear()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with hooks.receiving() as receiver:
        yield receiver


@pytest.fixture
def acme() -> factories.Cast:
    return factories.acme()


def told(member: factories.Cast, url: str, **payload: Any) -> webhooks.IssuedEndpoint:
    """An endpoint at the URL, and something on its way to it."""
    made = hooks.issued(member, url=url, now=timezone.now())
    hooks.tell(member, now=timezone.now(), **payload)
    return made


def only(endpoint: WebhookEndpoint) -> WebhookDelivery:
    (delivery,) = hooks.of(endpoint)
    return delivery


def post(url: str, **more: Any) -> Outcome:
    return asyncio.run(posting.post(url=url, headers={"webhook-id": "evt_1"}, body="{}", **more))


def leading_to(*addresses: str) -> Any:
    """A resolver that answers with each of these in turn, and how often it was asked."""
    asked: list[str] = []

    def resolve(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return [addresses[min(len(asked), len(addresses)) - 1]]

    return resolve, asked


def test_event_arrives_signed_as_the_official_library_wants_it(
    acme: factories.Cast, receiver: Receiver
) -> None:
    receiver.answer(200, b"thanks")
    made = told(acme, receiver.url, credits=orjson.Fragment("0.000525"), name="Grüße")

    tasks.deliver_webhooks()

    (request,) = receiver.requests
    assert request.verified(made.secret)["data"] == {"credits": 0.000525, "name": "Grüße"}
    assert request.verified(made.secret)["type"] == "key.created"
    assert b'"credits":0.000525' in request.body
    assert request.headers["content-type"] == "application/json"
    assert request.headers["host"] == f"127.0.0.1:{receiver.port}"
    delivery = only(made.endpoint)
    assert request.message_id == deliveries.message_id(delivery.event_id)
    assert (delivery.state, delivery.status_code, delivery.answer) == ("delivered", 200, "thanks")
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        hooks.Request(request.path, request.headers, request.body + b" ").verified(made.secret)


def test_both_secrets_verify_while_one_is_rotated(acme: factories.Cast, receiver: Receiver) -> None:
    made = told(acme, receiver.url)
    second = webhooks.rotate_secret(
        company_id=acme.company_id, webhook_id=made.endpoint.id, now=timezone.now()
    )
    tasks.deliver_webhooks()
    (request,) = receiver.requests
    assert request.verified(made.secret) == request.verified(second.secret)


def test_failure_is_tried_again_under_the_same_id_with_the_same_body(
    acme: factories.Cast, receiver: Receiver
) -> None:
    receiver.answers = [(500, (), b"not now"), (204, (), b"")]
    made = told(acme, receiver.url)
    tasks.deliver_webhooks()
    delivery = only(made.endpoint)
    assert (delivery.state, delivery.error) == ("pending", "It answered 500, not 2xx.")
    tasks.deliver_webhooks()
    assert len(receiver.requests) == 1

    WebhookDelivery.objects.filter(id=delivery.id).update(next_at=timezone.now())
    tasks.deliver_webhooks()

    first, second = receiver.requests
    assert (first.message_id, first.body) == (second.message_id, second.body)
    assert second.verified(made.secret)
    assert only(made.endpoint).state == "delivered"


def test_worker_that_dies_between_sending_and_noting_sends_it_again_with_the_same_id(
    acme: factories.Cast, receiver: Receiver
) -> None:
    made = told(acme, receiver.url)
    # What a worker does until it is killed.
    (claimed,) = deliveries.claim(now=timezone.now(), limit=1)
    assert asyncio.run(_attempt(claimed)).is_success
    tasks.deliver_webhooks()
    assert len(receiver.requests) == 1

    later = timezone.now() + deliveries.CLAIM
    assert rounds.deliver_due(clock=lambda: later) == 1

    first, second = receiver.requests
    assert (first.message_id, first.body) == (second.message_id, second.body)
    assert only(made.endpoint).state == "delivered"


async def _attempt(claimed: deliveries.Claimed) -> Outcome:
    loop = asyncio.get_running_loop()
    return await rounds._Round(loop=loop, clock=timezone.now, post=posting.post)._attempt(claimed)


def test_redirect_is_not_followed(acme: factories.Cast, receiver: Receiver) -> None:
    with hooks.receiving() as other:
        for status in (301, 302, 303, 307, 308):
            receiver.answer(status, b"", ("Location", other.url))
            outcome = post(receiver.url)
            assert (outcome.status_code, outcome.is_success) == (status, False)
            assert "Redirects are not followed" in outcome.error
        assert other.requests == []


def test_answer_is_read_to_four_kilobytes_and_never_unpacked(receiver: Receiver) -> None:
    receiver.answer(200, b"x" * 1_000_000, ("Content-Encoding", "gzip"))
    assert post(receiver.url).answer == b"x" * 4096
    assert receiver.requests[0].headers["accept-encoding"] == "identity"


def test_status_counts_though_the_rest_of_the_answer_never_comes(receiver: Receiver) -> None:
    receiver.answer(200, b"", ("Content-Length", "1000"))
    assert post(receiver.url).is_success


def test_status_that_comes_in_time_counts_though_the_rest_comes_too_late(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else what was delivered would be delivered again."""
    monkeypatch.setattr(posting, "TIMEOUT_S", 2.0)
    monkeypatch.setattr(posting, "ANSWER_TIMEOUT_S", 30.0)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def speak() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
                threading.Event().wait(2.5)
                connection.sendall(b"thank you")

        thread = threading.Thread(target=speak)
        thread.start()
        outcome = post(f"http://127.0.0.1:{server.getsockname()[1]}/")
        thread.join()
    assert (outcome.is_success, outcome.answer) == (True, b"thank you")


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("120", 120),
        (" 0 ", 0),
        ("9" * 400, 0),
        ("-1", 0),
        ("1.5", 0),
        ("٣", 0),
        ("soon", 0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
    ],
)
def test_time_that_an_endpoint_asks_for_is_read_as_seconds(said: str, seconds: int) -> None:
    with hooks.receiving() as receiver:
        receiver.answer(503, b"", ("Retry-After", said.encode().decode("latin-1")))
        assert post(receiver.url).retry_after_s == seconds


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (b"", "It closed the connection"),
        (b"SSH-2.0-OpenSSH_9.9\r\n", "It did not answer in HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 100_000, "It did not answer in HTTP"),
    ],
)
def test_what_is_no_answer_is_told_apart(said: bytes, error: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def speak() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(said)

        thread = threading.Thread(target=speak)
        thread.start()
        outcome = post(f"http://127.0.0.1:{server.getsockname()[1]}/")
        thread.join()
    assert (outcome.status_code, outcome.error[: len(error)]) == (None, error)


def test_endpoint_that_is_not_there_is_a_failure() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert post(f"http://127.0.0.1:{port}/").error == "No connection could be made."


def test_proxies_of_the_environment_are_not_asked(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hooks.receiving() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "https_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        assert post(receiver.url).is_success
        assert proxy.connections == 0


def test_name_that_comes_to_mean_a_private_address_is_not_connected_to(
    acme: factories.Cast, receiver: Receiver, settings: Settings
) -> None:
    """Registered while it was public; by the time of the delivery it leads to this machine."""
    settings.WEBHOOK_ALLOW_PRIVATE = False
    for address in ("127.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"):
        resolve, asked = leading_to(address)
        outcome = post(f"http://{NAME}:{receiver.port}/hook", resolve=resolve)
        assert (outcome.status_code, len(asked)) == (None, 1)
        assert "not public" in outcome.error
        assert address not in outcome.error
    assert receiver.connections == 0


def test_endpoint_that_was_registered_in_development_is_not_sent_to_outside_it(
    acme: factories.Cast, receiver: Receiver, settings: Settings
) -> None:
    made = told(acme, receiver.url)
    settings.WEBHOOK_ALLOW_PRIVATE = False
    tasks.deliver_webhooks()
    assert receiver.connections == 0
    assert "not public" in only(made.endpoint).error


def test_connection_goes_to_the_address_that_was_checked(receiver: Receiver) -> None:
    """The resolver is asked once; what it would say the second time is nobody's business."""
    resolve, asked = leading_to("127.0.0.1", "127.0.0.2")
    assert post(f"http://{NAME}:{receiver.port}/hook?a=%2e%2e", resolve=resolve).is_success
    (request,) = receiver.requests
    assert asked == [NAME]
    assert (request.headers["host"], request.path) == (f"{NAME}:{receiver.port}", "/hook?a=%2e%2e")


def test_tls_is_for_the_name_though_the_address_is_pinned(tmp_path: Path) -> None:
    server, client = _tls(tmp_path)
    names: list[str | None] = []
    server.sni_callback = lambda _socket, name, _context: names.append(name)
    with hooks.receiving(server) as receiver:
        resolve, _ = leading_to("127.0.0.1")
        sent = functools.partial(post, resolve=resolve, tls=client)
        assert sent(f"https://{NAME}:{receiver.port}/").is_success
        assert names == [NAME]
        refused = sent(f"https://other.example.com:{receiver.port}/")
        assert refused.error == "Its TLS certificate is not valid for this name."
        assert "certificate" in post(f"https://{NAME}:{receiver.port}/", resolve=resolve).error
        assert len(receiver.requests) == 1


def test_slow_endpoints_of_one_company_hold_up_nobody_else(acme: factories.Cast) -> None:
    globex = factories.globex()
    with hooks.receiving() as slow, hooks.receiving() as quick:
        slow.is_open.clear()
        for number in range(6):
            hooks.issued(acme, url=f"{slow.url}/{number}", now=timezone.now())
        hooks.tell(acme, now=timezone.now())
        quick_one = told(globex, quick.url).endpoint

        def open_when_the_others_are_served() -> None:
            for _ in range(2000):
                if quick.requests and len(slow.requests) == deliveries.COMPANY_MAX:
                    break
                threading.Event().wait(0.005)
            slow.is_open.set()

        watcher = threading.Thread(target=open_when_the_others_are_served)
        watcher.start()
        tasks.deliver_webhooks()
        watcher.join()

    assert slow.most_at_once <= deliveries.COMPANY_MAX
    assert len(slow.requests) == 6
    assert only(quick_one).state == "delivered"


def test_round_that_waits_for_its_last_attempts_keeps_no_other_from_working(
    acme: factories.Cast, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else one endpoint that hangs would hold up everybody at the end of each round."""
    monkeypatch.setattr(rounds, "ROUND_S", 0.0)
    monkeypatch.setattr(rounds, "POLL_S", 0.01)
    receiver.is_open.clear()
    slow = told(acme, receiver.url).endpoint

    def work() -> None:
        tasks.deliver_webhooks()
        connections.close_all()

    first = threading.Thread(target=work)
    first.start()
    while not receiver.requests:
        threading.Event().wait(0.005)
    with hooks.receiving() as quick:
        served = told(factories.globex(), quick.url).endpoint
        for _ in range(2000):
            if rounds.deliver_due(clock=timezone.now):
                break
            threading.Event().wait(0.005)
        assert (only(served).state, only(slow).state) == ("delivered", "pending")
    receiver.is_open.set()
    first.join()
    assert only(slow).state == "delivered"


def test_second_task_of_a_process_leaves_the_work_to_the_first(
    acme: factories.Cast, receiver: Receiver
) -> None:
    receiver.is_open.clear()
    told(acme, receiver.url)

    def work() -> None:
        tasks.deliver_webhooks()
        connections.close_all()

    first = threading.Thread(target=work)
    first.start()
    while not receiver.requests:
        threading.Event().wait(0.005)
    tasks.deliver_webhooks()
    receiver.is_open.set()
    first.join()
    assert len(receiver.requests) == 1


def test_attempt_that_breaks_is_tried_again_and_stops_nobody_else(
    acme: factories.Cast, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    made = told(acme, receiver.url)
    good = hooks.issued(acme, url=f"{receiver.url}/good", now=timezone.now()).endpoint
    hooks.tell(acme, now=timezone.now())

    async def breaks(*, url: str, **more: Any) -> Outcome:
        if url == made.endpoint.url:
            raise RuntimeError("a bug")
        return await posting.post(url=url, **more)

    rounds.deliver_due(clock=timezone.now, post=breaks)

    assert {one.state for one in hooks.of(made.endpoint)} == {"pending"}
    assert {one.error for one in hooks.of(made.endpoint)} == {"It could not be sent (RuntimeError)."}
    assert only(good).state == "delivered"
    assert "its attempt broke" in caplog.text


def test_secret_that_cannot_be_read_is_said_and_nothing_is_sent(
    acme: factories.Cast, receiver: Receiver, settings: Settings
) -> None:
    made = told(acme, receiver.url)
    settings.SECRET_KEY = "another one"
    tasks.deliver_webhooks()
    assert receiver.connections == 0
    assert only(made.endpoint).error == rounds.UNREADABLE


def test_task_with_nothing_to_do_does_nothing() -> None:
    assert rounds.deliver_due(clock=timezone.now) == 0
    tasks.forget_webhooks()


def _tls(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server with a certificate for NAME, and a client that believes it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
    now = datetime.datetime.now(datetime.UTC)  # noqa: TID251 - a certificate for this very run.
    names = x509.SubjectAlternativeName(
        [x509.DNSName(NAME), x509.IPAddress(ipaddress.ip_address("127.0.0.9"))]
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "tls.pem"
    written = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + written)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    return server, ssl.create_default_context(cadata=written.decode())
