"""One anomaly: what was found, and a person's decision about it, shown before it is made and made once."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import orjson
from django import forms
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from accounts.errors import DomainError
from billing import anomalies, company_figures, ledger, money
from billing.anomalies import Anomaly
from naive_platform.dashboard import doors as dashboard
from naive_platform.dashboard import submissions
from naive_platform.operator import doors
from naive_platform.operator.doors import Desk


class DecisionForm(forms.Form):
    """The two words that the books know, and why."""

    decision = forms.ChoiceField(
        choices=[
            ("charge", "Charge: the cost below is the call's"),
            ("void", "Void: the evidence is not believed"),
        ],
        widget=forms.RadioSelect,
    )
    cost_usd = forms.DecimalField(
        label="The call's whole cost, USD",
        required=False,
        min_value=0,
        max_value=money.COST_USD_MAX,
        help_text="To charge another cost than the evidence names. Leave it empty to void.",
    )
    reason = forms.CharField(max_length=ledger.NOTE_LENGTH_MAX)


@dataclass(frozen=True, slots=True)
class Effect:
    """What a decision would do. Units: nanocredits; None where nothing is charged anew."""

    text: str
    charged_nanocredits: int | None = None
    charged_before_nanocredits: int | None = None


@doors.page("reconciliation", post=True)
def anomaly(request: HttpRequest, desk: Desk) -> HttpResponse:
    asked = request.POST if request.method == "POST" else request.GET
    found = anomalies.get(kind=asked.get("kind", ""), reference=asked.get("reference", ""))
    form = DecisionForm(request.POST if request.method == "POST" else None)
    if not form.is_valid() or "edit" in request.POST:
        return _page(request, desk, found, form)
    said = form.cleaned_data
    try:
        if "confirm" in request.POST:
            return _decide(request, desk, found, said)
        return _page(request, desk, found, form, effect=effect(found, said["decision"], said["cost_usd"]))
    except DomainError as exc:
        submissions.refuse(form, exc)
        return _page(request, desk, found, form)


def effect(found: Anomaly, decision: str, cost_usd: Decimal | None) -> Effect:
    """What a decision would do, by the rules of anomalies.decide. Errors: those that it would raise."""
    cost = anomalies.cost_to_charge(found, decision, cost_usd)
    if cost is not None:
        charged = anomalies.charge(found, cost)
        standing = anomalies.standing_nanocredits(found)
        text = f"The call costs {cost:f} USD from now on, on an operator's word."
        return Effect(text, charged_nanocredits=charged, charged_before_nanocredits=standing)
    if found.kind == anomalies.DAY_MISMATCH:
        return Effect("The day's difference is accepted as the operator's loss, and the day is closed.")
    if found.state == "parked":
        return Effect("The call is given back in full: its company pays nothing for it.")
    return Effect("The evidence is put aside; the call stays as it is.")


def _decide(request: HttpRequest, desk: Desk, found: Anomaly, said: dict[str, Any]) -> HttpResponse:
    decided = anomalies.decide(
        kind=found.kind,
        reference=found.reference,
        decision=said["decision"],
        cost_usd=said["cost_usd"],
        actor=desk.actor,
        reason=said["reason"],
    )
    cost = ""
    if decided.charged_nanocredits is not None:
        cost = f" The call costs {money.json_number(decided.charged_nanocredits)} credits."
    text = f"Decided: {decided.decision}.{cost}" if decided.is_new else "That was decided before."
    return dashboard.done(request, text, reverse("operator-anomalies"))


def _page(
    request: HttpRequest, desk: Desk, found: Anomaly, form: DecisionForm, *, effect: Effect | None = None
) -> HttpResponse:
    context = {
        "found": found,
        "evidence": orjson.dumps(found.details, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode(),
        "title": found.kind.replace("_", " ").capitalize(),
        "name": company_figures.names([found.company_id]).get(found.company_id) if found.company_id else "",
        "form": form,
        "said": form.cleaned_data if effect else None,
        "effect": effect,
    }
    return doors.render(request, desk, "operator/anomaly.html", context, status=400 if form.errors else 200)
