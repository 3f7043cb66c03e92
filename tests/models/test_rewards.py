"""Densities tilted by a reward: weights against closed forms and quadrature, guidance bare.

Statistical tests take 32 islands and the seeds that they name; where weights are right they are
judged at 3 standard errors, and where guidance alone is wrong it is so by more than 10.
"""

import pytest
import torch
from drifting import Exact, base, every_interpolant, fields, mixture, points, timed
from targets import seeded

from noneq import Gaussian, GaussianMixture, Schedule, population
from noneq.energies import Cholesky, Identity
from noneq.kernels import EulerMaruyama
from noneq.models.interpolants import (
    DriftedPath,
    EnergyPath,
    Linear,
    MixturePath,
    RewardPath,
    Trigonometric,
    VelocityPath,
)

D = torch.float64


def reward(x):
    return 0.7 * x[:, 0] - 0.2 * x[:, 1] ** 2


def test_weights_tilt_exactly_where_guidance_alone_is_wrong():
    from examples.interpolant_reward import by_quadrature, estimate, features, plane, sine
    from examples.interpolant_reward import tilted as all_ways

    path, end = plane()
    log_mean, exact = by_quadrature(end)
    schedule = Schedule.uniform(30, EulerMaruyama(1.0))
    sides = all_ways(path, sine, 3200, schedule, seeded(0))
    weighted, guided, score = (estimate(walkers, features(walkers.x, end)) for walkers in sides)
    z = (weighted.mean - exact) / weighted.stderr
    assert z.abs().max() < 3, z
    assert weighted.stderr.max() < 0.05
    found = sides.weighted.log_z
    assert abs(found.value - log_mean) < 3 * found.stderr
    assert found.stderr < 0.1
    assert sides.weighted.ess > 0.05
    for side in (guided, score):
        assert ((side.mean - exact) / side.stderr).abs().max() > 10


@pytest.mark.parametrize("whole", [False, True])
def test_a_gaussian_tilted_by_a_line_is_the_gaussian_moved(whole):
    # U(x, t) with f = 0; E e^{a.x} = e^{a.m + a.C a/2}, and the mean is m + C a
    path, a = EnergyPath(timed(Trigonometric())), torch.tensor([0.8, -0.5], dtype=D)
    way = RewardPath(path, lambda x: x @ a, whole=whole)
    walkers, _ = population(
        way, 3200, Schedule.uniform(20, EulerMaruyama(0.5)), rng=seeded(1), islands=32
    )
    c = torch.tensor([[1.0, 0.4], [0.4, 0.6]], dtype=D)
    log_z = walkers.log_z
    assert abs(log_z.value - float(a @ c @ a / 2) - path.base.log_z()) < 4 * log_z.stderr
    assert log_z.stderr < 0.05
    off = (walkers.p[:, None] * (walkers.x - c @ a)).view(32, 100, 2).sum(1)
    assert (off.sum(0).abs() < 4 * (off.square().sum(0) * 32 / 31).sqrt()).all()


@every_interpolant
@pytest.mark.parametrize("t", [0.05, 0.6, 1.0])
def test_the_drift_answers_as_that_of_another_end_would(interpolant, t):
    # two paths from one Gaussian: their drifts differ by what their scores do
    start = Gaussian(base().mean, Cholesky(torch.tensor([[1.2, 0.5], [0.5, 0.7]], dtype=D), D))
    masses = torch.tensor([0.2, 0.2, 0.6], dtype=D)
    other = GaussianMixture(mixture().means.flip(1), mixture().roots @ mixture().roots.mT, masses)
    x = points()
    paths = [MixturePath(interpolant, start, end) for end in (mixture(), other)]
    (_, b, s), (_, b2, s2) = (fields(path, x, t) for path in paths)
    torch.testing.assert_close(paths[0].answer((s2 - s) / t, t), b2 - b)
    assert (s2 - s).abs().max() > 1e-2


@every_interpolant
def test_the_answer_is_finite_at_the_start_and_the_same_on_every_path(interpolant):
    assert interpolant.response(0.0) == (1, 0)
    assert interpolant.response(1e-7) == pytest.approx((1, 0), abs=1e-6)
    energy, y = timed(), points()
    exact = MixturePath(interpolant, energy.base, mixture())
    denoiser = Exact(exact, "eta") if interpolant.noise else None
    velocity = Exact(exact, "v")
    paths = [VelocityPath(interpolant, energy.base, mixture(), velocity, denoiser)]
    if not interpolant.noise:
        paths.append(EnergyPath(timed(interpolant)))
    for path in paths:
        torch.testing.assert_close(path.answer(y, 0.3), exact.answer(y, 0.3))


def test_whole_guidance_moves_the_drift_by_that_answer():
    path, x, t = MixturePath(Linear(0.8), base(), mixture()), points(), 0.6
    bare, whole = (RewardPath(path, reward, whole=w) for w in (False, True))
    (u, b, s), (u0, b0, s0) = (fields(p, x, t) for p in (whole, bare))
    assert torch.equal(u, u0)
    assert torch.equal(s, s0)
    slope = torch.stack([torch.full_like(x[:, 0], 0.7), -0.4 * x[:, 1]], 1)
    torch.testing.assert_close(b, b0 + path.answer(slope, t))
    torch.testing.assert_close(whole.drift(x, t), b)
    torch.testing.assert_close(bare.drift(x, t), b0)


def test_a_flow_may_be_guided_whole():
    from noneq.kernels import Flow

    way = RewardPath(MixturePath(Linear(), base(), mixture()), reward, whole=True)
    walkers, _ = population(way, 1600, Schedule.uniform(20, Flow()), rng=seeded(2), islands=32)
    line = torch.linspace(-8, 8, 801, dtype=D)
    x = torch.cartesian_prod(line, line)
    exact = float((reward(x) - mixture()(x)).exp().sum().log()) + 2 * float(
        torch.tensor(0.02, dtype=D).log()
    )
    assert abs(walkers.log_z.value - exact) < 4 * walkers.log_z.stderr


class Other(DriftedPath):
    """A drift that nothing is known of."""

    def fields(self, x, t):
        return x.square().sum(1) / 2, {"b": torch.zeros_like(x), "g": x}

    def drift(self, x, t):
        return torch.zeros_like(x)


def test_a_drift_that_does_not_follow_from_the_score_is_not_guided():
    unknown = VelocityPath(Linear(1.0), mixture(), mixture(), lambda x, t: x, lambda x, t: x)
    for path in (Other(Gaussian(torch.zeros(2, dtype=D), Identity())), unknown):
        way = RewardPath(path, reward, whole=True)
        with pytest.raises(ValueError, match="does not follow from its score"):
            way.fields(points(), 0.5)
        RewardPath(path, reward).fields(points(), 0.5)


@pytest.mark.parametrize("left_out", ["b", "g"])
@pytest.mark.parametrize("rewarded", [False, True])
def test_a_path_of_ones_own_that_lacks_a_field_is_named(left_out, rewarded):
    class Lacking(Other):
        def fields(self, x, t):
            u, cache = super().fields(x, t)
            del cache[left_out]
            return u, cache

    way = Lacking(Gaussian(torch.zeros(2, dtype=D), Identity()))
    way = RewardPath(way, reward, whole=True) if rewarded else way
    kept = {"b": "g", "g": "b"}[left_out]
    with pytest.raises(
        ValueError, match=rf"Lacking.fields returned a cache of \['{kept}'\]: give"
    ):
        way.at(0.5)(points())


@pytest.mark.parametrize("bad", ["-inf", "nan"])
def test_a_reward_that_is_not_finite_at_the_start_is_named(bad):
    def walled(x):
        return torch.where(x[:, 0] > 0, x[:, 0], float(bad))

    x, path = points(), MixturePath(Linear(), base(), mixture())
    behind = int((x[:, 0] <= 0).sum())
    says = rf"the reward, a function, is {bad} at {behind} of 6 walkers at the start \(t = 0\)"
    with pytest.raises(FloatingPointError, match=says + ".*make it finite.*clamp"):
        RewardPath(path, walled).at(0.0)(x)
    assert behind > 0
