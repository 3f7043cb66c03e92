"""Energies on paths: what they offer, and their derivative along the path."""

import pickle

import pytest
import torch

from noneq import MLP, Gaussian, Tilted
from noneq.energies import (
    Conditional,
    Drifted,
    GeometricPath,
    Identity,
    SnapshotPath,
    d_beta,
    evaluate,
)
from noneq.random import normal_like
from noneq.spaces import REAL


def points(n=20):
    return 2 * torch.randn(n, 2, generator=torch.Generator().manual_seed(1))


def normal(mean, scale):
    return Gaussian(torch.full((2,), mean), Identity(scale))


def tilted():
    energy = Tilted(normal(0.3, 1.5), MLP((2,), 8, 1))
    with torch.no_grad():
        for p in energy.parameters():
            p.normal_(generator=torch.Generator().manual_seed(2))
    return energy


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("beta", [0.0, 0.4, 1.0])
def test_d_beta_is_the_derivative_along_the_path(beta, shared):
    end, x = tilted(), points()
    start = end.base if shared else normal(-0.2, 0.8)
    path = GeometricPath(start, end)
    energy = path.at(beta)
    found = d_beta(energy, x, evaluate(energy, x)[1])
    torch.testing.assert_close(found, (end(x) - start(x)).detach(), rtol=1e-4, atol=1e-4)
    assert path.linear


def test_d_beta_is_known_only_where_it_costs_nothing():
    path, x = GeometricPath(normal(0.0, 1.0), normal(1.0, 2.0)), points()
    assert d_beta(path.end, x, evaluate(path.end, x)[1]) is None, "on no path"
    assert d_beta(path.at(0.5), x, {}) is None, "the cache of another energy"
    assert Offering().at(0.5).d_beta(x, {}) is None, "a path that does not tell it"


class Offering(SnapshotPath):
    """``U_beta = (1 + beta) |x|^2 / 2``."""

    space = REAL

    def evaluate(self, x, previous_cache, *, beta):
        return (1 + beta) * x.square().sum(1) / 2, {}


class OfGradients(Offering):
    def gradient(self, x, cache, *, beta):
        return (1 + beta) * x


class OfSweeps(Offering):
    def gibbs(self, x, cache, rng, *, beta):
        return normal_like(x, rng) / (1 + beta) ** 0.5


class OfDrifts(Offering):
    def drift(self, x, t):
        return -x / (2 * (1 + t))


def test_an_energy_on_a_path_offers_what_its_path_can_do():
    x, rng = points(4), torch.Generator().manual_seed(0)
    offers = {kind: kind().at(0.5) for kind in (Offering, OfGradients, OfSweeps, OfDrifts)}
    for kind, energy in offers.items():
        assert hasattr(energy, "gradient") == (kind is OfGradients)
        assert isinstance(energy, Conditional) == (kind is OfSweeps)
        assert isinstance(energy, Drifted) == (kind is OfDrifts)
        torch.testing.assert_close(energy(x), 0.75 * x.square().sum(1))
        copied = pickle.loads(pickle.dumps(energy))
        assert isinstance(copied, Conditional) == (kind is OfSweeps)
    torch.testing.assert_close(offers[OfGradients].gradient(x, {}), 1.5 * x)
    torch.testing.assert_close(evaluate(offers[OfGradients], x)[1]["g"], 1.5 * x)
    drawn, again = offers[OfSweeps].gibbs(x, {}, rng), torch.Generator().manual_seed(0)
    torch.testing.assert_close(drawn, normal_like(x, again) / 1.5**0.5)
    torch.testing.assert_close(offers[OfDrifts].drift(x, 1.0), -x / 4)
