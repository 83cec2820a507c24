"""The shapes that bring vectors, ranks, sound, pictures and films: how each is read, and the most it can cost."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from llm import bodies, fields, pricing
from llm.pricing import Bound, Price
from llm.shapes.request import Request

INPUTS_MAX = 2048
DOCUMENTS_MAX = 10_000
PICTURES_MAX = 10
VIDEO_SECONDS_MAX = 600
# What a film lasts that nobody gave a length; no catalogued model makes a longer one unasked.
VIDEO_SECONDS_UNKNOWN = 10
# A picture at the highest quality; what of it is billed as output tokens. A guess: models differ.
TOKENS_PER_PICTURE = 8192
# Speech as a telephone would send it; recordings of music are larger, and their guess is higher than their cost.
SOUND_BYTES_PER_SECOND = 4000
# What a second of it takes where it is billed by tokens, in and out: the highest of the known models.
SOUND_TOKENS_PER_SECOND = 32
# One search unit is one query over so many documents, and a longer document counts as several (Cohere's rule).
DOCUMENTS_PER_UNIT = 100
TOKENS_PER_DOCUMENT = 500
_NONE = Decimal(0)


def read_embedding(raw: bytes) -> Request:
    """Read POST embeddings: a text, its tokens, parts of content, or a list of any. Errors: InvalidInput."""
    body = _read(raw)
    given = body.fields.get("input")
    if not isinstance(given, str | list) or not given:
        raise fields.bad("input", "must be a text, tokens, or a list of inputs")
    is_tokens = isinstance(given, list) and all(isinstance(one, int) for one in given)
    if isinstance(given, list) and not is_tokens and len(given) > INPUTS_MAX:
        raise fields.bad("input", f"has {len(given)} entries; {INPUTS_MAX} are the most one call takes")
    kinds = {str(part.get("type")) for part in _parts(given)}
    return _request(body, words={"kinds": kinds}, is_unpriced=bool(kinds - {"text", "image_url"}))


def bound_embedding(request: Request, prices: Sequence[Price | None]) -> Bound:
    """Every byte of text as one token, every picture at its dearest; nothing comes out that is billed."""
    images = sum(part.get("type") == "image_url" for part in _parts(request.fields.get("input")))
    known = [price for price in prices if price is not None]
    if not known:
        return pricing.UNKNOWN
    tokens = len(request.body.raw) + pricing.TOKENS_PER_IMAGE * images
    fees = max(price.request + images * price.image for price in known)
    return _fixed(
        request,
        prices,
        cost_usd=tokens * max(price.prompt for price in known) + fees,
        tokens=tokens,
        per_token=max(price.prompt for price in known),
    )


def read_rerank(raw: bytes) -> Request:
    """Read POST rerank. Errors: InvalidInput naming the field."""
    body = _read(raw)
    fields.text(body.fields, "query")
    documents = fields.listed(body.fields, "documents")
    if not 1 <= len(documents) <= DOCUMENTS_MAX:
        raise fields.bad("documents", f"must be a list of 1 to {DOCUMENTS_MAX} documents")
    has_pictures = any(isinstance(one, dict) and one.get("image") is not None for one in documents)
    return _request(body, is_unpriced=has_pictures)


def bound_rerank(request: Request, prices: Sequence[Price | None]) -> Bound:
    """Search units by the request price, and each document with its query by the token price; both may be asked."""
    known = [price for price in prices if price is not None]
    if not known:
        return pricing.UNKNOWN
    documents = request.fields["documents"]
    query = len(str(request.fields["query"]).encode(errors="replace"))
    tokens = len(request.body.raw) + query * len(documents)
    units = -(-(len(documents) + tokens // TOKENS_PER_DOCUMENT) // DOCUMENTS_PER_UNIT)
    per_token = max(price.prompt for price in known)
    cost_usd = tokens * per_token + units * max(price.request for price in known)
    # A price list that says nothing is no promise that it is free.
    is_silent = cost_usd == 0 and not _is_free(request)
    return _fixed(request, prices, cost_usd=cost_usd, tokens=tokens, per_token=per_token, is_guess=is_silent)


def read_speech(raw: bytes) -> Request:
    """Read POST audio/speech. Errors: InvalidInput naming the field."""
    body = _read(raw)
    fields.text(body.fields, "input")
    return _request(body, is_unpriced=body.fields.get("input_references") is not None)


def bound_speech(request: Request, prices: Sequence[Price | None]) -> Bound:
    """Every byte of the input as one character, at the prompt price; a model that bills its sound too has no bound."""
    known = [price for price in prices if price is not None]
    if not known:
        return pricing.UNKNOWN
    characters = len(request.body.raw)
    per_character = max(price.prompt for price in known)
    cost_usd = characters * per_character + max(price.request for price in known)
    is_guess = any(price.completion > 0 for price in known) or (cost_usd == 0 and not _is_free(request))
    return _fixed(
        request, prices, cost_usd=cost_usd, tokens=characters, per_token=per_character, is_guess=is_guess
    )


def read_transcription(raw: bytes) -> Request:
    """Read POST audio/transcriptions as JSON; a form is read by `forms`. Errors: InvalidInput naming the field."""
    body = _read(raw)
    sound = body.fields.get("input_audio")
    if not isinstance(sound, dict) or not isinstance(sound.get("data"), str) or not sound["data"]:
        raise fields.bad("input_audio", "must be an object with data and format")
    return _request(body, is_unpriced=True, streams=True)


def bound_transcription(request: Request, prices: Sequence[Price | None]) -> Bound:
    """About what a recording of this size costs."""
    return bound_sound(len(request.body.raw) * 3 // 4, prices)


def bound_sound(size_bytes: int, prices: Sequence[Price | None]) -> Bound:
    """About what so many bytes of sound cost, by the second or by the token: a guess, for nobody has listened to it."""
    seconds = -(-size_bytes // SOUND_BYTES_PER_SECOND)
    tokens = seconds * SOUND_TOKENS_PER_SECOND
    per_token = (
        (max(price.prompt, price.audio) + price.completion, price) for price in prices if price is not None
    )
    return _guess(max((seconds * price.request + tokens * each for each, price in per_token), default=_NONE))


def read_image(raw: bytes) -> Request:
    """Read POST images. Errors: InvalidInput naming the field."""
    body = _read(raw)
    fields.text(body.fields, "prompt")
    fields.whole(body.fields, "n", PICTURES_MAX)
    return _request(body, is_unpriced=True, streams=True)


def bound_image(request: Request, prices: Sequence[Price | None]) -> Bound:
    """About what so many pictures cost: a guess, for the list does not say what a picture of which size takes."""
    count = request.fields.get("n") or 1
    references = len(fields.listed(request.fields, "input_references"))
    known = [price for price in prices if price is not None]
    tokens = len(str(request.fields["prompt"])) + references * pricing.TOKENS_PER_IMAGE
    cost_usd = max(
        (
            tokens * price.prompt
            + count * max(TOKENS_PER_PICTURE * price.completion, price.image)
            + price.request
            for price in known
        ),
        default=_NONE,
    )
    return _guess(cost_usd)


def read_video(raw: bytes) -> Request:
    """Read POST videos, a job. Errors: InvalidInput naming the field."""
    body = _read(raw)
    fields.whole(body.fields, "duration", VIDEO_SECONDS_MAX)
    if body.fields.get("callback_url") is not None:
        # Upstream would tell of the job in the operator's name, and we would not hear of its cost.
        raise fields.bad("callback_url", "is not offered here: ask for the job's status instead; it")
    return _request(body, is_unpriced=True)


def bound_video(request: Request, prices: Sequence[Price | None]) -> Bound:
    """About what a film of this length costs, where the list has a price for a second of it."""
    seconds = request.fields.get("duration") or VIDEO_SECONDS_UNKNOWN
    known = [price for price in prices if price is not None]
    return _guess(max((seconds * max(price.request, price.second) for price in known), default=_NONE))


def _read(raw: bytes) -> bodies.Body:
    body = bodies.read(raw)
    fields.require_types(body)
    return body


def _request(
    body: bodies.Body,
    *,
    words: Mapping[str, Any] | None = None,
    is_unpriced: bool = False,
    streams: bool = False,
) -> Request:
    # `stream` must be a switch where upstream does not know it, too: nobody shall guess what it meant.
    is_stream = fields.flag(body.fields, "stream")
    return Request(
        body=body,
        models=fields.models(body.fields),
        is_stream=is_stream and streams,
        words=words or {},
        is_unpriced=is_unpriced,
        least_tokens=0,
    )


def _parts(given: object) -> Iterable[Mapping[str, Any]]:
    """Return the parts of content in an embedding's input."""
    for item in given if isinstance(given, list) else ():
        content = item.get("content") if isinstance(item, dict) else None
        for part in content if isinstance(content, list) else ():
            if isinstance(part, dict):
                yield part


def _is_free(request: Request) -> bool:
    return all(model.endswith(":free") for model in request.models)


def _fixed(
    request: Request,
    prices: Sequence[Price | None],
    *,
    cost_usd: Decimal,
    tokens: int,
    per_token: Decimal,
    is_guess: bool = False,
) -> Bound:
    """Return a bound without output: there is nothing to lower."""
    bound = replace(pricing.UNKNOWN, fixed_usd=cost_usd, prompt_usd_per_token=per_token, prompt_tokens=tokens)
    is_known = None not in prices and not request.is_unpriced and not is_guess
    return replace(bound, price_known=is_known)


def _guess(cost_usd: Decimal) -> Bound:
    return replace(pricing.UNKNOWN, fixed_usd=cost_usd, likely_fixed_usd=cost_usd)
