"""Files that pages give, taken whole."""

import csv
import io
from typing import Any

from django.test import Client

from accounts.models import User
from tests.conftest import Run
from tests.platform.calls import client_of


def sheet(run: Run, whose: User | Client, address: str) -> list[dict[str, str]]:
    """The rows of a CSV file, each by its head; for a person, or for whoever is signed in."""
    client = whose if isinstance(whose, Client) else client_of(whose)
    answer: Any = client.get(address)
    assert answer.streaming, answer.content[:400]

    async def take() -> bytes:
        return b"".join([piece async for piece in answer.streaming_content])

    return list(csv.DictReader(io.StringIO(run(take()).decode())))
