r"""Do the weights learn the mass of modes between which no walker can cross?

The 50-dimensional mixture of Carbone, Hua, Coste, Vanden-Eijnden 2023 (arXiv 2305.19414): data
with mass 1/4 at -10 and 3/4 at +6 on the first axis, unit covariance; the model is

    U(x) = -log [exp(-|x - a|^2 / 2) + exp(-|x - b|^2 / 2 - z)],   a, b in R^50, z in R,

so that a has mass 1 / (1 + exp(-z)) and log Z = 25 log 2 pi + log(1 + exp(-z)) for every (a, b,
z). It starts as nearly one Gaussian, a and b at -0.3 and +0.3, sampled exactly. While it is
learned the modes part, 16 standard deviations at the end: from then on only weights can tell the
walkers that there are too many of them in a mode.

Factorial: weights on or off (off is persistent contrastive divergence), walkers started at the
base or at the data, MALA (8 moves, 8 + 1 evaluations an iteration) or stale ULA (Algorithm 1 of
the paper, one evaluation). The four cells of a kernel share its learning-rate schedule, plain SGD
and no trust region. Held-out walkers (8 islands) give log Z.

    python -m experiments mixture              10,000 walkers, five seeds: about half an hour
    python -m experiments mixture --reduced    2,000 walkers, two cells, one seed: seconds
"""

from __future__ import annotations

import itertools
import math
import time
from dataclasses import asdict, dataclass
from typing import Literal

import torch
import tyro
from rich.progress import track
from torch import Tensor, nn

import noneq
from experiments.common import record, table

DIM, LEFT, RIGHT, MASS = 50, -10.0, 6.0, 0.25
ROWS, BATCH = 10_000, 1_000
START = 0.3  # a and b are at -START and +START first


@dataclass(frozen=True)
class Pace:
    """How a kernel is used; the learning rate rises to ``lr`` over the first third."""

    kernel: noneq.MALA | noneq.ULA
    moves: int
    lr: float
    iterations: int

    def rate(self, iteration: int) -> float:
        """The modes part fastest at first: there the walkers need the slowest model."""
        return self.lr * min(1.0, 0.2 + 3 * iteration / self.iterations)


Start = Literal["base", "data"]
Name = Literal["MALA", "ULA"]
PACES: dict[Name, Pace] = {
    "MALA": Pace(noneq.MALA(0.35), moves=8, lr=0.1, iterations=250),
    "ULA": Pace(noneq.ULA(0.1), moves=1, lr=0.015, iterations=2_000),
}


@dataclass(frozen=True)
class Cell:
    """One run."""

    weighted: bool = True
    start: Start = "base"
    kernel: Name = "MALA"
    seed: int = 0
    walkers: int = 10_000
    held_out: int = 2_000

    @property
    def name(self) -> str:
        """For people."""
        return f"weights {'on' if self.weighted else 'off'}, start {self.start}, {self.kernel}"


@dataclass(frozen=True)
class Result:
    """What a run learned. Errors of log Z are in nats, against the closed form."""

    cell: Cell
    mass: float
    left: float
    right: float
    ess: float
    effective_ancestors: float
    log_z_error: float  # of the held-out walkers
    log_z_stderr: float
    log_z_error_training: float  # of the walkers that fed the gradient
    masses: list[float]  # over the run, 50 times
    seconds: float

    @property
    def z_score(self) -> float:
        """Error of the held-out log Z in its standard errors."""
        return self.log_z_error / self.log_z_stderr


class Mixture(nn.Module):
    """The model; it can be sampled and its log Z is known whatever its parameters are."""

    def __init__(self) -> None:
        super().__init__()
        axis = torch.eye(DIM)[0]
        self.means = nn.Parameter(torch.stack([-START * axis, START * axis]))
        self.z = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Energies (B,)."""
        offset = self.means.square().sum(1) / 2 + torch.stack([torch.zeros_like(self.z), self.z])
        return x.square().sum(1) / 2 - (x @ self.means.T - offset).logsumexp(1)

    @torch.no_grad()
    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """n exact samples (n, 50)."""
        mode = (torch.rand(n, generator=rng) > torch.sigmoid(self.z)).long()
        return self.means[mode] + torch.randn(n, DIM, generator=rng)

    @torch.no_grad()
    def log_z(self) -> float:
        """``25 log 2 pi + log(1 + exp(-z))``."""
        return DIM / 2 * math.log(2 * math.pi) + float(nn.functional.softplus(-self.z))

    @torch.no_grad()
    def modes(self) -> tuple[float, float, float]:
        """Left and right mode on the first axis, mass of the left one."""
        (a, b), mass = self.means[:, 0].tolist(), float(torch.sigmoid(self.z))
        return (a, b, mass) if a < b else (b, a, 1 - mass)


def sample_data(rng: torch.Generator) -> Tensor:
    """10,000 rows, exactly a quarter of them on the left."""
    x = torch.randn(ROWS, DIM, generator=rng)
    left = round(MASS * ROWS)
    x[:left, 0] += LEFT
    x[left:, 0] += RIGHT
    return x


def run(cell: Cell) -> Result:
    """Train one model."""
    began = time.perf_counter()
    rng = torch.Generator().manual_seed(cell.seed)
    data, energy, pace = sample_data(rng), Mixture(), PACES[cell.kernel]
    optimizer = torch.optim.SGD(energy.parameters(), lr=pace.lr)
    kernel, masses = noneq.kernels.Repeat(pace.kernel, pace.moves), []
    if cell.start == "base":
        walkers = noneq.Walkers.sample(energy, cell.walkers, rng, islands=1)
    else:
        rows = torch.randint(ROWS, (cell.walkers,), generator=rng)
        walkers = noneq.Walkers.at(data[rows], energy)
    held = noneq.Walkers.sample(energy, cell.held_out, rng) if cell.weighted else None

    u = None
    for iteration in range(pace.iterations):
        optimizer.param_groups[0]["lr"] = pace.rate(iteration)
        x = data[torch.randint(ROWS, (BATCH,), generator=rng)]
        walkers, u, *_ = noneq.training.step(
            energy,
            x,
            walkers,
            u,
            kernel=kernel,
            optimizer=optimizer,
            rng=rng,
            weighted=cell.weighted,
        )
        kernel = kernel.adapt(walkers.info)
        if held is not None:
            held = held.reweight(energy) if kernel.fresh else held  # Algorithm 1 moves it stale
            held = held.resample(0.5, rng).move(kernel, energy, rng)
        if (iteration + 1) % (pace.iterations // 50) == 0:
            masses.append(energy.modes()[2])

    left, right, mass = energy.modes()
    walkers, exact, nan = walkers.reweight(energy), energy.log_z(), math.nan
    return Result(
        cell,
        mass,
        left,
        right,
        walkers.ess,
        walkers.effective_ancestors if cell.weighted else nan,
        held.log_z.value - exact if held is not None else nan,
        held.log_z.stderr if held is not None else nan,
        walkers.log_z.value - exact if cell.weighted else nan,
        masses,
        time.perf_counter() - began,
    )


COLUMNS = ["cell", "mass, mean", "worst seed", "within 0.02", "modes at"]
COLUMNS += ["log Z error, worst", "of training walkers, mean", "seconds"]


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _row(results: list[Result]) -> list[str]:
    """One cell over its seeds."""
    worst = max(results, key=lambda r: abs(r.mass - MASS))
    row = [
        results[0].cell.name,
        f"{_mean([r.mass for r in results]):.3f}",
        f"{worst.mass:.3f}",
        f"{sum(abs(r.mass - MASS) < 0.02 for r in results)} of {len(results)}",
        f"{worst.left:.1f}, {worst.right:.1f}",
    ]
    if results[0].cell.weighted:
        far = max(results, key=lambda r: abs(r.z_score))
        row.append(f"{far.log_z_error:+.3f} ± {far.log_z_stderr:.3f} ({abs(far.z_score):.1f} se)")
        training = _mean([r.log_z_error_training for r in results])
        row.append("unknown" if math.isnan(training) else f"{training:+.3f}")
    else:
        row += ["unknown", "unknown"]
    return [*row, f"{_mean([r.seconds for r in results]):.0f}"]


def main(reduced: bool = False, seeds: int = 5, threads: int = 1) -> None:
    """Run the factorial, print it and record it.

    Args:
        reduced: only weights on and off (MALA from the base), one seed, 2,000 walkers; no record.
        seeds: runs of every cell.
        threads: of torch.
    """
    torch.set_num_threads(threads)
    if reduced:
        cells = [reduced_cell(weighted) for weighted in (True, False)]
    else:
        starts: tuple[Start, ...] = ("base", "data")
        factors = itertools.product(PACES, (True, False), starts, range(seeds))
        cells = [Cell(weighted, start, kernel, s) for kernel, weighted, start, s in factors]
    results = [run(cell) for cell in track(cells, "training", transient=True)]
    names = dict.fromkeys(r.cell.name for r in results)
    rows = [_row([r for r in results if r.cell.name == name]) for name in names]
    table(f"Mass of the left mode, {MASS} in the data", COLUMNS, rows)
    if not reduced:
        paces = {
            name: {"h": p.kernel.h, "moves": p.moves, "lr": p.lr, "iterations": p.iterations}
            for name, p in PACES.items()
        }
        path = record("mixture", {"paces": paces, "runs": [asdict(r) for r in results]})
        print(f"recorded in {path}")


def reduced_cell(weighted: bool, seed: int = 0) -> Cell:
    """A run of a few seconds: the same problem with a fifth of the walkers."""
    return Cell(weighted, seed=seed, walkers=2_000, held_out=400)


if __name__ == "__main__":
    tyro.cli(main)
