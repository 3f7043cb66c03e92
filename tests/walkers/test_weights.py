import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from noneq.walkers import reductions, resampling
from noneq.walkers.resampling import multinomial, residual, stratified, systematic

SCHEMES = [systematic, stratified, residual, multinomial]
# those that leave nothing to chance where n p_i is an integer
SPREAD = [systematic, stratified, residual]
ONE = 1.0 - 2.0**-53  # the largest uniform that torch.rand can return
INF = math.inf

log_weights = st.lists(st.floats(-50, 50), min_size=1, max_size=30).map(
    lambda v: torch.tensor(v, dtype=torch.float64)
)
property_test = settings(max_examples=60, deadline=None, derandomize=True)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def counts(index: torch.Tensor, n: int) -> torch.Tensor:
    """Offspring of each walker: (..., n) indices to (..., n) float64 counts."""
    return torch.zeros(index.shape, dtype=torch.float64).scatter_add_(
        -1, index, torch.ones(index.shape, dtype=torch.float64)
    )


# -- functions of log-weights -----------------------------------------------------------------


def test_log_mean_exp() -> None:
    values = torch.tensor([[0.0, math.log(3.0), -INF, math.log(4.0)], [-INF] * 3 + [math.log(8)]])
    expected = torch.tensor([2.0, 2.0], dtype=torch.float64).log()
    torch.testing.assert_close(reductions.log_mean_exp(values), expected, rtol=1e-6, atol=1e-7)
    # no overflow, no underflow, float64 whatever comes in
    for shift in (1e4, -1e4, 1e300, -1e300):
        shifted = reductions.log_mean_exp(torch.full((5,), shift, dtype=torch.float64))
        assert float(shifted) == shift
    assert float(reductions.log_mean_exp(torch.full((3,), -INF))) == -INF
    for dtype in (torch.float32, torch.float64):
        found = reductions.log_mean_exp(torch.zeros(3, dtype=dtype))
        assert found.dtype == torch.float64
        assert abs(float(found)) < 1e-15  # log 3 in float32 is wrong by 2e-8


def test_log_mean_exp_keeps_small_changes_of_large_weights() -> None:
    # float32 would lose these: 2^24 is 1.7e7
    log_w = torch.tensor([1e8, 1e8 + 1], dtype=torch.float64)
    expected = 1e8 + math.log((1 + math.e) / 2)
    assert abs(float(reductions.log_mean_exp(log_w)) - expected) < 1e-7


def test_normalise() -> None:
    log_w = torch.tensor([[0.0, math.log(3.0), -INF], [1e4, -1e4, 1e4]])
    p = reductions.normalise(log_w)
    expected = torch.tensor([[0.25, 0.75, 0.0], [0.5, 0.0, 0.5]], dtype=torch.float64)
    torch.testing.assert_close(p, expected, rtol=0, atol=1e-7)
    assert p.dtype == torch.float64
    assert float(p[0, 2]) == 0.0  # the dead have no weight at all


def test_jackknife_leaves_out_one_at_a_time() -> None:
    log_w = torch.tensor([[0.0, 1.0, -2.0, 3.0, 0.5], [700.0, 0.0, -700.0, 1.0, 2.0]])
    for row, found in zip(log_w.double(), reductions.jackknife(log_w), strict=True):
        t = [float(reductions.log_mean_exp(row[torch.arange(5) != i])) for i in range(5)]
        expected = math.sqrt(4 / 5 * sum((one - sum(t) / 5) ** 2 for one in t))
        assert float(found) == pytest.approx(expected, rel=1e-12)
    near = 1e-3 * torch.randn(50, generator=generator(0), dtype=torch.float64)
    w = (near + 1e4).sub(1e4).exp()  # of small errors it is the relative standard error
    relative = float(w.std() / w.mean()) / math.sqrt(50)
    assert float(reductions.jackknife(near + 1e4)) == pytest.approx(relative, rel=1e-2)
    assert bool(reductions.jackknife(near[:1]).isnan())
    one_dead = torch.tensor([0.0, -INF, 0.0])
    assert float(reductions.jackknife(one_dead)) == pytest.approx(2 / 3 * math.log(2))


def test_ess() -> None:
    cases = {  # by hand: (sum w)^2 / (n sum w^2)
        (1.0, 1.0, 1.0, 1.0): 1.0,
        (1.0, 0.0, 0.0, 0.0): 1 / 4,
        (1.0, 1.0, 0.0, 0.0): 1 / 2,
        (3.0, 1.0): 16 / 20,
        (1.0, 2.0, 3.0, 4.0): 100 / 120,
    }
    for w, expected in cases.items():
        for shift in (0.0, 700.0, -1e6):
            log_w = torch.tensor(w, dtype=torch.float64).log() + shift
            assert float(reductions.ess(log_w)) == pytest.approx(expected, rel=1e-9)
    islands = torch.tensor([[1.0, 1.0], [3.0, 1.0]], dtype=torch.float64).log()
    assert reductions.ess(islands).tolist() == pytest.approx([1.0, 0.8])


def test_conditional_ess_of_a_gaussian_increment() -> None:
    # E[e^d]^2 / E[e^2d] = exp(-s^2) for d ~ N(0, s^2): 60 nodes of Gauss and Hermite are exact
    nodes, mass = map(torch.from_numpy, np.polynomial.hermite_e.hermegauss(60))
    for s in (0.1, 0.5, 1.0, 2.0):
        for shift in (0.0, 1e3, -1e3):
            cess = reductions.conditional_ess(mass.log() + shift, s * nodes - 5 * shift)
            assert float(cess) == pytest.approx(math.exp(-(s**2)), rel=1e-8)


def test_conditional_ess() -> None:
    log_w = torch.tensor([0.3, -1.2, 2.0, -INF], dtype=torch.float64)
    for constant in (0.0, 1e4, -1e4):
        cess = reductions.conditional_ess(log_w, torch.full((4,), constant))
        assert float(cess) == pytest.approx(1.0)
    # whatever happens to the dead does not matter, NaN included
    for of_dead in (math.nan, INF, -INF, 1e9):
        increment = torch.tensor([0.5, 0.5, 0.5, of_dead], dtype=torch.float64)
        assert float(reductions.conditional_ess(log_w, increment)) == pytest.approx(1.0)
    # walkers of total weight 1 - q die: q^2 / q = q is left
    p = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    died = torch.tensor([0.0, -INF, 0.0], dtype=torch.float64)
    assert float(reductions.conditional_ess(p.log(), died)) == pytest.approx(0.5)
    # an increment that undoes the weights: ESS 1 afterwards, but the step was not free
    undone = reductions.conditional_ess(p.log(), -p.log())
    assert float(reductions.ess(p.log() - p.log())) == pytest.approx(1.0)
    assert float(undone) == pytest.approx(9 / float((1 / p).sum()))  # (sum 1)^2 / sum 1/p
    islands = reductions.conditional_ess(torch.stack([p, p]).log(), torch.stack([died, p * 0]))
    assert islands.tolist() == pytest.approx([0.5, 1.0])


@property_test
@given(log_weights, st.floats(-1e3, 1e3), st.randoms(use_true_random=False))
def test_weights_know_no_order_and_no_scale(log_w, shift, random) -> None:
    n = len(log_w)
    order = list(range(n))
    random.shuffle(order)
    p, other = reductions.normalise(log_w), reductions.normalise(log_w[order] + shift)
    torch.testing.assert_close(p[order], other, rtol=1e-9, atol=1e-300)
    assert float(p.sum()) == pytest.approx(1.0, abs=1e-12)
    ess = float(reductions.ess(log_w))
    assert 1 / n - 1e-12 <= ess <= 1 + 1e-12
    assert float(reductions.ess(log_w[order] + shift)) == pytest.approx(ess, rel=1e-9)
    mean = float(reductions.log_mean_exp(log_w))
    assert float(reductions.log_mean_exp(log_w[order] + shift)) == pytest.approx(mean + shift)
    assert float(log_w.min()) - 1e-9 <= mean <= float(log_w.max()) + 1e-9


@property_test
@given(log_weights, st.integers(0, 1000))
def test_conditional_ess_is_a_fraction(log_w, seed) -> None:
    d = 5 * torch.randn(len(log_w), generator=generator(seed), dtype=torch.float64)
    p = reductions.normalise(log_w)
    expected = (p * d.exp()).sum() ** 2 / (p * (2 * d).exp()).sum()
    cess = reductions.conditional_ess(log_w, d)
    assert float(cess) == pytest.approx(float(expected), rel=1e-9)
    assert 0 < float(cess) <= 1 + 1e-12


# -- resampling -------------------------------------------------------------------------------


def variance_of_offspring(scheme, p: torch.Tensor) -> torch.Tensor:
    """Theory: the variance of each walker's number of offspring."""
    n = len(p)
    expected = n * p
    if scheme is multinomial:
        return expected * (1 - p)
    rest = expected - expected.floor()
    if scheme is systematic:
        return rest * (1 - rest)
    if scheme is residual:
        m = rest.sum()
        return rest * (1 - rest / m) if m > 0.5 else torch.zeros(n, dtype=torch.float64)
    # stratified: one Bernoulli variable a stratum, with the share of it that the walker owns
    top = n * p.cumsum(0)
    rung = torch.arange(n, dtype=torch.float64)
    own = torch.minimum(top[:, None], rung + 1) - torch.maximum((top - expected)[:, None], rung)
    own = own.clamp(min=0)
    return (own * (1 - own)).sum(1)


ASYMMETRIC = {
    "two": [0.3, 0.7],
    "three": [0.05, 0.85, 0.10],
    "five, one dead": [0.4, 0.02, 0.0, 0.33, 0.25],
    "eight, half of them integers": [0.125, 0.25, 0.01, 0.115, 0.125, 0.3, 0.075, 0.0],
    "thirty, falling": [0.8**i for i in range(30)],
}


@pytest.mark.parametrize("name", ASYMMETRIC)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_offspring_have_the_right_mean_and_variance(scheme, name) -> None:
    # seed 1, 20,000 islands of one call: mean within 4 se of n p by the variance of theory, and
    # the empirical variance within 5 of its own se (kurtosis from the sample) of theory's
    repeats = 20_000
    p = torch.tensor(ASYMMETRIC[name], dtype=torch.float64)
    p, n = p / p.sum(), len(p)
    index = scheme(p.expand(repeats, n), generator(1))
    assert index.shape == (repeats, n)
    assert index.dtype == torch.int64
    found = counts(index, n)
    variance = variance_of_offspring(scheme, p)
    assert ((found.mean(0) - n * p).abs() <= 4 * (variance / repeats).sqrt() + 1e-12).all()
    off = found - n * p
    error = ((off**4).mean(0) - variance**2).clamp(min=0).sqrt() / math.sqrt(repeats)
    assert ((off.square().mean(0) - variance).abs() <= 5 * error + 1e-9).all()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_offspring_one_population_at_a_time(scheme) -> None:
    # seed 2, 3,000 separate calls with an (n,) vector: 4 se
    repeats, p = 3_000, torch.tensor([0.46, 0.04, 0.17, 0.33], dtype=torch.float64)
    rng = generator(2)
    found = torch.stack([counts(scheme(p, rng), 4) for _ in range(repeats)]).mean(0)
    error = (variance_of_offspring(scheme, p) / repeats).sqrt()
    assert ((found - 4 * p).abs() <= 4 * error).all()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_islands_are_independent_populations(scheme) -> None:
    # seed 3: islands with their own weights, indices stay in the island; 4 se
    repeats = 10_000
    rows = torch.tensor([[0.1, 0.2, 0.7], [0.6, 0.4, 0.0], [0.25, 0.05, 0.7], [0.0, 0.0, 1.0]])
    p = rows.double()
    found = counts(scheme(p.expand(repeats, 4, 3), generator(3)), 3)
    for island in range(4):
        error = (variance_of_offspring(scheme, p[island]) / repeats).sqrt()
        gap = (found[:, island].mean(0) - 3 * p[island]).abs()
        assert (gap <= 4 * error + 1e-6).all()  # 1e-6: the weights were float32
    # two islands with the same random weights do not share their randomness
    a, b = found[:, 0, 0], found[:, 2, 0]
    a, b = a - a.mean(), b - b.mean()
    correlation = (a * b).mean() / (a.std() * b.std())
    assert abs(float(correlation)) < 4 / math.sqrt(repeats)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_weights_come_in_any_layout_and_precision(scheme) -> None:
    p = reductions.normalise(torch.randn(7, 4, generator=generator(4)))
    reference = scheme(p.T.contiguous(), generator(5))
    assert torch.equal(scheme(p.T, generator(5)), reference)  # a view: no copy, no warning
    assert scheme(p.float(), generator(5)).shape == p.shape
    one = torch.ones(3, 1, dtype=torch.float64)
    assert torch.equal(scheme(one, generator(5)), torch.zeros(3, 1, dtype=torch.int64))


def dead(pattern: str, n: int) -> torch.Tensor:
    mask = torch.zeros(n, dtype=torch.bool)
    third = max(1, n // 3)
    match pattern:
        case "first":
            mask[:third] = True
        case "last":
            mask[-third:] = True
        case "middle":
            mask[third:-third] = True
        case "alternating":
            mask[::2] = True
        case "all but the first":
            mask[1:] = True
        case "all but the last":
            mask[:-1] = True
    return mask


PATTERNS = ("first", "last", "middle", "alternating", "all but the first", "all but the last")


@pytest.mark.parametrize("n", [3, 10, 1000, 100_000])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_dead_are_never_chosen(scheme, n) -> None:
    # seeds 6 to 8; gamma-like weights over 30 orders of magnitude
    for seed in (6, 7, 8):
        rng = generator(seed)
        for pattern in PATTERNS:
            log_w = 10 * torch.randn(n, generator=rng, dtype=torch.float64)
            mask = dead(pattern, n)
            log_w[mask] = -INF
            index = scheme(reductions.normalise(log_w), rng)
            assert int(index.min()) >= 0
            assert int(index.max()) < n
            assert not bool(mask[index].any()), pattern


@pytest.mark.parametrize("value", [0.0, ONE, 0.5])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_ends_of_the_unit_interval(scheme, value, monkeypatch) -> None:
    # every uniform at the boundary: still in range, never a dead walker, floor or ceiling
    def uniform(p, columns, rng):
        return torch.full((*p.shape[:-1], columns), value, dtype=torch.float64)

    monkeypatch.setattr(resampling, "_uniform", uniform)
    for n in (2, 3, 10, 49, 1000, 100_000):
        for pattern in ("none", *PATTERNS):
            log_w = torch.randn(n, generator=generator(9), dtype=torch.float64)
            mask = dead(pattern, n)
            log_w[mask] = -INF
            p = reductions.normalise(log_w)
            index = scheme(p, generator(9))
            assert int(index.min()) >= 0
            assert int(index.max()) < n
            assert not bool(mask[index].any()), (n, pattern)
            if scheme is systematic:
                assert ((counts(index, n) - n * p).abs() < 1 + 1e-6).all(), (n, pattern)


@pytest.mark.parametrize("scheme", SPREAD)
def test_equal_weights_reproduce_everyone(scheme) -> None:
    # seed 10; n * (1/n) is not 1 in floating point for n = 49, 98, 103, ...: nobody is lost
    for n in (1, 2, 3, 7, 10, 49, 64, 98, 103, 1000, 4096):
        for log_w in (torch.zeros(n), torch.full((n,), -1234.5)):
            index = scheme(reductions.normalise(log_w), generator(10))
            assert torch.equal(index.sort().values, torch.arange(n)), n


shares = st.lists(st.integers(0, 6), min_size=1, max_size=40).filter(lambda c: sum(c) > 0)


def with_offspring(copies: list[int]) -> torch.Tensor:
    """Weights k_i / n of n walkers: the listed ones, then the dead or the childless."""
    n = max(sum(copies), len(copies))
    copies = copies + [0] * (n - len(copies))
    copies[0] += n - sum(copies)
    return torch.tensor(copies, dtype=torch.float64)


@pytest.mark.parametrize("scheme", SPREAD)
@property_test
@given(copies=shares, seed=st.integers(0, 2**20))
def test_whole_numbers_of_offspring_are_exact(scheme, copies, seed) -> None:
    expected = with_offspring(copies)
    n = len(expected)
    index = scheme(expected / n, generator(seed))
    assert torch.equal(counts(index, n), expected)


@property_test
@given(log_w=log_weights, seed=st.integers(0, 2**20))
def test_systematic_gives_floor_or_ceiling(log_w, seed) -> None:
    p, n = reductions.normalise(log_w), len(log_w)
    found = counts(systematic(p, generator(seed)), n)
    assert (found >= (n * p - 1e-9).floor()).all()
    assert (found <= (n * p + 1e-9).ceil()).all()


@property_test
@given(log_w=log_weights, seed=st.integers(0, 2**20))
def test_residual_gives_the_floor_at_least(log_w, seed) -> None:
    p, n = reductions.normalise(log_w), len(log_w)
    found = counts(residual(p, generator(seed)), n)
    assert (found >= (n * p - 1e-9).floor()).all()


@property_test
@given(log_w=log_weights, seed=st.integers(0, 2**20))
def test_stratified_is_within_two_of_the_expected(log_w, seed) -> None:
    # a walker owns at most two broken strata
    p, n = reductions.normalise(log_w), len(log_w)
    found = counts(stratified(p, generator(seed)), n)
    assert ((found - n * p).abs() < 2).all()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_same_seed_gives_the_same_indices(scheme) -> None:
    p = reductions.normalise(torch.randn(5, 100, generator=generator(11)))
    before = torch.get_rng_state()
    first, second = scheme(p, generator(12)), scheme(p, generator(12))
    assert torch.equal(first, second)
    assert not torch.equal(first, scheme(p, generator(13)))
    assert torch.equal(torch.get_rng_state(), before)  # the global generator is left alone
