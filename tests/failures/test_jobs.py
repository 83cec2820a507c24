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


def begin(url: str, member: factories.Cast, faults: str = "") -> httpx.Response:
    headers = {"Authorization": member.authorization}
    body = FILM | ({"model": f"{FILM['model']}:sim={faults}"} if faults else {})
    answer = httpx.post(f"{url}{VIDEOS}", json=body, headers=headers, timeout=30, verify=NO_TLS)
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


@pytest.mark.parametrize("ending", ["failed", "cancelled", "expired"])
@pytest.mark.parametrize("is_asked_for", [True, False])
def test_job_that_ends_without_a_film_costs_nothing_and_holds_nothing(
    ending: str, is_asked_for: bool, clean: Platform, acme: factories.Cast
) -> None:
    job = begin(clean.url, acme, f"job={ending},job_ms=50,generation=never").json()["id"]
    if is_asked_for:
        status = f"{VIDEOS}/{job}"
        eventually(lambda: clean.get(acme.secret, status).json()["status"] == ending, what="its owner hears")
    assert outcome.all_is_paid(clean, acme) == 0
    assert outcome.sources(acme) == ["generation"]


@pytest.mark.parametrize("told", ["omit_cost", "omit_usage"])
def test_job_that_keeps_its_cost_back_is_charged_by_its_generation(
    told: str, clean: Platform, acme: factories.Cast
) -> None:
    job = begin(clean.url, acme, f"{told},job_ms=50").json()["id"]
    path = f"{VIDEOS}/{job}"
    eventually(lambda: clean.get(acme.secret, path).json()["status"] == "completed", what="the film is done")
    assert outcome.all_is_paid(clean, acme) > 0
    assert outcome.sources(acme) == ["generation"]


def test_job_that_is_not_over_is_not_charged(clean: Platform, acme: factories.Cast) -> None:
    job = begin(clean.url, acme, "job=stuck").json()["id"]
    assert clean.get(acme.secret, f"{VIDEOS}/{job}").json()["status"] == "in_progress"
    assert (outcome.endings(acme), open_holds(acme.company.id)) == ([], 1)
