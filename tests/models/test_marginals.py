"""Energies at all times of Gaussian mixtures, and the times at which scores are learned."""

import math

import pytest
import torch
from drifting import seeded

from noneq import Gaussian
from noneq.energies import Cholesky, Diagonal, GaussianMixture, Identity, moments
from noneq.models import TimedMLP
from noneq.models.interpolants import EnergyPath, Linear, MixturePath, TimedEnergy, Trigonometric
from noneq.models.interpolants.marginals import GaussianMarginals, MixtureMarginals

D = torch.float64


def unequal():
    """Three components of unequal masses, means and covariances, one of them narrow."""
    a = [[[1.0, 0.3], [0.0, 0.8]], [[0.1, 0.0], [0.2, 0.3]], [[0.5, -0.4], [0.1, 1.2]]]
    root = torch.tensor(a, dtype=D)
    c = root @ root.mT + 0.01 * torch.eye(2, dtype=D)
    means = torch.tensor([[2.0, 1.0], [-1.0, 0.5], [0.5, -3.0]], dtype=D)
    return GaussianMixture(means, c, torch.tensor([0.2, 0.5, 0.3], dtype=D))


def points(n=60):
    return 2 * torch.randn(n, 2, generator=seeded(4), dtype=D)


@pytest.mark.parametrize("interpolant", [Trigonometric(), Linear()], ids=str)
@pytest.mark.parametrize("t", [0.0, 0.05, 0.5, 0.9, 1.0])
def test_energy_score_and_drift_are_those_of_the_mixture_path(interpolant, t):
    mixture, x = unequal(), points()
    own = MixtureMarginals(mixture)
    mean, covariance = moments(mixture)
    # relative to the mean, both ends of the path have mean 0
    start = Gaussian(torch.zeros_like(mean), Cholesky(covariance, D))
    roots = mixture.roots @ mixture.roots.mT
    end = GaussianMixture(mixture.means - mean, roots, mixture.log_masses.exp())
    u, fields = MixturePath(interpolant, start, end).fields(x - mean, t)
    c = interpolant.at(t)
    found, g = own.fields(x, c)
    torch.testing.assert_close(found, u)
    torch.testing.assert_close(g, fields["g"])
    torch.testing.assert_close(own.drift(x, c), fields["b"])
    torch.testing.assert_close(own.score((x - mean) @ own.q, c), -g @ own.q)
    columns = type(c)(*(value.to(D).expand(len(x), 1) for value in c))
    torch.testing.assert_close(own.energy(x, columns), u)


@pytest.mark.parametrize("factor", [Diagonal(torch.tensor([0.3, 2.0]), D), Identity(1.7)], ids=str)
def test_the_axes_of_a_diagonal_covariance_are_at_hand(factor):
    base = Gaussian(torch.tensor([0.4, -1.0], dtype=D), factor)
    own, x = GaussianMarginals(base), points()
    assert (own.q.dtype, own.variance.dtype) == (D, D)
    torch.testing.assert_close((own.q * own.variance) @ own.q.T, base.covariance().to(D))
    like = GaussianMarginals(Gaussian(base.mean, Cholesky(base.covariance(), D)))
    c = Trigonometric().at(0.4)
    for one in (own, like):
        g = base.covariance().to(D).inverse() @ (x - base.mean).T / c.width
        torch.testing.assert_close(one.score((x - base.mean) @ one.q, c) @ one.q.T, -g.T)


def test_an_untrained_energy_is_the_mixture_itself():
    mixture, x = unequal(), points()
    energy = TimedEnergy(mixture, TimedMLP(2, 8, 1).double(), 0.0, nearest=0.1)
    torch.testing.assert_close(energy(x), mixture(x))
    path = EnergyPath(energy)
    assert path.base is energy.marginals.start
    torch.testing.assert_close(path.fields(x, 0.0)[0], path.base(x))
    assert energy.path_from(mixture) is None


def test_moments_are_those_of_samples():
    mixture = unequal()
    mean, covariance = moments(mixture)
    x = mixture.sample(200_000, seeded(1))
    error = x.std(0) / math.sqrt(len(x))
    assert bool(((x.mean(0) - mean).abs() < 4 * error).all())
    torch.testing.assert_close(torch.cov(x.T), covariance, atol=0.05, rtol=0.02)


class Recorded(TimedMLP):
    """A network that keeps the times it was asked at."""

    def forward(self, x, t, rng=None):
        self.times = t.detach()
        return super().forward(x, t, rng)


def test_times_come_as_near_to_the_data_as_asked():
    net = Recorded(2, 8, 1).double()
    energy = TimedEnergy(unequal(), net, 0.0, nearest=0.02)
    energy.score_loss(points(20_000), seeded(2))
    alpha = (math.pi / 2 * (1 - net.times)).sin()
    assert 0.02 <= float(alpha.min()) < 0.0202
    # log-uniform: the mean of log alpha is half of log 0.02, with this standard error
    depth = alpha.log() / math.log(0.02)
    assert abs(float(depth.mean()) - 0.5) < 4 * math.sqrt(1 / 12 / 20_000)
    with pytest.raises(ValueError, match="`nearest` is a number from 0 and below 1"):
        TimedEnergy(unequal(), net, 0.0, nearest=1.0)
    with pytest.raises(ValueError, match="needs noise > 0"):
        TimedEnergy(unequal(), net, 0.0)


def test_the_loss_is_least_at_the_truth():
    # rows are drawn from the mixture: f = 0 is the truth, and other networks lose by it
    mixture = unequal()
    energy = TimedEnergy(mixture, TimedMLP(2, 8, 1).double(), 0.0, nearest=0.1)
    weight = energy.net.net[-1].weight

    def loss(seed):
        return energy.score_loss(mixture.sample(2000, seeded(seed)), seeded(100 + seed))

    each = torch.stack([torch.autograd.grad(loss(seed), weight)[0] for seed in range(40)])
    assert float((each.mean(0).abs() / each.std(0) * math.sqrt(40)).max()) < 4
