"""People who sign in: made once per e-mail address, known by their password; their companies are in companies.py."""

import contextlib
import dataclasses
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from uuid import UUID

from django.contrib.auth import authenticate, password_validation
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction

from accounts import audit, database, fields, sign_ins
from accounts.errors import DuplicateRecord, NotFound, Unauthorized
from accounts.models import NAME_LENGTH_MAX, AuditEntry, User

EMAIL_LENGTH_MAX = 254
# Characters; hashing a longer one would only be a way to keep us busy.
PASSWORD_LENGTH_MAX = 1024


@transaction.atomic
def create(*, email: str, password: str, name: str, now: datetime, email_verified: bool = False) -> User:
    """A new person; the address is taken once, whatever its case, however many ask at the same time.

    Errors: InvalidInput (address, password or name), DuplicateRecord (the address is taken).
    """
    wanted = address(email)
    user_name = fields.text("name", name, length_max=NAME_LENGTH_MAX)
    check_password(password)
    with _taken_once():
        user = User.objects.create_user(
            wanted,
            password,
            name=user_name,
            created_at=now,
            email_verified_at=now if email_verified else None,
        )
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


def address(email: object) -> str:
    """An e-mail address as it may be kept. Errors: InvalidInput."""
    found = fields.text("email", email, length_max=EMAIL_LENGTH_MAX)
    try:
        validate_email(found)
    except ValidationError as exc:
        raise fields.refuse("email", "must be an e-mail address.") from exc
    return found


@transaction.atomic
def rename(*, user_id: UUID, name: str, now: datetime) -> User:
    """Change how a person is called. Errors: InvalidInput, NotFound."""
    user = User.objects.select_for_update().filter(id=user_id).first()
    if user is None:
        raise NotFound(f"User {user_id} was not found.")
    before = {"name": user.name}
    user.name = fields.text("name", name, length_max=NAME_LENGTH_MAX)
    if user.name != before["name"]:
        user.save(update_fields=["name"])
        audit.record(
            company_id=None,
            action="person.updated",
            target_kind="person",
            target_id=user.id,
            target_label=user.email,
            before=before,
            after={"name": user.name},
            now=now,
        )
    return user


@transaction.atomic
def set_password(*, user: User, password: str) -> None:
    """Give a person another password, which ends every session that the one before opened. Errors: InvalidInput."""
    check_password(password)
    user.set_password(password)
    user.save(update_fields=["password"])
    sign_ins.record(person=user, action="person.password_set")


@transaction.atomic
def confirm_address(*, user_id: UUID, email: str, now: datetime) -> User:
    """Take it as proven that a person reads this address: theirs from now on, and confirmed.

    Shape: the same again changes nothing; the rows of sign-in libraries follow (migration 0011).
    Errors: InvalidInput, NotFound, DuplicateRecord (somebody else has the address by now).
    """
    wanted = address(email)
    user = User.objects.select_for_update().filter(id=user_id).first()
    if user is None:
        raise NotFound(f"User {user_id} was not found.")
    before = {"email": user.email}
    is_other = user.email.lower() != wanted.lower()
    if user.email_verified_at is not None and not is_other:
        return user
    if is_other:
        user.email = User.objects.normalize_email(wanted)
    user.email_verified_at = now
    with _taken_once():
        user.save(update_fields=["email", "email_verified_at"])
    if is_other:
        sign_ins.record(
            person=user, action="person.email_changed", before=before, after={"email": user.email}
        )
    sign_ins.record(person=user, action="person.email_verified", after={"email_verified_at": now})
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


def check_password(password: object) -> None:
    """Whether somebody may have this password. Errors: InvalidInput."""
    if not isinstance(password, str) or len(password) > PASSWORD_LENGTH_MAX:
        raise fields.refuse("password", f"must be a string of at most {PASSWORD_LENGTH_MAX} characters.")
    try:
        password_validation.validate_password(password)
    except ValidationError as exc:
        raise fields.refuse("password", " ".join(exc.messages)) from exc


def acting(user: User) -> AbstractContextManager[None]:
    """Whoever acts inside this block is the person, from where the door says."""
    actor = dataclasses.replace(
        audit.actor(), kind=AuditEntry.Actor.PERSON, id=user.id, label=user.email, person_id=user.id
    )
    return audit.acting(actor)


@contextlib.contextmanager
def _taken_once() -> Iterator[None]:
    """Errors: DuplicateRecord, where what the block saves has somebody else's address."""
    try:
        with transaction.atomic():
            yield
    except IntegrityError as exc:
        if database.violated(exc) != "accounts_user_email":
            raise
        raise DuplicateRecord(
            "This e-mail address has an account already.", hint="Sign in.", details={"field": "email"}
        ) from exc
