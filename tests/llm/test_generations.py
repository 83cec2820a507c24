"""What a call's reader is told of its hold; how it is read over the wire is tests/e2e's."""

from billing import batches, holds, settlement
from llm.models import Generation
from tests.billing import books
from tests.billing.books import CREDIT
from tests.conftest import Run


def test_generation_tells_what_was_held_for_it_extensions_included(run: Run) -> None:
    acme = books.wallet(3 * CREDIT)
    request = run(books.held(acme))
    run(
        holds.extend(company_id=acme.company_id, hold_id=request.hold_id, number=1, amount_nanocredits=CREDIT)
    )

    def held() -> int:
        return Generation.objects.get(hold_id=request.hold_id).held_nanocredits

    assert held() == 2 * CREDIT
    run(settlement.settle(hold=books.key(request), evidence=books.cost("0.4")))
    assert held() == 2 * CREDIT
    run(batches.stop())
