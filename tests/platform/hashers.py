"""A password hasher that counts."""

from typing import Any

from django.contrib.auth.hashers import MD5PasswordHasher

made = 0


class CountingHasher(MD5PasswordHasher):
    algorithm = "counted"

    def encode(self, password: str, salt: str) -> Any:
        global made
        made += 1
        return super().encode(password, salt)
