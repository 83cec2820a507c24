"""`naive.llm`: call models, list them, and see what a call cost or would cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Unpack

from naive import lazy, params, requests
from naive.requests import Request
from naive.routes import AsyncRaw, Raw, RawRoutes, Resource, Route, StreamRoute

if TYPE_CHECKING:
    from naive import types
else:
    types = lazy.module("naive.types")


class LLM[M](Resource[M]):
    """Any of 300+ models behind one call; for one user where it comes from `for_user`."""

    with_raw_response: RawRoutes[LLM[Raw], LLM[AsyncRaw]] = RawRoutes()

    @Route
    def chat(self, **given: Unpack[params.ChatParams]) -> Request[types.ChatCompletion]:
        """Call a model and return its whole answer, with what it cost in `credits_used`.

        Takes upstream's own body: `messages` or `prompt`, and `model` or `models`; `system` is put before them as a
        message of its own. Each call has an Idempotency-Key
        that it keeps over its repetitions, so that none of them is charged twice. Where the first attempt's answer was
        lost and is not kept, ConflictError `already_completed` names the generation.
        """
        if "stream" in given:
            raise TypeError("chat answers in one piece; llm.stream(...) gives it in chunks")
        return requests.post(self._at("chat", "completions"), _body(given), types.ChatCompletion)

    @StreamRoute
    def stream(self, **given: Unpack[params.ChatParams]) -> Request[types.ChatChunk]:
        """Call a model and return its answer as a stream of chunks, opened when it is entered or iterated over.

        Takes what `chat` takes. A stream that has begun is never asked for again: where it breaks,
        StreamInterruptedError has the text so far and the generation's id.
        """
        body = {**_body(given), "stream": True}
        return requests.post(self._at("chat", "completions"), body, types.ChatChunk)

    @Route
    def models(
        self, search: str | None = None, **given: Unpack[params.ModelsParams]
    ) -> Request[types.ModelList]:
        """List the models that may be called. Free."""
        return requests.get(self._at("models"), {"search": search, **given}, types.ModelList)

    @Route
    def generation(self, id: str, **given: Unpack[params.Options]) -> Request[types.Generation]:
        """Return what is known of one call: by upstream's id, or the platform's own `gen_…`. Free."""
        return requests.get(self._at("generation"), {"id": id, **given}, types.Generation)

    @Route
    def estimate(self, **given: Unpack[params.ChatParams]) -> Request[types.Estimate]:
        """Say whether a call would be allowed now, and what it may cost at most. Nothing is sent or held. Free."""
        return requests.post(self._at("estimate"), _body(given), types.Estimate)

    def _at(self, *segments: str) -> str:
        return requests.at(*self._path, "llm", *segments)


def _body(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a chat's parameters with its `system` as the first of its messages."""
    body = dict(given)
    system = body.pop("system", None)
    if system is None:
        return body
    messages = body.get("messages")
    if messages is None and isinstance(body.get("prompt"), str):
        messages = [{"role": "user", "content": body.pop("prompt")}]
    return {**body, "messages": [{"role": "system", "content": system}, *(messages or ())]}
