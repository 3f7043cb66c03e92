"""Kernels that are adapted: `adapt`, `scaled` and `preconditioned`."""

import math
from dataclasses import replace

import pytest
import torch
from targets import assert_within, banana, seeded

from noneq import HMC, MALA, ULA, Walkers
from noneq.energies import Cholesky, Identity
from noneq.kernels import Chain, DiscreteLangevin, GibbsWithGradients, RandomWalk, Repeat


@pytest.mark.parametrize("target_accept", [0.6, 0.85])
@pytest.mark.parametrize("h", [1e-3, 30.0])
def test_tune_steers_acceptance_to_the_goal(target_accept, h):
    # seed 18; 2,000 walkers: one acceptance has a standard error below 0.012
    one = MALA(h, target_accept=target_accept, rate=1.0)
    hmc = HMC(h, leapfrog_steps=3, target_accept=target_accept, rate=1.0)
    for kernel in (one, Repeat(one, 2), Chain((one, one)), hmc):
        rng, name = seeded(18), type(kernel).__name__
        walkers = Walkers.at(torch.zeros(2000, 2), banana)
        accepted = []
        for _ in range(60):
            walkers = walkers.move(kernel, banana, rng)
            accepted.append(float(walkers.info["accept"]))
            kernel = kernel.adapt(walkers.info)
        assert sum(accepted[-20:]) / 20 == pytest.approx(target_accept, abs=0.02), name


def test_tune_changes_the_step_only():
    kernel = MALA(0.2, Identity(2.0), target_accept=0.7, rate=0.3)
    tuned = kernel.adapt({"accept": torch.tensor(0.5)})
    assert tuned.h == pytest.approx(0.2 * math.exp(0.3 * (0.5 - 0.7)))
    assert replace(tuned, h=0.2) == kernel
    ula = ULA(0.1)
    assert ula.adapt({}) is ula
    mixed = Chain((ula, kernel)).adapt({"accept": torch.tensor(0.5)})
    assert mixed.kernels[0] is ula
    assert mixed.kernels[1].h == pytest.approx(tuned.h)


def test_scaled_changes_the_step_only():
    kernel, ula = MALA(0.2, Identity(2.0), target_accept=0.7, rate=0.3), ULA(0.1, refresh=True)
    assert kernel.scaled(0.3).h == pytest.approx(0.06)
    assert replace(kernel.scaled(0.3), h=0.2) == kernel
    mixed = Repeat(Chain((ula, kernel)), 4).scaled(0.5)
    assert mixed.times == 4
    assert [k.h for k in mixed.kernel.kernels] == pytest.approx([0.05, 0.1])
    assert mixed.fresh


def test_a_chain_tunes_each_kernel_by_its_own_acceptance():
    # seed 24; a long step and a short one that want the same acceptance
    chain = Chain((MALA(3.0, rate=1.0), ULA(0.01), RandomWalk(0.01, target_accept=0.6, rate=1.0)))
    walkers = Walkers.at(torch.zeros(2000, 2), banana)
    walkers = walkers.move(chain, banana, seeded(24))
    first, last = (float(walkers.info[f"{i}:accept"]) for i in (0, 2))
    assert float(walkers.info["accept"]) == pytest.approx((first + last) / 2, abs=1e-6)
    assert first < 0.3 < 0.8 < last
    tuned = chain.adapt(walkers.info)
    assert [k.h for k in tuned.kernels] == pytest.approx(
        [3.0 * math.exp(first - 0.6), 0.01, 0.01 * math.exp(last - 0.6)]
    )
    assert tuned.kernels[1] is chain.kernels[1]


def test_a_chain_within_a_chain_is_tuned_as_if_it_were_written_out():
    # seed 25; four steps, of which the longer are accepted more rarely
    a, b, c, d = (RandomWalk(h, rate=1.0) for h in (0.01, 1.0, 10.0, 100.0))
    walkers = Walkers.at(torch.zeros(500, 2), banana)

    def steps(kernel):
        parts = getattr(kernel, "kernels", ())
        return [h for part in parts for h in steps(part)] if parts else [kernel.h]

    def tuned(chain):
        return steps(chain.adapt(walkers.move(chain, banana, seeded(25)).info))

    plain = tuned(Chain((a, b, c, d)))
    assert len(set(plain)) == 4
    for chain in (Chain((a, Chain((b, c)), d)), Chain((Chain((Chain((a, b)), c)), d))):
        assert tuned(chain) == plain


def test_preconditioned_changes_the_factor_only():
    factor = Identity(2.0)
    for kernel in (MALA(0.2), ULA(0.2, refresh=True), HMC(0.2, leapfrog_steps=2), RandomWalk(0.3)):
        new = kernel.preconditioned(factor)
        assert new.factor is factor
        assert replace(new, factor=kernel.factor) == kernel
    chain = Repeat(Chain((MALA(0.1), DiscreteLangevin(0.2), GibbsWithGradients())), 3)
    new = chain.preconditioned(factor)
    assert new.times == 3
    assert new.kernel.kernels[0].factor is factor
    assert new.kernel.kernels[1:] == chain.kernel.kernels[1:]


def test_a_random_walk_has_steps_of_its_covariance():
    # seed 25; on a flat energy every step of N(0, 2 h M) is taken; 100 islands of 1,000
    m = torch.tensor([[1.0, 0.5], [0.5, 0.6]], dtype=torch.float64)
    walkers = Walkers.at(torch.zeros(100_000, 2).double(), flat, islands=100)
    moved = walkers.move(RandomWalk(0.3, Cholesky(m, torch.float64)), flat, seeded(25))
    assert float(moved.info["accept"]) == 1.0
    steps = (moved.x[:, :, None] * moved.x[:, None]).flatten(1)
    rows = torch.cat([moved.x, steps], 1).view(100, 1000, -1).mean(1)
    truth = torch.cat([torch.zeros(2), 0.6 * m.flatten()])
    assert_within(rows[:, [0, 1, 2, 3, 5]], truth[[0, 1, 2, 3, 5]], "steps")


def flat(x):
    return 0.0 * x.sum(1)
