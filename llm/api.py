"""The typed llm routes: /v1/llm/* and /v1/users/{user_id}/llm/*. Bytes in, one call down, bytes out."""

from typing import Protocol, cast

import orjson
from django.http import HttpRequest, HttpResponse
from ninja import Router

from accounts import auth
from accounts.auth import Principal
from accounts.errors import Forbidden, InvalidInput
from llm import answers, broadcasts, catalog, completions, generations, requests
from llm.completions import Caller, Stream

router = Router()
webhooks = Router()


class DataPlaneRequest(Protocol):
    """What naive_platform/dataplane.py adds to Django's request."""

    auth: Principal
    path_user: str | None

    async def read_body(self) -> bytes:
        """Return the body. Errors: PayloadTooLarge, UnsupportedMediaType, InvalidInput where it does not arrive."""

    async def read_webhook(self) -> bytes:
        """Return the body of a sender who is no company, unpacked. Errors: as `read_body`."""


async def authenticate(request: HttpRequest) -> Principal:
    """Ninja's auth callback for the whole data plane.

    Errors: Unauthorized, before a byte of the body is read.
    """
    return await auth.authenticate(request.META.get("HTTP_AUTHORIZATION"))


@router.post("/chat/completions", summary="Create a chat completion, as JSON or as a stream")
async def chat(request: HttpRequest) -> HttpResponse | answers.EventStream:
    auth.require_write(_lean(request).auth)
    caller = await _caller(request)
    key_sha256 = requests.read_key(request.META.get("HTTP_IDEMPOTENCY_KEY"))
    admission = await completions.admit(caller, await _lean(request).read_body())
    outcome = await completions.run(admission, key_sha256=key_sha256)
    if isinstance(outcome, Stream):
        return answers.EventStream(outcome.pump, headers=outcome.headers)
    return answers.json_bytes(outcome.body, headers=outcome.headers)


@router.post("/estimate", summary="Say whether a chat completion would be allowed and what it would hold")
async def estimate(request: HttpRequest) -> HttpResponse:
    caller = await _subject(request)
    try:
        completions.require_llm(caller)
        admission = await completions.admit(caller, await _lean(request).read_body())
    except Forbidden as exc:
        return answers.json_object(completions.refused_estimate(caller, exc))
    return answers.json_object(await completions.estimate(admission))


@router.get("/models", summary="List the models this user may call")
async def models(request: HttpRequest) -> HttpResponse:
    caller = await _caller(request)
    found = catalog.select(catalog.read_filters(request.GET), allowed=completions.model_gate(caller))
    return answers.json_object(
        {
            "object": "list",
            "count": len(found),
            "data": [orjson.Fragment(model.raw) for model in found],
            "models": [model.summary for model in found],
        }
    )


@router.get("/generation", summary="Read what one call cost and how it went")
async def generation(request: HttpRequest) -> HttpResponse:
    caller = await _caller(request)
    lean = _lean(request)
    wanted = request.GET.get("id", "")
    if not wanted:
        raise InvalidInput(
            "id is missing.",
            hint="Send ?id= with the id of an answer, or the header X-Naive-Generation-Id.",
            details={"field": "id"},
        )
    names_user = lean.path_user or lean.auth.sealed_user_id or "HTTP_X_NAIVE_USER_ID" in request.META
    found = await generations.read(
        wanted,
        company_id=lean.auth.company_id,
        tenant_user_id=caller.subject.user_id if names_user else None,
        kit_id=lean.auth.kit_scope_id,
    )
    return answers.json_object({"data": found})


async def authenticate_broadcast(request: HttpRequest) -> bool:
    """Ninja's auth callback for upstream's broadcasts: a secret of the platform's, not a key.

    Errors: NotConfigured, Unauthorized, before a byte of the body is read.
    """
    broadcasts.authenticate(
        authorization=request.META.get("HTTP_AUTHORIZATION"),
        secret=request.META.get("HTTP_X_BROADCAST_SECRET"),
    )
    return True


@webhooks.api_operation(
    ["POST", "PUT"],
    "/broadcast",
    auth=authenticate_broadcast,
    summary="Take what upstream broadcasts of its calls",
)
async def broadcast(request: HttpRequest) -> HttpResponse:
    if request.META.get("HTTP_X_TEST_CONNECTION") == "true":
        # Upstream tries the address out; what it sends with that is made up.
        return answers.json_object({"status": "ok"})
    counts = await broadcasts.receive(await _lean(request).read_webhook())
    return answers.json_object({"status": "ok", "spans": dict(counts)})


async def _caller(request: HttpRequest) -> Caller:
    caller = await _subject(request)
    completions.require_llm(caller)
    return caller


async def _subject(request: HttpRequest) -> Caller:
    lean = _lean(request)
    header_user = requests.read_user(request.META.get("HTTP_X_NAIVE_USER_ID"))
    return await completions.identify(lean.auth, path_user=lean.path_user, header_user=header_user)


def _lean(request: HttpRequest) -> DataPlaneRequest:
    return cast("DataPlaneRequest", request)
