"""Measure one gateway worker between a load generator and a mock upstream that cost next to nothing.

    python -m bench.run [--rounds N] [--seconds S] [--only CASE]… [--json]

Run from the top of the clone. Without DATABASE_URL and REDIS_URL it runs itself under
`python -m naive_platform.embedded`. bench/README.md says what is measured and how to read it.
"""

import argparse
import contextlib
import dataclasses
import http.client
import importlib.metadata
import json
import os
import platform
import re
import resource
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg

from bench import beside, cases, lists, processes, report
from bench.cases import Bench, Case, Pairs, Target
from bench.processes import BUILD, BenchFailed, Cores
from naive_platform import stack as naive_stack

ROOT = Path(__file__).resolve().parent.parent
DATABASE = "naive_bench"
# The application's, which the gateway has, and the owner's, which everything here else is done with.
LOGINS = ("DATABASE_URL", "DATABASE_OWNER_URL")
UPSTREAM_KEY = "sk-or-v1-bench"
READY_S = 60.0
WARM_UP_S = 1.5
# Upstream alone is steadier than the gateway: a third of the time does.
ALONE_SHARE = 1 / 3
BOOKS_S = 30.0
PACKAGES = (
    "django",
    "django-ninja",
    "uvicorn",
    "uvloop",
    "httptools",
    "httpx",
    "httpx-aiohttp",
    "aiohttp",
    "psycopg",
)


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        processes.build()
        if not (os.environ.get("DATABASE_URL") and os.environ.get("REDIS_URL")):
            _run_again_with_servers()
        results, found = _bench(options)
    except (BenchFailed, psycopg.OperationalError) as exc:
        print(f"bench: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    file = BUILD / "results.json"
    file.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results) if options.json else report.render(results, found))
    return 0 if results["ok"] else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.run", description=__doc__.splitlines()[0])
    names = [*(case.name for case in (*cases.CASES, *cases.PAIRS)), *beside.CASES, lists.NAME]
    parser.add_argument("--rounds", type=int, default=3, help="rounds of all cases (3)")
    parser.add_argument("--seconds", type=float, default=5, help="time of one case in one round (5)")
    parser.add_argument("--only", action="append", choices=names, metavar="CASE", help=", ".join(names))
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    options = parser.parse_args()
    if options.rounds < 1 or options.seconds <= 0:
        parser.error("--rounds and --seconds must be above 0")
    return options


def _run_again_with_servers() -> None:
    embedded = [sys.executable, "-m", "naive_platform.embedded", "--data-dir", str(BUILD / "data"), "--"]
    os.chdir(ROOT)
    os.execv(sys.executable, [*embedded, sys.executable, "-m", "bench.run", *sys.argv[1:]])  # noqa: S606


def _bench(options: argparse.Namespace) -> tuple[dict[str, Any], list[report.Goal]]:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    chosen = [case for case in cases.CASES if not options.only or case.name in options.only]
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=BUILD, prefix="run-")))
        database = stack.enter_context(_database())
        bench, ready_s = _start(stack, folder, database)
        idle = processes.memory(bench.gateway_pid)
        _warm_up(bench, chosen)
        rounds = _rounds(bench, chosen, options)
        turns = beside.measure(bench, rounds=options.rounds, seconds=options.seconds, only=options.only)
        pairs = _pairs(bench, database, options)
        silent_kb, silent = (None, None) if options.only else bench.silent_stream_kb()
        after = processes.memory(bench.gateway_pid)
        pairs_in_all = sum(one["pairs_in_all"] for found in pairs.values() for one in found)
        books = _books(bench, database, pairs=pairs_in_all)
        listed = _lists(bench, database, options)
        found = [*report.goals(rounds, silent_kb, pairs), *beside.goals(turns), *lists.goals(listed)]
        failed = any(one["errors"] for one in report.loads(rounds, turns))
        return {
            "ok": books["agree"] and not failed,
            "machine": _machine(),
            "versions": _versions(database),
            "options": {"rounds": options.rounds, "seconds": options.seconds},
            "ready_s": ready_s,
            "memory": {"idle": dataclasses.asdict(idle), "after": dataclasses.asdict(after)},
            "silent_streams": {"kb_each": silent_kb, "load": silent},
            "books": books,
            "goals": [{**dataclasses.asdict(goal), "verdict": goal.verdict} for goal in found],
            "cases": rounds,
            "beside": turns,
            "pairs": pairs,
            "lists": listed,
        }, found


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """The run's own database, and the environment in which the platform uses it."""

    url: str
    postmaster_pid: int | None
    env: dict[str, str]

    def value(self, query: bytes) -> Any:
        with psycopg.connect(self.url) as connection:
            row = connection.execute(query).fetchone()
        return row[0] if row else None

    def checkpoint(self) -> None:
        """Have everything written to the tables' files; a login that may not ask for it goes without."""
        with (
            psycopg.connect(self.url, autocommit=True) as connection,
            contextlib.suppress(psycopg.errors.InsufficientPrivilege),
        ):
            connection.execute(b"CHECKPOINT")


@contextlib.contextmanager
def _database() -> Iterator[Database]:
    logins = {name: os.environ.get(name) or os.environ["DATABASE_URL"] for name in LOGINS}
    urls = {name: urlsplit(url)._replace(path=f"/{DATABASE}").geturl() for name, url in logins.items()}
    with psycopg.connect(logins["DATABASE_OWNER_URL"], autocommit=True) as connection:
        try:
            connection.execute(f"DROP DATABASE IF EXISTS {DATABASE}".encode())
            connection.execute(f"CREATE DATABASE {DATABASE}".encode())
        except psycopg.Error as exc:
            raise BenchFailed(
                f"the database {DATABASE} cannot be made anew: {exc.diag.message_primary}."
            ) from exc
        try:
            pid = processes.postmaster(connection.info.backend_pid)
            yield Database(url=urls["DATABASE_OWNER_URL"], postmaster_pid=pid, env=urls)
        finally:
            connection.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)".encode())


def _start(stack: contextlib.ExitStack, folder: Path, database: Database) -> tuple[Bench, float]:
    """Start mock and gateway, and make the company that calls."""
    cores = Cores.of_this_machine()
    mock = stack.enter_context(
        processes.running([str(BUILD / "upstream")], cores=cores.rest, env={}, stdout=subprocess.PIPE)
    )
    upstream_url = json.loads(mock.stdout.readline() if mock.stdout else "")["url"]
    database.env.update(_environment(folder, upstream_url))
    _manage(database, "migrate", "--no-input")
    made = _manage(database, "shell", "--no-imports", "-c", "from bench import company; company.create()")
    api_key = json.loads(made.splitlines()[-1])["api_key"]
    url, gateway, ready_s = _start_gateway(stack, database, cores)
    return Bench(
        gateway=Target(url=url + "/v1/llm", bearer=api_key),
        proxy=Target(url=url + "/v1/proxy/openrouter", bearer=api_key),
        upstream=Target(url=upstream_url, bearer=UPSTREAM_KEY),
        gateway_pid=gateway.pid,
        upstream_pid=mock.pid,
        postgres_pid=database.postmaster_pid,
        cores=cores,
        folder=folder,
    ), ready_s


def _environment(folder: Path, upstream_url: str) -> dict[str, str]:
    """A production environment: what differs from the defaults is where things are."""
    return {
        **{name: value for name, value in os.environ.items() if name not in ("DEBUG", *LOGINS)},
        "OPENROUTER_BASE_URL": upstream_url,
        "OPENROUTER_API_KEY": UPSTREAM_KEY,
        "SECRET_KEY": secrets.token_urlsafe(48),
        "KEY_PEPPER": secrets.token_urlsafe(48),
        "SPOOL_DIR": str(folder / "spool"),
        # One company makes all calls here, also the silent streams.
        "MAX_CALLS_PER_COMPANY": str(cases.SILENT_STREAMS * 2),
        "PYTHONUNBUFFERED": "1",
    }


def _manage(database: Database, *arguments: str, may_fail: bool = False) -> str:
    argv = [sys.executable, "manage.py", *arguments]
    done = subprocess.run(argv, cwd=ROOT, env=database.env, capture_output=True, text=True, check=False)
    if done.returncode != 0 and not may_fail:
        raise BenchFailed(
            f"manage.py {arguments[0]} ended with {done.returncode}:\n{done.stderr.strip()[-2000:]}"
        )
    return done.stdout.strip()


def _start_gateway(
    stack: contextlib.ExitStack, database: Database, cores: Cores
) -> tuple[str, "subprocess.Popen[str]", float]:
    """One worker, started as `manage.py up` starts it."""
    listener = stack.enter_context(naive_stack.listen(0))
    argv = [sys.executable, *naive_stack.gateway_arguments(listener)]
    log = stack.enter_context((BUILD / "gateway.log").open("w"))
    begun = time.monotonic()
    gateway = stack.enter_context(
        processes.running(
            argv,
            cores=cores.gateway,
            env=database.env,
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=(listener.fileno(),),
        )
    )
    port = listener.getsockname()[1]
    while not _is_ready(port):
        if gateway.poll() is not None or time.monotonic() - begun > READY_S:
            tail = (BUILD / "gateway.log").read_text()[-2000:].strip()
            raise BenchFailed(f"the gateway did not come up; its log, bench/build/gateway.log, ends:\n{tail}")
        time.sleep(0.05)
    return f"http://127.0.0.1:{port}", gateway, time.monotonic() - begun


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    with contextlib.closing(connection):
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False


def _warm_up(bench: Bench, chosen: list[Case]) -> None:
    for case in chosen:
        bench.send(case, bench.upstream, seconds=WARM_UP_S / 3)
        figures = bench.send(case, bench.gateway, seconds=WARM_UP_S)
        if not figures["ok"]:
            raise BenchFailed(f"{case.name}: no call came through; see above and bench/build/gateway.log.")


def _rounds(bench: Bench, chosen: list[Case], options: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    rounds: dict[str, list[dict[str, Any]]] = {case.name: [] for case in chosen}
    for number in range(options.rounds):
        for case in chosen:
            one: dict[str, Any] = {}
            # Which of the pair goes first alternates, so that a drift of the machine does not favour one.
            for who in ("upstream", "gateway") if number % 2 == 0 else ("gateway", "upstream"):
                if who == "gateway":
                    one[who] = bench.measure(case, seconds=options.seconds)
                else:
                    one[who] = bench.send(case, bench.upstream, seconds=options.seconds * ALONE_SHARE)
            rounds[case.name].append(one)
            speed, cpu_ms = one["gateway"]["per_s"], one["gateway"]["gateway_cpu_ms"]
            told = f"{speed:.0f} calls/s, {cpu_ms:.3f} ms gateway CPU"
            print(f"bench: round {number + 1}, {case.name}: {told}", file=sys.stderr)
    return rounds


def _pairs(bench: Bench, database: Database, options: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """Holds and settlements alone, and what they cost PostgreSQL; all rounds of one kind after each other."""
    found: dict[str, list[dict[str, Any]]] = {}
    for kind in (one for one in cases.PAIRS if not options.only or one.name in options.only):
        for number in range(options.rounds):
            figures = _measured_pairs(bench, database, kind, seconds=options.seconds)
            found.setdefault(kind.name, []).append(figures)
            told = f"{figures['per_s']:.0f} pairs/s, {figures['postgres_cpu_ms'] or 0:.3f} ms PostgreSQL CPU"
            print(f"bench: round {number + 1}, {kind.name}: {told}", file=sys.stderr)
    return found


def _measured_pairs(bench: Bench, database: Database, kind: Pairs, *, seconds: float) -> dict[str, Any]:
    argv = [sys.executable, "manage.py", "shell", "--no-imports", "-c", kind.script(seconds=seconds)]
    with processes.running(
        argv, cores=bench.cores.gateway, env=database.env, stdout=subprocess.PIPE
    ) as process:
        while process.stdout is not None and (line := process.stdout.readline()) not in ("begin\n", ""):
            print(line, end="", file=sys.stderr)
        machine, postgres, own = (
            processes.machine_cpu_s(),
            bench.postgres_cpu_s(),
            processes.cpu_s(process.pid),
        )
        out = process.stdout.readline() if process.stdout is not None else ""
        own = processes.cpu_s(process.pid) - own
        if not out.startswith("{"):
            raise BenchFailed(f"{kind.name}: the process that brings them ended with {process.wait()}.")
    # What PostgreSQL has only in memory by now is the pairs' work too.
    database.checkpoint()
    figures: dict[str, Any] = json.loads(out)
    postgres = bench.postgres_cpu_s() - postgres
    figures["per_s"] = figures["pairs"] / figures["elapsed_s"]
    figures["process_cpu_ms"] = own * 1000 / figures["pairs"]
    figures["postgres_cpu_ms"] = postgres * 1000 / figures["pairs"] if bench.postgres_pid else None
    figures["per_core_s"] = figures["pairs"] / postgres if bench.postgres_pid else None
    others = processes.machine_cpu_s() - machine - postgres - own
    figures["others_cores"] = max(others / figures["elapsed_s"], 0.0)
    return figures


def _books(bench: Bench, database: Database, *, pairs: int) -> dict[str, Any]:
    """Compare the ledger with what was asked for: every completion and every pair settled once, at its cost."""
    deadline = time.monotonic() + BOOKS_S
    while True:
        told = _manage(database, "verify_ledger", "--json", may_fail=True)
        try:
            verified = json.loads(told.splitlines()[-1])
        except (IndexError, ValueError) as exc:
            raise BenchFailed(f"manage.py verify_ledger --json said {told[-500:]!r}.") from exc
        if (verified["ok"] and verified["open_holds"] == 0) or time.monotonic() > deadline:
            break
        time.sleep(1)
    completions = bench.count()["completions"] - bench.alone
    settlements = int(database.value(b"SELECT count(*) FROM billing_settlement WHERE kind = 'post'"))
    expected_cost_usd = (completions + pairs) * Decimal(cases.COST_USD)
    cost_usd = Decimal(str(verified["cost_usd"]))
    is_closed = verified["ok"] and verified["open_holds"] == 0
    return {
        "agree": bool(is_closed and settlements == completions + pairs and cost_usd == expected_cost_usd),
        "settlements": settlements,
        "completions": completions,
        "pairs": pairs,
        "cost_usd": f"{cost_usd.normalize():f}",
        "expected_cost_usd": f"{expected_cost_usd.normalize():f}",
        "open_holds": verified["open_holds"],
        "violations": verified["violations"],
    }


def _lists(bench: Bench, database: Database, options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    if options.only and lists.NAME not in options.only:
        return {}
    addresses = json.loads(_manage(database, "shell", "--no-imports", "-c", lists.SCRIPT).splitlines()[-1])
    return lists.measure(addresses, url=bench.gateway.url, bearer=bench.gateway.bearer)


def _machine() -> dict[str, Any]:
    model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory_kb = re.search(r"^MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text(), re.MULTILINE)
    return {
        "cpu": model[1].strip() if model else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_mb": int(memory_kb[1]) // 1024 if memory_kb else None,
        "kernel": platform.release(),
    }


def _versions(database: Database) -> dict[str, str]:
    found = {name: importlib.metadata.version(name) for name in PACKAGES}
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return {
        "python": platform.python_version(),
        "postgresql": str(database.value(b"SHOW server_version")),
        "commit": commit.stdout.strip() or "unknown",
        **found,
    }


if __name__ == "__main__":
    sys.exit(main())
