"""/v1/users/{id}/sessions: short-lived tokens, each sealed to one tenant user."""

from typing import Any
from uuid import UUID

from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import ids, sessions
from accounts.errors import Conflict, Forbidden, NotFound
from accounts.session_models import UserSession
from naive_platform.api import contract, routes, shapes
from naive_platform.api.routes import Route


class SessionBody(shapes.Body):
    ttl_seconds = shapes.Whole(
        min_value=1,
        max_value=sessions.TTL_S_MAX,
        default=sessions.TTL_S,
        help_text="How long it lasts; no longer than the API key that issues it.",
    )


class SessionShape(shapes.Answer):
    """A session token without its secret; `key_id` issued it, and its calls count as that key's."""

    id = shapes.Id()
    user_id = shapes.Id()
    key_id = shapes.Id()
    expires_at = shapes.Instant()
    created_at = shapes.Instant()
    revoked_at = shapes.Instant(allow_null=True)


class IssuedSessionShape(SessionShape):
    """A new session with its token, which is shown only here."""

    token = shapes.Text(help_text="For the user's own device: `Authorization: Bearer nv_sess_…`.")


class SessionsShape(shapes.Answer):
    sessions = SessionShape(many=True)
    next_cursor = shapes.Text(allow_null=True)


class Sessions(Route):
    """GET and POST /v1/users/{user_id}/sessions"""

    name = "user-sessions"

    @contract.describe(
        summary="List a tenant user's sessions that have not ended",
        query=shapes.Page,
        answers={200: SessionsShape},
        refuses=(NotFound,),
    )
    def get(self, request: Request, user_id: str) -> Response:
        page = sessions.page(
            company_id=self.company_id,
            user_id=routes.subject(self.caller, user_id).user_id,
            now=timezone.now(),
            limit=self.query["limit"],
            before_id=routes.cursor(self.query["cursor"], kind=UUID),
        )
        found = {
            "sessions": [session_object(session) for session in page.sessions],
            "next_cursor": routes.next_cursor(page.before_id),
        }
        return routes.answer(found)

    @contract.describe(
        summary="Issue a session token for a tenant user; it is shown once",
        body=SessionBody,
        answers={201: IssuedSessionShape},
        refuses=(NotFound, Conflict),
    )
    def post(self, request: Request, user_id: str) -> Response:
        subject = routes.subject(self.caller, user_id)
        if self.caller.key is None:
            raise Forbidden(
                "A session's calls count as those of the API key that issues it, and no key asks here.",
                hint="Send the request with an API key: `Authorization: Bearer nv_sk_live_…`.",
                details={"reason": "key_required"},
            )
        issued = sessions.issue(
            company_id=self.company_id,
            user_id=subject.user_id,
            api_key_id=self.caller.key.key_id,
            ttl_s=self.body["ttl_seconds"],
            now=timezone.now(),
        )
        return routes.answer({**session_object(issued.session), "token": issued.token}, status=201)


class Session(Route):
    """DELETE /v1/users/{user_id}/sessions/{session_id}"""

    name = "user-session"

    @contract.describe(
        summary="Revoke a session token: within a second it opens nothing",
        answers={200: SessionShape},
        refuses=(NotFound,),
    )
    def delete(self, request: Request, user_id: str, session_id: str) -> Response:
        found_id = ids.parse(session_id)
        subject = routes.subject(self.caller, user_id)
        if found_id is None:
            raise NotFound(f"Session {session_id[:100]} was not found.")
        session = sessions.revoke(
            company_id=self.company_id, user_id=subject.user_id, session_id=found_id, now=timezone.now()
        )
        return routes.answer(session_object(session))


def session_object(session: UserSession) -> dict[str, Any]:
    """What a client reads of a session."""
    return {"id": session.id, **sessions.told(session)}
