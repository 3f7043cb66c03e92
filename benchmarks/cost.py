r"""What do the weights cost: in evaluations, in time, in memory?

    python -m benchmarks.cost                  all three: about five minutes on one core
    python -m benchmarks.cost --parts rows     evaluations per walker, counted by a forward hook
    python -m benchmarks.cost --parts time     weighted over unweighted, alternating in one process
    python -m benchmarks.cost --parts memory   peak of an iteration in copies of x (Linux only)

Rows are counted where the network is called with an input that asks for a gradient: walkers do,
data do not. Times are medians, over blocks that alternate, of ratios of blocks side by side. The
peak is that of the resident memory less what was resident before there were walkers, over the size
of x; the energy is a linear tilt of a Gaussian, whose own activations are next to nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Literal

import torch
import tyro
from torch import Tensor, nn

import noneq
from benchmarks.common import record, table
from noneq.data import digits

NOISE, LR = 0.15, 1e-4
Part = Literal["rows", "time", "memory"]


class Counter:
    """Rows of walkers that a network has seen."""

    def __init__(self, net: nn.Module) -> None:
        self.rows = 0
        net.register_forward_pre_hook(self._see)

    def _see(self, _: nn.Module, args: tuple[Tensor, ...]) -> None:
        self.rows += len(args[0]) if args[0].requires_grad else 0


@dataclass
class Loop:
    """A way to train: ``iterate()`` is one iteration."""

    iterate: Callable[[], object]
    trust: noneq.TrustRegion | None = None


def problem(width: int = 256) -> tuple[noneq.Tilted, Tensor]:
    """A network on a full Gaussian, and the digits."""
    torch.manual_seed(0)
    data = digits().train
    return noneq.Tilted(noneq.Gaussian.fit(data, noise=NOISE), noneq.MLP(64, width)), data


def images(side: int = 16) -> tuple[noneq.Tilted, Tensor]:
    """A convolutional network on a diagonal Gaussian, and smooth random images."""
    torch.manual_seed(0)
    coarse = torch.randn(512, 1, side // 4, side // 4)
    data = nn.functional.interpolate(coarse, scale_factor=4, mode="bilinear")
    data = data + NOISE * torch.randn(data.shape)
    base = noneq.Gaussian.fit(data, "diagonal")
    return noneq.Tilted(base, noneq.ConvNet((1, side, side))), data


def batch(data: Tensor, n: int, rng: torch.Generator) -> Tensor:
    """Noisy rows."""
    x = data[torch.randint(len(data), (n,), generator=rng)]
    return x + NOISE * torch.randn(x.shape, generator=rng)


def library(
    energy: noneq.Tilted, data: Tensor, settings: noneq.Settings, kernel: noneq.ULA | None = None
) -> Loop:
    """`noneq.train`."""
    optimizer = torch.optim.Adam(energy.net.parameters(), lr=LR)
    run = noneq.train(energy, data, settings, optimizer=optimizer, kernel=kernel)
    first = next(run)
    return Loop(lambda: next(run), first.state.trust)


def own(
    energy: noneq.Tilted, data: Tensor, n: int, kernel: noneq.Repeat, tau: float | None
) -> Loop:
    """The loop a researcher would write."""
    rng = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(energy.net.parameters(), lr=LR)
    trust = None if tau is None else noneq.TrustRegion(tau)
    walkers = noneq.Walkers.sample(energy.base, n, rng)

    def iterate() -> None:
        nonlocal walkers
        walkers, u = walkers.reweight(energy, graph=True)
        loss = energy(batch(data, n, rng)).mean() - walkers.mean(u)
        optimizer.zero_grad()
        loss.backward()
        walkers = walkers.resample(0.5, rng)
        if trust is not None:
            walkers = trust.step(optimizer, energy, walkers.move(kernel, energy, rng))
        elif kernel.fresh:
            walkers = walkers.move(kernel, energy, rng)
            optimizer.step()
        else:  # Algorithm 1: the move meets the new parameters, its graph serves the next loss
            optimizer.step()
            walkers, _ = walkers.move(kernel, energy, rng, graph=True)

    return Loop(iterate, trust)


def bare(energy: noneq.Tilted, data: Tensor, n: int, moves: int, h: float) -> Loop:
    """Persistent contrastive divergence with MALA in plain PyTorch: no weights, no library."""
    rng = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(energy.net.parameters(), lr=LR)
    factor, x = energy.base.factor, energy.base.sample(n, rng)

    def look(at: Tensor, graph: bool = False) -> tuple[Tensor, Tensor]:
        leaf = at.detach().requires_grad_()
        u = energy(leaf)
        (g,) = torch.autograd.grad(u.sum(), leaf, retain_graph=graph)
        return u if graph else u.detach(), g

    def dot(a: Tensor, b: Tensor) -> Tensor:
        return (a * b).flatten(1).sum(1)

    def iterate() -> None:
        nonlocal x
        u, g = look(x, graph=True)
        loss = energy(batch(data, n, rng)).mean() - u.mean()
        optimizer.zero_grad()
        loss.backward()
        u = u.detach()
        for _ in range(moves):
            a = factor.t_mul(g)
            d = factor.mul(math.sqrt(2 * h) * torch.randn(x.shape, generator=rng) - h * a)
            v, k = look(x + d)
            b = factor.t_mul(k)
            ratio = u - v + dot(d, g + k) / 2 + h / 4 * (dot(a, a) - dot(b, b))
            yes = torch.rand(n, generator=rng).log() < ratio
            wide = yes.view(-1, *[1] * (x.dim() - 1))
            x, u, g = torch.where(wide, x + d, x), torch.where(yes, v, u), torch.where(wide, k, g)
        optimizer.step()

    return Loop(iterate)


# -- rows -----------------------------------------------------------------------------------------


def rows(n: int = 64, iterations: int = 200, realistic: int = 500) -> list[list[str]]:
    """Count; the last line is the digits benchmark with held-out walkers and a renewal."""
    mala, plain = noneq.MALA(0.1), noneq.Settings(n, 0, 8, None, renew=0, noise=NOISE)
    alone = replace(plain, moves=1)
    ula = noneq.ULA(1e-3)
    cases: dict[str, tuple[int, Callable[[noneq.Tilted, Tensor], Loop]]] = {
        "train, MALA, K = 8": (9, lambda e, x: library(e, x, plain)),
        "train, MALA, K = 8, tau = 0.1": (9, lambda e, x: library(e, x, replace(plain, tau=0.1))),
        "train, PCD (weights off), K = 8": (
            9,
            lambda e, x: library(e, x, replace(plain, weighted=False, start="data")),
        ),
        "train, stale ULA, K = 1": (1, lambda e, x: library(e, x, alone, ula)),
        "train, stale ULA, K = 8": (8, lambda e, x: library(e, x, plain, ula)),
        "own loop, MALA, K = 4": (5, lambda e, x: own(e, x, n, noneq.Repeat(mala, 4), None)),
        "own loop, MALA, K = 4, tau = 0.1": (
            5,
            lambda e, x: own(e, x, n, noneq.Repeat(mala, 4), 0.1),
        ),
        "own loop, stale ULA, K = 1": (1, lambda e, x: own(e, x, n, noneq.Repeat(ula, 1), None)),
    }
    lines = []
    for name, (expected, make) in cases.items():
        energy, data = problem(width=32)
        loop, counter = make(energy, data), Counter(energy.net)
        before = loop.trust.redone if loop.trust else 0
        for _ in range(iterations):
            loop.iterate()
        redone = (loop.trust.redone - before) / iterations if loop.trust else 0.0
        each = counter.rows / n / iterations
        lines.append(
            [name, str(expected), f"{each - redone:.3f}", f"{redone / expected:.1%}", "none"]
        )
    return [*lines, _renewed(realistic)]


def _renewed(iterations: int) -> list[str]:
    energy, data = problem()
    settings = noneq.Settings(held_out=128, tau=0.2, batch=1024, noise=NOISE, renew=iterations)
    loop, counter = library(energy, data, settings), Counter(energy.net)
    for _ in range(iterations - 2):  # the first was done to make the loop, the last renews
        loop.iterate()
    assert loop.trust is not None
    n, redone = settings.walkers + settings.held_out, loop.trust.redone * settings.walkers
    regular = (counter.rows - redone) / (iterations - 2)
    before, known = counter.rows, loop.trust.redone
    loop.iterate()
    renewal = counter.rows - before - regular - (loop.trust.redone - known) * settings.walkers
    total = regular * iterations
    return [
        f"train, digits: 512 + 128 held out, one renewal in {iterations}",
        "9",
        f"{regular / n:.3f}",
        f"{redone / total:.1%}",
        f"{renewal / total:.1%}",
    ]


# -- time -----------------------------------------------------------------------------------------


def times(blocks: int = 30, length: int = 2) -> list[list[str]]:
    """Blocks of ``length`` iterations of every loop in turn, their order rotated."""
    lines = []
    for name, make, n, moves in (
        ("MLP 64-256-256, full base", problem, 512, 8),
        ("ConvNet 1 x 16 x 16", images, 128, 4),
    ):
        on = noneq.Settings(n, 0, moves, None, renew=0, noise=NOISE)
        off = replace(on, weighted=False)
        loops = {
            "off": library(*make(), off),
            "on": library(*make(), on),
            "on, tau = 0.1": library(*make(), replace(on, tau=0.1)),
            "off, tau = 0.1": library(*make(), replace(off, tau=0.1)),
            "bare": bare(*make(), n, moves, 0.1),
        }
        spent: dict[str, list[float]] = {key: [] for key in loops}
        for block in range(-2, blocks):  # two to warm up
            keys = list(loops)
            for key in keys[block % len(keys) :] + keys[: block % len(keys)]:
                began = time.perf_counter()
                for _ in range(length):
                    loops[key].iterate()
                if block >= 0:
                    spent[key].append((time.perf_counter() - began) / length)

        def ratio(a: str, b: str, spent: dict[str, list[float]] = spent) -> str:
            found = sorted(x / y for x, y in zip(spent[a], spent[b], strict=True))
            low, high = found[len(found) // 4], found[-1 - len(found) // 4]
            return f"{median(found):.3f} ({low:.2f} to {high:.2f})"

        lines.append(
            [
                f"{name}, N = {n}, K = {moves}",
                f"{1e3 * median(spent['bare']):.0f} ms",
                ratio("on", "off"),
                ratio("on, tau = 0.1", "off, tau = 0.1"),
                ratio("on", "bare"),
                ratio("on, tau = 0.1", "bare"),
            ]
        )
    return lines


# -- memory ---------------------------------------------------------------------------------------


class Linear(nn.Module):
    """``f(x) = w . x``: nothing is kept but x itself."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Scalars (B,)."""
        return x @ self.weight


def memory(n: int = 2**18, dim: int = 64) -> list[list[str]]:
    """Peak of two iterations; every second resamples."""
    lines = []
    for factor in (noneq.Identity(), noneq.Cholesky(torch.eye(dim) + 0.1)):
        mala, ula = noneq.MALA(0.1, factor), noneq.ULA(0.01, factor)
        for kernel, name in (
            (noneq.Repeat(mala, 8), "MALA, K = 8"),
            (noneq.Repeat(ula, 1), "stale ULA, K = 1"),
            (noneq.Repeat(ula, 4), "stale ULA, K = 4"),
        ):
            peaks = [f"{_peak(n, dim, kernel, ess_min):.1f}" for ess_min in (0.0, 0.0, 1.0)]
            lines.append([f"{name}, {type(factor).__name__}", *peaks[1:]])  # the first warms up
    return lines


def _peak(n: int, dim: int, kernel: noneq.Repeat, ess_min: float) -> float:
    rng = torch.Generator().manual_seed(0)
    base = noneq.Gaussian(torch.zeros(dim), kernel.kernel.factor)
    energy, data = noneq.Tilted(base, Linear(dim)), base.sample(256, rng)
    optimizer = torch.optim.SGD(energy.net.parameters(), lr=1e-3)
    before = _resident("VmRSS")
    walkers = noneq.Walkers.sample(base, n, rng)
    for iteration in range(3):
        if iteration == 1:
            Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
        walkers, _, _ = noneq.step(
            energy, data, walkers, kernel=kernel, optimizer=optimizer, rng=rng, ess_min=ess_min
        )
    return (_resident("VmHWM") - before) / (4 * n * dim)


def _resident(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


SHOWN: dict[Part, tuple[Callable[[], list[list[str]]], str, list[str]]] = {
    "rows": (
        rows,
        "Evaluations of a walker in an iteration",
        ["loop", "expected", "counted", "redone", "renewal"],
    ),
    "time": (
        times,
        "Time of an iteration: medians of ratios (quartiles)",
        ["problem", "bare PCD", "on / off", "on / off, tau", "on / bare", "on, tau / bare"],
    ),
    "memory": (
        memory,
        "Peak memory of an iteration, in copies of the positions",
        ["loop", "without resampling", "resampling"],
    ),
}


def main(parts: tuple[Part, ...] = ("rows", "time", "memory"), threads: int = 1) -> None:
    """Measure, print, record.

    Args:
        parts: which; recorded each in a file of its own.
        threads: of torch.
    """
    torch.set_num_threads(threads)
    for part in parts:
        measure, title, columns = SHOWN[part]
        lines = measure()
        table(title, columns, lines)
        record(f"cost_{part}", [dict(zip(columns, line, strict=True)) for line in lines])


if __name__ == "__main__":
    tyro.cli(main)
