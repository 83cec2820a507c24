"""Many rows in one statement are what the same rows are one after the other: the same answers, the same books."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4, uuid5

from django.db import IntegrityError, transaction
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from billing import holds, ledger, settlement
from billing.holds import Cap, Claim, HoldRequest
from billing.settlement import Source
from tests.billing import books
from tests.billing.books import MONTH

BALANCE = 3000
HOLDS = 6
# The last has no wallet, the one before it is frozen.
COMPANIES = 4
SOURCES: list[Source] = ["operator", "inline", "stream", "generation", "broadcast", "estimate", "no_evidence"]

AMOUNTS = st.integers(0, 2000)
NUMBERS = st.integers(0, HOLDS - 1)


@dataclass(frozen=True)
class Placing:
    company: int
    wanted: int
    least: int
    caps: tuple[tuple[str, int], ...]
    claim: bytes | None
    print: bytes
    is_price_known: bool


@dataclass(frozen=True)
class Ending:
    hold: int
    kind: Any
    charge: int
    is_charge_right: bool
    source: Source
    generation: int
    details: str


PLACINGS = st.lists(
    st.builds(
        Placing,
        company=st.sampled_from([0, 0, 0, 1, 1, 2, 3]),
        wanted=AMOUNTS,
        least=AMOUNTS,
        caps=st.lists(
            st.tuples(st.sampled_from(["day", "month"]), AMOUNTS), max_size=2, unique_by=lambda c: c[0]
        ).map(tuple),
        claim=st.sampled_from([None, None, b"1" * 32, b"2" * 32]),
        print=st.sampled_from([b"a", b"a", b"b"]),
        is_price_known=st.booleans(),
    ),
    min_size=HOLDS,
    max_size=HOLDS,
)
EXTENSIONS = st.lists(st.tuples(NUMBERS, st.integers(1, 2), st.integers(1, 900)), max_size=8)
ENDINGS = st.lists(
    st.builds(
        Ending,
        hold=NUMBERS,
        kind=st.sampled_from(["post", "post", "post", "void", "quarantine"]),
        charge=st.sampled_from([0, 1, 700, 1500, 60_000]),
        is_charge_right=st.sampled_from([True, True, True, False]),
        source=st.sampled_from(SOURCES),
        # Of ten, so that some calls are given another's; 0 is none.
        generation=st.integers(0, 9),
        details=st.sampled_from(
            ["{}", '{"model": "m", "tokens_prompt": 7}', '{"model": "n", "tokens_completion": -1}']
        ),
    ),
    max_size=10,
)


class World:
    """Companies and calls with ids of their own, called by the same numbers as in another world."""

    def __init__(self) -> None:
        self.root = uuid4()
        for number in range(COMPANIES - 1):
            company_id = self.id("company", number)
            ledger.open_wallet(company_id=company_id)
            ledger.post(
                company_id=company_id, amount_nanocredits=BALANCE, action="grant", reference="opening"
            )
        ledger.freeze(company_id=self.id("company", COMPANIES - 2))
        self.company_of: dict[int, int] = {}

    def id(self, *name: object) -> UUID:
        return uuid5(self.root, " ".join(map(str, name)))

    def request(self, number: int, row: Placing) -> HoldRequest:
        self.company_of[number] = row.company
        key_id = self.id("key", row.company)
        return HoldRequest(
            hold_id=self.id("hold", number), company_id=self.id("company", row.company), key_id=key_id,
            kit_id=key_id, tenant_user_id=key_id, wanted_nanocredits=row.wanted,
            least_nanocredits=min(row.least, row.wanted), markup=Decimal(1), credit_value_usd=Decimal(1), ttl_s=900,
            details=b'{"model": "held"}', is_price_known=row.is_price_known,
            caps=tuple(Cap("key", key_id, period, MONTH, limit) for period, limit in row.caps),  # type: ignore[arg-type]
            claim=Claim(row.claim, row.print) if row.claim else None,
        )  # fmt: skip

    def extension(self, hold: int, number: int, amount: int) -> holds._Extension:
        return holds._Extension(
            self.id("company", self.company_of[hold]), self.id("hold", hold), number, amount
        )

    def ending(self, row: Ending) -> settlement._Row:
        is_post = row.kind == "post"
        return settlement._Row(
            company_id=self.id("company", self.company_of[row.hold]), hold_id=self.id("hold", row.hold), kind=row.kind,
            cost_usd=Decimal(row.charge if is_post else 0) / 10**9,
            charged_nanocredits=row.charge + (not row.is_charge_right) if is_post else 0,
            source=row.source, generation_id=f"{self.root} {row.generation}" if row.generation else "",
            details=row.details,
        )  # fmt: skip

    def place(self, requests: Sequence[HoldRequest]) -> list[Any]:
        return self.plain(books.rows(holds._PLACE, *holds._place_columns(requests)))

    def extend(self, rows: Sequence[holds._Extension]) -> list[Any]:
        return self.plain(books.rows(holds._EXTEND, *holds._extend_columns(rows)))

    def settle(self, rows: Sequence[settlement._Row]) -> list[Any]:
        """(outcome, charge) of each."""
        return [row[:2] for row in self.plain(books.rows(settlement._SETTLE, *settlement._columns(rows)))]

    def plain(self, rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        return [tuple(self.numbered(one) if isinstance(one, UUID) else one for one in row) for row in rows]

    def numbered(self, text: object) -> str:
        """A text with this world's ids as the numbers that they have in every world."""
        found = str(text).replace(str(self.root), "world")
        for kind, count in (("company", COMPANIES), ("hold", HOLDS), ("key", COMPANIES)):
            for number in range(count):
                found = found.replace(str(self.id(kind, number)), f"{kind} {number}")
        return found

    def books(self) -> dict[str, list[str]]:
        """All that stands in the books of these companies, but for instants and hashes."""
        companies = [self.id("company", number) for number in range(COMPANIES)]
        tables = {
            "wallet": "posted_nanocredits, held_nanocredits, version",
            "hold": "hold_id, amount_nanocredits",
            "hold_extension": "hold_id, number, amount_nanocredits",
            "open_hold": "hold_id, amount_nanocredits, stage, generation_id",
            "settlement": "hold_id, kind, cost_usd::float, charged_nanocredits, source, generation_id, details",
            "correction": "hold_id, number, reference, cost_usd::float, charged_nanocredits, source, generation_id",
            "entry": "seq, action, reference, amount_nanocredits, balance_after_nanocredits, corrects",
            "budget": "scope_id, period, spent_nanocredits, held_nanocredits",
            "idempotency": "key_sha256, fingerprint, hold_id",
            "second_look": "hold_id, number",
            "usage": "model, calls, voided_calls, tokens_prompt, tokens_completion, cost_usd::float,"
            " charged_nanocredits, held_nanocredits, overrun_nanocredits",
            "anomaly": "kind, hold_id, reference",
        }
        return {
            table: sorted(
                self.numbered(" ".join(map(str, row)))
                for row in books.rows(
                    f"SELECT company_id, {columns} FROM billing_{table} WHERE company_id = ANY (%s)",  # noqa: S608
                    companies,
                )
            )
            for table, columns in tables.items()
        }

    def violations(self) -> list[Any]:
        companies = [self.id("company", number) for number in range(COMPANIES)]
        # A call that upstream named like another breaks G1 as long as it is open.
        books.tidy_up(*companies)
        return books.rows("SELECT * FROM billing_violations WHERE company_id = ANY (%s)", companies)


def settle_both(many: World, single: World, rows: list[Ending]) -> None:
    """All rows are judged first; then the first good row of each hold settles it, then the rest has its turn."""
    try:
        with transaction.atomic():
            answers = many.settle([many.ending(row) for row in rows])
    except IntegrityError:
        # Two calls of one batch have one generation: PostgreSQL takes none of it, and the rows are sent one by one.
        answers = [many.settle([many.ending(row)])[0] for row in rows]
        order = list(range(len(rows)))
    else:
        turns = {"quarantined": 0, "unknown_hold": 0, "posted": 1, "already": 2}
        order = sorted(range(len(rows)), key=lambda i: turns[answers[i][0]])
    one_by_one = {i: single.settle([single.ending(rows[i])])[0] for i in order}
    assert answers == [one_by_one[i] for i in range(len(rows))]
    assert many.books() == single.books()


@settings(max_examples=25, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(placings=PLACINGS, extensions=EXTENSIONS, endings=ENDINGS, later=ENDINGS)
def test_a_batch_is_its_rows_one_after_the_other(
    placings: list[Placing],
    extensions: list[tuple[int, int, int]],
    endings: list[Ending],
    later: list[Ending],
) -> None:
    many, single = World(), World()
    placed = many.place([many.request(*row) for row in enumerate(placings)])
    assert placed == [single.place([single.request(*row)])[0] for row in enumerate(placings)]
    assert many.books() == single.books()
    if extensions:
        extended = many.extend([many.extension(*row) for row in extensions])
        assert extended == [single.extend([single.extension(*row)])[0] for row in extensions]
        assert many.books() == single.books()
    for rows in (endings, later):
        if rows:
            settle_both(many, single, rows)
    assert many.violations() == single.violations() == []
