"""Forms of pages: what a domain function refuses stands at its field, and what makes a secret is done once."""

from collections.abc import Callable
from hashlib import sha256
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone

from accounts import idempotency, ids
from accounts.errors import DomainError, IdempotencyInProgress
from accounts.idempotency import Answer
from naive_platform.dashboard.doors import Place

ONCE = "submission"


class OnceForm(forms.Form):
    """A form whose page, loaded again after it was sent, does nothing a second time (`once`)."""

    submission = forms.CharField(widget=forms.HiddenInput, required=False, max_length=64)

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.fields[ONCE].initial = ids.uuid7().hex


def once[Made](
    request: HttpRequest, place: Place, work: Callable[[], Made], *, is_beyond: bool = False
) -> Made | None:
    """What `work` made; None where this very form was sent before, whose secret nobody sees again.

    Shape: by the form's own number and all that it says; `is_beyond` for work that asks somebody beyond the database.
    Errors: those of `work`.
    """
    made: list[Made] = []

    def run() -> Answer:
        made.append(work())
        # Nothing of it is kept: a secret is shown in one answer.
        return Answer(status=200, body=b"{}")

    number = request.POST.get(ONCE) or ids.uuid7().hex
    said = sha256(request.POST.urlencode().encode()).hexdigest()
    key = f"page:{sha256(number.encode()).hexdigest()}:{said}"
    fingerprint = idempotency.fingerprint(
        caller=place.caller.actor, method="POST", path=request.path, body=said.encode()
    )
    do = idempotency.once_beyond if is_beyond else idempotency.once
    try:
        do(company_id=place.company_id, key=key, fingerprint=fingerprint, now=timezone.now(), work=run)
    except IdempotencyInProgress:
        return None
    return made[0] if made else None


def sent_before(request: HttpRequest, url: str) -> HttpResponse:
    """Where a form leads that is sent a second time."""
    messages.warning(
        request, "This form was sent already, and nothing was done again. A secret is shown only once."
    )
    return redirect(url)


def refuse(form: forms.Form, exc: DomainError) -> None:
    """Say why at the field that it is about, or above the form."""
    field = str(exc.details.get("field", "")).partition("[")[0]
    message = exc.message.removeprefix(f"{exc.details.get('field', '')}: ")
    text = f"{message[:1].upper()}{message[1:]}{f' {exc.hint}' if exc.hint else ''}"
    form.add_error(field if field in form.fields else None, text)


def id_of(text: str, otherwise: DomainError) -> UUID:
    """The id that a URL's part spells. Errors: `otherwise`."""
    found = ids.parse(text)
    if found is None:
        raise otherwise
    return found
