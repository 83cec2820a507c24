"""How the management API learns who asks: an API key in the header, or the dashboard's session with its CSRF token."""

from typing import Any
from uuid import UUID

from asgiref.sync import async_to_sync
from django.conf import settings
from django.middleware.csrf import CsrfViewMiddleware
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from accounts import auth, database, ids
from accounts.auth import Principal
from accounts.errors import Forbidden, Unauthorized
from accounts.models import User
from naive_platform.api import callers, wire
from naive_platform.api.callers import Caller
from naive_platform.dashboard import viewings

# Where the dashboard's session keeps the company that its person has chosen.
SESSION_COMPANY = "company_id"


class BearerKey(BaseAuthentication):
    """The API key of the Authorization header, by the rules of the data plane and on its event loop and caches."""

    def authenticate(self, request: Request) -> tuple[Caller, None] | None:
        misplaced = wire.misplaced_key(request.query_params)
        header = request.META.get("HTTP_AUTHORIZATION")
        if misplaced and not header:
            raise Unauthorized(
                f"An API key does not belong into the address ({misplaced}=…): logs keep it.",
                hint="Revoke it, and send its successor in the header `Authorization: Bearer nv_sk_live_…`.",
            )
        if header is None and person(request) is not None:
            return None
        return callers.of_key(async_to_sync(_authenticate)(header)), None


class DashboardSession(BaseAuthentication):
    """The person signed in to the dashboard, in the company they chose there; what changes anything needs the token."""

    def authenticate(self, request: Request) -> tuple[Caller, None] | None:
        found = person(request)
        if found is None:
            return None
        _require_csrf(request)
        if viewings.SESSION in request.session:
            raise Forbidden(viewings.READ_ONLY, details={"reason": "looking_on"})
        caller = callers.of_person(found, company_id=chosen_company(request))
        if caller is None:
            raise Forbidden(
                "You belong to no company.",
                hint="Ask somebody to invite you, or register a company.",
                details={"reason": "no_company"},
            )
        return caller, None


class _CSRF(CsrfViewMiddleware):
    def _reject(self, request: Any, reason: str) -> Any:
        return reason


def person(request: Request) -> User | None:
    """The person whose session this is, active ones only."""
    found = getattr(request._request, "user", None)
    return found if isinstance(found, User) and found.is_active else None


def chosen_company(request: Request) -> UUID | None:
    """The company that the session's person works in, as they last said."""
    said = request._request.session.get(SESSION_COMPANY)
    return ids.parse(said) if isinstance(said, str) else None


def _require_csrf(request: Request) -> None:
    check = _CSRF(_nothing)
    check.process_request(request._request)
    # REST framework has exempted the view from Django's own check.
    reason = check.process_view(request._request, _nothing, (), {})
    if reason:
        raise Forbidden(
            f"This request could have been forged by another site: {reason}",
            hint=f"Send the token of the cookie `{settings.CSRF_COOKIE_NAME}` in the header X-CSRFToken.",
            details={"reason": "csrf"},
        )


def _nothing(request: Any) -> Any:
    return None


async def _authenticate(header: str | None) -> Principal:
    async with database.visit():
        return await auth.authenticate(header)
