"""Films, whose cost is known long after their call was answered, and the ways nobody is there to hear of it."""

import httpx
import pytest

from tests import factories
from tests.e2e.conftest import NO_TLS, eventually, open_holds
from tests.failures import outcome
from tests.failures.conftest import Platform
from tests.failures.gateways import Gateway, Starter

VIDEOS = "/v1/proxy/openrouter/videos"
FILM = {"model": "google/veo-3.1", "prompt": "The tide comes in.", "duration": 4}


def begin(url: str, member: factories.Cast) -> httpx.Response:
    headers = {"Authorization": member.authorization}
    answer = httpx.post(f"{url}{VIDEOS}", json=FILM, headers=headers, timeout=30, verify=NO_TLS)
    assert answer.status_code == 202
    return answer


def test_row_55_job_whose_gateway_died_is_charged_when_it_is_done(
    clean: Platform, acme: factories.Cast, gateway: Starter
) -> None:
    dying: Gateway = gateway()
    job = begin(dying.url, acme).json()["id"]
    dying.kill()
    assert open_holds(acme.company.id) == 1
    clean.have_done("llm.tasks.replay_spool")
    assert outcome.all_is_paid(clean, acme) > 0
    assert outcome.sources(acme) == ["generation"]
    assert clean.get(acme.secret, f"{VIDEOS}/{job}").json()["status"] == "completed"
    assert outcome.endings(acme)[0].kind == "post"


def test_row_55_job_that_its_owner_hears_of_first_is_charged_once(
    clean: Platform, acme: factories.Cast
) -> None:
    job = begin(clean.url, acme).json()["id"]
    path = f"{VIDEOS}/{job}"
    eventually(lambda: clean.get(acme.secret, path).json()["status"] == "completed", what="the film is done")
    assert outcome.all_is_paid(clean, acme) > 0
    assert len(outcome.endings(acme)) == 1


@pytest.mark.parametrize("path", ["", "/content"])
def test_row_55_anothers_job_is_as_if_there_were_none(
    path: str, clean: Platform, acme: factories.Cast
) -> None:
    job, globex = begin(clean.url, acme).json()["id"], factories.globex()
    answers = [clean.get(globex.secret, f"{VIDEOS}/{name}{path}") for name in (job, "gen-vid-nothing")]
    said = [answer.json()["error"] for answer in answers]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert said[0]["message"] == said[1]["message"]
    outcome.all_is_paid(clean, acme)
