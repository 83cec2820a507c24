"""People who sign in: made once per e-mail address, known by their password; their companies are in companies.py."""

import dataclasses
from contextlib import AbstractContextManager
from datetime import datetime

from django.contrib.auth import authenticate, password_validation
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction

from accounts import audit, database, fields
from accounts.errors import DuplicateRecord, Unauthorized
from accounts.models import NAME_LENGTH_MAX, AuditEntry, User

EMAIL_LENGTH_MAX = 254
# Characters; hashing a longer one would only be a way to keep us busy.
PASSWORD_LENGTH_MAX = 1024


@transaction.atomic
def create(*, email: str, password: str, name: str, now: datetime, email_verified: bool = False) -> User:
    """A new person; the address is taken once, whatever its case, however many ask at the same time.

    Errors: InvalidInput (address, password or name), DuplicateRecord (the address is taken).
    """
    address = fields.text("email", email, length_max=EMAIL_LENGTH_MAX)
    try:
        validate_email(address)
    except ValidationError as exc:
        raise fields.refuse("email", "must be an e-mail address.") from exc
    user_name = fields.text("name", name, length_max=NAME_LENGTH_MAX)
    _check_password(password)
    try:
        with transaction.atomic():
            user = User.objects.create_user(
                address,
                password,
                name=user_name,
                created_at=now,
                email_verified_at=now if email_verified else None,
            )
    except IntegrityError as exc:
        if database.violated(exc) != "accounts_user_email":
            raise
        raise DuplicateRecord(
            "This e-mail address has an account already.", hint="Sign in.", details={"field": "email"}
        ) from exc
    audit.record(
        company_id=None,
        action="person.created",
        target_kind="person",
        target_id=user.id,
        target_label=user.email,
        after={"email": user.email, "name": user.name, "email_verified_at": user.email_verified_at},
        now=now,
    )
    return user


def recognise(*, email: str, password: str) -> User:
    """The person who has this address and password, and is active.

    Shape: whatever is wrong, it takes as long and sounds the same, so that nobody learns who has an account.
    Errors: Unauthorized.
    """
    user = authenticate(username=email, password=password)
    if not isinstance(user, User):
        raise Unauthorized(
            "This e-mail address and password do not open an account.",
            hint="Check both; capital letters count in the password.",
        )
    return user


def acting(user: User) -> AbstractContextManager[None]:
    """Whoever acts inside this block is the person, from where the door says."""
    actor = dataclasses.replace(
        audit.actor(), kind=AuditEntry.Actor.PERSON, id=user.id, label=user.email, person_id=user.id
    )
    return audit.acting(actor)


def _check_password(password: object) -> None:
    if not isinstance(password, str) or len(password) > PASSWORD_LENGTH_MAX:
        raise fields.refuse("password", f"must be a string of at most {PASSWORD_LENGTH_MAX} characters.")
    try:
        password_validation.validate_password(password)
    except ValidationError as exc:
        raise fields.refuse("password", " ".join(exc.messages)) from exc
