"""How often does the host wait for a GPU in an iteration, and in which lines of the library?

Torch's debug mode (``torch.cuda.set_sync_debug_mode``) warns of every operation that waits; the
warnings are counted and named by the innermost line of the library that is on the stack then. The
number that `benchmarks.host_traffic` counts on a processor, by the names of operations, stands
beside it.
"""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from types import FrameType
from typing import Any

import torch

import noneq
from benchmarks.device_checks import Where, tilted, two
from benchmarks.device_report import Outcome
from benchmarks.host_traffic import CASES, bare, library, per_iteration

__all__ = ["annealing_waits", "place", "synchronisations", "waits"]

PACKAGE, HERE = (str(Path(p).parent) for p in (noneq.__file__, __file__))
OPTIMISERS = str(Path(torch.optim.__file__).parent)
MESSAGE = "synchronizing CUDA operation"


def place() -> str:
    """Return the innermost line of the library on the stack, or that of a benchmark.

    Returns:
        A text such as "walkers/weights.py:197 Weights.summary"; that of the optimiser's step is
        followed by "(torch.optim)".
    """
    frame: FrameType | None = sys._getframe(1)
    inside = ""
    while frame is not None:
        path, name = frame.f_code.co_filename, frame.f_code.co_qualname
        if path.startswith(OPTIMISERS):
            inside = " (torch.optim)"
        if path.startswith(PACKAGE) or (path.startswith(HERE) and path != __file__):
            root = PACKAGE if path.startswith(PACKAGE) else HERE
            return f"{Path(path).relative_to(root)}:{frame.f_lineno} {name}{inside}"
        frame = frame.f_back
    return "outside"


@contextmanager
def synchronisations() -> Iterator[Counter[str]]:
    """Count the operations that wait for a GPU, by the line that they come from.

    Returns:
        A context, whose value is filled while it is open; without a GPU it stays empty.
    """
    found: Counter[str] = Counter()

    def show(message: Warning | str, *_: object, **__: object) -> None:
        if MESSAGE in str(message):
            found[place()] += 1

    if not torch.cuda.is_available():
        yield found
        return
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = show
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield found
        finally:
            torch.cuda.set_sync_debug_mode(before)


def waits(at: Where, name: str) -> Outcome:
    """Count the waits of the library and of the bare loop, as torch says and as they are counted.

    Arguments:
        at: where.
        name: of a case of `benchmarks.host_traffic`.

    Returns:
        The outcome, which says the lines, too.
    """
    own: dict[str, Any] = {}
    if at.small:
        own = {"walkers": 64, "batch": 64, "width": 16, "clusters": None}
        if "rbm" in name:
            own = {"walkers": 64, "batch": 64, "hidden": 8}
    if "no held-out" not in name and at.small:
        own["held_out"] = 16
    session, plain = (CASES[name](device=str(at.device), **own) for _ in range(2))
    optimizer = type(plain.optimizer)(plain.optimizer.param_groups)
    loops = {
        "library": (library(session), session.optimizer),
        "bare": (bare(plain, optimizer, plain.recipe.train.walkers), optimizer),
    }
    numbers: dict[str, Any] = {}
    for loop, (iterations, its) in loops.items():
        each, lines = _of_iterations(iterations)
        parts = per_iteration(iterations, its, skip=1, n=3)
        numbers[loop] = {
            "synchronisations": each,
            "lines": {line: count / 10 for line, count in lines.most_common()},
            "counted waits": parts["rest"].waits,
            "operations": parts["rest"].operations,
        }
    ours, theirs = numbers["library"], numbers["bare"]
    text = (
        f"an iteration: {ours['synchronisations']:g} (bare {theirs['synchronisations']:g}), "
        f"counted {ours['counted waits']} ({theirs['counted waits']}), "
        f"operations {ours['operations']} ({theirs['operations']}); {_shown(ours['lines'])}"
    )
    return Outcome(None, text, numbers)


def annealing_waits(at: Where, steps: int = 20) -> Outcome:
    """Count the waits of one temperature of annealing by MALA, and of one of a pilot run.

    Arguments:
        at: where.
        steps: number of temperatures.

    Returns:
        The outcome, which says the lines, too.
    """
    energy, rng = tilted(two(at).sample(200, at.rng(2))), at.rng()
    path = noneq.energies.GeometricPath(energy.base, energy)
    schedule = noneq.Schedule.uniform(steps, noneq.MALA(0.25))
    start = noneq.Walkers.sample(energy.base, 256, rng)
    noneq.anneal(schedule.forward(path), start, rng)
    with synchronisations() as found:
        noneq.anneal(schedule.forward(path), start, rng)
    with synchronisations() as others:
        piloted = noneq.pilot(path, noneq.MALA(0.25), rng, n=64)
    lines = {line: count / steps for line, count in found.most_common()}
    more = {line: count / len(piloted) for line, count in others.most_common()}
    numbers = {"annealing": lines, "pilot": more}
    text = f"a temperature: {sum(lines.values()):.2f} {_shown(lines)}; "
    return Outcome(
        None, text + f"of the pilot run: {sum(more.values()):.2f} {_shown(more)}", numbers
    )


def _shown(lines: dict[str, float]) -> str:
    return ", ".join(f"{count:.2f} {line}" for line, count in list(lines.items())[:6])


def _of_iterations(iterations: Iterator[object], n: int = 10) -> tuple[float, Counter[str]]:
    """Count n iterations after three: the median of one, and the lines of all."""
    for _ in range(3):
        next(iterations)
    lines: Counter[str] = Counter()
    each = []
    for _ in range(n):
        with synchronisations() as found:
            next(iterations)
        each.append(found.total())
        lines += found
    return median(each), lines
