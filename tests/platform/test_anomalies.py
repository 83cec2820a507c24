"""`manage.py anomalies`: what waits is listed, a decision moves the money once, and a wrong word moves nothing."""

from typing import Any

import pytest
from django.core.management import CommandError, call_command

from billing import batches, settlement
from billing.holds import HoldRequest
from tests.billing import books
from tests.billing.books import CREDIT
from tests.conftest import Run


@pytest.fixture
def acme() -> books.Wallet:
    return books.wallet(100 * CREDIT)


@pytest.fixture
def parked(run: Run, acme: books.Wallet) -> HoldRequest:
    """A call whose cost, more than 20 times its hold, waits for a person."""
    request = run(books.held(acme))
    run(settlement.settle(hold=books.key(request), evidence=books.cost("9.3")))
    run(batches.stop())
    return request


def said(capsys: pytest.CaptureFixture[str], *words: str, **options: Any) -> str:
    call_command("anomalies", *words, **options)
    return capsys.readouterr().out


def named(capsys: pytest.CaptureFixture[str], acme: books.Wallet) -> tuple[str, str]:
    """(kind, reference) of Acme's one anomaly, as the list shows them."""
    (line,) = [one for one in said(capsys).splitlines() if str(acme.company_id) in one]
    kind, reference = line.split("  ")[1:3]
    return kind, reference


@pytest.mark.usefixtures("parked")
def test_list_names_cost_state_and_company(capsys: pytest.CaptureFixture[str], acme: books.Wallet) -> None:
    (line,) = [one for one in said(capsys).splitlines() if str(acme.company_id) in one]
    assert line.split("  ")[3:5] == ["9.3 USD", "parked"]


@pytest.mark.usefixtures("parked")
def test_charge_takes_the_cost_once(capsys: pytest.CaptureFixture[str], acme: books.Wallet) -> None:
    words = ("charge", *named(capsys, acme), "--reason", "Upstream's support says so.")
    assert said(capsys, *words) == "Decided: charge. The call costs 23.25 credits.\n"
    assert said(capsys, *words) == "Decided before: charge. The call costs 23.25 credits.\n"
    assert acme.state() == (100 * CREDIT - 23_250_000_000, 0)


@pytest.mark.usefixtures("parked")
def test_void_gives_the_hold_back(capsys: pytest.CaptureFixture[str], acme: books.Wallet) -> None:
    said(capsys, "void", *named(capsys, acme), "--reason", "Upstream's own mistake.")
    assert acme.state() == (100 * CREDIT, 0)


@pytest.mark.usefixtures("parked")
@pytest.mark.parametrize(
    ("more", "message"),
    [
        ((), "needs its reason"),
        (("--reason", "why", "--cost-usd", "much"), "no amount in USD"),
        (("--reason", "why", "--cost-usd", "1e9"), "1000"),
    ],
)
def test_wrong_word_decides_nothing(
    capsys: pytest.CaptureFixture[str], acme: books.Wallet, more: tuple[str, ...], message: str
) -> None:
    words = ("charge", *named(capsys, acme), *more)
    with pytest.raises(CommandError, match=message):
        said(capsys, *words)
    assert acme.state() == (100 * CREDIT, CREDIT)


def test_unknown_anomaly_is_said_to_be_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CommandError, match="There is no anomaly"):
        said(capsys, "void", "no_record", "gen_none", "--reason", "why")
