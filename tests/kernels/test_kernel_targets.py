"""Every kernel samples the same targets with an exact weight: closed forms, quadrature, sums.

Statistical tests: seeds are written in the tests; standard errors come from 100 islands of 1,000
walkers (or from the variance of independent draws) and the judgement is at 4 of them.
"""

import math

import pytest
import torch
from discrete_paths import discrete_path
from roster import DISCRETE_KERNELS, EXACT, KERNELS, every_kernel, factors
from targets import (
    DISCRETE,
    TARGETS,
    Grid,
    assert_exact,
    banana,
    base,
    seeded,
    skewed,
    states_features,
    z_scores,
)

from noneq import HMC, MALA, ULA, Walkers
from noneq.energies import (
    Cholesky,
    Diagonal,
    LowRank,
)
from noneq.kernels import DiscreteLangevin, Repeat

DISCRETE_PATHS = [(name, target) for name in DISCRETE_KERNELS for target in DISCRETE
                  if name != "BlockGibbs" or "RBM" in target]  # fmt: skip


@pytest.mark.parametrize("h", [0.15, 0.8])
@pytest.mark.parametrize(("name", "target"), DISCRETE_PATHS)
def test_distribution_on_discrete_sites_along_a_path(name, target, h):
    # seed 19; 100 islands of 400; the energy changes at every one of 4 steps, resampled at one
    make, states = DISCRETE[target]
    path, rng = discrete_path(make()), seeded(19)
    walkers = Walkers.sample(path.start, 40_000, rng, islands=100)
    for beta in (0.3, 0.55, 0.8, 1.0):
        walkers = walkers.move(DISCRETE_KERNELS[name](h), path.at(beta), rng)
        walkers = walkers.resample(1.0, rng) if beta == 0.55 else walkers
    assert_exact(walkers, Grid.over(make(), states()), f"{name}, {target}", states_features)


@pytest.mark.parametrize("target", DISCRETE)
def test_discrete_langevin_at_a_large_step_is_exact_with_weights_and_biased_without(target):
    # seed 20; exact start, 3 moves at one energy
    make, states = DISCRETE[target]
    model, rng = make(), seeded(20)
    grid = Grid.over(model, states())
    walkers = Walkers.at(grid.draw(100_000, rng), model, log_z=grid.log_z, islands=100)
    walkers = walkers.move(Repeat(DiscreteLangevin(1.0, adjusted=False), 3), model, rng)
    assert_exact(walkers, grid, target, states_features)
    plain = states_features(walkers.x).view(100, 1000, -1).mean(1)
    bias = z_scores(plain, grid.mean(states_features(grid.x))).abs().nan_to_num(0.0)
    assert float(bias.max()) > 20, "the bias must be visible"


@every_kernel
@pytest.mark.parametrize("h", [0.05, 0.25])
@pytest.mark.parametrize("target", TARGETS)
def test_distribution_along_a_path(name, h, target):
    # seed 11; 100 islands of 1,000; the energy changes at every one of 4 steps
    energy, dim = TARGETS[target]
    make, _ = KERNELS[name]
    kinds = factors((dim,))
    if dim == 2:  # preconditioners on the target's scale
        scale, loadings = torch.tensor([0.7, 0.4]), torch.tensor([[0.7], [0.5]])
        kinds["cholesky"] = Cholesky(torch.tensor([[1.0, 0.3], [0.3, 0.6]])).double()
        kinds["diagonal"] = Diagonal(torch.tensor([1.0, 0.6]))
        kinds["low-rank"] = LowRank(scale, loadings).double()
    kind = ("diagonal", "cholesky", "low-rank", "identity")[(len(name) + len(target)) % 4]
    kernel = make(h, kinds[kind])
    origin, rng = base(dim), seeded(11)
    walkers = Walkers.sample(origin, 100_000, rng, islands=100)
    for beta in (0.3, 0.55, 0.8, 1.0):

        def model(x, beta=beta):
            return (1 - beta) * origin(x) + beta * energy(x)

        walkers = walkers.move(kernel, model, rng)
    assert_exact(walkers, Grid.of(energy, dim), f"{name}, {kind}")


@pytest.mark.parametrize("kernel", [ULA, MALA, HMC])
def test_every_preconditioner_samples_the_same_target(kernel):
    # seed 12; 100 islands of 1,000
    grid = Grid.of(banana, 2)
    for kind, factor in factors((2,)).items():
        origin, rng = base(2), seeded(12)
        walkers = Walkers.sample(origin, 100_000, rng, islands=100)
        for beta in (0.4, 0.7, 1.0):

            def model(x, beta=beta):
                return (1 - beta) * origin(x) + beta * banana(x)

            walkers = walkers.move(kernel(0.1, factor), model, rng)
        assert_exact(walkers, grid, kind)


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("target", TARGETS)
def test_exact_kernels_leave_the_target_invariant(name, target):
    # seed 15; 100,000 exact samples, still exact after the moves, at a small and a large step
    energy, dim = TARGETS[target]
    grid = Grid.of(energy, dim)
    for h, kind in ((0.1, "identity"), (0.8, "cholesky"), (0.3, "low-rank")):
        rng = seeded(15)
        walkers = Walkers.at(grid.sample(100_000, rng), energy, islands=100)
        start_at = walkers.x
        for _ in range(3):
            walkers = walkers.move(KERNELS[name][0](h, factors((dim,))[kind]), energy, rng)
        moved = float((walkers.x != start_at).any(1).double().mean())
        assert moved > 0.2, "it must move"
        assert walkers.ess == pytest.approx(1.0, abs=1e-12)
        assert_exact(walkers, grid, f"h = {h}, {kind}")


def test_mala_finds_the_target_from_elsewhere():
    # seed 16; 20,000 walkers from a far start, no weights: 80 moves forget it
    grid, rng = Grid.of(skewed, 1), seeded(16)
    x = torch.randn(20_000, 1, generator=rng, dtype=torch.float64) * 0.3 + 2.5
    walkers = Walkers.at(x, skewed, islands=100).move(Repeat(MALA(1.0), 80), skewed, rng)
    assert 0.3 < float(walkers.info["accept"]) < 0.95
    assert_exact(walkers, grid, "from elsewhere")


@pytest.mark.parametrize("outside", [math.inf, math.nan, -math.inf])
def test_mala_rejects_what_is_not_finite(outside):
    # seed 17; the target lives on (0, 3) only, skewed; its walls are hit all the time
    def energy(x):
        y = x[:, 0]
        inside = (y > 0) & (y < 3)
        return torch.where(inside, y + y.square() / 4, outside)

    axis = (torch.arange(6000, dtype=torch.float64)[:, None] + 0.5) / 2000
    grid, rng = Grid(axis, (-energy(axis)).softmax(0), math.nan), seeded(17)
    walkers = Walkers.at(grid.sample(100_000, rng), energy, islands=100)
    for _ in range(4):
        walkers = walkers.move(MALA(0.3), energy, rng)
        assert 0.3 < float(walkers.info["accept"]) < 0.9
    assert bool(((walkers.x > 0) & (walkers.x < 3)).all())
    assert walkers.ess == pytest.approx(1.0, abs=1e-12), "rejected, not killed"
    assert_exact(walkers, grid, outside, lambda x: torch.cat([x, x.square(), x.sqrt()], 1))


def test_a_gradient_that_is_not_finite_is_rejected_too():
    # U = 2 sqrt(x) + ...: NaN left of 0, in the energy and in its gradient
    def energy(x):
        return 2 * x[:, 0].sqrt() + x[:, 0].square()

    x = torch.full((1000, 1), 0.2, dtype=torch.float64)
    walkers = Walkers.at(x, energy)
    for _ in range(20):
        walkers = walkers.move(MALA(0.5), energy, seeded(0))
    assert bool(torch.isfinite(walkers.state.u).all())
    assert bool((walkers.x > 0).all())
