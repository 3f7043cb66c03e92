"""The targets with known answers: log Z, means and samples agree with sums and with each other."""

import pytest
import torch
from targets import assert_within, bits, one_hots, seeded

import noneq
from noneq import testing
from noneq.energies import evaluate
from noneq.testing import Grid, Unsolved
from noneq.testing.exact import cells

#: boxes whose sum is exact enough: low, high, points along an axis
BOXES = {
    "two modes": [([-8.0], [8.0], 4001)],
    "skewed": [([-45.0], [20.0], 8001)],
    "correlated": [([-7.0, -6.0], [8.0, 5.0], 600)],
    "banana": [([-7.0, -6.0], [8.0, 16.0], 600)],
    "funnel": [([-6.0, -150.0], [7.0, 150.0], 1600)],
    "Neal's funnel": [([-6.5, -150.0], [7.5, 150.0], 1600)],
    "parabola": [([-6.0, -2.0], [8.0, 34.0], 1500)],
    "logistic": [([-20.0, -60.0], [30.0, 40.0], 1500)],
    "Student's t": [([-60.0, -60.0], [60.0, 60.0], 1500)],
    "ring": [([-11.0, -11.0], [11.0, 11.0], 1200)],
    "wall": [([0.5, -9.0], [9.5, 9.0], 800)],
    "chambers": [([2.0, -9.0], [16.0, 9.0], 1000), ([-16.0, -9.0], [-2.0, 9.0], 1000)],
    "plateau": [([-14.0, -14.0], [14.0, 14.0], 1500)],
    "double wells": [([-2.2] * 4, [2.2] * 4, 28)],
}
LOOSE = {"Student's t": 2e-3, "Neal's funnel": 1e-3, "funnel": 1e-3}  # what is outside of the box


def shape_features(target, x):
    """Numbers that tell the shape: bounded functions of the coordinates, radius and energy."""
    last = x[:, -1:]
    bounded = [(2 * x).sigmoid(), x[:, :1].sigmoid() * (-3 * last).sigmoid(), (x - 1).tanh() ** 2]
    return torch.cat([*bounded, x.norm(dim=1, keepdim=True), target.energy(x)[:, None]], 1)


@pytest.mark.parametrize("name", testing.CONTINUOUS)
def test_log_z_mean_and_samples_agree_with_a_sum(name):
    # seed 0; 40,000 samples
    target, tolerance = testing.CONTINUOUS[name](), LOOSE.get(name, 1e-4)
    parts = [cells(*box) for box in BOXES[name]]
    log_p = torch.cat([log_cell - target.energy(x) for x, log_cell in parts])
    grid = torch.cat([x for x, _ in parts])
    assert abs(float(log_p.logsumexp(0)) - target.log_z) < tolerance
    p = log_p.softmax(0)
    torch.testing.assert_close(p @ grid, target.mean, rtol=0, atol=20 * tolerance)
    kept = p > 0
    exact = p[kept] @ shape_features(target, grid[kept])
    x = target.sample(40_000, seeded(0))
    assert x.dtype == torch.float64
    found = shape_features(target, x)
    error = 4 * found.std(0) / 200 + 5 * tolerance
    assert bool(((found.mean(0) - exact).abs() < error).all()), (found.mean(0), exact)
    assert_within(x, target.mean, name)
    assert torch.equal(x, target.sample(40_000, seeded(0))), "the generator alone decides"


@pytest.mark.parametrize("name", testing.DISCRETE)
def test_discrete_targets(name):
    target = testing.DISCRETE[name]()
    x = target.sample(40_000, seeded(2))
    vary = (x - target.mean).flatten(1)
    assert_within(vary[:, vary.std(0) > 0], 0.0, name)
    if hasattr(target.energy, "log_z"):
        assert abs(target.energy.log_z() - target.log_z) < 1e-9


@pytest.mark.parametrize(("side", "field"), [(3, [0.0, 0.3]), (2, [0.1, 0.0, -0.2])])
def test_a_lattices_sums_are_those_of_all_states(side, field):
    # seed 3
    lattice = testing.Lattice(side, 0.4, field)
    states = bits(side**2) if len(field) == 2 else one_hots(side**2, len(field))
    grid = Grid.over(lattice, states)
    log_z, drawn = lattice.exact(20_000, seeded(3))
    assert abs(log_z - grid.log_z) < 1e-9
    rows = lattice.rows(drawn).double()
    pairs = (rows[:, :1] * rows).flatten(1)
    exact = grid.mean((states[:, :1] * states).flatten(1))
    vary = pairs.std(0) > 0
    assert_within(pairs[:, vary], exact[vary], "pairs")


def test_energies_of_small_discrete_models_are_their_formulas():
    couplings, fields = torch.tensor([[0.0, 1.0], [0.0, 0.0]]), torch.tensor([0.0, 0.5])
    pair = testing.Ising(couplings, fields)
    assert pair(torch.tensor([[1.0, 1.0], [0.0, 1.0]])).tolist() == [-1.5, 0.5]
    sites = testing.potts()
    (f, g), c = sites.fields, sites.couplings
    expected = [f[i] + g[j] + c[i, j].exp() / 2 for i in range(3) for j in range(3)]
    x = torch.eye(3).double()
    states = torch.stack([torch.stack([x[i], x[j]]) for i in range(3) for j in range(3)])
    torch.testing.assert_close(sites(states), torch.stack(expected))


def test_an_unsolved_energy_is_the_same_but_for_its_answers():
    energy = testing.mixture([[0.0, 0.0], [3.0, 1.0]], [1.0, 0.5], [0.3, 0.7])
    other, x = Unsolved(energy), torch.randn(5, 2, generator=seeded(4))
    assert not hasattr(other, "log_z")
    assert not hasattr(other, "sample")
    assert torch.equal(other(x), energy(x))
    u, cache = evaluate(other, x)
    torch.testing.assert_close(u, energy(x).detach())
    torch.testing.assert_close(cache["g"], evaluate(energy, x)[1]["g"])
    rbm = testing.bernoulli_rbm()
    assert (Unsolved(rbm).space, Unsolved(rbm).gibbs) == (rbm.space, rbm.gibbs)
    assert noneq.energies.fingerprint(other) == noneq.energies.fingerprint(energy)
