"""The credit packs a company can buy; docs/product.md 5."""

from dataclasses import dataclass
from decimal import Decimal

from accounts.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Pack:
    """Units: credits, and the price in USD."""

    id: str
    name: str
    credits: int
    price_usd: Decimal
    badge: str | None = None

    @property
    def price_cents(self) -> int:
        return int(self.price_usd * 100)


PACKS = (
    Pack(id="small", name="Small", credits=20, price_usd=Decimal(10)),
    Pack(id="medium", name="Medium", credits=50, price_usd=Decimal(23), badge="Popular"),
    Pack(id="large", name="Large", credits=100, price_usd=Decimal(44), badge="Best Value"),
    Pack(id="xl", name="XL", credits=250, price_usd=Decimal(100)),
)


def get(pack_id: object) -> Pack:
    """The pack of this id. Errors: InvalidInput naming those there are."""
    for pack in PACKS:
        if pack.id == pack_id:
            return pack
    raise InvalidInput(
        f"pack_id: must be one of {', '.join(pack.id for pack in PACKS)}.", details={"field": "pack_id"}
    )
