"""Some coordinates of a model given the others: closed forms of mixtures, and quadrature.

Seeds are written in the tests; what is estimated is judged at 4 standard errors.
"""

import math

import pytest
import torch

from noneq import MALA
from noneq.annealing import (
    Schedule,
    TooFarError,
    complete,
    conditional,
    conditional_schedule,
)
from noneq.energies import (
    Cholesky,
    Conditioned,
    Diagonal,
    Gaussian,
    GaussianMixture,
    Identity,
    LowRank,
    Uniform,
)
from noneq.testing import banana

NAN = math.nan
COVARIANCE = torch.tensor([[1.5, 0.9, -0.3], [0.9, 1.0, 0.2], [-0.3, 0.2, 0.7]]).double()
MEAN = torch.tensor([0.4, -1.2, 2.0])
GAUSSIANS = [
    Gaussian(MEAN, Cholesky(COVARIANCE)),
    Gaussian(MEAN, Identity(0.6)),
    Gaussian(MEAN, Diagonal(torch.tensor([0.5, 1.0, 2.0]))),
    Gaussian(MEAN, LowRank(torch.tensor([0.5, 1.0, 0.7]), torch.tensor([[1.0], [0.5], [-2.0]]))),
]
PATTERNS = [[0], [1], [2], [0, 1], [0, 2], [1, 2], [], [0, 1, 2]]  # what is missing


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def mixture():
    """Two correlated components of unequal weight, width and shape."""
    means = torch.tensor([[1.5, 0.0, -1.0], [-1.0, 2.0, 0.5]])
    other = torch.tensor([[0.5, -0.2, 0.1], [-0.2, 0.3, 0.1], [0.1, 0.1, 0.8]]).double()
    return GaussianMixture(means, torch.stack([COVARIANCE, other]), torch.tensor([0.3, 0.7]))


def with_gaps(x):
    """The rows with one pattern of gaps after the other."""
    x = x.clone()
    for i in range(len(x)):
        x[i, PATTERNS[i % len(PATTERNS)]] = NAN
    return x


def textbook(mean, covariance, x, missing):
    """Log-density of what is given, and mean and covariance of what is missing, by Schur."""
    m = missing
    o = [i for i in range(len(x)) if i not in m]
    mean, x = mean.double(), x.double()
    if not o:
        return 0.0, mean, covariance
    normal = torch.distributions.MultivariateNormal(mean[o], covariance[o][:, o])
    gain = covariance[m][:, o] @ covariance[o][:, o].inverse()
    own = covariance[m][:, m] - gain @ covariance[o][:, m]
    return float(normal.log_prob(x[o])), mean[m] + gain @ (x[o] - mean[o]), own


@pytest.mark.parametrize("base", GAUSSIANS, ids=lambda base: type(base.factor).__name__)
def test_gaussians_have_the_conditionals_of_textbooks(base):
    rows = base.sample(len(PATTERNS), seeded(0)) + 1
    given = Conditioned(base, with_gaps(rows))
    root = given.factor()
    for i, m in enumerate(PATTERNS):
        log_p, mean, covariance = textbook(base.mean, base.covariance(), rows[i], m)
        assert float(given.log_density[i]) == pytest.approx(log_p, abs=1e-5)
        torch.testing.assert_close(given.means[i, 0, m], mean, atol=1e-5, rtol=1e-5)
        own = root.roots[i][m][:, m].double()
        torch.testing.assert_close(own @ own.T, covariance, atol=1e-5, rtol=1e-5)


def test_samples_of_a_mixture_have_its_conditional_moments():
    # seed 1; 40,000 samples of each row
    base, rows = mixture(), torch.tensor([[0.3, NAN, NAN], [NAN, 1.0, NAN], [0.2, NAN, -0.4]])
    given = Conditioned(base, rows)
    x = given.sample(40_000, seeded(1))
    for i, m in enumerate([[1, 2], [0, 2], [1]]):
        o = [j for j in range(3) if j not in m]
        assert torch.equal(x[i][:, o], rows[i, o].expand(40_000, -1))
        parts = [
            textbook(base.means[k], base.roots[k].double() @ base.roots[k].double().T, rows[i], m)
            for k in range(2)
        ]
        log_p = torch.tensor([p[0] for p in parts]).double() + base.log_masses.double()
        assert float(given.log_density[i]) == pytest.approx(float(log_p.logsumexp(0)), abs=1e-5)
        mass = log_p.softmax(0)
        torch.testing.assert_close(given.masses[i], mass, atol=1e-5, rtol=1e-5)
        assert 0.02 < float(mass[0]) < 0.98, "both matter"
        mean = sum(mass[k] * parts[k][1] for k in range(2))
        second = sum(
            mass[k] * (parts[k][2] + torch.outer(parts[k][1], parts[k][1])) for k in range(2)
        )
        y = x[i][:, m].double()
        for f, expected in ((y, mean), (y[:, :, None] * y[:, None], second)):
            off = (f.mean(0) - expected) / (f.std(0) / math.sqrt(len(f)))
            assert float(off.abs().max()) < 4


def test_the_factor_is_a_square_root_that_keeps_what_is_given():
    given = Conditioned(mixture(), with_gaps(mixture().sample(8, seeded(0))))
    factor, v = given.factor(), torch.randn(8 * 5, 3, generator=seeded(1))
    missing = given.missing.repeat_interleave(5, 0)
    w = torch.randn(8 * 5, 3, generator=seeded(2))
    for one in (factor.mul(v), factor.t_mul(v)):
        assert float(one[~missing].abs().max()) == 0
    left, right = (w * factor.mul(v)).sum(1), (factor.t_mul(w) * v).sum(1)
    torch.testing.assert_close(left, right)
    torch.testing.assert_close(factor.solve(factor.mul(v)), torch.where(missing, v, 0.0))
    torch.testing.assert_close(factor.t_solve(factor.t_mul(v)), torch.where(missing, v, 0.0))
    dets = [
        sum(factor.roots[i, j, j].log() for j in m) if m else torch.tensor(0.0)
        for i, m in enumerate(PATTERNS)
    ]
    assert factor.log_det(3) == pytest.approx(float(torch.stack(dets).mean()))
    with pytest.raises(ValueError, match="roots of dimension 3, not 2"):
        factor.log_det(2)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_mixture_is_completed_from_one_gaussian(seed):
    # 400 rows; exp(log_z - exact) has mean 1; the mean of what is missing is known for each row
    target = mixture()
    base = Gaussian.fit(target.sample(4000, seeded(5)))
    rows = with_gaps(target.sample(400, seeded(seed)))
    exact, found = Conditioned(target, rows), complete(target, base, rows, rng=seeded(seed + 10))
    assert found.x.shape == (400, 1, 3)
    x, missing = found.x[:, 0], exact.missing
    assert torch.equal(x[~missing], rows[~missing])
    off = (found.log_z - exact.log_density).double()
    ratio = off.exp() - 1
    partly = missing.any(1)
    error = float(ratio[partly].std()) / math.sqrt(int(partly.sum()))
    assert abs(float(ratio[partly].mean())) < 4 * error
    assert error < 0.02
    # what is complete is exact
    torch.testing.assert_close(
        off[~partly], torch.zeros(int((~partly).sum())).double(), atol=1e-4, rtol=0
    )
    assert float(found.stderr[~partly].max()) < 1e-5
    spread = float((off[partly] / found.stderr[partly]).square().mean())
    assert 0.5 < spread < 2, "standard errors say how far off the estimates are"
    mean = (exact.masses[..., None] * exact.means).sum(1)
    gap = torch.where(missing, x.double() - mean, 0.0)
    for j in range(3):
        own = gap[missing[:, j], j]
        assert abs(float(own.mean())) < 4 * float(own.std()) / math.sqrt(len(own))
    assert float(found.ess[partly].min()) > 0.5
    # and which component a row belongs to is drawn with the right probability
    p = target.responsibilities(x)[:, 0].double() - exact.masses[:, 0]
    assert abs(float(p.mean())) < 4 * float(p.std()) / math.sqrt(len(p))


def test_a_curved_density_is_integrated():
    # seed 0; quadrature over the missing one of two coordinates
    target = banana()
    rows = target.sample(60, seeded(0))
    base = Gaussian.fit(target.sample(4000, seeded(1)))
    rows[::2, 0], rows[1::2, 1] = NAN, NAN
    found = complete(target.energy, base, rows, 64, rng=seeded(2), n=128)
    grid = torch.linspace(-25, 25, 20_001).double()
    for i, row in enumerate(rows):
        missing = int(row.isnan().nonzero())
        x = row.double().expand(len(grid), 2).clone()
        x[:, missing] = grid
        log_p = -target.energy(x)
        exact = float(log_p.logsumexp(0)) + math.log(float(grid[1] - grid[0]))
        assert abs(float(found.log_z[i]) - exact) < 0.01 + 5 * float(found.stderr[i])
        p = log_p.softmax(0)
        mean = float(p @ grid)
        sd = math.sqrt(float(p @ (grid - mean) ** 2))
        drawn = float(found.x[i, :, missing].double().mean())
        assert abs(drawn - mean) < 5 * sd / math.sqrt(64 * float(found.ess[i]))


def test_draws_of_a_row_are_spread_and_unordered():
    # seed 0; systematic resampling of 64 walkers of nearly equal weight copies none twice
    target = mixture()
    rows = torch.tensor([[NAN, 0.5, NAN]] * 3)
    found = complete(target, target, rows, 32, rng=seeded(0))
    assert all(len(x.unique(dim=0)) == 32 for x in found.x)
    # resampled in the order of their energies and left where they are: neighbours are alike
    still = Schedule((0.0, 1.0), (Still(), Still()))
    base, rows = Gaussian(MEAN, Identity(1.2)), torch.tensor([[0.0, NAN, 1.0]])
    found = complete(GAUSSIANS[1], base, rows, 4000, rng=seeded(1), n=4000, schedule=still)
    far = (found.x[0, :, 1].double() - float(MEAN[1])).abs()
    assert abs(float(torch.corrcoef(torch.stack([far[1:], far[:-1]]))[0, 1])) < 4 / math.sqrt(4000)


def test_parts_of_the_rows_are_completed_one_after_the_other(monkeypatch):
    target = mixture()
    rows = with_gaps(target.sample(40, seeded(0)))
    exact = Conditioned(target, rows)
    schedule = conditional_schedule(target, target, rows, seeded(1))
    assert len(schedule) == 16
    monkeypatch.setattr(conditional, "PART", 64 * 3 * 7)  # seven rows at a time
    seen = []

    def noted(parts, label):
        seen.append((len(parts), label))
        return parts

    found = complete(target, target, rows, rng=seeded(2), schedule=schedule, track=noted)
    assert seen == [(6 * 16, "missing values")]
    torch.testing.assert_close(found.log_z, exact.log_density, atol=1e-4, rtol=0)
    given = ~exact.missing
    assert torch.equal(found.x[:, 0][given], rows[given])
    assert bool(torch.isfinite(found.x).all())


def test_images_are_completed():
    base = Gaussian(torch.zeros(1, 2, 2), Diagonal(torch.tensor([[[0.5, 1.0], [1.5, 2.0]]])))
    rows = torch.full((50, 1, 2, 2), 0.3)
    rows[:, 0, 1] = NAN
    found = complete(base, base, rows, 2, rng=seeded(0))
    assert found.x.shape == (50, 2, 1, 2, 2)
    assert bool((found.x[:, :, 0, 0] == 0.3).all())
    assert float(found.x[:, :, 0, 1, 1].std()) == pytest.approx(2.0, abs=4 * 2 / math.sqrt(200))


def test_what_cannot_be_completed():
    rows = torch.tensor([[0.2, NAN]])
    with pytest.raises(ValueError, match="base is a Uniform"):
        complete(banana().energy, Uniform(torch.zeros(2), torch.ones(2)), rows, rng=seeded(0))
    with pytest.raises(ValueError, match="one sample of a row or more, not 0"):
        complete(banana().energy, GAUSSIANS[0], rows, 0, rng=seeded(0))


def test_walkers_are_drawn_by_weight():
    # seed 0; no moves, so that the weights do it: exact importance sampling of 2,000 draws
    target, rows = GAUSSIANS[1], torch.tensor([[0.0, NAN, 1.0]])
    base = Gaussian(MEAN + 0.15, Identity(0.62))
    still = Schedule((0.0, 1.0), (Still(), Still()))
    found = complete(target, base, rows, 2000, rng=seeded(0), n=40_000, schedule=still)
    y = found.x[0, :, 1].double()
    assert 0.9 < float(found.ess[0]) < 0.97, "nobody is resampled"
    torch.testing.assert_close(found.effective_ancestors, found.ess)
    assert float(y.mean()) == pytest.approx(-1.2, abs=4 * 0.6 / math.sqrt(2000))
    assert float(y.std()) == pytest.approx(0.6, abs=4 * 0.6 / math.sqrt(4000))


class Still(MALA):
    """A kernel that moves nobody."""

    def __init__(self):
        super().__init__(1.0)

    def preconditioned(self, factor):
        return self

    def __call__(self, model, state, rng):
        return state, torch.zeros_like(state.u), {}


def test_a_far_model_takes_more_temperatures(monkeypatch):
    rows = torch.tensor([[NAN, 0.2, NAN]] * 4)
    narrow = Gaussian(MEAN + 3, Identity(0.1))
    base = Gaussian(MEAN, Identity(1.0))
    near, far = (conditional_schedule(m, base, rows, seeded(0)) for m in (base, narrow))
    assert len(near) == 16 < len(far) < 200
    hs = [kernel.h for kernel in far.kernels]
    assert hs[-1] < 0.3 * hs[0], "steps are adapted to the narrow end"
    found = complete(narrow, base, rows, rng=seeded(1))
    assert bool((found.effective_ancestors < found.ess).all()), "some were resampled"
    assert bool((found.effective_ancestors > 0.04).all())
    monkeypatch.setattr(conditional, "MOST", 5)
    with pytest.raises(TooFarError, match="5 temperatures reached only beta"):
        conditional_schedule(narrow, base, rows, seeded(0))
