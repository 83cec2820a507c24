"""Which generations a page or a file is about, as the words of its URL say: model, user, key, kit, state, credits."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django import forms
from django.db.models import Q

from accounts import ids
from accounts.errors import InvalidInput
from accounts.models import AccountKit, APIKey, TenantUser
from billing import money
from llm import history
from llm.history import Filters
from naive_platform.dashboard import ranges
from naive_platform.dashboard.ranges import Range

MODEL_LENGTH_MAX = 256
# Of keys and kits, the newest; another one is found by a link to it.
CHOICES_MAX = 100
WORDS = ("model", "user", "key", "kit", "state", "least", "most")
_STATES = [("", "All states"), *((state, state) for state in history.STATES)]
_CREDITS: dict[str, Any] = {"min_value": 0, "max_digits": 18, "decimal_places": 9, "required": False}


class FilterForm(forms.Form):
    """The filters of Generations. Each may be left empty; the ids are of this company, or nobody's."""

    model = forms.CharField(max_length=MODEL_LENGTH_MAX, required=False)
    user = forms.CharField(max_length=260, required=False, label="User")
    state = forms.ChoiceField(choices=_STATES, required=False)
    key = forms.ChoiceField(required=False, label="API key")
    kit = forms.ChoiceField(required=False, label="Account Kit")
    least = forms.DecimalField(label="Credits, at least", **_CREDITS)
    most = forms.DecimalField(label="Credits, at most", **_CREDITS)

    def __init__(self, query: Mapping[str, str], *, company_id: UUID) -> None:
        super().__init__({name: query.get(name, "") for name in WORDS}, auto_id="filter-%s")
        self._company_id = company_id
        self.chosen_user: TenantUser | None = None
        self.fields["model"].widget.attrs |= {
            "list": "filter-models",
            "autocomplete": "off",
            "spellcheck": "false",
        }
        self.fields["user"].widget.attrs |= {
            "placeholder": "id or external id",
            "autocomplete": "off",
            "spellcheck": "false",
        }
        keys = APIKey.objects.filter(company_id=company_id).order_by("-id")
        kits = AccountKit.objects.filter(company_id=company_id).order_by("-id")
        self._choose("key", "All API keys", keys, query)
        self._choose("kit", "All Account Kits", kits, query)

    def clean_user(self) -> UUID | None:
        said = str(self.cleaned_data["user"]).strip().removeprefix("ext:")
        if not said:
            return None
        rows = TenantUser.objects.filter(company_id=self._company_id)
        wanted = ids.parse(said)
        self.chosen_user = rows.filter(Q(id=wanted) if wanted else Q(external_id=said)).first()
        if self.chosen_user is None:
            raise forms.ValidationError("No user of this company has this id.")
        return self.chosen_user.id

    def clean_key(self) -> UUID | None:
        return ids.parse(str(self.cleaned_data["key"]))

    def clean_kit(self) -> UUID | None:
        return ids.parse(str(self.cleaned_data["kit"]))

    def clean(self) -> None:
        least, most = self.cleaned_data.get("least"), self.cleaned_data.get("most")
        if least is not None and most is not None and least > most:
            self.add_error("most", "This is less than the least.")

    @property
    def is_used(self) -> bool:
        """Whether anything narrows the list."""
        return any(str(value).strip() for value in self.data.values())

    @property
    def is_wide(self) -> bool:
        """Whether one of the filters is used that are folded away otherwise."""
        return any(self.data[name] or name in self.errors for name in ("key", "kit", "least", "most"))

    def filters(self, span: Range) -> Filters:
        """What a form without errors asks for."""
        said = self.cleaned_data
        return Filters(
            since=span.since,
            until=span.until,
            model=said["model"] or None,
            tenant_user_id=said["user"],
            key_id=said["key"],
            kit_id=said["kit"],
            state=said["state"] or None,
            least_nanocredits=_nanocredits(said["least"]),
            most_nanocredits=_nanocredits(said["most"]),
        )

    def _choose(self, name: str, all_of_them: str, rows: Any, query: Mapping[str, str]) -> None:
        """Offer the newest; and the one that the URL names, which may be older."""
        found = {row.id: row for row in rows[:CHOICES_MAX]}
        wanted = ids.parse(query.get(name, ""))
        if wanted and wanted not in found and len(found) == CHOICES_MAX:
            found |= {row.id: row for row in rows.filter(id=wanted)}
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101 - for the types.
        field.choices = [("", all_of_them), *((str(one), str(row)) for one, row in found.items())]
        field.error_messages["invalid_choice"] = "This company has no such one."
        self.names = {**getattr(self, "names", {}), **{one: str(row) for one, row in found.items()}}


def words(query: Mapping[str, str], *, company_id: UUID, now: datetime) -> dict[str, str]:
    """The words of a URL with all that may change later fixed: its time, and whom an external id means.

    Errors: InvalidInput, for the first word that means nothing.
    """
    form = FilterForm(query, company_id=company_id)
    if not form.is_valid():
        field, errors = next(iter(form.errors.items()))
        raise InvalidInput(f"{field}: {errors[0]}", details={"field": field})
    span = ranges.read(query, now=now)
    kept = {name: str(form.data[name]).strip() for name in WORDS if form.data[name]}
    if form.chosen_user is not None:
        kept["user"] = str(form.chosen_user.id)
    return kept | {"since": span.since.isoformat(), "until": span.until.isoformat()}


def fixed(kept: Mapping[str, str]) -> Filters:
    """The filters that `words` wrote down."""
    return Filters(
        since=datetime.fromisoformat(kept["since"]),
        until=datetime.fromisoformat(kept["until"]),
        model=kept.get("model"),
        tenant_user_id=ids.parse(kept.get("user", "")),
        key_id=ids.parse(kept.get("key", "")),
        kit_id=ids.parse(kept.get("kit", "")),
        state=kept.get("state"),
        least_nanocredits=_nanocredits(kept.get("least")),
        most_nanocredits=_nanocredits(kept.get("most")),
    )


def _nanocredits(credits: Decimal | str | None) -> int | None:
    return None if credits is None else money.nanocredits_from_credits(Decimal(credits))
