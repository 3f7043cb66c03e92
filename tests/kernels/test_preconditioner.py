"""Preconditioners learned from walkers, and when adaptation biases.

Islands never exchange members, so thousands of islands of a few walkers are as many independent
runs; the judgement is at 4 standard errors over them.
"""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from noneq import HMC, MALA, ULA, Gaussian, Walkers, anneal, pilot, population
from noneq.energies import Cholesky, Diagonal, GeometricPath, Identity
from noneq.kernels import Chain, Repeat
from noneq.kernels.preconditioner import Learned
from noneq.walkers import reductions


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def skewed(x):
    return x.square().sum(1) / 2 + nn.functional.softplus(3 * x).sum(1)


AXIS = torch.linspace(-20, 20, 40_001, dtype=torch.float64)[:, None]
LOG_Z = float((-skewed(AXIS)).logsumexp(0)) + math.log(1e-3)

#: lengths of four principal axes, and the axes
LENGTHS = torch.tensor([1.0, 0.3, 0.06, 0.02], dtype=torch.float64)
AXES = torch.linalg.qr(torch.randn(4, 4, generator=seeded(0), dtype=torch.float64))[0]


def turned(x):
    """Skewed along four turned axes of lengths from 1 to 1/50."""
    return skewed(x @ (AXES / LENGTHS).to(x.dtype))


def straight(x):
    return skewed(x / LENGTHS.to(x.dtype))


TURNED_LOG_Z = 4 * LOG_Z + float(LENGTHS.log().sum())


# -- the estimate


def test_an_estimate_leans_on_the_one_before():
    # sizes 5 and 7, unequal weights, a dead walker at infinity
    x = torch.randn(5, 2, generator=seeded(1), dtype=torch.float64)
    x[4] = math.inf
    p = torch.tensor([0.4, 0.3, 0.2, 0.1, 0.0], dtype=torch.float64)
    alive = x[:4] - (p[:4, None] * x[:4]).sum(0)
    now = torch.einsum("n,ni,nj->ij", p[:4], alive, alive)
    known = 1 / float(p.square().sum())
    old = torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=torch.float64)
    for full, before, after in ((True, old, now), (False, old.diag(), now.diag())):
        share = (2 if full else 10) / ((2 if full else 10) + known)
        found = Learned(before, full).follow(x, p).c
        torch.testing.assert_close(found, share * before + (1 - share) * after)


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(2, 12),
    d=st.integers(1, 20),
    looks=st.integers(0, 4),
    scale=st.sampled_from([1e-4, 1.0, 1e4]),
    same=st.booleans(),
    full=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_the_factor_exists_however_few_the_walkers(n, d, looks, scale, same, full, seed):
    rng = seeded(seed)
    x = scale * torch.randn(n, d, generator=rng)
    if same:
        x = x[:1].expand(n, d)
    p = torch.rand(n, generator=rng, dtype=torch.float64).square()
    p = p / p.sum()
    learned = Learned.at(x, p, full=full)
    for _ in range(looks):
        learned = learned.follow(x + 0.1 * scale * torch.randn(n, d, generator=rng), p)
    factor = learned.factor(torch.float64)
    v = torch.randn(3, d, generator=rng, dtype=torch.float64)
    assert bool(torch.isfinite(factor.mul(v)).all())
    torch.testing.assert_close(factor.solve(factor.mul(v)), v, rtol=1e-4, atol=1e-4)


def test_many_walkers_give_their_covariance_whatever_their_shape():
    x = torch.randn(4000, 4, generator=seeded(2), dtype=torch.float64) @ (AXES * LENGTHS).T
    p = torch.full((4000,), 1 / 4000, dtype=torch.float64)
    c = (x - x.mean(0)).T @ (x - x.mean(0)) / 4000
    eye, image = torch.eye(4, dtype=torch.float64), (1, 2, 2)
    for full, expected in ((True, c), (False, c.diag().diag())):
        learned = Learned.at(x.view(-1, *image), p, full=full)
        for _ in range(4):
            learned = learned.follow(x.view(-1, *image), p)
        root = learned.factor(torch.float64).mul(eye.view(-1, *image)).view(4, 4)
        torch.testing.assert_close(root.T @ root, expected, rtol=1e-6, atol=1e-9)


# -- the pilot


@pytest.mark.parametrize(
    "kernel",
    [MALA(0.3), HMC(0.2, leapfrog_steps=2), ULA(0.05), Repeat(Chain((MALA(0.3), ULA(0.05))), 2)],
    ids=["MALA", "HMC", "ULA", "composed"],
)  # fmt: skip
def test_every_kernel_takes_a_preconditioner(kernel):
    factor = Diagonal(torch.tensor([1.0, 2.0]))
    found = kernel.preconditioned(factor)
    parts = found.kernel.kernels if isinstance(found, Repeat) else (found,)
    assert all(part.factor is factor for part in parts)
    assert type(found) is type(kernel)
    assert all(part.h in (0.3, 0.2, 0.05) for part in parts)


def test_the_pilot_learns_the_shape_and_keeps_the_acceptance():
    start = Gaussian(torch.zeros(4), Identity(1.5))
    path = GeometricPath(start, turned)
    schedules = {
        how: pilot(path, MALA(0.3), seeded(3), cess=0.98, precondition=how)
        for how in ("keep", "diagonal", "full")
    }
    kept = {id(kernel.factor) for kernel in schedules["keep"].kernels}
    assert len(kept) == 1
    assert isinstance(schedules["diagonal"].kernels[-1].factor, Diagonal)
    last = schedules["full"].kernels[-1]
    assert isinstance(last.factor, Cholesky)
    # a root of the end's covariance leaves a whitened one: its lengths are within a factor of 3
    whitened = torch.linalg.svdvals(last.factor.root.double().inverse() @ (AXES * LENGTHS))
    assert float(whitened.max() / whitened.min()) < 3
    assert 0.1 < last.h < 3
    rng, walkers = seeded(4), Walkers.sample(start, 2000, seeded(5))
    for model, kernel in schedules["full"].forward(path):
        walkers = walkers.reweight(model).resample(0.5, rng).move(kernel, model, rng)
        assert 0.3 < float(walkers.info["accept"]) < 0.9


@pytest.mark.parametrize(("end", "how"), [(straight, "diagonal"), (turned, "full")])
def test_a_learned_shape_makes_log_z_precise_and_not_wrong(end, how):
    # 40 runs of 100 (seeds 6 to 8), lengths from 1 to 1/50 where the start has 1.5 throughout
    start = Gaussian(torch.zeros(4), Identity(1.5))
    path, spread = GeometricPath(start, end), {}
    for precondition in ("keep", how):
        schedule = pilot(path, MALA(0.3), seeded(6), cess=0.95, precondition=precondition)
        walkers = Walkers.sample(start, 4000, seeded(7), islands=40)
        walkers = anneal(schedule.resized(40).forward(path), walkers, seeded(8))
        spread[precondition] = float(reductions.log_mean_exp(walkers.log_w.view(40, -1)).std())
    assert walkers.log_z.value == pytest.approx(TURNED_LOG_Z, abs=4 * walkers.log_z.stderr)
    assert walkers.log_z.stderr < 0.1
    assert spread[how] < 0.4 * spread["keep"]


def test_a_preconditioner_is_kept_or_of_a_known_kind():
    path = GeometricPath(Gaussian(torch.zeros(1), Identity()), skewed)
    with pytest.raises(ValueError, match=r"precondition is one of .*, got 'dense'"):
        pilot(path, MALA(0.3), seeded(0), precondition="dense")


# -- when adaptation biases


def wide():
    return Gaussian(torch.tensor([2.0], dtype=torch.float64), Identity(3.0))


@pytest.mark.parametrize("precondition", ["keep", "diagonal", "full"])
def test_a_schedule_frozen_beforehand_does_not_bias(precondition):
    # 4,000 runs of 8 walkers (seed 11) on what a pilot of as few found
    path = GeometricPath(wide(), skewed)
    schedule = pilot(path, MALA(0.5), seeded(10), n=8, cess=0.9, precondition=precondition)
    walkers, _ = population(path, 32_000, schedule, rng=seeded(11), islands=4000)
    z = (reductions.log_mean_exp(walkers.log_w.view(4000, 8)) + wide().log_z() - LOG_Z).exp()
    error = float(z.std()) / math.sqrt(4000)
    assert error < 0.02
    assert abs(float(z.mean()) - 1) < 4 * error


def test_adapting_to_the_walkers_that_are_weighed_biases():
    # the same 4,000 runs of 8, each choosing its own temperatures and steps on the way (seed 12)
    start, rng, n = wide(), seeded(12), 8
    walkers = Walkers.sample(start, 4000 * n, rng, islands=4000)
    beta, h = torch.zeros(4000, dtype=torch.float64), torch.ones(4000, dtype=torch.float64)
    while bool((beta < 1).any()):
        change = (start(walkers.x) - skewed(walkers.x)).view(4000, n)
        low, high = beta, torch.full_like(beta, 2.0)
        for _ in range(15):
            middle = (low + high) / 2
            log_w, step = walkers.log_w.view(4000, n), (middle - beta)[:, None]
            fine = reductions.conditional_ess(log_w, step * change) >= 0.95
            low, high = torch.where(fine, middle, low), torch.where(fine, high, middle)
        beta = low.clamp(max=1.0)
        each = beta.repeat_interleave(n)

        def model(x, each=each):
            return (1 - each) * start(x) + each * skewed(x)

        walkers = walkers.reweight(model).resample(0.5, rng)
        scale = h.sqrt().repeat_interleave(n)[:, None]
        before, kernel = walkers.x, MALA(1.0, Diagonal(scale, torch.float64))
        walkers = walkers.move(kernel, model, rng)
        accepted = (walkers.x != before).view(4000, n).double().mean(1)
        h = h * (2 * (accepted - 0.6)).exp()
    z = (reductions.log_mean_exp(walkers.log_w.view(4000, n)) + start.log_z() - LOG_Z).exp()
    error = float(z.std()) / math.sqrt(4000)
    assert abs(float(z.mean()) - 1) > 6 * error
    assert float(z.mean()) == pytest.approx(1.08, abs=0.04)
