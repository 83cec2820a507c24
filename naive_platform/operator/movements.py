"""Credits moved by hand: said, shown before it is done, confirmed; and approved by a second person where it is much."""

from decimal import Context, Decimal, Inexact, localcontext
from typing import Any, cast
from uuid import UUID

from django import forms
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone

from accounts import ids
from accounts.errors import DomainError, InvalidInput
from accounts.models import Company
from billing import approvals, economics, ledger, money, movements
from billing.movements import Movement, Preview
from naive_platform.dashboard import doors as dashboard
from naive_platform.dashboard import submissions
from naive_platform.operator import doors
from naive_platform.operator.company import MOVED
from naive_platform.operator.doors import Desk

WORDS = {
    "credit_topup": "Top-up: paid past the payment provider, as by bank transfer",
    "grant": "Grant: nobody pays for it",
    "refund": "Refund: gives back what a call was charged",
    "correction": "Correction: puts an entry right, in either direction",
}
_EXACT = Context(prec=60, traps=[Inexact])


class MovementForm(forms.Form):
    """What moves, and why. `amount` is in the unit beside it."""

    action = forms.ChoiceField(label="What", choices=list(WORDS.items()))
    amount = forms.DecimalField(
        max_digits=30,
        help_text="Below zero only in a correction.",
        widget=forms.TextInput(attrs={"inputmode": "decimal"}),
    )
    unit = forms.ChoiceField(choices=[("credits", "credits"), ("usd", "USD")], initial="credits")
    corrects = forms.CharField(
        label="For which entry",
        required=False,
        max_length=ledger.REFERENCE_LENGTH_MAX,
        help_text="Its reference, as the timeline and the ledger show it; a call's is gen_ and its id."
        " A refund or correction names it.",
    )
    reference = forms.CharField(
        max_length=ledger.REFERENCE_LENGTH_MAX,
        help_text="What names this movement, such as an invoice. The same reference again moves nothing.",
    )
    reason = forms.CharField(
        max_length=movements.REASON_LENGTH_MAX,
        help_text="The company reads it in its ledger and its audit log.",
    )


class RejectForm(forms.Form):
    reason = forms.CharField(max_length=movements.REASON_LENGTH_MAX)


@doors.page("companies", post=True)
def move(request: HttpRequest, desk: Desk, company_id: UUID) -> HttpResponse:
    company = doors.company(company_id)
    if request.method != "POST":
        chosen = request.GET.get("action", "credit_topup")
        given = {
            "action": chosen,
            "reference": f"op-{ids.uuid7().hex[-12:]}",
            "corrects": request.GET.get("corrects", ""),
        }
        return _form(request, desk, company, MovementForm(initial=given))
    form = MovementForm(request.POST)
    if not form.is_valid() or "edit" in request.POST:
        return _form(request, desk, company, form)
    try:
        wanted = _wanted(desk, company, form.cleaned_data)
        if "confirm" in request.POST:
            return _post(request, desk, company, wanted)
        return _show(request, desk, company, form, movements.preview(**wanted))
    except DomainError as exc:
        submissions.refuse(form, exc)
        return _form(request, desk, company, form)


@doors.page("companies", post=True)
def decide(request: HttpRequest, desk: Desk, request_id: UUID) -> HttpResponse:
    """What somebody else asked for: approved, or rejected for a reason."""
    found = approvals.get(request_id=request_id)
    company = doors.company(found.company_id)
    form = RejectForm(request.POST if "reject" in request.POST else None)
    if request.method == "POST" and "approve" in request.POST:
        approved = approvals.approve(request_id=request_id, actor=desk.actor, now=timezone.now())
        said = f"Posted: {money.json_number(approved.posted.amount_nanocredits)} credits, entry {approved.posted.seq}."
        return dashboard.done(request, said, reverse("operator-company", args=[company.id]))
    if request.method == "POST" and form.is_valid():
        approvals.reject(
            request_id=request_id, actor=desk.actor, reason=form.cleaned_data["reason"], now=timezone.now()
        )
        return dashboard.done(
            request, "Rejected. Nothing was moved.", reverse("operator-company", args=[company.id])
        )
    context = {
        "subject": company,
        "asked": found,
        "what": MOVED[found.action],
        "worth_usd": movements.worth(found.amount_nanocredits),
        "is_own": approvals.is_own(found, actor=desk.actor),
        "form": form,
    }
    return doors.render(
        request, desk, "operator/movement_request.html", context, status=400 if form.errors else 200
    )


def _wanted(desk: Desk, company: Company, said: dict[str, Any]) -> dict[str, Any]:
    """Errors: InvalidInput."""
    return {
        "company_id": company.id,
        "action": cast("Movement", said["action"]),
        "credits": _credits(said["amount"], said["unit"]),
        "actor": desk.actor,
        "reason": said["reason"],
        "reference": said["reference"],
        "corrects": said["corrects"],
    }


def _credits(amount: Decimal, unit: str) -> Decimal:
    """Errors: InvalidInput for an amount of USD that is no whole number of nanocredits."""
    credits = amount
    if unit == "usd":
        try:
            with localcontext(_EXACT):
                credits = amount / economics.credit_value_usd()
        except Inexact as exc:
            raise InvalidInput(
                f"{amount} USD is no exact number of credits.",
                hint="Give the amount in credits.",
                details={"field": "amount"},
            ) from exc
    try:
        money.nanocredits_from_credits(credits)
    except InvalidInput as exc:
        raise InvalidInput(exc.message, hint=exc.hint, details={"field": "amount"}) from exc
    return credits


def _post(request: HttpRequest, desk: Desk, company: Company, wanted: dict[str, Any]) -> HttpResponse:
    url = reverse("operator-company", args=[company.id])
    checked = movements.preview(**wanted)
    if checked.needs_approval and checked.posted is None:
        approvals.ask(**wanted, now=timezone.now())
        return dashboard.done(
            request, "A second person has to approve this now; it is on their page Companies.", url
        )
    if checked.posted is not None:
        return dashboard.done(request, "This reference is posted already: nothing was moved again.", url)
    posted = movements.post(**wanted, now=timezone.now())
    amount = money.json_number(posted.amount_nanocredits)
    said = (
        f"Posted: {amount} credits, entry {posted.seq}."
        if posted.is_new
        else "Posted already: nothing was moved again."
    )
    return dashboard.done(request, said, url)


def _form(request: HttpRequest, desk: Desk, company: Company, form: MovementForm) -> HttpResponse:
    context = {"subject": company, "form": form, "approval_above_usd": movements.approval_above_usd()}
    return doors.render(request, desk, "operator/movement.html", context, status=400 if form.errors else 200)


def _show(
    request: HttpRequest, desk: Desk, company: Company, form: MovementForm, checked: Preview
) -> HttpResponse:
    context = {
        "subject": company,
        "form": form,
        "said": form.cleaned_data,
        "what": MOVED[form.cleaned_data["action"]],
        "checked": checked,
    }
    return doors.render(request, desk, "operator/movement_preview.html", context)
