"""Paths with a drift whose fields are known, for the tests of interpolants and transports."""

import pytest
import torch
from targets import seeded
from torch import nn

from noneq import Gaussian, GaussianMixture
from noneq.energies import Cholesky, Identity
from noneq.models import TimedMLP
from noneq.models.interpolants import (
    Linear,
    TimedEnergy,
    Trigonometric,
    VariancePreserving,
)

D = torch.float64


INTERPOLANTS = [Linear(), Trigonometric(), VariancePreserving(), Linear(0.8), Trigonometric(1.1)]


every_interpolant = pytest.mark.parametrize("interpolant", INTERPOLANTS, ids=str)


def base():
    return Gaussian(torch.tensor([0.3, -0.2], dtype=D), Identity(1.3))


def mixture():
    means = torch.tensor([[2.0, 1.0], [-1.5, 0.5], [0.0, -2.0]], dtype=D)
    covariances = [[[0.3, 0.1], [0.1, 0.2]], [[0.1, 0.0], [0.0, 0.15]], [[0.5, -0.2], [-0.2, 0.4]]]
    masses = torch.tensor([0.5, 0.3, 0.2], dtype=D)
    return GaussianMixture(means, torch.tensor(covariances, dtype=D), masses)


def points(n=6):
    return 1.5 * torch.randn(n, 2, generator=seeded(3), dtype=D)


def fields(path, x, t):
    u, cache = path.fields(x, t)
    return u, cache["b"], cache["s"] if "s" in cache else -cache["g"]


class Exact(nn.Module):
    """What a network would learn of a mixture: v or eta at times that are all the same."""

    def __init__(self, path, what):
        super().__init__()
        self.path, self.what = path, what

    def forward(self, x, t):
        c = self.path.interpolant.at(float(t[0]))
        _, g, b = self.path._all(x, float(t[0]))  # with its graph, as a network has
        return b - c.gamma_d_gamma * g if self.what == "v" else c.gamma * g


class Bend(nn.Module):
    """f with which a timed energy is that of another Gaussian, of covariance C_1."""

    def __init__(self, energy, c1):
        super().__init__()
        self.energy, self.c1 = [energy], c1

    def forward(self, x, t):
        (energy,) = self.energy
        out = []
        c0 = energy.base.factor.mul(torch.eye(2, dtype=D))
        c0 = c0.T @ c0
        for row, time in zip(x, t, strict=True):
            c = energy.interpolant.at(time)
            y = row - energy.base.mean
            s0, s1 = (c.alpha**2 + c.beta**2) * c0, c.alpha**2 * c0 + c.beta**2 * self.c1
            quadratic = y @ (torch.linalg.inv(s1) - torch.linalg.inv(s0)) @ y
            out.append((quadratic + torch.logdet(s1) - torch.logdet(s0)) / 2 / c.beta)
        return torch.stack(out)


def timed(interpolant=None, net=None, noise=0.4):
    c = torch.tensor([[1.0, 0.4], [0.4, 0.6]], dtype=D)
    start = Gaussian(torch.tensor([0.0, 0.0], dtype=D), Cholesky(c, D))
    with torch.random.fork_rng():
        torch.manual_seed(1)
        net = net or TimedMLP(2, 16, 2).double()
    return TimedEnergy(start, net, noise, interpolant)
