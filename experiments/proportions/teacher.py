"""Rows of which everything is known: samples of a trained model of the digits.

The model, weighted walkers that are annealed anew now and then, is trained as any of
`experiments.proportions.study`. Its samples are walkers annealed from its base in 2,000 steps,
drawn by weight and moved on, so that copies part. Its proportions, as the classifier sees them,
are those of two such populations, and its log Z is that of the first: so ``log p`` of a row is
known, hence KL(teacher || student) up to the error of the student's log Z.
"""

from __future__ import annotations

import torch

from experiments.proportions.training import ITERATIONS, Cell, Problem, annealed
from noneq import Session
from noneq.kernels import Repeat, with_momentum
from noneq.likelihood.score import mean_energy

__all__ = ["taught"]

SEED, TAU = 11, 0.02
WALKERS, STEPS, MOVES = 8_192, 2_000, 200
SIZES = 5_000, 1_000  # to train on, and to choose by; the others are test rows


def taught(problem: Problem, iterations: int = ITERATIONS, shrink: int = 1) -> Problem:
    """Train the teacher on a problem, and return that of learning the teacher.

    Arguments:
        problem: the digits.
        iterations: of the teacher's training.
        shrink: divides numbers of walkers and annealing steps, for a reduced form.

    Returns:
        Rows that the teacher sampled, with its proportions as the truth; training adds no noise.
    """
    cell = Cell(True, True, "base", renewed=True, speed=TAU, seed=SEED)
    session = Session(cell.recipe(problem, iterations), problem.train, SEED)
    for _ in session:
        pass
    energy, rng = session.average, torch.Generator().manual_seed(SEED)
    n = WALKERS // shrink
    found = [annealed(energy, session, STEPS // shrink, n, seed) for seed in (1, 2)]
    for walkers in found:
        print(f"teacher: {walkers.log_z}, ESS/N {float(walkers.ess):.2f}, "
              f"{problem.classifier.proportions(walkers.x, walkers.p)}")  # fmt: skip
    both = torch.cat([walkers.x for walkers in found])
    p = torch.cat([walkers.p / 2 for walkers in found])
    truth = torch.tensor(problem.classifier.proportions(both, p).masses).double()
    moved = (
        found[0]
        .resample(1.0, rng)
        .move(Repeat(with_momentum(session.kernel), MOVES // shrink), energy, rng)
    )
    rows = moved.x[torch.randperm(n, generator=rng)]
    parts = [size // shrink for size in SIZES]
    train, validation, test = rows.split([*parts, n - sum(parts)])
    own = float(mean_energy(energy, test).mean()) + found[0].log_z.value
    print(f"teacher: {truth.tolist()}, {own:.2f} nats a row of its own")
    return Problem(train, validation, test, truth, problem.classifier, noise=0.0, own=own)
