"""Asking upstream for its own record of a call: at a bounded pace, and not at all while it does not answer."""

import logging
import re
import threading
import time
from decimal import Decimal
from typing import Any

import redis
import redis.exceptions
from django.conf import settings

from llm import metering, upstream
from llm.errors import NotConfigured, UpstreamError

log = logging.getLogger(__name__)

# A record that is not there: upstream's only answer that says something about the call.
NO_RECORD = frozenset({404, 410})
# So many look-ups in a row without an answer, and none is sent for a while, which doubles until one is answered.
FAILURES_MAX = 5
# A job goes by its own name where a generation's id stands; no generation is named so.
JOB_BEGINNING = "job:"
_JOB = re.compile(re.escape(JOB_BEGINNING) + r"([A-Za-z0-9][A-Za-z0-9_-]{0,127})")
REST_S = 5.0
REST_MAX_S = 300.0
# Nobody waits longer for a place than this; the look-up comes again.
PATIENCE_S = 5.0
VALKEY_TIMEOUT_S = 0.5
# GCRA over all workers: a key holds the instant (ms) at which the bucket is full again; a second's worth may come at
# once. Returns 0, or the milliseconds to wait.
_TAKE = """
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
local full_ms = math.max(tonumber(redis.call('GET', KEYS[1]) or now_ms), now_ms) + 1000 / tonumber(ARGV[1])
if full_ms - now_ms > 1000 then
    return math.ceil(full_ms - now_ms - 1000)
end
redis.call('SET', KEYS[1], tostring(full_ms), 'PX', 2000)
return 0
"""
# How a job ends, and how it ends without a film.
OVER = frozenset({"completed", "failed", "cancelled", "expired"})
UNMADE = OVER - {"completed"}
_BUCKET = "naive:lookups"


class NoAnswer(Exception):
    """Upstream did not answer, or was not asked: no evidence about any call."""


class StillRunning(NoAnswer):
    """Upstream answered that a job goes on: what it costs is not known to anybody yet."""


class Breaker:
    """Keeps look-ups from an upstream that does not answer them; it knows nothing of calls and their costs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures = 0
        self._rests_until = 0.0

    def is_open(self) -> bool:
        return self.rests_s() > 0

    def rests_s(self) -> float:
        """How long no look-up is sent from now."""
        return max(self._rests_until - time.monotonic(), 0.0)

    def answered(self) -> None:
        with self._lock:
            self._failures, self._rests_until = 0, 0.0

    def failed(self, *, at_least_s: float = 0.0) -> None:
        """Count a look-up without an answer; `at_least_s` is how long upstream asked to be left alone."""
        with self._lock:
            self._failures += 1
            over = self._failures - FAILURES_MAX
            rest_s = min(REST_S * 2 ** min(over, 16), REST_MAX_S) if over >= 0 else 0.0
            rest_s = min(max(rest_s, at_least_s), REST_MAX_S)
            if rest_s:
                log.warning("Upstream does not answer look-ups: none for %.0f s", rest_s)
                self._rests_until = time.monotonic() + rest_s


breaker = Breaker()
_valkey: dict[str, redis.Redis] = {}


def record(generation_id: str) -> dict[str, Any]:
    """Return upstream's record of a call; {} where upstream says it has none, or one that cannot be read.

    Shape: a job's status as a record: what it cost once it says so, nothing where it ended without a film and nobody
    names a cost; {} where it is done and does not say, or upstream knows no such job.
    Errors: NoAnswer for anything else (429, 5xx, a timeout, a pause of the breaker): it says nothing about the call;
    StillRunning for a job that is not over.
    """
    job = _JOB.fullmatch(generation_id)
    if job:
        return _job(generation_id, job[1])
    body = _asked("generation", {"id": generation_id})
    report = metering.read(body) if body is not None else None
    found = report.body.get("data") if report else None
    return found if isinstance(found, dict) else {}


def _job(name: str, job: str) -> dict[str, Any]:
    body = _asked(f"videos/{job}", {})
    report = metering.read(body) if body is not None else None
    if report is None:
        return {}
    told, cost, status = report.body, report.cost_usd, report.body.get("status")
    if cost is None and not (isinstance(status, str) and status in OVER):
        raise StillRunning(f"Upstream is at work on it: {str(status)[:20]!r}.")
    generation_id = metering.text(told.get("generation_id"))
    if cost is None and generation_id:
        # It is over and does not say for how much; its generation does.
        cost = metering.cost_of(record(generation_id), "total_cost")
    if cost is None and status in UNMADE:
        # No film and no cost: nothing was charged. A cost that is told later is found by the second looks.
        cost = Decimal(0)
    return {} if cost is None else {"id": name, "total_cost": cost, "model": told.get("model")}


def _asked(path: str, params: dict[str, str]) -> bytes | None:
    if breaker.is_open():
        raise NoAnswer("Upstream is left alone for a while.")
    _wait_for_place()
    try:
        body = upstream.look_up(path, params=params)
    except NotConfigured as exc:
        raise NoAnswer(exc.message) from exc
    except UpstreamError as exc:
        if exc.status in NO_RECORD:
            breaker.answered()
            return None
        breaker.failed(at_least_s=_asked_pause_s(exc))
        raise NoAnswer(f"Upstream answered the look-up with {exc.status}.") from exc
    breaker.answered()
    return body


def _asked_pause_s(exc: UpstreamError) -> float:
    """How long upstream wants to be left alone: what a 429 says, or a second."""
    if exc.status != 429:
        return 0.0
    text = exc.retry_after or ""
    return max(1.0, float(text)) if text.isascii() and text.isdigit() else 1.0


def _wait_for_place() -> None:
    """Take a place in LOOKUPS_PER_S, which all workers share; without Valkey look-ups go on uncounted."""
    give_up_at = time.monotonic() + PATIENCE_S
    while wait_ms := _take():
        if time.monotonic() + wait_ms / 1000 > give_up_at:
            raise NoAnswer("Too many look-ups at once.")
        time.sleep(wait_ms / 1000)


def _take() -> int:
    client = _valkey.get(settings.REDIS_URL)
    if client is None:
        client = _valkey[settings.REDIS_URL] = redis.Redis.from_url(
            settings.REDIS_URL, socket_timeout=VALKEY_TIMEOUT_S, socket_connect_timeout=VALKEY_TIMEOUT_S
        )
    try:
        return int(client.eval(_TAKE, 1, _BUCKET, settings.LOOKUPS_PER_S))
    except redis.exceptions.RedisError as exc:
        log.warning("Look-ups are not counted: %s", exc)
        return 0
