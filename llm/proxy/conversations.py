"""A proxied call of any shape: one life of a call, and upstream's own bytes for its answer."""

import contextlib
import functools
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import replace

from llm import bodies, calls, catalog, completions, encodings, fields, metering, relays
from llm.calls import Call
from llm.completions import Caller, Completion, Stream
from llm.errors import UpstreamError, UpstreamLost
from llm.proxy import headers
from llm.proxy.headers import Pairs
from llm.pumps import Pump
from llm.relays import LongAnswer, Relay
from llm.shapes import faults, forms, media
from llm.shapes.forms import Form
from llm.shapes.request import Request
from llm.shapes.table import Shape
from llm.upstream import ANSWER_BYTES_MAX, Answer, Sending

_ERROR = re.compile(rb'"error"\s*+:\s*+(?!null\b)')
_DATA_EVENT = frozenset({b"event: data", b"event:data"})


async def ask(
    caller: Caller, shape: Shape, request: Request, *, given: Pairs, key_sha256: bytes | None = None
) -> Completion | Stream:
    """Make one call with a JSON body.

    Shape: `given` are the client's headers. The answer has upstream's status, bytes and allowed headers, and ours.
    Errors: as `completions.weigh` and `completions.run`; InvalidInput for a header that cannot go on.
    """
    admission = await completions.weigh(caller, request, shape, is_proxied=True)
    opaque = functools.partial(admission.opaque, "session_id")
    sent = headers.outgoing(given, attribution={}, opaque_session=opaque)
    converse = functools.partial(_converse, sending=Sending(b"", headers=sent))
    return await completions.run(admission, key_sha256=key_sha256, converse=converse)


async def upload(
    caller: Caller,
    shape: Shape,
    pieces: AsyncGenerator[bytes],
    *,
    boundary: bytes,
    length: int | None,
    given: Pairs,
) -> Completion | Stream:
    """Make one call with a form, which goes upstream as it comes; what it asks for is known when it has passed.

    Shape, errors: as `ask`, with the default hold until the form has passed, and with one for its size and model before
    its end is sent; InvalidInput and what `pieces` raises, with nothing charged: upstream cannot run a form whose end
    it does not get.
    """
    body = bodies.Body(raw=b"{}", fields={})
    request = Request(body=body, models=(), is_stream=False, is_unpriced=True, least_tokens=0)
    admission = await completions.weigh(caller, request, shape, is_proxied=True)
    opaque = functools.partial(admission.opaque, "session_id")
    sent = headers.outgoing(given, attribution={}, opaque_session=opaque)
    passing = _Passing(pieces, Form(boundary))
    kind = forms.written(boundary)
    sending = Sending(passing.through(), content_type=kind, length=length, headers=sent)
    return await completions.run(
        admission, converse=functools.partial(_pass, sending=sending, passing=passing)
    )


class _Passing:
    """A form on its way upstream; `failure` is why its end was never sent."""

    def __init__(self, pieces: AsyncGenerator[bytes], form: Form) -> None:
        self._pieces = pieces
        self.form = form
        self.size_bytes = 0
        self.cover: Callable[[], Awaitable[None]] | None = None  # Called once all of the form is known.
        self.failure: Exception | None = None

    async def through(self) -> AsyncIterator[bytes]:
        """Yield every piece once the next one is there; the form's end, and all behind it, once nothing more comes."""
        held = b""
        try:
            async with contextlib.aclosing(self._pieces):
                async for piece in self._pieces:
                    is_behind = self.form.is_whole
                    self.form.feed(piece)
                    self.size_bytes += len(piece)
                    if is_behind:
                        held += piece
                        continue
                    if held:
                        yield held
                    held = piece
            self.form.finish()
            if self.cover is not None:
                await self.cover()
        except Exception as exc:
            self.failure = exc
            raise
        yield held


async def _pass(call: Call, *, is_claimed: bool, sending: Sending, passing: _Passing) -> Completion | Stream:
    passing.cover = functools.partial(_cover, call, passing)
    try:
        return await _converse(call, is_claimed=is_claimed, sending=sending, form=passing.form)
    except UpstreamError:
        if passing.failure is None:
            raise
    # The connection was cut for it: what upstream has of the form is no request.
    await call.void()
    raise passing.failure


async def _cover(call: Call, passing: _Passing) -> None:
    """Hold what a form is likely to cost, now that its model is known and its size.

    Errors: InvalidInput for a model that is missing or not upstream's; InsufficientCredits, WalletFrozen,
    BooksUnavailable.
    """
    (model,) = fields.models(passing.form.fields)
    bound = media.bound_sound(passing.size_bytes, await catalog.price_all([model]))
    await call.hold_at_least(bound.cost_usd())


async def _converse(
    call: Call, *, is_claimed: bool, sending: Sending, form: Form | None = None
) -> Completion | Stream:
    """Send an open call; return its answer settled, or on its way. The call is closed, or the pump's."""
    pump: Pump | None = None
    sent = b""
    try:
        answer = await call.send(headers=sending.headers, form=sending if form else None)
        if form is not None:
            call.told = {name: value for name, value in form.fields.items() if name == "model"}
        told = headers.incoming(answer.headers, status=answer.status) | call.headers()
        if answer.is_stream:
            pump = Pump(call, answer, without=_unreadable(call, sending))
            told.pop("content-encoding", None)
        elif _is_bytes(call, told):
            pump = Relay(call, answer)
        else:
            pump, sent = await _read(call, answer)
        if pump is not None:
            pump.start()
            return Stream(headers=told, pump=pump, status=answer.status)
        found = await _complete(call, answer, sent, told)
        if is_claimed and found.status == 200:
            await completions.keep(call, found)
        return found
    finally:
        if pump is None:
            calls.close_call(call)


def _unreadable(call: Call, sending: Sending) -> frozenset[bytes]:
    """Return the lines of a stream that its client would break at.

    Upstream ends its messages with [DONE] in an event called `data`. Anthropic's protocol has no such event, and its
    clients take whatever has a name for JSON; what has none they pass over. Who speaks that protocol says so.
    """
    is_anthropics = any(name == b"anthropic-version" for name, _ in sending.headers or ())
    is_message = call.admission.shape.dialect == "messages"
    return _DATA_EVENT if is_message and is_anthropics else frozenset()


def _is_bytes(call: Call, told: dict[str, str]) -> bool:
    """Whether an answer says nothing of its cost, so that nobody needs to wait for its end."""
    is_json = told["content-type"].partition(";")[0].endswith("json")
    return call.admission.shape.is_bytes and not is_json


async def _read(call: Call, answer: Answer) -> tuple[LongAnswer | None, bytes]:
    """Return an answer whole; one that is too long to be kept, and tells of no error, still to be carried.

    Errors: UpstreamError and its kin; the call is then left to the sweep.
    """
    is_long = False
    try:
        chunks, found = answer.chunks(as_sent=True), bytearray()
        async for chunk in chunks:
            found += chunk
            if len(found) > faults.FAULT_BYTES_MAX and _may_pass(answer, found):
                is_long = True
                return LongAnswer(call, answer, begun=bytes(found), chunks=chunks), b""
            if len(found) > ANSWER_BYTES_MAX:
                raise UpstreamLost("Upstream's answer is too long.", maybe_charged=True)
    except UpstreamError as exc:
        await relays.charge(call, answer, None)
        raise call.explained(exc) from exc
    finally:
        if not is_long:
            await answer.close()
    return None, bytes(found)


def _may_pass(answer: Answer, begun: bytearray) -> bool:
    """Whether nothing is to be taken out of a long answer, as far as its beginning tells."""
    is_plain = answer.encoding.strip().lower() in encodings.IDENTITY
    return is_plain and not _ERROR.search(begun, 0, faults.FAULT_BYTES_MAX)


async def _complete(call: Call, answer: Answer, sent: bytes, told: dict[str, str]) -> Completion:
    """Settle a call by its whole answer."""
    raw = _unpacked(sent, answer.encoding)
    report = None if raw is None else call.admission.shape.report(raw)
    await relays.charge(call, answer, report)
    found = Completion(body=sent, headers=told, status=answer.status)
    if raw is not None and _is_fault(raw, report):
        raw = faults.scrub(raw)
        plain = {name: value for name, value in told.items() if name != "content-encoding"}
        found = replace(found, body=raw, headers=plain)
    if call.kept is not None and raw is not None:
        call.kept.add(raw)
    return found


def _is_fault(raw: bytes, report: metering.Report | None) -> bool:
    """Whether an answer tells of an error; one that cannot be read may."""
    return b'"error"' in raw if report is None else report.error is not None


def _unpacked(sent: bytes, encoding: str) -> bytes | None:
    """Return what is in a compressed body, for the meter; None where it cannot be told."""
    try:
        return encodings.unpack(sent, encoding, most=ANSWER_BYTES_MAX)
    except encodings.CannotUnpack:
        return None
