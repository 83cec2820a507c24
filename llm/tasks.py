"""What Celery does for the data plane: settle what is open, look again, close days, bring spools home."""

import logging

from celery import shared_task
from django.db import connection
from django.utils import timezone

from billing import alerts, spool
from llm import catalog, readings, stored_prompts, sweeps, upstream
from llm.errors import NotConfigured, UpstreamError

log = logging.getLogger(__name__)


@shared_task
def sweep_open_holds() -> None:
    """Settle open holds whose time has come from upstream's own records. Safe to run twice, and beside itself."""
    sweeps.sweep_due()


@shared_task
def look_again() -> None:
    """Look at the records of settled calls again, where the cost did not come with the answer."""
    sweeps.look_again()


@shared_task
def close_days() -> None:
    """Compare the days that are over with upstream's own books, and close them."""
    readings.close_days(now=timezone.now())


@shared_task
def read_key() -> None:
    """Ask upstream what the operator's key has used and may use."""
    readings.read_key(now=timezone.now())


@shared_task
def replay_spool() -> None:
    """Apply what gateways on this machine wrote down while the database was away."""
    spool.replay()


@shared_task
def refresh_catalog() -> None:
    """Fetch upstream's models; where it does not answer, the catalogue of before is served on."""
    try:
        body = upstream.look_up("models", params=catalog.EVERYTHING)
        with connection.cursor() as cursor:
            found = catalog.save(body, cursor.execute)
    except (UpstreamError, NotConfigured, ValueError) as exc:
        log.warning("Catalogue not refreshed: %s", exc)
        readings.catalog_not_refreshed(why=exc, now=timezone.now())
        return
    alerts.resolve("catalog_not_refreshed")
    log.info("Catalogue refreshed: %s models", len(found.models))


@shared_task
def purge_prompts() -> None:
    """Delete stored prompts whose time is over, or whose kit no longer stores any. Safe to run twice."""
    stored_prompts.purge(now=timezone.now())
