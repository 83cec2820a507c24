"""Bearer secrets: their spelling, their check and their digest."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts import tokens

CHARACTERS = st.characters(codec="utf-8")
PREFIXES = (tokens.KEY_PREFIX, tokens.SESSION_PREFIX)
TOKENS = st.builds(tokens.generate, st.sampled_from(PREFIXES))


@pytest.mark.parametrize(
    ("prefix", "length"),
    [("nv_sk_live_", tokens.KEY_LENGTH), ("nv_sess_", tokens.SESSION_LENGTH)],
)
def test_token_carries_prefix_190_random_bits_and_a_check(prefix: str, length: int) -> None:
    token = tokens.generate(prefix)
    assert token.startswith(prefix)
    assert len(token) == length == len(prefix) + 32 + 6
    assert 62**tokens.RANDOM_LENGTH >= 2**190
    assert tokens.is_well_formed(token)


def test_tokens_never_repeat() -> None:
    assert len({tokens.generate(tokens.KEY_PREFIX) for _ in range(1_000)}) == 1_000


@given(token=TOKENS, place=st.integers(0, tokens.SESSION_LENGTH - 1), character=CHARACTERS)
def test_any_single_changed_character_is_refused(token: str, place: int, character: str) -> None:
    changed = token[:place] + character + token[place + 1 :]
    assert tokens.is_well_formed(changed) == (changed == token)


@given(token=TOKENS, place=st.integers(0, tokens.SESSION_LENGTH - 1), character=CHARACTERS)
def test_longer_and_shorter_tokens_are_refused(token: str, place: int, character: str) -> None:
    assert not tokens.is_well_formed(token[:place] + character + token[place:])
    assert not tokens.is_well_formed(token[:place] + token[place + 1 :])


def test_one_kind_of_token_is_not_the_other() -> None:
    key = tokens.generate(tokens.KEY_PREFIX)
    assert not tokens.is_well_formed(tokens.SESSION_PREFIX + key.removeprefix(tokens.KEY_PREFIX))


def test_digest_depends_on_the_pepper(settings: Any) -> None:
    token = tokens.generate(tokens.KEY_PREFIX)
    before = tokens.digest(token)
    settings.KEY_PEPPER = "another"
    assert tokens.digest(token) != before
    assert len(before) == 32
