"""Boxes and discrete sites: what reflects is exact, what cannot be is refused."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from targets import Grid, assert_exact, assert_within, correlated, on, rbm, seeded, seen

from noneq import HMC, MALA, ULA, Gaussian, Tilted, Walkers
from noneq.energies import (
    Bernoulli,
    Boxed,
    Cholesky,
    Diagonal,
    GeometricPath,
    Identity,
    Tempered,
    Uniform,
)
from noneq.kernels import (
    BlockGibbs,
    Chain,
    DiscreteLangevin,
    GibbsWithGradients,
    RandomWalk,
    Repeat,
    default_kernel,
)
from noneq.numerics import CACHED
from noneq.random import MANY, draw_bits
from noneq.spaces import BINARY, ONE_HOT, REAL, Box, space_of

LOW, HIGH = torch.tensor([-0.4, -math.inf]), torch.tensor([1.1, 0.3])  # one wall is missing
numbers = st.floats(-50, 50, allow_nan=False)


def walled(low, high, dim=2):
    """A correlated Gaussian between walls, far from symmetric there, and its quadrature."""
    axis = (torch.arange(400, dtype=torch.float64) + 0.5) / 400
    span = high.clamp(max=5.0) - low.clamp(min=-6.0)
    x = torch.cartesian_prod(axis, axis) * span + low.clamp(min=-6.0)
    energy = Boxed(correlated, low.double(), high.double())
    grid = Grid.over(energy, x, float((span / 400).double().log().sum()))
    return energy, grid, span.double() / 400


def draw(grid, cell, n, rng):
    jitter = torch.rand(n, 2, generator=rng, dtype=torch.float64) - 0.5
    return grid.draw(n, rng) + jitter * cell


# -- the reflection


@given(numbers, numbers, st.floats(0.01, 20), st.floats(0.01, 3))
def test_reflection_leads_inside_and_can_be_run_back(x, v, width, e):
    # from x inside to R(x + e v), v -> S v; the same from there with -S v leads back
    box = Box(torch.tensor(-1.0), torch.tensor(-1.0 + width, dtype=torch.float64))
    x = torch.tensor([[(x + 50) / 100 * width - 1.0]], dtype=torch.float64).clamp(-1, width - 1)
    v = torch.tensor([[v]], dtype=torch.float64)
    y, sign = box.fold(x + e * v)
    assert bool(box.contains(y).all())
    back, other = box.fold(y - e * sign * v)
    z = x + e * v
    assert float((back - x).abs()) < 1e-8 * (1 + abs(float(z)))
    from_walls = ((torch.cat([x, z]) + 1) / width % 1 - 0.5).abs().max()
    assert from_walls > 0.5 - 1e-6 or torch.equal(sign * other, torch.ones_like(sign))


@given(numbers)
def test_reflection_at_a_single_wall(z):
    z = torch.tensor([[z]], dtype=torch.float64)
    for low, high in ((2.0, math.inf), (-math.inf, 2.0)):
        y, sign = Box(low, high).fold(z)
        outside = float(z) < 2 if math.isinf(high) else float(z) > 2
        assert float(y) == (4 - float(z) if outside else float(z))
        assert float(sign) == (-1 if outside else 1)


def test_reflection_is_continuous_and_its_sign_is_its_slope():
    # a saw between walls of 1 coordinate, no wall for the other
    box = Box(torch.tensor([0.5, -math.inf]), torch.tensor([2.0, math.inf]))
    z = torch.linspace(-9, 9, 20001, dtype=torch.float64)[:, None].expand(-1, 2)
    y, sign = box.fold(z)
    slope = y.diff(dim=0) / z.diff(dim=0)
    assert torch.equal(y[:, 1], z[:, 1])
    assert torch.equal(sign[:, 1], torch.ones(20001, dtype=torch.float64))
    same = (sign[1:] == sign[:-1])[:, 0]
    torch.testing.assert_close(slope[same, 0], sign[1:][same, 0], rtol=0, atol=1e-9)
    assert float(slope.abs().max()) < 1 + 1e-9
    assert int((~same).sum()) == 12  # every 1.5 of the 18
    inside = (z[:, 0] > 0.5) & (z[:, 0] < 2)
    assert torch.equal(y[inside], z[inside])


# -- kernels in boxes

IN_BOXES = {
    "MALA": MALA(0.15, Cholesky(torch.tensor([[1.0, 0.5], [0.5, 0.6]]), torch.float64)),
    "HMC rejecting": HMC(0.05, leapfrog_steps=3),
    "HMC reflecting": HMC(0.1, Diagonal(torch.tensor([1.0, 0.6]), torch.float64), 3, reflect=True),
    "HMC unadjusted": HMC(0.03, Identity(0.9), 3, adjusted=False, reflect=True),
    "GHMC reflecting": HMC(0.2, leapfrog_steps=1, friction=0.3, reflect=True),
    "OBABO reflecting": HMC.obabo(0.05, friction=0.3, reflect=True),
    "random walk": RandomWalk(0.1),
    "random walk reflecting": RandomWalk(0.3, Diagonal(torch.tensor([1.0, 0.6])), reflect=True),
}


@pytest.mark.parametrize("name", IN_BOXES)
def test_every_kernel_samples_between_walls(name):
    # seed 41; 100 islands of 1,000; exact start at half the temperature, 3 changes of it, 2 moves
    (energy, grid, cell), rng = walled(LOW, HIGH), seeded(41)
    warm = Tempered(energy, 0.5)
    half = Grid.over(warm, grid.x)
    log_z = half.log_z + float(cell.log().sum())
    walkers = Walkers.at(draw(half, cell, 100_000, rng), warm, log_z=log_z, islands=100)
    before = walkers.x
    for beta in (0.7, 0.85, 1.0):
        walkers = walkers.move(Repeat(IN_BOXES[name], 2), Tempered(energy, beta), rng)
        assert bool(energy.space.contains(walkers.x).all())
    assert float((walkers.x != before).any(1).double().mean()) > 0.5
    assert_exact(walkers, grid, name)


def test_a_reflecting_unadjusted_kernel_at_a_large_step_is_biased_without_weights():
    # seed 42; exact start
    energy, grid, cell = walled(torch.tensor([-0.4, -0.8]), torch.tensor([1.1, 0.3]))
    rng = seeded(42)
    x = draw(grid, cell, 100_000, rng)
    walkers = Walkers.at(x, energy, log_z=grid.log_z, islands=100)
    walkers = walkers.move(HMC(0.06, leapfrog_steps=3, adjusted=False, reflect=True), energy, rng)
    assert_exact(walkers, grid, "weights")
    plain = (walkers.x - grid.mean(grid.x)).view(100, 1000, 2).mean(1)
    assert float((plain.mean(0) / plain.std(0) * 10).abs().max()) > 10


def test_annealing_from_the_uniform_density_gives_log_z_of_a_box():
    # seed 43; 100 islands of 500
    low, high = torch.tensor([-0.4, -0.8]).double(), torch.tensor([1.1, 0.3]).double()
    energy, grid, _ = walled(low, high)
    path, rng = GeometricPath(Uniform(low, high), energy), seeded(43)
    walkers = Walkers.sample(path.start, 50_000, rng, islands=100)
    for beta in (0.25, 0.5, 0.75, 1.0):
        walkers = walkers.move(HMC(0.1, leapfrog_steps=2, reflect=True), path.at(beta), rng)
    assert_exact(walkers, grid, "uniform")


# -- refusals: what, where, what to do

BOX = Boxed(correlated, -1.0, 1.0)
BITS = Bernoulli(torch.tensor([0.3, -0.2]))


@pytest.mark.parametrize("kernel", [ULA(0.1), HMC(0.1, adjusted=False), HMC.obabo(0.1)])
def test_unadjusted_kernels_without_reflection_refuse_a_box(kernel):
    walkers = Walkers.at(torch.zeros(4, 2), BOX)
    with pytest.raises(ValueError, match=r"on \[-1, 1\]\^n: an unadjusted move out of a box has"):
        walkers.move(kernel, BOX, seeded(0))


@pytest.mark.parametrize("kernel", [ULA(0.1), MALA(0.1), HMC(0.1), RandomWalk(0.1)])
def test_continuous_kernels_refuse_discrete_models(kernel):
    for model, x in ((BITS, torch.zeros(4, 2)), (rbm().float(), torch.zeros(4, 4))):
        walkers = Walkers.at(x, model)
        for one in (kernel, Repeat(kernel, 2), Chain((kernel, kernel))):
            with pytest.raises(ValueError, match=r"on \{0, 1\}\^n: it moves continuous variables"):
                walkers.move(one, model, seeded(0))


@pytest.mark.parametrize("kernel", [GibbsWithGradients(), DiscreteLangevin(0.1)])
def test_discrete_kernels_refuse_continuous_models(kernel):
    for model in (correlated, BOX):
        walkers = Walkers.at(torch.zeros(4, 2), model)
        with pytest.raises(ValueError, match=r"it moves discrete variables; take noneq.MALA"):
            walkers.move(kernel, model, seeded(0))


def test_block_gibbs_asks_for_conditionals():
    path = GeometricPath(rbm(seed=1).base, rbm(seed=1))
    for model in (correlated, path.at(0.5)):
        walkers = Walkers.at(torch.zeros(4, 2 if model is correlated else 4).double(), model)
        with pytest.raises(ValueError, match=r"has no gibbs.*take a ParameterPath"):
            walkers.move(BlockGibbs(), model, seeded(0))


def test_kernels_that_follow_a_gradient_need_one():
    def steps(x):
        return x.detach().round().square().sum(1)

    walkers = Walkers.at(torch.zeros(4, 2), steps)
    for kernel in (MALA(0.1), ULA(0.1), HMC(0.1)):
        with pytest.raises(ValueError, match=r"follows dU/dx.*take noneq.kernels.RandomWalk"):
            walkers.move(kernel, steps, seeded(0))
    moved = walkers.move(RandomWalk(0.1), steps, seeded(0))
    assert not torch.equal(moved.x, walkers.x)


@pytest.mark.parametrize("kernel", [HMC(0.1, reflect=True), RandomWalk(0.1, reflect=True)])
def test_reflection_needs_a_diagonal_preconditioner(kernel):
    kernel = kernel.preconditioned(Cholesky(torch.tensor([[1.0, 0.3], [0.3, 1.0]])))
    walkers = Walkers.at(torch.zeros(4, 2), BOX)
    with pytest.raises(ValueError, match="a diagonal preconditioner, got Cholesky"):
        walkers.move(kernel, BOX, seeded(0))
    walkers = Walkers.at(torch.zeros(4, 2), correlated)
    assert torch.isfinite(walkers.move(kernel, correlated, seeded(0)).x).all()


@pytest.mark.parametrize(
    ("model", "x", "told"),
    [
        (BOX, [[0.0, 1.5], [0.0, 0.0]], r"1 of 2 walkers are outside .*, \[-1, 1\]\^n: start"),
        (BITS, [[0.0, 0.5], [0.0, 1.0]], r"1 of 2 walkers are outside .*, \{0, 1\}\^n: start"),
        (on(ONE_HOT, lambda x: x.sum(1)), [[0.0, 1.0], [1.0, 1.0]], "1 of 2 .*, one-hot vectors"),
    ],
)
def test_walkers_start_inside(model, x, told):
    with pytest.raises(ValueError, match=told):
        Walkers.at(torch.tensor(x), model)


def test_boxes_have_an_inside():
    for low, high in ((1.0, 1.0), (0.0, -1.0), (math.nan, 1.0)):
        with pytest.raises(ValueError, match="a box has low < high"):
            Box(low, high)
    assert str(Box(torch.tensor([0.0, -1.0]), 2.0)) == "a box from -1 to 2"


def uniform(half):
    return Uniform(torch.full((2,), -half), torch.full((2,), half))


def test_an_energy_of_energies_lives_where_they_do():
    base = Bernoulli(torch.zeros(2))
    assert space_of(correlated) == REAL
    assert space_of(Tilted(base, torch.nn.Linear(2, 1))) == BINARY
    assert space_of(Tempered(BOX, 0.5)) is BOX.space
    assert GeometricPath(base, BITS).at(0.5).space == BINARY
    normal = Gaussian(torch.zeros(2), Identity())
    assert GeometricPath(normal, BOX).space is BOX.space
    assert GeometricPath(uniform(2.0), BOX).space is BOX.space
    for start, end in ((uniform(0.5), BOX), (BOX, normal), (normal, BITS), (BITS, normal)):
        with pytest.raises(ValueError, match=r"its start lives on .*, which does not hold"):
            GeometricPath(start, end)
    with pytest.raises(ValueError, match="Boxed cannot move"):
        Boxed(BITS, 0.0, 1.0)


@pytest.mark.parametrize("kernel", [GibbsWithGradients(), DiscreteLangevin(0.3, adjusted=False)])
def test_walkers_between_the_states_are_refused(kernel):
    # as states they would be flipped to 1 - x, and weighed
    normal = Gaussian(torch.zeros(2, dtype=torch.float64), Identity())
    walkers = Walkers.sample(normal, 16, seeded(0))
    for event in (lambda: walkers.reweight(BITS), lambda: walkers.move(kernel, BITS, seeded(0))):
        with pytest.raises(ValueError, match=r"16 of 16 walkers are none of the states .* on \{0"):
            event()
    on_states = Walkers.at(torch.eye(2).double(), lambda x: x.sum(1))
    on_states.move(kernel, BITS, seeded(0))


def test_a_tilt_with_walls_has_them():
    # or ULA, which has no valid weight there, would move in it: 0.65 nat too low, silently
    tilted = Tilted(Gaussian(torch.zeros(2), Identity()), BOX)
    assert tilted.space is BOX.space
    walkers = Walkers.at(torch.zeros(4, 2), tilted)
    with pytest.raises(ValueError, match="no valid weight"):
        walkers.move(ULA(0.1), tilted, seeded(0))
    within = Tilted(uniform(2.0), BOX)
    assert within.space is BOX.space
    with pytest.raises(ValueError, match="does not hold"):
        Tilted(uniform(0.5), BOX)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_walls_written_as_numbers_are_those_of_walkers_of_any_precision(dtype):
    low, high = (torch.full((2,), wall, dtype=dtype) for wall in (0.1, 1.3))
    for walls in ((0.1, 1.3), (low.double(), high.double()), (low.float(), high.float())):
        box = Boxed(correlated, *walls)
        assert GeometricPath(Uniform(low, high), box).space is box.space
    box = Box(0.1, 1.3)
    ends = torch.stack([low, high])
    assert box.contains(ends).tolist() == [True, True]
    assert torch.equal(box.nearest(torch.tensor([[-9.0, 9.0]], dtype=dtype))[0], ends[:, 0])
    outside = torch.tensor([[0.1, 0.1], [1.3, 1.3]], dtype=dtype) + torch.tensor([[-1e-6], [1e-6]])
    assert box.contains(outside).tolist() == [False, False]


def test_outside_of_both_ends_a_path_is_infinite_and_not_nan():
    path = GeometricPath(uniform(2.0), BOX)
    x = torch.tensor([[3.0, 0.0], [1.5, 0.0], [0.1, 0.2]])
    for beta in (0.0, 0.4, 1.0):
        u = path.at(beta)(x)
        assert u.isposinf().tolist() == [True, beta > 0, False]
        assert not bool(u.isnan().any())


def test_the_kernel_for_a_base_is_of_its_space():
    assert isinstance(default_kernel(BITS, torch.zeros(3, 2)), DiscreteLangevin)
    assert isinstance(
        default_kernel(Gaussian(torch.zeros(2), Identity()), torch.zeros(3, 2)), MALA
    )
    machine = rbm()
    assert default_kernel(machine.base, torch.zeros(3, 4), machine) == BlockGibbs()
    assert isinstance(
        default_kernel(machine.base, torch.zeros(3, 4), lambda x: x), DiscreteLangevin
    )


def test_what_reflects_is_rejected_less():
    # a flat energy: all that a random walk can be rejected for is a wall
    walls = Uniform(torch.zeros(2), torch.ones(2))
    walkers = Walkers.sample(walls, 1000, seeded(44))
    for reflect in (False, True):
        moved = walkers.move(RandomWalk(0.1, reflect=reflect), walls, seeded(45))
        assert (float(moved.info["accept"]) == 1.0) == reflect


@pytest.mark.parametrize("h", [0.06, 0.15])
def test_a_reflecting_trajectory_has_mean_weight_one_even_where_samples_cannot_show_it(h):
    # seed 46; what makes up the mean at the larger step are momenta too rare to be drawn: so they
    # are drawn three times as wide, positions uniformly, and weighted for it
    low, high, wide, n = LOW.clamp(min=-0.8).double(), HIGH.double(), 3.0, 200_000
    (energy, grid, _), rng = walled(low, high), seeded(46)
    x = Uniform(low, high).sample(n, rng)
    v = wide * torch.randn(n, 2, generator=rng, dtype=torch.float64)
    kernel = HMC(h, leapfrog_steps=3, friction=1e-300, adjusted=False, reflect=True)
    new, _, _ = kernel(energy, seen(energy, x, {"v": v}), rng)
    after = new.u + new.aux["v"].square().sum(1) / 2
    log_q = -(v / wide).square().sum(1) / 2 - 2 * math.log(wide) - Uniform(low, high).log_z()
    assert_within((-after - log_q - grid.log_z).exp()[:, None], 1.0, h)


# -- many bits, which come from a stream of their own

LOGITS = torch.tensor([-12.0, -4.1, -1.3, -0.2, 0.4, 1.7, 5.2])


def test_many_bits_have_their_probabilities_and_are_independent():
    # seed 11; 2 x 150,001 rows (an odd number, not a multiple of a part), 4 standard errors
    rng, n = seeded(11), 150_001
    x = torch.cat([draw_bits(LOGITS.expand(n, -1), rng) for _ in range(2)]).double()
    assert n * len(LOGITS) > 2 * CACHED
    p = LOGITS.double().sigmoid()
    z = (x - p) / (p * (1 - p)).sqrt()
    assert (z.mean(0).abs() * (2 * n) ** 0.5 < 4).all()
    # neighbours share a word of 64 bits, or a place in the two calls
    for a, b in ((z[:, 2:5], z[:, 3:6]), (z[1:, 0 + 2], z[:-1, 6 - 2]), (z[:n, 1:], z[n:, 1:])):
        r = (a * b).reshape(len(a), -1)
        assert (r.mean(0).abs() < 4 * (1 / len(a)) ** 0.5).all()


@pytest.mark.parametrize(("word", "high"), [(2**64 - 1, True), (0, False)])
def test_certain_bits_are_certain_and_nearly_certain_ones_are_not(monkeypatch, word, high):
    # the largest and the smallest 32-bit number, in place of the stream
    class Stuck:
        def __init__(self, seeds):
            pass

        def random_raw(self, n):
            return np.full(n, word, dtype=np.uint64)

    monkeypatch.setattr(np.random, "SFC64", Stuck)
    bits = [draw_bits(torch.full((MANY,), a), seeded(1)) for a in (-math.inf, -14, 14, math.inf)]
    assert [set(x.tolist()) for x in bits] == [{0.0}, {float(not high)}, {float(not high)}, {1.0}]


@pytest.mark.parametrize("n", [MANY - 1, MANY, 3 * CACHED + 5])
def test_bits_follow_from_the_generator_alone(n):
    logits = torch.zeros(n)
    first, rng = draw_bits(logits, seeded(3)), seeded(3)
    assert torch.equal(draw_bits(logits, rng), first)
    state = rng.get_state()
    second = draw_bits(logits, rng)
    assert 0.4 < (second != first).float().mean() < 0.6, "the generator has moved on"
    rng.set_state(state)
    assert torch.equal(draw_bits(logits, rng), second)
    assert torch.equal(logits, torch.zeros(n))


def test_bits_of_logits_column_by_column_are_those_of_the_same_logits():
    logits = torch.randn(7, MANY, generator=seeded(12))
    column_by_column = logits.T.contiguous().T
    assert torch.equal(draw_bits(column_by_column, seeded(3)), draw_bits(logits, seeded(3)))


def test_bits_in_other_precisions_are_torchs():
    for dtype in (torch.float64, torch.bfloat16):
        logits = torch.linspace(-3, 2, 2 * MANY, dtype=dtype)
        u = torch.rand(len(logits), generator=seeded(4), dtype=dtype)
        assert torch.equal(draw_bits(logits, seeded(4)), (u < logits.sigmoid()).to(dtype))
