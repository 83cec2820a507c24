"""Every list of the management API asks the database a few questions, however much a company has."""

from collections.abc import Mapping
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from bench import crowd
from naive_platform.api import contract, shapes
from tests import factories
from tests.platform import examples

QUERIES_MAX = 6
# Who asks is looked up on connections of its own, in two statements at most: the key, and its person.
OF_THE_KEY = 2
SMALL, LARGE = 0.0001, 0.1


@pytest.fixture(scope="module")
def companies() -> Mapping[float, tuple[factories.Cast, dict[str, str]]]:
    """One company that has next to nothing, and one that has much of everything."""
    found = {}
    for share in (SMALL, LARGE):
        member = factories.acme()
        found[share] = member, crowd.fill(company_id=member.company_id, share=share)
    return found


def asked(member: factories.Cast, address: str) -> tuple[Any, int]:
    with CaptureQueriesContext(connection) as queries:
        answer = Client().get(address, headers={"Authorization": member.authorization})
    assert answer.status_code == 200, answer.content
    return answer.json(), len(queries)


def test_every_list_of_the_url_map_is_looked_at(
    companies: Mapping[float, tuple[factories.Cast, dict[str, str]]],
) -> None:
    _, addresses = companies[SMALL]
    looked_at = {address.partition("?")[0].rpartition("/")[2] for address in addresses.values()}
    for route, verb in examples.pairs("get"):
        address, view = examples.addresses()[route]
        query = contract.of(getattr(view, verb)).query
        if query is not None and issubclass(query, shapes.Page):
            assert address.rpartition("/")[2] in looked_at, route


@pytest.mark.parametrize(
    "name",
    [
        *("users", "users, far page", "users, searched", "users of a kit", "account kits"),
        *("account kits, searched", "keys", "keys of a kit", "sessions", "webhooks", "deliveries"),
        *("audit entries", "audit entries, filtered", "ledger", "usage", "usage of a user"),
    ],
)
def test_list_asks_no_more_of_a_large_company(
    companies: Mapping[float, tuple[factories.Cast, dict[str, str]]], name: str
) -> None:
    counts = {}
    for share, (member, addresses) in companies.items():
        answer, counts[share] = asked(member, addresses[name])
        assert "next_cursor" in answer
    assert counts[LARGE] == counts[SMALL]
    assert counts[LARGE] + OF_THE_KEY <= QUERIES_MAX
    assert set(companies[LARGE][1]) == set(companies[SMALL][1])
