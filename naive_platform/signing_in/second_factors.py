"""Second factors of people: what counts as one, how a code is proven and used up, how their secrets are kept."""

import base64
import os
from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

from allauth.account.internal.flows.login import get_authentication_records, record_authentication
from allauth.core.internal.cryptokit import compare_user_code
from allauth.mfa import signals
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from allauth.mfa.utils import decrypt
from allauth.usersessions import adapter as sessions
from allauth.usersessions.models import UserSession
from django.db import transaction
from django.dispatch import receiver
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from qrcode.constants import ERROR_CORRECT_M
from qrcode.main import QRCode

from accounts import ciphers, people, sign_ins
from accounts.errors import NotFound, Unauthorized
from accounts.models import User
from naive_platform import throttles
from naive_platform.signing_in import options

Type = Authenticator.Type
# Recovery codes stand in for these, and are none by themselves.
FACTORS = (Type.TOTP, Type.WEBAUTHN)
CODE_LENGTH_MAX = 64
STEP_S = 30
TOLERANCE: int = options.get("MFA_TOTP_TOLERANCE", 0)
# The last step of time whose code was used; it and those before open nothing any more.
USED = "used_step"
PURPOSE = "second factors"
# Modules of white around a code, which readers want (ISO/IEC 18004).
QUIET_ZONE = 4
ACTIONS = {
    Type.TOTP: ("person.mfa_added", "person.mfa_removed"),
    Type.WEBAUTHN: ("person.passkey_added", "person.passkey_removed"),
    Type.RECOVERY_CODES: ("person.recovery_codes_made", "person.recovery_codes_removed"),
}


class MFAAdapter(DefaultMFAAdapter):
    """Keeps the secrets of authenticator apps encrypted, and draws codes that the content policy lets through."""

    error_messages = {
        **DefaultMFAAdapter.error_messages,
        "incorrect_code": "That was not accepted. Try again.",
        "unverified_email": "Confirm your e-mail address first: else a stranger could lock its owner out.",
    }

    def encrypt(self, text: str) -> str:
        return base64.b64encode(ciphers.encrypt(text.encode(), purpose=PURPOSE, about=b"")).decode()

    def decrypt(self, encrypted_text: str) -> str:
        """The secret; a new one that nobody has where SECRET_KEY is another one by now, so that no code opens."""
        found = ciphers.decrypt(base64.b64decode(encrypted_text), purpose=PURPOSE, about=b"")
        return base64.b32encode(os.urandom(20)).decode() if found is None else found.decode()

    def build_totp_svg(self, url: str) -> SafeString:
        return drawn(url)

    def get_public_key_credential_rp_entity(self) -> dict[str, str]:
        return {**super().get_public_key_credential_rp_entity(), "name": self.get_totp_issuer()}

    def generate_authenticator_name(self, user: User, type: Authenticator.Type) -> str:
        return "Passkey"


def drawn(text: str) -> SafeString:
    """A QR code as an inline drawing: no address, no style."""
    code = QRCode(error_correction=ERROR_CORRECT_M, border=QUIET_ZONE)
    code.add_data(text)
    rows = code.get_matrix()
    path = "".join(
        f"M{x} {y}h1v1h-1z" for y, row in enumerate(rows) for x, is_dark in enumerate(row) if is_dark
    )
    return format_html(
        '<svg class="qr" role="img" aria-label="QR code of the secret below" viewBox="0 0 {0} {0}">'
        '<path d="{1}"/></svg>',
        len(rows),
        path,
    )


def types(person: User) -> set[str]:
    """What somebody has beside the password; recovery codes are among them, and are no factor by themselves."""
    return set(Authenticator.objects.filter(user_id=person.id).values_list("type", flat=True))


def is_enrolled(person: User) -> bool:
    """Whether somebody has a second factor, and is asked for it at every sign-in."""
    return not types(person).isdisjoint(FACTORS)


def is_proven(request: HttpRequest) -> bool:
    """Whether this session gave a second factor, at its sign-in or since."""
    return any(record.get("method") == "mfa" for record in get_authentication_records(request, request.user))


@transaction.atomic
def use(*, person: User, code: str, now: datetime) -> Authenticator | None:
    """The factor that a code proves, used up with it; None where it proves nothing.

    Shape: of an authenticator app each step's code is good once, and none that is older; a recovery code is good once.
    Whoever sends one code twice at a time gets in once: the rows are locked.
    """
    rows = Authenticator.objects.select_for_update().filter(user_id=person.id).order_by("id")
    for factor in rows.exclude(type=Type.WEBAUTHN):
        if factor.type == Type.RECOVERY_CODES:
            if factor.wrap().validate_code(code):
                return factor
        elif step := _step_of(decrypt(factor.data["secret"]), code, now=now, after=factor.data.get(USED, 0)):
            factor.data[USED] = step
            factor.save(update_fields=["data"])
            return factor
    return None


def proof(code: str | None, *, now: datetime) -> Callable[[User], None]:
    """What asks a person who has a second factor for a code of it, once the password is right.

    Errors, of what is returned: Unauthorized (reason `mfa_required` without a code, `mfa_code` for a wrong or used
    one), RateLimited.
    """

    def prove(person: User) -> None:
        if not is_enrolled(person):
            return
        if not code:
            raise Unauthorized(
                "This account has a second factor: send `mfa_code`.",
                hint="Six digits from your authenticator app, or a recovery code.",
                details={"reason": "mfa_required"},
            )
        throttles.count_code(email=person.email, now=now)
        factor = use(person=person, code=code, now=now)
        if factor is None:
            raise Unauthorized(
                "The code is wrong, or was used before.",
                hint="Wait for the next code of your authenticator app, or send a recovery code.",
                details={"reason": "mfa_code"},
            )
        factor.record_usage()

    return prove


@transaction.atomic
def remove_all(*, user_id: UUID) -> int:
    """Take every second factor from a person who has lost them; how many there were. Errors: NotFound."""
    person = User.objects.select_for_update().filter(id=user_id).first()
    if person is None:
        raise NotFound(f"User {user_id} was not found.")
    factors = list(Authenticator.objects.filter(user_id=user_id))
    for factor in factors:
        factor.delete()
        sign_ins.record(person=person, action=ACTIONS[factor.type][1], before=told(factor))
    return len(factors)


def told(factor: Authenticator) -> dict[str, Any]:
    """What may be said of a factor: never its secret."""
    return {"name": factor.data.get("name") or str(factor.get_type_display()), "added_at": factor.created_at}


# Allauth has no hook for what follows, only signals; they are taken up here, where they end.


@receiver(signals.authenticator_added, dispatch_uid="naive-factor-added")
def _added(request: HttpRequest, user: User, authenticator: Authenticator, **_: Any) -> None:
    with transaction.atomic(), people.acting(user):
        if authenticator.type == Type.TOTP:
            _note_first_use(authenticator, request.POST.get("code", ""))
        sign_ins.record(person=user, action=ACTIONS[authenticator.type][0], after=told(authenticator))
    if authenticator.type in FACTORS:
        # Whoever set it up has just shown that they have it; who is signed in elsewhere has not, and may be a stranger.
        record_authentication(request, user, method="mfa", id=authenticator.pk, type=authenticator.type)
        _end_others(user, but=request.session.session_key)


def _end_others(user: User, *, but: str | None) -> None:
    others = list(UserSession.objects.filter(user_id=user.pk).exclude(session_key=but or ""))
    with people.acting(user):
        sessions.get_adapter().end_sessions(others)


@receiver(signals.authenticator_removed, dispatch_uid="naive-factor-removed")
def _removed(user: User, authenticator: Authenticator, **_: Any) -> None:
    with transaction.atomic(), people.acting(user):
        sign_ins.record(person=user, action=ACTIONS[authenticator.type][1], before=told(authenticator))


@receiver(signals.authenticator_reset, dispatch_uid="naive-factor-reset")
def _reset(user: User, authenticator: Authenticator, **_: Any) -> None:
    with transaction.atomic(), people.acting(user):
        sign_ins.record(person=user, action=ACTIONS[authenticator.type][0], after=told(authenticator))


def _note_first_use(factor: Authenticator, code: str) -> None:
    """The code that sets an app up is used with it."""
    step = _step_of(decrypt(factor.data["secret"]), code, now=timezone.now(), after=0)
    if step:
        factor.data[USED] = step
        factor.save(update_fields=["data"])


def _step_of(secret: str, code: str, *, now: datetime, after: int) -> int | None:
    """The step of time, later than `after`, whose code this is."""
    here = int(now.timestamp()) // STEP_S
    for step in range(here - TOLERANCE, here + TOLERANCE + 1):
        if step > after and compare_user_code(
            actual=code, expected=format_hotp_value(hotp_value(secret, step))
        ):
            return step
    return None
