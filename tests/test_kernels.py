"""Every kernel keeps the same contract and samples the same targets with an exact weight.

Statistical tests: seeds are written in the tests; standard errors come from 100 islands of 1,000
walkers (or from the variance of independent draws) and the judgement is at 4 of them.
"""

import math
from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal

from noneq import (
    HMC,
    MALA,
    ULA,
    Chain,
    Cholesky,
    Diagonal,
    Gaussian,
    Identity,
    LowRank,
    Repeat,
    State,
    Walkers,
    evaluate,
)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


KERNELS = {  # name: (step size, factor) -> kernel, and how many moves it makes
    "ULA stale": (lambda h, f: ULA(h, f), 1),
    "ULA fresh": (lambda h, f: ULA(h, f, refresh=True), 1),
    "MALA": (lambda h, f: MALA(h, f), 1),
    "Repeat ULA": (lambda h, f: Repeat(ULA(h, f), 3), 3),
    "Repeat MALA": (lambda h, f: Repeat(MALA(h, f), 3), 3),
    "Chain MALA ULA": (lambda h, f: Chain((MALA(h, f), ULA(h / 2, f))), 2),
    "HMC": (lambda h, f: HMC(h / 4, f, 2), 2),
    "Chain HMC ULA": (lambda h, f: Chain((HMC(h, f, 3), ULA(h, f))), 4),
    "Chain ULA MALA": (lambda h, f: Chain((ULA(h, f), MALA(2 * h, f), MALA(h, f))), 3),
}
EXACT = ("MALA", "Repeat MALA", "HMC")
every_kernel = pytest.mark.parametrize("name", KERNELS)


def factors(shape, dtype=torch.float64):
    """One preconditioner of each kind, none of them symmetric in the coordinates."""
    d = math.prod(shape)
    a = torch.randn(d, d, generator=seeded(5)) * 0.6
    scale = 0.5 + torch.rand(shape, generator=seeded(6))
    loadings = torch.randn(d, min(d, 2), generator=seeded(7)) * 0.7
    return {
        "identity": Identity(0.8),
        "diagonal": Diagonal(scale),
        "cholesky": Cholesky(a @ a.T / d + 0.3 * torch.eye(d)).to(dtype),
        "low-rank": LowRank(scale, loadings).to(dtype),
    }


class Net(nn.Module):
    """A curved, skewed energy of any shape, in any dtype."""

    def __init__(self, shape, dtype, seed=0):
        super().__init__()
        d = math.prod(shape)
        self.a = nn.Parameter(torch.randn(d, d, generator=seeded(seed)).to(dtype))
        self.rows = []
        self.register_forward_hook(lambda _, args, __: self.rows.append(len(args[0])))

    def forward(self, x):
        x = x.flatten(1)
        return x.square().sum(1) / 2 + nn.functional.softplus(x @ self.a).sum(1)


def start(model, n, shape, dtype, seed=1):
    x = torch.randn(n, *shape, generator=seeded(seed), dtype=dtype)
    u, cache = evaluate(model, x)
    return State(x, u, cache, {"label": torch.arange(n), "p": x.flatten(1) * 2})


def tensors(state):
    return [state.x, state.u, *state.cache.values(), *state.aux.values()]


# -- the contract


@every_kernel
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(1,), (3,), (1, 2, 3)], ids=str)
def test_contract(name, dtype, shape):
    make, moves = KERNELS[name]
    n = 7
    for factor in factors(shape, dtype).values():
        kernel = make(0.1, factor)
        old, model = Net(shape, dtype, seed=2), Net(shape, dtype, seed=3)
        state = start(model if kernel.fresh else old, n, shape, dtype)
        before = [t.clone() for t in tensors(state)]

        model.rows.clear()
        new, increment, info = kernel(model, state, seeded(0))
        assert model.rows == [n] * moves, "one evaluation of each walker a move"

        assert new.x.shape == state.x.shape
        assert new.u.shape == increment.shape == (n,)
        assert new.cache["g"].shape == state.x.shape
        assert {t.dtype for t in (new.x, new.u, new.cache["g"], increment)} == {dtype}
        assert not any(t.requires_grad for t in (*tensors(new), increment, *info.values()))
        assert all(value.shape == () for value in info.values())

        after = tensors(state)
        assert all(torch.equal(a, b) for a, b in zip(after, before, strict=True)), "inputs touched"

        u, cache = evaluate(model, new.x)  # the state belongs to the model
        torch.testing.assert_close(new.u, u)
        torch.testing.assert_close(new.cache["g"], cache["g"])
        assert torch.equal(new.aux["label"], torch.arange(n)), "aux is kept"
        assert torch.equal(new.aux["p"], state.aux["p"])

        again, same, _ = kernel(model, state, seeded(0))
        assert torch.equal(again.x, new.x)
        assert torch.equal(same, increment)
        other, _, _ = kernel(model, state, seeded(1))
        assert not torch.equal(other.x, new.x)

        if name in EXACT:
            assert torch.equal(increment, torch.zeros(n, dtype=dtype))


@every_kernel
def test_moves_do_not_depend_on_the_other_walkers_energies(name):
    # walker 0 is put elsewhere; with the same noise the others must not notice
    make, _ = KERNELS[name]
    model = Net((2,), torch.float64)
    kernel = make(0.1, factors((2,))["cholesky"])
    state = start(model, 5, (2,), torch.float64)
    x = state.x.clone()
    x[0] += 1.0
    u, cache = evaluate(model, x)
    a, da, _ = kernel(model, state, seeded(0))
    b, db, _ = kernel(model, State(x, u, cache, state.aux), seeded(0))
    torch.testing.assert_close(a.x[1:], b.x[1:], rtol=0, atol=1e-12)
    torch.testing.assert_close(da[1:], db[1:], rtol=0, atol=1e-12)


@pytest.mark.parametrize("h", [0.0, -0.1, math.nan, math.inf])
@pytest.mark.parametrize("kernel", [ULA, MALA, HMC])
def test_step_size_errors(kernel, h):
    with pytest.raises(ValueError, match="step size h must be positive and finite"):
        kernel(h)


def test_composition_errors():
    with pytest.raises(ValueError, match="1 or more times, got 0"):
        Repeat(MALA(0.1), 0)
    with pytest.raises(ValueError, match="one kernel or more"):
        Chain(())


def test_fresh_is_what_the_first_kernel_needs():
    assert [KERNELS[name][0](0.1, Identity()).fresh for name in KERNELS] == [
        False, True, True, False, True, True, True, True, False,
    ]  # fmt: skip


# -- the weight of a Langevin step


def test_increment_is_the_ratio_of_the_two_gaussian_densities():
    # float64: log e^{-U'(y)} N(x; y - hMg', 2hM) - log e^{-U(x)} N(y; x - hMg, 2hM)
    for shape in ((3,), (1, 2, 3)):
        d = math.prod(shape)
        for kind, factor in factors(shape).items():
            root = factor.mul(torch.eye(d, dtype=torch.float64).view(d, *shape)).flatten(1).T
            m = root @ root.T
            for h in (0.05, 0.7):
                for stale in (False, True):
                    model = Net(shape, torch.float64, seed=3)
                    old = Net(shape, torch.float64, seed=2) if stale else model
                    state = start(old, 50, shape, torch.float64)
                    new, increment, _ = ULA(h, factor)(model, state, seeded(0))

                    def log_q(to, at, g, h=h, m=m):
                        mean = at.flatten(1) - h * g.flatten(1) @ m
                        return MultivariateNormal(mean, 2 * h * m).log_prob(to.flatten(1))

                    expected = -new.u + log_q(state.x, new.x, new.cache["g"])
                    expected -= -state.u + log_q(new.x, state.x, state.cache["g"])
                    error = float((increment - expected).abs().max())
                    assert error < 1e-10, (kind, h, stale)


def test_composed_increments_add():
    # Repeat(k, 3) and Chain((k, k, k)) are k thrice, bit for bit
    model, old = Net((2,), torch.float64, seed=3), Net((2,), torch.float64, seed=2)
    for kernel, seen in ((ULA(0.1), old), (MALA(0.1), model)):
        state = start(seen, 50, (2,), torch.float64)
        rng, total, accepted = seeded(0), torch.zeros(50, dtype=torch.float64), []
        one_by_one = state
        for _ in range(3):
            one_by_one, increment, info = kernel(model, one_by_one, rng)
            total = total + increment
            accepted += [float(value) for value in info.values()]
        for composed in (Repeat(kernel, 3), Chain((kernel,) * 3)):
            new, increment, info = composed(model, state, seeded(0))
            assert torch.equal(new.x, one_by_one.x)
            assert torch.equal(increment, total)
            if accepted:
                assert float(info["accept"]) == pytest.approx(sum(accepted) / 3)


# -- targets whose moments and log Z are known by quadrature


def two_modes(x, *, left=0.7):
    a = math.log(left / 0.6) - ((x[:, 0] + 1.2) / 0.6).square() / 2
    b = math.log((1 - left) / 0.5) - ((x[:, 0] - 1.5) / 0.5).square() / 2
    return -torch.logaddexp(a, b)


def skewed(x):
    return 4 * nn.functional.softplus(x[:, 0]) - x[:, 0]  # slopes -1 and 3


def correlated(x):
    a, b = x[:, 0] - 0.7, (x[:, 1] + 0.4) / 0.6
    return (a.square() - 1.6 * a * b + b.square()) / (2 * (1 - 0.8**2))


def banana(x):
    ridge = 1.3 * (1 + x[:, 0].square()).sqrt() - 1.5  # bent, its slope bounded
    return (x[:, 0] - 0.5).square() / 2 + (x[:, 1] - ridge).square() / (2 * 0.8**2)


TARGETS = {"two modes": (two_modes, 1), "skewed": (skewed, 1), "correlated": (correlated, 2),
           "banana": (banana, 2)}  # fmt: skip


def features(x):
    """What is compared: coordinates, their squares and product, about the mass right of 0.3."""
    parts = [x, x.square(), (4 * (x[:, :1] - 0.3)).sigmoid()]
    if x.shape[1] == 2:
        parts.append(x.prod(1, keepdim=True))
    return torch.cat(parts, 1)


@dataclass
class Grid:
    """Quadrature on a square grid (1-d: 8,001 points, 2-d: 501^2)."""

    x: torch.Tensor
    p: torch.Tensor
    log_z: float

    @classmethod
    def of(cls, energy, dim):
        axis = torch.linspace(-20, 20, 8001, dtype=torch.float64)
        x = axis[:, None]
        if dim == 2:
            axis = torch.linspace(-8, 9, 501, dtype=torch.float64)
            x = torch.cartesian_prod(axis, axis)
        log_p = -energy(x) + dim * math.log(float(axis[1] - axis[0]))
        return cls(x, log_p.softmax(0), float(log_p.logsumexp(0)))

    def mean(self, f):
        return torch.tensordot(self.p, f, 1)

    def sample(self, n, rng):
        """Exact up to the cell: a uniform draw inside the chosen cell of the grid."""
        i = torch.searchsorted(self.p.cumsum(0), torch.rand(n, generator=rng, dtype=self.p.dtype))
        cell = (self.x.max() - self.x.min()) / (round(len(self.x) ** (1 / self.x.shape[1])) - 1)
        jitter = torch.rand(n, self.x.shape[1], generator=rng, dtype=self.p.dtype) - 0.5
        return self.x[i.clamp(max=len(self.x) - 1)] + jitter * cell


def z_scores(rows, truth):
    """Of the mean of independent rows (R, m) against the truth (m)."""
    return (rows.mean(0) - truth) / (rows.std(0) / math.sqrt(len(rows)))


def assert_within(rows, truth, label):
    z = z_scores(rows, truth)
    assert float(z.abs().max()) < 4, f"{label}: z-scores {z.tolist()}"


def assert_exact(walkers, grid, label, features=features):
    """Weighted means and Z agree with quadrature within 4 standard errors over islands.

    E w = Z / Z_start and E w (f - mean f) = 0 are exact for every N, unlike a ratio of the two.
    """
    w = walkers.log_w.exp().view(walkers.islands, -1)
    off = features(walkers.x) - grid.mean(features(grid.x))
    assert_within((w[..., None] * off.view(*w.shape, -1)).mean(1), 0.0, f"{label}: means")
    if not math.isnan(walkers.log_z_start):
        assert_within(w.mean(1), math.exp(grid.log_z - walkers.log_z_start), f"{label}: Z")


def base(dim):
    mean = torch.tensor([-0.3, 0.6], dtype=torch.float64)[:dim]
    return Gaussian(mean, Identity(1.6))


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


@pytest.mark.parametrize("refresh", [False, True])
def test_ula_at_a_large_step_is_exact_with_weights_and_biased_without(refresh):
    # seed 13; N(0.5, 1.3^2), h = 0.9: unweighted variance v' = (1 - h/s^2)^2 v + 2h, by theory
    mean, s, h, moves = 0.5, 1.3, 0.9, 4
    target = Gaussian(torch.tensor([mean], dtype=torch.float64), Identity(s))
    rng = seeded(13)
    walkers = Walkers.sample(target, 100_000, rng, islands=100)
    variance = s**2
    for _ in range(moves):
        walkers = walkers.move(ULA(h, refresh=refresh), target, rng)
        variance = (1 - h / s**2) ** 2 * variance + 2 * h
    plain = (walkers.x - mean).square().view(100, -1).mean(1, keepdim=True)
    assert_within(plain, variance, "theory of ULA, no weights")
    assert float(z_scores(plain, s**2)) > 20, "the bias must be visible"
    assert_exact(walkers, Grid.of(target, 1), "weights")


def test_ula_at_a_large_step_on_a_skewed_target():
    # seed 14; exact start; weighted means stay, unweighted ones leave, by 10, 30 and 40 se
    grid, rng = Grid.of(skewed, 1), seeded(14)
    walkers = Walkers.at(grid.sample(100_000, rng), skewed, log_z=grid.log_z, islands=100)
    walkers = walkers.move(Repeat(ULA(0.8), 3), skewed, rng)
    assert_exact(walkers, grid, "weights")
    plain = features(walkers.x).view(100, 1000, -1).mean(1)
    bias = z_scores(plain, grid.mean(features(grid.x))).abs()
    assert float(bias.min()) > 5
    assert float(bias.max()) > 20


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


@pytest.mark.parametrize("goal", [0.6, 0.85])
@pytest.mark.parametrize("h", [1e-3, 30.0])
def test_tune_steers_acceptance_to_the_goal(goal, h):
    # seed 18; 2,000 walkers: one acceptance has a standard error below 0.012
    one = MALA(h, goal=goal, rate=1.0)
    hmc = HMC(h, leaps=3, goal=goal, rate=1.0)
    for kernel in (one, Repeat(one, 2), Chain((one, one)), hmc):
        rng, name = seeded(18), type(kernel).__name__
        walkers = Walkers.at(torch.zeros(2000, 2), banana)
        accepted = []
        for _ in range(60):
            walkers = walkers.move(kernel, banana, rng)
            accepted.append(float(walkers.info["accept"]))
            kernel = kernel.tune(walkers.info)
        assert sum(accepted[-20:]) / 20 == pytest.approx(goal, abs=0.02), name


def test_tune_changes_the_step_only():
    kernel = MALA(0.2, Identity(2.0), goal=0.7, rate=0.3)
    tuned = kernel.tune({"accept": torch.tensor(0.5)})
    assert tuned.h == pytest.approx(0.2 * math.exp(0.3 * (0.5 - 0.7)))
    assert replace(tuned, h=0.2) == kernel
    ula = ULA(0.1)
    assert ula.tune({}) is ula
    mixed = Chain((ula, kernel)).tune({"accept": torch.tensor(0.5)})
    assert mixed.kernels[0] is ula
    assert mixed.kernels[1].h == pytest.approx(tuned.h)


def test_scaled_changes_the_step_only():
    kernel, ula = MALA(0.2, Identity(2.0), goal=0.7, rate=0.3), ULA(0.1, refresh=True)
    assert kernel.scaled(0.3).h == pytest.approx(0.06)
    assert replace(kernel.scaled(0.3), h=0.2) == kernel
    mixed = Repeat(Chain((ula, kernel)), 4).scaled(0.5)
    assert mixed.times == 4
    assert [k.h for k in mixed.kernel.kernels] == pytest.approx([0.05, 0.1])
    assert mixed.fresh


@pytest.mark.parametrize("kernel", [Repeat(MALA(0.3), 3), ULA(0.2)], ids=["MALA", "ULA"])
def test_parts_move_every_walker_once(kernel, monkeypatch):
    # 20 walkers by 3 at a time against one at a time, each with the noise of its own part
    def energy(x):
        return x.square().sum(1) / 2 + x[:, 0].cos()

    x = torch.randn(20, 2, generator=seeded(3), dtype=torch.float64)
    walkers = Walkers.at(x, energy)
    state = walkers.reweight(energy).state
    rng, expected, accepted = seeded(4), [], 0.0
    for i in range(0, 20, 3):
        part = State(x[i : i + 3], state.u[i : i + 3], {"g": state.cache["g"][i : i + 3]}, {})
        new, increment, info = kernel(energy, part, rng)
        expected.append((new.x, new.u, new.cache["g"], increment))
        accepted += float(info.get("accept", 0.0)) * len(part.x) / 20
    monkeypatch.setattr("noneq.energies.PART", 7)
    moved = walkers.move(kernel, energy, seeded(4))
    found = (moved.x, moved.state.u, moved.state.cache["g"], moved.log_w - walkers.log_w)
    for a, parts in zip(found, zip(*expected, strict=True), strict=True):
        torch.testing.assert_close(a, torch.cat(parts), rtol=0, atol=1e-12)
    assert float(moved.info.get("accept", 0.0)) == pytest.approx(accepted, abs=1e-6)
