"""Paths that are not geometric: by a detour, and by moving a shape; all with known log Z.

20,000 islands of 16 walkers are 20,000 independent runs (see test_smc.py), judged at 4 standard
errors over them.
"""

import math

import pytest
import torch
from torch import nn

from noneq import MALA, ULA, Gaussian, Walkers, anneal, pilot
from noneq.energies import GeometricPath, Identity
from noneq.walkers import reductions


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def base():
    return Gaussian(torch.tensor([0.4], dtype=torch.float64), Identity(1.2))


def skewed(x):
    """An asymmetric energy of the real line; its log Z is ``LOG_Z``."""
    return x[:, 0].square() / 2 + nn.functional.softplus(3 * x[:, 0])


AXIS = torch.linspace(-20, 20, 40_001, dtype=torch.float64)[:, None]
LOG_Z = float((-skewed(AXIS)).logsumexp(0)) + math.log(1e-3)


class Detour:
    """The geometric path, and on the way a trough to the right of both ends."""

    def __init__(self):
        self.start = base()

    def at(self, beta):
        def energy(x):
            ends = (1 - beta) * self.start(x) + beta * skewed(x)
            return ends + 8 * (beta * (1 - beta)) ** 2 * (x[:, 0] - 1.8).square()

        return energy

    log_z = LOG_Z


class Moved:
    """From the base to the skewed shape, shrunk and shifted little by little."""

    def __init__(self):
        self.start = base()

    def at(self, beta):
        mean, scale = 0.4 + 1.6 * beta, 1.2 * 0.6**beta

        def energy(x):
            z = (x - mean) / scale
            return (1 - beta) * z[:, 0].square() / 2 + beta * skewed(z)

        return energy

    log_z = LOG_Z + math.log(1.2 * 0.6)


class Counting:
    """A path that counts the energies asked for."""

    def __init__(self, path):
        self.path, self.start, self.rows = path, path.start, 0

    def at(self, beta):
        energy = self.path.at(beta)

        def counted(x):
            self.rows += len(x)
            return energy(x)

        return counted


PATHS = [Detour, Moved]


@pytest.mark.parametrize("kernel", [MALA(0.3), ULA(0.1)], ids=["MALA", "ULA"])
@pytest.mark.parametrize("path", PATHS)
def test_any_path_gives_an_unbiased_normalising_constant(path, kernel):
    # seeds 41 and 42; the schedule is the pilot's
    path = path()
    schedule = pilot(path, kernel, seeded(41), cess=0.8)
    assert len(schedule) >= 3
    walkers = Walkers.sample(path.start, 320_000, seeded(42), islands=20_000)
    walkers = anneal(schedule.forward(path), walkers, seeded(43))
    z = (walkers.log_w + walkers.weights.log_z_start - path.log_z).exp().view(20_000, 16).mean(1)
    error = float(z.std()) / math.sqrt(20_000)
    assert error < 0.03, "an error bar that would hide anything"
    assert abs(float(z.mean()) - 1) < 4 * error


@pytest.mark.parametrize("path", PATHS)
def test_the_way_back_along_any_path_gives_the_same_constant(path):
    # seeds 44 to 46; the start is exact by resampling 2,000,000 points of a grid
    path = path()
    schedule = pilot(path, MALA(0.3), seeded(44), cess=0.98)
    grid = torch.linspace(-12, 12, 2_000_001, dtype=torch.float64)[:, None]
    p = (-path.at(1.0)(grid)).softmax(0)
    uniform = torch.rand(80_000, generator=seeded(45), dtype=torch.float64)
    x = grid[torch.searchsorted(p.cumsum(0), uniform).clamp(max=len(grid) - 1)]
    walkers = Walkers.at(x, path.at(1.0), log_z=path.log_z, islands=5000)
    walkers = anneal(schedule.backward(path), walkers, seeded(46))
    z = (walkers.log_w + path.log_z - path.start.log_z()).exp().view(5000, 16).mean(1)
    assert abs(float(z.mean()) - 1) < 4 * float(z.std()) / math.sqrt(5000)
    assert float(z.std()) / math.sqrt(5000) < 0.03


@pytest.mark.parametrize("cess", [0.8, 0.95])
@pytest.mark.parametrize("path", PATHS)
def test_the_pilot_leaves_about_cess_on_any_path(path, cess):
    # on 20,000 other walkers; five halvings find a step that costs 0.82 to 1 times -log cess, the
    # pilot's 4,000 walkers know the rest to 0.01; never more than one trial too many
    path = path()
    schedule = pilot(path, MALA(0.3), seeded(1), n=4000, cess=cess)
    walkers, rng, left = Walkers.sample(path.start, 20_000, seeded(2)), seeded(3), []
    for model, kernel in schedule.forward(path):
        before, walkers = walkers, walkers.reweight(model)
        left.append(float(reductions.conditional_ess(before.log_w, walkers.log_w - before.log_w)))
        walkers = walkers.resample(0.5, rng).move(kernel, model, rng)
    assert all(cess - 0.02 < one < cess**0.8 + 0.02 for one in left[:-1])
    assert left[-1] > cess - 0.02


@pytest.mark.parametrize("path", PATHS)
def test_a_pilot_on_any_path_costs_about_eight_evaluations_a_temperature(path):
    # six trials (a seventh now and then), the reweighting, the move; 128 walkers
    counting = Counting(path())
    schedule = pilot(counting, MALA(0.3), seeded(4), cess=0.95)
    assert len(schedule) > 5
    assert counting.rows / 128 / len(schedule) < 9.5


def test_a_geometric_path_by_another_name_has_the_same_temperatures():
    # the bisection by evaluation finds the steps of the one on cached energies, a little shorter
    class Plain:
        start = base()

        def at(self, beta):
            return GeometricPath(self.start, skewed).at(beta)

    known = pilot(GeometricPath(base(), skewed), MALA(0.3), seeded(5), n=4000, cess=0.9)
    found = pilot(Plain(), MALA(0.3), seeded(5), n=4000, cess=0.9)
    assert len(known) <= len(found) <= 1.2 * len(known) + 1
    assert 0.9 * known.betas[1] < found.betas[1] <= known.betas[1]
