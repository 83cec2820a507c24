"""Webhooks: endpoints, their secrets shown once, and what became of each delivery."""

import json
from datetime import datetime
from typing import Any
from uuid import UUID

from django import forms
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone

from accounts import deliveries, webhook_events, webhooks
from accounts.errors import DomainError, NotFound
from accounts.webhook_models import (
    DESCRIPTION_LENGTH_MAX,
    URL_LENGTH_MAX,
    WebhookDelivery,
    WebhookEndpoint,
)
from accounts.webhooks import IssuedEndpoint
from naive_platform.dashboard import doors, submissions, tables
from naive_platform.dashboard.doors import Place
from naive_platform.dashboard.submissions import OnceForm
from naive_platform.dashboard.tables import Cell, Column, Empty, Row, Table

EVENTS = {
    "credits.low": "credits are running low",
    "credits.exhausted": "credits are used up",
    "credits.topped_up": "credits were added",
    "key.created": "an API key was made",
    "key.revoked": "an API key was revoked",
    "generation.corrected": "the charge of a call was corrected",
}
DISABLED = {
    WebhookEndpoint.Disabled.BY_HAND: "Somebody of your company disabled it.",
    WebhookEndpoint.Disabled.FAILING: "Nothing could be delivered to it for five days, so we stopped.",
    WebhookEndpoint.Disabled.GONE: "It answered 410: it wants no more events.",
}
STATES = {"": "All", **{state.value: state.value.capitalize() for state in WebhookDelivery.State}}
COLUMNS = (
    Column(title="Endpoint", is_title=True),
    Column(title="State", kind="state"),
    Column(title="Listens to"),
    Column(title="Description", is_hidden_narrow=True),
    Column(title="Created", kind="day"),
)
LOG_COLUMNS = (
    Column(title="Event", is_title=True),
    Column(title="State", kind="state"),
    Column(title="Answer"),
    Column(title="Attempts", kind="count"),
    Column(title="Told", kind="time"),
    Column(title="Next try", kind="time"),
)


class EndpointForm(forms.Form):
    """What an endpoint is; the rest is checked by accounts/webhooks.py."""

    url = forms.CharField(
        label="URL",
        max_length=URL_LENGTH_MAX,
        widget=forms.URLInput(attrs={"placeholder": "https://", "autocomplete": "off", "class": "code"}),
        help_text="An https:// address that the public internet reaches.",
        error_messages={"required": "Enter an https:// address."},
    )
    events = forms.MultipleChoiceField(
        label="Tell it when",
        choices=[(kind, f"{EVENTS[kind]} ({kind})") for kind in webhook_events.KINDS],
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": "Choose one event at least."},
    )
    description = forms.CharField(required=False, max_length=DESCRIPTION_LENGTH_MAX)


class NewForm(EndpointForm, OnceForm):
    """A new endpoint."""


class RotateForm(OnceForm):
    """Nothing but that it is sent once."""


@doors.page("webhooks")
def listed(request: HttpRequest, place: Place) -> HttpResponse:
    found = webhooks.page(company_id=place.company_id, limit=tables.LIMIT)
    may_create = place.may("webhooks", "post")
    table = Table(
        name="webhooks",
        caption="Webhooks",
        columns=COLUMNS,
        rows=[_row(_as_seen(place, endpoint)) for endpoint in found.endpoints],
        empty=Empty(
            "No webhook yet. A webhook tells an address of yours when credits run low, keys change or a charge is"
            " corrected.",
            "Add a webhook" if may_create else "",
            reverse("dashboard-webhooks-new") if may_create else "",
        ),
    )
    return doors.render(request, place, "dashboard/webhooks.html", {"table": table, "may_create": may_create})


@doors.page("webhooks", post="post")
def create(request: HttpRequest, place: Place) -> HttpResponse:
    place.require("webhooks", "post")
    form = NewForm(request.POST or None, initial={"events": list(webhook_events.KINDS)})
    if request.method == "POST" and form.is_valid():
        given = {name: form.cleaned_data[name] for name in EndpointForm.base_fields}
        try:
            issued = submissions.once(
                request,
                place,
                lambda: webhooks.create(company_id=place.company_id, **given, now=timezone.now()),
                is_beyond=True,
            )
            return _issued(request, place, issued, reverse("dashboard-webhooks"))
        except DomainError as exc:
            submissions.refuse(form, exc)
    return doors.render(request, place, "dashboard/webhooks_new.html", {"form": form}, status=_status(form))


@doors.page("webhooks", route="webhook-deliveries")
def webhook(request: HttpRequest, place: Place, webhook_id: str) -> HttpResponse:
    endpoint = get(place, webhook_id)
    chosen = request.GET.get("state", "")
    chosen = chosen if chosen in STATES else ""
    found = deliveries.page(
        company_id=place.company_id,
        webhook_id=endpoint.id,
        limit=tables.LIMIT,
        before_id=tables.read_id_cursor(request.GET),
        state=chosen or None,
    )
    now, is_first = timezone.now(), "cursor" not in request.GET
    context = {
        "endpoint": endpoint,
        "state": state_of(endpoint),
        "why_disabled": DISABLED[WebhookEndpoint.Disabled(endpoint.disabled_reason)]
        if endpoint.disabled_at
        else "",
        "table": _log(endpoint, found.deliveries, found.before_id, is_first=is_first),
        "states": [(name, title, name == chosen) for name, title in STATES.items()],
        "may_change": place.may("webhook", "patch"),
        # While something is on its way the log reads itself again.
        "is_moving": is_first and any(_is_soon(one, now) for one in found.deliveries),
    }
    name = "_webhooks_log" if doors.is_htmx(request) else "webhooks_webhook"
    return doors.render(request, place, f"dashboard/{name}.html", context)


@doors.page("webhooks", route="webhook", post="patch")
def edit(request: HttpRequest, place: Place, webhook_id: str) -> HttpResponse:
    place.require("webhook", "patch")
    endpoint = get(place, webhook_id)
    initial = {name: getattr(endpoint, name) for name in EndpointForm.base_fields}
    form = EndpointForm(request.POST or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        changes = {name: form.cleaned_data[name] for name in form.changed_data}
        try:
            _update(place, endpoint, **changes)
            return doors.done(request, "The webhook is saved.", url_of(endpoint))
        except DomainError as exc:
            submissions.refuse(form, exc)
    context = {"form": form, "endpoint": endpoint}
    return doors.render(request, place, "dashboard/webhooks_edit.html", context, status=_status(form))


@doors.page("webhooks", route="webhook", post="patch")
def enable(request: HttpRequest, place: Place, webhook_id: str) -> HttpResponse:
    """POST enabled=true|false."""
    endpoint = get(place, webhook_id)
    if request.method == "POST":
        is_wanted = request.POST.get("enabled") == "true"
        _update(place, endpoint, enabled=is_wanted)
        said = "It hears of events again." if is_wanted else "It hears of nothing until it is enabled."
        return doors.done(request, said, url_of(endpoint))
    return _back(endpoint)


@doors.page("webhooks", route="webhook", post="post", post_route="webhook-rotate-secret")
def rotate(request: HttpRequest, place: Place, webhook_id: str) -> HttpResponse:
    place.require("webhook-rotate-secret", "post")
    endpoint = get(place, webhook_id)
    if request.method == "POST":
        issued = submissions.once(
            request,
            place,
            lambda: webhooks.rotate_secret(
                company_id=place.company_id, webhook_id=endpoint.id, now=timezone.now()
            ),
        )
        return _issued(request, place, issued, url_of(endpoint), is_rotated=True)
    context = {"form": RotateForm(), "endpoint": endpoint}
    return doors.render(request, place, "dashboard/webhooks_rotate.html", context)


@doors.page("webhooks", route="webhook", post="post", post_route="webhook-test")
def send_test(request: HttpRequest, place: Place, webhook_id: str) -> HttpResponse:
    endpoint = get(place, webhook_id)
    if request.method == "POST":
        webhooks.test(company_id=place.company_id, webhook_id=endpoint.id, now=timezone.now())
        return doors.done(request, "A test event is on its way; its delivery is below.", url_of(endpoint))
    return _back(endpoint)


@doors.page("webhooks", route="webhook", post="delete")
def delete(request: HttpRequest, place: Place, webhook_id: str) -> HttpResponse:
    place.require("webhook", "delete")
    endpoint = get(place, webhook_id)
    if request.method == "POST":
        webhooks.delete(company_id=place.company_id, webhook_id=endpoint.id, now=timezone.now())
        return doors.done(request, "The webhook and its log are deleted.", reverse("dashboard-webhooks"))
    return doors.render(request, place, "dashboard/webhooks_delete.html", {"endpoint": endpoint})


@doors.page("webhooks", route="webhook-deliveries", post="post", post_route="webhook-replay")
def delivery(request: HttpRequest, place: Place, webhook_id: str, delivery_id: str) -> HttpResponse:
    """One delivery, whole; POST sends its event once more."""
    endpoint = get(place, webhook_id)
    found = _delivery(endpoint, delivery_id)
    if request.method == "POST":
        deliveries.replay(
            company_id=place.company_id, webhook_id=endpoint.id, delivery_id=found.id, now=timezone.now()
        )
        return doors.done(request, f"{found.event.kind} is on its way once more.", url_of(endpoint))
    context = {
        "endpoint": endpoint,
        "delivery": found,
        "state": delivery_state(found),
        "message_id": deliveries.message_id(found.event_id),
        "payload": json.dumps(json.loads(found.event.body), indent=2, ensure_ascii=False),
        "may_replay": endpoint.disabled_at is None
        and found.next_at is None
        and place.may("webhook-replay", "post"),
    }
    name = "_webhooks_delivery" if doors.is_htmx(request) else "webhooks_delivery"
    return doors.render(request, place, f"dashboard/{name}.html", context)


def get(place: Place, webhook_id: str) -> WebhookEndpoint:
    """Errors: NotFound."""
    absent = NotFound("This webhook was not found.", hint="Somebody may have deleted it.")
    found = webhooks.get(company_id=place.company_id, webhook_id=submissions.id_of(webhook_id, absent))
    return _as_seen(place, found)


def state_of(endpoint: WebhookEndpoint) -> str:
    if endpoint.disabled_at is not None:
        return "disabled"
    return "failing" if endpoint.failing_since is not None else "enabled"


def delivery_state(one: WebhookDelivery) -> str:
    """Its state, and whether it has failed once already."""
    return "retrying" if one.state == WebhookDelivery.State.PENDING and one.attempted_at else one.state


def url_of(endpoint: WebhookEndpoint) -> str:
    return reverse("dashboard-webhooks-webhook", args=[endpoint.id])


def _as_seen(place: Place, endpoint: WebhookEndpoint) -> WebhookEndpoint:
    """What follows the question mark of its address is often a password: not for an operator who looks on."""
    if place.viewing is not None:
        endpoint.url = webhooks.told(endpoint)["url"]
    return endpoint


def _row(endpoint: WebhookEndpoint) -> Row:
    has_all = len(endpoint.events) == len(webhook_events.KINDS)
    return Row(
        (
            Cell(endpoint.url),
            Cell(state_of(endpoint)),
            Cell("everything" if has_all else ", ".join(endpoint.events)),
            Cell(endpoint.description),
            Cell(endpoint.created_at),
        ),
        href=url_of(endpoint),
        id=str(endpoint.id),
    )


def _log(
    endpoint: WebhookEndpoint,
    found: list[WebhookDelivery],
    before_id: UUID | None,
    *,
    is_first: bool,
) -> Table:
    return Table(
        name="deliveries",
        caption="Deliveries",
        columns=LOG_COLUMNS,
        rows=[_log_row(endpoint, one) for one in found],
        empty=Empty("Nothing here. What is sent is kept for 30 days; send a test to see one."),
        next_cursor=tables.cursor(before_id) if before_id else None,
        is_first=is_first,
    )


def _log_row(endpoint: WebhookEndpoint, one: WebhookDelivery) -> Row:
    url = reverse("dashboard-webhooks-delivery", args=[endpoint.id, one.id])
    answer = f"HTTP {one.status_code}" if one.status_code else one.error
    return Row(
        (
            Cell(one.event.kind, note="replayed" if one.replay_of else ""),
            Cell(delivery_state(one)),
            Cell(answer, note=f"{one.duration_ms} ms" if one.duration_ms is not None else ""),
            Cell(one.attempts),
            Cell(one.created_at),
            Cell(one.next_at),
        ),
        href=url,
        drawer=url,
        id=str(one.id),
    )


def _is_soon(one: WebhookDelivery, now: datetime) -> bool:
    return one.next_at is not None and one.next_at <= now + deliveries.CLAIM


def _delivery(endpoint: WebhookEndpoint, delivery_id: str) -> WebhookDelivery:
    absent = NotFound("This delivery was not found.", hint="Deliveries are kept for 30 days.")
    return deliveries.get(
        company_id=endpoint.company_id,
        webhook_id=endpoint.id,
        delivery_id=submissions.id_of(delivery_id, absent),
    )


def _update(place: Place, endpoint: WebhookEndpoint, **changes: Any) -> None:
    webhooks.update(company_id=place.company_id, webhook_id=endpoint.id, changes=changes, now=timezone.now())


def _issued(
    request: HttpRequest, place: Place, issued: IssuedEndpoint | None, url: str, *, is_rotated: bool = False
) -> HttpResponse:
    """The one answer that has the secret."""
    if issued is None:
        return submissions.sent_before(request, url)
    context = {"endpoint": issued.endpoint, "secret": issued.secret, "is_rotated": is_rotated}
    return doors.render(request, place, "dashboard/webhooks_issued.html", context)


def _status(form: forms.Form) -> int:
    return 400 if form.is_bound and form.errors else 200


def _back(endpoint: WebhookEndpoint) -> HttpResponse:
    """What has no page of its own leads to the endpoint's."""
    return HttpResponse(status=303, headers={"Location": url_of(endpoint)})
