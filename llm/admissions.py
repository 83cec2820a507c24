"""A call that may be made: who, what, the most it can cost, and what it holds before it is sent."""

import hashlib
import hmac
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

import orjson
from django.conf import settings

from accounts.auth import Principal
from accounts.subjects import Subject
from billing import holds
from llm import pricing
from llm.shapes.request import Request
from llm.shapes.table import Shape


@dataclass(frozen=True, slots=True)
class Admission:
    """A call that may be made. Nothing is held yet.

    Units: nanocredits for the amounts. `worst` is the most the call can cost; `wanted` is held at first: the same, or
    less where `first_tokens` says for how many output tokens (of all choices together), and the hold grows with the
    stream. `output_ceiling` is the kit's limit on output tokens, None where it has none below what can come anyway.
    `is_proxied`: by the drop-in proxy, where no kit gates and nothing of ours goes into the answer.
    """

    principal: Principal
    subject: Subject
    shape: Shape
    request: Request
    bound: pricing.Bound
    output_ceiling: int | None
    first_tokens: int | None
    worst_nanocredits: int
    wanted_nanocredits: int
    least_nanocredits: int
    caps: tuple[holds.Cap, ...]
    is_proxied: bool = False

    @property
    def nanocredits_per_usd(self) -> Decimal:
        return self.principal.markup * 1_000_000_000 / settings.CREDIT_VALUE_USD

    @property
    def most_tokens(self) -> int:
        """The most output tokens that can come, in all choices together."""
        each = self.bound.output_tokens if self.output_ceiling is None else self.output_ceiling
        return each * self.bound.choices

    def hold_request(self, hold_id: UUID, claim: holds.Claim | None = None) -> holds.HoldRequest:
        """Return what to ask the books for; a claim goes with the hold or not at all."""
        principal, subject = self.principal, self.subject
        return holds.HoldRequest(
            hold_id=hold_id,
            company_id=principal.company_id,
            key_id=principal.key_id,
            kit_id=subject.kit.id,
            tenant_user_id=subject.user_id,
            wanted_nanocredits=self.wanted_nanocredits,
            least_nanocredits=self.least_nanocredits,
            markup=principal.markup,
            credit_value_usd=settings.CREDIT_VALUE_USD,
            ttl_s=self.shape.ttl_s or settings.HOLD_TTL_S,
            details=self._hold_facts(),
            caps=self.caps,
            is_price_known=self.bound.price_known,
            claim=claim,
        )

    def lowered(self, granted_nanocredits: int) -> int | None:
        """Return the `max_tokens` to send where the platform lowers it; None where the request passes as it is."""
        is_short = granted_nanocredits < self.wanted_nanocredits and self.bound.price_known
        if not is_short or not self.shape.output_fields:
            return self.output_ceiling
        affordable = self.bound.output_tokens_for(Decimal(granted_nanocredits) / self.nanocredits_per_usd)
        return max(1, min(affordable, self.output_ceiling or affordable))

    def user(self) -> str:
        """Return what upstream gets to know as `user`: the caller's own, or the subject, opaque in either case."""
        fields = self.request.fields
        named = fields.get("user") or self.shape.names_user(fields)
        return self.opaque("user", named) if named else self.opaque("subject", self.subject.user_id)

    def opaque(self, kind: str, value: object) -> str:
        """Return a name that says nothing outside this platform and never meets another company's."""
        text = f"{self.principal.company_id}|{kind}|{value}".encode()
        return hmac.digest(settings.KEY_PEPPER.encode(), text, hashlib.sha256).hex()[:32]

    def _hold_facts(self) -> bytes:
        request, bound = self.request, self.bound
        return orjson.dumps(
            {
                # A form says its model on its way.
                "model": next(iter(request.models), ""),
                "models": request.models,
                "shape": self.shape.name,
                "user": self.user(),
                "streamed": request.is_stream,
                "prompt_tokens_bound": bound.prompt_tokens if bound.price_known else None,
                "output_tokens_bound": bound.output_tokens if bound.price_known else None,
            }
        )
