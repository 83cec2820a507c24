"""UUIDv7 as RFC 9562 lays it out, and the one spelling that is read."""

import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from uuid import RFC_4122, UUID

import pytest

from accounts import ids


def test_uuid7_has_version_variant_and_the_clock_in_front() -> None:
    before_ms = time.time_ns() // 1_000_000
    made = ids.uuid7()
    after_ms = time.time_ns() // 1_000_000
    assert (made.version, made.variant) == (7, RFC_4122)
    assert before_ms <= made.int >> 80 <= after_ms


def test_uuid7_never_repeats_and_uses_all_its_random_bits() -> None:
    at = datetime(2026, 11, 24, tzinfo=UTC)
    made = [ids.uuid7(at).int for _ in range(2_000)]
    assert len(set(made)) == len(made)
    varying = 0
    for value in made:
        varying |= value ^ made[0]
    fixed = 0xF << 76 | 0b11 << 62
    random_bits = ((1 << 80) - 1) & ~fixed
    assert varying & random_bits == random_bits
    assert varying & fixed == 0


def test_ids_of_one_process_are_in_the_order_in_which_they_were_made() -> None:
    made = [ids.uuid7() for _ in range(10_000)]
    assert made == sorted(made)
    neighbours = itertools.pairwise(one.int for one in made)
    assert len({after - before for before, after in neighbours}) > 9_000, "the next id can be guessed"


def test_threads_share_one_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 1_800_000_000_000_000_000)
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: [ids.uuid7() for _ in range(2_000)], range(4)))
    assert all(part == sorted(part) for part in made)
    assert len(set(itertools.chain(*made))) == 8_000


def test_uuid_is_read_in_either_case() -> None:
    made = ids.uuid7()
    assert ids.parse(str(made)) == ids.parse(str(made).upper()) == made


@pytest.mark.parametrize(
    "text",
    [
        "",
        "default",
        "0197",
        "{01970000-0000-7000-8000-000000000000}",
        "urn:uuid:01970000-0000-7000-8000-000000000000",
        "01970000000070008000000000000000",
        "01970000-0000-7000-8000-00000000000g",
        "01970000-0000-7000-8000-000000000000\n",
        "٠١٩٧٠٠٠٠-0000-7000-8000-000000000000",
    ],
)
def test_other_spellings_are_no_uuid(text: str) -> None:
    assert ids.parse(text) is None


def test_nil_is_a_uuid_like_any_other() -> None:
    assert ids.parse(str(UUID(int=0))) == UUID(int=0)
