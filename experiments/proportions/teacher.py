"""Rows of a density that is known but for its log Z: samples of a trained model of the digits.

The model, weighted walkers that are annealed anew now and then, is trained as any of
`experiments.proportions.study`. Its samples are walkers annealed from its base in 2,000 steps,
drawn by weight and moved on, so that copies part: those of one population to train on, those of
another to choose by and to report on. Its proportions, as the classifier sees them, are those of
both, and its log Z is their mean, with errors that are printed: so ``log p`` of a row is known up
to them, hence KL(teacher || student) up to both errors of log Z.
"""

from __future__ import annotations

import torch

from experiments.proportions.training import ITERATIONS, Cell, Problem, annealed
from noneq import Session
from noneq.kernels import Repeat, with_momentum
from noneq.likelihood.score import mean_energy

__all__ = ["taught"]

SEED, TAU = 11, 0.005
WALKERS, STEPS, MOVES = 8_192, 2_000, 200  # of each of two populations
TRAIN = 5_000


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
    kernel = Repeat(with_momentum(session.kernel), MOVES // shrink)
    rows, held = (
        walkers.resample(1.0, rng).move(kernel, energy, rng).x[torch.randperm(n, generator=rng)]
        for walkers in found
    )
    validation, test = held.chunk(2)
    own = float(mean_energy(energy, test).mean()) + sum(w.log_z.value for w in found) / 2
    print(f"teacher: {truth.tolist()}, {own:.2f} nats a row of its own")
    return Problem(
        rows[: TRAIN // shrink], validation, test, truth, problem.classifier, noise=0.0, own=own
    )
