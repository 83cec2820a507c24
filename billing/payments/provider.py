"""What a payment provider is to the platform: it opens hosted checkouts and tells of payments, unasked or asked."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol
from uuid import UUID

# What news a provider may bring, in our words.
#   paid              the customer has paid a checkout
#   unpaid            the checkout is over and will not be paid
#   refunded          money went back to the customer; amount_cents is the sum of all refunds of the payment
#   dispute_opened    the customer's bank asks for the money back
#   dispute_won       the bank has decided for us
#   dispute_lost      the bank has taken the money; amount_cents is how much
type Kind = Literal["paid", "unpaid", "refunded", "dispute_opened", "dispute_won", "dispute_lost"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A checkout to be opened. Units: whole US cents."""

    checkout_id: UUID
    company_id: UUID
    description: str
    amount_cents: int
    success_url: str
    cancel_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Hosted:
    """A checkout that is open at the provider: where the customer pays, and until when."""

    session_id: str
    url: str
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """One event of a provider, its signature checked; None stands for what such an event does not say.

    Units: cents of `currency` (`usd`). `total_cents` is the whole payment, where `amount_cents` is a part of it.
    """

    event_id: str
    kind: Kind
    said_at: datetime
    session_id: str | None = None
    checkout_id: UUID | None = None
    company_id: UUID | None = None
    payment_id: str | None = None
    dispute_id: str | None = None
    amount_cents: int | None = None
    total_cents: int | None = None
    currency: str | None = None


class Provider(Protocol):
    """A payment provider. Its errors are NotConfigured, PaymentProviderFailed and InvalidSignature."""

    @property
    def name(self) -> str:
        """Who it is: the actor of what its news move, and half of each event's name."""

    def open_checkout(self, order: Order, *, now: datetime) -> Hosted:
        """Open a hosted checkout; once per order, whatever is sent twice."""

    def look_up(self, session_id: str, *, now: datetime) -> News | None:
        """What became of a checkout, as the news that should have told it; None while it may still be paid."""

    def read_news(self, body: bytes, *, signature: str | None) -> News | None:
        """The news in a webhook's body; None where it is signed and says nothing that concerns us."""


def as_kept(news: News) -> dict[str, Any]:
    """The news as JSON that `from_kept` reads again."""
    kept = {name: getattr(news, name) for name in News.__slots__}
    return {
        name: value.isoformat()
        if isinstance(value, datetime)
        else str(value)
        if isinstance(value, UUID)
        else value
        for name, value in kept.items()
        if value is not None
    }


def from_kept(kept: Mapping[str, Any]) -> News:
    """What `as_kept` has written."""
    found = dict(kept)
    for name in ("checkout_id", "company_id"):
        if name in found:
            found[name] = UUID(found[name])
    found["said_at"] = datetime.fromisoformat(found["said_at"])
    return News(**found)
