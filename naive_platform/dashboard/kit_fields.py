"""How a form asks for an account kit: from a list while a company has few, by its name where it has many."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django import forms
from django.urls import reverse_lazy

from accounts import ids, kit_names, kits
from accounts.errors import NotFound
from accounts.models import AccountKit

# A list of more is slower to read than a name to type.
LISTED_MAX = 100


@dataclass(frozen=True, slots=True)
class Offer:
    """The kits of a company by name, so many at most; `is_whole` where these are all."""

    company_id: UUID
    kits: list[AccountKit]

    @property
    def is_whole(self) -> bool:
        return len(self.kits) <= LISTED_MAX

    def find(self, text: str) -> UUID:
        """The kit of this name, or of this id. Errors: NotFound."""
        for kit in self.kits:
            if text in (kit.name, str(kit.id)):
                return kit.id
        kit_id = ids.parse(text)
        if kit_id is None:
            return kit_names.get_named(company_id=self.company_id, name=text).id
        return kits.get(company_id=self.company_id, kit_id=kit_id).id


class KitField(forms.CharField):
    """A kit of the company by its exact name or its id; cleaned, it is the kit's id, None where none was named.

    Shape: `without` is what the list says for none at all.
    """

    def __init__(self, *, offer: Offer, without: str, **given: Any) -> None:
        self.offer = offer
        super().__init__(required=False, **given)
        self.widget = _list(offer, without) if offer.is_whole else _name(without)

    def clean(self, value: Any) -> UUID | None:
        text = super().clean(value)
        try:
            return self.offer.find(text) if text else None
        except NotFound as exc:
            raise forms.ValidationError(exc.message) from exc


def offer(company_id: UUID) -> Offer:
    """What the forms of a page offer: one query for all of them."""
    return Offer(company_id=company_id, kits=kit_names.by_name(company_id=company_id, limit=LISTED_MAX + 1))


def _list(offer: Offer, without: str) -> forms.Select:
    return forms.Select(choices=[("", without), *((kit.name, kit.name) for kit in offer.kits)])


def _name(without: str) -> forms.TextInput:
    return forms.TextInput(
        attrs={
            "list": "kit-names",
            "placeholder": f"{without}; type a name",
            "autocomplete": "off",
            "hx-get": reverse_lazy("dashboard-kits-names"),
            "hx-trigger": "input changed delay:200ms",
            "hx-target": "#kit-names",
        }
    )
