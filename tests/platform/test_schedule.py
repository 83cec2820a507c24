"""Celery as the books need it: what a worker took is not lost with it, and beat ticks tasks that are there."""

from datetime import timedelta
from typing import Any

from django.contrib.sessions.models import Session
from django.utils import timezone

from naive_platform import schedule, tasks
from naive_platform.celery import app


def test_task_that_dies_with_its_worker_is_another_workers() -> None:
    conf: Any = app.conf
    assert conf.task_acks_late is True
    assert conf.task_reject_on_worker_lost is True
    assert conf.worker_prefetch_multiplier == 1


def test_message_is_given_to_another_worker_only_after_any_task_has_ended() -> None:
    conf: Any = app.conf
    assert conf.broker_transport_options["visibility_timeout"] >= 3600


def test_every_tick_is_of_a_task_that_is_there_and_goes_stale_before_it_piles_up() -> None:
    app.loader.import_default_modules()
    for name, entry in schedule.ENTRIES.items():
        assert entry["task"] in app.tasks, name
        assert entry["options"]["expires"] > 0, name


def test_sessions_of_browsers_that_have_ended_are_deleted() -> None:
    now = timezone.now()
    for name, ends_in in (("ended", timedelta(seconds=-1)), ("running", timedelta(minutes=1))):
        Session.objects.create(session_key=name, session_data="", expire_date=now + ends_in)

    tasks.forget_sessions()

    found = Session.objects.filter(session_key__in=("ended", "running"))
    assert list(found.values_list("session_key", flat=True)) == ["running"]
