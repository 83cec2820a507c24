"""API keys: listed with what each may still spend, made, changed, rotated and revoked; a secret is shown once."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone

from accounts import credentials
from accounts.credentials import Filters
from accounts.errors import DomainError, InvalidInput, NotFound
from accounts.keys import IssuedKey
from accounts.models import AccountKit, APIKey, Role, TenantUser, User
from billing import caps, money
from billing.caps import Cap, Used
from naive_platform.api import keys as api
from naive_platform.api import routes
from naive_platform.dashboard import doors, submissions, tables
from naive_platform.dashboard.doors import Place
from naive_platform.dashboard.key_forms import EditForm, KeyForm, RotateForm
from naive_platform.dashboard.tables import Cell, Column, Empty, Row, Table

# A key that ends so soon is said to be expiring.
EXPIRING_WITHIN = timedelta(days=7)
KITS_OFFERED = 200
STATES = {"": "In use", "revoked": "Revoked", "all": "All"}
COLUMNS = (
    Column(title="Key", is_title=True),
    Column(title="State", kind="state"),
    Column(title="Role", kind="word"),
    Column(title="Only for", is_hidden_narrow=True),
    Column(title="Used of its cap", kind="credits"),
    Column(title="Expires", kind="time"),
    Column(title="Last used", kind="time"),
    Column(title="Made by", is_hidden_narrow=True),
)


@dataclass(frozen=True, slots=True)
class KeyLine:
    """A key with what its row names: its state, its maker, whom it is for, and what is used of its cap."""

    key: APIKey
    state: str
    maker: str
    kit: str
    user: str
    cap: str
    used: Used | None

    @property
    def seal(self) -> str:
        return " · ".join(filter(None, (self.kit and f"kit {self.kit}", self.user and f"user {self.user}")))

    @property
    def is_live(self) -> bool:
        return self.state in ("live", "expiring")


@doors.page("keys")
def listed(request: HttpRequest, place: Place) -> HttpResponse:
    chosen = request.GET.get("state", "")
    chosen = chosen if chosen in STATES else ""
    found = credentials.page(
        asker=api.asker(place.caller),
        filters=Filters(
            is_revoked=None if chosen == "all" else chosen == "revoked",
            account_kit_id=_filter(request, "kit"),
            user_id=_filter(request, "user"),
        ),
        limit=tables.LIMIT,
        before_id=tables.read_id_cursor(request.GET),
    )
    lines = read(found.keys, company_id=place.company_id, now=timezone.now())
    may_create = place.may("keys", "post")
    context = {
        "table": _table(lines, found.before_id, may_create=may_create, is_first="cursor" not in request.GET),
        "states": [(name, title, name == chosen) for name, title in STATES.items()],
        "may_create": may_create,
        "sees_all": api.asker(place.caller).sees_all,
        "is_filtered": "kit" in request.GET or "user" in request.GET,
    }
    return doors.render(request, place, "dashboard/keys.html", context)


@doors.page("keys", post="post")
def create(request: HttpRequest, place: Place) -> HttpResponse:
    place.require("keys", "post")
    kits = _kits(place.company_id)
    roles = [role for role in Role if role.is_at_most(place.caller.role)]
    form = KeyForm(request.POST or None, initial=_initial(request), roles=roles, kits=kits)
    if request.method != "POST" or not form.is_valid():
        return _form(request, place, "dashboard/keys_new.html", form)
    try:
        given = form.given()
        if named := given["active_tenant_user_id"]:
            given["active_tenant_user_id"] = _sealed_to(place, named)
        issued = submissions.once(
            request,
            place,
            lambda: credentials.create(asker=api.asker(place.caller), now=timezone.now(), **given),
        )
    except DomainError as exc:
        submissions.refuse(form, exc)
        return _form(request, place, "dashboard/keys_new.html", form)
    return _issued(request, place, issued)


@doors.page("keys", route="key", post="patch")
def key(request: HttpRequest, place: Place, key_id: str) -> HttpResponse:
    found = get(place, key_id)
    form = EditForm(request.POST or None, initial=EditForm.initial_of(found))
    if request.method == "POST" and form.is_valid():
        try:
            credentials.update(
                asker=api.asker(place.caller), key_id=found.id, changes=form.changes(), now=timezone.now()
            )
            return doors.done(request, f"Key {form.cleaned_data['name']} saved.", url_of(found))
        except InvalidInput as exc:
            submissions.refuse(form, exc)
    line = read([found], company_id=place.company_id, now=timezone.now())[0]
    context = {
        "line": line,
        "form": form,
        "successor": APIKey.objects.filter(company_id=place.company_id, rotated_from=found).first(),
        "may_change": line.is_live and place.may("key", "patch") and _outranks(place, found),
        "may_rotate": line.is_live and place.may("key-rotate", "post") and _outranks(place, found),
        "may_revoke": found.revoked_at is None and place.may("key", "delete"),
    }
    return doors.render(request, place, "dashboard/keys_key.html", context, status=_status(form))


@doors.page("keys", route="key", post="post", post_route="key-rotate")
def rotate(request: HttpRequest, place: Place, key_id: str) -> HttpResponse:
    place.require("key-rotate", "post")
    found = get(place, key_id)
    form = RotateForm(request.POST or None, initial={"overlap_hours": api.OVERLAP_HOURS})
    if request.method != "POST" or not form.is_valid():
        return _form(request, place, "dashboard/keys_rotate.html", form, key=found)
    overlap = timedelta(hours=form.cleaned_data["overlap_hours"])
    issued = submissions.once(
        request,
        place,
        lambda: credentials.rotate(
            asker=api.asker(place.caller), key_id=found.id, overlap=overlap, now=timezone.now()
        ),
    )
    return _issued(request, place, issued, before=get(place, key_id))


@doors.page("keys", route="key", post="delete")
def revoke(request: HttpRequest, place: Place, key_id: str) -> HttpResponse:
    place.require("key", "delete")
    found = get(place, key_id)
    if request.method == "POST":
        credentials.revoke(asker=api.asker(place.caller), key_id=found.id, now=timezone.now())
        said = f"Key {found.name} …{found.last_4} is revoked: within a second it opens nothing."
        return doors.done(request, said, reverse("dashboard-keys"))
    line = read([found], company_id=place.company_id, now=timezone.now())[0]
    return doors.render(request, place, "dashboard/keys_revoke.html", {"line": line})


def get(place: Place, key_id: str) -> APIKey:
    """The key, where it is this person's to see. Errors: NotFound."""
    absent = NotFound("This API key was not found.", hint="It may be another member's.")
    return credentials.get(asker=api.asker(place.caller), key_id=submissions.id_of(key_id, absent))


def read(found: Sequence[APIKey], *, company_id: UUID, now: datetime) -> list[KeyLine]:
    """Keys with what their rows name; at most four queries."""
    people = User.objects.in_bulk({one.created_by_id for one in found if one.created_by_id})
    kits = AccountKit.objects.filter(company_id=company_id).in_bulk(
        {one.account_kit_id for one in found if one.account_kit_id}
    )
    users = TenantUser.objects.filter(company_id=company_id).in_bulk(
        {one.active_tenant_user_id for one in found if one.active_tenant_user_id}
    )
    used = caps.used(
        company_id=company_id,
        caps={Cap(one.family_id, one.cap_period) for one in found if one.cap_credits is not None},
        now=now,
    )
    return [
        KeyLine(
            key=one,
            state=state_of(one, people.get(one.created_by_id) if one.created_by_id else None, now),
            maker=(people[one.created_by_id].name or people[one.created_by_id].email)
            if one.created_by_id
            else "the operator",
            kit=kits[one.account_kit_id].name if one.account_kit_id else "",
            user=str(users[one.active_tenant_user_id]) if one.active_tenant_user_id else "",
            cap=_cap(one),
            used=used.get(Cap(one.family_id, one.cap_period)) if one.cap_credits is not None else None,
        )
        for one in found
    ]


def state_of(one: APIKey, maker: User | None, now: datetime) -> str:
    """What the key is worth now, in a word; a key is closed while its person is."""
    if one.revoked_at is not None:
        return "revoked"
    if one.expires_at is not None and one.expires_at <= now:
        return "expired"
    if maker is not None and not maker.is_active:
        return "closed"
    is_expiring = one.expires_at is not None and one.expires_at <= now + EXPIRING_WITHIN
    return "expiring" if is_expiring else "live"


def first_request(issued: IssuedKey, *, base_url: str) -> str:
    """A line for the shell that shows the key to work; a viewer's calls no model."""
    bearer = f'-H "Authorization: Bearer {issued.secret}"'
    if issued.key.role == Role.VIEWER:
        return f"curl {base_url}/v1/auth/me {bearer}"
    return (
        f"curl {base_url}/v1/llm/chat/completions \\\n  {bearer} \\\n"
        '  -H "Content-Type: application/json" \\\n'
        """  -d '{"model": "openai/gpt-4o-mini", "messages": [{"role": "user", "content": "Say hello."}]}'"""
    )


def url_of(one: APIKey) -> str:
    return reverse("dashboard-keys-key", args=[one.id])


def _table(lines: list[KeyLine], before_id: UUID | None, *, may_create: bool, is_first: bool) -> Table:
    return Table(
        name="keys",
        caption="API keys",
        columns=COLUMNS,
        rows=[_row(line) for line in lines],
        empty=Empty(
            "No key here. An API key lets your programs call models and the REST API; its secret is shown once.",
            "Create a key" if may_create else "",
            reverse("dashboard-keys-new") if may_create else "",
        ),
        next_cursor=tables.cursor(before_id) if before_id else None,
        is_first=is_first,
    )


def _row(line: KeyLine) -> Row:
    one = line.key
    return Row(
        (
            Cell(one.name, note=f"…{one.last_4}"),
            Cell(line.state),
            Cell(one.role),
            Cell(line.seal),
            Cell(line.used.spent_nanocredits if line.used else None, note=line.cap),
            Cell(one.expires_at),
            Cell(one.last_used_at),
            Cell(line.maker),
        ),
        href=url_of(one),
        id=str(one.id),
    )


def _cap(one: APIKey) -> str:
    if one.cap_credits is None:
        return ""
    whole = money.json_number(money.nanocredits_from_credits(one.cap_credits))
    return f"of {whole} in all" if one.cap_period == "total" else f"of {whole} a {one.cap_period}"


def _issued(
    request: HttpRequest, place: Place, issued: IssuedKey | None, *, before: APIKey | None = None
) -> HttpResponse:
    """The one answer that has the secret; it is in no redirect, no session and no message."""
    if issued is None:
        url = url_of(before) if before else reverse("dashboard-keys")
        return submissions.sent_before(request, url)
    context = {
        "issued": issued,
        "before": before,
        "first_request": first_request(issued, base_url=doors.base_url(request)),
    }
    return doors.render(request, place, "dashboard/keys_issued.html", context)


def _form(
    request: HttpRequest, place: Place, template: str, form: KeyForm | RotateForm, **more: object
) -> HttpResponse:
    return doors.render(request, place, template, {"form": form, **more}, status=_status(form))


def _status(form: KeyForm | RotateForm | EditForm) -> int:
    return 400 if form.is_bound and form.errors else 200


def _outranks(place: Place, one: APIKey) -> bool:
    return Role(one.role).is_at_most(place.caller.role)


def _sealed_to(place: Place, named: str) -> UUID:
    """The tenant user that somebody typed. Errors: InvalidInput."""
    try:
        return routes.subject(place.caller, named).user_id
    except NotFound as exc:
        rule = "is no user of this company: an id, ext:… with your own id, or default."
        raise InvalidInput(
            f"active_tenant_user_id: {rule}", details={"field": "active_tenant_user_id"}
        ) from exc


def _kits(company_id: UUID) -> list[tuple[str, str]]:
    rows = AccountKit.objects.filter(company_id=company_id).order_by("name").values_list("id", "name")
    return [(str(kit_id), name) for kit_id, name in rows[:KITS_OFFERED]]


def _initial(request: HttpRequest) -> dict[str, str]:
    """What a link from a kit's or a user's page has chosen already."""
    return {
        "account_kit_id": request.GET.get("kit", "")[:64],
        "active_tenant_user_id": request.GET.get("user", "")[:64],
    }


def _filter(request: HttpRequest, name: str) -> UUID | None:
    said = request.GET.get(name, "")
    wrong = InvalidInput(f"{name}: must be an id.", hint="Take the filter out of the address.")
    return submissions.id_of(said, wrong) if said else None
