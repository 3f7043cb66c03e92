r"""What do the weights cost: in evaluations, in time, in memory?

    python -m benchmarks.cost [--parts rows time memory]    about five minutes on one core

Rows are counted by a forward hook where the input asks for a gradient: walkers do, data do not.
Times are medians, over blocks that alternate, of ratios of blocks side by side. The peak (Linux
only) is that of the resident memory less what was resident before there were walkers, over the
size of x; the energy is a linear tilt of a Gaussian, whose own activations are next to nothing.
"""

from __future__ import annotations

import ctypes
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
from benchmarks import RESULTS
from experiments.common import record, table
from noneq.data import digits
from noneq.random import add_noise

NOISE, LR, FAST = 0.15, 1e-4, 3e-3  # the trust region needs steps that are worth shortening
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

    def redone(self) -> int:
        """Evaluations of the walkers that the trust region has repeated."""
        return self.trust.redone if self.trust else 0


def problem(width: int = 256, side: int = 0) -> tuple[noneq.Tilted, Tensor]:
    """An MLP on a full Gaussian and the digits, or a ConvNet on a diagonal one and noise."""
    torch.manual_seed(0)
    if side:
        data, net = torch.randn(512, 1, side, side), noneq.models.ConvNet((1, side, side))
        return noneq.Tilted(noneq.Gaussian.fit(data, "diagonal"), net), data
    data = digits().train
    data = data + NOISE * torch.randn_like(data)  # no column is constant
    return noneq.Tilted(noneq.Gaussian.fit(data), noneq.MLP(64, width)), data


def batch(data: Tensor, n: int, rng: torch.Generator) -> Tensor:
    """Noisy rows."""
    x = data[torch.randint(len(data), (n,), generator=rng)]
    return add_noise(x, NOISE, rng)


def library(
    energy: noneq.Tilted, data: Tensor, how: noneq.Settings, kernel: noneq.ULA | None = None
) -> Loop:
    """`noneq.train`."""
    optimizer = torch.optim.Adam(energy.net.parameters(), lr=FAST if how.tau else LR)
    run = noneq.train(energy, data, how, optimizer=optimizer, kernel=kernel)
    loop = Loop(lambda: None)

    def iterate() -> None:
        loop.trust = next(run).state.trust

    loop.iterate = iterate
    iterate()
    return loop


def own(
    energy: noneq.Tilted, data: Tensor, n: int, kernel: noneq.kernels.Repeat, tau: float
) -> Loop:
    """The loop a researcher would write; tau = 0: no trust region."""
    rng = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(energy.net.parameters(), lr=FAST if tau else LR)
    trust = noneq.TrustRegion(tau) if tau else None
    walkers = noneq.Walkers.sample(energy.base, n, rng)
    u: Tensor | None = None

    def iterate() -> None:
        nonlocal walkers, u
        if u is None:
            walkers, u = walkers.reweight(energy, graph=True)
        loss = energy(batch(data, n, rng)).mean() - walkers.mean(u)
        optimizer.zero_grad()
        loss.backward()
        walkers = walkers.resample(0.5, rng)
        if trust is not None:
            walkers = walkers.move(kernel, energy, rng)
            walkers, u = trust.step(optimizer, energy, walkers)
        elif kernel.fresh:
            walkers, u = walkers.move(kernel, energy, rng), None
            optimizer.step()
        else:  # Algorithm 1: the move meets the new parameters, its graph serves the next loss
            optimizer.step()
            walkers, u = walkers.move(kernel, energy, rng, graph=True)

    return Loop(iterate, trust)


def bare(energy: noneq.Tilted, data: Tensor, n: int, moves: int, h: float = 0.1) -> Loop:
    """Persistent contrastive divergence with MALA in plain PyTorch: no weights, no library."""
    rng = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(energy.net.parameters(), lr=LR)
    factor, x = (
        noneq.kernels.default_kernel(energy.base, data).factor,
        energy.base.sample(n, rng),
    )

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


def rows(n: int = 64, iterations: int = 200, realistic: int = 500) -> None:
    """Count; the last line is the digits benchmark with held-out walkers and a renewal."""
    train = noneq.Settings(n, None, 8, None, renew=None, noise=NOISE)
    mala, ula = noneq.MALA(0.1), noneq.ULA(1e-3)
    cases: dict[str, tuple[int, noneq.Settings | noneq.kernels.Repeat, float]] = {
        "train, MALA, K = 8": (9, train, 0.0),
        "train, MALA, K = 8, tau = 0.1": (9, replace(train, tau=0.1), 0.0),
        "train, PCD, K = 8": (9, replace(train, weighted=False, start="data"), 0.0),
        "train, stale ULA, K = 1": (1, replace(train, moves=1), 0.0),
        "train, stale ULA, K = 8": (8, train, 0.0),
        "own loop, MALA, K = 4": (5, noneq.kernels.Repeat(mala, 4), 0.0),
        "own loop, MALA, K = 4, tau = 0.1": (5, noneq.kernels.Repeat(mala, 4), 0.1),
        "own loop, stale ULA, K = 1": (1, noneq.kernels.Repeat(ula, 1), 0.0),
    }
    lines = []
    for name, (expected, how, tau) in cases.items():
        energy, data = problem(width=32)
        if isinstance(how, noneq.Settings):
            loop = library(energy, data, how, ula if "ULA" in name else None)
        else:
            loop = own(energy, data, n, how, tau)
            loop.iterate()
        counter, before = Counter(energy.net), loop.redone()
        for _ in range(iterations):
            loop.iterate()
        redone = (loop.redone() - before) / iterations
        each = counter.rows / n / iterations - redone
        lines.append([name, f"{expected}", f"{each:.3f}", f"{redone / expected:.1%}", "none"])
    lines.append(_renewed(realistic))
    header = "loop | expected | counted | redone | renewal"
    show("rows", "Evaluations of a walker in an iteration", header, lines)


def _renewed(iterations: int) -> list[str]:
    energy, data = problem()
    settings = noneq.Settings(held_out=128, tau=0.2, batch=1024, noise=NOISE, renew=iterations)
    loop, n = library(energy, data, settings), settings.walkers + settings.held_out
    counter, known = Counter(energy.net), loop.redone()
    for _ in range(iterations - 2):  # the first was done to make the loop, the last renews
        loop.iterate()
    redone = (loop.redone() - known) * settings.walkers
    regular = (counter.rows - redone) / (iterations - 2)
    before, known = counter.rows, loop.redone()
    loop.iterate()
    renewal = counter.rows - before - regular - (loop.redone() - known) * settings.walkers
    name = f"train, digits, {settings.walkers} + {settings.held_out} held out, renewal each 500"
    shares = [f"{redone / regular / iterations:.1%}", f"{renewal / regular / iterations:.1%}"]
    return [name, f"{settings.moves + 1}", f"{regular / n:.3f}", *shares]


# -- time -----------------------------------------------------------------------------------------


def times(blocks: int = 30, length: int = 2) -> None:
    """Blocks of ``length`` iterations of every loop in turn, their order rotated."""
    lines = []
    for name, side, n, moves in (("MLP 64-256-256-1", 0, 512, 8), ("ConvNet 16 x 16", 16, 128, 4)):
        on = noneq.Settings(n, None, moves, None, renew=None, batch=n, noise=NOISE)
        off = replace(on, weighted=False)
        loops = {
            "off": library(*problem(side=side), off),
            "on": library(*problem(side=side), on),
            "off, tau": library(*problem(side=side), replace(off, tau=0.1)),
            "on, tau": library(*problem(side=side), replace(on, tau=0.1)),
            "bare": bare(*problem(side=side), n, moves),
        }
        spent = measured(loops, blocks, length)
        pairs = (("on", "off"), ("on, tau", "off, tau"), ("on", "bare"), ("on, tau", "bare"))
        ratios = [ratio(spent[a], spent[b]) for a, b in pairs]
        milliseconds = f"{1e3 * median(spent['bare']):.0f} ms"
        lines.append([f"{name}, N = {n}, K = {moves}", milliseconds, *ratios])
    header = "problem | bare PCD | on / off | on / off, tau | on / bare | on, tau / bare"
    show("time", "Time of an iteration: medians of ratios (quartiles)", header, lines)


def measured(loops: dict[str, Loop], blocks: int, length: int) -> dict[str, list[float]]:
    """Seconds of an iteration in each block of ``length`` of them, loops in turn."""
    spent: dict[str, list[float]] = {key: [] for key in loops}
    keys = list(loops)
    for block in range(-2, blocks):  # two to warm up
        for key in keys[block % len(keys) :] + keys[: block % len(keys)]:
            began = time.perf_counter()
            for _ in range(length):
                loops[key].iterate()
            if block >= 0:
                spent[key].append((time.perf_counter() - began) / length)
    return spent


def ratio(a: list[float], b: list[float]) -> str:
    """Median and quartiles of the ratios of blocks side by side."""
    found = sorted(x / y for x, y in zip(a, b, strict=True))
    low, high = found[len(found) // 4], found[-1 - len(found) // 4]
    return f"{median(found):.3f} ({low:.2f} to {high:.2f})"


# -- memory ---------------------------------------------------------------------------------------


def memory(n: int = 2**18, dim: int = 64) -> None:
    """Peaks of an iteration that does not resample and of one that does."""
    ctypes.CDLL(None).mallopt(-3, 2**20)  # M_MMAP_THRESHOLD: what is freed is given back at once
    lines = []
    for factor in (noneq.energies.Identity(), noneq.energies.Cholesky(torch.eye(dim) + 0.1)):
        mala, ula = noneq.MALA(0.1, factor), noneq.ULA(0.01, factor)
        for name, one, k in (("MALA", mala, 8), ("stale ULA", ula, 1), ("stale ULA", ula, 4)):
            tilt = nn.Sequential(nn.Linear(dim, 1), nn.Flatten(0))
            energy = noneq.Tilted(noneq.Gaussian(torch.zeros(dim), factor), tilt)
            # the first warms up
            peaks = [
                _peak(n, energy, noneq.kernels.Repeat(one, k), least) for least in (0.0, 0.0, 1.0)
            ]
            found = [f"{peak:.1f}" for peak in peaks[1:]]
            lines.append([f"{name}, K = {k}, {type(factor).__name__}", *found])
    header = "loop | without resampling | resampling"
    show("memory", "Peak memory of an iteration, in copies of the positions", header, lines)


def _peak(n: int, energy: noneq.Tilted, kernel: noneq.kernels.Repeat, ess_min: float) -> float:
    rng = torch.Generator().manual_seed(0)
    data = energy.base.sample(256, rng)
    optimizer = torch.optim.SGD(energy.net.parameters(), lr=1e-3)
    trust = noneq.TrustRegion() if kernel.fresh else None
    before = _resident("VmRSS")
    walkers, u = noneq.Walkers.sample(energy.base, n, rng), None
    for iteration in range(3):
        if iteration == 1:
            Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
        walkers, u, *_ = noneq.training.step(
            energy,
            data,
            walkers,
            u,
            kernel=kernel,
            optimizer=optimizer,
            rng=rng,
            trust=trust,
            ess_min=ess_min,
        )
    return (_resident("VmHWM") - before) / (4 * n * data[0].numel())


def _resident(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


def show(part: Part, title: str, header: str, lines: list[list[str]]) -> None:
    """Print and record."""
    columns = header.split(" | ")
    table(title, columns, lines)
    found = [dict(zip(columns, line, strict=True)) for line in lines]
    record(f"cost_{part}", found, RESULTS)


def main(parts: tuple[Part, ...] = ("rows", "time", "memory"), threads: int = 1) -> None:
    """Measure, print, record.

    Args:
        parts: which; each is recorded in a file of its own.
        threads: of torch.
    """
    torch.set_num_threads(threads)
    for part in parts:
        {"rows": rows, "time": times, "memory": memory}[part]()  # type: ignore[operator]


if __name__ == "__main__":
    tyro.cli(main)
