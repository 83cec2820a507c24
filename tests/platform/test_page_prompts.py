"""Stored prompts on pages: the kit's switch, what Settings says of it, and one call's prompt for those who may."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.test import Client
from django.utils import timezone

from accounts import audit, companies, ids, kits
from accounts.audit import Actor
from accounts.models import AccountKit, AuditEntry, Role
from llm import prompts
from llm.prompt_models import StoredPrompt
from naive_platform.dashboard import viewings
from tests import factories
from tests.factories import Cast
from tests.platform.calls import call
from tests.platform.test_dashboard import person

HTMX = {"HX-Request": "true"}
HOSTILE = "<script>alert(1)</script>"
ASKED = b'{"messages":[{"role":"user","content":"What is in <script>alert(1)</script> the attic?"}]}'
ANSWERED = b'data: {"choices":[{"delta":{"content":"Books "}}]}\n\ndata: {"choices":[{"delta":{"content":"<b>"}}]}\n\n'


@pytest.fixture
def acme() -> Cast:
    member = factories.acme()
    keep_for(member, 30)
    return member


def keep_for(member: Cast, days: int | None) -> AccountKit:
    changes = {"prompt_retention_days": days}
    return kits.update(company_id=member.company_id, kit_id=member.kit.id, changes=changes)


def stored(
    member: Cast, *, asked: bytes = ASKED, answered: bytes | None = ANSWERED, ago: timedelta = timedelta(0)
) -> UUID:
    """A call of the member's whose prompt is stored."""
    hold_id, called_at = ids.uuid7(), timezone.now() - ago
    of_call: dict[str, Any] = {"company_id": member.company_id, "hold_id": hold_id}
    StoredPrompt.objects.create(
        **of_call,
        kit_id=member.kit.id,
        request=prompts.seal(asked, **of_call, part=prompts.REQUEST),
        answer=None if answered is None else prompts.seal(answered, **of_call, part=prompts.ANSWER),
        is_request_cut=False,
        is_answer_cut=answered is not None and len(answered) >= prompts.STORED_BYTES_MAX,
        called_at=called_at,
        expires_at=called_at + timedelta(days=30),
    )
    return hold_id


def client_of(member: Cast, role: Role = Role.OWNER) -> Client:
    client = Client()
    if role is Role.OWNER:
        client.force_login(member.owner)
        return client
    one = person()
    companies.add_member(company_id=member.company_id, user_id=one.id, role=role.value, now=timezone.now())
    client.force_login(one)
    return client


def prompt_url(hold_id: UUID) -> str:
    return f"/dashboard/generations/{hold_id}/prompt/"


def kit_url(member: Cast) -> str:
    return f"/dashboard/kits/{member.kit.id}/prompts/"


def form(member: Cast, **given: object) -> dict[str, object]:
    version = AccountKit.objects.values_list("version", flat=True).get(id=member.kit.id)
    return {"version": version, **given}


def days(member: Cast) -> int | None:
    return AccountKit.objects.values_list("prompt_retention_days", flat=True).get(id=member.kit.id)


def looks(member: Cast) -> list[AuditEntry]:
    return list(AuditEntry.objects.filter(company_id=member.company_id, action="prompt.read"))


# One call's prompt


@pytest.mark.parametrize("headers", [{}, HTMX])
def test_prompt_is_shown_as_text_with_or_without_a_script(headers: dict[str, str], acme: Cast) -> None:
    answer = client_of(acme).get(prompt_url(stored(acme)), headers=headers)
    page = answer.content.decode()
    assert answer.status_code == 200
    assert "What is in &lt;script&gt;alert(1)&lt;/script&gt; the attic?" in page
    assert HOSTILE not in page
    assert "Books &lt;b&gt;" in page
    assert ("<h1>" in page) is not bool(headers)
    assert answer["Cache-Control"] == "private, no-store"


def test_each_look_names_who_looked(acme: Cast) -> None:
    hold_id = stored(acme)
    client_of(acme).get(prompt_url(hold_id))
    client_of(acme, Role.ADMIN).get(prompt_url(hold_id), headers=HTMX)
    found = looks(acme)
    assert [look.target_id for look in found] == [f"gen_{hold_id}"] * 2
    assert [look.actor_kind for look in found] == ["person"] * 2
    assert acme.owner.id in {look.actor_id for look in found}


@pytest.mark.parametrize("role", [Role.MEMBER, Role.VIEWER])
@pytest.mark.parametrize("query", ["", "?file=request"])
def test_members_and_viewers_never_see_it(role: Role, query: str, acme: Cast) -> None:
    hold_id = stored(acme)
    answer = client_of(acme, role).get(prompt_url(hold_id) + query)
    assert answer.status_code == 403
    assert b"attic" not in answer.content
    assert looks(acme) == []


def test_operator_who_looks_on_never_sees_it(acme: Cast) -> None:
    hold_id, operator = stored(acme), person(is_staff=True)
    client = Client()
    client.force_login(operator)
    session = client.session
    with audit.acting(Actor(kind=AuditEntry.Actor.OPERATOR, id=operator.id)):
        viewings.start(session, company=acme.company, reason="A ticket", now=timezone.now())
    session.save()
    assert client.get(kit_url(acme)).status_code == 200
    answer = client.get(prompt_url(hold_id))
    assert answer.status_code == 403
    assert b"attic" not in answer.content
    assert looks(acme) == []


def test_globex_finds_nothing(acme: Cast) -> None:
    hold_id, globex = stored(acme), factories.globex()
    for query in ("", "?file=answer"):
        assert client_of(globex).get(prompt_url(hold_id) + query).status_code == 404
    assert looks(acme) == looks(globex) == []


@pytest.mark.parametrize(("ago", "status"), [(29, 404), (0, 200)])
def test_what_is_past_its_time_or_before_the_switch_is_not_there(ago: int, status: int, acme: Cast) -> None:
    answer = client_of(acme).get(prompt_url(stored(acme, ago=timedelta(days=ago))))
    assert answer.status_code == status


def test_turned_off_nothing_is_there_at_once(acme: Cast) -> None:
    hold_id = stored(acme)
    keep_for(acme, None)
    answer = client_of(acme).get(prompt_url(hold_id), headers=HTMX)
    assert (answer.status_code, answer["HX-Reswap"]) == (404, "none")
    assert b"No prompt is stored" in answer.content


def test_nothing_is_changed_there(acme: Cast) -> None:
    assert client_of(acme).post(prompt_url(stored(acme))).status_code == 405


def test_call_without_an_answer_says_so(acme: Cast) -> None:
    page = client_of(acme).get(prompt_url(stored(acme, answered=None))).content
    assert b"No answer is stored" in page


def test_long_text_is_shortened_on_the_page_and_whole_in_its_file(acme: Cast) -> None:
    text = b"y" * prompts.STORED_BYTES_MAX
    hold_id = stored(acme, asked=b'{"prompt":"%s"}' % text, answered=text)
    client = client_of(acme)
    page = client.get(prompt_url(hold_id)).content
    assert len(page) < 400_000
    assert b"This is its beginning." in page
    assert b"longer than what is stored of it" in page
    file = client.get(prompt_url(hold_id) + "?file=answer")
    assert (file["Content-Type"], file.content) == ("text/plain; charset=utf-8", text)
    assert file["Content-Disposition"].startswith("attachment; ")
    assert client.get(prompt_url(hold_id) + "?file=other").status_code == 404


def test_the_latest_of_many_messages_are_shown(acme: Cast) -> None:
    said = b",".join(b'{"role":"user","content":"Word %d."}' % number for number in range(80))
    page = client_of(acme).get(prompt_url(stored(acme, asked=b'{"messages":[%s]}' % said))).content
    assert b"30 earlier messages not shown here" in page
    assert page.count(b'<p class="turn-text">Word ') == 50


def test_way_to_it_stands_beside_its_call_for_those_who_may(acme: Cast) -> None:
    hold_id = stored(acme)
    call(acme, hold_id=hold_id)
    page = f"/dashboard/generations/gen_{hold_id}/"
    link = f'href="{prompt_url(hold_id)}"'
    assert link in client_of(acme).get(page).content.decode()
    seen = client_of(acme, Role.MEMBER).get(page, headers=HTMX).content.decode()
    assert link not in seen
    assert "Owners and admins of the company may read them." in seen
    keep_for(acme, None)
    assert "stored-prompt" not in client_of(acme).get(page).content.decode()


# The switch


def test_switch_is_off_until_somebody_turns_it_on(acme: Cast) -> None:
    globex = factories.globex()
    client = client_of(globex)
    assert b'<span class="pill is-off">off</span>' in client.get(kit_url(globex)).content
    answer = client.post(kit_url(globex), form(globex, stores="on", days="14"), follow=True)
    assert (answer.status_code, days(globex)) == (200, 14)
    assert b"for 14 days, from the next call on." in answer.content


@pytest.mark.parametrize("given", [{"days": "30"}, {"stores": "on", "days": "2"}])
def test_what_deletes_is_asked_first_and_done_when_confirmed(given: dict[str, str], acme: Cast) -> None:
    client = client_of(acme)
    asked = client.post(kit_url(acme), form(acme, **given))
    assert (asked.status_code, days(acme)) == (200, 30)
    assert b"This cannot be undone." in asked.content
    client.post(kit_url(acme), form(acme, **given, confirmed="on"))
    assert days(acme) == (2 if "stores" in given else None)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"stores": "on", "days": ""}, "Say for how many days."),
        ({"stores": "on", "days": "0"}, "greater than or equal to 1"),
        ({"stores": "on", "days": "366"}, "less than or equal to 365"),
        ({"stores": "on", "days": HOSTILE}, "Enter a whole number."),
    ],
)
def test_bad_days_say_what_to_do(given: dict[str, str], said: str, acme: Cast) -> None:
    answer = client_of(acme).post(kit_url(acme), form(acme, **given))
    assert answer.status_code == 400
    assert said in answer.content.decode()
    assert HOSTILE not in answer.content.decode()
    assert days(acme) == 30


def test_switch_of_a_kit_that_changed_meanwhile_is_not_turned(acme: Cast) -> None:
    read = form(acme, stores="on", days="60")
    kits.update(company_id=acme.company_id, kit_id=acme.kit.id, changes={"description": "Another"})
    answer = client_of(acme).post(kit_url(acme), read)
    assert (answer.status_code, days(acme)) == (400, 30)
    assert b"has been changed since you read it" in answer.content


@pytest.mark.parametrize("role", [Role.MEMBER, Role.VIEWER])
def test_others_see_the_switch_and_cannot_turn_it(role: Role, acme: Cast) -> None:
    client = client_of(acme, role)
    page = client.get(kit_url(acme)).content
    assert b'<button type="submit">Save</button>' not in page
    assert client.post(kit_url(acme), form(acme, days="30", confirmed="on")).status_code == 403
    assert days(acme) == 30


def test_globex_turns_no_switch_of_acmes(acme: Cast) -> None:
    client = client_of(factories.globex())
    assert client.get(kit_url(acme)).status_code == 404
    assert client.post(kit_url(acme), form(acme, days="30", confirmed="on")).status_code == 404
    assert days(acme) == 30


def test_settings_say_which_kits_store(acme: Cast) -> None:
    page = client_of(acme).get("/dashboard/settings/").content.decode()
    assert f'<a href="{kit_url(acme)}">Default</a>' in page
    assert "30 days" in page
    globex = factories.globex()
    assert (
        "No prompt and no answer is stored." in client_of(globex).get("/dashboard/settings/").content.decode()
    )
