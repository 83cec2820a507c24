"""Billing: what a company has, the packs it can buy and what became of them, and its ledger, entry by entry."""

from dataclasses import dataclass
from decimal import Decimal

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone

from accounts import ids
from accounts.errors import NotConfigured, NotFound
from billing import entries, ledger, money, packs, topups
from billing.entries import Page, Stretch
from billing.errors import WalletNotFound
from billing.ledger import Balance
from billing.models import Entry
from billing.payment_models import Checkout
from billing.payments import configured
from naive_platform.api import billing as api
from naive_platform.dashboard import doors, ledger_filters, ranges, tables
from naive_platform.dashboard.doors import Place
from naive_platform.dashboard.ledger_filters import ACTIONS
from naive_platform.dashboard.ranges import Range
from naive_platform.dashboard.tables import Cell, Column, Empty, Row, Table

CHECKOUTS_SHOWN = 10
_COLUMNS = (
    Column(title="Time", kind="time"),
    Column(title="What", is_title=True),
    Column(title="Reference", is_hidden_narrow=True),
    Column(title="Amount", kind="credits"),
    Column(title="Balance after", kind="credits"),
)
_CHECKOUT_COLUMNS = (
    Column(title="Opened", kind="time"),
    Column(title="Pack", is_title=True),
    Column(title="State", kind="state"),
    Column(title="Credits", kind="credits"),
    Column(title="Price", kind="usd"),
)


@dataclass(frozen=True, slots=True)
class Returned:
    """What became of the checkout that somebody comes back from. `kind` is a notice's: good, bad, or neither."""

    kind: str
    said: str
    url: str = ""
    is_waiting: bool = False


@doors.page("billing", route="ledger", post="post", post_route="topup")
def credits(request: HttpRequest, place: Place) -> HttpResponse:
    if request.method == "POST":
        return _top_up(request, place)
    context = {
        "tab": "credits",
        "wallet": wallet(place),
        "offers": packs.PACKS,
        "missing": missing(),
        "is_played": configured.is_fake(),
        "refusal": place.refusal("topup", "post"),
        "returned": _returned(request, place),
        "checkouts": _checkouts(place),
    }
    return doors.render(request, place, "dashboard/billing.html", context)


@doors.page("billing", route="ledger")
def checkout(request: HttpRequest, place: Place, checkout_id: str) -> HttpResponse:
    """The last step before the provider's own page, which a form may not lead to: a link does."""
    row = _checkout(place, checkout_id)
    if row.status != Checkout.Status.OPEN or not row.url:
        return HttpResponseRedirect(f"{reverse('dashboard-billing')}?checkout={row.id}")
    context = {"tab": "credits", "checkout": row, "pack": packs.get(row.pack_id)}
    return doors.render(request, place, "dashboard/billing_checkout.html", context)


@doors.page("billing", route="ledger")
def ledger_page(request: HttpRequest, place: Place) -> HttpResponse:
    now = timezone.now()
    span, filters = ranges.read(request.GET, now=now), ledger_filters.read(request.GET, now=now)
    moved, has = _moved(place, span), wallet(place)
    found = entries.page(
        company_id=place.company_id,
        limit=tables.LIMIT,
        before_seq=tables.read_number_cursor(request.GET),
        since=filters.since,
        # Up to now is up to the last.
        until=None if span.name else filters.until,
        actions=filters.actions,
    )
    context = {
        "tab": "ledger",
        "range": span,
        "action": filters.action,
        "actions": ACTIONS.items(),
        "table": _ledger_table(request, found, span, filters.action),
        "moved": moved,
        "lines": [(ACTIONS[line.action], line) for line in moved.sums],
        "wallet": has,
        # A call that was charged between the two readings is seen by the second alone.
        "adds_up": span.until >= now and moved.closing_nanocredits == has.balance_nanocredits,
    }
    return doors.render(request, place, "dashboard/billing_ledger.html", context)


def wallet(place: Place) -> Balance:
    try:
        return ledger.balance(company_id=place.company_id)
    except WalletNotFound:
        # Founded past onboarding: such a company has as much as an empty wallet.
        return Balance(balance_nanocredits=0, held_nanocredits=0, floor_nanocredits=0, is_frozen=False)


def missing() -> list[str]:
    """The settings without which nothing can be bought here; none where it can."""
    try:
        configured.provider()
    except NotConfigured as exc:
        return list(exc.details["missing"])
    return [] if settings.PUBLIC_URL or settings.DEBUG else ["PUBLIC_URL"]


def _top_up(request: HttpRequest, place: Place) -> HttpResponse:
    opened = topups.start(
        company_id=place.company_id,
        pack_id=request.POST.get("pack_id", ""),
        actor=place.caller.actor,
        base_url=api.base_url(request),
        now=timezone.now(),
    )
    if doors.is_htmx(request):
        return HttpResponse(status=204, headers={"HX-Redirect": opened.checkout_url})
    return HttpResponseRedirect(reverse("dashboard-billing-checkout", args=[opened.checkout_id]))


def _checkout(place: Place, checkout_id: str) -> Checkout:
    """Errors: NotFound, for another company's alike."""
    found_id = ids.parse(checkout_id)
    row = found_id and Checkout.objects.filter(company_id=place.company_id, id=found_id).first()
    if not row:
        raise NotFound(f"Checkout {checkout_id[:100]} was not found.", hint="Look at Billing, Top-ups.")
    return row


def _returned(request: HttpRequest, place: Place) -> Returned | None:
    """What to say to somebody who comes back from a checkout; the books' word counts, not the address's."""
    named = request.GET.get("checkout", "")
    if not named:
        return None
    row = _checkout(place, named)
    credits, price = money.json_number(row.credits_nanocredits), money.usd_from_cents(row.amount_cents)
    match row.status:
        case Checkout.Status.PAID:
            return Returned("good", f"{credits} credits were added for {price} USD.")
        case Checkout.Status.MISMATCHED:
            return Returned(
                "bad",
                "The payment is not what was asked for. Nothing was credited; the operator looks at it.",
            )
        case Checkout.Status.UNPAID:
            return Returned("", "This checkout is over and was not paid. Nothing was charged or credited.")
    if request.GET.get("topup") == "paid":
        return Returned(
            "",
            f"The payment is being confirmed: {credits} credits are added as soon as the provider tells us, which takes"
            " seconds. Load this page again.",
            url=request.get_full_path(),
            is_waiting=True,
        )
    return Returned(
        "", f"The checkout of {credits} credits for {price} USD was not paid; nothing was charged.", row.url
    )


def _checkouts(place: Place) -> Table:
    rows = Checkout.objects.filter(company_id=place.company_id).order_by("-id")[:CHECKOUTS_SHOWN]
    return Table(
        name="checkouts",
        caption="Top-ups",
        columns=_CHECKOUT_COLUMNS,
        rows=[_checkout_row(row) for row in rows],
        empty=Empty("Nothing was bought yet. What you buy stands here, with what became of it."),
    )


def _checkout_row(row: Checkout) -> Row:
    returned = f"{money.json_number(row.returned_nanocredits)} taken back" if row.returned_nanocredits else ""
    return Row(
        [
            Cell(row.created_at),
            Cell(row.pack_id.capitalize() if row.pack_id != "xl" else "XL"),
            Cell(str(row.status)),
            Cell(row.credits_nanocredits, note=returned),
            Cell(Decimal(row.amount_cents) / 100),
        ],
        href=f"{reverse('dashboard-billing')}?checkout={row.id}",
        id=str(row.id),
    )


def _ledger_table(request: HttpRequest, found: Page, span: Range, action: str) -> Table:
    query = request.GET.copy()
    query.pop("cursor", None)
    return Table(
        name="ledger",
        caption="Ledger",
        columns=_COLUMNS,
        rows=[_row(entry) for entry in found.entries],
        next_cursor=None if found.before_seq is None else tables.cursor(found.before_seq),
        is_first="cursor" not in request.GET,
        export_href=f"{reverse('dashboard-exports-file', args=['ledger'])}?{query.urlencode()}",
        empty=Empty(
            f"No {ACTIONS[action].lower()} in this time." if action else "Nothing moved in this time.",
            action="Show 90 days",
            href="" if span.name == "90d" and not action else "?range=90d",
        ),
    )


def _row(entry: Entry) -> Row:
    call = entry.reference if entry.action == Entry.Action.LLM_CALL else ""
    about = f"of {entry.corrects}" if entry.corrects else ""
    return Row(
        [
            Cell(entry.created_at),
            Cell(ACTIONS[entry.action], note=entry.note or ""),
            Cell(entry.reference, note=about, href=_of_call(call or entry.corrects)),
            Cell(entry.amount_nanocredits),
            Cell(entry.balance_after_nanocredits),
        ],
        href=_of_call(call or entry.corrects),
        id=str(entry.seq),
    )


def _of_call(reference: str) -> str:
    """Where a call is shown; empty for what is no call's name."""
    hold_id = ids.parse(reference.removeprefix(ledger.CALL_PREFIX).partition(":")[0])
    if not reference.startswith(ledger.CALL_PREFIX) or hold_id is None:
        return ""
    return reverse("dashboard-generations-call", args=[hold_id])


def _moved(place: Place, span: Range) -> Stretch:
    return entries.stretch(company_id=place.company_id, since=span.since, until=span.until)
