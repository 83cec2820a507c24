"""What of a running stream is paid for, and what more is held ahead of need."""

# Source: docs/reconciliation.md, "Sizing the hold".

import asyncio
import logging
import sys
from decimal import Decimal

from django.conf import settings

from accounts.errors import DomainError, Unavailable
from billing import holds, money
from billing.errors import BooksUnavailable, HoldNotFound, InsufficientCredits
from llm import calls, pricing

log = logging.getLogger(__name__)

# More is asked for when this much of what is held is left. Unit: output tokens.
AHEAD_TOKENS = pricing.SLICE_TOKENS // 2
# So far a stream runs on while the books do not answer at all, as in a restart; then it is cut. Unit: output tokens.
UNANSWERED_TOKENS_MAX = 8 * pricing.SLICE_TOKENS
# An answer takes milliseconds; a stream stands still for it no longer than this. Unit: seconds.
ANSWER_WAIT_S = 0.1
_NEVER = sys.maxsize


class Cover:
    """How far one stream may run. Used by its pump only.

    Tokens are those of all choices together, counted from above: every byte that the model makes as one token.
    `ask_at` is where `keep_up` is to be called; for a call that is held in full, never.
    """

    __slots__ = (
        "_asking",
        "_call",
        "_is_for_all",
        "_limit",
        "_number",
        "_refusal",
        "_unsure",
        "ask_at",
        "held_for",
    )

    def __init__(self, call: calls.Call) -> None:
        self._call = call
        covered = call.covered_tokens
        self.held_for = self._limit = _NEVER if covered is None else covered
        self.ask_at = _NEVER if covered is None else covered - AHEAD_TOKENS
        self._is_for_all = False  # The next extension is for all that can come.
        self._number = 0  # Of the last extension that the books have.
        self._asking: asyncio.Task[None] | None = None
        self._refusal: DomainError | None = None
        self._unsure: int | None = None  # The size of an extension that the books may have.

    def hold_all(self) -> None:
        """Have all that can come held at once: it cannot be stopped any more, so that nothing else may use it."""
        self._is_for_all = True
        if self.ask_at != _NEVER:
            self.ask_at = 0

    async def keep_up(self, made: int) -> None:
        """Have more held for a stream that has brought `made`. It waits only once nothing is left of what is held.

        Errors: what the books refused with (InsufficientCredits, WalletFrozen), or BooksUnavailable, once the stream
        may run no further.
        """
        asking = self._asking or self._ask(made)
        while made > self._limit:
            # Not awaited itself: a pump that is cancelled must not take its question back half way.
            done, _ = await asyncio.wait([asking], timeout=ANSWER_WAIT_S)
            if not done:
                # What is not read is made all the same: only a cut saves anything, and the books have not said so.
                self._run_on(BooksUnavailable("The books do not answer in time.", hint="Retry in a moment."))
            if made <= self._limit:
                return
            if self._refusal is not None:
                raise self._refusal
            asking = self._asking or self._ask(made)

    def _ask(self, made: int) -> asyncio.Task[None]:
        self._refusal = None
        self._asking = asyncio.create_task(self._extend(made), name=f"extend:{self._call.public_id}")
        return self._asking

    async def _extend(self, made: int) -> None:
        try:
            await self._extend_as_far_as_it_goes(self._unsure or self._wanted(made))
        except BooksUnavailable as exc:
            self._run_on(exc)
        except HoldNotFound:
            # Settled from upstream's own word while a slow client still takes the answer: it is paid for.
            self._need_no_more()
        except DomainError as exc:
            self._refuse(exc)
        except Exception:
            log.exception("%s: its extension broke on our side", self._call.public_id)
            self._refuse(Unavailable("It could not be held for.", hint="Retry in a moment."))
        finally:
            self._asking = None

    async def _extend_as_far_as_it_goes(self, tokens: int) -> None:
        """Hold for so many tokens; where wallet or cap are short, for what is left: the last credits are used too."""
        try:
            await self._extend_by(tokens)
        except InsufficientCredits as exc:
            left = self._affordable(exc.available_nanocredits)
            if left < pricing.OUTPUT_TOKENS_LEAST:
                raise
            await self._extend_by(left)

    async def _extend_by(self, tokens: int) -> None:
        call = self._call
        self._unsure = tokens
        amount = self._cost_nanocredits(tokens)
        try:
            await holds.extend(
                company_id=call.admission.principal.company_id,
                hold_id=call.hold_id,
                number=self._number + 1,
                amount_nanocredits=amount,
            )
        except BooksUnavailable:
            raise  # It may be there: asked for again it must be the same.
        except DomainError:
            self._unsure = None
            raise
        self._unsure = None
        self._number += 1
        self.held_for += tokens
        self._limit = self.held_for
        call.held_nanocredits += amount
        self.ask_at = self.held_for - AHEAD_TOKENS
        if self.held_for >= call.admission.most_tokens:
            self._need_no_more()

    def _need_no_more(self) -> None:
        self._limit = self.ask_at = _NEVER

    def _refuse(self, error: DomainError) -> None:
        """Note a refusal: it counts once what is held is used up, and the books have been asked once more then."""
        self._refusal = error
        self.ask_at = self._limit + 1

    def _run_on(self, error: BooksUnavailable) -> None:
        """No answer is no refusal: the stream goes on for a while, and the same is asked for again."""
        furthest = self.held_for + UNANSWERED_TOKENS_MAX
        if self._limit >= furthest:
            self._refuse(error)
            return
        log.warning("%s: its extension was not answered: %s", self._call.public_id, error)
        self._limit = min(self._limit + pricing.SLICE_TOKENS, furthest)
        self.ask_at = self._limit - AHEAD_TOKENS

    def _wanted(self, made: int) -> int:
        """Return whole slices: enough to be ahead again, however much came at once; never more than can come."""
        left = self._call.admission.most_tokens - self.held_for
        if self._is_for_all:
            return left
        behind = max(made + AHEAD_TOKENS - self.held_for, 1)
        slices = -(-behind // pricing.SLICE_TOKENS)
        return min(slices * pricing.SLICE_TOKENS, left)

    def _affordable(self, nanocredits: int) -> int:
        admission = self._call.admission
        usd = Decimal(nanocredits) / admission.nanocredits_per_usd
        most = admission.most_tokens - self.held_for
        return max(0, min(int(usd / admission.bound.output_usd_per_token), most))

    def _cost_nanocredits(self, tokens: int) -> int:
        admission = self._call.admission
        return money.charge_nanocredits(
            cost_usd=tokens * admission.bound.output_usd_per_token,
            markup=admission.principal.markup,
            credit_value_usd=settings.CREDIT_VALUE_USD,
        )
