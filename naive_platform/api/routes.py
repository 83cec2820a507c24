"""What every route of the management API stands on: the key, who may, idempotency, pages, errors."""

import base64
import binascii
import functools
import logging
from collections.abc import Callable
from typing import Any, ClassVar
from uuid import UUID

from asgiref.sync import async_to_sync
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import auth, database, fields, idempotency, subjects
from accounts.auth import Principal
from accounts.errors import DomainError, Forbidden, InvalidInput, Unauthorized
from accounts.idempotency import Answer
from accounts.models import CompanyStatus, Role
from accounts.subjects import Subject
from naive_platform import errors
from naive_platform.api import wire

log = logging.getLogger(__name__)

LIMIT, LIMIT_MAX = 50, 200
MUTATIONS = ("post", "put", "patch", "delete")
IDEMPOTENCY_KEY = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"

type Handler = Callable[..., Response]


class BearerKey(BaseAuthentication):
    """The API key of the Authorization header, by the rules of the data plane and on its event loop and caches."""

    def authenticate(self, request: Request) -> tuple[Principal, None]:
        misplaced = wire.misplaced_key(request.query_params)
        header = request.META.get("HTTP_AUTHORIZATION")
        if misplaced and not header:
            raise Unauthorized(
                f"An API key does not belong into the address ({misplaced}=…): logs keep it.",
                hint="Revoke it, and send its successor in the header `Authorization: Bearer nv_sk_live_…`.",
            )
        return async_to_sync(_authenticate)(header), None


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

    Shape: `role` is the least that a mutation needs, `opens_to_narrow` lets sealed and kit-scoped keys read. A mutation
    that carries an Idempotency-Key is done once: in one transaction with its claim, or after the claim where the route
    `reaches_beyond` the database and would keep that transaction open for seconds.
    """

    authentication_classes: ClassVar[list[Any]] = [BearerKey]
    permission_classes: ClassVar[list[Any]] = []
    parser_classes: ClassVar[list[Any]] = [wire.ExactJSONParser]
    renderer_classes: ClassVar[list[Any]] = [wire.ExactJSONRenderer]
    content_negotiation_class = OnlyJSON
    # OPTIONS is not answered.
    metadata_class = None

    role: ClassVar[Role] = Role.MEMBER
    opens_to_narrow: ClassVar[bool] = False
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

    @property
    def principal(self) -> Principal:
        found: Principal = self.request.user
        return found

    @property
    def company_id(self) -> UUID:
        return self.principal.company_id

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuse whom this route is not for, before a byte of the body is read."""
        request.request_id = wire.new_request_id()
        super().initial(request, *args, **kwargs)
        if isinstance(request.user, Principal):
            self.admit(request.user, is_mutation=request.method.lower() in MUTATIONS)

    def admit(self, principal: Principal, *, is_mutation: bool) -> None:
        """Errors: Forbidden, reason `key_scope`, `role` or `company_suspended`."""
        if principal.is_narrow and (is_mutation or not self.opens_to_narrow):
            raise Forbidden(
                "This API key is for one tenant user or one AccountKit; it does not open this route.",
                hint="Use a key without a seal and without a kit.",
                details={"reason": "key_scope"},
            )
        if not is_mutation:
            return
        auth.require_write(principal)
        if not self.role.is_at_most(Role(principal.key_role)):
            raise Forbidden(
                f"This API key's role is {principal.key_role}; this takes {self.role.value} or above.",
                details={"reason": "role"},
            )
        if principal.company_status != CompanyStatus.ACTIVE.value:
            raise Forbidden(
                f'Company "{principal.company_name}" is {principal.company_status}.',
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

    @property
    def allowed_methods(self) -> list[str]:
        """Those this route has itself; OPTIONS is none of them."""
        return [name for name in super().allowed_methods if name != "OPTIONS"]


def answer(data: Any, *, status: int = 200) -> Response:
    """What a route returns: the status and the object that becomes its JSON."""
    return Response(data, status=status)


def subject(principal: Principal, named: str) -> Subject:
    """The tenant user of a path. Errors: NotFound, Forbidden (a narrow key's), Unavailable."""
    return async_to_sync(_resolve)(principal, named)


def limit(request: Request) -> int:
    """How many rows are asked for. Errors: InvalidInput."""
    return number(request, "limit", default=LIMIT, most=LIMIT_MAX)


def number(request: Request, name: str, *, default: int, most: int) -> int:
    """A whole number from 1 of the query. Errors: InvalidInput."""
    text = request.query_params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 6 and 1 <= int(text) <= most):
        raise InvalidInput(f"{name}: must be a whole number from 1 to {most}.", details={"field": name})
    return int(text)


def cursor(request: Request) -> int | None:
    """Where the page before ended; None at the beginning. Errors: InvalidInput."""
    text = request.query_params.get("cursor")
    if text is None:
        return None
    try:
        read = base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4)).decode("ascii")
    except (ValueError, binascii.Error, UnicodeError) as exc:
        raise _bad_cursor() from exc
    if not (read.startswith("before:") and read[7:].isdigit() and len(read) < 27):
        raise _bad_cursor()
    return int(read[7:])


def next_cursor(last: int | None) -> str | None:
    """What leads to the page after the one that ends here; None at the end."""
    return None if last is None else base64.urlsafe_b64encode(b"before:%d" % last).decode().rstrip("=")


def known_parameters(request: Request, *names: str) -> None:
    """Refuse a misspelt parameter, which would otherwise be a filter that never applies. Errors: InvalidInput."""
    for name in request.query_params:
        if name not in names:
            shown = name[: fields.SHOWN_LENGTH_MAX]
            raise InvalidInput(
                f"{shown}: is not known here; known: {', '.join(names) or 'none'}.", details={"field": shown}
            )


async def _authenticate(header: str | None) -> Principal:
    async with database.visit():
        return await auth.authenticate(header)


async def _resolve(principal: Principal, named: str) -> Subject:
    async with database.visit():
        return await subjects.resolve(principal, path_user=named, header_user=None)


def _once(handler: Handler) -> Handler:
    @functools.wraps(handler)
    def handle(self: Route, request: Request, *args: Any, **kwargs: Any) -> Response:
        # Read whole and bounded before anything else; REST framework then parses these very bytes.
        body = _body(request)
        key = request.headers.get(IDEMPOTENCY_KEY)
        if key is None:
            return handler(self, request, *args, **kwargs)

        def work() -> Answer:
            made = handler(self, request, *args, **kwargs)
            return Answer(status=made.status_code, body=wire.dumps(made.data))

        once = idempotency.once_beyond if self.reaches_beyond else idempotency.once
        done = once(
            company_id=self.company_id,
            key=key,
            fingerprint=idempotency.fingerprint(
                caller=str(self.principal.key_id),
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


def _body(request: Request) -> bytes:
    inner: HttpRequest = request._request
    return inner.body


def _request_id(request: Any) -> str:
    found = getattr(request, "request_id", None)
    return found if isinstance(found, str) else wire.new_request_id()


def _bad_cursor() -> InvalidInput:
    return InvalidInput(
        "cursor: is not one of ours.",
        hint="Send the next_cursor of the page before.",
        details={"field": "cursor"},
    )
