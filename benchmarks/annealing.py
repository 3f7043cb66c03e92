r"""What does annealing cost over the evaluations that it needs?

    python -m benchmarks.annealing    about two minutes on one core

Both sides of log Z are annealed (`noneq.anneal`, MALA preconditioned by the base's factor,
float32) along a schedule fixed beforehand, blocks of bare evaluations (`noneq.energies.evaluate`
of the same energy for as many walkers: forward and gradient, nothing else) between them. A block's
ratio is its processor time over that of the bare block beside it.

"By hand" is the floor: the same chain in plain PyTorch, without resampling, walls, faults, marks
of freshness or a choice of kernel. "By hand, whitened" is that loop for ``z = L^-1 (x - m)``,
where the base is a standard normal and needs no product. The parts are measured by themselves
afterwards, each without the others that it calls; the clock's own cost is in them.
"""

from __future__ import annotations

import ctypes
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import Any
from unittest.mock import patch

import torch
import tyro
from torch import Tensor, nn

import noneq
from benchmarks import RESULTS
from benchmarks.cost import problem
from experiments.common import record, table

STEP = 0.25  # of the kernel: about 0.7 of the proposals are accepted
PARTS: dict[str, tuple[str, ...]] = {
    "network": ("noneq.models.networks.{net}.forward", "torch.autograd.grad"),
    "base": ("noneq.energies.Gaussian.evaluate",),
    "noise": ("torch.Tensor.normal_",),
    "products with the factor": (
        "noneq.energies.covariance.{factor}.mul",
        "noneq.energies.covariance.{factor}.t_mul",
    ),
    "proposal, increment": ("noneq.kernels.langevin._propose",),
    "acceptance, selection": ("noneq.kernels.MALA.__call__",),
    "path": ("noneq.energies.paths.PathEnergy.evaluate", "noneq.energies.GeometricPath.ends"),
    "evaluate": ("noneq.energies.evaluate", "noneq.kernels.langevin.evaluate"),
    "reweight": ("noneq.walkers.Walkers.reweight", "noneq.walkers.walkers.evaluate"),
    "resample": ("noneq.walkers.Walkers.resample",),
    "move": ("noneq.walkers.Walkers.move",),
    "fingerprints": ("noneq.walkers.walkers.fingerprint",),
}


class Sides:
    """A problem and its annealing, both ways, and the bare evaluations."""

    def __init__(self, side: int, walkers: int, temperatures: int) -> None:
        self.rng = torch.Generator().manual_seed(0)
        self.energy, _ = problem(side=side)
        last = list(self.energy.net.modules())[-1]
        assert isinstance(last, nn.Linear)
        nn.init.normal_(last.weight, std=0.05)  # or the gradient would be zero
        self.path = noneq.energies.GeometricPath(self.energy.base, self.energy)
        kernel = noneq.MALA(STEP, self.energy.base.factor)
        self.schedule = noneq.Schedule.uniform(temperatures, kernel)
        self.start = noneq.Walkers.sample(self.energy.base, walkers, self.rng)
        self.end = self.forward()

    def forward(self) -> noneq.Walkers:
        """From the base."""
        return noneq.anneal(self.schedule.forward(self.path), self.start, self.rng)

    def backward(self) -> noneq.Walkers:
        """From where the forward walkers arrived."""
        start = noneq.Walkers.at(self.end.x, self.path.at(1.0))
        return noneq.anneal(self.schedule.backward(self.path), start, self.rng)

    @torch.no_grad()
    def by_hand(self) -> Tensor:
        """The forward side without the library: log-weights."""
        factor, h = self.energy.base.factor, STEP
        x, log_w = self.start.x.clone(), torch.zeros(len(self.start), dtype=torch.float64)
        u, g, f, df = self._look(x)
        for last, beta in zip(self.schedule.betas, self.schedule.betas[1:], strict=False):
            log_w = log_w - (beta - last) * f.double()
            if not bool((noneq.walkers.reductions.ess(log_w.view(8, -1)) > 0).all()):
                raise FloatingPointError("an energy is not finite")
            a = factor.t_mul(torch.add(g, df, alpha=beta))
            e = torch.empty_like(x).normal_(0, math.sqrt(2 * h), generator=self.rng)
            y = x + factor.mul(e.sub_(a, alpha=h))
            v, k, w, dw = self._look(y)
            b = factor.t_mul(torch.add(k, dw, alpha=beta))
            # d.(g + g')/2 + h/4 (g.Mg - g'.Mg') with d = L e
            work = _dot(a + b, e.mul_(2).add_(a, alpha=h).sub_(b, alpha=h)) / 4
            ratio = u - v + beta * (f - w) + work
            yes = torch.rand(len(x), generator=self.rng).log_() < ratio
            rows = (~yes).nonzero()[:, 0]
            for new, old in ((y, x), (k, g), (dw, df)):
                new.index_copy_(0, rows, old.index_select(0, rows))
            x, g, df = y, k, dw
            u, f = torch.where(yes, v, u), torch.where(yes, w, f)
        return log_w

    def _look(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Base energy, its gradient, the network's value and its gradient."""
        leaf = x.detach().requires_grad_()
        with torch.enable_grad():
            f = self.energy.net(leaf)
            (df,) = torch.autograd.grad(f.sum(), leaf)
        base = self.energy.base
        z = base.factor.solve(x - base.mean)
        return _dot(z, z) / 2, base.factor.t_solve(z), f.detach(), df

    def bare(self) -> None:
        """Evaluations alone."""
        for _ in range(len(self.schedule)):
            noneq.energies.evaluate(self.energy, self.end.x)


class Whitened(Sides):
    """The by-hand loop for z."""

    def __init__(self, side: int, walkers: int, temperatures: int) -> None:
        super().__init__(side, walkers, temperatures)
        base, net = self.energy.base, self.energy.net
        self.mean, self.root, self.net = base.mean, base.factor, net
        self.energy = noneq.Tilted(
            noneq.Gaussian(torch.zeros_like(base.mean), noneq.energies.Identity()), net
        )
        self.start = noneq.Walkers.sample(self.energy.base, walkers, self.rng)

    def _look(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        leaf = self.root.mul(x).add_(self.mean).requires_grad_()
        with torch.enable_grad():
            f = self.net(leaf)
            (df,) = torch.autograd.grad(f.sum(), leaf)
        return _dot(x, x) / 2, x, f.detach(), self.root.t_mul(df)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).flatten(1).sum(1)


def seconds(run: Callable[[], object]) -> float:
    """Processor time of one call: with one thread it does not depend on who else is computing."""
    began = time.process_time()
    run()
    return time.process_time() - began


@contextmanager
def clocks(spent: dict[str, float], **names: str) -> Iterator[None]:
    """Meanwhile every function of `PARTS` adds its own time to its part's."""
    inside = [0.0]  # what the functions called by the present one took, one entry a level

    def timed(part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            inside.append(0.0)
            began = time.process_time()
            out = function(*args, **kwargs)
            took = time.process_time() - began
            spent[part] += took - inside.pop()
            inside[-1] += took
            return out

        return run

    with ExitStack() as stack:
        for part, places in PARTS.items():
            for place in places:
                where, _, name = place.format(**names).rpartition(".")
                owner = _find(where)
                stack.enter_context(patch.object(owner, name, timed(part, getattr(owner, name))))
        yield


def _find(place: str) -> Any:
    first, *rest = place.split(".")
    found: Any = {"noneq": noneq, "torch": torch}[first]
    for name in rest:
        found = getattr(found, name)
    return found


def shares(sides: Sides, repeats: int) -> dict[str, float]:
    """Microseconds that each part of a forward temperature takes."""
    spent: dict[str, float] = defaultdict(float)
    names = {
        "net": type(sides.energy.net).__name__,
        "factor": type(sides.energy.base.factor).__name__,
    }
    with clocks(spent, **names):
        for _ in range(repeats):
            sides.forward()
    return {key: 1e6 * spent[key] / repeats / len(sides.schedule) for key in PARTS}


def main(walkers: int = 1024, temperatures: int = 100, blocks: int = 15, threads: int = 1) -> None:
    """Measure, print, record.

    Args:
        walkers: of a side.
        temperatures: of a block; the cost is proportional to them.
        blocks: of each kind.
        threads: of torch.
    """
    torch.set_num_threads(threads)
    for option, value in ((-1, 2**30), (-3, 2**25)):  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
        # or a block's time is its luck with the heap: what is freed at its end is given back
        ctypes.CDLL(None).mallopt(option, value)
    found, lines, parts = {}, [], {}
    for name, side, steps, least in (
        ("MLP 64-256-256-1", 0, temperatures, blocks),
        ("ConvNet (1, 8, 8)", 8, max(2, temperatures // 10), max(1, blocks // 5)),
    ):
        sides = Sides(side, walkers, steps)
        runs = {
            "forward": sides.forward,
            "backward": sides.backward,
            "by hand": sides.by_hand,
            "by hand, whitened": Whitened(side, walkers, steps).by_hand,
        }
        both: dict[str, list[float]] = {key: [] for key in ("bare", *runs)}
        for block in range(-1, least):  # one to warm up
            for key, run in runs.items():
                bare = seconds(sides.bare)
                ratio = seconds(run) / bare
                if block >= 0:
                    both["bare"].append(1e3 * bare / steps)
                    both[key].append(ratio)
        parts[name] = shares(sides, max(1, least // 5))
        found[name] = {key: median(values) for key, values in both.items()}
        ratios = [_quartiles(both[key]) for key in runs]
        lines.append([name, f"{found[name]['bare']:.2f} ms", *ratios])
    table(
        f"A temperature of {walkers} walkers over a bare evaluation: medians (quartiles)",
        ["energy", "bare", *runs],
        lines,
    )
    table(
        "Parts of a forward temperature, microseconds",
        ["part", *parts],
        [[key, *(f"{part[key]:.0f}" for part in parts.values())] for key in PARTS],
    )
    record("annealing", {"walkers": walkers, "ratios": found, "parts": parts}, RESULTS)


def _quartiles(ratios: list[float]) -> str:
    found = sorted(ratios)
    low, high = found[len(found) // 4], found[-1 - len(found) // 4]
    return f"{median(found):.3f} ({low:.2f} to {high:.2f})"


if __name__ == "__main__":
    tyro.cli(main)
