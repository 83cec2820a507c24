"""What every route of the management API stands on: the key, who may, idempotency, pages, errors."""

import base64
import binascii
import functools
import logging
import re
from collections.abc import Callable
from typing import Any, ClassVar
from uuid import UUID

from asgiref.sync import async_to_sync
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import audit, auth, database, idempotency, subjects
from accounts.audit import Actor
from accounts.errors import DomainError, Forbidden, InvalidInput, Unauthorized
from accounts.idempotency import Answer
from accounts.models import AuditEntry, CompanyStatus, Role
from accounts.subjects import Subject
from llm import sightings
from naive_platform import errors
from naive_platform.api import contract, permissions, wire
from naive_platform.api.authentication import BearerKey, DashboardSession
from naive_platform.api.callers import Caller
from naive_platform.api.contract import Contract
from naive_platform.api.permissions import Permission

log = logging.getLogger(__name__)

MUTATIONS = ("post", "put", "patch", "delete")
IDEMPOTENCY_KEY = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"

type Handler = Callable[..., Response]

_CURSOR = re.compile(r"before:(?:(?P<number>[0-9]{1,18})|(?P<id>[0-9a-f-]{36}))", re.ASCII)


class OnlyJSON(BaseContentNegotiation):
    """Answers are JSON whatever is asked for; bodies are JSON or refused."""

    def select_parser(self, request: Request, parsers: list[Any]) -> Any:
        media_type = (request.content_type or "").partition(";")[0].strip().lower()
        return next((parser for parser in parsers if parser.media_type == media_type), None)

    def select_renderer(
        self, request: Request, renderers: list[Any], format_suffix: str | None = None
    ) -> Any:
        return renderers[0], renderers[0].media_type


class Route(APIView):
    """One address of the management API; a subclass has a method per verb, which returns what `answer` made.

    Shape: `name` is its row in permissions.py; each verb has a contract (contract.py), which its query and its body
    are read by. A mutation that carries an Idempotency-Key is done once: in one transaction with its claim, or after
    the claim where the route `reaches_beyond` the database and would keep that transaction open for seconds.
    """

    authentication_classes: ClassVar[list[Any]] = [BearerKey, DashboardSession]
    permission_classes: ClassVar[list[Any]] = []
    parser_classes: ClassVar[list[Any]] = [wire.ExactJSONParser]
    renderer_classes: ClassVar[list[Any]] = [wire.ExactJSONRenderer]
    content_negotiation_class = OnlyJSON
    # OPTIONS is not answered.
    http_method_names: ClassVar[list[str]] = ["get", "post", "put", "patch", "delete", "head"]

    name: ClassVar[str]
    is_idempotent: ClassVar[bool] = True
    reaches_beyond: ClassVar[bool] = False

    request: Request

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Make every mutation heed its Idempotency-Key, so that no route can forget to."""
        super().__init_subclass__(**kwargs)
        for verb in MUTATIONS:
            handler = cls.__dict__.get(verb)
            if handler is not None and cls.is_idempotent:
                setattr(cls, verb, _once(handler))

    @classmethod
    def permission(cls, verb: str) -> Permission:
        """Who may do this. Errors: KeyError where the table does not say."""
        return permissions.TABLE[cls.name][verb]

    @property
    def caller(self) -> Caller:
        found: Caller = self.request.user
        return found

    @property
    def company_id(self) -> UUID:
        return self.caller.company_id

    @property
    def idempotency_scope(self) -> tuple[UUID, str]:
        """Among whose requests an Idempotency-Key names one, and who is given its answer again."""
        return self.company_id, str(self.caller.id)

    @functools.cached_property
    def body(self) -> dict[str, Any]:
        """What was sent, by the verb's contract. Errors: InvalidInput."""
        return contract.read(self._contract.body, self.request.data, what="body")

    @functools.cached_property
    def query(self) -> dict[str, Any]:
        """The address's parameters, by the verb's contract; misspelt ones are refused. Errors: InvalidInput."""
        return contract.read_query(self._handler, dict(self.request.query_params.lists()))

    @property
    def _contract(self) -> Contract:
        return contract.of(self._handler)

    @property
    def _handler(self) -> Any:
        return getattr(self, _verb(self.request))

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Answer; whatever is changed meanwhile is changed by this request's caller."""
        # Named below, once it is known who asks; reset here, for threads serve many.
        with audit.acting(audit.PLATFORM):
            answered: HttpResponse = super().dispatch(request, *args, **kwargs)
            return answered

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuse whom this route is not for, before a byte of the body is read."""
        # A call from inside belongs to a request that has one.
        scope = getattr(request._request, "scope", {})
        request.request_id = scope.get(sightings.REQUEST_ID) or wire.new_request_id()
        super().initial(request, *args, **kwargs)
        verb = _verb(request)
        if verb not in self.http_method_names or not hasattr(self, verb):
            return  # Answered as a method that is not allowed.
        permission = self.permission(verb)
        if permission.role is not None:
            if not isinstance(request.user, Caller):
                raise Unauthorized("An API key is required.", hint=auth.HINT)
            self.admit(request.user, permission, is_mutation=verb in MUTATIONS)
        audit.name(_actor(request))
        if hasattr(self._handler, contract.ATTRIBUTE):
            # Also where no parameter is known: one that is misspelt does not go by unnoticed.
            _ = self.query

    def admit(self, caller: Caller, permission: Permission, *, is_mutation: bool) -> None:
        """Errors: Forbidden, reason `key_scope`, `role` or `company_suspended`."""
        if caller.is_narrow and (is_mutation or not permission.opens_to_narrow):
            raise Forbidden(
                "This credential is for one tenant user or one AccountKit; it does not open this route.",
                hint="Use a key without a seal and without a kit.",
                details={"reason": "key_scope"},
            )
        least = permission.role or Role.VIEWER
        if not least.is_at_most(caller.role):
            raise Forbidden(
                f"Your role here is {caller.role.value}; this takes {least.value} or above.",
                hint="Ask an admin or owner of your company.",
                details={"reason": "role", "role": caller.role.value, "required": least.value},
            )
        if is_mutation and caller.company_status != CompanyStatus.ACTIVE.value:
            raise Forbidden(
                f'Company "{caller.company_name}" is {caller.company_status}.',
                hint="Ask the operator of this platform.",
                details={"reason": "company_suspended"},
            )

    def handle_exception(self, exc: Exception) -> HttpResponse:
        """Answer an error in its one shape; a bug is logged and told without its words."""
        request_id = _request_id(self.request)
        answer = wire.problem(exc, request_id=request_id)
        if answer is not None:
            if isinstance(exc, DomainError) or answer.status_code != 405:
                return answer
            answer["Allow"] = ", ".join(self.allowed_methods)
            return answer
        log.error(
            "%s %s failed, request %s", self.request.method, self.request.path, request_id, exc_info=exc
        )
        code, status = errors.INTERNAL
        body = errors.body(code=code, message="Something broke on our side.", request_id=request_id)
        return HttpResponse(body, status=status, content_type=wire.JSON, headers={"X-Request-Id": request_id})

    def finalize_response(
        self, request: Request, response: HttpResponse, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        found: HttpResponse = super().finalize_response(request, response, *args, **kwargs)
        if "X-Request-Id" not in found:
            found["X-Request-Id"] = _request_id(request)
        # Whoever shares a cache with a customer is not to share the answers.
        found["Cache-Control"] = "private, no-store"
        return found


def answer(data: Any, *, status: int = 200) -> Response:
    """What a route returns: the status and the object that becomes its JSON."""
    return Response(data, status=status)


def subject(caller: Caller, named: str) -> Subject:
    """The tenant user of a path. Errors: NotFound, Forbidden (a narrow credential's), Unavailable."""
    return async_to_sync(_resolve)(caller, named)


def cursor[C: (int, UUID)](text: str | None, *, kind: type[C]) -> C | None:
    """Where the page before ended: a number or an id; None at the beginning. Errors: InvalidInput."""
    if text is None:
        return None
    try:
        read = base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4)).decode("ascii")
    except (ValueError, binascii.Error, UnicodeError) as exc:
        raise _bad_cursor() from exc
    found = _CURSOR.fullmatch(read)
    if found is None or (kind is UUID) != (found["id"] is not None):
        raise _bad_cursor()
    return kind(read.removeprefix("before:"))


def next_cursor(last: int | UUID | None) -> str | None:
    """What leads to the page after the one that ends here; None at the end."""
    return None if last is None else base64.urlsafe_b64encode(f"before:{last}".encode()).decode().rstrip("=")


async def _resolve(caller: Caller, named: str) -> Subject:
    async with database.visit():
        return await subjects.resolve(caller, path_user=named, header_user=None)


def _once(handler: Handler) -> Handler:
    @functools.wraps(handler)
    def handle(self: Route, request: Request, *args: Any, **kwargs: Any) -> Response:
        # Read whole and bounded before anything else; REST framework then parses these very bytes.
        body = _body(request)
        if body and contract.takes_no_body(handler):
            # What a body says that nobody reads is refused, not overheard.
            _ = self.body
        key = request.headers.get(IDEMPOTENCY_KEY)
        if key is None:
            return handler(self, request, *args, **kwargs)

        def work() -> Answer:
            made = handler(self, request, *args, **kwargs)
            return Answer(status=made.status_code, body=wire.dumps(made.data))

        once = idempotency.once_beyond if self.reaches_beyond else idempotency.once
        company_id, caller = self.idempotency_scope
        done = once(
            company_id=company_id,
            key=key,
            fingerprint=idempotency.fingerprint(
                caller=caller,
                method=request.method,
                path=request.get_full_path(),
                body=body,
            ),
            now=timezone.now(),
            work=work,
        )
        answered = Response(done.body, status=done.status)
        if done.is_replay:
            answered[REPLAYED] = "true"
        return answered

    return handle


def _verb(request: Request) -> str:
    """What a request is answered by: HEAD is GET without its body."""
    verb = (request.method or "").lower()
    return "get" if verb == "head" else verb


def _body(request: Request) -> bytes:
    inner: HttpRequest = request._request
    return inner.body


def _actor(request: Request) -> Actor:
    ip, request_id = request.META.get("REMOTE_ADDR") or None, _request_id(request)
    if not isinstance(request.user, Caller):
        return Actor(kind=AuditEntry.Actor.PLATFORM, ip=ip, request_id=request_id)
    caller = request.user
    return Actor(
        kind=caller.kind,
        id=caller.id,
        label=caller.label,
        person_id=caller.person_id,
        ip=ip,
        request_id=request_id,
    )


def _request_id(request: Any) -> str:
    found = getattr(request, "request_id", None)
    return found if isinstance(found, str) else wire.new_request_id()


def _bad_cursor() -> InvalidInput:
    return InvalidInput(
        "cursor: is not one of ours.",
        hint="Send the next_cursor of the page before.",
        details={"field": "cursor"},
    )
