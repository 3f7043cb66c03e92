"""A mixture of Gaussians with a background is a density, and makes no row nearly impossible."""

import math

import pytest
import torch

from noneq.energies import GaussianMixture, moments, with_background
from noneq.run import choose
from noneq.run.bases import fit_base


def mixture():
    means = torch.tensor([[-1.0, 0.5], [2.0, -1.0], [0.5, 3.0]])
    covariances = torch.tensor([[[1.0, 0.3], [0.3, 0.4]], [[0.2, 0.0], [0.0, 1.5]]])
    covariances = torch.cat([covariances, 0.6 * torch.eye(2)[None]])
    return GaussianMixture(means, covariances, torch.tensor([0.5, 0.3, 0.2]))


def test_the_density_is_the_mixture_of_both():
    own, wide = mixture(), with_background(mixture(), 0.1)
    mean, covariance = moments(own)
    normal = torch.distributions.MultivariateNormal(mean.double(), 25 * covariance)
    x = 3 * torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    expected = (0.9 * (-own(x)).double().exp() + 0.1 * normal.log_prob(x.double()).exp()).log()
    assert torch.allclose((-wide(x)).double(), expected, atol=1e-4)
    assert wide.log_z() == 0.0
    # the mean stays, and the covariance grows by the mass times 24
    middle, new = moments(wide)
    assert torch.allclose(middle, mean, atol=1e-5)
    assert torch.allclose(new, (1 + 24 * 0.1) * covariance, rtol=1e-4)


def test_moves_are_preconditioned_as_without_it():
    own = mixture()
    assert with_background(own, 0.1).factor is own.factor


def test_a_row_off_the_plane_of_the_others_costs_tens_of_nats():
    # two columns that agree but for noise of 0.02; a row where they differ by one
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(400, 1, generator=rng)
    rows = torch.cat([x, x + 0.02 * torch.randn(400, 1, generator=rng)], 1)
    model = choose((2,), 400, "table", base="mixture", components=2, ridge=1e-6).model
    base = fit_base(model, rows, noise=0.0, seed=0)
    plain = GaussianMixture.fit(rows, 2, floor=1e-6)
    assert len(base.means) == 3
    far = torch.tensor([[1.0, 0.0]])
    assert float(plain(far)) > 1_000
    mean, covariance = moments(plain)
    normal = torch.distributions.MultivariateNormal(mean.double(), 25 * covariance)
    background = math.log(400) - float(normal.log_prob(far.double()))
    assert float(base(far)) == pytest.approx(background, abs=0.01)
    assert background < 60
    loss = float(base(rows).mean() - plain(rows).mean())
    assert 0 < loss < 1 / 400


@pytest.mark.parametrize("mass", [0.0, 1.0])
def test_a_mass_is_between_0_and_1(mass):
    with pytest.raises(ValueError, match="masses are K positive numbers"):
        with_background(mixture(), mass)
