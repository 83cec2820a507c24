"""The forms of API keys; what may be in them is checked by accounts/credentials.py."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django import forms

from accounts import keys
from accounts.models import NAME_LENGTH_MAX, APIKey, CapPeriod, Role
from naive_platform.api import keys as api
from naive_platform.dashboard.submissions import OnceForm

ROLES = {
    Role.OWNER: "owner: everything, owners too",
    Role.ADMIN: "admin: kits, billing, webhooks and the audit log",
    Role.MEMBER: "member: calls models and manages users",
    Role.VIEWER: "viewer: reads, and calls no model",
}
PERIODS = (
    ("", "no cap"),
    (CapPeriod.DAY.value, "a day"),
    (CapPeriod.WEEK.value, "a week, from Monday"),
    (CapPeriod.MONTH.value, "a month"),
    (CapPeriod.TOTAL.value, "in all"),
)
MINUTE = "%Y-%m-%dT%H:%M"


class LimitsForm(forms.Form):
    """What may be changed of a key."""

    name = forms.CharField(
        max_length=NAME_LENGTH_MAX,
        help_text="What uses it, such as the name of a server.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
        error_messages={"required": "Give the key a name."},
    )
    expires_at = forms.DateTimeField(
        label="Expires, UTC",
        required=False,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format=MINUTE),
        help_text="Empty: never.",
        error_messages={"invalid": "Write a day and a time, such as 2027-01-31T12:00."},
    )
    cap_credits = forms.DecimalField(
        label="Spend cap, credits",
        required=False,
        min_value=0,
        max_digits=19,
        decimal_places=9,
        widget=forms.NumberInput(attrs={"step": "any", "inputmode": "decimal"}),
        help_text="Calls above it are refused with 402. The key and its successors share it.",
    )
    cap_period = forms.ChoiceField(label="Cap is", required=False, choices=PERIODS)
    requests_per_minute = forms.IntegerField(
        label="Requests per minute",
        required=False,
        min_value=1,
        max_value=keys.REQUESTS_PER_MINUTE_MAX,
        help_text="Empty: the platform's own limit.",
    )

    def limits(self) -> dict[str, Any]:
        """What was given, in the words of accounts/keys.py."""
        return {name: self.cleaned_data[name] for name in keys.CHANGEABLE}


class EditForm(LimitsForm):
    """A key as it is, to be changed."""

    @staticmethod
    def initial_of(key: APIKey) -> dict[str, Any]:
        found = {name: getattr(key, name) for name in keys.CHANGEABLE}
        ends_at, cap = key.expires_at, key.cap_credits
        # As the fields show them: to the minute, and without zeros at the end.
        found["expires_at"] = ends_at.replace(second=0, microsecond=0) if ends_at else None
        found["cap_credits"] = None if cap is None else f"{cap.normalize():f}"
        return found

    def changes(self) -> dict[str, Any]:
        """What differs; a cap and its period go together."""
        names = set(self.changed_data)
        if names & {"cap_credits", "cap_period"}:
            names |= {"cap_credits", "cap_period"}
        return {name: value for name, value in self.limits().items() if name in names}


class KeyForm(LimitsForm, OnceForm):
    """A new key."""

    field_order = ("name", "role", "account_kit_id", "active_tenant_user_id")

    role = forms.ChoiceField(initial=Role.MEMBER.value, help_text="At most your own.")
    account_kit_id = forms.TypedChoiceField(
        coerce=UUID,
        empty_value=None,
        label="Only users of this kit",
        required=False,
        help_text="Such a key opens the typed llm routes alone, as does one for a single user.",
    )
    active_tenant_user_id = forms.CharField(
        label="Only this user",
        required=False,
        max_length=api.NAMED_LENGTH_MAX,
        widget=forms.TextInput(attrs={"class": "code", "autocomplete": "off"}),
        help_text="A user's id, ext: with your own id for them, or default.",
    )

    def __init__(
        self, *args: Any, roles: Sequence[Role], kits: Sequence[tuple[str, str]], **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        role, kit = self.fields["role"], self.fields["account_kit_id"]
        assert isinstance(role, forms.ChoiceField)  # noqa: S101 - for the type.
        assert isinstance(kit, forms.ChoiceField)  # noqa: S101 - for the type.
        role.choices = [(one.value, ROLES[one]) for one in roles]
        kit.choices = [("", "any kit"), *kits]
        if Role.MEMBER not in roles:
            role.initial = roles[0].value

    def given(self) -> dict[str, Any]:
        """What was given, in the words of accounts/credentials.py."""
        return {
            **self.limits(),
            "role": self.cleaned_data["role"],
            "account_kit_id": self.cleaned_data["account_kit_id"],
            "active_tenant_user_id": self.cleaned_data["active_tenant_user_id"] or None,
        }


class RotateForm(OnceForm):
    """How long the key before goes on working."""

    overlap_hours = forms.IntegerField(
        label="The old key works on for, hours",
        min_value=0,
        max_value=api.OVERLAP_HOURS_MAX,
        help_text="0 ends it at once; it never lasts longer than it would have.",
    )
