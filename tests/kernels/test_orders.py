"""How bias and weights shrink with the step, where theory gives it exactly or to an order.

With e = sqrt(2 h), one leap. On N(0, v) a leap keeps ``x^2 / v (1 - e^2 / 4v) + p^2``: without
weights, Langevin, HMC and OBABO alike have the variance ``v / (1 - h / 2v)``, the momentum 1. The
change of H in one leap is the error of the trapezoidal rule, of order e^3: a log-weight whose
variance is of order h^3. In a fixed time these do not add up: order e^2 in all, variance h^2.
"""

import math
from functools import partial

import pytest
import torch
from targets import Grid, assert_within, bits, rbm, seeded, skewed

from noneq import HMC, MALA, ULA, Gaussian, Walkers
from noneq.energies import Identity
from noneq.kernels import DiscreteLangevin, Repeat

UNADJUSTED = {
    "ULA": lambda h: ULA(h),
    "HMC": lambda h: HMC(h, leapfrog_steps=3, adjusted=False),
    "OBABO": lambda h: HMC.obabo(h, friction=1.0),
}


def slopes(rows):
    """Orders in h: log2 of the ratios of the variances at h, h/2, h/4 (rows: (islands, 3))."""
    variances = rows.mean(0)
    return [float((variances[i] / variances[i + 1]).log2()) for i in (0, 1)]


def variances(kernel, steps, energy, x, *, islands=100):
    """Variance of the log-weight of one move from x, by island (islands, len(steps))."""
    found = []
    for h in steps:
        walkers = Walkers.at(x, energy, islands=islands).move(kernel(h), energy, seeded(72))
        found.append(walkers.log_w.view(islands, -1).var(1))
    return torch.stack(found, 1)


@pytest.mark.parametrize("h", [0.3, 0.9])
@pytest.mark.parametrize("name", UNADJUSTED)
def test_the_stationary_variance_on_a_gaussian(name, h):
    # seed 71; 100 islands of 1,000, started where theory says they stay, for 6 moves
    v, mean = 1.4, 0.5
    target = Gaussian(torch.tensor([mean], dtype=torch.float64), Identity(math.sqrt(v)))
    biased, rng = v / (1 - h / (2 * v)), seeded(71)
    x = mean + math.sqrt(biased) * torch.randn(100_000, 1, generator=rng, dtype=torch.float64)
    walkers = Walkers.at(x, target, islands=100)
    for _ in range(6):
        walkers = walkers.move(UNADJUSTED[name](h), target, rng)
    off = walkers.x - mean
    rows = torch.cat([off, off.square()], 1).view(100, 1000, 2).mean(1)
    assert_within(rows, torch.tensor([0.0, biased]), name)


@pytest.mark.parametrize("name", UNADJUSTED)
def test_the_unweighted_bias_is_of_first_order_in_h(name):
    # seed 73; skewed target, 100 islands of 2,000, a time of 4 at each step: the bias halves
    grid, biases = Grid.of(skewed, 1), []
    for h in (0.4, 0.2):
        rng = seeded(73)
        walkers = Walkers.at(grid.sample(200_000, rng), skewed, islands=100)
        moves = round(4.0 / h) if name == "ULA" else round(12.0 / math.sqrt(2 * h))
        kernel = HMC(h, leapfrog_steps=1, adjusted=False) if name == "HMC" else UNADJUSTED[name](h)
        walkers = walkers.move(Repeat(kernel, moves), skewed, rng)
        rows = walkers.x.square().view(100, -1).mean(1) - float(grid.mean(grid.x.square()))
        biases.append((float(rows.mean()), float(rows.std()) / 10))
    (large, a), (small, b) = biases
    assert large > 20 * a
    ratio = large / small
    assert abs(ratio - 2) < 4 * ratio * math.hypot(a / large, b / small) + 0.4  # O(h) beyond


def test_one_leap_has_log_weights_of_third_order():
    # exact starts, the same noise at h, h/2, h/4; orders to 0.2 (standard errors below 0.03)
    grid = Grid.of(skewed, 1)
    x = grid.sample(200_000, seeded(74))
    for kernel in (ULA, lambda h: HMC(h, leapfrog_steps=3, adjusted=False), UNADJUSTED["OBABO"]):
        rows = variances(kernel, (0.02, 0.01, 0.005), skewed, x)
        error = float((rows.std(0) / rows.mean(0)).max()) / 10 / math.log(2)
        assert 4 * math.sqrt(2) * error < 0.15
        assert slopes(rows) == pytest.approx([3.0, 3.0], abs=0.2)


def test_a_trajectory_of_fixed_length_has_log_weights_of_second_order():
    # e halves and the leaps double: variance falls by 16 = 4^2 while h falls by 4
    grid = Grid.of(skewed, 1)
    x = grid.sample(200_000, seeded(75))
    found = []
    for leapfrog_steps in (3, 6, 12):
        e = 1.2 / leapfrog_steps
        kernel = partial(HMC, leapfrog_steps=leapfrog_steps, adjusted=False)
        found.append(variances(kernel, (e**2 / 2,), skewed, x))
    rows = torch.cat(found, 1)
    assert slopes(rows) == pytest.approx([4.0, 4.0], abs=0.3)


def test_langevin_weights_on_a_whitened_gaussian_are_bounded_in_time():
    # seed 76; log w = h/4 (|x_0|^2 - |x_n|^2): variance d h^2/16 (2 + 2 s^2) once x_n has
    # forgotten x_0, s = 1/(1 - h/2) its variance: d h^2/4 to leading order, however long
    d, h = 5, 0.3
    target, rng = Gaussian(torch.zeros(d).double(), Identity()), seeded(76)
    walkers = Walkers.sample(target, 100_000, rng, islands=100)
    s = 1 / (1 - h / 2)
    for _ in range(2):
        walkers = walkers.move(Repeat(ULA(h), 15), target, rng)
        expected = d * h**2 / 16 * (2 + 2 * s**2)
        assert_within(walkers.log_w.view(100, -1).var(1)[:, None], expected, "variance")
    assert expected == pytest.approx(d * h**2 / 4, rel=0.25)


def test_mala_rejects_to_the_order_of_its_weight():
    # seed 77; mean of 1 - min(1, e^r) = E r^+ ~ e^3: an order of 1.5 in h
    grid, rejected = Grid.of(skewed, 1), []
    for h in (0.04, 0.02, 0.01):
        x = grid.sample(400_000, seeded(77))
        walkers = Walkers.at(x, skewed).move(MALA(h), skewed, seeded(78))
        rejected.append(1 - float(walkers.info["accept"]))
    orders = [math.log2(rejected[i] / rejected[i + 1]) for i in (0, 1)]
    assert orders == pytest.approx([1.5, 1.5], abs=0.25)


def test_discrete_langevin_changes_a_site_at_the_rate_of_its_barrier():
    # discrete Langevin: a site changes at a rate of e^{-1/4h}
    model = rbm()
    x = bits(4).repeat(20_000, 1)
    changes = []
    for h in (0.05, 0.04):
        walkers = Walkers.at(x, model).move(DiscreteLangevin(h, adjusted=False), model, seeded(79))
        changes.append(float((walkers.x != x).double().mean()))
    expected = math.exp(-1 / (4 * 0.05) + 1 / (4 * 0.04))
    error = math.hypot(*[1 / math.sqrt(c * x.numel()) for c in changes])
    assert changes[0] / changes[1] == pytest.approx(expected, rel=4 * error + 0.01)
