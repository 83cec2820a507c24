"""How secrets are spelt, told from noise, and digested: API keys, session tokens and invitations alike."""

import hmac
import re
import secrets
import string
import zlib

from django.conf import settings

KEY_PREFIX = "nv_sk_live_"
SESSION_PREFIX = "nv_sess_"
# What an invitation's link carries; it is no bearer.
INVITATION_PREFIX = "nv_inv_"
# 62 ** 32 is 190 bits; what follows them is a CRC32, 62 ** 6 > 2 ** 32.
RANDOM_LENGTH = 32
CHECK_LENGTH = 6
KEY_LENGTH = len(KEY_PREFIX) + RANDOM_LENGTH + CHECK_LENGTH
SESSION_LENGTH = len(SESSION_PREFIX) + RANDOM_LENGTH + CHECK_LENGTH

_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_SHAPE = re.compile(
    rf"(?:{KEY_PREFIX}|{SESSION_PREFIX})[0-9A-Za-z]{{{RANDOM_LENGTH + CHECK_LENGTH}}}", re.ASCII
)
_INVITATION = re.compile(rf"{INVITATION_PREFIX}[0-9A-Za-z]{{{RANDOM_LENGTH + CHECK_LENGTH}}}", re.ASCII)


def generate(prefix: str) -> str:
    """A new secret: the prefix, 190 random bits in base 62, and a CRC32 of all that precedes it."""
    body = prefix + "".join(secrets.choice(_ALPHABET) for _ in range(RANDOM_LENGTH))
    return body + _check(body)


def is_well_formed(token: str) -> bool:
    """Whether the token could be one of ours; decided without the database, which noise never reaches."""
    return _SHAPE.fullmatch(token) is not None and _is_checked(token)


def is_invitation(token: str) -> bool:
    """Whether the token could be that of an invitation of ours."""
    return _INVITATION.fullmatch(token) is not None and _is_checked(token)


def digest(token: str) -> bytes:
    """What is stored and looked up: HMAC-SHA-256 under settings.KEY_PEPPER, 32 bytes."""
    return hmac.digest(settings.KEY_PEPPER.encode(), token.encode(), "sha256")


def _is_checked(token: str) -> bool:
    return token[-CHECK_LENGTH:] == _check(token[:-CHECK_LENGTH])


def _check(body: str) -> str:
    value = zlib.crc32(body.encode())
    spelt = ""
    for _ in range(CHECK_LENGTH):
        value, place = divmod(value, len(_ALPHABET))
        spelt = _ALPHABET[place] + spelt
    return spelt
