"""Stored prompts on pages: a kit's switch, which kits store, and one call's prompt for those who may read it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django import forms
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone

from accounts import kits
from accounts.errors import DomainError, Forbidden, NotFound
from accounts.kits import PROMPT_RETENTION_DAYS_MAX
from accounts.models import AccountKit, Role
from llm import stored_prompts
from llm.prompt_texts import Turn
from llm.stored_prompts import Prompt
from naive_platform.dashboard import doors, kit_editor, submissions
from naive_platform.dashboard.doors import Place

TAB = "prompts"
DAYS_OFFERED = 30
# More of a text is not put on a page, but into the file it can be fetched as. Unit: characters.
SHOWN_LENGTH_MAX = 50_000
TURNS_MAX = 50


class StorageForm(forms.Form):
    """A kit's switch; `version` is of the kit that was read."""

    version = forms.IntegerField(widget=forms.HiddenInput, min_value=1, max_value=2**63 - 1)
    stores = forms.BooleanField(
        label="Store prompts and answers",
        required=False,
        widget=forms.CheckboxInput(attrs={"class": "switch"}),
        help_text="Of every call whose user has this kit, from the next one on; not uploaded files, and no sound.",
    )
    days = forms.IntegerField(
        label="Days until each is deleted",
        min_value=1,
        max_value=PROMPT_RETENTION_DAYS_MAX,
        help_text=f"From 1 to {PROMPT_RETENTION_DAYS_MAX}, counted from the call.",
        error_messages={"required": "Say for how many days."},
    )

    @property
    def retention(self) -> int | None:
        days: int | None = self.cleaned_data["days"] if self.cleaned_data["stores"] else None
        return days


@dataclass(frozen=True, slots=True)
class Side:
    """What one side said as it was sent, as far as it is shown; `file` is where all of it can be fetched."""

    title: str
    text: str
    is_cut: bool
    is_shortened: bool
    file: str


@doors.page("kits", route="account-kit", post="patch")
def storage(request: HttpRequest, place: Place, kit_id: UUID) -> HttpResponse:
    kit = kits.get(company_id=place.company_id, kit_id=kit_id)
    if request.method != "POST":
        return _shown(request, place, kit, _form(kit))
    form = StorageForm(request.POST)
    if not form.is_valid():
        return _shown(request, place, kit, form)
    if _deletes(kit, form.retention) and "confirmed" not in request.POST:
        return _ask(request, place, kit, form)
    try:
        changed = kits.update(
            company_id=place.company_id,
            kit_id=kit_id,
            changes={"prompt_retention_days": form.retention},
            if_match=[f'"v{form.cleaned_data["version"]}"'],
        )
    except NotFound:
        raise
    except DomainError as exc:
        submissions.refuse(form, exc)
        return _shown(request, place, kit, form)
    return doors.done(request, _said(kit, changed), _url(kit))


@doors.page("generations", route="prompts")
def prompt(request: HttpRequest, place: Place, hold_id: UUID) -> HttpResponse:
    """One call's stored prompt beside its cost (htmx), on a page of its own, or as a file; each look is audited."""
    _require_member(place)
    found = stored_prompts.read(company_id=place.company_id, hold_id=hold_id, now=timezone.now())
    if (wanted := request.GET.get("file")) is not None:
        return _file(found, wanted)
    turns, left_out = _fitting(found.turns)
    context = {
        "prompt": found,
        "turns": turns,
        "left_out": left_out,
        "answered": found.answered[:SHOWN_LENGTH_MAX],
        "is_answer_shortened": len(found.answered) > SHOWN_LENGTH_MAX,
        "sides": _sides(found),
        "call_name": f"gen_{hold_id}",
    }
    name = "_prompt" if doors.is_htmx(request) else "prompt"
    return doors.render(request, place, f"dashboard/{name}.html", context)


def opener(place: Place, hold_id: UUID) -> dict[str, Any]:
    """What `dashboard/_prompt_opener.html` needs beside a call: whether there is a prompt that this person may read."""
    may_read = place.may("prompts") and _is_member(place)
    is_stored = stored_prompts.is_stored(company_id=place.company_id, hold_id=hold_id, now=timezone.now())
    return {
        "prompt_url": reverse("dashboard-generation-prompt", args=[hold_id]) if is_stored else "",
        "may_read_prompt": may_read,
    }


def storing(place: Place) -> list[AccountKit]:
    """What `dashboard/_prompt_storage.html` needs: the kits whose prompts are stored."""
    return stored_prompts.kits_that_store(company_id=place.company_id)


def _is_member(place: Place) -> bool:
    """Whether the person themselves is an admin or owner there: nobody reads prompts by looking as somebody else."""
    return any(
        member.company_id == place.company_id and Role.ADMIN.is_at_most(Role(member.role))
        for member in place.members
    )


def _require_member(place: Place) -> None:
    if not _is_member(place):
        raise Forbidden("Stored prompts are for the company's own owners and admins alone.")


def _shown(request: HttpRequest, place: Place, kit: AccountKit, form: StorageForm) -> HttpResponse:
    why_not = place.refusal("account-kit", "patch")
    if why_not:
        for field in form.fields.values():
            field.disabled = True
    context = kit_editor.frame(kit, TAB) | {
        "form": form,
        "fault": kits.gate(kit).fault,
        "why_not": why_not,
    }
    return doors.render(
        request, place, "dashboard/kit_prompts.html", context, status=400 if form.is_bound else 200
    )


def _ask(request: HttpRequest, place: Place, kit: AccountKit, form: StorageForm) -> HttpResponse:
    """What the change deletes, before it is made."""
    context = kit_editor.frame(kit, TAB) | {"days": form.retention, "version": form.cleaned_data["version"]}
    return doors.render(request, place, "dashboard/kit_prompts_confirm.html", context)


def _form(kit: AccountKit) -> StorageForm:
    days = kit.prompt_retention_days
    initial = {"version": kit.version, "stores": days is not None, "days": days or DAYS_OFFERED}
    return StorageForm(initial=initial)


def _deletes(kit: AccountKit, days: int | None) -> bool:
    before = kit.prompt_retention_days
    return before is not None and (days is None or days < before)


def _said(before: AccountKit, after: AccountKit) -> str:
    days = after.prompt_retention_days
    if days is None:
        return f"{after.name} stores no prompts. What was stored can no longer be read, and is deleted within a minute."
    return f"{after.name} stores prompts and answers for {days} day{'' if days == 1 else 's'}, from the next call on."


def _url(kit: AccountKit) -> str:
    return reverse("dashboard-kit-prompts", args=[kit.id])


def _file(found: Prompt, wanted: str) -> HttpResponse:
    texts = {"request": found.request, "answer": found.answer}
    text = texts.get(wanted)
    if text is None:
        raise NotFound("There is no such file of this call.")
    answer = HttpResponse(text.text, content_type="text/plain; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="gen_{found.hold_id}-{wanted}.txt"'
    return answer


def _sides(found: Prompt) -> list[Side]:
    url = reverse("dashboard-generation-prompt", args=[found.hold_id])
    texts: Mapping[str, stored_prompts.Text | None] = {"request": found.request, "answer": found.answer}
    return [
        Side(
            title=f"The {name} as it was sent",
            text=text.text[:SHOWN_LENGTH_MAX],
            is_cut=text.is_cut,
            is_shortened=len(text.text) > SHOWN_LENGTH_MAX,
            file=f"{url}?file={name}",
        )
        for name, text in texts.items()
        if text is not None
    ]


def _fitting(turns: Sequence[Turn]) -> tuple[list[Turn], int]:
    """The latest messages that fit on a page, each as far as it does, and how many are left out."""
    shown: list[Turn] = []
    room = SHOWN_LENGTH_MAX
    for turn in reversed(turns[-TURNS_MAX:]):
        if room <= 0:
            break
        shown.append(Turn(turn.role, turn.text[:room]))
        room -= len(turn.text)
    return shown[::-1], len(turns) - len(shown)
