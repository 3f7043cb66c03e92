r"""What does a weighted Langevin step cost, and what walkers that are moved in turns?

    python -m benchmarks.langevin        about four minutes on one core

Algorithm 1 of arXiv 2305.19414, one Langevin move of N walkers and one step of Adam an iteration:

    weighted         `noneq.train` with `noneq.ULA`: energy and gradient at the new place under the
                     new parameters serve the weight, the next move and the next loss
    off              the same without weights
    plain            a loop in plain PyTorch without weights: persistent contrastive divergence
    three gradients  the same weights as their formula reads: a gradient for the move, one for the
                     work from the old place, one for the work from the new one, and an energy for
                     the loss
    move alone       no loss, no optimiser: what is said of a move and its weight

With N = 4,096 of which 256 are moved, weighted and evaluated in an iteration (``active``), beside
N = 256. Times are medians, over blocks that alternate, of ratios of blocks side by side.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import median

import torch
import tyro
from torch import Tensor

import noneq
from benchmarks import RESULTS
from benchmarks.cost import LR, NOISE, Loop, batch, library, measured, problem, ratio
from experiments.common import record, table

H = 1e-3


def look(energy: noneq.Tilted, at: Tensor, graph: bool = False) -> tuple[Tensor, Tensor]:
    """Energies and gradients, by automatic differentiation."""
    leaf = at.detach().requires_grad_()
    u = energy(leaf)
    return u, torch.autograd.grad(u.sum(), leaf, retain_graph=graph)[0]


def noised(x: Tensor, g: Tensor, rng: torch.Generator) -> Tensor:
    """A Langevin move along the gradient g."""
    return x - H * g + math.sqrt(2 * H) * torch.randn(x.shape, generator=rng)


def descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """One optimiser step."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def plain(energy: noneq.Tilted, data: Tensor, n: int) -> Loop:
    """Persistent contrastive divergence by Langevin moves."""
    rng = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(energy.net.parameters(), lr=LR)
    x = energy.base.sample(n, rng)

    def iterate() -> None:
        nonlocal x
        u, g = look(energy, x, graph=True)
        descend(optimizer, energy(batch(data, n, rng)).mean() - u.mean())
        x = noised(x, g, rng)

    return Loop(iterate)


def three_gradients(energy: noneq.Tilted, data: Tensor, n: int) -> Loop:
    """The weights ``log w + a(x, y) - a'(y, x)``, a of the old parameters and a' of the new."""
    rng = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(energy.net.parameters(), lr=LR)
    x, log_w = energy.base.sample(n, rng), torch.zeros(n)

    def iterate() -> None:
        nonlocal x, log_w
        loss = energy(batch(data, n, rng)).mean() - (log_w.softmax(0) * energy(x)).sum()
        y = noised(x, look(energy, x)[1], rng)
        log_w = log_w + action(energy, x, y)
        descend(optimizer, loss)
        log_w, x = log_w - action(energy, y, x), y

    return Loop(iterate)


def action(energy: noneq.Tilted, x: Tensor, y: Tensor) -> Tensor:
    """``a(x, y) = U(x) + (y - x) . g(x) / 2 + h |g(x)|^2 / 4``."""
    u, g = look(energy, x)
    square = (H / 4) * g.flatten(1).square().sum(1)
    return u.detach() + ((y - x) * g).flatten(1).sum(1) / 2 + square


# -- the move with its weight alone, no loss ------------------------------------------------------


def move_alone(energy: noneq.Tilted, n: int) -> Loop:
    """The weighted move of this library: one evaluation, kept for the next."""
    rng = torch.Generator().manual_seed(0)
    walkers = noneq.Walkers.sample(energy.base, n, rng, islands=1).reweight(energy)

    def iterate() -> None:
        nonlocal walkers
        walkers = walkers.move(noneq.ULA(H), energy, rng)

    return Loop(iterate)


def plain_move_alone(energy: noneq.Tilted, n: int) -> Loop:
    """A move without a weight."""
    rng = torch.Generator().manual_seed(0)
    x = energy.base.sample(n, rng)

    def iterate() -> None:
        nonlocal x
        x = noised(x, look(energy, x)[1], rng)

    return Loop(iterate)


def three_gradients_alone(energy: noneq.Tilted, n: int) -> Loop:
    """A move with its weight as its formula reads."""
    rng = torch.Generator().manual_seed(0)
    x, log_w = energy.base.sample(n, rng), torch.zeros(n)

    def iterate() -> None:
        nonlocal x, log_w
        y = noised(x, look(energy, x)[1], rng)
        log_w = log_w + action(energy, x, y) - action(energy, y, x)
        x = y

    return Loop(iterate)


# -- the program ----------------------------------------------------------------------------------


def trained(energy: noneq.Tilted, data: Tensor, n: int, rows: int, **changes: object) -> Loop:
    """`noneq.train` with stale Langevin moves, one an iteration."""
    settings = noneq.Settings(
        n, None, 1, None, renew=None, batch=rows, noise=NOISE, **changes  # type: ignore[arg-type]
    )  # fmt: skip
    return library(energy, data, settings, noneq.ULA(H))


PROBLEMS: dict[str, tuple[int, int, int]] = {
    "MLP 64-256-256-1": (0, 512, 10),
    "ConvNet 16 x 16": (16, 256, 2),
}
"""Side of the images, number of walkers, and iterations in a block."""


def main(blocks: int = 25) -> None:
    """Measure, print, record.

    Args:
        blocks: blocks of iterations of each loop.
    """
    torch.set_num_threads(1)
    lines = []
    for name, (side, n, length) in PROBLEMS.items():

        def own(make: Callable[..., Loop], *, side: int = side, n: int = n) -> Loop:
            return make(*problem(side=side), n)

        def alone(make: Callable[..., Loop], *, side: int = side, n: int = n) -> Loop:
            return make(problem(side=side)[0], n)

        def ours(n: int = n, rows: int = n, *, side: int = side, **changes: object) -> Loop:
            return trained(*problem(side=side), n, rows, **changes)

        spent = measured(
            {
                "weighted": ours(),
                "off": ours(weighted=False),
                "plain": own(plain),
                "three": own(three_gradients),
                "move": alone(move_alone),
                "plain move": alone(plain_move_alone),
                "three, move": alone(three_gradients_alone),
                "256": ours(256, 256),
                "4096": ours(4096, 256, active=256),
            },
            blocks,
            length,
        )
        pairs = {
            "weighted / off": ("weighted", "off"),
            "weighted / plain": ("weighted", "plain"),
            "three gradients / weighted": ("three", "weighted"),
            "move alone: weighted / plain": ("move", "plain move"),
            "move alone: three gradients / weighted": ("three, move", "move"),
            "256 of 4,096 / 256": ("4096", "256"),
        }
        lines.append(
            {"problem": f"{name}, N = {n}", "plain": f"{1e3 * median(spent['plain']):.1f} ms"}
            | {key: ratio(spent[a], spent[b]) for key, (a, b) in pairs.items()}
        )
    table(
        "A Langevin step: medians of ratios of time (quartiles)",
        ["", *[line["problem"] for line in lines]],
        [[key, *[line[key] for line in lines]] for key in lines[0] if key != "problem"],
    )
    record("langevin", lines, RESULTS)


if __name__ == "__main__":
    tyro.cli(main)
