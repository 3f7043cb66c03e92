"""Hostile densities on R^n: modes that are rare in the rows, rings, valleys, walls, tails."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

import noneq
from noneq import MLP, Gaussian, Tilted, testing
from noneq.data import digits
from noneq.energies import Cholesky, Diagonal
from noneq.likelihood.score import energy_of

from .targets import Case, Veiled, gaussian_mixture, isotropic, on_diagonal, seeded

ROWS = 1000


def modes(means, scales, masses, shares, *, base=None, rows=ROWS, seed=0):
    """A mixture whose modes hold other shares of the rows than of the mass; log Z = 0."""
    energy = gaussian_mixture(means, scales, masses)
    counts = [round(rows * share) for share in shares]
    rng = seeded(100 + seed)
    parts = []
    for k, count in enumerate(counts):
        if count:
            one = gaussian_mixture([means[k]], [scales[k]], [1.0])
            parts.append(one.sample(count, rng))
    return Case(Veiled(energy), base, torch.cat(parts), 0.0)


def rare(dim, distance, mass, share, scales=(1.0, 1.0), seed=0):
    """Two modes; the far one holds much of the mass and few of the rows."""
    means = [[0.0] * dim, on_diagonal(dim, distance)]
    return modes(means, scales, [1 - mass, mass], [1 - share, share], seed=seed)


def rare_three(seed):
    means = [[0.0, 0.0, 0.0], [15.0, 0.0, 0.0], [0.0, 15.0, 0.0]]
    return modes(means, [1.0] * 3, [0.25, 0.25, 0.5], [0.49, 0.49, 0.02], seed=seed)


def rare_in_grid(seed):
    """25 modes, one of them with 40 % of the mass and 1 % of the rows."""
    means = [[8.0 * i, 8.0 * j] for i in range(5) for j in range(5)]
    masses = [0.025] * 24 + [0.4]
    return modes(means, [0.5] * 25, masses, [0.99 / 24] * 24 + [0.01], rows=2000, seed=seed)


def rare_two_of_five(seed):
    means = [[0.0] * 8, *(torch.eye(8)[:4] * 12.0).tolist()]
    masses = [0.15, 0.15, 0.1, 0.3, 0.3]
    return modes(means, [1.0] * 5, masses, [0.4, 0.38, 0.2, 0.01, 0.01], seed=seed)


def rare_squeezed(seed):
    """The rare mode is thin in two directions and long in two."""
    means = [[0.0] * 6, on_diagonal(6, 20.0)]
    scales = [1.0, [0.1, 0.1, 1.0, 1.0, 4.0, 4.0]]
    return modes(means, scales, [0.5, 0.5], [0.98, 0.02], seed=seed)


def planted(dim, distance, scales=(0.5, 0.5), mass=0.9, seed=0):
    """Most of the mass is in a mode without rows; the base, between the modes, reaches it."""
    base = isotropic(dim, on_diagonal(dim, distance / 2), max(1.0, distance / 2))
    means = [[0.0] * dim, on_diagonal(dim, distance)]
    return modes(means, scales, [1 - mass, mass], [1.0, 0.0], base=base, seed=seed)


def unseen(dim, distance, mass=0.6, scale=0.6, seed=0):
    """The rows have a mode far outside of the base."""
    means, base = [[0.0] * dim, on_diagonal(dim, distance)], isotropic(dim, 0.0, scale)
    return modes(means, [0.5, 0.5], [1 - mass, mass], [1 - mass, mass], base=base, seed=seed)


def hidden_nine(dim, seed):
    """60 % of the mass in a mode of equal width, 9 standard deviations off, without a row."""
    base = isotropic(dim, on_diagonal(dim, 4.5), 4.5)
    means = [[0.0] * dim, on_diagonal(dim, 9.0)]
    return modes(means, [1.0, 1.0], [0.4, 0.6], [1.0, 0.0], base=base, seed=seed)


def one_sided_base(seed):
    """A base at one of two modes of three; rows of both in the right shares."""
    means = [[0.0] * 3, [9.0, 0.0, 0.0], [0.0, -7.0, 0.0]]
    masses = [0.2, 0.5, 0.3]
    return modes(means, [1.0] * 3, masses, masses, base=isotropic(3, 0.0, 1.2), seed=seed)


def one_sided_rows(seed):
    """Rows on one side only; the base covers both, of unequal widths."""
    means = [[-3.0, 0.0, 0.0], [3.0, 0.0, 0.0]]
    base = isotropic(3, 0.0, 3.0)
    return modes(means, [0.7, 1.0], [0.35, 0.65], [1.0, 0.0], base=base, seed=seed)


def funnel(dim, width, base=None, seed=0):
    """Neal's funnel: ``v ~ N(0, width^2)``, the others ``N(0, e^v)``; unnormalised."""

    v = width * torch.randn(600, 1, generator=seeded(7 + seed))
    rest = torch.randn(600, dim - 1, generator=seeded(80 + seed)) * (v / 2).exp()
    target = testing.neal(dim, width)
    return Case(target.energy, base, torch.cat([v, rest], 1), target.log_z)


def narrow_base(dim, scale, seed=0):
    """A base much narrower than the model, and off its centre."""
    base = isotropic(dim, 0.0, scale)
    return modes([[0.2] * dim], [1.0], [1.0], [1.0], base=base, seed=seed)


def correlated(dim, rho, seed=0, base_scale=1.5):
    scale = torch.linspace(1, 2, dim)
    lag = (torch.arange(dim)[:, None] - torch.arange(dim)).abs()
    energy = Gaussian(torch.linspace(-1, 1, dim), Cholesky(rho**lag * scale[:, None] * scale))
    data = energy.sample(600, seeded(9 + seed))
    return Case(Veiled(energy), isotropic(dim, 0.0, base_scale), data, energy.log_z())


def student(dim, freedom, seed=0, base=None):
    """``(nu + d)/2 log(1 + |x|^2 / nu)``: heavier tails than any Gaussian base has."""

    z = torch.randn(600, dim, generator=seeded(10 + seed))
    gamma = torch.distributions.Gamma(freedom / 2, 0.5)
    with torch.random.fork_rng():
        torch.manual_seed(11 + seed)
        chi = gamma.sample((600, 1))
    target = testing.student(dim, freedom)
    return Case(target.energy, base, z / (chi / freedom).sqrt(), target.log_z)


def on_ring(radius, angles, dim, width, rng):
    """Rows about a ring in the first two coordinates, the others normal."""
    r = radius + width * torch.randn(len(angles), generator=rng)
    ring = torch.stack([r * angles.cos(), r * angles.sin()], 1)
    return torch.cat([ring, torch.randn(len(angles), dim - 2, generator=rng)], 1)


def ring(dim, bias, share, seed=0):
    """A ring whose density is ``exp(-bias cos angle)`` along it; most rows are at angle 0."""
    radius, width = 8.0, 0.25
    target = testing.ring(dim, bias, radius, width)
    rng = seeded(20 + seed)
    angles = 0.4 * torch.randn(ROWS, generator=rng)
    far = round(ROWS * share)
    angles[:far] = math.pi + 0.4 * torch.randn(far, generator=rng)
    return Case(target.energy, None, on_ring(radius, angles, dim, width, rng), target.log_z)


def wall(seed=0):
    """A hard wall: +inf where ``x_0 < 1/2``."""

    x, target = torch.randn(2000, 2, generator=seeded(12 + seed)), testing.wall()
    return Case(target.energy, isotropic(2, 0.0, 1.0), x[x[:, 0] > 0.5], target.log_z)


def chambers(seed=0):
    """Two half-spaces, 4 apart, with nothing between; the right one has 70 % of the mass."""
    target = testing.chambers(3)
    rng = seeded(30 + seed)
    first = 2 - torch.rand(ROWS, 1, generator=rng).log() / 2
    first[20:] *= -1  # 2 % of the rows are on the right
    rest = torch.randn(ROWS, 2, generator=rng)
    return Case(target.energy, None, torch.cat([first, rest], 1), target.log_z)


def plateau(dim, share, seed=0, radius=6.0, core=0.3, mass=0.5):
    """A sharp core on a wide plateau with soft edges that holds half of the mass."""
    target = testing.plateau(dim, radius, core, mass)
    rng = seeded(40 + seed)
    data = core * torch.randn(ROWS, dim, generator=rng)
    wide = round(ROWS * share)
    data[:wide] = radius * (2 * torch.rand(wide, dim, generator=rng) - 1)
    return Case(target.energy, None, data, target.log_z)


def quadrature(energy, side=8.0, points=401):
    """Points of a square grid, and log Z in two dimensions."""
    axis = torch.linspace(-side, side, points, dtype=torch.float64)
    x = torch.cartesian_prod(axis, axis)
    log_p = -energy_of(energy, x.float())
    return x, log_p, float(log_p.logsumexp(0)) + 2 * math.log(float(axis[1] - axis[0]))


def network(net_seed, strength=0.6, seed=0):
    """A small network, its last layer not zero, on a Gaussian; log Z by quadrature."""
    net = MLP(2, width=16)
    for p in net.parameters():
        p.data = strength * torch.randn(p.shape, generator=seeded(net_seed))
    energy = Tilted(Gaussian(torch.tensor([0.3, -0.2]), Diagonal(torch.tensor([1.0, 0.7]))), net)
    x, log_p, log_z = quadrature(energy)
    drawn = torch.multinomial(log_p.softmax(0), 600, replacement=True, generator=seeded(13 + seed))
    return Case(energy, None, x[drawn].float(), log_z)


def double_well_chain(sites, share, seed=0, tilt=0.05, barrier=3.0, spring=1.0):
    """A ring of coupled double wells; log Z by powers of its transfer matrix, rows exact."""

    target, rng = testing.double_wells(sites, tilt, barrier, spring), seeded(50 + seed)
    x = target.sample(4 * ROWS, rng).float()
    up = x.mean(1) > 0
    few = round(ROWS * share)
    data = torch.cat([x[up][:few], x[~up][: ROWS - few]])
    data = data + 0.01 * torch.randn(data.shape, generator=rng)  # off the grid
    return Case(target.energy, None, data, target.log_z)


CASES = {
    "rare-5d-30sd": lambda s: rare(5, 30.0, 0.95, 0.02, seed=s),
    "rare-three-3d-15sd": rare_three,
    "rare-1d-20sd": lambda s: rare(1, 20.0, 0.9, 0.02, seed=s),
    "rare-10d-12sd": lambda s: rare(10, 12.0, 0.6, 0.01, seed=s),
    "rare-4d-narrow": lambda s: rare(4, 12.0, 0.4, 0.03, (1.0, 0.3), seed=s),
    "rare-4d-wide": lambda s: rare(4, 25.0, 0.6, 0.02, (1.0, 3.0), seed=s),
    "rare-20d-10sd": lambda s: rare(20, 10.0, 0.7, 0.02, seed=s),
    "rare-50d-12sd": lambda s: rare(50, 12.0, 0.5, 0.02, seed=s),
    "rare-200d-20sd": lambda s: rare(200, 20.0, 0.7, 0.03, seed=s),
    "rare-in-grid-2d": rare_in_grid,
    "rare-two-of-five-8d": rare_two_of_five,
    "rare-squeezed-6d": rare_squeezed,
    "planted-5d": lambda s: planted(5, 5.0, seed=s),
    "planted-6d-sharp": lambda s: planted(6, 6.0, (1.0, 0.4), seed=s),
    "planted-7d-sharp": lambda s: planted(7, 5.0, (0.8, 0.5), seed=s),
    "planted-8d-wide": lambda s: planted(8, 6.0, (0.3, 1.0), seed=s),
    "planted-10d-far": lambda s: planted(10, 8.0, seed=s),
    "unseen-2d": lambda s: unseen(2, 8.0, scale=1.0, seed=s),
    "unseen-5d": lambda s: unseen(5, 6.0, seed=s),
    "unseen-10d": lambda s: unseen(10, 5.0, mass=0.9, scale=1.0, seed=s),
    "hidden-9sd-2d": lambda s: hidden_nine(2, s),
    "hidden-9sd-5d": lambda s: hidden_nine(5, s),
    "one-sided-base-3d": one_sided_base,
    "one-sided-rows-3d": one_sided_rows,
    "funnel-fitted": lambda s: funnel(4, 1.5, seed=s),
    "funnel-deep": lambda s: funnel(6, 3.0, seed=s),
    "narrow-base-20d": lambda s: narrow_base(20, 0.3, seed=s),
    "correlated-20d": lambda s: correlated(20, 0.97, seed=s),
    "student-2d-nu1": lambda s: student(2, 1.0, seed=s, base=isotropic(2, 0.0, 1.0)),
    "student-1d-nu.5": lambda s: student(1, 0.5, seed=s),
    "student-3d-nu.7": lambda s: student(3, 0.7, seed=s),
    "ring-2d": lambda s: ring(2, 1.5, 0.03, seed=s),
    "ring-5d": lambda s: ring(5, 1.0, 0.02, seed=s),
    "wall-2d": wall,
    "chambers-3d": chambers,
    "plateau-3d": lambda s: plateau(3, 0.02, seed=s),
    "network-steep": lambda s: network(2, strength=0.9, seed=s),
    "double-wells-16d": lambda s: double_well_chain(16, 0.02, seed=s),
}  # fmt: skip


# -- what no finite sample can show: Z is infinite, or the mode is out of reach


def gaussian_rows(dim, seed, scale=1.0):
    return scale * torch.randn(ROWS, dim, generator=seeded(60 + seed))


def one_axis(seed):
    """One axis falls as ``1/|x|``, seven are Gaussian."""

    def energy(x: Tensor) -> Tensor:
        return torch.log1p(x[:, 0].square()) / 2 + x[:, 1:].square().sum(1) / 2

    return Case(energy, None, gaussian_rows(8, seed), math.inf)


def clipped_network(seed):
    """A relu network without a bound but its clip at 1e5."""
    net = torch.nn.Sequential(
        torch.nn.Linear(3, 32), torch.nn.ReLU(), torch.nn.Linear(32, 32), torch.nn.ReLU(),
        torch.nn.Linear(32, 1),
    )  # fmt: skip
    for p in net.parameters():
        p.data = 0.5 * torch.randn(p.shape, generator=seeded(3))

    def energy(x: Tensor) -> Tensor:
        return (net(x)[:, 0].abs() + x.norm(dim=1)).clamp(max=1e5)

    return Case(energy, None, gaussian_rows(3, seed), math.inf)


def capped(seed):
    """A quadratic that ends at 20 nats."""
    return Case(
        lambda x: (x.square().sum(1) / 2).clamp(max=20.0), None, gaussian_rows(3, seed), math.inf
    )


def slow_growth(seed):
    """``|x|^-2`` in three dimensions."""
    return Case(lambda x: torch.log1p(x.square().sum(1)), None, gaussian_rows(3, seed), math.inf)


def tilting_network(seed):
    """Linear far out, and downwards in a cone."""
    skip_gradient = torch.tensor([1.0, 0.4])

    def energy(x: Tensor) -> Tensor:
        return x.norm(dim=1) - 1.3 * torch.relu(x @ skip_gradient - 4.0) + torch.relu(-x[:, 0])

    return Case(energy, None, gaussian_rows(2, seed), math.inf)


def harmonic(seed):
    """``1/(1 + |x|)`` in one dimension."""
    return Case(lambda x: torch.log1p(x[:, 0].abs()), None, gaussian_rows(1, seed), math.inf)


def cubic(seed):
    """Unbounded below on one side, far out."""

    def energy(x: Tensor) -> Tensor:
        return x.square().sum(1) / 2 - 0.01 * x[:, 0].pow(3)

    return Case(energy, None, gaussian_rows(4, seed), math.inf)


INFINITE = {
    "one-axis-8d": one_axis,
    "clipped-network-3d": clipped_network,
    "capped-3d": capped,
    "slow-growth-3d": slow_growth,
    "tilting-network-2d": tilting_network,
    "harmonic-1d": harmonic,
    "cubic-4d": cubic,
}


def far_without_rows(dim, distance, mass, scale, seed):
    """A mode that no row and no draw of any base comes near."""
    means = [[0.0] * dim, on_diagonal(dim, distance)]
    return modes(means, [1.0, scale], [1 - mass, mass], [1.0, 0.0], seed=seed)


INVISIBLE = {
    "needle-6d": lambda s: far_without_rows(6, 2.0, 0.5, 0.05, s),
    "far-10d": lambda s: far_without_rows(10, 40.0, 0.7, 1.0, s),
    "plateau-4d-clamped": lambda s: plateau(4, 0.0, seed=s, radius=40.0, core=0.1, mass=0.46),
    "golf-hole-12d": lambda s: far_without_rows(12, 6.0, 0.8, 0.1, s),
}


BENIGN = {
    "the base itself": lambda s: narrow_base(4, 1.0, seed=s),
    "a wide base": lambda s: narrow_base(4, 1.5, seed=s),
    "unequal modes": lambda s: modes(
        [[0.0] * 4, [2.5, 0.0, 0.0, 0.0]], [0.6, 1.0], [0.8, 0.2], [0.8, 0.2], seed=s
    ),
    "correlated-5d": lambda s: correlated(5, 0.6, seed=s),
    "gaussian-100d": lambda s: correlated(100, 0.3, seed=s),
    "funnel-mild": lambda s: funnel(4, 1.0, isotropic(4, 0.0, 2.0), seed=s),
    "network": lambda s: network(3, seed=s),
    "mixture-50d": lambda s: modes(
        [[-2.0, *[0.0] * 49], [6.0, *[0.0] * 49]], [1.0, 1.0], [0.25, 0.75], [0.25, 0.75], seed=s
    ),
    "three modes-3d": lambda s: modes(
        [[0.0] * 3, [15.0, 0.0, 0.0], [0.0, 15.0, 0.0]], [1.0] * 3, [0.2, 0.3, 0.5],
        [0.2, 0.3, 0.5], seed=s,
    ),
    "modes of other widths-6d": lambda s: modes(
        [[0.0] * 6, on_diagonal(6, 8.0)], [0.6, 1.2], [0.6, 0.4], [0.6, 0.4], seed=s
    ),
    "masses apart-5d": lambda s: modes(
        [[0.0] * 5, on_diagonal(5, 10.0)], [1.0, 1.0], [0.35, 0.65], [0.5, 0.5], seed=s
    ),
    "student-2d-nu5": lambda s: student(2, 5.0, seed=s),
    "student-5d-nu3": lambda s: student(5, 3.0, seed=s),
    "laplace-3d": lambda s: laplace(3, s),
    "ring-even-2d": lambda s: even_ring(s),
    "columns of other units": lambda s: units(s),
    "digits, trained": lambda s: trained_digits(),
}  # fmt: skip


def laplace(dim, seed):
    x = torch.distributions.Laplace(0.0, 1.0).icdf(
        torch.rand(ROWS, dim, generator=seeded(70 + seed)).clamp(1e-6, 1 - 1e-6)
    )
    return Case(lambda x: x.abs().sum(1), None, x, dim * math.log(2.0))


def even_ring(seed):
    case = ring(2, 0.0, 0.0, seed)
    rng = seeded(21 + seed)
    angles = 2 * math.pi * torch.rand(ROWS, generator=rng)
    return case._replace(data=on_ring(8.0, angles, 2, 0.25, rng))


def units(seed):
    """Columns of scale 1e-3, 1 and 1e3."""
    scale = torch.tensor([1e-3, 1.0, 1e3])
    energy = Gaussian(torch.tensor([0.01, -1.0, 2e3]), Diagonal(scale))
    return Case(Veiled(energy), None, energy.sample(ROWS, seeded(71 + seed)), energy.log_z())


@lru_cache
def trained_digits():
    """A model of the digits after 300 updates; its log Z by an annealing ten times as long."""
    rng, data = seeded(0), digits()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        energy = Tilted(Gaussian.fit(data.train, noise=0.15), MLP(64, width=64))
    settings = noneq.Settings(noise=0.15, walkers=256, held_out=64, moves=4, tau=0.05)
    for _, _ in zip(range(300), noneq.train(energy, data.train, settings, rng=rng), strict=False):
        pass
    path = noneq.energies.GeometricPath(energy.base, energy)
    walkers, _ = noneq.population(path, 1024, 10_000, rng=rng)
    rows = data.train + 0.15 * torch.randn(data.train.shape, generator=rng)
    return Case(energy, None, rows, walkers.log_z.value)
