"""Who may do what on the management API: one table, route by route and verb by verb."""

from collections.abc import Mapping
from dataclasses import dataclass

from accounts.models import Role


@dataclass(frozen=True, slots=True)
class Permission:
    """The least role, None where nobody need be known; and whether a narrow credential may too."""

    role: Role | None
    opens_to_narrow: bool = False


ANYBODY = Permission(None)
VIEWER = Permission(Role.VIEWER)
MEMBER = Permission(Role.MEMBER)
ADMIN = Permission(Role.ADMIN)
OWNER = Permission(Role.OWNER)
NARROW_READ = Permission(Role.VIEWER, opens_to_narrow=True)

# By the route's name and the verb. What is not here is refused to everybody.
TABLE: Mapping[str, Mapping[str, Permission]] = {
    "register": {"post": ANYBODY},
    "login": {"post": ANYBODY},
    "select-company": {"post": VIEWER},
    "me": {"get": NARROW_READ},
    # A member makes keys up to their own role, and changes and revokes their own; an admin everybody's.
    "keys": {"get": VIEWER, "post": MEMBER},
    "key": {"get": VIEWER, "patch": MEMBER, "delete": MEMBER},
    "key-rotate": {"post": MEMBER},
    "users": {"get": VIEWER, "post": MEMBER},
    "user": {"get": NARROW_READ, "patch": MEMBER, "delete": MEMBER},
    "user-usage": {"get": NARROW_READ},
    "user-sessions": {"get": VIEWER, "post": MEMBER},
    "user-session": {"delete": MEMBER},
    "account-kits": {"get": VIEWER, "post": ADMIN},
    "account-kit": {"get": VIEWER, "patch": ADMIN, "delete": ADMIN},
    "account-kit-effective": {"get": VIEWER},
    "account-kit-preview": {"post": VIEWER},
    "account-kit-assign": {"post": ADMIN},
    "account-kit-assign-many": {"post": ADMIN},
    "status": {"get": VIEWER},
    "usage": {"get": VIEWER},
    "packs": {"get": VIEWER},
    "topup": {"post": ADMIN},
    "ledger": {"get": VIEWER},
    "statement": {"get": VIEWER},
    "audit": {"get": ADMIN},
    "audit-export": {"get": ADMIN},
    "webhooks": {"get": ADMIN, "post": ADMIN},
    "webhook": {"get": ADMIN, "patch": ADMIN, "delete": ADMIN},
    "webhook-test": {"post": ADMIN},
    "webhook-rotate-secret": {"post": ADMIN},
    "webhook-deliveries": {"get": ADMIN},
    "webhook-replay": {"post": ADMIN},
    "stripe-webhook": {"post": ANYBODY},
}
