import functools
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from noneq import MLP, Gaussian, GaussianMixture, Tilted, Walkers, check_energy
from noneq.energies import (
    Cholesky,
    Diagonal,
    GeometricPath,
    Identity,
    LowRank,
    Solvable,
    Tempered,
    evaluate,
    fingerprint,
)
from noneq.models import ConvNet

INF = math.inf
LOG_2PI = math.log(2 * math.pi)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=generator(seed))


def dense(factor, shape: tuple[int, ...]) -> Tensor:
    """The covariance a factor stands for, (d, d) float64."""
    d = math.prod(shape)
    root = factor.mul(torch.eye(d).view(d, *shape)).flatten(1).double().T
    return root @ root.T


def skewed(d: int, seed: int = 1) -> Tensor:
    """An asymmetric positive definite covariance with scales from 0.5 to about 3."""
    a = torch.randn(d, d, generator=generator(seed), dtype=torch.float64)
    return a @ a.T / d + torch.linspace(0.25, 2.0, d, dtype=torch.float64).diag()


def mixture(shape: tuple[int, ...] = (2,), seed: int = 2) -> GaussianMixture:
    """Three unequal components, far enough apart to have three modes."""
    d = math.prod(shape)
    means = 2.5 * normal(3, *shape, seed=seed)
    covariances = torch.stack([0.3 * (k + 1) * skewed(d, seed + k) for k in range(3)])
    return GaussianMixture(means, covariances.float(), torch.tensor([1.0, 2.5, 0.5]))


def network(shape: int | tuple[int, ...] = 2, seed: int = 3, size: float = 1.0) -> MLP:
    """A network that is not zero, with random last layer."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = MLP(shape, 16)
        nn.init.normal_(net.net[-1].weight, std=size)
        nn.init.normal_(net.net[-1].bias, std=size)
    return net


class Hook:
    """Counts the rows a module sees."""

    def __init__(self, *modules: nn.Module) -> None:
        self.rows = 0
        for module in modules:
            module.register_forward_hook(self._count)

    def _count(self, module: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> None:
        self.rows += len(args[0])


IMAGE = (2, 2, 2)
SOLVABLE = {
    "identity": lambda: Gaussian(torch.tensor([0.5, -1.0]), Identity(0.6)),
    "diagonal": lambda: Gaussian(torch.tensor([0.5, -1.0]), Diagonal(torch.tensor([0.4, 1.7]))),
    "low-rank": lambda: Gaussian(
        torch.tensor([0.5, -1.0]), LowRank(torch.tensor([0.4, 0.8]), torch.tensor([[1.0], [-0.7]]))
    ),
    "cholesky": lambda: Gaussian(torch.tensor([0.5, -1.0]), Cholesky(skewed(2))),
    "mixture": mixture,
    "one dimension": lambda: Gaussian(torch.tensor([0.7]), Identity(1.3)),
    "mixture, one dimension": lambda: GaussianMixture(
        torch.tensor([[-2.0], [1.0]]), torch.tensor([[[0.2]], [[0.9]]]), torch.tensor([0.7, 0.3])
    ),
    "image": lambda: Gaussian(normal(*IMAGE), Cholesky(skewed(8))),
    "image, diagonal": lambda: Gaussian(normal(*IMAGE), Diagonal(0.3 + normal(*IMAGE).abs())),
    "mixture of images": lambda: mixture(IMAGE),
}


def composed() -> dict[str, nn.Module]:
    """Energies made of energies, over two dimensions."""
    base = SOLVABLE["cholesky"]()
    return {
        "tilted": Tilted(base, network()),
        "tilted mixture": Tilted(mixture(), network()),
        "tempered": Tempered(base, 0.3),
        "tempered, tilted": Tempered(Tilted(base, network()), 1.7),
        "infinite temperature": Tempered(base, 0.0),
        "tilted twice": Tilted(Tilted(base, network()), network(seed=4)),
    }


def shape_of(model: nn.Module) -> tuple[int, ...]:
    if isinstance(model, GaussianMixture):
        return tuple(model.means.shape[1:])
    return tuple(model.mean.shape) if isinstance(model, Gaussian) else (2,)


# -- every energy: value, gradient, shape -----------------------------------------------------

EVERY = [*SOLVABLE, *composed()]


@pytest.mark.parametrize("name", EVERY)
def test_forward_evaluate_and_autograd_agree(name) -> None:
    model = SOLVABLE[name]() if name in SOLVABLE else composed()[name]
    x = 2 * normal(50, *shape_of(model))
    u, cache = evaluate(model, x)
    u_auto, auto = evaluate(model.forward, x)  # a plain callable: automatic differentiation
    assert u.shape == (50,)
    assert cache["g"].shape == x.shape
    assert not u.requires_grad
    assert not cache["g"].requires_grad
    torch.testing.assert_close(u, model(x).detach(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(u, u_auto, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(cache["g"], auto["g"], rtol=1e-4, atol=1e-5)
    check_energy(model, x)


@pytest.mark.parametrize("name", EVERY)
def test_gradient_is_a_difference_quotient(name) -> None:
    # float64, central differences of 1e-5 along a random direction: error 1e-8
    model = (SOLVABLE[name]() if name in SOLVABLE else composed()[name]).double()
    x, v = 2 * normal(20, *shape_of(model)).double(), normal(20, *shape_of(model), seed=5).double()
    slope = (model(x + 1e-5 * v) - model(x - 1e-5 * v)) / 2e-5
    along = (evaluate(model, x)[1]["g"] * v).flatten(1).sum(1)
    torch.testing.assert_close(along, slope.detach(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", SOLVABLE)
def test_energies_are_the_densities_of_torch(name) -> None:
    model = SOLVABLE[name]()
    shape = shape_of(model)
    x = 2 * normal(50, *shape)
    multivariate = torch.distributions.MultivariateNormal
    if isinstance(model, Gaussian):
        covariance = dense(model.factor, shape)
        p = multivariate(model.mean.flatten().double(), covariance)
    else:
        roots = model.roots.double()
        p = torch.distributions.MixtureSameFamily(
            torch.distributions.Categorical(logits=model.log_masses.double()),
            multivariate(model.means.flatten(1).double(), scale_tril=roots),
        )
    expected = -p.log_prob(x.flatten(1).double())
    found = model(x).double() + model.log_z()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", [name for name in SOLVABLE if "image" not in name])
def test_log_z_is_the_integral(name) -> None:
    # the trapezium rule on [-14, 14]: exact to rounding for smooth densities that vanish there
    model = SOLVABLE[name]()
    shape = shape_of(model)
    axis = torch.linspace(-14, 14, 4001 if shape == (1,) else 601)
    grid = torch.cartesian_prod(*[axis] * shape[0]).view(-1, *shape)
    spacing = float(axis[1] - axis[0])
    integral = (-model(grid).double()).logsumexp(0) + shape[0] * math.log(spacing)
    assert float(integral) == pytest.approx(model.log_z(), abs=1e-4)


@pytest.mark.parametrize("kind", ["Gaussian", "mixture"])
def test_energies_far_from_the_origin(kind) -> None:
    # Standard deviation 0.01 at 1,000. x - m is exact in float32; a product of x with L^-1 before
    # the subtraction would lose 1e5 times the rounding, and 0.01 nat.
    mean, root = torch.tensor([1000.0, -1000.0]), 0.01 * torch.eye(2)
    means, pi = torch.stack([mean, mean + 0.0625]), torch.tensor([1.0, 3.0])
    if kind == "Gaussian":
        model, means, pi = Gaussian(mean, Cholesky(root**2)), means[:1], pi[:1]
    else:
        model = GaussianMixture(means, (root**2).expand(2, 2, 2), pi)
    x = model.sample(200, generator(46))
    p = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(pi.double()),
        torch.distributions.MultivariateNormal(means.double(), scale_tril=root.double()),
    )
    found = evaluate(model, x)[0].double() + model.log_z()
    torch.testing.assert_close(found, -p.log_prob(x.double()), rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", SOLVABLE)
def test_samples_have_the_right_moments(name) -> None:
    # 40,000 samples, seed 6; means and all second moments within 4 standard errors, which come
    # from the sample
    model, n = SOLVABLE[name](), 40_000
    shape = shape_of(model)
    assert isinstance(model, Solvable)
    x = model.sample(n, generator(6))
    assert x.shape == (n, *shape)
    if isinstance(model, Gaussian):
        mean, covariance = model.mean.flatten().double(), dense(model.factor, shape)
    else:
        pi, m = model.log_masses.double().exp(), model.means.flatten(1).double()
        mean = pi @ m
        within = torch.einsum("k,kij,klj->il", pi, model.roots.double(), model.roots.double())
        covariance = within + torch.einsum("k,ki,kj->ij", pi, m - mean, m - mean)
    r = x.flatten(1).double() - mean
    assert (r.mean(0).abs() <= 4 * r.std(0) / math.sqrt(n)).all()
    products = (r[:, :, None] * r[:, None, :]).flatten(1)
    error = products.std(0) / math.sqrt(n)
    assert ((products.mean(0) - covariance.flatten()).abs() <= 4 * error).all()


def test_a_mixture_samples_its_components_by_mass() -> None:
    # seed 7: components 20 standard deviations apart; 4 se of a proportion
    means = torch.tensor([[-20.0, 0.0], [0.0, 0.0], [20.0, 0.0]])
    masses, n = torch.tensor([6.0, 3.0, 1.0]), 20_000
    model = GaussianMixture(means, torch.eye(2).expand(3, 2, 2), masses)
    x = model.sample(n, generator(7))
    pi = (masses / masses.sum()).double()
    found = torch.stack([((x[:, 0] - m).abs() < 10).double().mean() for m in means[:, 0]])
    assert ((found - pi).abs() <= 4 * (pi * (1 - pi) / n).sqrt()).all()


def test_samples_depend_on_their_generator_alone() -> None:
    for make in SOLVABLE.values():
        model = make()
        before = torch.get_rng_state()
        first = model.sample(5, generator(8))
        assert torch.equal(first, model.sample(5, generator(8)))
        assert not torch.equal(first, model.sample(5, generator(9)))
        assert torch.equal(torch.get_rng_state(), before)


def test_the_mixture_refuses_what_is_none() -> None:
    means, covariances = torch.zeros(3, 2), torch.eye(2).expand(3, 2, 2)
    for masses in ([1.0, 0.0, 1.0], [1.0, -1.0, 1.0], [1.0, math.nan, 1.0], [[1.0, 1.0, 1.0]]):
        with pytest.raises(ValueError, match="masses are K positive numbers"):
            GaussianMixture(means, covariances, torch.tensor(masses))
    with pytest.raises(ValueError, match="not positive definite"):
        GaussianMixture(means, covariances - 2 * torch.eye(2), torch.ones(3))


def test_the_mixture_has_as_many_masses_and_covariances_as_means() -> None:
    # one mass for three means would be used three times: Z = 3, and log_z() = 0
    means, covariances = torch.zeros(3, 2), torch.eye(2).expand(3, 2, 2)
    for masses in (torch.ones(1), torch.ones(2), torch.ones(4)):
        with pytest.raises(ValueError, match="mass"):
            GaussianMixture(means, covariances, masses)
    with pytest.raises(ValueError, match="covariance"):
        GaussianMixture(means, covariances[:2], torch.ones(3))


# -- fitting ----------------------------------------------------------------------------------

FITS = ("full", "diagonal", "low-rank")


@pytest.mark.parametrize("kind", FITS)
def test_fit_recovers_a_known_gaussian(kind) -> None:
    # 20,000 rows, seed 10; entries of the covariance within 4 se, sqrt((C_ii C_jj + C_ij^2) / n),
    # plus the floor; each kind is given data of its own family
    n, d = 20_000, 6
    mean = torch.linspace(-2, 3, d)
    if kind == "full":
        truth = skewed(d)
    elif kind == "diagonal":
        truth = torch.linspace(0.2, 4.0, d).double().diag()
    else:
        w = normal(d, 2, seed=11).double() * torch.tensor([2.0, 1.0]).double()
        truth = w @ w.T + 0.3 * torch.eye(d).double()
    x = Gaussian(mean, Cholesky(truth)).sample(n, generator(10))
    fitted = Gaussian.fit(x, kind, rank=2)
    found = dense(fitted.factor, (d,))
    variances = truth.diagonal()
    error = ((variances[:, None] * variances + truth.square()) / n).sqrt()
    floor = 1e-4 * float(variances.mean())
    assert ((found - truth).abs() <= 4 * error + 1.1 * floor).all()
    torch.testing.assert_close(fitted.mean, x.mean(0), rtol=0, atol=1e-5)
    assert ((fitted.mean - mean).abs() <= 4 * (variances / n).sqrt()).all()


@pytest.mark.parametrize("kind", FITS)
def test_noise_adds_its_variance(kind) -> None:
    # 20,000 rows, whose shrinkage (in units that the noise is part of) is 1e-4
    x = Gaussian(torch.zeros(*IMAGE), Cholesky(skewed(8))).sample(20_000, generator(12))
    plain, noisy = Gaussian.fit(x, kind, rank=3), Gaussian.fit(x, kind, rank=3, noise=0.6)
    added = dense(noisy.factor, IMAGE) - dense(plain.factor, IMAGE)
    torch.testing.assert_close(added, 0.36 * torch.eye(8).double(), rtol=0, atol=2e-3)
    assert torch.equal(noisy.mean, plain.mean)


def test_diagonal_fit_is_maximum_likelihood_plus_the_floor() -> None:
    x = normal(100, 3, seed=13) * torch.tensor([0.5, 1.0, 3.0]) + 4
    variance = x.double().var(0, correction=0)
    for floor in (1e-4, 0.1):
        fitted = Gaussian.fit(x, "diagonal", floor=floor)
        expected = variance * (1 + floor)
        torch.testing.assert_close(
            dense(fitted.factor, (3,)).diagonal(), expected, rtol=1e-5, atol=0
        )


def test_a_ridge_takes_the_place_of_shrinkage_and_floor() -> None:
    x = normal(40, 3, seed=13) @ torch.tensor([[1.0, 0.5, 0.0], [0.0, 1.0, 2.0], [0.0, 0.0, 0.5]])
    truth = x.double().T.cov(correction=0)
    for ridge, noise in ((1e-3, 0.0), (0.3, 0.5)):
        found = dense(Gaussian.fit(x, ridge=ridge, noise=noise).factor, (3,))
        expected = truth + (ridge * truth.diagonal() + noise**2).diag()
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
        alone = dense(Gaussian.fit(x, "diagonal", ridge=ridge, noise=noise).factor, (3,))
        torch.testing.assert_close(alone.diagonal(), expected.diagonal(), rtol=1e-5, atol=1e-6)
    shrunk = dense(Gaussian.fit(x).factor, (3,))
    assert float((shrunk - truth).abs().max()) > 0.01, "Ledoit and Wolf shrink 40 rows"


@pytest.mark.parametrize("kind", FITS)
def test_a_floor_of_zero_needs_healthy_data_only(kind) -> None:
    x = Gaussian(torch.zeros(3), Cholesky(skewed(3))).sample(200, generator(14))
    found = dense(Gaussian.fit(x, kind, floor=0.0).factor, (3,))
    near = dense(Gaussian.fit(x, kind, floor=1e-7).factor, (3,))
    torch.testing.assert_close(found, near, rtol=1e-4, atol=1e-5)


def degenerate() -> dict[str, Tensor]:
    x = normal(60, 5, seed=15)
    constant = x.clone()
    constant[:, [0, 3]] = 2.0
    collinear = x.clone()
    collinear[:, 4] = 3 * x[:, 0] - x[:, 1]
    mixed_scale = x * torch.tensor([1e3, 1.0, 1.0, 1.0, 1e3])
    return {
        "constant columns": constant,
        "one column alive": torch.cat([x[:, :1], torch.ones(60, 4)], 1),
        "collinear": collinear,
        "copies of one column": x[:, :1].expand(60, 5).contiguous(),
        "two rows": x[:2],
        "fewer rows than dimensions": normal(4, 5, seed=16),
        "far fewer": normal(5, 8, 8, seed=17),
        "scales 1 and 1,000": mixed_scale,
        "far from zero": x + 1e4,
        "one column": x[:, :1],
        "integers": (10 * x).round().long(),
    }


@pytest.mark.parametrize("name", degenerate())
@pytest.mark.parametrize("kind", FITS)
def test_degenerate_data_still_give_a_proper_density(kind, name) -> None:
    x = degenerate()[name]
    fitted = Gaussian.fit(x, kind)
    shape = tuple(x.shape[1:])
    d = math.prod(shape)
    covariance = dense(fitted.factor, shape)
    assert float(torch.linalg.eigvalsh(covariance)[0]) > 0
    expected = d / 2 * LOG_2PI + float(torch.linalg.slogdet(covariance)[1]) / 2
    # float32 products: an eigenvalue of 1e-4 of the largest is known to 1e-3 of itself
    assert fitted.log_z() == pytest.approx(expected, abs=1e-2 * d)
    sample = fitted.sample(10, generator(18))
    assert sample.shape == (10, *shape)
    for rows in (x.to(sample.dtype), sample):
        u, cache = evaluate(fitted, rows)
        assert bool(torch.isfinite(u).all())
        assert bool((u >= 0).all())
        assert bool(torch.isfinite(cache["g"]).all())
        # no row is impossible: a chi^2 of d degrees of freedom a row, with room for the shrinkage
        assert float(2 * u.max()) < 100 * d


@pytest.mark.parametrize("kind", FITS)
def test_fit_keeps_the_precision_of_the_data(kind) -> None:
    x = normal(50, *IMAGE, seed=19)
    for dtype in (torch.float32, torch.float64):
        fitted = Gaussian.fit(x.to(dtype), kind)
        sample = fitted.sample(3, generator(20))
        u, cache = evaluate(fitted, x.to(dtype))
        assert (sample.dtype, u.dtype, cache["g"].dtype) == (dtype, dtype, dtype)
        assert sample.shape == (3, *IMAGE)
    mixed = GaussianMixture.fit(x.double(), 2)
    assert mixed(x.double()).dtype == mixed.sample(3, generator(20)).dtype == torch.float64


def test_fit_says_what_is_wrong() -> None:
    x = normal(20, 3, seed=21)
    with pytest.raises(ValueError, match="two or more finite rows, got 1 rows"):
        Gaussian.fit(x[:1])
    with pytest.raises(ValueError, match="two or more finite rows, got 0 rows"):
        Gaussian.fit(x[:0])
    for bad in (math.nan, INF):
        spoiled = x.clone()
        spoiled[7, 1] = bad
        with pytest.raises(ValueError, match="NaN or infinite"):
            Gaussian.fit(spoiled)
    for kind in FITS:
        with pytest.raises(ValueError, match="all rows are equal"):
            Gaussian.fit(torch.ones(10, 3), kind)
        assert math.isfinite(Gaussian.fit(torch.ones(10, 3), kind, noise=0.1).log_z())
    with pytest.raises(ValueError, match="'full', 'diagonal' or 'low-rank', got 'fancy'"):
        Gaussian.fit(x, "fancy")


def test_fitted_gaussian_does_not_hold_on_to_the_data() -> None:
    x = normal(20, 3, seed=22).requires_grad_(True)
    fitted = Gaussian.fit(x)
    assert not list(fitted.parameters())
    assert not any(buffer.requires_grad for buffer in fitted.buffers())


def test_mixture_fit_recovers_well_separated_components() -> None:
    # 6,000 rows of a known mixture, seed 23; means and masses within 4 se, noise on the diagonal
    means = torch.tensor([[-6.0, 0.0], [6.0, 3.0]])
    covariances = torch.stack([skewed(2, 24), 0.5 * skewed(2, 25)]).float()
    truth = GaussianMixture(means, covariances, torch.tensor([0.7, 0.3]))
    n = 6_000
    x = truth.sample(n, generator(23))
    fitted = GaussianMixture.fit(x, 2, floor=1e-6)
    order = fitted.means[:, 0].argsort()
    pi = fitted.log_masses.exp()[order]
    assert abs(float(pi[0]) - 0.7) < 4 * math.sqrt(0.21 / n)
    for k, share in enumerate((0.7, 0.3)):
        error = (covariances[k].diagonal() / (share * n)).sqrt()
        assert ((fitted.means[order[k]] - means[k]).abs() <= 4 * error).all()
        root = fitted.roots[order[k]]
        variances = covariances[k].diagonal()
        spread = ((variances[:, None] * variances + covariances[k] ** 2) / (share * n)).sqrt()
        assert ((root @ root.T - covariances[k]).abs() <= 4 * spread + 1e-4).all()
    noisy = GaussianMixture.fit(x, 2, floor=1e-6, noise=0.5)
    order = noisy.means[:, 0].argsort()
    root = noisy.roots[order[0]]
    added = root @ root.T - fitted.roots[fitted.means[:, 0].argsort()[0]] @ (
        fitted.roots[fitted.means[:, 0].argsort()[0]].T
    )
    torch.testing.assert_close(added, 0.25 * torch.eye(2), rtol=0, atol=1e-2)


def test_mixture_fit_on_images_and_constant_columns() -> None:
    x = normal(80, *IMAGE, seed=26)
    x[:, 0, 0, 0] = 1.0
    x[:40] += 5
    fitted = GaussianMixture.fit(x, 2)
    u, cache = evaluate(fitted, x)
    assert cache["g"].shape == x.shape
    assert bool(torch.isfinite(u).all())
    assert fitted.sample(3, generator(27)).shape == (3, *IMAGE)
    again = GaussianMixture.fit(x, 2)  # deterministic
    assert torch.equal(fitted(x), again(x))


# -- composed energies ------------------------------------------------------------------------


def test_tilted_starts_as_its_base() -> None:
    for base, net, shape in (
        (SOLVABLE["cholesky"](), MLP(2, 16), (2,)),
        (mixture(IMAGE), ConvNet(IMAGE, 4, 1), IMAGE),
    ):
        x = normal(20, *shape, seed=28)
        u, cache = evaluate(Tilted(base, net), x)
        u0, cache0 = evaluate(base, x)
        assert torch.equal(u, u0)
        assert torch.equal(cache["g"], cache0["g"])


def test_tempered_refuses_a_negative_beta() -> None:
    for beta in (-0.1, math.nan):
        with pytest.raises(ValueError, match="inverse temperature >= 0"):
            Tempered(mixture(), beta)


def paths() -> dict[str, tuple[GeometricPath, nn.Module, nn.Module]]:
    base, other = SOLVABLE["cholesky"](), mixture()
    tilted = Tilted(base, network())
    return {
        "shared base": (GeometricPath(base, tilted), base, tilted),
        "another base": (GeometricPath(other, tilted), other, tilted),
        "generic": (GeometricPath(base, other), base, other),
        "plain callable": (GeometricPath(base, other.forward), base, other),
    }


@pytest.mark.parametrize("name", paths())
def test_a_path_is_the_formula(name) -> None:
    path, start, end = paths()[name]
    x = 2 * normal(30, 2, seed=29)
    u0, g0 = evaluate(start.forward, x)
    u1, g1 = evaluate(end.forward, x)
    was = None
    for beta in (0.0, 0.3, 0.31, 1.0, 0.5):
        for cache in (None, was):  # with and without what an earlier temperature left behind
            u, found = evaluate(path.at(beta), x, cache)
            expected = (1 - beta) * u0 + beta * u1
            torch.testing.assert_close(u, expected, rtol=1e-5, atol=1e-5)
            gradient = (1 - beta) * g0["g"] + beta * g1["g"]
            torch.testing.assert_close(found["g"], gradient, rtol=1e-4, atol=1e-5)
        assert torch.equal(path.at(beta)(x), u)
        was = found


@pytest.mark.parametrize("name", paths())
def test_a_path_evaluates_nothing_twice(name) -> None:
    path, start, end = paths()[name]
    nets = [m for m in (start, end) if isinstance(m, Tilted)]
    net, x = Hook(*(m.net for m in nets)), normal(30, 2, seed=30)
    was = evaluate(path.at(0.2), x)[1]
    assert net.rows == 30 * len(nets)
    for beta in (0.2, 0.7, 1.0, 0.0):
        was = evaluate(path.at(beta), x, was)[1]
    assert net.rows == 30 * len(nets)
    evaluate(path.at(0.5), x, {"g": was["g"]})  # a cache of another energy is no use
    assert net.rows == 2 * 30 * len(nets)


def test_a_path_with_a_shared_base_evaluates_it_once() -> None:
    base = SOLVABLE["cholesky"]()
    calls = []
    own = base.evaluate

    def counted(x, previous_cache=None, graph=False):
        calls.append(len(x))
        return own(x, previous_cache, graph)

    base.evaluate = counted
    evaluate(GeometricPath(base, Tilted(base, network())).at(0.5), normal(30, 2))
    assert calls == [30]


def test_a_path_has_its_limits() -> None:
    path, _, _ = paths()["generic"]
    for beta in (-1e-9, 1.0 + 1e-9, math.nan):
        with pytest.raises(ValueError, match=r"beta is in \[0, 1\]"):
            path.at(beta)
    with pytest.raises(ValueError, match="no parameters to differentiate"):
        evaluate(path.at(0.5), normal(3, 2), graph=True)


def half_space(x: Tensor) -> Tensor:
    """A hard wall: +inf, a legal energy, where the first coordinate is negative."""
    return torch.where(x[:, 0] >= 0, x.square().sum(1), INF)


def test_a_path_to_a_hard_wall() -> None:
    # U = +inf is legal: beta = 0 must still be U_0 there, not 0 times inf
    base = SOLVABLE["cholesky"]()
    path, x = GeometricPath(base, half_space), normal(40, 2, seed=31)
    behind = x[:, 0] < 0
    for beta in (1.0, 0.25, 1e-50, math.nextafter(0, 1)):  # the last two are 0 in float32
        u, _ = evaluate(path.at(beta), x)
        assert torch.equal(u == INF, behind), beta
        assert not bool(u.isnan().any()), beta
    u, cache = evaluate(path.at(0.0), x)
    torch.testing.assert_close(u, evaluate(base, x)[0])
    torch.testing.assert_close(cache["g"], evaluate(base, x)[1]["g"])


def test_infinite_temperature_of_a_hard_wall() -> None:
    x = normal(40, 2, seed=31)
    for energy in (Tempered(half_space, 0.0), Tempered(half_space, 0.0).forward):
        u, cache = evaluate(energy, x)
        assert torch.equal(u, torch.zeros(40))
        assert torch.equal(cache["g"], torch.zeros(40, 2))
    behind = x[:, 0] < 0
    u, _ = evaluate(Tempered(half_space, 1e-50), x)
    assert torch.equal(u == INF, behind)


# -- evaluate ---------------------------------------------------------------------------------


class Plain:
    """A callable that is no module."""

    def __call__(self, x: Tensor) -> Tensor:
        return quartic(x, 0.7)


def quartic(x: Tensor, a: float) -> Tensor:
    return (x**4).sum(1) / 4 + a * x[:, 0]


def test_any_callable_is_an_energy() -> None:
    x = normal(9, 2, seed=32)
    expected = x**3 + torch.tensor([0.7, 0.0])
    for energy in (
        Plain(),
        Plain().__call__,
        lambda x: quartic(x, 0.7),
        functools.partial(quartic, a=0.7),
    ):
        u, cache = evaluate(energy, x)
        torch.testing.assert_close(u, quartic(x, 0.7))
        torch.testing.assert_close(cache["g"], expected)
        check_energy(energy, x)


def test_evaluate_leaves_no_traces() -> None:
    net = network()
    x = normal(9, 2, seed=33)
    kept = x.clone()
    with torch.no_grad():  # as inside a sampler: the gradient to x is there all the same
        _, cache = evaluate(net, x)
    torch.testing.assert_close(cache["g"], evaluate(net, x)[1]["g"])
    assert torch.equal(x, kept)
    assert not x.requires_grad
    assert all(p.grad is None and p.requires_grad for p in net.parameters())
    frozen = network().requires_grad_(False)
    torch.testing.assert_close(evaluate(frozen, x)[1]["g"], cache["g"])
    assert not any(p.requires_grad for p in frozen.parameters())


def trainable() -> dict[str, tuple[object, nn.Module]]:
    net, base = network(), SOLVABLE["cholesky"]()
    return {
        "module": (net, net),
        "callable": (lambda x: 2 * net(x), net),
        "tilted": (Tilted(base, net), net),
        "tempered": (Tempered(net, 0.4), net),
        "both": (Tempered(Tilted(base, net), 0.4), net),
    }


@pytest.mark.parametrize("name", trainable())
def test_graph_keeps_the_parameters_and_changes_no_number(name) -> None:
    model, net = trainable()[name]
    x, c = normal(9, 2, seed=34), normal(9, seed=35)
    u, cache = evaluate(model, x, graph=True)
    plain, other = evaluate(model, x)
    assert torch.equal(u.detach(), plain)
    assert torch.equal(cache["g"], other["g"])
    assert u.requires_grad
    assert not plain.requires_grad
    assert not cache["g"].requires_grad
    parameters = list(net.parameters())
    found = torch.autograd.grad((c * u).sum(), parameters)
    expected = torch.autograd.grad((c * model(x)).sum(), parameters)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("name", trainable())
def test_autocast_is_off_inside(name) -> None:
    model, _ = trainable()[name]
    x = normal(9, 2, seed=36)
    plain, cache = evaluate(model, x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model(x).dtype == torch.bfloat16 or not torch.equal(model(x), plain)
        u, inside = evaluate(model, x)
        kept, _ = evaluate(model, x, graph=True)
        assert torch.is_autocast_enabled("cpu")  # and on again outside
    assert u.dtype == torch.float32
    assert torch.equal(u, plain)
    assert torch.equal(inside["g"], cache["g"])
    assert torch.equal(kept.detach(), plain)


def test_evaluate_refuses_wrong_shapes() -> None:
    x = normal(9, 2, seed=37)
    with pytest.raises(ValueError, match=r"Linear returned shape \(9, 1\).*squeeze\(-1\)"):
        evaluate(nn.Linear(2, 1), x)
    with pytest.raises(ValueError, match=r"returned shape \(\).*one energy per row, not their"):
        evaluate(lambda x: x.square().sum(), x)
    with pytest.raises(ValueError, match=r"expected \(9,\)"):
        evaluate(lambda x: x[:3].sum(1), x)


# -- fingerprint ------------------------------------------------------------------------------


class Everything(nn.Module):
    """Parameters and buffers of every kind."""

    def __init__(self) -> None:
        super().__init__()
        self.plain = nn.Parameter(normal(3, 2))
        self.wide = nn.Parameter(normal(4).double())
        self.brain = nn.Parameter(normal(5).bfloat16())
        self.narrow = nn.Parameter(normal(3).half())
        self.scalar = nn.Parameter(torch.tensor(0.5).double())
        self.register_buffer("counter", torch.arange(3))
        self.register_buffer("octets", torch.arange(3, dtype=torch.uint8))
        self.register_buffer("flag", torch.tensor([True, False]))
        self.register_buffer("hidden", normal(2).double(), persistent=False)
        self.register_buffer("strided", normal(4, 3).T)
        self.large = nn.Parameter(normal(2**16))  # its last entry has a place without odd factors

    def forward(self, x: Tensor) -> Tensor:
        return x.sum(1)


INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def flip(tensor: Tensor, bit: int) -> None:
    """Flip one bit of the last entry, in place, behind autograd's back."""
    kind = INTEGERS[tensor.element_size()]
    bits = tensor.data.as_strided((tensor.numel(),), (1,)).view(kind)
    sign = bit == 8 * tensor.element_size() - 1 and kind != torch.uint8
    bits[-1] ^= -(2**bit) if sign else 2**bit


def test_fingerprint_sees_every_single_bit() -> None:
    # every bit of the last entry of every kind of tensor: integers wrap, so that a high bit
    # times an even place may be nothing
    model = Everything()
    before, unseen = fingerprint(model), []
    for name, tensor in model.state_dict(keep_vars=True).items():
        for bit in range(1 if tensor.dtype == torch.bool else 8 * tensor.element_size()):
            flip(tensor, bit)
            if bool(fingerprint(model) == before):
                unseen.append((name, tensor.dtype, bit))
            flip(tensor, bit)
            assert bool(fingerprint(model) == before)
    model.hidden[0] += 1e-12  # not in the state dict
    assert bool(fingerprint(model) != before)
    assert not unseen


def test_fingerprint_sees_changes_that_cancel_in_a_sum() -> None:
    # Adam's first step moves every parameter by lr: two of one binade and opposite gradients
    # change the sum of their bit patterns by nothing
    model = nn.Module()
    model.a = nn.Parameter(torch.tensor([1.25, 1.625]))
    before = fingerprint(model)
    model.a.grad = torch.tensor([1.0, -1.0])
    torch.optim.Adam([model.a], lr=0.01).step()
    assert bool(fingerprint(model) != before)
    before = fingerprint(model)
    model.a.data = model.a.data.flip(0)
    assert bool(fingerprint(model) != before)
    # the same in two tensors of one number each
    model.a, model.b = nn.Parameter(torch.tensor(1.25)), nn.Parameter(torch.tensor(1.625))
    before = fingerprint(model)
    model.a.grad, model.b.grad = torch.tensor(1.0), torch.tensor(-1.0)
    torch.optim.Adam(model.parameters(), lr=0.01).step()
    assert bool(fingerprint(model) != before)
    before = fingerprint(model)
    model.a.data, model.b.data = model.b.data, model.a.data
    assert bool(fingerprint(model) != before)


def test_fingerprint_sees_pairs_of_signs() -> None:
    # a sign is the highest bit: two of them add up to nothing where integers wrap
    model = nn.Module()
    model.a = nn.Parameter(normal(12))
    before = fingerprint(model)
    for i in range(12):
        for j in range(i):
            model.a.data[[i, j]] *= -1
            assert bool(fingerprint(model) != before), (i, j)
            model.a.data[[i, j]] *= -1
    for n in (2, 4, 8, 12):
        model.a.data[:n] *= -1
        assert bool(fingerprint(model) != before), n
        model.a.data[:n] *= -1
    assert bool(fingerprint(model) == before)


def test_fingerprint_sees_every_optimiser() -> None:
    x = normal(9, 2, seed=38)
    for make in (
        lambda p: torch.optim.SGD(p, lr=1e-6),
        lambda p: torch.optim.SGD(p, lr=1e-3, momentum=0.9, foreach=True),
        lambda p: torch.optim.Adam(p, lr=1e-4),
        lambda p: torch.optim.Adam(p, lr=1e-4, fused=True),
        lambda p: torch.optim.AdamW(p, lr=1e-4, foreach=True),
    ):
        net = network()
        optimizer = make(net.parameters())
        for _ in range(3):
            before = fingerprint(net)
            net(x).sum().backward()
            optimizer.step()
            assert bool(fingerprint(net) != before)


def test_fingerprint_sees_data_buffers_and_loading() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    marks = [fingerprint(net)]
    net[0].weight.data[1, 1] += 1e-6
    marks.append(fingerprint(net))
    net(normal(9, 2))  # the running mean of batch normalisation
    marks.append(fingerprint(net))
    net.load_state_dict(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).state_dict())
    marks.append(fingerprint(net))
    net.bfloat16()
    marks.append(fingerprint(net))
    assert len({int(m) for m in marks}) == len(marks)


def test_fingerprint_sees_complex_parameters() -> None:
    model = nn.Module()
    model.a = nn.Parameter(torch.tensor([0.25 + 0.5j, 0.1 - 0.2j]))
    for part in (0, 1):
        before = fingerprint(model)
        torch.view_as_real(model.a.data)[0, part] *= 1.5
        assert bool(fingerprint(model) != before)


def test_fingerprint_sees_nothing_else() -> None:
    net = network()
    before = fingerprint(net)
    x = normal(9, 2, seed=39)
    evaluate(net, x, graph=True)[0].sum().backward()  # gradients are not parameters
    net.eval()
    net.requires_grad_(False)
    clone = network()
    clone.load_state_dict(net.state_dict())
    torch.manual_seed(0)
    for same in (net, clone):
        assert bool(fingerprint(same) == before)
    assert before.shape == ()


def test_fingerprint_knows_what_it_cannot_know() -> None:
    net = network()

    def plain(x: Tensor) -> Tensor:
        return net(x)

    for model in (plain, net.forward, Plain(), functools.partial(plain)):
        assert fingerprint(model) is None
    # a module around a plain callable knows no more than the callable
    for model in (Tempered(plain, 0.5), Tempered(Tempered(plain, 0.5), 0.5)):
        assert fingerprint(model) is None


def test_walkers_follow_a_closure_inside_a_tempered_energy() -> None:
    # what the last test is about: weights that never hear of an update
    net = network()
    model = Tempered(lambda x: net(x) + x.square().sum(1), 0.5)
    walkers = Walkers.at(normal(8, 2, seed=40), model)
    before = model(walkers.x).detach().double()
    with torch.no_grad():
        net.net[-1].weight.add_(1.0)
    expected = before - model(walkers.x).detach().double()
    found = walkers.reweight(model).log_w
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_fingerprint_sees_the_temperature() -> None:
    model = Tempered(network(), 0.5)
    before = fingerprint(model)
    model.beta = 0.6
    assert bool(fingerprint(model) != before)


def test_paths_have_marks_of_their_own() -> None:
    path, start, end = paths()["generic"]
    other = GeometricPath(start, end)
    assert bool(fingerprint(path.at(0.1)) == fingerprint(path.at(0.9)))
    assert bool(fingerprint(path.at(0.1)) != fingerprint(other.at(0.1)))


# -- check_energy -----------------------------------------------------------------------------


class Net(nn.Module):
    """Layers in a row, then (B,)."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.net = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x).squeeze(-1)


class Autocast(Net):
    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return super().forward(x)


def seeded(make, seed: int = 0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make()


def layers(extra: nn.Module | None = None, zero: bool = False) -> list[nn.Module]:
    last = nn.Linear(16, 1)
    if zero:
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
    middle = [] if extra is None else [extra]
    return [nn.Linear(2, 16), nn.SiLU(), *middle, last]


def spectral() -> nn.Module:
    # Square layers: power iterations that are nearly over after torch's first 15 steps change U
    # by 1e-7 (seed 0) to 7e-5 (seed 2) a call, and by 2e-5 to 7e-4 after the next update: what
    # gives them away is that a forward pass changes the module's buffers.
    wide = [spectral_norm(nn.Linear(2, 32)), nn.SiLU(), spectral_norm(nn.Linear(32, 32))]
    return Net(*wide, nn.SiLU(), nn.Linear(32, 1))


ONLY_TRAINING = {
    "dropout": (lambda: Net(*layers(nn.Dropout(0.3))), "dropout"),
    "batch norm": (
        lambda: Net(*layers(nn.BatchNorm1d(16))),
        "batch normalisation in training mode",
    ),
    "spectral norm": (spectral, "spectral normalisation"),
}


@pytest.mark.parametrize("name", ONLY_TRAINING)
def test_layers_that_change_in_training_are_refused(name) -> None:
    make, text = ONLY_TRAINING[name]
    x = normal(16, 2, seed=41)
    for seed in range(5):
        net = seeded(make, seed)
        with pytest.raises(ValueError, match=text) as error:
            check_energy(net, x)
        assert "model.eval()" in str(error.value)
        assert str(error.value).startswith("Net ")
        assert net.training  # a user's mode is her own
        check_energy(net.eval(), x)  # what the message advises works


class Functional(nn.Module):
    """Dropout without a layer."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x, 0.3, training=self.training)


HIDDEN = {
    "dropout": (lambda: nn.Dropout(0.3), "dropout"),
    "batch norm": (lambda: nn.BatchNorm1d(16), "batch normalisation"),
    "spectral norm": (lambda: spectral_norm(nn.Linear(16, 16)), "spectral normalisation"),
    "functional dropout": (Functional, "dropout"),
    "batch norm without memory": (  # the batch's own mean and variance, eval() or not
        lambda: nn.BatchNorm1d(16, track_running_stats=False).eval(),
        "batch normalisation",
    ),
}


@pytest.mark.parametrize("name", HIDDEN)
def test_they_are_refused_behind_a_last_layer_of_zeros(name) -> None:
    # f = 0 at first is how training starts: the fault shows only after the first update
    extra, text = HIDDEN[name]
    net = seeded(lambda: Net(*layers(extra(), zero=True)))
    with pytest.raises(ValueError, match=text):
        check_energy(Tilted(SOLVABLE["cholesky"](), net), normal(16, 2, seed=41))


class Unsteady:
    """Right the first time, something else later."""

    def __init__(self, later: float) -> None:
        self.later, self.calls = later, 0

    def __call__(self, x: Tensor) -> Tensor:
        self.calls += 1
        return quartic(x, 0.7) + (0.0 if self.calls == 1 else self.later)


@pytest.mark.parametrize("later", [1e-2, math.nan, INF])
def test_an_energy_that_changes_is_refused(later) -> None:
    with pytest.raises(ValueError, match=r"asked twice|NaN"):
        check_energy(Unsteady(later), normal(16, 2, seed=42))


WRONG = {
    "a column": (lambda x: x.sum(1, keepdim=True), r"returned shape \(16, 1\).*squeeze\(-1\)"),
    "a scalar": (lambda x: x.square().sum(), r"returned shape \(\).*one energy per row"),
    "a matrix": (lambda x: x, r"returned shape \(16, 2\) for 16 rows; expected \(16,\)"),
    "too few": (lambda x: x[1:].sum(1), r"returned shape \(15,\)"),
    "NaN": (lambda x: x[:, 0].log(), r"returned NaN on \d+ of 16 rows"),
    "integers": (lambda x: x.sum(1).long(), r"returned torch\.int64; energies are floating"),
    "booleans": (lambda x: x.sum(1) > 0, r"returned torch\.bool; energies are floating"),
    "detached": (lambda x: x.detach().sum(1), "carries no gradient to x"),
    "constant": (lambda x: torch.zeros(len(x)), "carries no gradient to x"),
    "without gradient": (torch.no_grad()(lambda x: x.sum(1)), "carries no gradient to x"),
    "numpy": (lambda x: np.square(x.detach().numpy()).sum(1), r"ndarray"),
    "None": (lambda x: None, r"None"),
    "infinite gradient": (lambda x: (x[:, 0] - x[:, 0].detach()).abs().sqrt(), "not finite"),
    "minus infinity": (lambda x: torch.where(x[:, 0] > 0, x.sum(1), -INF), r"-inf"),
}


@pytest.mark.parametrize("name", WRONG)
def test_the_error_names_the_cause(name) -> None:
    energy, text = WRONG[name]
    with pytest.raises(ValueError, match=text):
        check_energy(energy, normal(16, 2, seed=43))


def test_half_precision_energies_are_refused() -> None:
    # bfloat16 has 8 bits: a weight exp(-(U - U')) of energies near 100 is off by half a nat
    net, x = seeded(lambda: Autocast(*layers())), normal(16, 2, seed=44)
    for energy in (net, lambda x: quartic(x, 0.7).half()):
        with pytest.raises(ValueError, match=r"autocast|half|float16"):
            check_energy(energy, x)


def test_good_energies_pass() -> None:
    x = normal(16, 2, seed=45)
    for n in (1, 2, 5, 16):
        for energy in (quartic_energy, network(), Tilted(mixture(), network()), half_space):
            check_energy(energy, x[:n])
    check_energy(GeometricPath(mixture(), network()).at(0.4), x)
    check_energy(lambda x: quartic(x, 1e6), x)  # the scale is the energy's own
    check_energy(seeded(lambda: Net(*layers(nn.LayerNorm(16)))), x)
    check_energy(network((1, 2, 1)), x.view(16, 1, 2, 1))
    for extra in (nn.Dropout(0.0), nn.BatchNorm1d(16).eval(), nn.Dropout(0.3).eval()):
        check_energy(Net(*layers(extra, zero=True)), x)


def quartic_energy(x: Tensor) -> Tensor:
    return quartic(x, 0.7)


@pytest.mark.parametrize("part", [1, 7, 50])
def test_a_large_batch_is_evaluated_in_parts(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory of activations is bounded; energies, gradients and reused caches are the same."""
    base, x = Gaussian(normal(3, seed=1), Identity(0.7)), normal(20, 3)
    energy = Tilted(base, network(3))
    path = GeometricPath(base, energy)
    whole, was = evaluate(energy, x), evaluate(path.at(0.2), x)[1]
    later = evaluate(path.at(0.6), x, was)
    monkeypatch.setattr("noneq.numerics.PART", part)
    seen: list[int] = []
    energy.net.register_forward_hook(lambda _m, a, _u: seen.append(len(a[0])))
    u, cache = evaluate(energy, x)
    torch.testing.assert_close((u, cache), whole)
    assert max(seen) == max(1, part // 3)
    assert sum(seen) == 20
    torch.testing.assert_close(evaluate(path.at(0.6), x, was), later)
    assert sum(seen) == 20, "a reused cache evaluates nothing"
    evaluate(energy, x, graph=True)
    assert seen[-1] == 20, "a graph needs all rows at once"


def test_a_graph_leaves_no_gradient_at_the_positions() -> None:
    """The loss's backward would fill it for nobody: a copy of the walkers."""
    energy = MLP(3)
    held: list[Tensor] = []
    energy.register_forward_pre_hook(lambda _m, a: held.append(a[0]))
    u, _ = evaluate(energy, torch.randn(5, 3), graph=True)
    u.mean().backward()
    assert held[0].grad is None
    assert any(p.grad is not None and bool(p.grad.any()) for p in energy.parameters())


@pytest.mark.parametrize("kind", ["full", "diagonal", "low-rank"])
def test_units_do_not_matter_to_a_fit(kind: str) -> None:
    """Columns in nanometres and in years: the same density, up to the units."""
    units = torch.tensor([1e-6, 1.0, 3e4, 1e-2, 1.0])
    x = normal(60, 5) @ skewed(5).float() + 1.0
    x[:, 4] = 2.0
    plain, other = Gaussian.fit(x, kind, rank=2), Gaussian.fit(x * units, kind, rank=2)
    a, b = dense(plain.factor, (5,)), dense(other.factor, (5,))
    rest = slice(0, 4)  # a constant column borrows the mean variance, which has units
    torch.testing.assert_close(
        (b / units / units[:, None])[rest, rest], a[rest, rest], rtol=1e-3, atol=1e-3
    )
    assert bool(torch.isfinite(b).all())


def test_the_mark_sees_a_temperature() -> None:
    class Warm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.beta, self.calls, self.log_z = 0.5, 0, math.nan

        def forward(self, x: Tensor) -> Tensor:
            return self.beta * x.square().sum(1)

    base, warm = Gaussian(torch.zeros(2), Identity()), Warm()
    tilted = Tilted(base, warm)
    marks = [fingerprint(tilted)]
    walkers = Walkers.sample(base, 8, generator()).reweight(tilted)
    warm.calls = 7  # a count is no part of an energy
    assert fingerprint(tilted) == marks[0]
    warm.beta = 1.0
    assert fingerprint(tilted) != marks[0]
    torch.testing.assert_close(walkers.reweight(tilted).state.u, tilted(walkers.x))


@pytest.mark.parametrize("which", ["energy", "g"])
def test_an_evaluation_of_its_own_that_differs_from_forward_is_refused(which: str) -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.square().sum(1) / 2

        def evaluate(self, x: Tensor, previous_cache: object = None, graph: bool = False):
            u, g = x.square().sum(1) / 2, x.clone()
            return (u + 0.1, {"g": g}) if which == "energy" else (u, {"g": 2 * g})

    with pytest.raises(ValueError, match=f"evaluate gives another {which} than its forward"):
        check_energy(Two(), normal(8, 2))
    for solvable in SOLVABLE.values():
        base = solvable()
        check_energy(base, base.sample(8, generator()))
