"""Unadjusted kernels: the weight in closed form, exact at steps at which the walkers are not."""

import math

import pytest
import torch
from roster import factors
from targets import (
    Grid,
    Net,
    assert_exact,
    assert_within,
    features,
    seeded,
    skewed,
    start,
    z_scores,
)
from torch.distributions import MultivariateNormal

from noneq import ULA, Gaussian, Walkers
from noneq.energies import Identity
from noneq.kernels import Repeat


def test_increment_is_the_ratio_of_the_two_gaussian_densities():
    # float64: log e^{-U'(y)} N(x; y - hMg', 2hM) - log e^{-U(x)} N(y; x - hMg, 2hM)
    for shape in ((3,), (1, 2, 3)):
        d = math.prod(shape)
        for kind, factor in factors(shape).items():
            root = factor.mul(torch.eye(d, dtype=torch.float64).view(d, *shape)).flatten(1).T
            m = root @ root.T
            for h in (0.05, 0.7):
                for stale in (False, True):
                    model = Net(shape, torch.float64, seed=3)
                    old = Net(shape, torch.float64, seed=2) if stale else model
                    state = start(old, 50, shape, torch.float64)
                    new, increment, _ = ULA(h, factor)(model, state, seeded(0))

                    def log_q(to, at, g, h=h, m=m):
                        mean = at.flatten(1) - h * g.flatten(1) @ m
                        return MultivariateNormal(mean, 2 * h * m).log_prob(to.flatten(1))

                    expected = -new.u + log_q(state.x, new.x, new.cache["g"])
                    expected -= -state.u + log_q(new.x, state.x, state.cache["g"])
                    error = float((increment - expected).abs().max())
                    assert error < 1e-10, (kind, h, stale)


@pytest.mark.parametrize("refresh", [False, True])
def test_ula_at_a_large_step_is_exact_with_weights_and_biased_without(refresh):
    # seed 13; N(0.5, 1.3^2), h = 0.9: unweighted variance v' = (1 - h/s^2)^2 v + 2h, by theory
    mean, s, h, moves = 0.5, 1.3, 0.9, 4
    target = Gaussian(torch.tensor([mean], dtype=torch.float64), Identity(s))
    rng = seeded(13)
    walkers = Walkers.sample(target, 100_000, rng, islands=100)
    variance = s**2
    for _ in range(moves):
        walkers = walkers.move(ULA(h, refresh=refresh), target, rng)
        variance = (1 - h / s**2) ** 2 * variance + 2 * h
    plain = (walkers.x - mean).square().view(100, -1).mean(1, keepdim=True)
    assert_within(plain, variance, "theory of ULA, no weights")
    assert float(z_scores(plain, s**2)) > 20, "the bias must be visible"
    assert_exact(walkers, Grid.of(target, 1), "weights")


def test_ula_at_a_large_step_on_a_skewed_target():
    # seed 14; exact start; weighted means stay, unweighted ones leave, by 10, 30 and 40 se
    grid, rng = Grid.of(skewed, 1), seeded(14)
    walkers = Walkers.at(grid.sample(100_000, rng), skewed, log_z=grid.log_z, islands=100)
    walkers = walkers.move(Repeat(ULA(0.8), 3), skewed, rng)
    assert_exact(walkers, grid, "weights")
    plain = features(walkers.x).view(100, 1000, -1).mean(1)
    bias = z_scores(plain, grid.mean(features(grid.x))).abs()
    assert float(bias.min()) > 5
    assert float(bias.max()) > 20
