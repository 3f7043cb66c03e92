"""Hamiltonian Monte Carlo against theory; its contract and its invariance are in test_kernels."""

import math
from dataclasses import replace

import pytest
import torch

from noneq import HMC, MALA, Gaussian, Walkers
from noneq.energies import Cholesky, Identity, evaluate
from noneq.kernels import State

C = torch.tensor([[1.0, 0.6], [0.6, 0.8]])


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def skewed(x):
    return x[:, 0].exp() - 0.7 * x[:, 0] + (x[:, 1] - 0.3 * x[:, 0]).square()


def start(energy, n, dtype=torch.float64):
    x = torch.randn(n, 2, generator=seeded(1), dtype=dtype)
    u, cache = evaluate(energy, x)
    return State(x, u, cache, {})


@pytest.mark.parametrize("h", [0.02, 0.3, 1.5])
def test_one_leap_is_mala(h):
    # the same noise, then the same proposals and the same decisions
    for factor in (Identity(), Cholesky(C, torch.float64)):
        state = start(skewed, 500)
        one, _, seen = HMC(h, factor, leapfrog_steps=1)(skewed, state, seeded(2))
        two, _, also = MALA(h, factor)(skewed, state, seeded(2))
        torch.testing.assert_close(one.x, two.x)
        torch.testing.assert_close(one.u, two.u)
        assert torch.equal(seen["accept"], also["accept"])
        assert 0 < float(seen["accept"].mean()) < 1 or h == 0.02


def test_the_trajectory_follows_hamiltons_equations():
    # a Gaussian of covariance C, preconditioned by C: in the eyes of the factor a circle,
    # x(t) = cos t x + sin t L v; the error falls as e^2
    factor = Cholesky(C, torch.float64)
    energy = Gaussian(torch.zeros(2), Cholesky(C)).double()
    state = start(energy, 50)
    errors = []
    for leapfrog_steps in (20, 40):
        e = 1.0 / leapfrog_steps
        kernel = HMC(e**2 / 2, factor, leapfrog_steps)
        moved, _, info = kernel(energy, state, seeded(3))
        v = torch.randn(50, 2, generator=seeded(3), dtype=torch.float64)
        exact = math.cos(1.0) * state.x + math.sin(1.0) * factor.mul(v)
        errors.append(float((moved.x - exact).abs().max()))
        assert info["accept"].mean() == 1
    assert errors[0] < 1e-3
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.05)


def test_a_long_move_goes_further_than_as_many_short_ones():
    # a narrow direction sets the step: leaps add up, a random walk does not
    energy = Gaussian(torch.zeros(2), Cholesky(torch.diag(torch.tensor([1.0, 400.0]))))
    rng = seeded(4)
    walkers = Walkers.sample(energy, 4000, rng, islands=1)
    far = walkers.move(HMC(0.5, leapfrog_steps=16), energy, rng).x - walkers.x
    near = walkers
    for _ in range(16):
        near = near.move(MALA(0.5), energy, rng)
    ratio = far[:, 1].square().mean() / (near.x - walkers.x)[:, 1].square().mean()
    assert float(ratio) > 6  # 16 in the limit of small steps


def test_what_is_not_finite_is_rejected_and_counted():
    def walled(x):
        return torch.where(x[:, 0] > 0, x.square().sum(1), math.nan)

    x = torch.full((1000, 2), 0.4)
    u, cache = evaluate(walled, x)
    new, _, info = HMC(0.05, leapfrog_steps=3)(walled, State(x, u, cache, {}), seeded(5))
    assert bool(torch.isfinite(new.u).all())
    assert bool((new.x[:, 0] > 0).all())
    assert 0.2 < float(info["fault"].mean()) < 0.9
    assert float(info["accept"].mean()) <= 1 - float(info["fault"].mean())


def test_a_move_has_a_leap():
    with pytest.raises(ValueError, match="1 leap or more, got 0"):
        HMC(0.1, leapfrog_steps=0)


def test_scaled_and_tuned_change_the_step_only():
    kernel = HMC(0.2, Identity(2.0), leapfrog_steps=3, target_accept=0.7, rate=0.3)
    assert replace(kernel.scaled(0.5), h=0.2) == kernel
    assert kernel.scaled(0.5).h == pytest.approx(0.1)
    tuned = kernel.adapt({"accept": torch.tensor(0.5)})
    assert tuned.h == pytest.approx(0.2 * math.exp(0.3 * -0.2))
    assert kernel.adapt({}).h == 0.2
