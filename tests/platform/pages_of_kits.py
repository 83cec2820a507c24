"""What the tests of the pages of kits and users have in common: people signed in, forms sent as a browser would."""

import html
import re
from typing import Any
from uuid import UUID

from django.test import Client
from django.utils import timezone

from accounts import people
from accounts.models import AccountKit, AuditEntry, Membership, Role
from tests import factories
from tests.factories import Cast

HTMX = {"HX-Request": "true"}


def client_of(member: Cast, role: Role = Role.OWNER) -> Client:
    """The member's owner signed in, or a new person of theirs with another role."""
    client = Client()
    person = member.owner
    if role != Role.OWNER:
        email = f"{role.value}-{timezone.now().timestamp()}@acme.example"
        person = people.create(
            email=email, password=factories.PASSWORD, name="A person", now=timezone.now(), email_verified=True
        )
        Membership.objects.create(company=member.company, user=person, role=role)
    client.force_login(person)
    return client


def page(client: Client, url: str, status: int = 200) -> str:
    answer = client.get(url)
    assert answer.status_code == status, answer.content.decode().partition("<main")[2][:3000]
    return answer.content.decode()


def post(client: Client, url: str, form: dict[str, Any], status: int, **headers: str) -> str:
    answer = client.post(url, form, headers=headers)
    assert answer.status_code == status, answer.content.decode().partition("<main")[2][:3000]
    return answer.content.decode()


def fields(text: str, *, within: str = "csrfmiddlewaretoken") -> dict[str, Any]:
    """What a browser would send of the page's last form that has the words `within`; by POST, that is."""
    body = text.partition("<main")[2].partition("</main>")[0] or text
    forms = re.findall(r"<form[^>]*>.*?</form>", body, re.DOTALL)
    form = next(found for found in reversed(forms) if within in found)
    sent: dict[str, Any] = {}
    for tag in re.findall(r"<input[^>]*>", form):
        found = {name: html.unescape(value) for name, value in re.findall(r'([\w-]+)="([^"]*)"', tag)}
        is_box = found.get("type") in ("checkbox", "radio")
        if "name" in found and (not is_box or re.search(r"\schecked", tag)):
            sent[found["name"]] = found.get("value", "on" if is_box else "")
    for name, text_ in re.findall(r'<textarea name="([\w-]+)"[^>]*>\s?(.*?)</textarea>', form, re.DOTALL):
        sent[name] = html.unescape(text_)
    return sent


def tab(kit: AccountKit | UUID, name: str = "") -> str:
    kit_id = kit if isinstance(kit, UUID) else kit.id
    return f"/dashboard/kits/{kit_id}/{name}/" if name else f"/dashboard/kits/{kit_id}/"


def save(client: Client, url: str, status: int, **changed: Any) -> str:
    """Open a form, change some of its fields and send it."""
    return post(client, url, fields(page(client, url)) | changed, status)


def apply(client: Client, kit: AccountKit, shown: str, status: int = 302, **headers: str) -> str:
    """Confirm what a page between showed."""
    return post(client, f"{tab(kit)}apply/", fields(shown, within='name="changes"'), status, **headers)


def is_closed(kit: AccountKit) -> bool:
    kit.refresh_from_db()
    entry = kit.primitives_config.get("llm", {})
    return bool(entry.get("enabled") is False)


def audited(kit_id: UUID) -> list[AuditEntry]:
    return list(AuditEntry.objects.filter(target_id=str(kit_id)).order_by("-id"))
