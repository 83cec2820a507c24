"""Webhooks on pages: endpoints and their secrets, the log of deliveries, and who may."""

import html
import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import companies, deliveries, ids, people, webhook_events, webhooks
from accounts.models import AuditEntry, User
from accounts.webhook_models import WebhookDelivery, WebhookEndpoint
from accounts.webhooks import IssuedEndpoint
from tests import factories
from tests import webhooks as hooks
from tests.factories import Cast

PAGE = "/dashboard/webhooks/"
SECRET = re.compile(r"whsec_[0-9A-Za-z+/=]{40,}")
FORM = {"url": hooks.URL, "events": ["credits.low", "key.created"], "description": "Alerts"}


def client_of(user: User, *, is_htmx: bool = False) -> Client:
    client = Client(headers={"HX-Request": "true"}) if is_htmx else Client()
    client.force_login(user)
    return client


def member(acme: Cast, role: str) -> User:
    user = people.create(
        email=f"{ids.uuid7().hex}@acme.example", password=factories.PASSWORD, name="M", now=timezone.now()
    )
    companies.add_member(company_id=acme.company_id, user_id=user.id, role=role, now=timezone.now())
    return user


def issued(acme: Cast, **given: Any) -> IssuedEndpoint:
    return hooks.issued(acme, now=timezone.now(), **given)


def told(acme: Cast, endpoint: WebhookEndpoint, **given: Any) -> WebhookDelivery:
    """A delivery to the endpoint, as the log would have it after what is given."""
    hooks.tell(acme, now=timezone.now())
    found = hooks.of(endpoint)[-1]
    WebhookDelivery.objects.filter(id=found.id).update(**given)
    return found


def text_of(answer: Any) -> str:
    return html.unescape(answer.content.decode())


def test_first_webhook_is_asked_for() -> None:
    page = text_of(client_of(factories.acme().owner).get(PAGE))

    assert "No webhook yet." in page
    assert f'href="{PAGE}new/"' in page


def test_secret_is_in_one_answer_and_nowhere_else() -> None:
    acme = factories.acme()
    client = client_of(acme.owner)

    answer = client.post(f"{PAGE}new/", FORM)

    endpoint = WebhookEndpoint.objects.get(company=acme.company)
    assert len(set(SECRET.findall(text_of(answer)))) == 1
    assert "no-store" in answer["Cache-Control"]
    assert (endpoint.url, endpoint.events, endpoint.description) == (
        hooks.URL, ["credits.low", "key.created"], "Alerts",
    )  # fmt: skip
    pages = text_of(client.get(PAGE)) + text_of(client.get(f"{PAGE}{endpoint.id}/"))
    assert hooks.URL in pages
    assert not SECRET.search(pages)


def test_form_sent_a_second_time_makes_no_second_endpoint() -> None:
    acme = factories.acme()
    client, form = client_of(acme.owner), FORM | {"submission": ids.uuid7().hex}
    client.post(f"{PAGE}new/", form)

    again = text_of(client.post(f"{PAGE}new/", form, follow=True))

    assert "sent already" in again
    assert not SECRET.search(again)
    assert WebhookEndpoint.objects.filter(company=acme.company).count() == 1


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"url": ""}, "Enter an https:// address."),
        ({"url": "http://93.184.215.14/"}, "https"),
        ({"url": "https://127.0.0.1/"}, 'id="id_url_error"'),
        ({"url": "https://localhost/"}, 'id="id_url_error"'),
        ({"url": "javascript:alert(1)"}, 'id="id_url_error"'),
        ({"events": []}, "Choose one event at least."),
        ({"events": ["webhook.test"]}, "not one of the available choices"),
        ({"description": "x" * 201}, "at most 200 characters"),
    ],
)
def test_what_is_wrong_stands_at_its_field(given: dict[str, Any], says: str) -> None:
    acme = factories.acme()

    answer = client_of(acme.owner).post(f"{PAGE}new/", FORM | given)

    assert answer.status_code == 400
    assert says in text_of(answer)
    assert not WebhookEndpoint.objects.filter(company=acme.company).exists()


def test_url_that_is_taken_is_said_at_its_field() -> None:
    acme = factories.acme()
    issued(acme)

    answer = client_of(acme.owner).post(f"{PAGE}new/", FORM)

    assert answer.status_code == 400
    assert re.search(r'id="id_url_error">Another webhook of this company has this URL', text_of(answer))


def test_endpoint_is_changed() -> None:
    acme = factories.acme()
    endpoint = issued(acme).endpoint
    form = FORM | {"url": f"{hooks.URL}/new", "events": ["key.revoked"], "description": ""}

    answer = client_of(acme.owner).post(f"{PAGE}{endpoint.id}/edit/", form, follow=True)

    endpoint.refresh_from_db()
    assert (endpoint.url, endpoint.events) == (f"{hooks.URL}/new", ["key.revoked"])
    assert "The webhook is saved." in text_of(answer)


@pytest.mark.parametrize("is_htmx", [False, True])
def test_endpoint_is_disabled_and_enabled(is_htmx: bool) -> None:
    acme = factories.acme()
    endpoint = issued(acme).endpoint
    client = client_of(acme.owner, is_htmx=is_htmx)
    path = f"{PAGE}{endpoint.id}/enable/"

    assert client.post(path, {"enabled": "false"}).status_code == (204 if is_htmx else 302)
    endpoint.refresh_from_db()
    assert endpoint.disabled_reason == "by_hand"
    page = text_of(client_of(acme.owner).get(f"{PAGE}{endpoint.id}/"))
    assert "Somebody of your company disabled it." in page
    assert "Send a test" not in page
    client.post(path, {"enabled": "true"})
    endpoint.refresh_from_db()
    assert endpoint.disabled_at is None


@pytest.mark.parametrize(
    ("reason", "says"),
    [("failing", "Nothing could be delivered to it for five days"), ("gone", "It answered 410")],
)
def test_page_says_why_we_disabled_it(reason: str, says: str) -> None:
    acme = factories.acme()
    endpoint = issued(acme).endpoint
    WebhookEndpoint.objects.filter(id=endpoint.id).update(
        disabled_at=timezone.now(), disabled_reason=reason, mailed_at=timezone.now()
    )
    client = client_of(acme.owner)

    assert says in text_of(client.get(f"{PAGE}{endpoint.id}/"))
    assert 'is-disabled">disabled<' in client.get(PAGE).content.decode()


def test_rotation_shows_the_new_secret() -> None:
    acme = factories.acme()
    first = issued(acme)
    client = client_of(acme.owner)

    assert "For 24 hours" in text_of(client.get(f"{PAGE}{first.endpoint.id}/rotate/"))
    (secret,) = set(SECRET.findall(text_of(client.post(f"{PAGE}{first.endpoint.id}/rotate/"))))

    assert secret != first.secret
    assert first.endpoint.secrets.count() == 2
    assert first.endpoint.secrets.filter(expires_at__gt=timezone.now()).count() == 1


def test_test_event_is_sent_once_at_a_time() -> None:
    acme = factories.acme()
    endpoint = issued(acme).endpoint
    client = client_of(acme.owner)

    first = client.post(f"{PAGE}{endpoint.id}/test/", follow=True)
    second = client_of(acme.owner, is_htmx=True).post(f"{PAGE}{endpoint.id}/test/")

    assert "A test event is on its way" in text_of(first)
    assert re.search(r'webhook\.test.*?is-pending">pending<', text_of(first), re.DOTALL)
    assert (second.status_code, second["HX-Reswap"]) == (409, "none")
    assert "still on its way" in text_of(second)
    hooks.clear()


def test_log_reads_itself_again_while_something_is_due() -> None:
    acme = factories.acme()
    endpoint = issued(acme).endpoint
    sent = told(acme, endpoint)
    moving = client_of(acme.owner).get(f"{PAGE}{endpoint.id}/").content.decode()
    part = client_of(acme.owner, is_htmx=True).get(f"{PAGE}{endpoint.id}/").content.decode()
    WebhookDelivery.objects.filter(id=sent.id).update(next_at=timezone.now() + timedelta(hours=2))
    later = client_of(acme.owner, is_htmx=True).get(f"{PAGE}{endpoint.id}/").content.decode()

    assert 'hx-trigger="every 3s"' in moving
    assert part.startswith('<div id="log" hx-get')
    assert "hx-trigger" not in later
    hooks.clear()


def test_log_tells_what_came_of_each_delivery() -> None:
    acme = factories.acme()
    endpoint = issued(acme).endpoint
    now = timezone.now()
    ended: dict[str, Any] = {"next_at": None, "attempted_at": now, "attempts": 3, "duration_ms": 12}
    told(acme, endpoint, state="delivered", status_code=204, delivered_at=now, **ended)
    told(acme, endpoint, state="failed", error="It did not answer in time.", **ended)
    told(acme, endpoint, attempted_at=now, attempts=1, status_code=500, next_at=now + timedelta(hours=1))
    client = client_of(acme.owner)

    page = text_of(client.get(f"{PAGE}{endpoint.id}/"))
    for words in (
        "is-delivered",
        "HTTP 204",
        "12 ms",
        "is-failed",
        "It did not answer in time.",
        "is-retrying",
    ):
        assert words in page
    failed = text_of(client.get(f"{PAGE}{endpoint.id}/?state=failed"))
    assert "is-failed" in failed
    assert "is-delivered" not in failed
    assert client.get(f"{PAGE}{endpoint.id}/?state=nonsense").status_code == 200
    assert client.get(f"{PAGE}{endpoint.id}/?cursor=nonsense").status_code == 400
    hooks.clear()


def test_delivery_shows_payload_and_answer_and_is_replayed() -> None:
    acme = factories.acme()
    endpoint = issued(acme).endpoint
    sent = told(
        acme,
        endpoint,
        state="failed",
        next_at=None,
        answer="<script>no</script>",
        status_code=500,
        duration_ms=7,
    )
    path = f"{PAGE}{endpoint.id}/deliveries/{sent.id}/"
    client = client_of(acme.owner)

    page, drawer = client.get(path), client_of(acme.owner, is_htmx=True).get(path)
    for shown in (page, drawer):
        assert '"name": "told by a test"' in text_of(shown)
        assert "<script>no" not in shown.content.decode()
        assert deliveries.message_id(sent.event_id) in text_of(shown)
    assert "<h1>" not in drawer.content.decode()
    again = client.post(path, follow=True)

    assert "key.created is on its way once more." in text_of(again)
    assert "replayed" in text_of(again)
    entry = AuditEntry.objects.get(company_id=acme.company_id, action="webhook_delivery.replayed")
    assert entry.actor_label == acme.owner.email
    assert client.post(path).status_code == 409
    hooks.clear()


def test_deletion_takes_the_log_along() -> None:
    acme = factories.acme()
    endpoint = issued(acme).endpoint
    client = client_of(acme.owner)

    assert "log of deliveries are deleted" in text_of(client.get(f"{PAGE}{endpoint.id}/delete/"))
    assert client.post(f"{PAGE}{endpoint.id}/delete/")["Location"] == PAGE
    assert client.get(f"{PAGE}{endpoint.id}/").status_code == 404


def test_number_of_queries_does_not_grow() -> None:
    acme = factories.acme()
    endpoint = issued(acme).endpoint
    client, paths = client_of(acme.owner), (PAGE, f"{PAGE}{endpoint.id}/")
    told(acme, endpoint)
    counts: list[tuple[int, int]] = []
    for path in paths:
        with CaptureQueriesContext(connection) as few:
            client.get(path)
        issued(acme, url=f"{hooks.URL}/{len(counts)}")
        for _ in range(3):
            told(acme, endpoint)
        with CaptureQueriesContext(connection) as many:
            client.get(path)
        counts.append((len(few), len(many)))

    assert all(few == many <= 12 for few, many in counts), counts
    hooks.clear()


# Who may.

ACTS = ("edit/", "enable/", "rotate/", "test/", "delete/")


def paths(acme: Cast) -> list[str]:
    endpoint = issued(acme).endpoint
    sent = told(acme, endpoint, state="failed", next_at=None)
    return [f"{PAGE}{endpoint.id}/{act}" for act in ("", *ACTS, f"deliveries/{sent.id}/")]


@pytest.mark.parametrize("role", ["member", "viewer"])
def test_below_an_admin_nothing_is_seen_or_changed(role: str) -> None:
    acme = factories.acme()
    client = client_of(member(acme, role))

    for path in [PAGE, f"{PAGE}new/", *paths(acme)]:
        for answer in (client.get(path), client.post(path, FORM)):
            assert answer.status_code in (403, 405), path
    assert client.get(PAGE).status_code == 403
    (endpoint,) = WebhookEndpoint.objects.filter(company=acme.company)
    assert (endpoint.disabled_at, endpoint.secrets.count()) == (None, 1)
    assert "/dashboard/webhooks/" not in client.get("/dashboard/").content.decode()


def test_globexes_webhook_is_not_found() -> None:
    client, globex = client_of(factories.acme().owner), factories.globex()

    for path in [*paths(globex), f"{PAGE}nonsense/", f"{PAGE}{ids.uuid7()}/test/"]:
        assert client.get(path).status_code == 404, path
        if not re.fullmatch(rf"{PAGE}[^/]+/", path):
            assert client.post(path, FORM).status_code == 404, path
    (endpoint,) = WebhookEndpoint.objects.filter(company=globex.company)
    assert (endpoint.disabled_at, endpoint.secrets.count()) == (None, 1)


def test_delivery_of_another_endpoint_is_not_found() -> None:
    acme = factories.acme()
    one = issued(acme).endpoint
    two = webhooks.create(
        company_id=acme.company_id, url=f"{hooks.URL}/2", events=[webhook_events.KINDS[0]], now=timezone.now()
    ).endpoint
    sent = told(acme, one, state="failed", next_at=None)

    assert client_of(acme.owner).get(f"{PAGE}{two.id}/deliveries/{sent.id}/").status_code == 404


def test_names_are_never_markup() -> None:
    acme = factories.acme()
    client = client_of(acme.owner)
    client.post(f"{PAGE}new/", FORM | {"description": "<script>alert(1)</script>"})
    endpoint = WebhookEndpoint.objects.get(company=acme.company)

    for path in (PAGE, f"{PAGE}{endpoint.id}/", f"{PAGE}{endpoint.id}/edit/"):
        page = client.get(path).content.decode()
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert" in page
