"""Infinite Z: what rays say of energies whose tails are known in closed form."""

import math

import pytest
import torch

import noneq
from noneq import MLP, Gaussian, GaussianMixture, GaussianRBM, Tilted
from noneq.energies import Boxed, Diagonal
from noneq.likelihood import regions
from noneq.likelihood.integrability import tails
from noneq.likelihood.rays import Field, Rays
from noneq.likelihood.regions import NO, PROVEN, Ray


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
        found = tails(lambda x, energy=energy: energy(x / scale), scale * x).alarm
        assert found is not None, name
        assert "no finite integral" in found
        assert "noneq.Tilted(base, net)" in found
    for name, energy in PROPER.items():
        assert tails(lambda x, energy=energy: energy(x / scale), scale * x).alarm is None, name


def relu_network(d, seed=1):
    """Piecewise linear, with random weights."""
    sizes = ((d, 32), (32, 32), (32, 1))
    weights = [torch.randn(*size, generator=seeded(seed + i)) for i, size in enumerate(sizes)]

    def network(x):
        a, b, c = (w.to(x) for w in weights)
        return ((x.flatten(1) @ a).relu() @ b).relu().matmul(c)[:, 0]

    return network


def powers(exponents):
    """``sum_i a_i log(1 + |x_i|)``: Z is finite if and only if all a > 1."""
    return lambda x: (torch.as_tensor(exponents).to(x) * torch.log1p(x.abs())).sum(1)


def axis(a, across=1.0):
    """One axis falls as ``|x|^-a``, the others are Gaussian."""
    return lambda x: a * torch.log1p(x[:, 0].abs()) + across * x[:, 1:].square().sum(1) / 2


def plane(a):
    """Two axes fall as ``r^-a``, the others are Gaussian: Z is finite if and only if a > 2."""
    return lambda x: a * radius(1 + x[:, :2].abs()).log() + x[:, 2:].square().sum(1) / 2


def horn(p):
    """A tube that becomes narrower as ``r^-p``: Z is finite if and only if p > 1."""
    return lambda x: x[:, 1].square() * (1 + x[:, 0].square()) ** p / 2


#: of energies in d dimensions: whether Z is finite, whether U grows slower than linearly
PAPER = {
    "axis .8": (axis(0.8), False, True),
    "axis 1": (axis(1.0), False, True),
    "axis 1.05": (axis(1.05), True, True),
    "axis 2": (axis(2.0), True, True),
    "narrow axis": (axis(0.8, 1e4), False, True),
    "narrow axis 1.2": (axis(1.2, 1e4), True, True),
    "plane 1.9": (plane(1.9), False, True),
    "plane 2.1": (plane(2.1), True, True),
    "clipped": (lambda x: relu_network(x.shape[1])(x).abs().clamp(max=1e5), False, True),
    "clipped parabola": (lambda x: (x.square().sum(1) / 2).clamp(max=1e5), False, True),
    "confined": (lambda x: relu_network(x.shape[1])(x) + x.square().sum(1) / 2, True, False),
    "half a space": (Boxed(lambda x: x.sum(1), 0.0, math.inf), True, False),
    "half, .8": (Boxed(powers(0.8), 0.0, math.inf), False, True),
    "half, 1.2": (Boxed(powers(1.2), 0.0, math.inf), True, True),
    "box": (Boxed(lambda x: -x.sum(1), -3.0, 3.0), True, False),
    "floor": (lambda x: -torch.log(torch.exp(-x.square().sum(1) / 2) + 1e-30), False, True),
    "double well": (lambda x: (x[:, 0].square() - 4).square() + radius(x), True, False),
    "log squared": (lambda x: torch.log1p(x.square().sum(1)).square(), True, True),
    "banana": (
        lambda x: x[:, 0].square() / 2 + (x[:, 1:] - x[:, :1].square()).square().sum(1) * 200,
        True,
        False,
    ),
    "Laplace": (lambda x: x.abs().sum(1), True, False),
    "root": (lambda x: 2 * radius(x).sqrt(), True, True),
    "funnel": (
        lambda x: x[:, 0].square() / 18
        + (x[:, 1:].square().sum(1) * (-x[:, 0]).exp() + (x.shape[1] - 1) * x[:, 0]) / 2,
        True,
        False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("d", [2, 3, 8, 64])
def test_infinite_integrals_and_heavy_tails_are_told_from_finite_and_light_ones(d, seed):
    x = torch.randn(500, d, generator=seeded(seed))
    for name, (energy, finite, heavy) in PAPER.items():
        found = tails(energy, x.abs().clamp(max=3) if "half" in name or name == "box" else x)
        assert found.proven is not finite, (name, found)
        assert (found.alarm is None) is finite, (name, found)
        assert found.heavy is heavy, (name, found)
        if not finite:
            assert "exp(-U) has no finite integral" in found.alarm


@pytest.mark.parametrize("d", [1, 2, 3, 8, 64])
@pytest.mark.parametrize("a", [0.8, 1.0, 1.05, 1.2, 2.0])
def test_products_of_powers_have_an_integral_where_every_factor_has(a, d):
    # along an axis U grows by less than d log r in all of them: a cone is what it takes
    x = torch.randn(500, d, generator=seeded(d))
    for last in (a, 3.0):
        energy = powers([a, *[last] * (d - 1)])
        assert tails(energy, x) == (
            (tails(energy, x).alarm, True, True) if a <= 1 else (None, False, True)
        ), last


@pytest.mark.parametrize("d", [1, 3, 8, 64])
@pytest.mark.parametrize("nu", [-0.2, 0.05, 0.5, 1.0, 4.0, 30.0])
def test_student_densities_are_heavy_and_have_an_integral_if_nu_is_positive(nu, d):
    # rows of its own: below one degree of freedom they have no mean
    z = torch.randn(500, d, generator=seeded(1))
    s = torch.distributions.Chi2(max(nu, 0.2))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        x = z / (s.sample((500, 1)) / max(nu, 0.2)).sqrt()
    for rows in (x, x + 1e3):
        found = tails(power(nu), rows)
        assert found.heavy
        assert found.proven is (nu < 0)
        assert (found.alarm is None) is (nu > 0)


@pytest.mark.parametrize("d", [2, 3, 16])
def test_an_axis_that_is_no_coordinate_is_found(d):
    turn = torch.linalg.qr(torch.randn(d, d, generator=seeded(d)))[0]
    rows = torch.randn(500, d, generator=seeded(1))
    rows[:, 0] *= 5
    for a in (0.8, 1.2, 2.0):
        found = tails(lambda x, a=a: axis(a)(x @ turn), rows @ turn.T)
        assert found.heavy
        assert (found.alarm is None) is (a > 1)
        assert found.proven is (a < 1)


def test_a_tube_that_narrows_is_weighed_by_its_widths():
    x = torch.tensor([[0.0, 0.0], [1.0, 0.5], [-1.0, -0.5]])
    assert tails(horn(0.8), x).proven
    assert not tails(horn(1.2), x).proven


def test_a_ray_on_the_side_of_a_valley_proves_nothing():
    # which it enters only far out: U falls along it, though the integral is finite
    field = Field(axis(1.2, 1e4), torch.eye(2))
    near, far = torch.tensor([[2.0**10, 0.2], [2.0**20, 0.0]], dtype=torch.float64)
    v = (far - near) / (far - near).norm()
    ray = Rays((near - 2.0**10 * v)[None], v[None])
    radii = 2.0 ** torch.arange(10.0, 21, 2, dtype=torch.float64)
    energies = field.energies(ray.at(radii))[0]
    assert energies[0] > energies[-1]
    assert Ray(field, ray, radii).finding().certainty == NO


def test_a_cone_is_enough_where_widths_would_cost_too_much():
    found = tails(lambda x: torch.tanh(x).sum(1), torch.randn(50, 1100, generator=seeded(0)))
    assert found.proven


@pytest.mark.parametrize("half", [0.3, 0.03])
def test_a_cone_without_walls_is_found_if_it_is_narrow(half, monkeypatch):
    # U is 0 in a cone around the first axis, and rises with the distance from it elsewhere
    def energy(x):
        inside = x[:, 0] > 0
        return torch.where(inside, (x[:, 1].abs() - half * x[:, 0]).relu(), x.norm(dim=1))

    monkeypatch.setattr(regions, "MOST", 0)  # no widths of their own
    field, radii = Field(energy, torch.eye(2)), 2.0 ** torch.arange(10.0, 21, 2).double()
    ray = Rays(torch.zeros(1, 2).double(), torch.tensor([[1.0, 0.0]]).double())
    assert Ray(field, ray, radii).finding().certainty == PROVEN


def test_what_may_have_no_integral_is_said_to():
    # finite, but its mass is at log r = 32
    energy = lambda x: radius(x).clamp(min=1).log().square()  # noqa: E731
    found = tails(energy, torch.randn(200, 64, generator=seeded(0)))
    assert not found.proven
    assert "exp(-U) may have no finite integral" in found.alarm


def test_sites_and_boxes_have_no_tails():
    def never(x):
        raise AssertionError

    never.space = noneq.spaces.BINARY
    assert tails(never, torch.zeros(3, 2)) == (None, False, False)
    never.space = noneq.spaces.Box(-1.0, torch.tensor([2.0, 3.0]))
    assert tails(never, torch.zeros(3, 2)) == (None, False, False)


def test_an_rbm_of_numbers_is_light():
    rows = 3 + torch.randn(200, 6, generator=seeded(0))
    machine = GaussianRBM.from_data(rows, 4, seeded(1), scale=2.0)
    assert tails(machine, rows) == (None, False, False)


@pytest.mark.parametrize(("d", "most"), [(1, 6_000), (8, 7_000), (64, 9_000), (784, 9_000)])
def test_tails_cost_little(d, most):
    rows = []

    def energy(x):
        rows.append(len(x))
        return x.square().sum(1) / 2

    assert tails(energy, torch.randn(300, d, generator=seeded(0))).alarm is None
    assert sum(rows) < most


def test_solvable_models_and_tilted_ones_are_proper():
    # a base confines whatever network that is linear far out
    base = Gaussian(torch.tensor([0.3, -0.2]), Diagonal(torch.tensor([1.0, 0.7])))
    tilted = Tilted(base, MLP(2, width=16))
    for p in tilted.net.parameters():
        p.data = torch.randn(p.shape, generator=seeded(3))
    mixture = GaussianMixture(torch.eye(2), 0.1 * torch.eye(2).expand(2, 2, 2), torch.ones(2) / 2)
    x = base.sample(16, seeded(4))
    assert tails(tilted.net, x).alarm is not None
    for model in (base, tilted, mixture):
        assert tails(model, x).alarm is None


def test_one_point_has_a_scale_of_its_own():
    assert tails(lambda x: x.square().sum(1), torch.zeros(1, 3)).alarm is None
    assert tails(lambda x: x.sum(1), torch.zeros(1, 3)).alarm is not None


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
        noneq.log_z(energy, data=data, n=32, temperatures=200, rng=seeded(0))
    assert isinstance(caught.value.__cause__, RuntimeError)
