"""The command line `naive`: one module for each noun, over the SDK. A command loads what it needs and nothing else."""

from __future__ import annotations

import sys

from naive.cli import running


def main() -> None:
    """Run the command line that this process was started with, and end with its exit code."""
    sys.exit(running.run(sys.argv[1:]))
