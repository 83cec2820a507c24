"""Account kits as pages and their forms name them; what a kit is lives in kits.py."""

from collections.abc import Collection
from uuid import UUID

from accounts.errors import NotFound
from accounts.models import NAME_LENGTH_MAX, AccountKit

COPY = " copy"


def by_name(*, company_id: UUID, limit: int) -> list[AccountKit]:
    """The company's kits in the order of their names, so many at most."""
    return list(AccountKit.objects.filter(company_id=company_id).order_by("name")[:limit])


def get_named(*, company_id: UUID, name: str) -> AccountKit:
    """The company's kit of exactly this name. Errors: NotFound."""
    kit = AccountKit.objects.filter(company_id=company_id, name=name).first()
    if kit is None:
        raise NotFound(f'No AccountKit is named "{name[:NAME_LENGTH_MAX]}".')
    return kit


def get_many(*, company_id: UUID, kit_ids: Collection[UUID]) -> dict[UUID, AccountKit]:
    """Those of the company's kits that have these ids."""
    return AccountKit.objects.filter(company_id=company_id).in_bulk(kit_ids)


def copy_name(name: str) -> str:
    """What a copy of a kit of this name is called at first."""
    return f"{name[: NAME_LENGTH_MAX - len(COPY)]}{COPY}"
