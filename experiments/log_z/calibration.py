r"""Are the errors that `noneq.log_z` gives true? 200 seeds of either side, on a known log Z.

z = (estimate - truth) / its own standard error, of the forward side, the backward side and the
value that is quoted (the larger). A standard deviation of 200 values is known to about 0.05. The
pilot is run afresh with every seed. Seeds: 0 to 199.

    python -m experiments log_z.calibration            about ten minutes on one core
    python -m experiments log_z.calibration --seeds 4  a look, no record
"""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass

import numpy as np
import torch
import tyro

import noneq
from experiments.common import record, table
from experiments.log_z.targets import target

NAMES = ("banana", "modes", "skewed", "stiff")


@dataclass(frozen=True)
class Calibration:
    """What many runs said of one target."""

    target: str
    forward: tuple[float, float]
    backward: tuple[float, float]
    worst: float
    error: float
    apart: float
    alarms: int


def calibration(name: str, seeds: int) -> Calibration:
    """Mean and standard deviation of z on either side."""
    t = target(name)
    path, z, values, rang = t.path(), [], [], 0
    for seed in range(seeds):
        rng = torch.Generator().manual_seed(seed)
        found = noneq.log_z(path.end, path.start, n=512, temperatures=200, rng=rng)
        sides = (found.forward, found.backward)
        values.append([side.value - t.log_z for side in sides])
        z.append([(side.value - t.log_z) / side.stderr for side in sides])
        rang += bool(found.alarms)
    each, errors = np.array(z).T, np.array(values)
    forward, backward = ((float(side.mean()), float(side.std(ddof=1))) for side in each)
    rms = float(np.sqrt(np.square(errors).mean()))
    apart = float((errors[:, 1] - errors[:, 0]).mean())
    return Calibration(t.name, forward, backward, float(np.abs(each).max()), rms, apart, rang)


def main(names: tuple[str, ...] = NAMES, seeds: int = 200) -> None:
    """Run, print and, with 200 seeds, record.

    Arguments:
        names: of the targets.
        seeds: runs of each.
    """
    torch.set_num_threads(1)
    found = []
    for name in names:
        found.append(calibration(name, seeds))
        print(found[-1], file=sys.stderr, flush=True)
    if seeds >= 200:
        record("calibration", [asdict(one) for one in found])
    rows = [
        [
            c.target,
            *(f"{m:+.2f}, {sd:.2f}" for m, sd in (c.forward, c.backward)),
            f"{c.worst:.1f}",
            f"{c.error:.3f}",
            f"{c.apart:+.3f}",
            f"{c.alarms} of {seeds}",
        ]
        for c in found
    ]
    columns = ["target", "z forward: mean, sd", "z backward: mean, sd", "largest |z|"]
    columns += ["rms error, nats", "sides apart", "runs with alarms"]
    table("Errors of noneq.log_z, 512 walkers x 200 temperatures a side", columns, rows)


if __name__ == "__main__":
    tyro.cli(main)
