"""What is measured: the cases, and one round of one case as figures."""

import contextlib
import dataclasses
import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import processes
from bench.processes import BenchFailed, Cores

MODEL = "openai/gpt-5-mini"
PROMPT = (
    "You keep the books of a small shop. Answer in one short paragraph, in plain words, and say what you are "
    "not sure of. Last month we sold forty loaves a day and threw six away; flour went up by a tenth. "
)
# What the answers cost upstream; answers.c has the same number.
COST_USD = "0.00014"
# What happens after the last byte of an answer belongs to the calls too.
SETTLE_S = 0.2
SILENT_STREAMS = 400
SILENT_S = 8
# They open one after the other: it is their memory that is measured.
SILENT_RAMP_S = 4


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One kind of call at one concurrency; `suffix` tells the mock how to stream."""

    name: str
    connections: int
    stream: bool = False
    suffix: str = ""
    chunks: int = 0

    def body(self) -> bytes:
        call: dict[str, Any] = {
            "model": MODEL + self.suffix,
            "messages": [{"role": "user", "content": PROMPT}],
            "max_tokens": 400,
        }
        return json.dumps(call | ({"stream": True} if self.stream else {})).encode()


def _paced(chunks: int) -> Case:
    suffix = f":bench=chunks={chunks},gap_ms=5"
    return Case(name=f"paced{chunks}@32", connections=32, stream=True, suffix=suffix, chunks=chunks)


CASES = (
    Case(name="json@1", connections=1),
    Case(name="json@32", connections=32),
    Case(name="stream20@1", connections=1, stream=True, chunks=20),
    Case(name="stream20@32", connections=32, stream=True, chunks=20),
    _paced(20),
    _paced(100),
)
SILENT = Case(
    name="silent",
    connections=SILENT_STREAMS,
    stream=True,
    suffix=f":bench=chunks=1,first_ms={SILENT_S * 1000}",
    chunks=1,
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Holds and their settlements without a gateway around them, over so many companies."""

    companies: int

    @property
    def name(self) -> str:
        return f"pairs@{self.companies}"

    def script(self, *, seconds: float) -> str:
        """What the process runs that brings them."""
        arguments = f"companies={self.companies}, seconds={seconds}, cost_usd={COST_USD!r}"
        return f"from bench import books; books.work({arguments})"


PAIRS = (Pairs(companies=1), Pairs(companies=1000))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Whom the load is sent to."""

    url: str
    bearer: str


@dataclasses.dataclass(slots=True, kw_only=True)
class Bench:
    """Everything that runs while it is measured; `alone` counts the calls that went past the gateway."""

    gateway: Target
    proxy: Target
    upstream: Target
    gateway_pid: int
    upstream_pid: int
    postgres_pid: int | None
    cores: Cores
    folder: Path
    alone: int = 0

    def count(self) -> dict[str, int]:
        """How many completions the mock has begun and completed, for whomever."""
        connection = http.client.HTTPConnection(self.upstream.url.split("/")[2], timeout=5)
        with contextlib.closing(connection):
            connection.request("GET", "/count")
            counted: dict[str, int] = json.loads(connection.getresponse().read())
        return counted

    def postgres_cpu_s(self) -> float:
        return processes.cpu_s(self.postgres_pid) if self.postgres_pid else 0.0

    @contextlib.contextmanager
    def load(self, case: Case, target: Target, *options: str) -> Iterator["subprocess.Popen[str]"]:
        """The load generator at work on this case."""
        body = self.folder / "body.json"
        body.write_bytes(case.body())
        argv = [str(processes.BUILD / "load"), "--url", target.url + "/chat/completions", "--body", str(body)]
        argv += ["--connections", str(case.connections), *(["--stream"] if case.stream else []), *options]
        env = {"PATH": os.environ.get("PATH", ""), "BENCH_BEARER": target.bearer}
        with processes.running(argv, cores=self.cores.rest, env=env, stdout=subprocess.PIPE) as process:
            yield process

    def send(self, case: Case, target: Target, *, seconds: float) -> dict[str, Any]:
        """Load for so long, then the load generator's own figures."""
        with self.load(case, target, "--seconds", str(seconds)) as process:
            figures = result_of(process, case)
        self.alone += figures["ok"] if target is self.upstream else 0
        return figures

    def measure(self, case: Case, *, seconds: float, target: Target | None = None) -> dict[str, Any]:
        """One round of one case through the gateway: the load's figures and who used how much CPU."""
        counted, machine, others = self.count(), processes.machine_cpu_s(), self._known_cpu_s()
        gateway, postgres = processes.cpu_s(self.gateway_pid), self.postgres_cpu_s()
        begun = time.monotonic()
        figures = self.send(case, target or self.gateway, seconds=seconds)
        time.sleep(SETTLE_S)
        elapsed = time.monotonic() - begun
        gateway, postgres = processes.cpu_s(self.gateway_pid) - gateway, self.postgres_cpu_s() - postgres
        others = processes.machine_cpu_s() - machine - (self._known_cpu_s() - others)
        calls = max(figures["calls"], 1)
        figures["gateway_cpu_ms"] = gateway * 1000 / calls
        figures["postgres_cpu_ms"] = postgres * 1000 / calls if self.postgres_pid else None
        figures["gateway_core_share"] = gateway / elapsed
        # Whatever else ran meanwhile, in cores: above a tenth or so the figures are not worth much.
        figures["others_cores"] = max(others / elapsed, 0.0)
        figures["upstream_completions"] = self.count()["completions"] - counted["completions"]
        return figures

    def silent_stream_kb(self) -> tuple[float | None, dict[str, Any]]:
        """What an open stream that says nothing costs the gateway, in kB of PSS; None when not all opened."""
        before, begun = processes.memory(self.gateway_pid), self.count()["begun"]
        options = ("--calls", str(SILENT_STREAMS), "--ramp", str(SILENT_RAMP_S))
        with self.load(SILENT, self.gateway, *options) as process:
            deadline = time.monotonic() + SILENT_S * 0.75
            while self.count()["begun"] < begun + SILENT_STREAMS and time.monotonic() < deadline:
                time.sleep(0.1)
            are_open = self.count()["begun"] == begun + SILENT_STREAMS
            time.sleep(0.5)
            grown_kb = processes.memory(self.gateway_pid).pss_kb - before.pss_kb
            figures = result_of(process, SILENT)
        return (grown_kb / SILENT_STREAMS if are_open else None), figures

    def _known_cpu_s(self) -> float:
        known = processes.cpu_s(self.gateway_pid) + processes.cpu_s(self.upstream_pid) + self.postgres_cpu_s()
        return known + processes.own_cpu_s()


def result_of(process: "subprocess.Popen[str]", case: Case) -> dict[str, Any]:
    """Wait for the load generator and read its last line."""
    out, _ = process.communicate()
    if not out.startswith("{"):
        raise BenchFailed(f"{case.name}: the load generator ended with {process.returncode} and no result.")
    figures: dict[str, Any] = json.loads(out)
    if figures["ok"] and figures["events"]["min"] < (case.chunks + 2 if case.stream else 0):
        raise BenchFailed(
            f"{case.name}: a stream came with {figures['events']['min']} events of {case.chunks + 2}."
        )
    if figures["errors"]:
        print(f"bench: {case.name}: {figures['errors']} of {figures['calls']} calls", file=sys.stderr)
    return figures
