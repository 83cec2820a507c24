"""Which headers pass through the proxy, in either direction: two allow-lists, and everything else stays behind."""

import re
from collections.abc import Callable, Iterable, Mapping

from accounts.errors import InvalidInput, Unauthorized

type Pairs = Iterable[tuple[bytes, bytes]]

VALUE_BYTES_MAX = 1024
SESSION_BYTES_MAX = 256
_VISIBLE = re.compile(rb"[\x20-\x7e]*")
# What decides how upstream reads the request, and nothing about who sends it or where from.
_REQUEST = frozenset({b"accept", b"anthropic-version", b"anthropic-beta", b"x-anthropic-beta"})
# Names that may come more than once, as a list.
_LISTS = frozenset({b"anthropic-beta", b"x-anthropic-beta"})
_SESSION = b"x-session-id"

# Of upstream's answer: what its reader needs of this one call. Its account, its edge and its limits are not among it.
_RESPONSE = frozenset({"content-encoding", "x-generation-id", "x-provider-name"})
# No page, script or picture is ever shown from here, whatever upstream calls it.
GUARDS = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'; sandbox"}
_JSON, _STREAM = "application/json", "text/event-stream"
_PLAIN, _BYTES = "text/plain; charset=utf-8", "application/octet-stream"
_MEDIA = re.compile(
    r"audio/(?:mpeg|mp3|mp4|aac|flac|ogg|opus|webm|wav|x-wav|wave|pcm|l16|basic)|video/(?:mp4|webm|quicktime|mpeg)"
)
_PARAMETERS = re.compile(r"(?: *; *[a-z0-9_-]{1,32}=[a-z0-9_.+-]{1,64}){0,8}")
# The body's own, which goes with it; anything else there is no encoding.
_ENCODINGS = re.compile(r"gzip|x-gzip|deflate|br|zstd")
RETRY_AFTER_MAX_S = 3600


def outgoing(
    given: Pairs, *, attribution: Mapping[str, str], opaque_session: Callable[[str], str]
) -> list[tuple[bytes, bytes]]:
    """Return the headers to send upstream beside the operator's own (key, user agent, encoding) and the body's.

    Shape: `given` are the client's as they came, in lower case; `attribution` is the operator's; a session's name
    goes out as `opaque_session` writes it, so that it meets no other company's.
    Errors: InvalidInput naming the header: not in visible ASCII, too long, or twice.
    Source: docs/product.md 4, the table of what is changed.
    """
    found: dict[bytes, bytes] = {}
    for name, value in given:
        if name in _REQUEST:
            checked = _checked(name, value, VALUE_BYTES_MAX)
            found[name] = _joined(name, found.get(name), checked)
        elif name == _SESSION and value:
            if name in found:
                raise _bad(name, "is there twice")
            text = _checked(name, value, SESSION_BYTES_MAX).decode("ascii")
            found[name] = opaque_session(text).encode("ascii")
    found.setdefault(b"accept", b"*/*")
    ours = ((name.encode("ascii"), value.encode("latin-1")) for name, value in attribution.items() if value)
    return [*found.items(), *ours]


def authorization(given: Pairs) -> str | None:
    """Return the Authorization header that stands for whatever the client sent its key in; None without any.

    Shape: Anthropic's clients send the bare key as `x-api-key`. Headers that come twice, or do not agree, are no key
    of anybody's; neither is a key in a query, a path or a cookie.
    Errors: Unauthorized.
    """
    found = [
        f"Bearer {value.decode('latin-1')}" if name == b"x-api-key" else value.decode("latin-1")
        for name, value in given
        if name in (b"authorization", b"x-api-key")
    ]
    if len(set(found)) > 1:
        raise Unauthorized(
            "The request carries two keys.", hint="Send one, in Authorization or in x-api-key."
        )
    return found[0] if found else None


def incoming(given: Mapping[str, str], *, status: int) -> dict[str, str]:
    """Return what of upstream's headers a client gets, the content type made harmless, and the guards beside them.

    Shape: `given` has lower-case names. `content-encoding` passes with the body, which is not unpacked.
    """
    found = {name: given[name] for name in _RESPONSE if _is_plain(given.get(name))}
    if not _ENCODINGS.fullmatch(found.get("content-encoding", "").lower()):
        found.pop("content-encoding", None)
    retry_after = given.get("retry-after", "")
    if status >= 400 and retry_after.isascii() and retry_after.isdigit() and len(retry_after) <= 4:
        found["retry-after"] = str(min(int(retry_after), RETRY_AFTER_MAX_S))
    content_type = safe_type(given.get("content-type", ""))
    if content_type == _STREAM:
        # Asks nginx and its kin not to buffer what must flow.
        found |= {"cache-control": "no-cache", "x-accel-buffering": "no"}
    return {"content-type": content_type, **found, **GUARDS}


def safe_type(content_type: str) -> str:
    """Return the content type to answer with: JSON, event stream, sound and film as they are, else plain or bytes.

    What a browser would run (HTML, SVG, scripts) is called text; the bytes are upstream's all the same.
    """
    kind, _, _ = content_type.partition(";")
    kind = kind.strip().lower()
    if kind == _STREAM:
        return _STREAM
    if kind == _JSON or re.fullmatch(r"application/[a-z0-9.-]{1,64}\+json", kind):
        return _JSON
    if _MEDIA.fullmatch(kind):
        rest = content_type.partition(";")[2].strip()
        written = f"; {rest}".lower() if rest else ""
        return kind + (written if _PARAMETERS.fullmatch(written) else "")
    return (
        _PLAIN if kind.startswith("text/") or kind in ("application/xhtml+xml", "image/svg+xml") else _BYTES
    )


def _checked(name: bytes, value: bytes, most: int) -> bytes:
    if len(value) > most:
        raise _bad(name, f"is longer than {most} bytes")
    if not _VISIBLE.fullmatch(value):
        raise _bad(name, "has characters that no header has")
    return value


def _joined(name: bytes, before: bytes | None, value: bytes) -> bytes:
    if before is None:
        return value
    if name not in _LISTS:
        raise _bad(name, "is there twice")
    return _checked(name, before + b", " + value, VALUE_BYTES_MAX)


def _is_plain(value: str | None) -> bool:
    return value is not None and len(value) <= VALUE_BYTES_MAX and value.isascii() and value.isprintable()


def _bad(name: bytes, rule: str) -> InvalidInput:
    shown = name.decode("ascii")
    return InvalidInput(
        f"The header {shown} {rule}.", hint=f"Correct {shown} and send again.", details={"header": shown}
    )
