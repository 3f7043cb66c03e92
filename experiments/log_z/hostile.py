"""Is log Z right, or does an alarm ring? The hostile suite (tests/hostile) at log_z's defaults.

    python -m experiments log_z.hostile [--seeds 3] [--first 0] [--only WORD ...] [--name NAME]

A run is silently wrong where no alarm rings and the value is off by more than
``max(0.2 nat, 4 standard errors)``, or Z is infinite. Of benign cases an alarm is false. An error
that refuses to give a number is an alarm. Prints a line a run, the rates of each class and the
rows of the energy that were evaluated; records ``experiments/results/NAME.json``.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

import noneq
from experiments.common import record, table
from tests import hostile
from tests.hostile.targets import Veiled

SUITES = {
    "reachable": hostile.REACHABLE,
    "infinite": hostile.INFINITE,
    "invisible": hostile.INVISIBLE,
    "benign": hostile.BENIGN,
}


class Counted(Veiled):
    """An energy that counts the rows it is asked for."""

    def __init__(self, energy: Any) -> None:
        super().__init__(energy)
        self.rows = 0

    def __call__(self, x: Tensor) -> Tensor:
        """Energies (B,)."""
        self.rows += len(x)
        return super().__call__(x)

    def evaluate(self, x, previous_cache=None, graph=False):
        """Energies and their cache."""
        self.rows += len(x)
        return super().evaluate(x, previous_cache, graph)


def counted(energy: Any) -> Any:
    """RBMs are evaluated by paths of their own, which nobody counts."""
    return energy if hasattr(energy, "path_from") else Counted(energy)


def bracketed(case: hostile.Case, seed: int, options: Mapping[str, Any]) -> dict[str, Any]:
    """One bracket: its numbers, its alarms, its cost."""
    energy, rng = counted(case.energy), torch.Generator().manual_seed(seed)
    start = time.process_time()
    try:
        z = noneq.log_z(energy, case.base, case.data, rng=rng, **options)
        found = {
            "value": z.value,
            "stderr": z.stderr,
            "forward": z.forward.value,
            "backward": z.backward.value,
            "alarms": list(z.alarms),
        }
    except (ValueError, RuntimeError, FloatingPointError) as error:
        found = {"value": math.nan, "stderr": math.nan, "alarms": [f"refused: {error}"]}
    spent = {"rows": getattr(energy, "rows", None), "seconds": time.process_time() - start}
    return {**found, **spent}


def wrong(run: Mapping[str, Any], truth: float) -> bool:
    """Whether the number is off by more than it says."""
    if not math.isfinite(truth):
        return True
    off = abs(run["value"] - truth)
    return not off <= max(0.2, 4 * run["stderr"])


def judge(runs: list[dict[str, Any]]) -> list[list[str]]:
    """A row for each class: runs, wrong, silently wrong, alarmed, mean rows and seconds."""
    rows = []
    for kind in SUITES:
        own = [run for run in runs if run["kind"] == kind]
        if not own:
            continue
        counts = [run["rows"] for run in own if run["rows"]]
        rows.append(
            [
                kind,
                str(len(own)),
                str(sum(run["wrong"] for run in own)),
                str(sum(run["wrong"] and not run["alarms"] for run in own)),
                str(sum(bool(run["alarms"]) for run in own)),
                f"{sum(counts) / max(1, len(counts)) / 1e6:.2f}",
                f"{sum(run['seconds'] for run in own) / len(own):.1f}",
            ]
        )
    return rows


def main() -> None:
    """Run the suite."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="the first of the seeds")
    parser.add_argument("--only", nargs="*", default=[], help="words of cases or classes")
    parser.add_argument("--name", default="", help="record the results under this name")
    parser.add_argument("--n", type=int, default=1024)
    parser.add_argument("--temperatures", type=int, default=1000)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    options = {"n": asked.n, "temperatures": asked.temperatures}
    runs = []
    for kind, suite in SUITES.items():
        for name, make in suite.items():
            if asked.only and not any(word in f"{kind} {name}" for word in asked.only):
                continue
            for seed in range(asked.first, asked.first + asked.seeds):
                case = make(seed)
                run = {"kind": kind, "case": name, "seed": seed, "truth": case.log_z}
                run |= bracketed(case, seed, options)
                run["wrong"] = wrong(run, case.log_z)
                runs.append(run)
                rang = "; ".join(alarm[:60] for alarm in run["alarms"])
                word = "WRONG " if run["wrong"] else ""
                word = "SILENT " if run["wrong"] and not rang else word
                print(
                    f"{kind:10} {name:24} {seed} {case.log_z:8.2f} {run['value']:8.2f} "
                    f"± {run['stderr']:.2f} {run['seconds']:5.1f} s {word}{rang}",
                    flush=True,
                )
    columns = ["", "runs", "wrong", "silently", "alarmed", "rows, 10^6", "seconds"]
    table("right, or alarmed?", columns, judge(runs))
    if asked.name:
        record(asked.name, {"options": options, "runs": runs})


if __name__ == "__main__":
    main()
