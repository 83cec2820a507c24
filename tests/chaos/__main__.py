"""`make chaos`: calls, kills and restarts, then the comparison of our books with upstream's.

    python -m tests.chaos [--form full|short|mutants] [--seed N]… [--json] [--keep FOLDER]

Ends with 0 where nothing is lost, doubled or wrong, the form's numbers were reached, and every mutant was noticed.
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

from naive_platform.supervisor import StartFailed, Stopped
from tests.chaos import grounds, plans, reports
from tests.chaos.runs import Outcome, Run, RunFailed

SEEDS = {"full": (1, 2, 3)}


def main(argv: list[str] | None = None) -> int:
    options = _options(argv)
    chosen = tuple(options.seed or SEEDS.get(options.form, (1,)))
    folder = Path(options.keep or tempfile.mkdtemp(prefix="naive-chaos-runs-"))
    outcomes: list[Outcome] = []
    try:
        with grounds.standing() as ground:
            for number, plan in enumerate(plans.FORMS[options.form](chosen)):
                outcomes.append(Run(plan, ground, folder / f"{plan.seed}-{number}").carry_out())
                if not options.json:
                    _say(f"{plan.name}, seed {plan.seed}: {outcomes[-1].total_s:.0f} s")
    except (RunFailed, StartFailed) as exc:
        _say(str(exc))
        return 2
    except Stopped as exc:
        return 128 + exc.signum
    is_ok = all(outcome.is_as_expected for outcome in outcomes)
    _say(json.dumps(reports.as_json(outcomes)) if options.json else reports.table(outcomes))
    if is_ok and not options.keep:
        shutil.rmtree(folder)
    elif not options.json:
        _say(f"What the processes wrote: {folder}")
    return 0 if is_ok else 1


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--form", choices=sorted(plans.FORMS), default="full")
    parser.add_argument("--seed", type=int, action="append")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--keep", metavar="FOLDER", help="leave logs, calls and orders here")
    return parser.parse_args(argv)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
