"""Features of the drifts have the divergences that they say, and an exact drift leaves nothing."""

import math

import pytest
import torch

import noneq
from experiments.interpolants.escort import (
    Phi4,
    Wells,
    escorted,
    fit,
    learn,
    phi4_features,
    plane_features,
    well_features,
)


@pytest.mark.parametrize(
    ("features", "dim"), [(phi4_features, 64), (well_features, 16), (plane_features, 2)]
)
def test_divergences(features, dim):
    x = torch.randn(2, dim, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    values, divergences = features(x)
    jacobian = torch.autograd.functional.jacobian(lambda y: features(y[None])[0][:, 0], x[0])
    found = jacobian.diagonal(dim1=1, dim2=2).sum(-1)
    assert torch.allclose(found, divergences[:, 0], rtol=1e-9, atol=1e-9)
    assert values.shape == (len(divergences), 2, dim)


def test_the_lattice_has_the_symmetries_of_its_fields():
    x = torch.randn(1, 64, generator=torch.Generator().manual_seed(1), dtype=torch.double)
    shifted = x.view(-1, 8, 8).roll((2, 3), (1, 2)).mT.flatten(1)
    energy = Phi4().double()
    assert torch.allclose(energy(x), energy(shifted))
    assert torch.allclose(energy(x), energy(-x))
    values, moved = phi4_features(x)[0], phi4_features(shifted)[0]
    turned = values.view(-1, 8, 8).roll((2, 3), (1, 2)).mT.flatten(1)
    assert torch.allclose(moved[:, 0], turned)
    assert torch.allclose(phi4_features(-x)[0], -values)


class Wider(torch.nn.Module):
    """A Gaussian of mean 0 and variances 4."""

    dim = 16

    def forward(self, x):
        return x.square().sum(1) / 8


def test_between_gaussians_the_drift_is_exact():
    """``U_t`` has precision ``1 - 3 t / 4``, so that ``b = 3 x / (8 - 6 t)``."""
    rng = torch.Generator().manual_seed(0)
    base = noneq.Gaussian(torch.zeros(16), noneq.energies.Identity())
    x = base.sample(2000, rng) / math.sqrt(1 - 0.75 * 0.5)
    c, left = fit(base, Wider(), well_features, x, 0.5)
    drift = torch.tensordot(c, well_features(x)[0], 1)
    assert torch.allclose(drift, 3 * x / 5, atol=0.02)
    assert left < 1e-4
    times = [k / 20 for k in range(21)]
    path, left = learn(base, Wider(), well_features, times, 500, rng)
    walkers = escorted(path, 256, rng)
    assert left < 1e-3
    assert walkers.ess > 0.97
    assert walkers.log_z.value == pytest.approx(8 * math.log(8 * math.pi), abs=0.05)


def test_weights_are_right_whatever_the_drift_is():
    """Seed 0: a drift learned by 32 walkers is poor; log Z is within 4 standard errors."""
    rng = torch.Generator().manual_seed(0)
    base = noneq.Gaussian(torch.zeros(16), noneq.energies.Identity(1.5))
    target = Wells()
    grid = torch.linspace(-6, 6, 20_001, dtype=torch.double)
    one = float((grid / 2 + 6 * grid**2 - grid**4).logsumexp(0)) + math.log(12 / 20_000)
    exact = 8 * (one + math.log(2 * math.pi) / 2)
    path, _ = learn(base, target, well_features, [(k / 30) ** 2 for k in range(31)], 2000, rng)
    z = escorted(path, 2048, rng).log_z
    assert abs(z.value - exact) < 4 * z.stderr + 0.05
