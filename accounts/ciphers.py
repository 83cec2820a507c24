"""Encryption of what is kept for a while and is nobody else's to read; nothing here knows a table."""

import functools
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

# What AES-GCM wants (NIST SP 800-38D); random, which is safe for 2**32 texts under one key.
NONCE_BYTES = 12


def encrypt(text: bytes, *, purpose: str, about: bytes) -> bytes:
    """The text under a key of this purpose's own; it opens only with the same `about`, such as whose it is."""
    nonce = os.urandom(NONCE_BYTES)
    return nonce + _cipher(settings.SECRET_KEY, purpose).encrypt(nonce, text, about)


def decrypt(kept: bytes, *, purpose: str, about: bytes) -> bytes | None:
    """The text again; None where SECRET_KEY is another one by now, or somebody changed what was kept."""
    try:
        cipher = _cipher(settings.SECRET_KEY, purpose)
        return cipher.decrypt(kept[:NONCE_BYTES], kept[NONCE_BYTES:], about)
    except (InvalidTag, ValueError):
        return None


@functools.lru_cache(maxsize=16)
def _cipher(secret: str, purpose: str) -> AESGCM:
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=f"naive:{purpose}".encode())
    return AESGCM(derived.derive(secret.encode()))
