"""What the command line costs before it does anything: a warm `naive --help`, and `import naive`, in time and CPU."""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

NAIVE = str(Path(sys.executable).parent / "naive")
# Each with its budget, in seconds.
CASES = {
    "import naive": ([sys.executable, "-c", "import naive"], 0.3),
    "naive --help": ([NAIVE, "--help"], 0.4),
    "naive llm chat --help": ([NAIVE, "llm", "chat", "--help"], 0.4),
}
WARM_UPS = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    print(f"{'':24}{'median s':>10}{'best s':>10}{'CPU s':>10}{'budget s':>10}")
    for name, (command, budget_s) in CASES.items():
        walls, cpus = zip(*[measured(command) for _ in range(rounds + WARM_UPS)][WARM_UPS:], strict=True)
        told = (statistics.median(walls), min(walls), statistics.median(cpus), budget_s)
        print(f"{name:24}" + "".join(f"{figure:10.3f}" for figure in told))


def measured(command: list[str]) -> tuple[float, float]:
    """Return the wall time and the CPU time of one run."""
    cpu_s, began_at = children_s(), time.monotonic()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - began_at, children_s() - cpu_s


def children_s() -> float:
    spent = os.times()
    return spent.children_user + spent.children_system


if __name__ == "__main__":
    main()
