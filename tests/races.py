"""Several calls at the same moment, each on a thread and a database connection of its own."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from django.db import connection, connections, transaction


def at_once[T](*calls: Callable[[], T]) -> list[T | Exception]:
    """What each call returned or raised, in the order given; all start together."""
    gate = threading.Barrier(len(calls))

    def run(call: Callable[[], T]) -> T | Exception:
        try:
            gate.wait(timeout=10)
            return call()
        except Exception as exc:
            return exc
        finally:
            connections.close_all()

    with ThreadPoolExecutor(max_workers=len(calls)) as pool:
        return list(pool.map(run, calls))


def behind[T](first: Callable[[], object], then: Callable[[], T]) -> T | Exception:
    """What `then` returned or raised: begun after `first` in its open transaction, which commits once `then` waits."""

    def run() -> T | Exception:
        try:
            return then()
        except Exception as exc:
            return exc
        finally:
            connections.close_all()

    with ThreadPoolExecutor(max_workers=1) as pool:
        with transaction.atomic():
            first()
            future = pool.submit(run)
            while not future.done() and not _is_waited_for():
                time.sleep(0.01)
        return future.result(timeout=10)


def _is_waited_for() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT 1 FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"
        )
        return cursor.fetchone() is not None
