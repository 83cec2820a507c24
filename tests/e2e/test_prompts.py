"""What is stored of calls over real sockets, where their kit says so, and what is not."""

import json
from typing import Any
from uuid import UUID

import httpx
import pytest
from django.utils import timezone

from accounts import kits
from accounts.errors import NotFound
from llm import stored_prompts, tasks
from llm.prompt_models import StoredPrompt
from llm.stored_prompts import Prompt
from tests import factories
from tests.e2e.conftest import Platform, eventually
from tests.factories import Cast

HELLO: dict[str, Any] = {
    "model": "openai/gpt-4o-mini",
    "max_tokens": 60,
    "messages": [{"role": "user", "content": "A word that stands nowhere else: quetzalcoatlus"}],
}
MESSAGES: dict[str, Any] = {
    "model": "anthropic/claude-3.5-haiku",
    "max_tokens": 60,
    "messages": [{"role": "user", "content": "Héllo, wörld"}],
}


@pytest.fixture
def storing(platform: Platform, acme: Cast) -> Cast:
    url = f"/v1/account-kits/{acme.kit.id}"
    answer = httpx.patch(
        f"{platform.url}{url}",
        json={"prompt_retention_days": 7},
        headers={"Authorization": f"Bearer {acme.secret}"},
    )
    assert answer.json()["prompt_retention_days"] == 7, answer.text
    # No gateway has read this kit before: the next call goes by it.
    return acme


def stored(member: Cast) -> set[UUID]:
    return set(StoredPrompt.objects.filter(company_id=member.company_id).values_list("hold_id", flat=True))


def hold_of(answer: httpx.Response) -> UUID:
    return UUID(answer.headers["x-naive-generation-id"].removeprefix("gen_"))


def read(member: Cast, answer: httpx.Response) -> Prompt:
    hold_id = hold_of(answer)
    eventually(lambda: hold_id in stored(member), what="its prompt")
    return stored_prompts.read(company_id=member.company_id, hold_id=hold_id, now=timezone.now())


def test_request_and_answer_are_stored_as_the_client_knows_them(clean: Platform, storing: Cast) -> None:
    answer = clean.post(storing.secret, HELLO)
    found = read(storing, answer)
    assert json.loads(found.request.text) == HELLO
    assert found.answer == stored_prompts.Text(answer.text, is_cut=False)
    assert found.answered == answer.json()["choices"][0]["message"]["content"]


def test_stream_is_stored_as_it_came(clean: Platform, storing: Cast) -> None:
    answer = clean.post(storing.secret, {**HELLO, "stream": True})
    found = read(storing, answer)
    assert found.answer == stored_prompts.Text(answer.text, is_cut=False)
    assert found.answered


@pytest.mark.parametrize("is_stream", [False, True])
def test_proxied_messages_are_stored(is_stream: bool, clean: Platform, storing: Cast) -> None:
    body = {**MESSAGES, "stream": is_stream}
    answer = clean.post(storing.secret, body, path="/v1/proxy/openrouter/api/v1/messages")
    assert answer.status_code == 200, answer.text
    found = read(storing, answer)
    assert json.loads(found.request.text) == body
    assert found.answer == stored_prompts.Text(answer.text, is_cut=False)
    assert found.answered


def test_refused_call_is_stored_without_an_answer(clean: Platform, storing: Cast) -> None:
    clean.upstream.faults(status=400)
    answer = clean.post(storing.secret, HELLO)
    assert answer.status_code == 400
    found = read(storing, answer)
    assert (json.loads(found.request.text), found.answer) == (HELLO, None)


def test_sound_that_is_sent_or_made_is_not_stored(clean: Platform, storing: Cast) -> None:
    proxy = "/v1/proxy/openrouter/api/v1/audio"
    file = {"file": ("a.wav", b"RIFF" + b"\0" * 4000, "audio/wav")}
    form = httpx.post(
        f"{clean.url}{proxy}/transcriptions",
        files=file,
        data={"model": "openai/whisper-1"},
        headers={"Authorization": f"Bearer {storing.secret}"},
        timeout=60,
    )
    assert form.status_code == 200, form.text
    speech = {"model": "openai/gpt-4o-mini-tts", "input": "Say it", "voice": "alloy"}
    made = clean.post(storing.secret, speech, path=f"{proxy}/speech")
    assert made.status_code == 200, made.text
    found = read(storing, made)
    assert (json.loads(found.request.text), found.answer) == (speech, None)
    assert hold_of(form) not in stored(storing)


def test_kit_that_says_nothing_stores_nothing_and_turned_off_it_forgets(
    clean: Platform, storing: Cast
) -> None:
    quiet = factories.acme()
    clean.post(quiet.secret, HELLO)
    last = clean.post(storing.secret, HELLO)
    read(storing, last)
    kits.update(company_id=storing.company_id, kit_id=storing.kit.id, changes={"prompt_retention_days": None})
    with pytest.raises(NotFound):
        read(storing, last)
    tasks.purge_prompts()
    assert not stored(storing) | stored(quiet)


def test_nothing_of_a_prompt_is_in_a_log_or_a_figure(clean: Platform, storing: Cast) -> None:
    read(storing, clean.post(storing.secret, HELLO))
    for path in [
        path for path in clean.folder.rglob("*") if path.is_file() and path.suffix in (".log", ".jsonl")
    ]:
        assert b"quetzalcoatlus" not in path.read_bytes(), path
    assert b"quetzalcoatlus" not in (clean.folder / "up.log").read_bytes()
