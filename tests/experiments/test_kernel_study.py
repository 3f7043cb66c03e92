"""The kernel study's own functions, on its shortest paths.

Statistical tests: seeds are the study's (0 to 3), standard errors come from islands or a jackknife
over groups of walkers, the judgement is at 4 of them. The targets are lopsided: a mixture of
masses 1/4 and 3/4, clusters of bits of masses .6, .3 and .1.
"""

import itertools
import math

import pytest
import torch

import noneq
from experiments.kernels.noise import Skewed, gaussian_cv2, measure
from experiments.kernels.paths import recorded
from experiments.kernels.walks import CONTINUOUS, DISCRETE, Sizes, islands_off, judge, walk
from noneq.kernels import Kernel


@pytest.fixture(scope="module")
def rbm():
    return recorded("rbm", quick=True)


@pytest.fixture(scope="module")
def mixture():
    return recorded("mixture", quick=True)


def named(name):
    return next(c for c in (*CONTINUOUS, *DISCRETE) if c.name == name)


def test_a_path_is_the_same_bits_every_time(rbm):
    again = recorded("rbm", quick=True)
    assert torch.equal(again.thetas, rbm.thetas)
    assert not torch.equal(rbm.thetas[0], rbm.thetas[-1])
    assert again.truths[30].log_z == rbm.truths[30].log_z


def test_the_exact_gradient_is_the_mean_over_all_states(rbm):
    rbm.place(30)
    states = torch.tensor(list(itertools.product((0.0, 1.0), repeat=12)))
    p = (-rbm.energy(states).detach().double()).softmax(0)
    mean = rbm.gradients(states[None], p[None])[0]
    torch.testing.assert_close(mean, rbm.truths[30].gradient, rtol=1e-4, atol=1e-5)


def test_the_mixtures_exact_gradient_is_the_mass_of_a_mode(mixture):
    mixture.place(30)
    assert float(mixture.truths[30].gradient) == pytest.approx(
        torch.sigmoid(-mixture.energy.z).item(), rel=1e-5
    )
    left, right = mixture.energy.means[:, 0].tolist()
    mass = mixture.energy.masses()[0].item()
    assert (left, right, mass) == pytest.approx((-10, 6, 0.25), abs=0.6)


@pytest.mark.parametrize("who", CONTINUOUS, ids=lambda who: who.name)
def test_every_kernel_has_the_same_number_of_evaluations(who, mixture):
    rows, sizes = [], Sizes(islands=2, n=3)
    hook = mixture.energy.register_forward_hook(lambda _, args, __: rows.append(len(args[0])))
    found = walk(mixture, who, 0.01, sizes)
    hook.remove()
    walkers = sizes.islands * sizes.n  # gradients are of single islands
    each = (sum(n == walkers for n in rows) - 1) / len(mixture)
    assert not found.failed
    assert each == (8 if who.name in ("MALA, 4 parts", "unadjusted HMC, 4 leaps") else 9)


@pytest.mark.parametrize(
    ("name", "h"),
    [("block Gibbs, 4 parts", 1.0), ("discrete Langevin", 0.3), ("unadjusted DL, 9 parts", 0.05)],
)
def test_log_z_is_right_and_work_is_what_the_second_law_allows(name, h, rbm):
    found = walk(rbm, named(name), h, Sizes(islands=32, n=128))
    # E log Z_r is too low by half the variance, to first order
    bias = found.log_z_error + found.log_z_variance / 2
    assert abs(bias) < 4 * math.sqrt(found.log_z_variance / 32) + found.log_z_variance
    assert found.work > 4 * found.work_stderr


def test_the_effective_sample_size_of_an_exact_kernel_decays_by_the_dissipated_work():
    # near equilibrium log w is Gaussian of variance 2 W: ESS = exp(-2 W)
    found = walk(recorded("rbm"), named("block Gibbs, 4 parts"), 1.0, Sizes(islands=8, n=128))
    assert abs(math.log(found.ess[-1]) + 2 * found.work) < 4 * 2 * found.work_stderr
    assert 0.05 < found.work < 0.3


def test_weights_remove_the_bias_that_walkers_without_them_have(rbm):
    found = walk(rbm, named("block Gibbs"), 1.0, Sizes(islands=32, n=128))
    unweighted, weighted = found.unweighted, found.weighted
    assert unweighted.bias2 > 4 * unweighted.stderr
    assert abs(weighted.bias2) < 4 * weighted.stderr + unweighted.bias2 / 4


def test_the_unit_of_an_error_is_that_of_exact_samples(rbm):
    rbm.place(30)
    x = rbm.energy.sample(64 * 16, torch.Generator().manual_seed(9))
    walkers = noneq.Walkers.at(x, rbm.energy, islands=64)
    found = judge(islands_off(rbm, rbm.truths[30], walkers, weighted=True))
    # one of four updates; 64 islands know the variance to a tenth, as does the unit
    assert 4 * found.variance == pytest.approx(1, abs=0.4)
    assert abs(found.bias2) < 4 * found.stderr


def test_resampling_leaves_no_work_to_be_told(rbm):
    found = walk(rbm, named("block Gibbs"), 1.0, Sizes(islands=4, n=32, ess_min=0.9))
    assert found.resampled > 0
    assert math.isnan(found.work)
    assert found.unweighted is None


def test_a_walk_that_diverges_is_told_not_raised(mixture):
    found = walk(mixture, named("ULA, stale"), 1e3, Sizes(islands=2, n=8))
    assert found.failed
    assert math.isnan(found.work)


def test_squared_bias_is_unbiased():
    rng = torch.Generator().manual_seed(0)
    b = torch.tensor([0.8, -0.4, 0.0, 0.5], dtype=torch.float64)
    noise = torch.randn(400, 12, 4, generator=rng, dtype=torch.float64)
    errors = [judge(b + one) for one in noise]
    found = torch.tensor([e.bias2 for e in errors], dtype=torch.float64)
    assert abs(found.mean() - b.square().sum()) < 4 * found.std() / 20
    # the jackknife's: 400 draws know the deviation to 4 %; it errs upwards where b is small
    jackknife = sum(e.stderr for e in errors) / 400
    assert 0.9 * float(found.std()) < jackknife < 1.3 * float(found.std())
    spread = torch.tensor([e.variance for e in errors])
    assert abs(spread.mean() - 4) < 4 * spread.std() / 20
    assert judge(b + noise[0], 0.5).bias2 == pytest.approx(errors[0].bias2 - 0.5)


# -- noise at fixed parameters


@pytest.mark.parametrize("moves", [1, 3, 40])
@pytest.mark.parametrize("leapfrog_steps", [1, 4])
def test_noise_on_a_gaussian_is_what_theory_says(moves, leapfrog_steps):
    gaussian = noneq.Gaussian(torch.zeros(20), noneq.energies.Identity())
    h, x = 0.15, gaussian.sample(8000, torch.Generator().manual_seed(0))
    kernel: Kernel = (
        noneq.ULA(h)
        if leapfrog_steps == 1
        else noneq.HMC(h, leapfrog_steps=leapfrog_steps, adjusted=False)
    )
    (found,) = measure("", kernel, gaussian, x, (moves,), h=h)
    assert found.evaluations == moves * leapfrog_steps
    assert abs(found.cv2 - gaussian_cv2(h, 20, moves, leapfrog_steps)) < 4 * found.stderr


def test_noise_on_a_gaussian_stops_growing_at_a_quarter_of_d_h_squared():
    for h in (1e-3, 3e-3):
        assert gaussian_cv2(h, 50, 100_000) == pytest.approx(50 * h**2 / 4, rel=3 * h + 1e-3)
    assert gaussian_cv2(0.1, 50, 5) < gaussian_cv2(0.1, 50, 50)
    assert gaussian_cv2(1.9, 50, 50) == math.inf


def test_noise_elsewhere_grows_with_the_cube_of_the_step():
    target = Skewed(dim=20)
    x = target.sample(4000, torch.Generator().manual_seed(0))
    rates = []
    for h in (0.05, 0.1):
        early, late = measure("", noneq.ULA(h), target, x, (10, 50), h=h)
        rates.append((late.variance - early.variance) / 40)
    # 4000 walkers: each rate to 5 %, their ratio to 7 %; and terms of order h^4
    assert math.log2(rates[1] / rates[0]) == pytest.approx(3, abs=0.4)
