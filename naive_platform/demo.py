"""The demo company and the operator of a development run: made once, and found again at every start."""

import json
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

from django.db import transaction

from accounts import audit, keys, tokens
from accounts.errors import Conflict
from accounts.models import APIKey, Membership, User
from billing import clock
from naive_platform import folders, onboarding
from naive_platform.demo_data import company, past
from naive_platform.exports import files
from naive_platform.onboarding import SignedUp

# .test never leads anywhere (RFC 6761).
DEMO_EMAIL = "demo@naive.test"
OPERATOR_EMAIL = "operator@naive.test"
COMPANY_NAME = "Acme Robotics"
KEY_NAME = "Demo"


def seed(*, file: Path, now: datetime, has_past: bool = False) -> None:
    """Make what is missing so that `file` opens the door: `{api_key, operator, demo}`, for its owner's eyes.

    Shape: safe to run twice; who is there keeps everything, but a password or key that `file` has lost, or that
    no longer works, is replaced; a file that cannot be understood is written anew. With a past, a company that is
    made now was founded thirty days ago and has lived since; that takes the login of the books' owner.
    """
    told = _told(file)
    with transaction.atomic():
        operator = _operator(_text(told, "operator", "password"), now=now)
        person, secret = _demo(
            _text(told, "demo", "password"), secret=_text(told, "api_key"), has_past=has_past, now=now
        )
    folders.write_for(None, file, json.dumps({"api_key": secret, "operator": operator, "demo": person}))


def _told(file: Path) -> object:
    try:
        return json.loads(file.read_bytes())
    except (FileNotFoundError, ValueError, RecursionError):
        return None


def _text(told: object, *path: str) -> str | None:
    for name in path:
        told = told.get(name) if isinstance(told, dict) else None
    # Nothing that we write there is unprintable, such as a lone surrogate, which nobody can hash.
    return told if isinstance(told, str) and told.isprintable() else None


def _operator(password: str | None, *, now: datetime) -> dict[str, str]:
    user = User.objects.with_email(OPERATOR_EMAIL).first()
    if user:
        return _sign_in(user, password)
    password = _new_password()
    user = User.objects.create_superuser(OPERATOR_EMAIL, password, name="Operator", email_verified_at=now)
    _record(user, "person.created", {"email": user.email, "name": user.name, "is_superuser": True})
    return {"email": OPERATOR_EMAIL, "password": password}


def _demo(
    password: str | None, *, secret: str | None, has_past: bool, now: datetime
) -> tuple[dict[str, str], str]:
    user = User.objects.with_email(DEMO_EMAIL).first()
    if user:
        return _sign_in(user, password), _key(user, secret, now=now)
    password = _new_password()
    signed_up = _with_past(password, now=now) if has_past else _sign_up(password, now=now)
    return {"email": DEMO_EMAIL, "password": password}, signed_up.api_key_secret


def _sign_up(password: str, *, now: datetime) -> SignedUp:
    return onboarding.sign_up(
        email=DEMO_EMAIL,
        password=password,
        name="Demo",
        company_name=COMPANY_NAME,
        email_verified=True,
        now=now,
    )


def _with_past(password: str, *, now: datetime) -> SignedUp:
    founded_at = now - timedelta(days=past.DAYS)
    with clock.told() as tell, audit.dated(founded_at):
        tell(founded_at)
        signed_up = _sign_up(password, now=founded_at)
    past.write(
        company_id=signed_up.company.id,
        default_kit_id=signed_up.kit.id,
        owner=signed_up.user,
        operator=User.objects.get(email=OPERATOR_EMAIL),
        now=now,
    )
    with company.acting(signed_up.user, now):
        # For a worker to write, as soon as there is one.
        files.ask(
            company_id=signed_up.company.id,
            kind="generations",
            query={"range": "30d"},
            person_id=signed_up.user.id,
            now=now,
        )
    return signed_up


def _sign_in(user: User, password: str | None) -> dict[str, str]:
    if not password or not user.check_password(password):
        password = _new_password()
        user.set_password(password)
        user.save(update_fields=["password"])
        _record(user, "person.password_set")
    return {"email": user.email, "password": password}


def _record(user: User, action: str, after: Mapping[str, object] | None = None) -> None:
    audit.record(
        company_id=None,
        action=action,
        target_kind="person",
        target_id=user.id,
        target_label=user.email,
        after=after,
    )


def _key(user: User, secret: str | None, *, now: datetime) -> str:
    if not user.is_active:
        raise Conflict(f"{user.email} is deactivated: activate it, or start with --no-demo.")
    membership = Membership.objects.filter(user=user).order_by("created_at").first()
    if membership is None:
        raise Conflict(f"{user.email} is a member of no company: add it to one, or start with --no-demo.")
    live = APIKey.objects.live(now).filter(company_id=membership.company_id)
    if secret and tokens.is_well_formed(secret) and live.filter(digest=tokens.digest(secret)).exists():
        return secret
    issued = keys.create(
        company_id=membership.company_id, name=KEY_NAME, role=membership.role, created_by_id=user.id, now=now
    )
    return issued.secret


def _new_password() -> str:
    return secrets.token_urlsafe(12)
