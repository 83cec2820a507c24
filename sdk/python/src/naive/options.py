"""What a client is set to, and what one call may set otherwise."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypedDict
from urllib.parse import urlsplit

from naive import errors, lazy

if TYPE_CHECKING:
    import httpx
else:
    httpx = lazy.module("httpx")

# Seconds without a byte, of which connecting may take CONNECT_TIMEOUT_S; or httpx's own for each step; None: for ever.
type Timeout = float | httpx.Timeout | None

DEFAULT_BASE_URL = "http://localhost:8000"
# A model may think for minutes; whoever has less patience says so. Unit: seconds.
DEFAULT_TIMEOUT_S = 600.0
# A host that does not answer at all is found out sooner. Unit: seconds.
CONNECT_TIMEOUT_S = 5.0
DEFAULT_MAX_RETRIES = 2
# What a header takes as a key: no space, no line end, nothing beyond ASCII.
_KEY = re.compile("[!-~]+")
_UNSEEN = re.compile(r"[\x00-\x20\x7f]")


class Options(TypedDict, total=False):
    """What every call takes beside its own parameters."""

    timeout: Timeout
    max_retries: int
    # One key for one deed: the same again, after a crash too, is not done twice. Left out: a new one for each call.
    idempotency_key: str
    extra_headers: Mapping[str, str]
    extra_query: Mapping[str, Any]
    extra_body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Settings:
    """Where a client speaks to, as whom and how patiently."""

    api_key: str | None = field(repr=False)
    base_url: str
    timeout: Timeout
    max_retries: int = DEFAULT_MAX_RETRIES
    headers: Mapping[str, str] = field(default_factory=dict)

    def changed(self, **changes: Any) -> Settings:
        """Return these settings with those of `changes` that are not None."""
        return replace(self, **{name: value for name, value in changes.items() if value is not None})


def settings(
    *,
    api_key: str | None,
    base_url: str | None,
    timeout: Timeout,
    max_retries: int,
    headers: Mapping[str, str] | None,
) -> Settings:
    """Return what was given, completed from NAIVE_API_KEY and NAIVE_BASE_URL. Errors: ConfigurationError."""
    return Settings(
        api_key=key(os.environ.get("NAIVE_API_KEY") or None if api_key is None else api_key),
        base_url=address(base_url or os.environ.get("NAIVE_BASE_URL") or DEFAULT_BASE_URL),
        timeout=timeout,
        max_retries=max_retries,
        headers=dict(headers or {}),
    )


def key(given: str | None) -> str | None:
    """Return a key as it is. Errors: ConfigurationError for what no header can carry; it does not repeat the key."""
    if given is not None and not _KEY.fullmatch(given):
        raise errors.ConfigurationError(
            "The API key is empty, or holds a space, a line end or another character that no key has.",
            code="invalid_api_key",
            hint="Copy it again, whole: nv_sk_live_…",
        )
    return given


def address(given: str) -> str:
    """Return the address of a platform, without /v1. Errors: ConfigurationError for what leads to none."""
    url = given.rstrip("/")
    try:
        parts = urlsplit(url)
        is_whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_whole = False
    if "@" in url:
        # httpx would send these in the place of the key, and errors would show them.
        raise errors.ConfigurationError(
            "base_url has a user name or a password in it; the key alone says who asks.",
            code="invalid_base_url",
        )
    if not is_whole or _UNSEEN.search(url) or "?" in url or "#" in url:
        raise errors.ConfigurationError(
            f"base_url {url!r} is no http:// or https:// address.", code="invalid_base_url"
        )
    return url.removesuffix("/v1")
