"""log Z from work: Bennett's combination of both directions, and the error from founders.

Oracles: Gaussian work, for which Crooks' relation fixes the other direction in closed form; an
annealed skewed energy with log Z by quadrature. Seeds are in the tests, the judgement is at 4
standard errors over independent runs.
"""

import math

import pytest
import torch
from torch import nn

from noneq import HMC, MALA, ULA, Gaussian, Schedule, Walkers, anneal
from noneq.energies import GeometricPath, Identity
from noneq.likelihood import bennett, genealogy
from noneq.walkers import reductions

INF = math.inf


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def gaussian_work(n_f, n_b, c, sd, seed):
    """Log-weights of both sides with log(Z_1/Z_0) = c: Crooks' relation for Gaussian work."""
    f, b = torch.randn(n_f + n_b, generator=seeded(seed), dtype=torch.float64).split([n_f, n_b])
    return c - sd**2 / 2 + sd * f, -(c + sd**2 / 2 + sd * b)


def base(sd=1.5):
    return Gaussian(torch.tensor([0.4], dtype=torch.float64), Identity(sd))


def skewed(x):
    return x[:, 0].square() / 2 + nn.functional.softplus(3 * x[:, 0])


GRID = torch.linspace(-12, 12, 2_000_001, dtype=torch.float64)[:, None]
LOG_Z = float((-skewed(GRID)).logsumexp(0)) + math.log(24 / 2_000_000)


def exact(n, seed):
    """Samples of the skewed model, by its distribution function."""
    uniform = torch.rand(n, generator=seeded(seed), dtype=torch.float64)
    index = torch.searchsorted((-skewed(GRID)).softmax(0).cumsum(0), uniform)
    return GRID[index.clamp(max=len(GRID) - 1)]


# -- Bennett


def test_bennett_solves_its_equation():
    f, b = gaussian_work(30, 70, 2.0, 1.5, 0)
    c, stderr = bennett(f, b)
    m = math.log(30 / 70)
    left, right = (f - c - m).sigmoid(), (c + m + b).sigmoid()
    assert float(left.sum()) == pytest.approx(float(right.sum()), rel=1e-9)
    terms = [s.var(unbiased=False) / len(s) / s.mean() ** 2 for s in (left, right)]
    assert stderr == pytest.approx(math.sqrt(float(sum(terms))), rel=1e-9)


def test_bennett_is_right_calibrated_and_better_than_either_side():
    # 200 seeds; the standard deviation of 200 z-scores is known to 0.05
    z, errors = [], {"both": [], "forward": [], "backward": []}
    for seed in range(200):
        f, b = gaussian_work(60, 140, -3.0, 1.7, seed)
        c, stderr = bennett(f, b)
        z.append((c + 3.0) / stderr)
        errors["both"].append(c + 3.0)
        errors["forward"].append(float(reductions.log_mean_exp(f)) + 3.0)
        errors["backward"].append(-float(reductions.log_mean_exp(b)) + 3.0)
    z = torch.tensor(z)
    assert abs(float(z.mean())) < 4 / math.sqrt(200)
    assert 0.8 < float(z.std()) < 1.25
    rms = {side: float(torch.tensor(one).square().mean().sqrt()) for side, one in errors.items()}
    assert rms["both"] < 0.8 * min(rms["forward"], rms["backward"])


def test_exchanging_the_sides_changes_the_sign():
    f, b = gaussian_work(30, 70, 2.0, 1.5, 1)
    there, back = bennett(f, b), bennett(b, f)
    assert back.value == pytest.approx(-there.value, rel=1e-9)
    assert back.stderr == pytest.approx(there.stderr, rel=1e-9)
    far = bennett(f + 1e4, b - 1e4)
    assert far.value == pytest.approx(there.value + 1e4)
    assert far.stderr == pytest.approx(there.stderr, rel=1e-6)


def test_walkers_of_weight_zero_count():
    # a half of the start is cut off: the same numbers with n_F doubled, and log 2 less
    f, b = gaussian_work(40, 40, 1.0, 1.0, 2)
    dead = torch.full((40,), -INF, dtype=torch.float64)
    c = bennett(torch.cat([f, dead]), b).value
    m = math.log(80 / 40)
    left, right = (f - c - m).sigmoid().sum(), (c + m + b).sigmoid().sum()
    assert float(left) == pytest.approx(float(right), rel=1e-9)
    assert c < bennett(f, b).value


def test_sides_that_do_not_meet_have_no_error():
    # sd of the work 1.7, 3, 6, 12: the five walkers that the overlap takes are there, or not
    found = {sd: bennett(*gaussian_work(200, 200, 5.0, sd, 3)) for sd in (1.7, 3.0, 6.0, 12.0)}
    assert abs(found[1.7].value - 5.0) < 4 * found[1.7].stderr
    assert math.isfinite(found[3.0].stderr)
    for sd in (6.0, 12.0):
        assert math.isnan(found[sd].stderr)
        assert abs(found[sd].value - 5.0) < sd**2
    far = bennett(torch.full((20,), -5000.0), torch.full((30,), -5000.0))
    assert far.value == pytest.approx(0.0, abs=1.0)
    assert math.isnan(far.stderr) or far.stderr < 1e-6


def test_bennett_refuses_what_is_no_work():
    f, b = gaussian_work(8, 8, 0.0, 1.0, 4)
    for value in (math.nan, INF):
        wrong = f.clone()
        wrong[2] = value
        with pytest.raises(FloatingPointError, match="1 of 8 forward log-weights are NaN or"):
            bennett(wrong, b)
        with pytest.raises(FloatingPointError, match="1 of 8 backward log-weights are NaN or"):
            bennett(f, wrong)
    with pytest.raises(FloatingPointError, match="all backward walkers have weight zero"):
        bennett(f, torch.full((8,), -INF))
    walkers = Walkers.sample(base(), 16, seeded(0), islands=1).reweight(skewed)
    with pytest.raises(ValueError, match="the forward walkers were resampled 1 times"):
        bennett(walkers.resample(1.0, seeded(1)), walkers)


def momenta(*steps):
    """Underdamped Langevin kernels that keep a part of their momentum from step to step."""
    return tuple(HMC.obabo(h) for h in steps)


@pytest.mark.parametrize(
    "kernels",
    [(MALA(0.3),) * 3, (ULA(0.25),) * 3, momenta(1.0, 0.4, 0.001, 1.0, 0.001)],
    ids=["MALA", "ULA", "OBABO"],
)
def test_work_there_and_back_obeys_crooks(kernels):
    # seeds 51 to 54; E_F s(a - c) = E_B s(c - b) at the true c, for s and two steeper functions
    # of the same kind; ULA's step is so large that any other order of the way back would show,
    # OBABO's steps differ so much that half a refreshment in the wrong place would
    betas = torch.linspace(0, 1, len(kernels), dtype=torch.float64).tolist()
    path, schedule = GeometricPath(base(), skewed), Schedule(tuple(betas), kernels)
    n = 100_000
    forward = Walkers.sample(base(), n, seeded(51))
    forward = anneal(schedule.forward(path), forward, seeded(52), ess_min=0)
    backward = Walkers.at(exact(n, 53), path.at(1.0), log_z=0.0)
    backward = anneal(schedule.backward(path), backward, seeded(54), ess_min=0)
    c = LOG_Z - base().log_z()
    for shift in (-2.0, 0.0, 2.0):
        a, b = forward.log_w - c - shift, c + backward.log_w + shift
        left, right = a.sigmoid() * math.exp(shift), b.sigmoid()
        error = math.sqrt(float(left.var() + right.var()) / n)
        assert abs(float(left.mean() - right.mean())) < 4 * error
        assert error < 0.01
    value, stderr = bennett(forward, backward)
    assert abs(value - LOG_Z) < 4 * stderr
    assert stderr < 0.01


# -- lineages


def runs(n, temperatures, ess_min, start, seed):
    """200 independent runs of n walkers, in one tensor."""
    path = GeometricPath(base(start), skewed)
    walkers = Walkers.sample(path.start, 200 * n, seeded(seed), islands=200)
    schedule = Schedule.uniform(temperatures, MALA(0.1))
    walkers = anneal(schedule.forward(path), walkers, seeded(seed + 1), ess_min=ess_min)
    return [genealogy(walkers[torch.arange(i, i + n)]) for i in range(0, 200 * n, n)]


@pytest.mark.parametrize("ess_min", [0.0, 0.5, 0.9])
def test_founders_tell_the_error_of_one_population(ess_min):
    # 200 runs of 200 (seeds 61, 62); the standard deviation of 200 z-scores is known to 0.05
    found = runs(200, 6, ess_min, 3.0, 61)
    z = torch.tensor([(value - LOG_Z) / stderr for value, stderr in found])
    assert bool(torch.isfinite(z).all())
    assert 0.8 < float(z.std()) < 1.25
    assert abs(float(z.mean())) < 4 / math.sqrt(200)


def test_without_resampling_it_is_the_error_of_a_mean():
    walkers = Walkers.sample(base(), 400, seeded(0), islands=1).reweight(skewed)
    w = walkers.log_w.exp()
    value, stderr = genealogy(walkers)
    assert value == walkers.log_z.value
    assert stderr == pytest.approx(float(w.std() / w.mean()) / math.sqrt(400))
    # two islands: the errors of two means, of which log Z is the mean
    w = w.view(2, 200)
    parts = w.var(1) / 200
    walkers = Walkers.sample(base(), 400, seeded(0), islands=2).reweight(skewed)
    expected = math.sqrt(float(parts.sum()) / 4) / float(w.mean())
    assert genealogy(walkers).stderr == pytest.approx(expected)


def test_founders_that_have_coalesced_tell_nothing():
    found = runs(40, 30, 1.0, 30.0, 63)
    assert sum(math.isnan(stderr) for _, stderr in found) > 190
    walkers = Walkers.sample(base(), 32, seeded(0), islands=1)
    assert genealogy(walkers).stderr == 0.0
    assert math.isnan(genealogy(walkers[torch.tensor([3] * 32)]).stderr)
    walkers = Walkers.sample(base(), 32, seeded(0), islands=2)
    assert math.isnan(genealogy(walkers).stderr), "16 an island"
