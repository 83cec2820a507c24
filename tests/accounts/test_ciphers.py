"""What is kept encrypted opens for its purpose, its owner and its secret alone."""

import pytest
from pytest_django import Settings

from accounts import ciphers

TEXT = b'{"api_key": "secret"}'


def test_text_comes_back_and_is_not_to_be_seen() -> None:
    kept = ciphers.encrypt(TEXT, purpose="answers", about=b"acme")

    assert b"secret" not in kept
    assert ciphers.decrypt(kept, purpose="answers", about=b"acme") == TEXT
    assert ciphers.encrypt(TEXT, purpose="answers", about=b"acme") != kept


@pytest.mark.parametrize(
    ("purpose", "about"), [("answers", b"globex"), ("replays", b"acme"), ("answers", b"")]
)
def test_text_of_another_purpose_or_owner_does_not_open(purpose: str, about: bytes) -> None:
    kept = ciphers.encrypt(TEXT, purpose="answers", about=b"acme")

    assert ciphers.decrypt(kept, purpose=purpose, about=about) is None


def test_text_of_another_secret_does_not_open(settings: Settings) -> None:
    kept = ciphers.encrypt(TEXT, purpose="answers", about=b"acme")
    settings.SECRET_KEY = "another"

    assert ciphers.decrypt(kept, purpose="answers", about=b"acme") is None


@pytest.mark.parametrize("length", [0, 5, 12, 20])
def test_text_that_was_cut_or_changed_does_not_open(length: int) -> None:
    kept = ciphers.encrypt(TEXT, purpose="answers", about=b"acme")

    assert ciphers.decrypt(kept[:length], purpose="answers", about=b"acme") is None
    changed = kept[:-1] + bytes([kept[-1] ^ 1])
    assert ciphers.decrypt(changed, purpose="answers", about=b"acme") is None
