"""Solvable energies of independent coordinates: sums and volumes are their oracles."""

import math

import pytest
import torch
from targets import bits, correlated, one_hots, seeded

from noneq import Walkers, check_energy
from noneq.energies import Bernoulli, Boxed, Categorical, Uniform, evaluate
from noneq.kernels import BlockGibbs

THETA = torch.tensor([[0.4, -1.2, 0.1], [2.0, 0.3, -0.5]], dtype=torch.float64)


def test_log_z_of_independent_sites_is_the_sum_over_states():
    for model, states in (
        (Bernoulli(THETA[0]), bits(3)),
        (Bernoulli(THETA), bits(6).view(-1, 2, 3)),
        (Categorical(THETA), one_hots(2, 3)),
        (Categorical(THETA[1]), one_hots(1, 3)[:, 0]),
    ):
        assert bool(model.space.contains(states).all())
        assert model.log_z() == pytest.approx(float((-model(states)).logsumexp(0)), abs=1e-12)
        check_energy(model, states)


def test_samples_of_independent_sites():
    # seed 61; 100,000; binomial standard errors
    n = 100_000
    for model, p in ((Bernoulli(THETA), THETA.sigmoid()), (Categorical(THETA), THETA.softmax(-1))):
        for x in (
            model.sample(n, seeded(61)),
            Walkers.at(torch.eye(3).double()[:2].expand(n, 2, 3), model)
            .move(BlockGibbs(), model, seeded(61))
            .x,
        ):
            assert x.shape == (n, 2, 3)
            assert bool(model.space.contains(x).all())
            z = (x.mean(0) - p) / (p * (1 - p) / n).sqrt()
            assert float(z.abs().max()) < 4
            first = x[:, 0, 0] * x[:, 1, 2] - p[0, 0] * p[1, 2]
            assert abs(float(first.mean() / first.std())) * math.sqrt(n) < 4, "independent"


def test_fitted_sites_have_the_frequencies_and_never_certainty():
    x = torch.tensor([[1.0, 0.0], [1.0, 1.0], [1.0, 0.0]])
    p = Bernoulli.fit(x).logits.sigmoid()
    torch.testing.assert_close(p, torch.tensor([3.5 / 4, 1.5 / 4]))
    hot = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    p = Categorical.fit(hot).logits.softmax(-1)
    torch.testing.assert_close(p, torch.tensor([2.5, 1.5, 0.5]) / 4.5)
    for kind in (Bernoulli, Categorical):
        with pytest.raises(ValueError, match="logits must be finite"):
            kind(torch.tensor([math.inf, 0.0]))


def test_the_uniform_density_of_a_box():
    # seed 62; 50,000 draws; moments of uniform variables
    low, high = torch.tensor([-1.0, 2.0]).double(), torch.tensor([0.5, 2.5]).double()
    model = Uniform(low, high)
    assert model.log_z() == pytest.approx(math.log(1.5 * 0.5), abs=1e-12)
    x = model.sample(50_000, seeded(62))
    assert bool(model.space.contains(x).all())
    scaled = (x - low) / (high - low)
    for power in (1, 2, 3):
        truth, spread = 1 / (power + 1), math.sqrt(1 / (2 * power + 1) - 1 / (power + 1) ** 2)
        z = (scaled.pow(power).mean(0) - truth) / spread * math.sqrt(50_000)
        assert float(z.abs().max()) < 4
    assert model(torch.tensor([[0.0, 2.2], [0.0, 2.6]]).double()).tolist() == [0.0, math.inf]
    assert Uniform(torch.tensor(0.0), torch.tensor([1.0, 2.0])).sample(3, seeded(0)).shape == (
        3,
        2,
    )
    assert Uniform(0.0, torch.tensor([1.0, 2.0])).log_z() == pytest.approx(math.log(2))
    for low, high in ((0.0, 1.0), (torch.tensor(0.0), 1.0), (torch.tensor([0]), 1)):
        with pytest.raises(ValueError, match=r"in floating point: .* got \[?0"):
            Uniform(low, high)
    for wall in (math.inf, -math.inf):
        with pytest.raises(ValueError, match="finite low and high"):
            Uniform(torch.tensor([0.0, 0.0]).sub(max(-wall, 0)), torch.tensor([1.0, max(wall, 1)]))


def test_an_energy_in_a_box_is_never_asked_outside():
    asked = []

    def positive(x):
        asked.append(x.detach().clone())
        return x.log().sum(1) + x[:, 0].sqrt()

    model = Boxed(positive, 0.1, torch.tensor([2.0, math.inf]))
    x = torch.tensor([[1.0, 1.0], [-3.0, 1.0], [2.1, 0.5], [0.1, 9.0]])
    u, cache = evaluate(model, x)
    assert u.isinf().tolist() == [False, True, True, False]
    torch.testing.assert_close(u, model(x))
    inside = torch.tensor([0, 3])
    torch.testing.assert_close(u[inside], positive(x[inside]))
    expected = 1 / x[inside] + torch.stack([0.5 / x[inside, 0].sqrt(), torch.zeros(2)], 1)
    torch.testing.assert_close(cache["g"][inside], expected)
    assert all(bool(model.space.contains(a).all()) for a in asked)
    assert not bool(cache["g"].isnan().any())


def test_a_box_of_one_number_a_side_is_for_every_coordinate():
    model = Boxed(correlated, -1.0, 2.0)
    x = torch.tensor([[-1.0, 2.0], [-1.1, 0.0], [0.0, 2.1]])
    assert model(x).isinf().tolist() == [False, True, True]
    assert str(model.space) == "[-1, 2]^n"
