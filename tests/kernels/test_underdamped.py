"""Trajectories without rejection and momenta that are kept: weights, maps, distributions."""

import math

import pytest
import torch
from roster import factors
from targets import (
    Grid,
    Net,
    assert_exact,
    assert_within,
    base,
    features,
    on,
    seeded,
    seen,
    skewed,
    start,
    z_scores,
)

from noneq import HMC, Walkers
from noneq.energies import Diagonal, GeometricPath
from noneq.spaces import Box

STILL = 1e-300  # a friction so small that the momentum is kept bit by bit


def normal(like, seed):
    return torch.randn(like.shape, generator=seeded(seed), dtype=like.dtype)


def slope(model, x):
    leaf = x.clone().requires_grad_(True)
    return torch.autograd.grad(model(leaf).sum(), leaf)[0]


def by_the_book(model, old, x, p, *, e, m, leapfrog_steps):
    """Leapfrog with the momentum p of mass ``m^-1``: kick, drift, kick, each by itself."""
    g = slope(old, x)
    for _ in range(leapfrog_steps):
        p = p - e / 2 * g
        x = x + e * (p.flatten(1) @ m).view_as(x)
        g = slope(model, x)
        p = p - e / 2 * g
    return x, p


@pytest.mark.parametrize("leapfrog_steps", [1, 3])
@pytest.mark.parametrize("stale", [False, True])
def test_the_weight_is_the_change_of_the_hamiltonian(leapfrog_steps, stale):
    # p of covariance M^-1 = L^-T L^-1; kinetic energy p.M p / 2; H_old with the energy last seen
    for shape in ((3,), (1, 2, 3)):
        model = Net(shape, torch.float64, seed=3)
        old = Net(shape, torch.float64, seed=2) if stale else model
        state = start(old, 40, shape, torch.float64)
        for factor in factors(shape).values():
            h, d = 0.1, math.prod(shape)
            root = factor.mul(torch.eye(d).double().view(d, *shape)).flatten(1).T
            new, increment, info = HMC(h, factor, leapfrog_steps, adjusted=False)(
                model, state, seeded(4)
            )
            p = factor.t_solve(normal(state.x, 4))
            m = root @ root.T
            y, q = by_the_book(
                model, old, state.x, p, e=math.sqrt(2 * h), m=m, leapfrog_steps=leapfrog_steps
            )
            torch.testing.assert_close(new.x, y)
            kinetic = [((v.flatten(1) @ m) * v.flatten(1)).sum(1) / 2 for v in (p, q)]
            expected = old(state.x) + kinetic[0] - model(y) - kinetic[1]
            torch.testing.assert_close(increment, expected.detach())
            assert info == {}


def flow(model, x, v, *, leapfrog_steps=3, reflect=False):
    """(x, v) at the end of a trajectory, no noise in it."""
    kernel = HMC(
        0.15,
        Diagonal(torch.tensor([1.0, 0.6]), torch.float64),
        leapfrog_steps,
        STILL,
        False,
        reflect,
    )
    new, _, _ = kernel(model, seen(model, x, {"v": v}), seeded(0))
    return new.x, new.aux["v"]


def boxed(x):
    return x[:, 0].exp() - 0.7 * x[:, 0] + (x[:, 1] - 0.3 * x[:, 0]).square()


@pytest.mark.parametrize("space", [None, Box(-0.6, 0.7)], ids=["R^n", "box"])
def test_trajectories_preserve_volume_and_can_be_run_back(space):
    # central differences of all 4 coordinates: the determinant to 1e-7
    model = on(space, lambda x: boxed(x)) if space else boxed
    reflect = space is not None
    x = torch.rand(200, 2, generator=seeded(1), dtype=torch.float64) - 0.4
    v = normal(x, 2)
    y, w = flow(model, x, v, reflect=reflect)
    back, turned = flow(model, y, -w, reflect=reflect)
    torch.testing.assert_close(back, x)
    torch.testing.assert_close(turned, -v)
    eps, columns = 1e-6, []
    for i in range(4):
        dx, dv = torch.zeros(4, dtype=torch.float64).index_fill(0, torch.tensor(i), eps).split(2)
        ends = [
            torch.cat(flow(model, x + s * dx, v + s * dv, reflect=reflect), 1) for s in (1, -1)
        ]
        columns.append((ends[0] - ends[1]) / (2 * eps))
    det = torch.linalg.det(torch.stack(columns, 2)).abs()
    smooth = (det - 1).abs() < 1e-6  # but for the walker whose two neighbours bounce differently
    assert int((~smooth).sum()) <= (2 if reflect else 0)
    if reflect:
        straight = flow(boxed, x, v)[0]
        assert float((straight != y).any(1).double().mean()) > 0.5, "most must bounce"


@pytest.mark.parametrize("friction", [0.3, 2.0])
def test_without_a_force_the_momentum_is_an_ornstein_uhlenbeck_process(friction):
    # seed 5; v' = c v + sqrt(1 - c^2) xi, c = exp(-friction e), x' = x + e w: exactly, at any e,
    # w the velocity half-way from v to v'
    h, n = 0.18, 100_000
    e = math.sqrt(2 * h)
    flat = lambda x: 0.0 * x.sum(1)  # noqa: E731
    x, v = torch.zeros(n, 1, dtype=torch.float64), normal(torch.zeros(n, 1).double(), 6) + 2.0
    kernel, rng = HMC.obabo(h, friction=friction), seeded(5)
    state, c = seen(flat, x, {"v": v}), math.exp(-friction * e)
    for k in (1, 2, 3):
        before = state
        state, increment, _ = kernel(flat, state, rng)
        assert float(increment.abs().max()) < 1e-12
        now, half = state.aux["v"], (state.x - before.x) / e
        rows = torch.cat([now, now.square(), now * v, half, half.square(), half * now], 1)
        mean, middle = 2.0 * c**k, 2.0 * c ** (k - 0.5)
        truth = [mean, mean**2 + 1, c**k * 5.0]  # E v^2 = 5
        truth += [middle, middle**2 + 1, c**0.5 * (middle**2 + 1)]
        assert_within(rows, torch.tensor(truth), k)


def test_infinite_friction_is_hamiltonian_monte_carlo():
    model = Net((2,), torch.float64)
    state = start(model, 30, (2,), torch.float64)
    state = state._replace(aux={"v": torch.full_like(state.x, 100.0)})
    plain = HMC(0.2, leapfrog_steps=1, adjusted=False)(model, state, seeded(1))
    for friction in (1e5, math.inf):
        damped = HMC.obabo(0.2, friction=friction)(model, state, seeded(1))
        assert torch.equal(damped[0].x, plain[0].x)
        assert torch.equal(damped[1], plain[1])
    assert torch.equal(plain[0].aux["v"], state.aux["v"]), "nothing of it is touched"


def test_a_momentum_turns_round_where_the_proposal_is_rejected():
    model = Net((2,), torch.float64)
    state = start(model, 500, (2,), torch.float64)
    state = state._replace(aux={"v": normal(state.x, 3)})
    kernel = HMC(1.5, leapfrog_steps=1, friction=STILL)
    new, _, info = kernel(model, state, seeded(2))
    stayed = (new.x == state.x).all(1)
    assert 0.1 < float(info["accept"].mean()) < 0.9
    assert torch.equal(new.aux["v"][stayed], -state.aux["v"][stayed])
    y, w = by_the_book(
        model, model, state.x, state.aux["v"],
        e=math.sqrt(3.0), m=torch.eye(2).double(), leapfrog_steps=1,
    )  # fmt: skip
    torch.testing.assert_close(new.x[~stayed], y[~stayed])
    torch.testing.assert_close(new.aux["v"][~stayed], w[~stayed])


def test_momenta_that_are_kept_leave_the_target_invariant():
    # seed 21; exact start; 25 moves of little friction, a third of them rejected; without the
    # change of sign the features are off by 7 to 33 standard errors
    grid, rng = Grid.of(skewed, 1), seeded(21)
    walkers = Walkers.at(grid.sample(100_000, rng), skewed, islands=100)
    kernel = HMC.obabo(2.0, friction=0.1, adjusted=True)
    for _ in range(25):
        walkers = walkers.move(kernel, skewed, rng)
    assert 0.4 < float(walkers.info["accept"]) < 0.85
    assert_exact(walkers, grid, "GHMC")
    v = walkers.state.aux["v"]
    rows = torch.cat([v, v.square(), v * walkers.x, v.square() * walkers.x], 1)
    mean = float(grid.mean(grid.x))
    assert_within(rows.view(100, 1000, -1).mean(1), torch.tensor([0.0, 1.0, 0.0, mean]), "momenta")


@pytest.mark.parametrize("adjusted", [False, True])
def test_momenta_go_with_their_walkers_when_these_are_resampled(adjusted):
    # seed 22; 100 islands of 1,000, resampled at every temperature; little friction, so that a
    # momentum of another walker would push the wrong way
    path, rng = GeometricPath(base(1), skewed), seeded(22)
    kernel = HMC.obabo(0.15, friction=0.05, adjusted=adjusted)
    walkers = Walkers.sample(path.start, 100_000, rng, islands=100)
    for beta in torch.linspace(0.1, 1.0, 10).tolist():
        walkers = walkers.move(kernel, path.at(beta), rng).resample(1.0, rng)
    assert_exact(walkers, Grid.of(skewed, 1), "resampled")


@pytest.mark.parametrize(
    "kernel", [HMC(0.5, leapfrog_steps=2, adjusted=False), HMC.obabo(0.8)], ids=["HMC", "OBABO"]
)
def test_a_large_unadjusted_step_is_exact_with_weights_and_biased_without(kernel):
    # seed 23; exact start, 4 moves
    grid, rng = Grid.of(skewed, 1), seeded(23)
    walkers = Walkers.at(grid.sample(100_000, rng), skewed, log_z=grid.log_z, islands=100)
    for _ in range(4):
        walkers = walkers.move(kernel, skewed, rng)
    assert_exact(walkers, grid, "weights")
    plain = features(walkers.x).view(100, 1000, -1).mean(1)
    assert float(z_scores(plain, grid.mean(features(grid.x))).abs().max()) > 20


def test_errors():
    for friction in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="friction must be positive"):
            HMC.obabo(0.1, friction=friction)
    unadjusted = HMC.obabo(0.1)
    assert unadjusted.adapt({"accept": torch.tensor(0.1)}) is unadjusted
