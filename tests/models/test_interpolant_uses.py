"""What weights are for along an interpolant: few steps, wrong drifts, known targets.

Every run names its seed; errors are judged in standard errors of the walkers themselves.
"""

import importlib
import math
from pathlib import Path

import pytest
import torch
from targets import seeded

from experiments.interpolants.steps import FACTORS, STEPS, run
from noneq import Gaussian
from noneq.energies import Cholesky
from noneq.likelihood import genealogy
from noneq.models.interpolants import Trigonometric, VelocityPath


@pytest.mark.parametrize("fields", FACTORS)
def test_weighted_errors_are_zero_at_any_number_of_steps(fields):
    # the figure: within 3 standard errors, at an ESS/N above 0.05
    for steps in STEPS:
        found = run(fields, steps, 8_000, seed=0)
        assert all(abs(error.z) < 3 for error in found.weighted), (steps, found)
        assert found.ess > 0.05, (steps, found)


@pytest.mark.parametrize("fields", FACTORS)
def test_raw_errors_of_ten_steps_are_real(fields):
    # of mean or variance, not only of log Z, which is a bound without weights
    found = run(fields, 10, 40_000, seed=1)
    assert max(abs(error.z) for error in found.raw[:3]) > 4, found
    assert all(abs(error.z) < 3 for error in found.weighted), found


@pytest.fixture
def known(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "examples"))
    return importlib.import_module("interpolant_known")


def test_a_lattice_looks_the_same_after_its_symmetries(known):
    x, lattice, rng = torch.randn(5, 64, generator=seeded(0)), known.Lattice(), seeded(1)
    for _ in range(6):
        y = known.turned(x, rng)
        assert not torch.equal(y, x)
        torch.testing.assert_close(lattice(y), lattice(x))
        torch.testing.assert_close(known.observables(y), known.observables(x))


def test_the_many_wells_log_z_is_their_integral(known):
    wells = known.ManyWell()
    grid = torch.linspace(-4, 4, 4_001, dtype=torch.float64)
    x = torch.zeros(len(grid), 16, dtype=torch.float64)
    x[:, 0] = grid
    one = torch.logsumexp(-wells(x), 0) + math.log(8 / 4_000)
    x = x.zero_().index_copy_(1, torch.tensor([1]), grid[:, None])
    other = torch.logsumexp(-wells(x), 0) + math.log(8 / 4_000)
    assert abs(8 * float(one + other) - wells.log_z()) < 2e-3


def test_weights_are_right_after_little_learning(known):
    # one well and one Gaussian: 150 iterations lead to both sides, at the wrong rates
    wells, rng = known.ManyWell(), seeded(2)
    rows = known.annealed(wells, 2, 512, 100, rng)
    base = known.fitted(rows, rng, known.as_it_is)
    velocity = known.learn(rows, base, rng, iterations=150, width=32)
    path = VelocityPath(Trigonometric(), base, wells, velocity)
    walkers = known.along(path, 4_096, rng, eps=0.1, steps=40)
    z = walkers.log_z
    assert abs(z.value - wells.log_z() / 8) < 4 * z.stderr
    assert z.stderr < 0.1
    assert walkers.ess > 0.05


def test_weights_find_the_susceptibility_of_a_small_lattice(known, monkeypatch):
    # 2 x 2 sites: four integrals by sums, which converge exponentially
    monkeypatch.setattr(known, "SIDE", 2)
    lattice, rng = known.Lattice(), seeded(3)
    grid = torch.linspace(-6, 6, 33, dtype=torch.float64)
    sites = torch.cartesian_prod(grid, grid, grid, grid)
    log_p = -lattice(sites)
    log_z = float(torch.logsumexp(log_p, 0)) + 4 * math.log(12 / 32)
    exact = float(log_p.softmax(0) @ known.observables(sites)[:, 0])
    rows = known.annealed(lattice, 4, 512, 60, rng)
    base = known.fitted(rows, rng, known.turned)
    base = Gaussian(base.mean, Cholesky(1.5 * base.covariance(), torch.float32))  # too wide
    velocity = known.learn(rows, base, rng, iterations=60, symmetry=known.turned, width=32)
    path = VelocityPath(Trigonometric(), base, lattice, velocity)
    walkers = known.along(path, 4_096, rng, eps=0.1, steps=40)
    z = genealogy(walkers)
    assert abs(z.value - log_z) < 4 * z.stderr
    mean, stderr = known.weighted(walkers.x, walkers.p)
    assert abs(mean[0] - exact) < 4 * stderr[0]
    assert stderr[0] < 0.05 * exact
    raw = known.observables(walkers.x)[:, 0]
    assert raw.mean() - exact > 4 * raw.std() / 64, "weights are needed"
