"""Is log Z as uncertain as it says? 200 runs of every kernel, each of the default eight islands.

z = (estimate - truth) / its own standard error: a Student t of seven degrees of freedom, scaled to
variance 1; from 200 runs its standard deviation is known to about 0.07. Seeds are written in the
tests.
"""

import math
from dataclasses import replace

import pytest
import torch
from discrete_paths import discrete_path
from targets import DISCRETE, TARGETS, Grid, base, seeded

from noneq import HMC, MALA, ULA, Schedule, Walkers, anneal
from noneq.energies import Cholesky, GeometricPath
from noneq.kernels import BlockGibbs, DiscreteLangevin, GibbsWithGradients, RandomWalk, Repeat

RUNS, ISLANDS, EACH = 200, 8, 64
SHAPE = Cholesky(torch.tensor([[1.0, 0.3], [0.3, 0.6]])).double()
CASES = {
    "ULA": (ULA(0.1), "skewed"),
    "MALA": (MALA(0.4, SHAPE), "banana"),
    "HMC": (HMC(0.1, SHAPE, 3), "correlated"),
    "HMC in two modes": (HMC(0.05), "two modes"),
    "HMC in a funnel": (HMC(0.05), "funnel"),
    "HMC unadjusted": (HMC(0.05, leapfrog_steps=2, adjusted=False), "skewed"),
    "OBABO": (HMC.obabo(0.1, SHAPE), "banana"),
    "GHMC": (HMC.obabo(0.3, SHAPE, adjusted=True), "correlated"),
    "RandomWalk": (Repeat(RandomWalk(0.4, SHAPE), 3), "banana"),
    "BlockGibbs": (BlockGibbs(), "RBM"),
    "GibbsWithGradients": (GibbsWithGradients(), "Ising"),
    "DiscreteLangevin": (DiscreteLangevin(0.3), "Ising"),
    "DiscreteLangevin unadjusted": (DiscreteLangevin(0.2, adjusted=False), "RBM"),
}


@pytest.mark.parametrize("name", CASES)
def test_log_z_is_as_uncertain_as_it_says(name):
    # seed 91; resampled wherever annealing does
    kernel, target = CASES[name]
    if target in DISCRETE:
        make, states = DISCRETE[target]
        model = make()
        path, truth = discrete_path(model), Grid.over(model, states()).log_z
    else:
        energy, dim = TARGETS[target]
        path, truth = GeometricPath(base(dim), energy), Grid.of(energy, dim).log_z
    rng = seeded(91)
    walkers = Walkers.sample(path.start, RUNS * ISLANDS * EACH, rng, islands=RUNS * ISLANDS)
    walkers = anneal(Schedule.uniform(20, kernel).forward(path), walkers, rng)
    n = ISLANDS * EACH
    parts = [walkers[torch.arange(n) + n * i].weights for i in range(RUNS)]
    runs = [replace(part, islands=ISLANDS).log_z for part in parts]
    z = torch.tensor([(found.value - truth) / found.stderr for found in runs])
    assert 0.8 < float(z.std()) < 1.25
    ratio = torch.tensor([found.value - truth for found in runs], dtype=torch.float64).exp()
    assert abs(float(ratio.mean()) - 1) < 4 * float(ratio.std()) / math.sqrt(len(ratio))
