r"""How wrong is the gradient itself: its bias and its variance, method by method?

A 2-d energy (an MLP on a full Gaussian) is trained on skewed data with the *exact* gradient, by
quadrature on a grid, and its parameters are recorded: a path that favours no method. Along it
every method estimates ``E_rho[dU/dtheta]`` with the same kernel and N, in 24 independent
populations. The path is walked twice, so that only the walkers' lag differs:

    fast   every recorded update is one iteration, K = 1 move
    slow   every update is split into 20 equal ones, K = 20 moves: 400 times as many moves

- weighted: reweight, estimate, resample below half the effective sample size, K moves: the order
  of `noneq.training.step`. With renewal: four times replaced by walkers annealed from the base in
  500 temperatures, if those descend from more founders (the rule of `noneq.train`).
- PCD (from the base or from data): K moves, then estimate: its usual order, and the better one.
- CD-K: N data rows, K moves under the present model, estimate.
- exact samples: N independent points; nothing can be expected below their variance.

Bias^2 is the mean over pairs of populations r != s of ``(g_r - g) . (g_s - g)``: unbiased, hence
sometimes negative; its standard error is the jackknife's. Variance is that of one population.

    python -m experiments gradient [--reduced]    about 20 minutes on one core
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import NamedTuple

import torch
import tyro
from rich.progress import track
from torch import Tensor
from torch.nn.utils import parameters_to_vector, vector_to_parameters

import noneq
from experiments.common import record, table

DOCS = Path(__file__).parents[1] / "docs"
COLORS = {
    "exact samples": "black",
    "weighted": "#0072b2",
    "weighted + renewal": "#009e73",
    "PCD from the base": "#d55e00",
    "PCD from data": "#e69f00",
    "CD-K": "#999999",
}
TEMPERATURES, RENEWALS = 500, 4

Found = tuple[Tensor, Tensor]  # positions and log-weights of the walkers of all populations
Visit = Callable[[], Found]  # goes on by one iteration


@dataclass(frozen=True)
class Setup:
    """The problem and its sizes."""

    data: Tensor
    energy: noneq.Tilted
    kernel: noneq.MALA
    grid: Tensor
    populations: int
    n: int  # walkers of all populations together

    def rows(self, rng: torch.Generator) -> Tensor:
        """N data rows for each population."""
        return self.data[torch.randint(len(self.data), (self.n,), generator=rng)]

    def probabilities(self) -> Tensor:
        """Of the grid's points under the model."""
        u: Tensor = self.energy(self.grid).detach()
        return (-u.double()).softmax(0)

    def place(self, path: Tensor, at: float) -> None:
        """Set the parameters to a point between two recorded updates."""
        k = min(int(at), len(path) - 2)
        theta = torch.lerp(path[k], path[k + 1], at - k)
        vector_to_parameters(theta, self.energy.net.parameters())

    def gradient(self, x: Tensor, p: Tensor) -> Tensor:
        """``sum_i p_i dU(x_i)/dtheta``, flat; the base has no parameters."""
        loss = (p.to(x.dtype) * self.energy.net(x)).sum()
        parts = torch.autograd.grad(loss, list(self.energy.net.parameters()))
        return torch.cat([part.flatten() for part in parts])


class Pass(NamedTuple):
    """How the path is walked."""

    name: str
    splits: int
    moves: int


PASSES = (Pass("fast", 1, 1), Pass("slow", 20, 20))


@dataclass(frozen=True)
class Error:
    """Of a method at one point of the path; ess is a fraction, mean over the populations."""

    bias2: float
    stderr: float
    variance: float
    ess: float

    @property
    def seen(self) -> bool:
        """Whether the bias can be told from zero."""
        return self.bias2 > 2 * self.stderr


def skewed(n: int, rng: torch.Generator) -> Tensor:
    """A bent ridge, dense at one end and thin at the other: rows (n, 2)."""
    t = 1.3 * torch.randn(n, generator=rng).abs() + 0.3 * torch.randn(n, generator=rng) - 1
    return torch.stack([t, 0.7 * t**2 - 1 + 0.25 * torch.randn(n, generator=rng)], 1)


def train_exactly(setup: Setup, updates: int, lr: float) -> Tensor:
    """The path: parameters (updates + 1, P) of a training whose gradient is the quadrature's."""
    net = setup.energy.net
    optimizer = torch.optim.Adam(net.parameters(), lr=lr)
    path = [parameters_to_vector(net.parameters()).detach()]
    for _ in track(range(updates), "recording the path", transient=True):
        p = setup.probabilities().float()
        loss = net(setup.data).mean() - p @ net(setup.grid)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        path.append(parameters_to_vector(net.parameters()).detach())
    return torch.stack(path)


# -- the methods; each is called at every iteration and says what it would estimate from ----------


def weighted(setup: Setup, way: Pass, rng: torch.Generator, renew: int = 0) -> Visit:
    """Walkers with weights, renewed every ``renew`` iterations."""
    energy, base, kernel = (
        setup.energy,
        setup.energy.base,
        noneq.kernels.Repeat(setup.kernel, way.moves),
    )
    walkers, iteration = noneq.Walkers.sample(base, setup.n, rng, islands=setup.populations), 0

    def visit() -> Found:
        nonlocal walkers, iteration
        iteration += 1
        if renew and iteration % renew == 0:
            _, (walkers, _) = noneq.training.renew(
                energy, walkers, None, setup.kernel, rng, TEMPERATURES
            )
        walkers = walkers.reweight(energy)
        found = walkers.x, walkers.log_w
        walkers = walkers.resample(0.5, rng).move(kernel, energy, rng)
        return found

    return visit


def persistent(setup: Setup, way: Pass, rng: torch.Generator, start: Tensor) -> Visit:
    """Walkers without weights: persistent contrastive divergence."""
    walkers, kernel = (
        noneq.Walkers.at(start, setup.energy),
        noneq.kernels.Repeat(setup.kernel, way.moves),
    )

    def visit() -> Found:
        nonlocal walkers
        walkers = walkers.move(kernel, setup.energy, rng).decay(0.0)
        return walkers.x, walkers.log_w

    return visit


def exact(setup: Setup, rng: torch.Generator) -> Found:
    """Independent points of the grid: exact samples of what the quadrature integrates."""
    rows = torch.multinomial(setup.probabilities(), setup.n, replacement=True, generator=rng)
    return setup.grid[rows], torch.zeros(setup.n)


# -- measuring ------------------------------------------------------------------------------------


def walk(setup: Setup, path: Tensor, way: Pass, every: int) -> dict[str, list[Error]]:
    """Errors of all methods at every ``every``-th update of the path."""
    iterations = (len(path) - 1) * way.splits
    rng = torch.Generator().manual_seed(1)
    setup.place(path, 0.0)
    start = setup.energy.base.sample(setup.n, rng)
    carried = {
        "weighted": weighted(setup, way, rng),
        "weighted + renewal": weighted(setup, way, rng, renew=iterations // (RENEWALS + 1)),
        "PCD from the base": persistent(setup, way, rng, start),
        "PCD from data": persistent(setup, way, rng, setup.rows(rng)),
    }
    errors: dict[str, list[Error]] = {name: [] for name in COLORS}
    for iteration in track(range(1, iterations + 1), f"{way.name} pass", transient=True):
        setup.place(path, iteration / way.splits)
        found = {name: visit() for name, visit in carried.items()}
        if iteration % (every * way.splits) == 0:
            found["CD-K"] = persistent(setup, way, rng, setup.rows(rng))()  # from data each time
            found["exact samples"] = exact(setup, rng)
            truth = setup.gradient(setup.grid, setup.probabilities())
            for name in COLORS:
                errors[name].append(judge(setup, *found[name], truth))
    return errors


def judge(setup: Setup, x: Tensor, log_w: Tensor, truth: Tensor) -> Error:
    """Compare the populations' gradients with the exact one."""
    r = setup.populations
    p = noneq.walkers.reductions.normalise(log_w.view(r, -1))
    each = [setup.gradient(*one) for one in zip(x.view(r, -1, 2), p, strict=True)]
    off = (torch.stack(each) - truth).double()
    pairs = (off @ off.T).fill_diagonal_(0.0)
    bias2 = float(pairs.sum()) / (r * (r - 1))
    without = (pairs.sum() - 2 * pairs.sum(1)) / ((r - 1) * (r - 2))
    stderr = math.sqrt((r - 1) / r * float((without - without.mean()).square().sum()))
    return Error(
        bias2, stderr, float(off.var(0).sum()), float(noneq.walkers.reductions.ess(p.log()).mean())
    )


def draw(errors: dict[str, dict[str, list[Error]]], at: list[int], norms: list[float]) -> None:
    """Bias^2 above, variance below; the fast pass to the left."""
    import matplotlib.pyplot as plt

    plt.rcParams["font.size"] = 13
    figure, axes = plt.subplots(2, 2, sharex=True, sharey="row", layout="constrained")
    figure.set_size_inches(13, 9)
    for way, top, bottom in zip(PASSES, *axes, strict=True):
        for name, color in COLORS.items():
            found, line = errors[way.name][name], "--" if name == "exact samples" else "-"
            bottom.plot(at, [e.variance for e in found], line, color=color, lw=2, label=name)
            if name == "exact samples":
                continue
            height = [e.bias2 if e.seen else 2 * e.stderr for e in found]
            faces = [color if e.seen else "white" for e in found]
            top.plot(at, height, color=color, lw=1.2, alpha=0.6)
            top.scatter(at, height, c=faces, edgecolors=color, s=45, zorder=3)
        top.plot(at, norms, ":", color="black", lw=2, label="squared norm of the loss's gradient")
        top.set_title(f"{way.name} pass: {way.splits} x {way.moves} moves an update")
        bottom.set_xlabel("position on the path  [recorded updates]")
    axes[0][0].set_ylabel("bias²  [nats² per unit of θ²]")
    note = "hollow: not told from 0, drawn at 2 se"
    axes[0][0].text(0.02, 0.94, note, transform=axes[0][0].transAxes, size=11)
    axes[1][0].set_ylabel("variance  [nats² per unit of θ²]")
    for ax in axes.flat:
        ax.set_yscale("log")
        ax.grid(alpha=0.3)
    known = {a.get_label(): a for ax in (axes[1][0], axes[0][0]) for a in ax.lines}
    shown = {name: a for name, a in known.items() if not name.startswith("_")}
    figure.legend(list(shown.values()), list(shown), loc="outside lower center", ncols=4)
    figure.savefig(DOCS / "gradient.png", dpi=110)
    plt.close(figure)


def main(reduced: bool = False, lr: float = 0.01, threads: int = 1) -> None:
    """Record the path, walk it fast and slowly; print, record and draw the errors.

    Args:
        reduced: 8 populations, 20 updates; writes nothing.
        lr: learning rate (Adam) of the recorded training.
        threads: of torch.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    data = skewed(4_000, torch.Generator().manual_seed(0))
    base, updates, every = noneq.Gaussian.fit(data), 20 if reduced else 120, 5
    grid = torch.cartesian_prod(torch.linspace(-6, 6, 160), torch.linspace(-5, 9, 160))
    energy, kernel = noneq.Tilted(base, noneq.MLP(2, 32)), noneq.MALA(0.05, base.factor)
    populations = 8 if reduced else 24
    setup = Setup(data, energy, kernel, grid, populations, 256 * populations)
    path, at = train_exactly(setup, updates, lr), list(range(every, updates + 1, every))
    norms = [_norm(setup, path, float(k)) for k in at]
    errors = {way.name: walk(setup, path, way, every) for way in PASSES}
    medians = [_row(way, name, errors[way.name]) for way in PASSES for name in COLORS]
    columns = ["method", "bias², median", "worst", "above 2 se", "variance, median", "ESS"]
    table("Errors of E[dU/dtheta], in variances of N exact samples", columns, medians)
    if not reduced:
        plain = {w: {k: [asdict(e) for e in v] for k, v in m.items()} for w, m in errors.items()}
        loss = {"updates": at, "squared norm of the exact gradient of the loss": norms}
        record("gradient", {**loss, "table": medians, "errors": plain})
        draw(errors, at, norms)


def _norm(setup: Setup, path: Tensor, at: float) -> float:
    setup.place(path, at)
    data = setup.gradient(setup.data, torch.ones(len(setup.data)) / len(setup.data))
    return float((data - setup.gradient(setup.grid, setup.probabilities())).square().sum())


def _row(way: Pass, name: str, errors: dict[str, list[Error]]) -> list[str]:
    """Over the path, in units of the variance of exact samples at the same point."""
    found, floor = errors[name], [e.variance for e in errors["exact samples"]]
    bias = [e.bias2 / f for e, f in zip(found, floor, strict=True)]
    spread = [e.variance / f for e, f in zip(found, floor, strict=True)]
    seen = f"{sum(e.seen for e in found)} of {len(found)}"
    shares = [f"{median(bias):.2f}", f"{max(bias):.2f}", seen, f"{median(spread):.2f}"]
    return [f"{way.name} {name}", *shares, f"{median(e.ess for e in found):.2f}"]


if __name__ == "__main__":
    tyro.cli(main)
