"""The fake itself: it answers chats, keeps users, kits and keys, and fails when it is told to."""

from __future__ import annotations

import hashlib
import itertools
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import httpx

from naive import numbers
from naive.client import AsyncNaive, Naive
from naive.testing import answers, records
from naive.testing.answers import Charge, Reply

BASE_URL = "http://naive.test"
API_KEY = "nv_sk_fake"
CREDIT_VALUE_USD = Decimal("0.50")
MARKUP = Decimal("1.25")
NANOCREDIT = Decimal("0.000000001")

type Respond = Callable[[str], httpx.Response]


@dataclass(frozen=True, slots=True)
class Seen:
    """A request that came."""

    method: str
    path: str
    query: Mapping[str, str]
    json: Any
    headers: Mapping[str, str] = field(repr=False)

    @property
    def idempotency_key(self) -> str | None:
        return self.headers.get("idempotency-key")


class FakePlatform:
    """A platform in this process.

    What is told (`reply`, `fail`, …) is for the next requests, in that order; whatever is not told of is answered as
    the platform would. `requests` has what came, `waited_s` what clients would have waited between two attempts:
    nothing here waits. Under one Idempotency-Key a thing is done once, as on the platform.
    """

    def __init__(self, *, credits: Decimal | int = 20, models: Sequence[str] = records.MODELS) -> None:
        self.requests: list[Seen] = []
        self.waited_s: list[float] = []
        self.balance = Decimal(credits)
        self._models = models
        self._told: deque[Respond] = deque()
        self._replies: deque[Reply] = deque()
        self._done: dict[str, tuple[bytes, httpx.Response | None]] = {}
        self._calls: dict[str, dict[str, Any]] = {}
        self._numbers = itertools.count(1)
        self._records = records.Records()

    def client(self, **options: Any) -> Naive:
        """Return a `Naive` that speaks to this; it takes what `Naive` takes."""
        http = httpx.Client(transport=httpx.MockTransport(self._respond))
        return Naive(**self._options(http_client=http, sleep=self.waited_s.append, **options))

    def async_client(self, **options: Any) -> AsyncNaive:
        """Return an `AsyncNaive` that speaks to this."""

        async def sleep(seconds: float) -> None:
            self.waited_s.append(seconds)

        http = httpx.AsyncClient(transport=httpx.MockTransport(self._respond))
        return AsyncNaive(**self._options(http_client=http, sleep=sleep, **options))

    def reply(self, text: str = "", **more: Any) -> None:
        """The next call to a model says this; `more` are fields of answers.Reply: `cost_usd`, `tool_calls`, …"""
        self._replies.append(Reply(text=text, **more))

    def cut(self, text: str) -> None:
        """The next stream breaks after this text."""
        self._replies.append(Reply(text=text, cut_after=len(text)))

    def fail(
        self,
        status: int,
        *,
        code: str | None = None,
        message: str | None = None,
        hint: str | None = None,
        details: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """The next request is refused; `code` is the usual one of the status where it is not given."""
        self._told.append(
            lambda request_id: answers.error(
                status,
                request_id=request_id,
                code=code,
                message=message,
                hint=hint,
                details=details,
                headers=headers,
            )
        )

    def disconnect(self, error: type[httpx.RequestError] = httpx.ReadError) -> None:
        """The next request gets no answer, as after `httpx.ReadError`, `ConnectError`, `ReadTimeout`, …"""

        def broken(request_id: str) -> httpx.Response:
            raise error("The fake platform does not answer.")

        self._told.append(broken)

    def respond(
        self, content: bytes | Sequence[bytes], *, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        """The next request is answered with exactly these bytes; several pieces come one after the other."""
        pieces = [content] if isinstance(content, bytes) else list(content)

        def respond(request_id: str) -> httpx.Response:
            sent = {"content-type": "application/json", "x-request-id": request_id, **(headers or {})}
            return httpx.Response(status, stream=answers.Body(pieces), headers=sent)

        self._told.append(respond)

    def _options(self, **options: Any) -> dict[str, Any]:
        return {"api_key": API_KEY, "base_url": BASE_URL, **options}

    def _respond(self, request: httpx.Request) -> httpx.Response:
        seen = Seen(
            method=request.method,
            path=request.url.path,
            query=dict(request.url.params),
            json=numbers.read(request.content) if request.content else None,
            headers=request.headers,
        )
        self.requests.append(seen)
        request_id = f"req_fake{next(self._numbers)}"
        if self._told:
            return self._told.popleft()(request_id)
        if "authorization" not in request.headers and not seen.path.startswith("/v1/auth/"):
            return answers.error(401, request_id=request_id, message="There is no API key.")
        return self._once(seen, request.content, request_id)

    def _once(self, seen: Seen, body: bytes, request_id: str) -> httpx.Response:
        """Answer, and where there is an Idempotency-Key do it once under it."""
        key = seen.idempotency_key
        if key is None:
            return self._route(seen, request_id)
        digest = hashlib.sha256(f"{seen.method} {seen.path} ".encode() + body).digest()
        if key in self._done:
            known, response = self._done[key]
            if known != digest:
                return answers.error(422, request_id=request_id)
            if response is None:
                stop = {"x-should-retry": "false"}
                return answers.error(409, code="already_completed", request_id=request_id, headers=stop)
            again = {**response.headers, "idempotency-replayed": "true", "x-request-id": request_id}
            return httpx.Response(response.status_code, content=response.content, headers=again)
        response = self._route(seen, request_id)
        if response.is_success:
            is_stream = response.headers["content-type"] == "text/event-stream"
            self._done[key] = (digest, None if is_stream else response)
        return response

    def _route(self, seen: Seen, request_id: str) -> httpx.Response:
        path = seen.path.removeprefix("/v1/")
        parts = path.split("/")
        if parts[0] == "users" and parts[2:3] == ["llm"]:
            path = "/".join(parts[2:])
        if path == "llm/chat/completions":
            return self._chat(seen, request_id)
        if path == "llm/models":
            search = seen.query.get("search", "").lower().split()
            found = [name for name in self._models if all(word in name for word in search)]
            return answers.answer(200, records.model_list(found), request_id=request_id)
        if path == "llm/generation":
            call = self._calls.get(seen.query.get("id", ""))
            if call is None:
                return answers.error(404, request_id=request_id)
            return answers.answer(200, {"data": call}, request_id=request_id)
        if path == "llm/estimate":
            return answers.answer(200, records.estimate(seen.json), request_id=request_id)
        status, body = self._records.answer(seen.method, path, seen.query, seen.json, balance=self.balance)
        if status >= 400:
            return answers.error(status, request_id=request_id, **body)
        return answers.answer(status, body, request_id=request_id)

    def _chat(self, seen: Seen, request_id: str) -> httpx.Response:
        asked = seen.json or {}
        if not (asked.get("messages") or asked.get("prompt")) or not (
            asked.get("model") or asked.get("models")
        ):
            message = "messages or prompt, and model or models, are needed."
            return answers.error(400, request_id=request_id, message=message)
        reply = self._replies.popleft() if self._replies else Reply(text="Hello from the fake platform.")
        used = (reply.cost_usd * MARKUP / CREDIT_VALUE_USD).quantize(NANOCREDIT)
        self.balance -= used
        charge = Charge(used=used, remaining=self.balance)
        at = next(self._numbers)
        call_id, public_id = f"gen-fake-{at}", f"gen_00000000-0000-7000-8000-{at:012d}"
        call = records.generation(call_id, public_id, asked, cost_usd=reply.cost_usd, used=used)
        self._calls |= {call_id: call, public_id: call}
        headers = {"x-naive-generation-id": public_id, "x-naive-credits-held": str(used)}
        if asked.get("stream"):
            sent = {"content-type": "text/event-stream", "x-request-id": request_id, **headers}
            return httpx.Response(200, stream=answers.stream(reply, asked, charge, call_id), headers=sent)
        whole = answers.completion(reply, asked, charge, call_id)
        return answers.answer(200, whole, request_id=request_id, headers=headers)
