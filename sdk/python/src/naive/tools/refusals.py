"""What an agent is told when a call fails: what happened, which limit or rule it was, what to do next."""

from __future__ import annotations

from naive import errors
from naive.tools.tool import Mistake

LIMITS = {
    "wallet": "the company's wallet",
    "key_cap": "this key's spend cap",
    "user_cap": "this user's monthly allowance",
}
CHEAPER = "Choose a cheaper model (list models with max_price), lower max_tokens, or shorten the prompt."
NEXT_FOR_REASON = {
    "primitive_disabled_by_kit": "No other call to this primitive will pass; who administers the kit can open it.",
    "model_not_allowed_by_kit": "List the models: what is listed is allowed.",
    "max_cost_usd_per_call": CHEAPER,
    "user_suspended": "No call for this user will pass until it is reactivated.",
    "key_subject_mismatch": "Leave user_id out.",
}


def told(error: errors.NaiveError) -> str:
    """Return an error as one short text for a model."""
    if isinstance(error, Mistake):
        return error.message
    parts = [f"{_head(error)}: {error.message}", *_specifics(error)]
    if error.request_id:
        parts.append(f"({error.request_id})")
    return " ".join(part for part in parts if part)


def _head(error: errors.NaiveError) -> str:
    return f"{error.status} {error.code}" if error.status else error.code


def _specifics(error: errors.NaiveError) -> list[str]:
    if isinstance(error, errors.InsufficientCreditsError):
        return _short_of_credits(error)
    if isinstance(error, errors.PermissionDeniedError):
        return [NEXT_FOR_REASON.get(error.reason or "") or error.hint or ""]
    if isinstance(error, errors.APIStatusError):
        return _status(error)
    if isinstance(error, errors.APITimeoutError):
        return ["It may have run and been charged; look at naive_usage before you call again."]
    return [error.hint or ""]


def _short_of_credits(error: errors.InsufficientCreditsError) -> list[str]:
    limit = LIMITS.get(error.limit or "", "a limit on credits")
    amounts = ""
    if error.required is not None and error.available is not None:
        amounts = f" needs {error.required:f} credits, {error.available:f} left"
    named = f" ({error.limit})" if error.limit else ""
    return [f"Limit: {limit}{named}{':' if amounts else ''}{amounts}.", CHEAPER]


def _status(error: errors.APIStatusError) -> list[str]:
    if error.response.headers.get("x-should-retry") == "false":
        return [error.hint or "", "Do not repeat it blindly: it may have been charged."]
    if error.retry_after_s is not None:
        return [f"Come back in {error.retry_after_s:g} s."]
    return [error.hint or ""]
