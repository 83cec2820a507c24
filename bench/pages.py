"""Ask every page of the dashboard and of the operator console, on a database that was seeded at scale.

    DATABASE_URL=… REDIS_URL=… python -m bench.pages [--rounds N] [--only TEXT]… [--explain]

`manage.py seed_demo --calls 5000000` makes such a database; whatever is written to it here is taken back.
bench/README.md says how to read the table.
"""

import argparse
import gzip
import logging
import os
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "naive_platform.settings")
django.setup()

from django.contrib.staticfiles import finders  # noqa: E402
from django.db import connection, transaction  # noqa: E402
from django.test import Client  # noqa: E402
from django.urls import NoReverseMatch, get_resolver, reverse  # noqa: E402
from django.utils import timezone  # noqa: E402

from accounts.models import User  # noqa: E402
from bench import furniture  # noqa: E402

QUERIES_MAX, MS_MAX, FIRST_LOAD_KB_MAX = 12, 300, 150
ROUNDS = 30
EXPLAINED = 5
COMPANY_PAGES, CONSOLE_PAGES = "dashboard-", "operator-"
# What begins something, or streams a file in its own time, is no page.
NO_PAGES = re.compile(r"-(begin|end|checkout|exports-file|download|export|verify|csv)$")
# What pages are asked besides their first sight: the longest ranges, each filter, what finds next to nothing.
QUERIES = {
    "dashboard-overview": ("range=24h", "range=90d"),
    "dashboard-generations": (
        *("range=90d&model={model_id}", "range=90d&user={external_id}", "range=90d&state=voided"),
        *("range=90d&key={key_id}", "range=90d&kit={kit_id}", "range=90d&least=100000", "q={wanted}"),
    ),
    "dashboard-billing-usage": ("range=90d", "range=90d&by=model", "range=90d&by=user", "range=90d&by=key"),
    "dashboard-users": ("search=user-1", "search=zzz", "status=suspended", "kit={kit_id}"),
    "dashboard-audit": ("action=kit.updated", "actor_kind=operator"),
    "operator-anomaly": ("kind={anomaly_kind}&reference={anomaly_reference}",),
    "operator-companies": ("search=north", "search=zzz", "sort=name", "status=suspended"),
    "operator-company": ("kind=usage",),
    "operator-economics": ("range=90d", "range=90d&by=company", "range=90d&by=model"),
    "operator-reconciliation": ("range=90d",),
    "operator-upstream": ("range=90d",),
    "operator-audit": ("action=company.closed", "company={company_id}"),
}
# What may stand in an address: a row of the company's for each word, the busiest user and key.
ROWS = """
SELECT (SELECT id FROM accounts_accountkit WHERE company_id = %(company)s AND is_default) AS kit_id,
       (SELECT name::uuid FROM billing_usage_day WHERE company_id = %(company)s AND axis = 'user'
         GROUP BY name ORDER BY sum(calls) DESC LIMIT 1) AS user_id,
       (SELECT name::uuid FROM billing_usage_day WHERE company_id = %(company)s AND axis = 'key'
         GROUP BY name ORDER BY sum(calls) DESC LIMIT 1) AS key_id,
       (SELECT id FROM accounts_audit_entry WHERE company_id = %(company)s ORDER BY id DESC LIMIT 1) AS entry_id,
       (SELECT 'gen_' || hold_id FROM billing_settlement WHERE company_id = %(company)s
         ORDER BY hold_id DESC LIMIT 1) AS wanted,
       (SELECT hold_id FROM billing_settlement WHERE company_id = %(company)s ORDER BY hold_id DESC LIMIT 1) AS hold_id,
       (SELECT to_char(now() at time zone 'UTC', 'YYYY-MM')) AS month, 'anthropic/claude-sonnet-4.6' AS model_id,
       'json' AS tab,
       (SELECT external_id FROM accounts_tenantuser WHERE company_id = %(company)s AND external_id IS NOT NULL
         ORDER BY id LIMIT 1) AS external_id,
       (SELECT kind FROM billing_anomaly ORDER BY created_at, kind, reference LIMIT 1) AS anomaly_kind,
       (SELECT reference FROM billing_anomaly ORDER BY created_at, kind, reference LIMIT 1) AS anomaly_reference,
       %(company)s::uuid AS company_id, %(company)s::text AS company
"""


@dataclass(slots=True)
class Page:
    """One page of one company's, or of the console, and what was measured of it."""

    name: str
    whose: str
    url: str
    ask: Callable[[str], Any]
    ms: list[float] = field(default_factory=list)
    queries: list[int] = field(default_factory=list)
    html: bytes = b""
    # The slowest query that this page ever made: milliseconds, statement, parameters.
    slowest: tuple[float, str, Any] = (0.0, "", None)

    @property
    def p95_ms(self) -> float:
        return sorted(self.ms)[min(len(self.ms) - 1, round(len(self.ms) * 0.95))]

    @property
    def is_met(self) -> bool:
        return self.p95_ms <= MS_MAX and max(self.queries) <= QUERIES_MAX


class Watch:
    """Counts the queries of a request and remembers the slowest."""

    def __init__(self) -> None:
        self.count, self.slowest = 0, (0.0, "", None)

    def __call__(self, execute: Any, statement: str, parameters: Any, many: bool, context: Any) -> Any:  # noqa: FBT001
        # Where everything is one transaction, its own are savepoints.
        if statement.startswith(("SAVEPOINT", "RELEASE SAVEPOINT")):
            return execute(statement, parameters, many, context)
        begun = time.perf_counter()
        try:
            return execute(statement, parameters, many, context)
        finally:
            ms = (time.perf_counter() - begun) * 1000
            self.count += 1
            if ms > self.slowest[0]:
                self.slowest = (ms, statement, parameters)


def main() -> int:
    asked = _arguments()
    logging.disable(logging.CRITICAL)
    with transaction.atomic():
        missed = _run(asked)
        transaction.set_rollback(True)
    return 1 if missed else 0


def _run(asked: argparse.Namespace) -> list[Page]:
    """Measure and tell; the pages that missed."""
    refused: list[str] = []
    pages = [page for page in _pages(refused) if not asked.only or any(t in page.name for t in asked.only)]
    _measure(pages, rounds=asked.rounds)
    print(_table(pages))
    for line in refused:
        print(line)
    if not asked.only:
        print(_first_load(pages))
    missed = [page for page in pages if not page.is_met]
    if asked.explain:
        for page in sorted(missed, key=lambda one: -one.slowest[0])[:EXPLAINED]:
            print(_explained(page))
    return missed


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", action="append", help="pages whose name has this in it")
    parser.add_argument("--explain", action="store_true", help="the plans of the slowest queries that missed")
    return parser.parse_args()


def _pages(refused: list[str]) -> Iterator[Page]:
    """Every page that answers 200 to a GET: of the hot company, of a typical one, and of the console."""
    hot, typical = _companies()
    for whose, company_id in (("hot", hot), ("typical", typical)):
        values = _values(company_id)
        values |= furniture.add(company_id=company_id, values=values, now=timezone.now())
        ask = _asker(values["owner"])
        yield from _answering(COMPANY_PAGES, whose, values, ask, refused)
    values = _values(hot) | furniture.add_for_operator(company_id=hot, now=timezone.now())
    yield from _answering(CONSOLE_PAGES, "operator", values, _asker(_operator()), refused)


def _companies() -> tuple[Any, Any]:
    found = _rows(
        "SELECT company_id FROM billing_wallet JOIN accounts_company c ON c.id = company_id ORDER BY version DESC"
    )
    if not found:
        sys.exit("bench.pages: there is no company: manage.py seed_demo --calls 500000")
    return found[0][0], found[len(found) // 2][0]


def _values(company_id: Any) -> dict[str, Any]:
    """What stands in an address, taken from the company's rows."""
    with connection.cursor() as cursor:
        cursor.execute(ROWS, {"company": company_id})
        names = [column.name for column in cursor.description]
        values = dict(zip(names, cursor.fetchone(), strict=True))
    ((owner,),) = _rows(
        "SELECT user_id FROM accounts_membership WHERE company_id = %s AND role = 'owner' LIMIT 1",
        [company_id],
    )
    return {**values, "owner": owner}


def _operator() -> Any:
    found = User.objects.filter(is_superuser=True, is_active=True).first()
    return (found or User.objects.create_superuser("bench-operator@seed.test", name="Bench")).pk


def _asker(person_id: Any) -> Callable[[str], Any]:
    client = Client(SERVER_NAME="localhost", raise_request_exception=False)
    client.force_login(User.objects.get(pk=person_id))
    return client.get


def _answering(
    prefix: str, whose: str, values: dict[str, Any], ask: Callable[[str], Any], refused: list[str]
) -> Iterator[Page]:
    names = [
        name for name in get_resolver().reverse_dict if isinstance(name, str) and name.startswith(prefix)
    ]
    for name in sorted(set(names)):
        if NO_PAGES.search(name):
            continue
        (given, *_), *_ = get_resolver().reverse_dict.getlist(name)
        words = {word: values.get(word) for word in given[0][1]}
        if "team" in name and "user_id" in words:
            words["user_id"] = values["owner"]
        try:
            url = reverse(name, kwargs=words) if None not in words.values() else None
        except NoReverseMatch:
            url = None
        for query in ("", *QUERIES.get(name, ())):
            shown = f"{name}?{query}" if query else name
            full = f"{url}?{query.format(**values)}" if query else url
            answer = ask(full) if full and url else None
            if answer is not None and answer.status_code == 200:
                yield Page(shown, whose, full or "", ask)
            elif answer is None or answer.status_code != 405:
                why = "nothing to ask for" if answer is None else answer.status_code
                refused.append(f"not measured: {whose} {shown} ({why})")


def _measure(pages: list[Page], *, rounds: int) -> None:
    """Round by round, so that whatever else the machine does meets all of them; the first round warms up."""
    for number in range(rounds + 1):
        for page in pages:
            watch = Watch()
            with connection.execute_wrapper(watch):
                begun = time.perf_counter()
                answer = page.ask(page.url)
                body = b"".join(answer) if answer.streaming else answer.content
                ms = (time.perf_counter() - begun) * 1000
            if answer.status_code != 200:
                sys.exit(f"bench.pages: {page.url} answered {answer.status_code} in round {number}")
            page.html = body
            if number:
                page.ms.append(ms)
                page.queries.append(watch.count)
                page.slowest = max(page.slowest, watch.slowest, key=lambda found: found[0])


def _table(pages: list[Page]) -> str:
    lines = [f"{'page':<58} {'company':<9} {'queries':>7} {'median ms':>9} {'p95 ms':>8} {'HTML kB':>8}"]
    lines += [
        f"{page.name:<58} {page.whose:<9} {max(page.queries):>7} {statistics.median(page.ms):>9.1f}"
        f" {page.p95_ms:>8.1f} {len(page.html) / 1000:>8.1f}{'' if page.is_met else '  MISSED'}"
        for page in pages
    ]
    met = sum(page.is_met for page in pages)
    lines.append(f"{met} of {len(pages)} within {MS_MAX} ms (p95) and {QUERIES_MAX} queries.")
    return "\n".join(lines)


def _first_load(pages: list[Page]) -> str:
    """What a browser that was never here takes over the wire for Overview: its HTML and what that names, compressed."""
    overview = next(page for page in pages if page.name == "dashboard-overview" and page.whose == "hot")
    named = re.findall(rb'(?:<link[^>]*rel="stylesheet"[^>]*href|<script[^>]*src)="([^"]+)"', overview.html)
    sizes = {"HTML": len(gzip.compress(overview.html))}
    for url in dict.fromkeys(named):
        path = url.decode().split("/static/", 1)[-1].split("?", 1)[0]
        found = finders.find(path)
        if not isinstance(found, str):
            return f"Overview, first load: {path} is not among the static files."
        sizes[path] = len(gzip.compress(Path(found).read_bytes()))
    kb = sum(sizes.values()) / 1000
    verdict = "met" if kb <= FIRST_LOAD_KB_MAX else "MISSED"
    each = ", ".join(f"{name} {size / 1000:.1f}" for name, size in sizes.items())
    return f"Overview, first load, gzip: {kb:.1f} kB of {FIRST_LOAD_KB_MAX}, {verdict} ({each})"


def _explained(page: Page) -> str:
    ms, statement, parameters = page.slowest
    lines = [
        f"\n{page.name} ({page.whose}): its slowest query took {ms:.0f} ms",
        " ".join(statement.split())[:600],
    ]
    if statement.lstrip()[:6].upper() in ("SELECT", "WITH R", "WITH S") or statement.lstrip().startswith(
        "WITH"
    ):
        lines += [line for (line,) in _rows(f"EXPLAIN (ANALYZE, BUFFERS, COSTS OFF) {statement}", parameters)]
    return "\n".join(lines[:40])


def _rows(statement: str, parameters: Any = None) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall())


if __name__ == "__main__":
    sys.exit(main())
