"""How fast is an iteration on a device, and how much memory does it take? How fast is annealing?

Each cell takes a few seconds at most. The bare loop is that of `benchmarks.host_traffic`:
persistent contrastive divergence by the same kernel and evaluations, without weights. "Busy" is
the share of an iteration in which a kernel runs on the GPU, by torch's profiler; what is left is
the host's.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

import noneq
from benchmarks.device_checks import Where
from benchmarks.device_report import Outcome
from benchmarks.host_traffic import bare, library
from noneq import Session
from noneq.energies import evaluate
from noneq.run import choose

__all__ = ["MODELS", "annealing", "bracketing", "cell"]

MOVES = 4
CELL = 2.0  # seconds
ALONE: dict[str, Any] = {"score_matching": None, "networks": 1, "early_stopping": False}


@dataclass(frozen=True)
class _Model:
    """A network of a recipe, and the shape of its rows."""

    shape: tuple[int, ...]
    changes: dict[str, Any]
    large: int  # number of walkers from which on only the processor is too slow


MODELS = {
    "MLP 64": _Model((64,), {"width": 256, "net": "mlp"}, 65536),
    "ConvNet 1x28x28": _Model((1, 28, 28), {"net": "convnet", "width": 16}, 65536),
    "ResNet 3x32x32": _Model((3, 32, 32), {"net": "resnet", "width": 32, "depth": 2}, 65536),
}
"""Models whose speed is measured, by name."""


def _rows(at: Where, shape: tuple[int, ...]) -> Tensor:
    x = torch.randn(2048, *shape, generator=at.rng(), device=at.device)
    return x + 0.5 * x.roll(1, -1)  # correlated


def _session(at: Where, name: str, n: int, **changes: Any) -> Session:
    model = MODELS[name]
    own = {**model.changes, **({"width": 8} if at.small else {})}
    rows = _rows(at, model.shape)
    kind = "table" if len(model.shape) == 1 else "image"
    fixed = {
        "base": "diagonal", "clusters": None, "leapfrog_steps": 1, "moves": MOVES,
        "walkers": n, "held_out": None, "renew": None, "batch": min(n, 4096), "noise": 0.0,
        "tau": None, "iterations": 10**6,
    }  # fmt: skip
    recipe = choose(model.shape, len(rows), kind, **{**ALONE, **fixed, **own, **changes})
    return Session(recipe, rows)


def _wait(at: Where) -> None:
    if at.device.type == "cuda":
        torch.cuda.synchronize(at.device)


def _times(at: Where, work: Callable[[], object]) -> list[float]:
    """Seconds of each repetition, after two that warm up, until some seconds are over."""
    limit, least = (0.2, 1) if at.small else (CELL, 3)
    found: list[float] = []
    for k in range(200):
        _wait(at)
        start = time.perf_counter()
        work()
        _wait(at)
        found.append(time.perf_counter() - start)
        if k >= 2 + least and sum(found[2:]) > limit:
            break
        if sum(found) > 4 * limit and k > 1:
            break
    return found[min(2, len(found) - 1) :]


def _busy(at: Where, work: Callable[[], object], seconds: float) -> float | None:
    """The share of the time in which a kernel runs on the GPU; None if it is unknown."""
    if at.device.type != "cuda":
        return None
    from torch.profiler import ProfilerActivity, profile

    try:
        with profile(activities=[ProfilerActivity.CUDA]) as seen:
            for _ in range(2):
                work()
            _wait(at)
        total = sum(event.self_device_time_total for event in seen.key_averages())
    except torch.OutOfMemoryError:
        raise
    except RuntimeError:  # a machine without the profiler's library
        return None
    return float(total / 2e6 / seconds)


def _measured(at: Where, iterations: Iterator[object]) -> dict[str, Any]:
    """Time and memory of the iterations of a loop, or the error it ends with."""
    cuda = at.device.type == "cuda"
    if cuda:
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(at.device)
    before = torch.cuda.memory_allocated(at.device) if cuda else 0
    try:
        seconds = median(_times(at, lambda: next(iterations)))
        peak = (torch.cuda.max_memory_allocated(at.device) - before) / 2**30 if cuda else None
        busy = _busy(at, lambda: next(iterations), seconds)
    except torch.OutOfMemoryError as error:
        return {"error": f"out of memory: {str(error).splitlines()[0][:200]}"}
    return {"ms": 1e3 * seconds, "GiB": peak, "busy": busy}


def cell(at: Where, name: str, n: int) -> Outcome:
    """Measure the iterations of a model with n walkers: bare, weighted, and with trust region.

    Arguments:
        at: where.
        name: of one of `MODELS`.
        n: number of walkers.

    Returns:
        The outcome: milliseconds, their ratio to the bare loop, memory and the busy share.
    """
    loops: dict[str, Callable[[Session], Iterator[object]]] = {
        "bare": lambda s: bare(s, torch.optim.Adam(s.energy.parameters()), n),
        "weights": library,
        "weights, tau": library,
    }
    numbers: dict[str, Any] = {}
    for loop, begin in loops.items():
        session = _session(at, name, n, tau=0.1 if "tau" in loop else None)
        iterations = begin(session)
        numbers[loop] = _measured(at, iterations)
        del session, iterations
    return Outcome(None, "; ".join(_shown(loop, numbers) for loop in loops), numbers)


def _shown(loop: str, numbers: dict[str, Any]) -> str:
    own, unit = numbers[loop], numbers["bare"].get("ms")
    if "error" in own:
        return f"{loop}: {own['error'][:60]}"
    parts = [f"{loop}: {own['ms']:.2f} ms ({1e3 / own['ms']:.1f}/s)"]
    parts += [f"x{own['ms'] / unit:.2f}"] if unit and loop != "bare" else []
    parts += [f"{own['GiB']:.2f} GiB"] if own["GiB"] is not None else []
    parts += [f"busy {own['busy']:.0%}"] if own["busy"] is not None else []
    return " ".join(parts)


def _energy(at: Where, dim: int = 64) -> noneq.Tilted:
    rows = _rows(at, (dim,))
    torch.manual_seed(0)
    net = noneq.MLP((dim,), 128).to(at.device)
    nn.init.normal_(list(net.parameters())[-2], std=0.05)
    return noneq.Tilted(noneq.Gaussian.fit(rows), net)


def annealing(at: Where, n: int, steps: int = 20) -> Outcome:
    """Measure the time of annealing n walkers by MALA, over that of bare evaluations.

    Arguments:
        at: where.
        n: number of walkers.
        steps: number of temperatures.

    Returns:
        The outcome: microseconds for a walker and a temperature.
    """
    energy, rng = _energy(at), at.rng()
    path = noneq.energies.GeometricPath(energy.base, energy)
    schedule = noneq.Schedule.uniform(steps, noneq.MALA(0.25, energy.base.factor))
    start = noneq.Walkers.sample(energy.base, n, rng)

    def anneal() -> object:
        return noneq.anneal(schedule.forward(path), start, rng).log_z

    def evaluations() -> None:
        for _ in range(steps):
            evaluate(energy, start.x)

    with_weights, plain = (median(_times(at, f)) for f in (anneal, evaluations))
    each = [1e6 * t / n / steps for t in (with_weights, plain)]
    text = f"{each[0]:.4f} us a walker and temperature, bare evaluations {each[1]:.4f}"
    milliseconds = 1e3 * with_weights / steps
    return Outcome(None, f"{text}, x{each[0] / each[1]:.2f}; {milliseconds:.2f} ms a temperature")


def bracketing(at: Where) -> Outcome:
    """Measure the seconds of a whole bracket of log Z, 1,024 walkers and 1,000 temperatures.

    Arguments:
        at: where.

    Returns:
        The outcome.
    """
    energy = _energy(at)
    rows = energy.base.sample(1000, at.rng())
    n, steps = at.size(1024, 64), at.size(1000, 20)
    _wait(at)
    start = time.perf_counter()
    z = noneq.log_z(energy, data=rows, n=n, temperatures=steps, rng=at.rng())
    seconds = time.perf_counter() - start
    return Outcome(None, f"{seconds:.1f} s; {z}", {"seconds": seconds})
