"""Resampling along a line: unbiased in any order, and its stretches keep their mass."""

import math

import pytest
import torch
from targets import seeded

from noneq import MALA, ULA, Gaussian, Walkers, anneal
from noneq.energies import GeometricPath, Identity
from noneq.walkers import multinomial, stratified, systematic


def weighted(n, islands=1):
    """Walkers of unequal weights; position i knows its place in x."""
    base = Gaussian(torch.zeros(1, dtype=torch.float64), Identity())
    walkers = Walkers.sample(base, n, seeded(0), islands=islands)
    return walkers.reweight(lambda x: 0.8 * (x[:, 0] - 0.7).square() + x[:, 0].cos())


@pytest.mark.parametrize("scheme", [systematic, stratified, multinomial])
def test_no_order_biases(scheme):
    # seed 81; 4,000 draws of 6 walkers as islands: mean offspring against n p
    w = weighted(6)
    p, order = w.p, w.state.u
    many = Walkers.at(w.x.repeat(4000, 1), lambda x: 0 * x[:, 0], islands=4000)
    many = many.reweight(lambda x: -w.log_w.repeat(4000) + 0 * x[:, 0])
    drawn = many.resample(1.0, seeded(81), scheme, order=order.repeat(4000))
    counts = (drawn.weights.ancestors % 6).view(4000, 6)
    counts = torch.nn.functional.one_hot(counts, 6).sum(1).double()
    error = counts.std(0) / math.sqrt(4000)
    assert bool(((counts.mean(0) - 6 * p).abs() < 4 * error + 1e-12).all())
    assert torch.equal(drawn.weights.ancestors // 6, torch.arange(4000).repeat_interleave(6))


@pytest.mark.parametrize(("scheme", "most"), [(systematic, 1.0), (stratified, 2.0)])
def test_a_stretch_of_the_line_keeps_its_mass(scheme, most):
    # walkers below any value of the key: offspring within one of n times their mass, or two
    walkers = weighted(200, islands=4)
    mass = walkers.log_w.view(4, 50).softmax(1)
    key = walkers.x[:, 0].sin()  # another line than their places
    for seed in range(5):
        after = walkers.resample(1.0, seeded(seed), scheme, order=key)
        for value in torch.linspace(-1, 1, 41):
            below = (key < value).view(4, 50)
            offspring = (key[after.weights.ancestors] < value).view(4, 50).sum(1)
            expected = 50 * (mass * below).sum(1)
            assert bool(((offspring - expected).abs() < most + 1e-9).all())


def test_annealing_lines_walkers_up_by_what_their_next_weights_depend_on():
    # two halves that never mix, told apart by dU: no resampling may change their masses by more
    # than a walker, however many there are; unsorted they random-walk
    def far(x):
        right = (x[:, 0] > 0).double()
        return x[:, 0].square() / 2 + 1.0 * right

    class Halves(Gaussian):
        def sample(self, n, rng):
            x = super().sample(n, rng)
            return torch.where(x > 0, x + 4.0, x - 4.0)

    base = Halves(torch.zeros(1, dtype=torch.float64), Identity())
    path = GeometricPath(base, far)
    start = Walkers.sample(base, 400, seeded(82), islands=1)
    right = float((start.x > 0).double().mean())
    models = [(path.at(k / 50), MALA(1e-6)) for k in range(1, 51)]
    walkers = anneal(models, start, seeded(83), ess_min=1.0)
    mass = float(walkers.p[walkers.x[:, 0] > 0].sum())
    exact = right * math.exp(-1) / (right * math.exp(-1) + 1 - right)
    assert mass == pytest.approx(exact, abs=50 / 400 * 0.2)  # 50 roundings of at most 1 / 400


def test_annealing_resamples_late_where_moves_take_stale_states():
    # an effective sample size below 0.9, above one half
    base = Gaussian(torch.zeros(1, dtype=torch.float64), Identity())

    def model(x):
        return x[:, 0].square() / 2 + 0.6 * x[:, 0]

    walkers = Walkers.sample(base, 200, seeded(0), islands=1).reweight(model)
    assert 0.5 < walkers.ess < 0.9
    for kernel, times in ((MALA(0.1), 1), (ULA(0.1), 0), (None, 1)):
        assert anneal([(model, kernel)], walkers, seeded(84)).weights.resampled == times
    assert anneal([(model, MALA(0.1))], walkers, seeded(84), ess_min=0.0).weights.resampled == 0
