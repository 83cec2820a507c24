"""What beat ticks, and how often. Two beats, or none for a while, change nothing but the moment.

Beat only ticks; what there is to do stands in the database (docs/money.md).
"""

from typing import Any

from celery.schedules import crontab
from django.conf import settings

ENTRIES: dict[str, Any] = {
    "sweep-open-holds": {
        "task": "llm.tasks.sweep_open_holds",
        "schedule": settings.SWEEP_INTERVAL_S,
        "options": {"expires": max(settings.SWEEP_INTERVAL_S, 10.0)},
    },
    "look-again": {"task": "llm.tasks.look_again", "schedule": 30.0, "options": {"expires": 30}},
    "replay-spool": {"task": "llm.tasks.replay_spool", "schedule": 30.0, "options": {"expires": 30}},
    "watch-credits": {
        "task": "naive_platform.tasks.watch_credits",
        "schedule": settings.CREDIT_EVENTS_INTERVAL_S,
        "options": {"expires": max(settings.CREDIT_EVENTS_INTERVAL_S, 10.0)},
    },
    "write-to-owners": {
        "task": "naive_platform.tasks.write_to_owners",
        "schedule": settings.CREDIT_EVENTS_INTERVAL_S,
        "options": {"expires": max(settings.CREDIT_EVENTS_INTERVAL_S, 10.0)},
    },
    "ask-about-checkouts": {
        "task": "naive_platform.tasks.ask_about_checkouts",
        "schedule": 60.0,
        "options": {"expires": 60},
    },
    "deliver-webhooks": {
        "task": "naive_platform.tasks.deliver_webhooks",
        "schedule": 2.0,
        "options": {"expires": 10},
    },
    "forget-webhooks": {
        "task": "naive_platform.tasks.forget_webhooks",
        "schedule": 3600.0,
        "options": {"expires": 3600},
    },
    "forget-answers": {
        "task": "naive_platform.tasks.forget_answers",
        "schedule": 600.0,
        "options": {"expires": 600},
    },
    # Turned off, a kit's prompts are deleted within a minute (docs/prompts.md).
    "purge-prompts": {"task": "llm.tasks.purge_prompts", "schedule": 20.0, "options": {"expires": 20}},
    "forget-sessions": {
        "task": "naive_platform.tasks.forget_sessions",
        "schedule": 600.0,
        "options": {"expires": 600},
    },
    "exports": {"task": "naive_platform.tasks.write_exports", "schedule": 2.0, "options": {"expires": 10}},
    "forget-exports": {
        "task": "naive_platform.tasks.forget_exports",
        "schedule": 600.0,
        "options": {"expires": 600},
    },
    "refresh-catalog": {
        "task": "llm.tasks.refresh_catalog",
        "schedule": float(settings.CATALOG_REFRESH_S),
        "options": {"expires": settings.CATALOG_REFRESH_S},
    },
    "forget-claims": {
        "task": "billing.tasks.forget_claims",
        "schedule": 3600.0,
        "options": {"expires": 3600},
    },
    "watch-records": {"task": "billing.tasks.watch_records", "schedule": 60.0, "options": {"expires": 60}},
    "sum-days": {"task": "billing.tasks.sum_days", "schedule": 60.0, "options": {"expires": 60}},
    "verify-asked": {"task": "billing.tasks.verify_asked", "schedule": 5.0, "options": {"expires": 10}},
    "read-key": {"task": "llm.tasks.read_key", "schedule": 900.0, "options": {"expires": 900}},
    # Once a day there is something to do; the other ticks catch up with what was missed, or is still open.
    "close-days": {
        "task": "llm.tasks.close_days",
        "schedule": crontab(minute="10"),
        "options": {"expires": 3000},
    },
    "verify-ledger": {
        "task": "billing.tasks.verify_ledger",
        "schedule": crontab(hour="3", minute="30"),
        "options": {"expires": 36000},
    },
}
