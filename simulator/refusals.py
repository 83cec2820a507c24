"""Answers that knobs put in the place of a real one: errors, HTML pages, redirects, closed connections."""

import dataclasses
import hashlib

import orjson

from simulator import errors
from simulator.errors import APIError
from simulator.faults import Faults
from simulator.traffic import Body, Reply

# A UTC midnight in milliseconds, as X-RateLimit-Reset was seen.
_RESET_MS = "1788220800000"
_AVAILABILITY = {
    400: "model_not_found",
    403: "region_restricted",
    404: "no_endpoints",
    429: "capacity_exhausted",
    503: "temporarily_unavailable",
}
_PAGE = """<!DOCTYPE html>
<html lang="en-US"><head><title>openrouter.ai | {status}: {reason}</title></head>
<body><h1>{reason} <span>Error code {status}</span></h1><p>Ray ID: 8f2c1d9b7a6e5f40</p></body></html>
"""


class Refused(Exception):
    """Carries the reply that a knob chose up to the route."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        super().__init__(f"refused with {reply.status}")


def _headers(faults: Faults, status: int) -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, str]] = []
    if faults.retry_after is not None or status in {429, 503}:
        found.append(("retry-after", str(1 if faults.retry_after is None else faults.retry_after)))
    if status == 429 and faults.error_style == "platform":
        found += [
            ("X-RateLimit-Limit", "20"),
            ("X-RateLimit-Remaining", "0"),
            ("X-RateLimit-Reset", _RESET_MS),
        ]
    return tuple(found)


def _platform(status: int, headers: tuple[tuple[str, str], ...]) -> APIError:
    metadata: Body | None = None
    if status == 429:
        limits = {name: value for name, value in headers if name.startswith("X-")}
        metadata = {"headers": limits, "limit_source": "openrouter_shared_capacity"}
    return APIError(status, metadata=metadata)


def _provider(status: int, provider: str, model: str) -> APIError:
    raw = f"{model} is temporarily rate-limited upstream" if status == 429 else f"upstream said {status}"
    metadata = {
        "raw": raw,
        "provider_name": provider,
        "error_type": errors.ERROR_TYPES.get(status, "unmapped"),
    }
    return APIError(status, "Provider returned error", metadata=metadata)


def _availability(status: int, model: str) -> Body:
    """The newest shape, which has no `code`."""
    kind = _AVAILABILITY.get(status, "temporarily_unavailable")
    about = {"code": kind, "retryable": status in {429, 503}, "requested_models": [model]}
    inner = {
        "message": errors.message_of(status),
        "error_type": errors.ERROR_TYPES.get(status, "unmapped"),
        "http_status": status,
        "availability": about,
    }
    return {"error": inner, "user_id": errors.USER_ID}


def _moderation(status: int, provider: str, model: str) -> APIError:
    about = {
        "reasons": ["violence"],
        "flagged_input": "the first words of what was sent",
        "provider_name": provider,
        "model_slug": model,
        "error_type": "content_policy_violation",
    }
    message = f"{model} requires moderation. Your input was flagged."
    return APIError(status, message, metadata=about, error_type="content_policy_violation")


def _leaky(status: int, key: str) -> APIError:
    """Everything that an error must not tell a stranger of the account behind the key."""
    digest = hashlib.sha256(key.encode()).hexdigest()
    told = (
        f"Key {key} (hash {digest}) of {errors.USER_ID}, org_2simulatorOrganization00 <operator@example.com>, has "
        "$12.34 left. Add 10 credits at https://openrouter.ai/settings/credits or https://openrouter.ai/settings/keys"
    )
    metadata = {"raw": told, "key_label": "operator-main", "balance": 12.34, "organization": "Operator Inc."}
    return APIError(status, told, metadata=metadata)


def of(
    faults: Faults, *, path: str, provider: str = "OpenAI", model: str = "", key: str = ""
) -> Reply | None:
    """The reply a knob wants in place of an answer, if any wants one."""
    if faults.close_before_headers:
        return Reply(status=0, body=b"", faults=faults)
    if faults.redirect:
        return Reply(faults.redirect, b"", headers=(("location", "/__sim/elsewhere"),), faults=faults)
    if faults.html:
        page = _PAGE.format(status=faults.html, reason=errors.message_of(faults.html)).encode()
        return Reply(faults.html, page, content_type="text/html; charset=UTF-8", faults=faults)
    if not faults.status:
        return None
    headers = _headers(faults, faults.status)
    if faults.error_style == "availability":
        body = _availability(faults.status, model)
    elif faults.error_style == "moderation":
        body = errors.envelope(_moderation(faults.status, provider, model), path)
    elif faults.error_style == "leaky":
        body = errors.envelope(_leaky(faults.status, key), path)
    elif faults.error_style == "provider":
        body = errors.envelope(_provider(faults.status, provider, model), path)
    else:
        body = errors.envelope(_platform(faults.status, headers), path)
    return Reply(faults.status, orjson.dumps(body), headers=headers, faults=faults)


def with_headers(reply: Reply, *headers: tuple[str, str]) -> Reply:
    return dataclasses.replace(reply, headers=(*reply.headers, *headers))
