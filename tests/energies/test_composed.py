"""Products and mixtures of energies, against closed forms and quadrature."""

import math

import pytest
import torch

import noneq
from noneq import Gaussian, Walkers
from noneq.energies import Bernoulli, Boxed, Identity, Product, Union, check_energy


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gaussian(centre: list[float], scale: float) -> Gaussian:
    return Gaussian(torch.tensor(centre), Identity(scale))


ONE, TWO = gaussian([0.0, 1.0], 1.0), gaussian([1.0, -0.5], 0.7)


def test_a_product_of_gaussians_is_the_gaussian_of_their_precisions():
    a, b = 1.0, 2.0 / 0.49  # the precisions, the second one squared by its power
    mean = (a * ONE.mean + b * TWO.mean) / (a + b)
    off = float((ONE.mean - TWO.mean).square().sum())
    exact = math.log(2 * math.pi / (a + b)) - a * b / (a + b) * off / 2
    product = Product([ONE, TWO], [1.0, 2.0])
    walkers = Walkers.sample(ONE, 16_384, generator(0)).reweight(product)
    z = walkers.log_z
    assert abs(z.value - exact) < 4 * z.stderr  # islands' standard error, seed 0
    assert torch.allclose(walkers.mean(walkers.x), mean, atol=0.03)
    bracketed = noneq.log_z(product, ONE, n=256, temperatures=100)
    assert abs(bracketed.value - exact) < 0.1


def test_a_negative_power_divides():
    ratio = Product([TWO, ONE], [1.0, -0.5])
    x = torch.randn(50, 2, generator=generator(1))
    assert torch.allclose(ratio(x), TWO(x) - 0.5 * ONE(x), atol=1e-6)


@pytest.mark.parametrize("kind", ["product", "union"])
def test_gradients_are_those_of_automatic_differentiation(kind):
    energy = Product([ONE, TWO], [0.5, 1.5]) if kind == "product" else (
        Union([ONE, TWO], [ONE.log_z(), TWO.log_z()], [1.0, 3.0]))  # fmt: skip
    check_energy(energy, torch.randn(64, 2, generator=generator(2)))


def test_a_union_is_normalised_and_has_the_mean_of_its_parts():
    either = Union([ONE, TWO], [ONE.log_z(), TWO.log_z()], [1.0, 3.0])
    axis = torch.linspace(-8, 8, 801)
    grid = torch.cartesian_prod(axis, axis)
    p = (-either(grid).double()).exp() * 0.02**2
    assert float(p.sum()) == pytest.approx(1, abs=1e-4)
    mean = (p[:, None] * grid).sum(0).float()
    assert torch.allclose(mean, ONE.mean / 4 + 3 * TWO.mean / 4, atol=1e-3)


def test_energies_of_networks_keep_their_graph_in_a_composition():
    nets = [noneq.Tilted(ONE, noneq.MLP(2, width=8)) for _ in range(2)]
    walkers = Walkers.sample(ONE, 64, generator(0))
    _, u = walkers.reweight(Product(nets), graph=True)
    u.sum().backward()
    assert all(net.net.net[-1].bias.grad is not None for net in nets)


def test_bits_are_composed_too():
    a, b = Bernoulli(torch.tensor([1.0, -0.5])), Bernoulli(torch.tensor([0.3, 2.0]))
    states = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    both = Product([a, b])
    assert torch.allclose(both(states), a(states) + b(states))
    either = Union([a, b], [a.log_z(), b.log_z()])
    assert float((-either(states)).logsumexp(0)) == pytest.approx(0, abs=1e-5)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="got none"):
        Product([])
    for powers in ([1.0], [1.0, math.nan]):
        with pytest.raises(ValueError, match="as many finite powers"):
            Product([ONE, TWO], powers)
    with pytest.raises(ValueError, match="one space"):
        Product([Boxed(ONE, -1.0, 0.5), Boxed(ONE, torch.tensor([-1.0, -0.5]), 0.5)])
    with pytest.raises(ValueError, match="one space"):
        Product([ONE, Bernoulli(torch.zeros(2))])
    with pytest.raises(ValueError, match="positive masses"):
        Union([ONE, TWO], [0.0, 0.0], [1.0, 0.0])
    with pytest.raises(ValueError, match="log Z"):
        Union([ONE, TWO], [0.0])


def test_walls_stay_walls():
    inside, outside = torch.tensor([[0.2, 0.1]]), torch.tensor([[2.0, 0.0]])
    boxed = Boxed(ONE, -1.0, 1.0)
    both = Product([boxed, boxed], [1.0, 0.5])
    assert float(both(outside)) == math.inf
    assert float(both(inside)) == pytest.approx(1.5 * float(ONE(inside)))
    assert float(Product([boxed, boxed], [1.0, 0.0])(outside)) == math.inf
    either = Union([boxed, boxed], [0.0, 0.0])
    u, cache = either.evaluate(outside)
    assert float(u) == math.inf
    assert bool(cache["g"].isfinite().all())


def test_estimates_are_taken_for_their_log_z():
    z = noneq.log_z(ONE)
    exact = Union([ONE, TWO], [ONE.log_z(), TWO.log_z()])
    x = torch.randn(9, 2, generator=generator(3))
    assert torch.allclose(Union([ONE, TWO], [z, TWO.log_z()])(x), exact(x))
