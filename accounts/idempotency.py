"""A mutation's Idempotency-Key: claimed with the mutation or before it, its answer kept encrypted for a day."""

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from accounts import ciphers, locks
from accounts.answer_models import IdempotentAnswer
from accounts.errors import AlreadyCompleted, IdempotencyInProgress, IdempotencyMismatch, InvalidInput

KEPT = timedelta(hours=24)
KEY_LENGTH_MAX = 255
ANSWER_BYTES_MAX = 256 * 1024
# The status of a claim whose work is under way beyond this database; an HTTP answer has none such.
RUNNING = 0
# Longer than such work takes, with all its timeouts: what is still claimed then was left behind by a crash.
RUNNING_FOR = timedelta(minutes=2)
PURPOSE = "idempotent-answers"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a mutation answered, to the byte; `is_replay` where it was done before."""

    status: int
    body: bytes
    is_replay: bool = False


def check(key: str) -> str:
    """The key of a header as it may be used. Errors: InvalidInput."""
    if not 0 < len(key) <= KEY_LENGTH_MAX or not key.isascii() or not key.isprintable() or key != key.strip():
        raise InvalidInput(
            f"Idempotency-Key: must have 1 to {KEY_LENGTH_MAX} printable ASCII characters.",
            hint="Send a new UUID for each new request, and the same one when you retry it.",
            details={"field": "Idempotency-Key"},
        )
    return key


def fingerprint(*, caller: str, method: str, path: str, body: bytes) -> bytes:
    """What two requests must share to be the same one; an answer may hold what only its own caller is to see.

    Shape: under settings.KEY_PEPPER, since a body may hold a password, which a plain hash would let be guessed.
    """
    parts = (caller.encode(), method.encode(), path.encode(), body)
    text = b"".join(b"%d:%s" % (len(part), part) for part in parts)
    return hmac.digest(settings.KEY_PEPPER.encode(), text, "sha256")


def once(
    *, company_id: UUID, key: str, fingerprint: bytes, now: datetime, work: Callable[[], Answer]
) -> Answer:
    """Do the work once per company and key within a day; afterwards give the answer it gave.

    Shape: the work runs in one transaction with the claim, so that both stand or neither; what raises leaves no trace,
    and the key is free again. Answers above ANSWER_BYTES_MAX are not kept.
    Errors: InvalidInput (the key), IdempotencyInProgress, IdempotencyMismatch, AlreadyCompleted, and those of `work`.
    Source: docs/product.md 5, `Idempotency-Key`.
    """
    claim = _Claim(company_id=company_id, key_sha256=_digest(key), fingerprint=fingerprint, now=now)
    with transaction.atomic():
        kept = claim.find()
        if kept is None:
            answer = work()
            claim.rows.create(**claim.named, **claim.finished(answer))
            return answer
    return claim.again(kept)


def once_beyond(
    *, company_id: UUID, key: str, fingerprint: bytes, now: datetime, work: Callable[[], Answer]
) -> Answer:
    """As `once`, for work that asks somebody beyond this database, who may take seconds: no transaction is open.

    Shape: the claim stands before the work begins and goes when it raises. A crash in between leaves it for
    RUNNING_FOR; after that the same request is done again, so the work must be one that may be done twice.
    Errors: as `once`.
    """
    claim = _Claim(company_id=company_id, key_sha256=_digest(key), fingerprint=fingerprint, now=now)
    with transaction.atomic(durable=True):
        kept = claim.find()
        if kept is None:
            claim.rows.create(**claim.named, status=RUNNING, answer=None)
    if kept is not None:
        return claim.again(kept)
    try:
        answer = work()
    except BaseException:
        claim.mine.delete()
        raise
    claim.mine.update(**claim.finished(answer))
    return answer


def forget(*, now: datetime) -> int:
    """Delete the answers that are past their day; how many there were."""
    count, _ = IdempotentAnswer.objects.filter(created_at__lte=now - KEPT).delete()
    return count


@dataclass(frozen=True, slots=True, kw_only=True)
class _Claim:
    """One request's wish for one key."""

    company_id: UUID
    key_sha256: bytes
    fingerprint: bytes
    now: datetime

    @property
    def about(self) -> bytes:
        return self.company_id.bytes + self.key_sha256

    @property
    def rows(self) -> QuerySet[IdempotentAnswer]:
        return IdempotentAnswer.objects.filter(company_id=self.company_id, key_sha256=self.key_sha256)

    @property
    def mine(self) -> QuerySet[IdempotentAnswer]:
        """The row of this very claim, as long as nobody has taken it over."""
        return self.rows.filter(status=RUNNING, created_at=self.now, fingerprint=self.fingerprint)

    @property
    def named(self) -> dict[str, Any]:
        return {
            "company_id": self.company_id,
            "key_sha256": self.key_sha256,
            "fingerprint": self.fingerprint,
            "created_at": self.now,
        }

    def find(self) -> IdempotentAnswer | None:
        """What the key stands for; where it is nothing, the key is held until the transaction ends.

        Errors: IdempotencyInProgress.
        """
        if not locks.try_hold("idempotency", self.about.hex()):
            raise _in_progress()
        kept = self.rows.first()
        if kept is None:
            return None
        lasts = RUNNING_FOR if kept.status == RUNNING else KEPT
        if kept.created_at > self.now - lasts:
            return kept
        self.rows.delete()  # Past its day and not swept yet, or left behind.
        return None

    def finished(self, answer: Answer) -> dict[str, Any]:
        is_kept = len(answer.body) <= ANSWER_BYTES_MAX
        sealed = ciphers.encrypt(answer.body, purpose=PURPOSE, about=self.about) if is_kept else None
        return {"status": answer.status, "answer": sealed}

    def again(self, kept: IdempotentAnswer) -> Answer:
        """What was answered then. Errors: IdempotencyMismatch, IdempotencyInProgress, AlreadyCompleted."""
        if bytes(kept.fingerprint) != self.fingerprint:
            raise IdempotencyMismatch(
                "This Idempotency-Key was used for another request, or by another API key.",
                hint="Send a key of its own with each request.",
            )
        if kept.status == RUNNING:
            raise _in_progress()
        sealed = kept.answer
        body = None if sealed is None else ciphers.decrypt(bytes(sealed), purpose=PURPOSE, about=self.about)
        if body is None:
            raise AlreadyCompleted(
                f"This was done at {kept.created_at:%Y-%m-%dT%H:%M:%SZ}, and its answer is not kept.",
                hint="Read what came of it; do not send it again under another key.",
            )
        return Answer(status=kept.status, body=body, is_replay=True)


def _digest(key: str) -> bytes:
    return sha256(check(key).encode()).digest()


def _in_progress() -> IdempotencyInProgress:
    return IdempotencyInProgress(
        "The first request with this Idempotency-Key is still running.",
        hint="Wait a moment and send it again.",
    )
