"""How often somebody may try to sign in, to register or to invite: counted by address, by e-mail and by company.


Counts are Valkey's; where it does not answer, this process counts for itself, so that nobody is kept out and nobody is
let guess without end.
"""

import ipaddress
import logging
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from uuid import UUID

import redis.exceptions
from django.conf import settings
from django.core.cache import caches

from llm.errors import RateLimited

log = logging.getLogger(__name__)

SIGN_IN_WINDOW_S = 900
SIGN_INS_PER_EMAIL = 10
REGISTRATION_WINDOW_S = 3600
REGISTRATIONS_PER_EMAIL = 5
# Codes of a second factor that are tried for one person in SIGN_IN_WINDOW_S: of 3 * 10**-6 chances each.
CODES_PER_EMAIL = 10
# Letters that somebody who asks for them is sent in an hour.
LETTERS_PER_EMAIL = 5
# Whoever has one IPv6 address has the rest of its network too. Unit: bits.
NETWORK_BITS = 64
# Letters that one company has sent, and that one address is sent by all of them, in an hour.
INVITATION_WINDOW_S = 3600
INVITATIONS_PER_COMPANY = 60
INVITATIONS_PER_EMAIL = 5
WHOSE = {"address": "this address", "email": "this e-mail address", "company": "this company"}


@dataclass(frozen=True, slots=True)
class _Rule:
    """So many tries of one kind in a window of time; `scope` says whose, as WHOSE has it."""

    limit: str
    scope: str
    value: str
    most: int
    window_s: int


def count_sign_in(*, address: str, email: str, now: datetime) -> None:
    """Count one try, whatever comes of it. Errors: RateLimited."""
    _count(
        _Rule("sign_ins", "address", _network(address), settings.SIGN_INS_PER_ADDRESS, SIGN_IN_WINDOW_S),
        _Rule("sign_ins", "email", email.lower(), SIGN_INS_PER_EMAIL, SIGN_IN_WINDOW_S),
        now=now,
    )


def count_registration(*, address: str, email: str, now: datetime) -> None:
    """Count one try, whatever comes of it. Errors: RateLimited."""
    most, window_s = settings.REGISTRATIONS_PER_ADDRESS, REGISTRATION_WINDOW_S
    _count(
        _Rule("registrations", "address", _network(address), most, window_s),
        _Rule("registrations", "email", email.lower(), REGISTRATIONS_PER_EMAIL, window_s),
        now=now,
    )


def count_code(*, email: str, now: datetime) -> None:
    """Count one try of a second factor's code, whatever comes of it. Errors: RateLimited."""
    _count(_Rule("codes", "email", email.lower(), CODES_PER_EMAIL, SIGN_IN_WINDOW_S), now=now)


def count_passkey(*, address: str, now: datetime) -> None:
    """Count one try to sign in with a passkey, which cannot be guessed, and costs us work. Errors: RateLimited."""
    most = settings.SIGN_INS_PER_ADDRESS
    _count(_Rule("sign_ins", "address", _network(address), most, SIGN_IN_WINDOW_S), now=now)


def count_letter(*, address: str, email: str, now: datetime) -> None:
    """Count one letter that somebody asks us to send to an address. Errors: RateLimited."""
    most, window_s = settings.REGISTRATIONS_PER_ADDRESS, REGISTRATION_WINDOW_S
    _count(
        _Rule("letters", "address", _network(address), most, window_s),
        _Rule("letters", "email", email.lower(), LETTERS_PER_EMAIL, window_s),
        now=now,
    )


def count_invitation(*, company_id: UUID, email: str, now: datetime) -> None:
    """Count one letter that a company wants sent, whatever comes of it. Errors: RateLimited."""
    _count(
        _Rule("invitations", "company", str(company_id), INVITATIONS_PER_COMPANY, INVITATION_WINDOW_S),
        _Rule("invitations", "email", email.lower(), INVITATIONS_PER_EMAIL, INVITATION_WINDOW_S),
        now=now,
    )


def count_invitation_look(*, address: str, now: datetime) -> None:
    """Count one look at an invitation by its link. Errors: RateLimited."""
    most = settings.SIGN_INS_PER_ADDRESS
    _count(_Rule("invitation_links", "address", _network(address), most, SIGN_IN_WINDOW_S), now=now)


def _count(*rules: _Rule, now: datetime) -> None:
    for rule in rules:
        if not rule.most:
            continue
        window, into_s = divmod(int(now.timestamp()), rule.window_s)
        # No address and no e-mail stands in Valkey as it is.
        name = sha256(f"{rule.scope}:{rule.value}".encode()).hexdigest()[:32]
        if _increment(f"throttle:{rule.limit}:{name}:{window}", rule.window_s) > rule.most:
            raise _refused(rule, rule.window_s - into_s)


def _increment(key: str, window_s: int) -> int:
    try:
        return _add(key, window_s, cache="default")
    except (redis.exceptions.RedisError, OSError) as exc:
        log.warning(
            "Sign-ins are counted by this process alone: Valkey does not answer (%s)", type(exc).__name__
        )
    return _add(key, window_s, cache="process")


def _add(key: str, window_s: int, *, cache: str) -> int:
    counts = caches[cache]
    # Kept longer than it counts, so that it never ends between the two.
    if counts.add(key, 1, timeout=2 * window_s):
        return 1
    return int(counts.incr(key))


def _network(address: str) -> str:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        mapped = found.ipv4_mapped
        return str(mapped or ipaddress.ip_network((found, NETWORK_BITS), strict=False))
    return str(found)


def _refused(rule: _Rule, wait_s: int) -> RateLimited:
    whose = WHOSE[rule.scope]
    what = rule.limit.replace("_", "-")
    return RateLimited(
        f"Too many {what} for {whose}: {rule.most} in {rule.window_s // 60} minutes.",
        hint=f"Wait {wait_s} seconds. An API key that you have goes on working.",
        details={"limit": rule.limit, "scope": rule.scope, "max": rule.most, "retry_after_s": wait_s},
    )
