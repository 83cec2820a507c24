"""Every metered shape in one table: where it goes, how it is read, what it holds for, where its cost stands."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from llm import pricing
from llm.metering import Report
from llm.pricing import Bound, Price
from llm.shapes import media, reports, texts
from llm.shapes.faults import Dialect
from llm.shapes.reports import Reader
from llm.shapes.request import Request

# A film takes minutes; a job that upstream has not ended in a day is one it has forgotten. Unit: seconds.
JOB_TTL_S = 24 * 3600


@dataclass(frozen=True, slots=True)
class Shape:
    """One way to ask for a generation and to be told what it cost.

    `read` checks a body (InvalidInput); `bound` prices it, one price for each model that may run; `report` reads the
    answer, or one event of it: None where it says nothing, and the cost is then asked for by the call's id.
    `output_fields` are the names of its ceiling on output, the first one added where none was sent; empty where there
    is nothing to lower. `adds` are the fields of the platform's that upstream knows here.
    `can_grow`: what comes can be counted as it streams, so that the hold may grow with it.
    `ttl_s` is the hold's time where it is not the ordinary one.
    `dialect` is how errors are written; `ends` stand in the last event of a stream, beside [DONE], which not all send.
    `api_type` is upstream's name for it in a generation's record.
    `user_in_metadata`: its `metadata.user_id` is whom the call is for, and not the caller's own note.
    `is_bytes`: unless it is JSON or a stream of events, its answer says nothing of its cost.
    `is_split`: a stream of it may tell piece by piece what it cost, each of `n` pieces in an event of its own.
    """

    name: str
    path: str
    read: Callable[[bytes], Request]
    bound: Callable[[Request, Sequence[Price | None]], Bound]
    report: Reader
    output_fields: tuple[str, ...] = ()
    adds: frozenset[str] = frozenset()
    can_grow: bool = False
    ttl_s: int | None = None
    dialect: Dialect = "chat"
    ends: tuple[bytes, ...] = ()
    api_type: str = "completions"
    user_in_metadata: bool = False
    is_split: bool = False
    is_bytes: bool = False

    def pieces(self, fields: Mapping[str, Any]) -> int:
        """Return how many pieces a stream may tell the cost of, each for itself."""
        count = fields.get("n") if self.is_split else None
        return count if isinstance(count, int) else 1

    def names_user(self, fields: Mapping[str, Any]) -> str | None:
        """Return whom a request names as its user beside `user`."""
        metadata = fields.get("metadata") if self.user_in_metadata else None
        return metadata.get("user_id") if isinstance(metadata, dict) else None

    def is_end(self, report: Report) -> bool:
        """Whether an event of a stream is its last one; a client's own tool may have the same name."""
        kind = report.body.get("type")
        return isinstance(kind, str) and f'"{kind}"'.encode(errors="replace") in self.ends

    @property
    def is_job(self) -> bool:
        """Whether its answer is the name of what is only then made."""
        return self.ttl_s is not None


def bound_text(request: Request, prices: Sequence[Price | None]) -> Bound:
    """The bound of a chat completion, for whatever says in its words what it asks for."""
    known = pricing.bound(request.words, body_bytes=len(request.body.raw), prices=prices)
    return replace(known, price_known=False) if request.is_unpriced else known


_IDENTITY = frozenset({"user", "trace"})
_SHAPES = (
    Shape(
        name="chat",
        path="chat/completions",
        read=texts.read_chat,
        bound=bound_text,
        report=reports.read_chat,
        output_fields=("max_tokens", "max_completion_tokens"),
        adds=_IDENTITY,
        can_grow=True,
    ),
    Shape(
        name="completions",
        path="completions",
        read=texts.read_completion,
        bound=bound_text,
        report=reports.read_chat,
        output_fields=("max_tokens",),
        adds=_IDENTITY,
        can_grow=True,
    ),
    Shape(
        name="responses",
        path="responses",
        read=texts.read_response,
        bound=bound_text,
        report=reports.read_response,
        output_fields=("max_output_tokens",),
        adds=_IDENTITY,
        dialect="responses",
        ends=(b'"response.completed"', b'"response.incomplete"', b'"response.failed"'),
    ),
    Shape(
        name="messages",
        path="messages",
        read=texts.read_message,
        bound=bound_text,
        report=reports.read_message,
        output_fields=("max_tokens",),
        adds=_IDENTITY,
        dialect="messages",
        user_in_metadata=True,
        ends=(b'"message_stop"',),
    ),
    Shape(
        name="embeddings",
        path="embeddings",
        read=media.read_embedding,
        bound=media.bound_embedding,
        report=reports.read_object,
        adds=frozenset({"user"}),
        api_type="embeddings",
    ),
    Shape(
        name="rerank",
        path="rerank",
        read=media.read_rerank,
        bound=media.bound_rerank,
        report=reports.read_object,
        api_type="rerank",
    ),
    Shape(
        name="images",
        path="images",
        read=media.read_image,
        bound=media.bound_image,
        report=reports.read_object,
        dialect="images",
        ends=(b'"image_generation.completed"',),
        is_split=True,
        api_type="image",
    ),
    Shape(
        name="speech",
        path="audio/speech",
        read=media.read_speech,
        bound=media.bound_speech,
        report=reports.read_object,
        ends=(b'"speech.audio.done"',),
        is_bytes=True,
        api_type="tts",
    ),
    Shape(
        name="transcriptions",
        path="audio/transcriptions",
        read=media.read_transcription,
        bound=media.bound_transcription,
        report=reports.read_object,
        ends=(b'"transcript.text.done"',),
        api_type="stt",
    ),
    Shape(
        name="videos",
        path="videos",
        read=media.read_video,
        bound=media.bound_video,
        report=reports.read_job,
        ttl_s=JOB_TTL_S,
        api_type="video",
    ),
)
SHAPES = {shape.name: shape for shape in _SHAPES}
CHAT = SHAPES["chat"]
