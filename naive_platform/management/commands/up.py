"""`manage.py up`: the whole platform on this machine, from nothing, until Ctrl-C."""

import argparse
import dataclasses
import json
import os
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from naive_platform import stack
from naive_platform.supervisor import StartFailed, Stopped

BANNER = """
  {bold}Naive is up.{plain} Ctrl-C stops everything.

  Dashboard  {running.dashboard_url}
{people}  Upstream   {upstream}
  Logs       {folder}/logs
{call}
"""
PEOPLE = """\
  Demo       {running.demo[email]}  password {running.demo[password]}
  Operator   {running.operator[email]}  password {running.operator[password]}
  API key    {running.api_key}
"""
CALL = """
  {bold}Paste this:{plain}

curl -N {running.url}/v1/llm/chat/completions \\
  -H 'Authorization: Bearer {running.api_key}' \\
  -H 'Content-Type: application/json' \\
  -d '{body}'
"""
BODY = {
    "model": "anthropic/claude-sonnet-4.6",
    "stream": True,
    "messages": [{"role": "user", "content": "Write a haiku about Paris."}],
}


class Command(BaseCommand):
    help = "Run the whole platform: servers, migrations, gateways, worker, beat, and an upstream if need be."
    # Settings are this process's; what runs gets its own environment and checks itself.
    requires_system_checks = []

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--port", type=int, help="0: any free one (default: 8000, or the next that is free)"
        )
        parser.add_argument("--data-dir", type=Path, default=settings.DATA_DIR)
        parser.add_argument("--workers", type=int, default=1, help="gateway processes (default: 1)")
        parser.add_argument(
            "--json", action="store_true", help="once ready, one line of JSON instead of the banner"
        )
        parser.add_argument("--no-demo", action="store_true", help="neither demo company nor operator")

    def handle(self, *_args: Any, **given: Any) -> None:
        if given["workers"] < 1:
            raise CommandError("--workers must be 1 or more.")
        options = stack.Options(
            port=given["port"],
            folder=given["data_dir"],
            workers=given["workers"],
            demo=not given["no_demo"],
        )
        self._folder = options.folder.absolute()
        announce = self._announce_json if given["json"] else self._announce
        try:
            stack.up(options, environ=os.environ, say=self._say, announce=announce)
        except StartFailed as exc:
            raise CommandError(str(exc)) from exc
        except Stopped:
            self._say("Stopped; nothing is left running.")

    def _say(self, message: str) -> None:
        self.stderr.write(message, str)
        self.stderr.flush()

    def _announce_json(self, running: stack.Running) -> None:
        self.stdout.write(json.dumps(dataclasses.asdict(running)))
        self.stdout.flush()

    def _announce(self, running: stack.Running) -> None:
        is_bright = self.stdout.isatty() and not os.environ.get("NO_COLOR")
        self.stdout.write(banner(running, folder=self._folder, is_bright=is_bright))
        self.stdout.flush()


def banner(running: stack.Running, *, folder: Path, is_bright: bool) -> str:
    """One screen for a person: where to look, who to be, and a call to paste."""
    bold, plain = ("\033[1m", "\033[0m") if is_bright else ("", "")
    upstream = "OpenRouter"
    if running.simulator_url:
        upstream = "the simulator; set OPENROUTER_API_KEY for the real OpenRouter"
    given = {"running": running, "bold": bold, "plain": plain}
    has_demo = running.demo is not None
    return BANNER.format(
        **given,
        folder=folder,
        upstream=upstream,
        people=PEOPLE.format(**given) if has_demo else "",
        call=CALL.format(**given, body=json.dumps(BODY)) if has_demo else "",
    )
