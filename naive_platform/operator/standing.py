"""What an operator sets for a company besides its credits: whether it may call, its credit line, its markup."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django import forms
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone

from accounts import audit, companies
from accounts.errors import DomainError, InvalidInput
from accounts.models import MARKUP_MAX, Company, CompanyStatus
from billing import ledger, money
from billing.ledger import Balance
from naive_platform.dashboard import doors as dashboard
from naive_platform.dashboard import submissions
from naive_platform.operator import doors
from naive_platform.operator.company import wallet
from naive_platform.operator.doors import Desk

REASON_LENGTH_MAX = 500


class ReasonForm(forms.Form):
    """Why; every form here has it."""

    reason = forms.CharField(max_length=REASON_LENGTH_MAX)

    field_order = ["amount", "markup", "slug", "reason"]


class CreditLineForm(ReasonForm):
    amount = forms.DecimalField(
        label="Credits",
        min_value=0,
        max_digits=30,
        help_text="Calls may take the balance this far below zero; 0 is none.",
    )


class MarkupForm(ReasonForm):
    markup = forms.DecimalField(
        required=False,
        max_value=MARKUP_MAX,
        help_text="Multiplies what upstream charges, for calls from now on. Empty is the platform's own.",
    )


class CloseForm(ReasonForm):
    slug = forms.CharField(
        label="Its slug, to be sure", help_text="Closing is for good: its keys are revoked."
    )


@dataclass(frozen=True, slots=True)
class Switch:
    """One thing to set: the form it takes, the words on its button, what it does, what is said then."""

    name: str
    title: str
    text: str
    form: type[ReasonForm]
    do: Callable[[Company, dict[str, Any]], object]
    said: str
    is_dangerous: bool = False


def _close(company: Company, said: dict[str, Any]) -> object:
    if said["slug"] != company.slug:
        raise InvalidInput(
            f"slug: this company's is {company.slug}.", hint="Type it as it is.", details={"field": "slug"}
        )
    return companies.close(company_id=company.id, now=timezone.now())


SWITCHES: tuple[Switch, ...] = (
    Switch(
        "freeze", "Freeze the wallet", "New calls are refused; what is under way settles as ever.", ReasonForm,
        lambda company, _: ledger.freeze(company_id=company.id), "Frozen: new calls are refused.", is_dangerous=True,
    ),
    Switch(
        "unfreeze", "Unfreeze the wallet", "Calls are taken again.", ReasonForm,
        lambda company, _: ledger.unfreeze(company_id=company.id), "Calls are taken again.",
    ),
    Switch(
        "credit_line", "Set the credit line", "How far below zero the balance may go.", CreditLineForm,
        lambda company, said: ledger.set_credit_line(
            company_id=company.id, nanocredits=money.nanocredits_from_credits(said["amount"])
        ),
        "The credit line is set.",
    ),
    Switch(
        "markup", "Set the markup", "What upstream charges, times this, is what calls cost.", MarkupForm,
        lambda company, said: companies.set_markup(company_id=company.id, markup=said["markup"]),
        "The markup is set; calls begun before keep theirs.",
    ),
    Switch(
        "suspend", "Suspend", "Its calls are refused and nothing of it can be changed.", ReasonForm,
        lambda company, _: companies.suspend(company_id=company.id), "Suspended.", is_dangerous=True,
    ),
    Switch(
        "reactivate", "Reactivate", "Everything is as before the suspension.", ReasonForm,
        lambda company, _: companies.reactivate(company_id=company.id), "Active again.",
    ),
    Switch("close", "Close for good", "Its keys are revoked, its records stay.", CloseForm, _close, "Closed.",
           is_dangerous=True),
)  # fmt: skip


@doors.page("companies", post=True)
def standing(request: HttpRequest, desk: Desk, company_id: UUID) -> HttpResponse:
    company, asked = doors.company(company_id), request.POST.get("what", "")
    chosen = next((switch for switch in SWITCHES if switch.name == asked), None)
    if request.method != "POST":
        return _page(request, desk, company, {})
    if chosen is None:
        raise InvalidInput("what: must be one of the buttons of this page.", hint="Open the page again.")
    form = chosen.form(request.POST, auto_id=f"{chosen.name}-%s")
    if not form.is_valid():
        return _page(request, desk, company, {chosen.name: form})
    try:
        with audit.because(form.cleaned_data["reason"]):
            chosen.do(company, form.cleaned_data)
    except DomainError as exc:
        submissions.refuse(form, exc)
        return _page(request, desk, company, {chosen.name: form})
    return dashboard.done(request, chosen.said, reverse("operator-company", args=[company.id]))


def _page(request: HttpRequest, desk: Desk, company: Company, sent: dict[str, ReasonForm]) -> HttpResponse:
    found = wallet(company.id)
    initial = {"markup": company.markup, "amount": _line(found)}
    shown = [
        (switch, sent.get(switch.name) or switch.form(initial=initial, auto_id=f"{switch.name}-%s"))
        for switch in SWITCHES
        if switch.name in sent or _fits(switch.name, company, found)
    ]
    context = {"subject": company, "wallet": found, "switches": shown, "markup": settings.MARKUP}
    return doors.render(request, desk, "operator/standing.html", context, status=400 if sent else 200)


def _fits(name: str, company: Company, found: Balance | None) -> bool:
    """Whether there is anything to switch: a frozen wallet is not frozen again."""
    if name in ("freeze", "unfreeze", "credit_line"):
        return found is not None and (name == "credit_line" or (name == "unfreeze") == found.is_frozen)
    if company.status == CompanyStatus.CLOSED:
        return False
    if name in ("suspend", "reactivate"):
        return (name == "reactivate") == (company.status == CompanyStatus.SUSPENDED)
    return True


def _line(found: Balance | None) -> str | None:
    return None if found is None else money.json_number(-found.floor_nanocredits)
