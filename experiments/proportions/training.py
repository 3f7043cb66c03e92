"""One training with or without weights, and what is measured of proportions along it.

Along the training, proportions are measured of the walkers, with their weights, and of the model,
by annealing from its base. What the walkers say and what the model has need not agree.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

import noneq
from experiments.common import LIKELIHOOD_ALONE
from experiments.proportions.images import NOISE, PROPORTIONS, Classifier, Images
from experiments.proportions.report import TUNING
from noneq import Session, Walkers
from noneq.energies import path_to
from noneq.kernels import with_momentum
from noneq.likelihood.score import mean_energy
from noneq.run import Recipe, choose

__all__ = ["ITERATIONS", "Cell", "Problem", "Start", "annealed", "run"]

ITERATIONS, WALKERS, MOVES, BATCH = 1_500, 512, 4, 256
NETWORK: dict[str, Any] = {"net": "mlp", "width": 128, "depth": 2, "dropout": 0.0}
POINTS, MODELS = 30, 3  # of a curve: measurements of walkers, and of models
ANNEALED, TEMPERATURES = 256, 250  # walkers and steps that measure a model
FINAL = {"n": 512, "temperatures": 500, "equilibrate": 500}  # of the last one

Start = Literal["noise", "base", "data"]


@dataclass(frozen=True)
class Cell:
    """One training.

    Attributes:
        weighted: whether walkers have weights.
        trusted: whether optimiser steps are scaled by a trust region.
        start: where walkers start, and what the base is, see above.
        renewed: whether walkers are annealed anew every 500 iterations.
        speed: tau, or the learning rate.
        seed: seed of all randomness.
    """

    weighted: bool
    trusted: bool
    start: Start
    renewed: bool = False
    speed: float = 1e-3
    seed: int = TUNING

    @property
    def name(self) -> str:
        """For people."""
        if self.renewed:
            return "program"
        how = "weights" if self.weighted else "PCD"
        return f"{how}, {'trust region' if self.trusted else 'learning rate'}, from {self.start}"

    def recipe(self, problem: Problem, iterations: int) -> Recipe:
        """All settings of the training."""
        rows = len(problem.train)
        return choose(
            tuple(problem.train.shape[1:]), rows, "image", discrete=problem.noise > 0,
            **LIKELIHOOD_ALONE, **NETWORK,
            base="diagonal" if self.start == "noise" else "full",
            start="data" if self.start == "data" else "base",
            weighted=self.weighted, renew=500 if self.renewed else None,
            tau=self.speed if self.trusted else None,
            lr=3e-3 if self.trusted else self.speed,
            leapfrog_steps=1, step_size=0.3, shifted=0.0, walkers=WALKERS,
            held_out=64 if self.renewed else None, moves=MOVES,
            batch=min(BATCH, rows), noise=problem.noise, iterations=iterations, clusters=None,
        )  # fmt: skip


@dataclass(frozen=True)
class Problem:
    """Rows to learn, and the truth about their proportions.

    Attributes:
        train, validation, test: rows (M, 1, H, W), without the noise that training adds.
        truth: proportions of the classes (3,).
        classifier: what measures proportions.
        noise: standard deviation of the noise that training adds.
        own: nats of a test row under the density that drew it; None where that is not known.
    """

    train: Tensor
    validation: Tensor
    test: Tensor
    truth: Tensor
    classifier: Classifier
    noise: float = NOISE
    own: float | None = None

    @classmethod
    def of(cls, images: Images) -> Problem:
        """Return the problem of learning images."""
        own = images.train, images.validation, images.test
        return cls(*own, PROPORTIONS, Classifier(images))


def run(problem: Problem, cell: Cell, iterations: int = ITERATIONS) -> dict[str, Any]:
    """Train a model, measure proportions along the training, and bracket log Z at its end.

    Returns:
        The cell's fields; ``curve``, proportions of walkers as they go along; ``models``, those
        of annealed models; and at the end ``masses`` of the model, ``nll`` of validation and test
        rows, ``within`` and ``alarms`` of its log Z; or ``failed``, why it has none.
    """
    began = time.process_time()
    found: dict[str, Any] = {**asdict(cell), "name": cell.name, "curve": [], "models": []}
    session = Session(cell.recipe(problem, iterations), problem.train, cell.seed)
    session.monitor.margin = math.inf
    points = {round(iterations * (k + 1) / POINTS) for k in range(POINTS)}
    models = {round(iterations * (k + 1) / MODELS) for k in range(MODELS)}
    try:
        for done in session:
            if done.iteration in points:
                found["curve"].append(_of_walkers(problem, session, done.iteration))
            if done.iteration in models:
                found["models"].append(_of_model(problem, session, done.iteration))
        found |= _evaluated(problem, session, cell.seed)
    except (FloatingPointError, noneq.annealing.TooFarError) as error:
        found["failed"] = str(error)
    return found | {"seconds": time.process_time() - began}


def _of_walkers(problem: Problem, session: Session, iteration: int) -> dict[str, Any]:
    """Proportions of the walkers of the gradient, with their weights if they have any."""
    state: Any = session.trained
    walkers, weighted = state.walkers, session.recipe.train.weighted
    seen = problem.classifier.proportions(walkers.x, walkers.p if weighted else None)
    return asdict(seen) | {
        "iteration": iteration, "error": seen.error(problem.truth),
        "ess": float(walkers.ess) if weighted else 1.0,
    }  # fmt: skip


def annealed(energy: nn.Module, session: Session, steps: int, n: int, seed: int) -> Walkers:
    """Weighted samples of a model, annealed from its base."""
    rng = torch.Generator().manual_seed(seed)
    kernel = with_momentum(session.kernel)
    path = path_to(energy, energy.base)  # type: ignore[arg-type]
    return noneq.population(path, n, steps, rng=rng, kernel=kernel)[0]


def _of_model(problem: Problem, session: Session, iteration: int) -> dict[str, Any]:
    """Proportions of the averaged model, by annealing."""
    walkers = annealed(session.average, session, TEMPERATURES, ANNEALED, iteration)
    seen = problem.classifier.proportions(walkers.x, walkers.p)
    nll = mean_energy(session.average, problem.validation, noise=problem.noise).mean()
    return asdict(seen) | {
        "iteration": iteration, "error": seen.error(problem.truth),
        "ess": float(walkers.ess), "validation": float(nll) + walkers.log_z.value,
    }  # fmt: skip


def _evaluated(problem: Problem, session: Session, seed: int) -> dict[str, Any]:
    """Likelihoods under a bracketed log Z, and the proportions of its forward walkers."""
    energy, rng = session.average, torch.Generator().manual_seed(seed + 7)
    kernel = with_momentum(session.kernel)
    z = noneq.log_z(
        energy, data=problem.train, noise=problem.noise, kernel=kernel, rng=rng, **FINAL
    )
    seen = problem.classifier.proportions(z.walkers.x, z.walkers.p)
    rows = {"train": problem.train, "validation": problem.validation, "test": problem.test}
    nll = {
        k: float(mean_energy(energy, x, noise=problem.noise).mean()) + z.value
        for k, x in rows.items()
    }
    gap = abs(z.forward.value - z.backward.value)
    return asdict(seen) | {
        "error": seen.error(problem.truth), "ess": float(z.walkers.ess), "nll": nll,
        "own": problem.own,
        "within": gap + math.hypot(z.forward.stderr, z.backward.stderr), "alarms": list(z.alarms),
    }  # fmt: skip
