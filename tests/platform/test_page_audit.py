"""The audit log's page: what is told of each entry, filters in the URL, one entry in full, files."""

import asyncio
import csv
import html
import io
import json
import re
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import audit, companies, ids, keys, kits, people
from accounts.audit import Actor
from accounts.models import AuditEntry, User
from tests import factories
from tests.factories import Cast

PAGE = "/dashboard/audit/"


def client_of(user: User, *, is_htmx: bool = False) -> Client:
    client = Client(headers={"HX-Request": "true"}) if is_htmx else Client()
    client.force_login(user)
    return client


def text_of(answer: Any) -> str:
    return html.unescape(answer.content.decode())


def noted(acme: Cast, action: str, **given: Any) -> AuditEntry:
    words: dict[str, Any] = {"target_kind": "thing", "target_id": ids.uuid7(), "target_label": "A thing"}
    with transaction.atomic():
        audit.record(company_id=acme.company_id, action=action, **(words | given))
    return AuditEntry.objects.get(company_id=acme.company_id, action=action)


def entry_of(acme: Cast, action: str) -> AuditEntry:
    return AuditEntry.objects.get(company_id=acme.company_id, action=action)


def actions(page: str) -> list[str]:
    return re.findall(r'hx-swap="innerHTML">([a-z_.]+)</a>', page)


def file_of(answer: Any) -> str:
    async def take() -> bytes:
        return b"".join([piece async for piece in answer.streaming_content])

    assert answer.status_code == 200
    return asyncio.run(take()).decode()


def test_page_tells_who_what_when_and_from_where() -> None:
    acme = factories.acme()
    client = Client(REMOTE_ADDR="192.0.2.7")
    client.force_login(acme.owner)
    client.post(f"/dashboard/keys/{acme.key.id}/", {"name": "Renamed <b>key</b>"})

    page = client.get(PAGE).content.decode()

    assert actions(page)[0] == "api_key.updated"
    assert acme.owner.email in page
    assert "192.0.2.7" in page
    assert "Renamed &lt;b&gt;key&lt;/b&gt;" in page


def test_entry_shows_the_difference_field_by_field() -> None:
    acme = factories.acme()
    config = {"llm": {"enabled": True, "defaults": {"max_tokens": 100, "denied_models": ["a/*"]}}}
    kit = kits.create(company_id=acme.company_id, name="Free", primitives_config=config, now=timezone.now())
    changes = {"primitives_config": {"llm": {"enabled": False, "defaults": {"max_tokens": 100}}}}
    kits.update(company_id=acme.company_id, kit_id=kit.id, changes=changes)
    entry = entry_of(acme, "account_kit.updated")

    page = text_of(client_of(acme.owner).get(f"{PAGE}{entry.id}/"))

    assert (
        "<code>primitives_config.llm.enabled</code></th><td><del>true</del></td><td><ins>false</ins>" in page
    )
    assert "max_tokens" not in page


def test_numbers_stand_as_they_are_kept() -> None:
    acme = factories.acme()
    before, after = {"cap": None, "cost": "0.1"}, {"cap": 12, "cost": "0.30000000000000004"}
    entry = noted(acme, "thing.changed", before=before, after=after, reason="Because <i>so</i>")

    answer = client_of(acme.owner).get(f"{PAGE}{entry.id}/")

    page = text_of(answer)
    assert '<td><span class="dash">—</span></td><td><ins>12</ins>' in page
    assert "<ins>0.30000000000000004</ins>" in page
    assert "Because &lt;i&gt;so" in answer.content.decode()


def test_drawer_is_the_entry_without_its_frame() -> None:
    acme = factories.acme()
    entry = noted(acme, "thing.changed")

    part = client_of(acme.owner, is_htmx=True).get(f"{PAGE}{entry.id}/").content.decode()

    assert "thing.changed" in part
    assert "<html" not in part
    assert str(entry.target_id) in part


@pytest.mark.parametrize(
    "name", ["action", "actor_kind", "actor_id", "target_kind", "target_id", "request_id"]
)
def test_each_filter_narrows_by_its_own_word(name: str) -> None:
    acme = factories.acme()
    actor = Actor(kind=AuditEntry.Actor.OPERATOR, id=ids.uuid7(), label="op", request_id="req_wanted")
    with audit.acting(actor):
        wanted = noted(acme, "thing.wanted", target_kind="wanted")
    noted(acme, "thing.other")
    value = str(getattr(wanted, name))
    client = client_of(acme.owner)

    assert actions(client.get(PAGE, {name: value}).content.decode()) == ["thing.wanted"]
    assert set(actions(client.get(PAGE).content.decode())) >= {"thing.wanted", "thing.other"}
    assert file_of(client.get(f"{PAGE}export/", {name: value, "format": "jsonl"})).count("\n") == 1


def test_time_range_narrows_the_page_and_the_file() -> None:
    acme = factories.acme()
    noted(acme, "thing.new")
    client = client_of(acme.owner)
    past = {"from": "2020-01-01", "to": "2020-01-02"}

    assert "thing.new" in actions(client.get(PAGE, {"range": "24h"}).content.decode())
    page = text_of(client.get(PAGE, past))
    assert actions(page) == []
    assert "Nothing was changed in this time." in page
    assert file_of(client.get(f"{PAGE}export/", past)).count("\n") == 1


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("actor_id=nonsense", "Enter a whole id, or nothing."),
        ("actor_kind=ghost", "not one of the available choices"),
        ("action=" + "x" * 65, "at most 64 characters"),
        ("cursor=nonsense", "This page of the list does not exist."),
    ],
)
def test_what_cannot_be_read_of_the_url_says_what_to_do(query: str, says: str) -> None:
    answer = client_of(factories.acme().owner).get(f"{PAGE}?{query}")

    assert answer.status_code == 400
    assert says in text_of(answer)


@pytest.mark.parametrize("query", ["actor_id=nonsense", "format=exe", "actor_kind=ghost"])
def test_file_of_what_cannot_be_read_is_refused(query: str) -> None:
    assert client_of(factories.acme().owner).get(f"{PAGE}export/?{query}").status_code == 400


def test_list_goes_on_by_cursor() -> None:
    acme = factories.acme()
    for _ in range(55):
        keys.update(
            company_id=acme.company_id,
            key_id=acme.key.id,
            changes={"name": ids.uuid7().hex},
            now=timezone.now(),
        )
    client = client_of(acme.owner)

    first = client.get(f"{PAGE}?action=api_key.updated").content.decode()
    following = re.search(r'rel="next" href="([^"]+)"', first)
    assert following
    second = client.get(PAGE + html.unescape(following.group(1))).content.decode()

    assert (len(actions(first)), len(actions(second))) == (50, 5)


def test_files_have_every_entry_and_no_formula() -> None:
    acme = factories.acme()
    noted(acme, "thing.changed", target_label="=HYPERLINK(1)", after={"a": [1, "x"]})
    client = client_of(acme.owner)

    table = client.get(f"{PAGE}export/?format=csv")
    lines = file_of(client.get(f"{PAGE}export/?format=jsonl")).splitlines()

    rows = list(csv.DictReader(io.StringIO(file_of(table))))
    assert "attachment" in table["Content-Disposition"]
    assert len(rows) == len(lines) == AuditEntry.objects.filter(company_id=acme.company_id).count()
    assert rows[0]["target_label"] == "'=HYPERLINK(1)"
    assert json.loads(lines[0])["after"] == {"a": [1, "x"]}


def test_queries_are_few_and_do_not_grow() -> None:
    acme = factories.acme()
    client = client_of(acme.owner)
    with CaptureQueriesContext(connection) as few:
        client.get(PAGE)
    for number in range(20):
        noted(acme, f"thing.changed_{number}")

    with CaptureQueriesContext(connection) as many:
        client.get(PAGE)

    assert len(many) == len(few) <= 12


@pytest.mark.parametrize("role", ["member", "viewer"])
def test_below_an_admin_it_is_closed(role: str) -> None:
    acme = factories.acme()
    user = people.create(
        email=f"{ids.uuid7().hex}@acme.example", password=factories.PASSWORD, name="M", now=timezone.now()
    )
    companies.add_member(company_id=acme.company_id, user_id=user.id, role=role, now=timezone.now())
    client, entry = client_of(user), noted(acme, "thing.changed")

    for path in (PAGE, f"{PAGE}{entry.id}/", f"{PAGE}export/"):
        answer = client.get(path)
        assert answer.status_code == 403
        assert "takes the role admin" in text_of(answer)


def test_globex_sees_nothing_of_acmes() -> None:
    acme, globex = factories.acme(), factories.globex()
    entry = noted(acme, "thing.changed", target_label="Acme's own")
    client = client_of(globex.owner)

    assert client.get(f"{PAGE}{entry.id}/").status_code == 404
    assert client.get(f"{PAGE}nonsense/").status_code == 404
    assert client.get(f"{PAGE}ffffffff-ffff-ffff-ffff-ffffffffffff/").status_code == 404
    assert "Acme's own" not in text_of(client.get(PAGE, {"target_id": str(entry.target_id)}))
    assert "Acme's own" not in file_of(client.get(f"{PAGE}export/"))
    # The operator's own entries are nobody's.
    assert "person.created" not in actions(client.get(PAGE).content.decode())
