"""A kernel that also proposes new samples of the base."""

import math

import pytest
import torch

import noneq
from noneq.energies import GaussianMixture
from noneq.kernels import HMC, MALA, EulerMaruyama, Refreshed, with_momentum
from noneq.run.learners import at_step

D = torch.float64
BASE = GaussianMixture(
    torch.tensor([[-6.0], [5.0]], dtype=D),
    torch.tensor([[[1.0]], [[0.25]]], dtype=D),
    torch.tensor([0.3, 0.7], dtype=D),
)


class Bump(torch.nn.Module):
    """f(x), which changes masses and shapes of both modes."""

    def forward(self, x):
        return (0.4 * x + 0.8 * (x - 4.5).tanh() + 0.2 * x.sin())[:, 0]


MODEL = noneq.Tilted(BASE, Bump())


def truth():
    x = torch.linspace(-14, 12, 40_001, dtype=D)[:, None]
    p = (-MODEL(x)).softmax(0)
    return float(p[x[:, 0] > 0].sum()), float(p @ x[:, 0]), float(p @ x[:, 0] ** 2)


def test_it_leaves_the_model_invariant_and_mixes_its_modes():
    # all walkers start in the left mode, which MALA never leaves
    rng = torch.Generator().manual_seed(0)
    walkers = noneq.Walkers.at(torch.full((20_000, 1), -6.0, dtype=D), MODEL, log_z=0.0)
    kernel = Refreshed(MALA(0.1), BASE)
    for _ in range(40):
        walkers = walkers.move(kernel, MODEL, rng)
    share, mean, square = truth()
    found = (walkers.x > 0).double().mean(), walkers.x.mean(), walkers.x.square().mean()
    sd = math.sqrt(share * (1 - share)), math.sqrt(square - mean**2), float((walkers.x**2).std())
    for value, wanted, spread in zip(found, (share, mean, square), sd, strict=True):
        assert abs(float(value) - wanted) < 4 * spread / math.sqrt(20_000)
    assert 0.1 < float(walkers.info["refreshed"].mean()) < 0.9
    assert bool((walkers.weights.log_w == walkers.weights.log_w[0]).all())


def test_under_the_base_itself_every_proposal_is_accepted():
    rng = torch.Generator().manual_seed(1)
    walkers = noneq.Walkers.sample(BASE, 512, rng).move(Refreshed(MALA(0.1), BASE), BASE, rng)
    assert float(walkers.info["refreshed"].mean()) == 1.0


def test_its_step_size_is_that_of_the_first_kernel():
    kernel = Refreshed(MALA(0.1), BASE)
    assert kernel.h == 0.1
    assert kernel.scaled(2.0).h == 0.2
    assert at_step(kernel, 0.3).kernel.h == 0.3
    assert kernel.adapt({"accept": 1.0}).h > 0.1
    assert kernel.factor is kernel.kernel.factor
    assert isinstance(with_momentum(kernel).kernel, HMC)
    assert with_momentum(kernel).base is BASE
    with pytest.raises(ValueError, match="put it first"):
        Refreshed(EulerMaruyama(1.0), BASE)
