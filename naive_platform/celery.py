"""The Celery application: `celery -A naive_platform worker|beat`."""

import logging.config
import os

from celery import Celery, signals
from django.conf import settings

from naive_platform import boot, schedule

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "naive_platform.settings")

boot.require_secrets()
boot.bound_waiting()

app = Celery("naive")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.beat_schedule = schedule.ENTRIES
app.autodiscover_tasks()


@signals.setup_logging.connect
def log_as_everywhere(**_: object) -> None:
    """Keep Celery from setting up logging its own way."""
    logging.config.dictConfig(settings.LOGGING)
