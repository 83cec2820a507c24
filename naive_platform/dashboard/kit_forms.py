"""Forms of the kit editor: each says which change of the kit it stands for, of nothing but what was touched."""

import json
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from django import forms

from accounts import fields, kit_configs
from accounts.errors import DomainError, InvalidInput
from accounts.kit_configs import CONNECTION_MODES, LLMRules
from accounts.kits import DESCRIPTION_LENGTH_MAX
from accounts.models import NAME_LENGTH_MAX, AccountKit
from naive_platform.dashboard import submissions

EVERY, ONLY = "every", "only"
MODES = {
    "open": "Open: every connection",
    "allowlist": "Allow list: only those that are named",
    "blocklist": "Block list: all but those that are named",
}
_CODE = {"class": "code", "spellcheck": "false", "autocapitalize": "off", "autocomplete": "off"}


class KitForm(forms.Form):
    """What all tabs share: the version that was read, and beside each field what it showed then.

    A field that somebody else changed meanwhile is so never taken for one that this person changed.
    """

    version = forms.IntegerField(widget=forms.HiddenInput, min_value=1, max_value=2**63 - 1)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, field in self.fields.items():
            field.show_hidden_initial = name != "version"

    @property
    def touched(self) -> list[str]:
        """The fields that say something else than they did."""
        return [name for name in self.changed_data if name != "version"]

    @classmethod
    def of(cls, kit: AccountKit, rules: LLMRules) -> "KitForm":
        """The form as it stands for a kit that nobody has touched."""
        return cls(initial={"version": kit.version, **cls.shown(kit, rules)})

    @staticmethod
    def shown(kit: AccountKit, rules: LLMRules) -> dict[str, Any]:
        """What the fields show of a kit."""
        raise NotImplementedError

    def changes(self, kit: AccountKit) -> dict[str, Any]:
        """What kits.update is to change; empty where nothing was touched. Errors: InvalidInput."""
        raise NotImplementedError

    def refuse(self, exc: DomainError) -> None:
        """Say why at the field that the path of the error ends with."""
        submissions.refuse(self, _at_field(exc))


class ModelsForm(KitForm):
    allows = forms.ChoiceField(
        label="Models that may be called",
        choices=[(EVERY, "Every model"), (ONLY, "Only those that match")],
        widget=forms.RadioSelect,
    )
    allowed_models = forms.CharField(
        label="Allowed",
        required=False,
        widget=forms.Textarea(attrs={**_CODE, "rows": 6}),
        help_text="One id a line; * stands for anything, as in anthropic/*. Without a line, no model may be called.",
    )
    denied_models = forms.CharField(
        label="Denied",
        required=False,
        widget=forms.Textarea(attrs={**_CODE, "rows": 4}),
        help_text="What matches here is refused even where it is allowed above.",
    )

    @staticmethod
    def shown(kit: AccountKit, rules: LLMRules) -> dict[str, Any]:
        return {
            "allows": EVERY if rules.allowed_models is None else ONLY,
            "allowed_models": "\n".join(rules.allowed_models or ()),
            "denied_models": "\n".join(rules.denied_models),
        }

    def changes(self, kit: AccountKit) -> dict[str, Any]:
        given, defaults = self.cleaned_data, {}
        if {"allows", "allowed_models"} & set(self.touched):
            defaults["allowed_models"] = _lines(given["allowed_models"]) if given["allows"] == ONLY else None
        if "denied_models" in self.touched:
            defaults["denied_models"] = _lines(given["denied_models"]) or None
        return _defaults(defaults)

    def refuse(self, exc: DomainError) -> None:
        """A glob names itself."""
        path = str(exc.details.get("field", ""))
        name, _, index = path.rpartition(".")[2].partition("[")
        globs = _lines(self.cleaned_data.get(name, "")) if index else []
        if globs:
            exc = InvalidInput(
                f"{name}: “{globs[int(index[:-1])][: fields.SHOWN_LENGTH_MAX]}” {exc.message.partition(': ')[2]}",
                details={"field": name},
            )
        super().refuse(exc)


class LimitsForm(KitForm):
    max_tokens = forms.CharField(
        label="Output tokens per call",
        required=False,
        help_text="A caller that asks for more is given this many.",
    )
    max_cost_usd_per_call = forms.CharField(
        label="USD per call",
        required=False,
        help_text="A call that may cost more is refused before it starts.",
    )
    monthly_credits_per_user = forms.CharField(
        label="Credits per month and user",
        required=False,
        help_text="Counted anew on the first of each month, UTC.",
    )
    requests_per_minute = forms.CharField(
        label="Requests per minute and user", required=False, help_text="More are answered 429."
    )
    provider = forms.CharField(
        label="Provider preferences, JSON",
        required=False,
        widget=forms.Textarea(attrs={**_CODE, "rows": 4}),
        help_text='Upstream\'s provider object, such as {"sort": "price"}; what a caller says itself wins over it.',
    )
    provider_required = forms.CharField(
        label="Provider requirements, JSON",
        required=False,
        widget=forms.Textarea(attrs={**_CODE, "rows": 4}),
        help_text="The same, and it wins over what a caller says.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("max_tokens", "requests_per_minute"):
            self.fields[name].widget.attrs["inputmode"] = "numeric"
        for name in ("max_cost_usd_per_call", "monthly_credits_per_user"):
            self.fields[name].widget.attrs["inputmode"] = "decimal"

    @staticmethod
    def shown(kit: AccountKit, rules: LLMRules) -> dict[str, Any]:
        amounts = ("max_cost_usd_per_call", "monthly_credits_per_user")
        return {
            "max_tokens": rules.max_tokens,
            "requests_per_minute": rules.requests_per_minute,
            **{name: _number(getattr(rules, name)) for name in amounts},
            "provider": written(rules.provider),
            "provider_required": written(rules.provider_required),
        }

    def changes(self, kit: AccountKit) -> dict[str, Any]:
        read = {
            "max_tokens": _whole,
            "requests_per_minute": _whole,
            "provider": _json,
            "provider_required": _json,
        }
        found = {}
        for name in self.touched:
            text = self.cleaned_data[name]
            path = f"primitives_config.llm.defaults.{name}"
            found[name] = read.get(name, _amount)(path, text) if text else None
        return _defaults(found)


class ConnectionsForm(KitForm):
    mode = forms.ChoiceField(
        label="Connections that may be used",
        choices=[(mode, MODES[mode]) for mode in CONNECTION_MODES],
        widget=forms.RadioSelect,
    )

    @staticmethod
    def shown(kit: AccountKit, rules: LLMRules) -> dict[str, Any]:
        config = kit.connections_config
        return {"mode": config.get("mode", "open") if isinstance(config, dict) else "open"}

    def changes(self, kit: AccountKit) -> dict[str, Any]:
        if "mode" not in self.touched:
            return {}
        config = kit.connections_config if isinstance(kit.connections_config, dict) else {}
        return {"connections_config": {**config, "mode": self.cleaned_data["mode"]}}


class JSONForm(KitForm):
    primitives_config = forms.CharField(
        label="primitives_config",
        widget=forms.Textarea(attrs={**_CODE, "rows": 22}),
        help_text="By primitive: enabled, defaults, requiresApproval. Primitives not run here are kept.",
    )

    @staticmethod
    def shown(kit: AccountKit, rules: LLMRules) -> dict[str, Any]:
        return {"primitives_config": json.dumps(kit.primitives_config, indent=2, ensure_ascii=False)}

    def changes(self, kit: AccountKit) -> dict[str, Any]:
        path = "primitives_config"
        wanted = fields.mapping(path, _json(path, self.cleaned_data[path]))
        shown = _json(path, self.data.get(self.add_initial_prefix(path), "{}"))
        patch = kit_configs.patch(shown, wanted)
        return {path: patch} if patch else {}

    def refuse(self, exc: DomainError) -> None:
        # Its message names the whole path, which this one field has all of.
        self.add_error("primitives_config", f"{exc.message} {exc.hint or ''}".strip())


class DetailsForm(KitForm):
    name = forms.CharField(label="Name", max_length=NAME_LENGTH_MAX)
    description = forms.CharField(
        label="Description",
        max_length=DESCRIPTION_LENGTH_MAX,
        required=False,
        help_text="For your own people.",
    )
    is_default = forms.BooleanField(
        label="Default kit",
        required=False,
        help_text="Users who are given no kit get this one. To take it away, make another kit the default.",
    )

    @staticmethod
    def shown(kit: AccountKit, rules: LLMRules) -> dict[str, Any]:
        return {"name": kit.name, "description": kit.description, "is_default": kit.is_default}

    def changes(self, kit: AccountKit) -> dict[str, Any]:
        return {name: self.cleaned_data[name] for name in self.touched}


def written(value: Any) -> str:
    """A JSON value for people to read and change; empty for none."""
    return "" if value is None else json.dumps(value, indent=2, ensure_ascii=False, default=_number)


def _defaults(found: Mapping[str, Any]) -> dict[str, Any]:
    return {"primitives_config": {"llm": {"defaults": dict(found)}}} if found else {}


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _whole(path: str, text: str) -> int:
    plain = text.replace(",", "").replace(" ", "")
    if not (plain.isascii() and plain.isdigit() and len(plain) < 20):
        raise fields.refuse(path, "must be a whole number.")
    return int(plain)


def _amount(path: str, text: str) -> Decimal:
    try:
        found = Decimal(text)
    except InvalidOperation as exc:
        raise fields.refuse(path, "must be a number such as 0.50.") from exc
    if not found.is_finite():
        raise fields.refuse(path, "must be a number such as 0.50.")
    return found


def _json(path: str, text: str) -> Any:
    try:
        return json.loads(text, parse_float=Decimal)
    except json.JSONDecodeError as exc:
        raise fields.refuse(path, f"is no JSON: {exc.msg} in line {exc.lineno}, column {exc.colno}.") from exc
    except (ValueError, RecursionError) as exc:
        raise fields.refuse(path, "is no JSON that can be kept.") from exc


def _number(value: Decimal | None) -> str | None:
    return None if value is None else format(value.normalize(), "f")


def _at_field(exc: DomainError) -> DomainError:
    path = str(exc.details.get("field", ""))
    if not path:
        return exc
    field = path.rpartition(".")[2]
    message = f"{field}: {exc.message.removeprefix(f'{path}: ')}"
    return InvalidInput(message, hint=exc.hint, details={**exc.details, "field": field})
