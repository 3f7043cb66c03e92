r"""Do weights learn the masses of modes between which no walker can cross?

The Gaussian mixtures of Carbone, Hua, Coste, Vanden-Eijnden 2023 (arXiv 2305.19414), in 50
dimensions, and three modes in 20 dimensions (`experiments.paper_a.targets`). The model starts as
nearly one Gaussian, sampled exactly; while it is learned the modes part, and from then on only
weights can tell the walkers that there are too many of them in a mode. 10,000 rows, all of them in
every gradient, 10,000 walkers, 8,000 iterations of plain gradient descent with step 0.0125 for the
masses and 0.0025 for the means, five seeds; ULA with h = 0.1.

    python -m experiments paper_a.mixture ways          kernels and weights, 50 and 20 dimensions
    python -m experiments paper_a.mixture resampling    how resampling moves the mass
    python -m experiments paper_a.mixture walkers       log Z of 500 to 16,000 walkers, predicted
    python -m experiments paper_a.report                the tables and the figure

Each goes on where it was killed, and takes from the others what is the same.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

import torch
import tyro
from torch import Tensor

import noneq
from experiments.common import record, recorded
from experiments.paper_a.targets import PAIR, TRIPLE, Mixture, Target, worst
from noneq import Walkers
from noneq.kernels import HMC, MALA, ULA, Kernel
from noneq.training import step

__all__ = [
    "NUMBERS", "THRESHOLDS", "WAYS", "Cell", "everything", "predicted_drift", "reduced", "run",
]  # fmt: skip

RATES = {"z": 0.0125, "means": 0.0025}
H, ITERATIONS, WALKERS, HELD = 0.1, 8_000, 10_000, 2_000
POINTS, EVERY = 80, 20  # points of a curve; iterations between terms of the predicted bias
TARGETS: dict[str, Target] = {"two modes, 50-d": PAIR, "three modes, 20-d": TRIPLE}
THRESHOLDS = (0.0, 0.25, 0.5, 0.9, 0.99)
NUMBERS = (500, 1_000, 2_000, 4_000, 8_000, 16_000)
Part = Literal["ways", "resampling", "walkers"]
Way = Literal["stale ULA", "fresh ULA", "MALA", "HMC", "PCD", "CD"]
WAYS: tuple[Way, ...] = get_args(Way)


@dataclass(frozen=True)
class Cell:
    """One training.

    Attributes:
        way: "stale ULA" is Algorithm 1 of the paper, one evaluation an iteration; "fresh ULA",
            "MALA" and "HMC" (5 leapfrog steps) reweight first. "PCD" and "CD" are ULA without
            weights, CD with walkers that start at rows in every iteration.
        target: name of the data.
        seed: seed of data and walkers.
        resample: effective sample size below which walkers are resampled; 0: never.
        walkers: number of walkers that the gradient uses.
        iterations: number of iterations.
        speed: factor of the steps of gradient descent.
    """

    way: Way = "stale ULA"
    target: str = "two modes, 50-d"
    seed: int = 0
    resample: float = 0.5
    walkers: int = WALKERS
    iterations: int = ITERATIONS
    speed: float = 1.0

    @property
    def weighted(self) -> bool:
        """Whether walkers have weights."""
        return self.way not in ("PCD", "CD")

    @property
    def kernel(self) -> Kernel:
        """What moves the walkers."""
        if self.way in ("MALA", "HMC"):
            return MALA(H) if self.way == "MALA" else HMC(H, leapfrog_steps=5)
        return ULA(H, refresh=self.way == "fresh ULA")


def run(cell: Cell) -> dict[str, Any]:
    """Train a model, and tell what it learned.

    Returns:
        ``masses`` of the modes at the end and ``curve`` over the training; ``kl`` to the data;
        and with weights ``ess`` and the errors of log Z by the walkers of the gradient, with the
        predicted one, by held-out walkers and by annealing.
    """
    began, target = time.process_time(), TARGETS[cell.target]
    rng = torch.Generator().manual_seed(cell.seed)
    data, energy, kernel = target.draw(rng), Mixture(target), cell.kernel
    parts = {"z": energy.z, "means": energy.means}
    optimizer = torch.optim.SGD(
        [{"params": [own], "lr": cell.speed * RATES[name]} for name, own in parts.items()]
    )
    walkers = Walkers.sample(energy, cell.walkers, rng, islands=1)
    held = Walkers.sample(energy, HELD, rng) if cell.weighted else None
    u, curve, predicted = None, [], 0.0
    for iteration in range(cell.iterations):
        if cell.way == "CD":  # which moves before the gradient, and not after it
            rows = torch.randint(len(data), (cell.walkers,), generator=rng)
            walkers, u = Walkers.at(data[rows], energy).move(kernel, energy, rng), None
        if cell.weighted and iteration % EVERY == 0:
            predicted -= EVERY * cell.speed * _loss_of_log_z(energy, walkers)
        walkers, u, *_ = step(
            energy, data, walkers, u, kernel=None if cell.way == "CD" else kernel,
            optimizer=optimizer, rng=rng, weighted=cell.weighted, ess_min=cell.resample,
        )  # fmt: skip
        if held is not None:
            held = held.reweight(energy) if kernel.fresh else held  # Algorithm 1 moves it stale
            held = held.resample(cell.resample, rng).move(kernel, energy, rng)
        if (iteration + 1) % (cell.iterations // POINTS) == 0:
            curve.append(_point(iteration + 1, energy, walkers))
    found: dict[str, Any] = asdict(cell) | {
        "masses": energy.masses().tolist(),
        "error": worst(energy.masses().tolist(), target),
        "kl": energy.divergence(target),
        "curve": curve,
        "seconds": time.process_time() - began,
    }
    if held is not None:
        found |= _log_z(energy, walkers, held, data, cell.seed) | {"predicted": predicted}
    return found


@torch.no_grad()
def _point(iteration: int, energy: Mixture, walkers: Walkers) -> dict[str, Any]:
    """Masses of the model, the shares of walkers in its modes without weights, and parameters."""

    def short(values: Tensor) -> list[float]:
        return [round(value, 5) for value in values.tolist()]

    return {
        "iteration": iteration,
        "masses": short(energy.masses()),
        "walkers": short(energy.modes(walkers.x).mean(0)),
        "z": short(energy.z),
        "ess": round(float(walkers.ess), 3),
        "apart": round(float(torch.pdist(energy.means).min()), 3),
    }


@torch.no_grad()
def _loss_of_log_z(energy: Mixture, walkers: Walkers) -> float:
    """The bias of log Z that one step brings: ``sum_j eta_j Var_p(dU/dtheta_j) sum_i p_i^2``.

    Derived in docs/mathematics.md; ``dU/dz_k = P(k | x)`` and ``dU/dm_k = -P(k | x) (x - m_k)``.
    """
    walkers = walkers.reweight(energy)
    p, x = walkers.p, walkers.x.double()
    modes = energy.modes(walkers.x).double()

    def variance(f: Tensor) -> float:
        mean = p @ f
        return float(p @ (f - mean).square().sum(1))

    total = RATES["z"] * variance(modes[:, 1:])
    for k, mean in enumerate(energy.means):
        total += RATES["means"] * variance(modes[:, k, None] * (x - mean.double()))
    return total * float(p.square().sum())


def _log_z(
    energy: Mixture, walkers: Walkers, held: Walkers, data: Tensor, seed: int
) -> dict[str, Any]:
    """Errors of log Z, with standard errors, by gradient walkers, held-out ones and annealing."""
    walkers, held = walkers.reweight(energy), held.reweight(energy)
    annealed = noneq.log_z(
        energy.forward, data=data, n=512, temperatures=300, rng=torch.Generator().manual_seed(seed)
    )  # the method alone, so that the exact log Z is not taken instead
    exact = energy.log_z()
    return {
        "ess": float(walkers.ess),
        "gradient": walkers.log_z.value - exact,
        "held out": [held.log_z.value - exact, held.log_z.stderr],
        "annealed": [annealed.value - exact, annealed.stderr, len(annealed.alarms)],
    }


def predicted_drift(
    curve: list[dict[str, Any]], target: Target, apart: float = 8.0, speed: float = 1.0
) -> list[float]:
    """The mass of the first of two modes that PCD must learn once no walker crosses any more.

    From the point on where the modes are ``apart`` standard deviations from each other, their
    walkers stay, so that ``z`` changes by ``eta (p - q)`` in each iteration: p the mass of the
    second mode in the data, q the share of the walkers there.

    Arguments:
        curve: points of a training by PCD.
        target: data.
        apart: distance of the modes from which on they are predicted.
        speed: that of the training.

    Returns:
        The mass at each point from there to the end.
    """
    start = next(i for i, point in enumerate(curve) if point["apart"] > apart)
    first, p = curve[start], target.masses[1]
    found = []
    for point in curve[start:]:
        passed = speed * (point["iteration"] - first["iteration"])
        z = first["z"][0] - RATES["z"] * passed * (p - first["walkers"][1])
        found.append(1 / (1 + math.exp(-z)))
    return found


# -- the programs -------------------------------------------------------------------------------


def train(part: Part, cells: list[Cell]) -> None:
    """Train what no part has recorded yet; the record grows by one cell at a time."""
    torch.set_num_threads(1)
    keys = list(asdict(Cell()))
    known = [tuple(one[key] for key in keys) for one in everything()]
    done: list[dict[str, Any]] = recorded(f"paper_a_{part}") or []
    for cell in cells:
        if tuple(asdict(cell)[key] for key in keys) not in known:
            done.append(run(cell))
            record(f"paper_a_{part}", done)
            print(f"{cell}: masses {done[-1]['masses']}, {done[-1]['seconds']:.0f} s", flush=True)


def everything() -> list[dict[str, Any]]:
    """All trainings that are recorded."""
    return [one for part in get_args(Part) for one in recorded(f"paper_a_{part}") or []]


def ways(seeds: int = 5) -> None:
    """Every way on both targets; two and a half hours on one core.

    Args:
        seeds: trainings of each.
    """
    train("ways", [Cell(way, name, s) for name in TARGETS for s in range(seeds) for way in WAYS])


def resampling(seeds: int = 5) -> None:
    """Stale ULA with other thresholds, from never to nearly always; 50 minutes on one core.

    Args:
        seeds: trainings of each.
    """
    train("resampling", [Cell(seed=s, resample=r) for r in THRESHOLDS for s in range(seeds)])


def walkers(seeds: int = 5) -> None:
    """Stale ULA with 500 to 16,000 walkers; 50 minutes on one core.

    Args:
        seeds: trainings of each.
    """
    train("walkers", [Cell(seed=s, walkers=n) for n in NUMBERS for s in range(seeds)])


def reduced(way: Way, seed: int = 0) -> Cell:
    """A training of seconds: the same with a fifth of the walkers, in a fifth of the steps."""
    return replace(Cell(way, seed=seed), walkers=2_000, iterations=1_600, speed=5.0)


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict(
        {"ways": ways, "resampling": resampling, "walkers": walkers}
    )
