"""Celery as the books need it: what a worker took is not lost with it, and beat ticks tasks that are there."""

from typing import Any

from django.conf import settings

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
    for name, entry in settings.CELERY_BEAT_SCHEDULE.items():
        assert entry["task"] in app.tasks, name
        assert entry["options"]["expires"] > 0, name
