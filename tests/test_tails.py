"""Infinite Z: what rays say of energies whose tails are known in closed form."""

import math

import pytest
import torch

import noneq
from noneq import MLP, Diagonal, Gaussian, GaussianMixture, Tilted
from noneq.tails import falling


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def radius(x):
    return x.flatten(1).norm(dim=1)


def power(extra):
    """``(d + extra) log r`` far out: Z is finite if and only if extra > 0."""
    return lambda x: (x[0].numel() + extra) / 2 * torch.log1p(x.flatten(1).square().sum(1))


def network(x):
    """Linear far out, and downwards in half of the directions at least: an odd function."""
    weight = torch.randn(x[0].numel(), 16, generator=seeded(1)) / x[0].numel() ** 0.5
    return torch.nn.functional.silu(x.flatten(1) @ weight) @ torch.linspace(-1, 0.8, 16)


IMPROPER = {
    "downwards": lambda x: -0.5 * radius(x),
    "a plane": lambda x: 0.3 * x.flatten(1)[:, 0],
    "nothing": lambda x: 0 * radius(x),
    "bounded": lambda x: -5 * torch.exp(-x.flatten(1).square().mean(1)),
    "bounded network": lambda x: torch.tanh(x.flatten(1)).sum(1),
    "network": network,
    "unbounded below": lambda x: -0.1 * radius(x).square(),
    "metastable": lambda x: radius(x).square() / 2 - 1e-4 * x.flatten(1).pow(4).sum(1),
    "cubic": lambda x: radius(x).square() / 2 + 0.05 * x.flatten(1)[:, 0].pow(3),
    "a narrow cone": lambda x: radius(x) - 1.2 * x.flatten(1)[:, 0],
    "tails too heavy": power(-0.2),
    "-inf far out": lambda x: -torch.exp(radius(x)) + 1e9,
}
PROPER = {
    "Gaussian": lambda x: (x.flatten(1) - 3).square().sum(1) / 2,
    "exponential": lambda x: 0.3 * radius(x),
    "root": lambda x: 2 * radius(x).sqrt(),
    "tails just light enough": power(0.2),
    "a cone": lambda x: radius(x) - 0.9 * x.flatten(1)[:, 0],
    "quartic": lambda x: x.flatten(1).pow(4).sum(1) - 5 * radius(x).square(),
    "curved valley": lambda x: (
        radius(x).square() / 2 + (x.flatten(1)[:, 1] - x.flatten(1)[:, 0].square()).square() / 2
    ),
    "wall": lambda x: torch.where(x.flatten(1).abs().amax(1) > 5, math.inf, -radius(x)),
    "overflow": lambda x: torch.exp(radius(x)),
    "NaN far out": lambda x: torch.where(radius(x) > 100, math.nan, -radius(x)),
}


@pytest.mark.parametrize("scale", [1e-2, 1.0, 1e3])
@pytest.mark.parametrize("shape", [(2,), (64,), (1, 5, 5)])
def test_a_ray_tells_an_energy_without_a_finite_integral(shape, scale):
    x = 0.5 + torch.randn(16, *shape, generator=seeded(2))
    for name, energy in IMPROPER.items():
        found = falling(lambda x, energy=energy: energy(x / scale), scale * x)
        assert found is not None, name
        assert "no finite integral" in found
        assert "noneq.Tilted(base, net)" in found
    for name, energy in PROPER.items():
        assert falling(lambda x, energy=energy: energy(x / scale), scale * x) is None, name


def test_solvable_models_and_tilted_ones_are_proper():
    # a base confines whatever network that is linear far out
    base = Gaussian(torch.tensor([0.3, -0.2]), Diagonal(torch.tensor([1.0, 0.7])))
    tilted = Tilted(base, MLP(2, width=16))
    for p in tilted.net.parameters():
        p.data = torch.randn(p.shape, generator=seeded(3))
    mixture = GaussianMixture(torch.eye(2), 0.1 * torch.eye(2).expand(2, 2, 2), torch.ones(2) / 2)
    x = base.sample(16, seeded(4))
    assert falling(tilted.net, x) is not None
    for model in (base, tilted, mixture):
        assert falling(model, x) is None


def test_one_point_has_a_scale_of_its_own():
    assert falling(lambda x: x.square().sum(1), torch.zeros(1, 3)) is None
    assert falling(lambda x: x.sum(1), torch.zeros(1, 3)) is not None


# -- as part of an audit ------------------------------------------------------------------------


def audit(name, dim):
    data = torch.randn(300, dim, generator=seeded(1))
    return noneq.log_z(
        IMPROPER[name], data=data, n=128, temperatures=50, equilibrate=20, rng=seeded(0)
    )


@pytest.mark.parametrize("dim", [2, 8, 64])
@pytest.mark.parametrize("name", ["metastable", "cubic"])
def test_walkers_that_stay_see_no_infinity_but_the_first_alarm_does(name, dim):
    z = audit(name, dim)
    assert "no finite integral" in z.alarms[0]
    assert len(z.alarms) == 1  # both sides agree on what the walkers see
    assert not z.bracketed


@pytest.mark.parametrize("dim", [2, 64])
def test_walkers_that_run_away_are_an_error_that_says_why(dim):
    def energy(x):
        return -2 * radius(x)

    data = torch.randn(300, dim, generator=seeded(1))
    with pytest.raises(ValueError, match="no finite integral") as caught:
        noneq.log_z(energy, data=data, n=32, temperatures=20, rng=seeded(0))
    assert isinstance(caught.value.__cause__, RuntimeError)
