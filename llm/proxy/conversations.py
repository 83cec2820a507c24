"""A proxied call of any shape: one life of a call, and upstream's own bytes for its answer."""

import contextlib
import functools
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace

from llm import bodies, calls, completions, encodings, lookups, metering, replays
from llm.calls import Call
from llm.completions import Caller, Completion, Stream
from llm.errors import UpstreamError
from llm.proxy import headers
from llm.proxy.headers import Pairs
from llm.pumps import Pump
from llm.relays import Relay
from llm.shapes import faults, forms, reports
from llm.shapes.forms import Form
from llm.shapes.request import Request
from llm.shapes.table import Shape
from llm.upstream import ANSWER_BYTES_MAX, Answer, Sending


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

    Shape, errors: as `ask`, with the default hold; InvalidInput and what `pieces` raises, with nothing charged:
    upstream cannot run a form whose end it does not get.
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
        self.failure: Exception | None = None

    async def through(self) -> AsyncIterator[bytes]:
        """Yield every piece once the next one is there; the form's end, and all behind it, once nothing more comes."""
        held = b""
        try:
            async with contextlib.aclosing(self._pieces):
                async for piece in self._pieces:
                    is_behind = self.form.is_whole
                    self.form.feed(piece)
                    if is_behind:
                        held += piece
                        continue
                    if held:
                        yield held
                    held = piece
            self.form.finish()
        except Exception as exc:
            self.failure = exc
            raise
        yield held


async def _pass(call: Call, *, is_claimed: bool, sending: Sending, passing: _Passing) -> Completion | Stream:
    try:
        return await _converse(call, is_claimed=is_claimed, sending=sending, form=passing.form)
    except UpstreamError:
        if passing.failure is None:
            raise
    # The connection was cut for it: what upstream has of the form is no request.
    await call.void()
    raise passing.failure


async def _converse(
    call: Call, *, is_claimed: bool, sending: Sending, form: Form | None = None
) -> Completion | Stream:
    """Send an open call; return its answer settled, or on its way. The call is closed, or the pump's."""
    pump: Pump | None = None
    try:
        answer = await call.send(headers=sending.headers, form=sending if form else None)
        if form is not None:
            call.told = {name: value for name, value in form.fields.items() if name == "model"}
        told = headers.incoming(answer.headers, status=answer.status) | call.headers()
        if answer.is_stream:
            pump = Pump(call, answer)
            told.pop("content-encoding", None)
        elif _is_bytes(call, told):
            pump = Relay(call, answer)
        if pump is not None:
            pump.start()
            return Stream(headers=told, pump=pump, status=answer.status)
        found = await _complete(call, answer, told)
        if is_claimed and found.status == 200:
            await replays.keep(
                replays.Kept(body=found.body, headers=found.headers),
                company_id=call.admission.principal.company_id,
                hold_id=call.hold_id,
            )
        return found
    finally:
        if pump is None:
            calls.close_call(call)


def _is_bytes(call: Call, told: dict[str, str]) -> bool:
    """Whether an answer says nothing of its cost, so that nobody needs to wait for its end."""
    is_json = told["content-type"].partition(";")[0].endswith("json")
    return call.admission.shape.report is reports.read_nothing and not is_json


async def _complete(call: Call, answer: Answer, told: dict[str, str]) -> Completion:
    """Read an answer in one piece and settle it."""
    try:
        sent = await answer.read(as_sent=True)
    except UpstreamError as exc:
        await call.leave_open()
        raise call.explained(exc) from exc
    finally:
        await answer.close()
    raw = _unpacked(sent, answer.encoding)
    report = None if raw is None else call.admission.shape.report(raw)
    _learn(call, answer, report)
    if report is None or report.cost_usd is None:
        await call.leave_open()
    else:
        await call.settle(report, "inline")
    found = Completion(body=sent, headers=told, status=answer.status)
    if raw is None or not _is_fault(raw, report):
        return found
    plain = {name: value for name, value in told.items() if name != "content-encoding"}
    return replace(found, body=faults.scrub(raw), headers=plain)


def _is_fault(raw: bytes, report: metering.Report | None) -> bool:
    """Whether an answer tells of an error; one that cannot be read may."""
    return b'"error"' in raw if report is None else report.error is not None


def _unpacked(sent: bytes, encoding: str) -> bytes | None:
    """Return what is in a compressed body, for the meter; None where it cannot be told."""
    try:
        return encodings.unpack(sent, encoding, most=ANSWER_BYTES_MAX)
    except encodings.CannotUnpack:
        return None


def _learn(call: Call, answer: Answer, report: metering.Report | None) -> None:
    """Write down under which name upstream can be asked for the call, where its headers have not said so."""
    job = reports.job(report) if report is not None and call.admission.shape.is_job else None
    name = (
        f"{lookups.JOB_BEGINNING}{job.id}"
        if job
        else answer.generation_id or (report and report.generation_id)
    )
    if call.generation_id is None and name:
        call.learn(name)
