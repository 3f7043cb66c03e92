r"""Does the library run on a GPU, is it right there, how often does it wait, and how fast is it?

    python -m benchmarks.gpu --device cuda --seconds 240    about four minutes on one GPU
    python -m benchmarks.gpu --device cpu --small           half a minute: does the program run?

Three parts, each check with a limit of time, so that one failure hides no other:

=========== ======================================================================================
`checks`    estimates beside exact values, and training, runs and commands on the device; the
            tests of tests/test_devices.py on it
`waits`     how often the host waits for the device in an iteration, by torch's own debug mode,
            beside the number that `benchmarks.host_traffic` counts
`speed`     iterations a second beside a bare loop of contrastive divergence; memory; annealing
=========== ======================================================================================

All is in a JSON file, which is written after each check.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Literal

import torch
import tyro

from benchmarks import RESULTS
from benchmarks.device_checks import CHECKS, Where
from benchmarks.device_program import COMMANDS, ROOT, environment  # which enters its checks
from benchmarks.device_report import Outcome, Report
from benchmarks.device_speed import MODELS, annealing, bracketing, cell
from benchmarks.device_waits import annealing_waits, waits
from benchmarks.host_traffic import CASES
from experiments.common import COMMIT, machine, table
from noneq.numerics import resolve_device

__all__ = ["main"]

Part = Literal["checks", "waits", "speed"]
SIZES = (256, 4096, 65536)
PATIENCE, ON_PROCESSOR = 60.0, 600.0  # seconds for one check
TESTS = "tests/test_devices.py on the device"


def main(
    device: str = "",
    seconds: float = 240.0,
    small: bool = False,
    out: Path = RESULTS / "gpu.json",
    parts: tuple[Part, ...] = ("checks", "waits", "speed"),
    only: str = "",
) -> int:
    """Check and measure, print a line of each, record all.

    Args:
        device: cpu, cuda, cuda:1, ...; default: cuda if there is one.
        seconds: time for all parts; what comes later is skipped.
        small: small sizes, to test this program itself.
        out: JSON file of the record.
        parts: which parts, in this order.
        only: a word of the names of the checks that are done; default: all are.

    Returns:
        0 if all is right, else 1.
    """
    name = resolve_device(device)
    report = Report(out, seconds, _head(torch.device(name), small))
    with tempfile.TemporaryDirectory() as folder:
        at = Where(torch.device(name), small, Path(folder))
        for part in parts:
            {"checks": _checks, "waits": _waits, "speed": _speed}[part](report, at, only)
    report.save()
    rows = [(e.part, e.name, e.status, f"{e.seconds:.1f}") for e in report.entries]
    table(f"on {report.head['device']}", ("part", "check", "status", "seconds"), rows)
    counts = report.counts()
    for entry in report.entries:
        if entry.status != "ok":
            print(f"{entry.status} {entry.name}: {' '.join(entry.text.split())[:500]}")
    print(", ".join(f"{count} {status}" for status, count in counts.items()), flush=True)
    return 1 if counts["FAILED"] or counts["error"] else 0


def _head(device: torch.device, small: bool) -> dict[str, object]:
    own = torch.cuda.get_device_name(device) if device.type == "cuda" else "processor"
    return {
        "command": " ".join(["python", *sys.orig_argv[1:]]),
        "commit": COMMIT,
        "machine": machine(),
        "device": own,
        "cuda": torch.version.cuda,
        "small": small,
    }


def _patience(at: Where) -> float:
    return PATIENCE if at.device.type == "cuda" else ON_PROCESSOR


def _checks(report: Report, at: Where, only: str) -> None:
    """The checks, while other processes do the commands and the tests of tests/test_devices.py."""
    works = {name: partial(work, at) for name, work in CHECKS.items() if only in name}
    if at.device.type != "cpu" and only in TESTS:
        works[TESTS] = partial(_tests, at)
    with ThreadPoolExecutor() as pool:
        others = {n: pool.submit(work) for n, work in works.items() if n in (COMMANDS, TESTS)}
        for name, work in works.items():
            if name not in others:
                report.check("checks", name, work, _patience(at))
        for name, future in others.items():
            report.check("checks", name, future.result, _patience(at))


def _tests(at: Where) -> Outcome:
    """How many tests passed, the names of the others, and the end of the output."""
    code = [sys.executable, "-m", "pytest", "tests/test_devices.py", "-q", "-rfE", "--tb=short"]
    code += ["-p", "no:cacheprovider", "-W", "ignore", "-o", "addopts=", "-n", "4"]
    own = {**environment(), "NONEQ_DEVICE": str(at.device), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(code, cwd=ROOT, env=own, capture_output=True, text=True, timeout=120)
    lines = done.stdout.strip().splitlines()
    failed = [line for line in lines if re.match("FAILED|ERROR", line)]
    text = f"{lines[-1] if lines else done.stderr[-300:]}; {'; '.join(failed[:20])}"
    told = done.stdout[-60000:] + done.stderr[-2000:]
    return Outcome(done.returncode == 0, text, {"failed": failed, "told": told})


def _waits(report: Report, at: Where, only: str) -> None:
    for name in CASES:
        if only in name:
            report.check("waits", name, partial(waits, at, name), _patience(at))
    if only in "annealing":
        report.check("waits", "annealing", partial(annealing_waits, at), _patience(at))


def _speed(report: Report, at: Where, only: str) -> None:
    """Speed, what takes longest last."""
    sizes = (16,) if at.small else SIZES
    for n in sizes:
        label = f"annealing, {n:,} walkers of 64 numbers"
        works = {f"{name}, {n:,} walkers": partial(cell, at, name, n) for name in MODELS}
        for name, work in {label: partial(annealing, at, n), **works}.items():
            if only in name:
                report.check("speed", name, work, _patience(at))
        if n == sizes[0] and only in "bracket of 64 numbers":
            report.check("speed", "bracket of 64 numbers", partial(bracketing, at), _patience(at))


if __name__ == "__main__":
    sys.exit(tyro.cli(main))
