"""What goes upstream in the place of a caller's own names: opaque, the company's, and the same on every way."""

from typing import Any, cast
from unittest.mock import Mock
from uuid import UUID, uuid4

import orjson
import pytest

from llm import edits, pricing
from llm.admissions import Admission
from llm.shapes import table

ACME, GLOBEX = UUID(int=1), UUID(int=2)
HELLO = [{"role": "user", "content": "Hi"}]


def admission(shape: str, company: UUID = ACME, **fields: Any) -> Admission:
    known = table.SHAPES[shape]
    body = {"model": "a/b", "max_tokens": 9, "input": "Hi", "messages": HELLO, **fields}
    return Admission(
        principal=cast("Any", Mock(company_id=company)),
        subject=cast("Any", Mock(user_id=UUID(int=3))),
        shape=known,
        request=known.read(orjson.dumps(body)),
        bound=pricing.UNKNOWN,
        output_ceiling=None,
        first_tokens=None,
        worst_nanocredits=1,
        wanted_nanocredits=1,
        least_nanocredits=1,
        caps=(),
        is_proxied=True,
    )


def sent(shape: str, company: UUID = ACME, **fields: Any) -> dict[str, Any]:
    raw = edits.apply(admission(shape, company, **fields), hold_id=uuid4(), max_tokens=None)
    return cast("dict[str, Any]", orjson.loads(raw))


@pytest.mark.parametrize("shape", ["chat", "responses", "messages", "embeddings"])
@pytest.mark.parametrize("name", ["user", "session_id", "prompt_cache_key", "safety_identifier"])
def test_callers_names_are_the_companys_own(name: str, shape: str) -> None:
    found = [sent(shape, company, **{name: "bob"})[name] for company in (ACME, ACME, GLOBEX)]
    assert len(found[0]) == 32
    assert found[0] == found[1] != found[2]
    assert "bob" not in found


def test_user_of_a_message_is_the_companys_own() -> None:
    found = [
        sent("messages", company, metadata={"user_id": "bob", "x": [1, 2]})
        for company in (ACME, ACME, GLOBEX)
    ]
    users = [body["metadata"]["user_id"] for body in found]
    assert users[0] == users[1] != users[2]
    assert "bob" not in users
    # Upstream's record names one of them, and it must be the one that the hold knows.
    assert [body["user"] for body in found] == users
    assert found[0]["metadata"]["x"] == [1, 2]
    assert users[0] == admission("messages", metadata={"user_id": "bob"}).user()


def test_user_stands_before_the_one_in_metadata() -> None:
    found = sent("messages", user="ann", metadata={"user_id": "bob"})
    assert found["user"] == found["metadata"]["user_id"] == sent("messages", user="ann")["user"]


@pytest.mark.parametrize("metadata", [{}, {"user_id": None}, {"user_id": ""}, {"account": "x"}, None])
def test_metadata_that_names_nobody_passes(metadata: dict[str, Any] | None) -> None:
    assert sent("messages", metadata=metadata)["metadata"] == metadata


def test_notes_of_a_chat_are_the_callers() -> None:
    assert sent("chat", metadata={"user_id": "bob"})["metadata"] == {"user_id": "bob"}
