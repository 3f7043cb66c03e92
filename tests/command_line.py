"""The command line in tests: rows, short runs, what a refusal looks like."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

import noneq
from noneq.cli.main import main

INTERRUPTED = """
import signal, sys
from noneq.cli.main import main
from noneq.run.metrics import Metrics

how, add, lines = int(sys.argv.pop(1)), Metrics.add, []

def noted(self, row):
    add(self, row)
    lines.append(row)
    if len(lines) == 3:
        signal.raise_signal(how)

Metrics.add = noted
sys.exit(main())
"""

QUICK = [
    *("--walkers", "64", "--held-out", "16", "--moves", "2", "--renew", "5"),
    *("--temperatures", "20", "--width", "16", "--batch", "64", "--ess-min", "0.97"),
    *("--bracket.walkers", "32", "--bracket.temperatures", "20", "--bracket.equilibrate", "20"),
    *("--score-matching", "off", "--whiten", "False", "--refresh", "False"),
    *("--background", "False"),
]


def rows(n=400, seed=0):
    """Two asymmetric modes in three columns of different units."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3)) * [1.0, 0.3, 2.0]
    x[: n // 4] += [4.0, 1.0, -3.0]
    return rng.permutation(x) * [10.0, 1.0, 0.1] + [100.0, 0.0, 3.0]


def refused(args, capsys):
    """The one line that an error is told in."""
    code = main([str(a) for a in args])
    told = capsys.readouterr().err.strip()
    assert code == 1, told
    assert told.startswith("noneq: error: ")
    assert "\n" not in told
    assert "Traceback" not in told
    return told


def noneq_process(*args, interrupted=0, **kwargs):
    """The command line in a process of its own.

    ``interrupted``: a signal that reaches it at its third line of metrics, however busy the
    machine is: no clock and no second process decides when.
    """
    how = ["-c", INTERRUPTED, str(int(interrupted))] if interrupted else ["-m", "noneq"]
    env = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(Path(noneq.__file__).parents[1]),
    }
    return subprocess.Popen(
        [sys.executable, *how, *map(str, args)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, **kwargs,
    )  # fmt: skip
