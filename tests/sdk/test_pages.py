"""The documentation, run as it stands: each page is followed in each of its languages by a fresh company."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from tests import factories, pages
from tests.e2e.conftest import Platform
from tests.sdk.mcp_clients import said

BIN = Path(sys.executable).parent
NODE_CLIENTS = pages.ROOT / "tests/e2e/node/node_modules"
TIMEOUT_S = 60
# What every reader's curl does here: nothing beside the answer, and a status that says whether it is an error.
CURLRC = "silent\nshow-error\nfail-with-body\n"


def programs(language: str) -> list[Any]:
    return [pytest.param(page, id=pages.name_of(page)) for page in pages.programs(language)]


class Reader:
    """Somebody with a key, who follows a page."""

    def __init__(self, platform: Platform, member: factories.Cast, home: Path) -> None:
        self.home = home
        self._platform = platform
        self._member = member
        (home / ".curlrc").write_text(CURLRC)

    def reads(self, text: str) -> str:
        """The text with what the reader has in place of what the page can only hint at."""
        mine = {
            "nv_sk_live_…": self._member.secret,
            "http://localhost:8000": self._platform.url,
            "ada@inkwell.example": f"ada-{uuid4().hex}@inkwell.example",
        }
        for theirs, own in mine.items():
            text = text.replace(theirs, own)
        return text

    def runs(self, *command: str, cwd: Path | None = None) -> str:
        """Run a program and return what it wrote; what it said when it failed is the failure."""
        environ = {
            "NAIVE_BASE_URL": self._platform.url,
            "NAIVE_API_KEY": self._member.secret,
            "HOME": str(self.home),
            "CURL_HOME": str(self.home),
            "PATH": f"{BIN}:{os.environ['PATH']}",
        }
        done = subprocess.run(
            command,
            env=environ,
            cwd=cwd or self.home,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def reader(clean: Platform, acme: factories.Cast, tmp_path: Path) -> Reader:
    clean.upstream.faults(generation_delay_ms=0)
    return Reader(clean, acme, tmp_path)


def follows(page: Path, language: str, printed: str) -> None:
    """Require that each block of a page did what the page says, and printed what it shows."""
    steps = pages.steps(page, language)
    parts = re.split(rf"{pages.END} (\d+)\n", printed)
    assert len(parts) == 2 * len(steps) + 1
    for step, output, failures in zip(steps, parts[::2], parts[1::2], strict=False):
        where = f"{pages.name_of(page)}:{step.block.line}"
        assert (int(failures) > 0) == step.shows_an_error, f"{where} printed {output}"
        if step.output is not None:
            assert is_shown(output, step.output), f"{where} printed {output}"


def is_shown(printed: str, output: str) -> bool:
    """Whether a page shows what was printed: `…` is anything, and lines may be broken anywhere."""
    shown = ".*".join(re.escape("".join(part.split())) for part in output.split("…"))
    return re.fullmatch(shown, "".join(printed.split()), re.DOTALL) is not None


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not on this machine")
@pytest.mark.parametrize("page", programs("sh"))
def test_commands_run(page: Path, reader: Reader) -> None:
    follows(page, "sh", reader.runs("bash", "-c", reader.reads(pages.program(page, "sh"))))


@pytest.mark.parametrize("page", programs("python"))
def test_python_runs(page: Path, reader: Reader) -> None:
    file = reader.home / pages.file_of(page, "python").name
    file.write_text(reader.reads(pages.program(page, "python")))
    follows(page, "python", reader.runs(sys.executable, "-W", "error", str(file)))


@pytest.fixture(scope="module")
def compiled(typescript: Callable[..., str]) -> Path:
    """All TypeScript of the documentation, compiled as strictly as users may, in a folder of JavaScript."""
    folder = pages.write("ts")
    link = folder / "node_modules/openai"
    if not link.exists():
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(NODE_CLIENTS / "openai")
    typescript("node_modules/typescript/bin/tsc", "-p", "tsconfig.samples.json")
    return folder / "js"


@pytest.mark.parametrize("page", programs("ts"))
def test_typescript_runs(page: Path, compiled: Path, reader: Reader) -> None:
    name = pages.file_of(page, "ts").stem
    file = compiled / f"{name}.run.js"
    file.write_text(reader.reads((compiled / f"{name}.js").read_text()))
    follows(page, "ts", reader.runs("node", str(file), cwd=compiled))


def configurations() -> list[Any]:
    """What pages tell to write into the configuration of an MCP client."""
    return [
        pytest.param(block.text, id=f"{pages.name_of(page)}:{block.line}")
        for page in pages.pages()
        for block in pages.blocks(page)
        if block.language == "json" and "mcpServers" in block.text
    ]


@pytest.mark.parametrize("text", configurations())
def test_configurations_connect(text: str, reader: Reader, acme: factories.Cast) -> None:
    server = json.loads(reader.reads(text))["mcpServers"]["naive"]

    async def visit() -> str:
        if "command" in server:
            command = str(BIN / server["command"])
            started = StdioServerParameters(command=command, args=server["args"], env=server["env"])
            async with Client(started) as client:
                return said(await client.call_tool("naive_whoami"))
        async with (
            httpx2.AsyncClient(headers=server["headers"]) as http,
            Client(streamable_http_client(server["url"], http_client=http)) as client,
        ):
            return said(await client.call_tool("naive_whoami"))

    assert json.loads(asyncio.run(visit()))["company"] == acme.company.name
