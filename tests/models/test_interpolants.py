"""Interpolants and the paths made of them, against closed forms.

The one-sided and the two-sided kind on an asymmetric mixture in two dimensions. Statistical tests
are judged at 4 standard errors, with the seeds that they name.
"""

import itertools
import math

import pytest
import torch
from drifting import (
    INTERPOLANTS,
    Bend,
    D,
    Exact,
    base,
    every_interpolant,
    fields,
    mixture,
    points,
    timed,
)
from targets import seeded

from noneq import Gaussian, Schedule, Walkers, anneal
from noneq.energies import Cholesky, Identity, evaluate
from noneq.kernels import EulerMaruyama
from noneq.models.interpolants import (
    EnergyPath,
    Linear,
    MixturePath,
    RewardPath,
    VelocityPath,
    couple,
)

# -- schedules


@every_interpolant
def test_the_ends_are_the_ends(interpolant):
    first, last = (interpolant.at(float(t)) for t in (0, 1))
    assert (first.alpha, first.beta, first.gamma) == (1, 0, 0)
    assert (last.alpha, last.beta, last.gamma) == (0, 1, 0)
    assert all(math.isfinite(value) for c in (first, last) for value in (*c, c.lift))


@every_interpolant
def test_slopes_are_derivatives(interpolant):
    t, e = torch.linspace(0.05, 0.9, 9, dtype=D), 1e-6
    up, down, c = interpolant.at(t + e), interpolant.at(t - e), interpolant.at(t)

    def slope(f):
        return (f(up) - f(down)) / (2 * e)

    torch.testing.assert_close(c.d_alpha, slope(lambda c: c.alpha))
    torch.testing.assert_close(c.d_beta, slope(lambda c: c.beta))
    torch.testing.assert_close(c.alpha_d_alpha, slope(lambda c: c.alpha**2 / 2))
    torch.testing.assert_close(c.gamma_d_gamma, slope(lambda c: c.gamma**2 / 2))


def test_what_is_drawn_lies_on_the_line_between_its_ends():
    x0, x1 = points(5), 2 + points(5)
    t = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0], dtype=D)
    bridge = Linear(0.5).draw(x0, x1, seeded(0), t=t)
    noise = 0.5 * (t * (1 - t)).sqrt()[:, None] * bridge.z
    torch.testing.assert_close(bridge.x, (1 - t[:, None]) * x0 + t[:, None] * x1 + noise)
    torch.testing.assert_close(bridge.velocity, x1 - x0)


@every_interpolant
def test_the_exact_fields_minimise_both_losses(interpolant):
    # what is left of the targets is uncorrelated with any function of x_t
    n, rng = 200_000, seeded(1)
    start, end = base(), mixture()
    path = MixturePath(interpolant, start, end)
    x0, x1 = start.sample(n, rng), end.sample(n, rng)
    for t in (0.2, 0.7):
        bridge = interpolant.draw(x0, x1, rng, t=torch.full((n,), t, dtype=D))
        c = interpolant.at(t)
        _, b, s = fields(path, bridge.x, t)
        v, eta = b + c.gamma_d_gamma * s, -c.gamma * s
        residuals = [bridge.velocity - v] + ([bridge.z - eta] if interpolant.noise else [])
        for off, f in itertools.product(residuals, (1.0, bridge.x, bridge.x.sin())):
            z = off * f
            assert (z.mean(0).abs() < 4.5 * z.std(0) / math.sqrt(n)).all()


def test_a_loss_is_a_mean_over_rows_of_squared_lengths():
    x0, x1 = points(5), 2 + points(5).flip(0)
    bridge = Linear(0.5).draw(x0, x1, seeded(0))
    pull = x1 - x0 - bridge.x
    torch.testing.assert_close(bridge.velocity_loss(lambda x, t: x), (pull**2).sum() / 5)
    torch.testing.assert_close(bridge.denoiser_loss(lambda x, t: 0 * x), (bridge.z**2).sum() / 5)


def test_a_coupling_is_the_cheapest_of_all():
    x0, x1 = points(5), torch.randn(5, 2, generator=seeded(8), dtype=D)
    found = (x0 - couple(x0, x1)).square().sum()
    orders = itertools.permutations(range(5))
    assert found == min((x0 - x1[list(order)]).square().sum() for order in orders)
    assert sorted(couple(x0, x1)[:, 0].tolist()) == sorted(x1[:, 0].tolist())


# -- exact fields


@every_interpolant
def test_the_drift_carries_the_density(interpolant):
    # d rho/dt = -div(rho b), by differences
    path, x, t, e = MixturePath(interpolant, base(), mixture()), points(), 0.37, 1e-5

    def rho(x, t):
        return torch.exp(-path.fields(x, t)[0])

    change = (rho(x, t + e) - rho(x, t - e)) / (2 * e)
    flux = torch.zeros(len(x), dtype=D)
    for i, to in enumerate(e * torch.eye(2, dtype=D)):
        ends = [rho(x + s * to, t) * path.drift(x + s * to, t)[:, i] for s in (1, -1)]
        flux += (ends[0] - ends[1]) / (2 * e)
    torch.testing.assert_close(change, -flux, rtol=1e-6, atol=1e-9)
    assert change.abs().max() > 1e-3


def test_the_score_is_the_slope_of_the_energy_and_the_ends_are_the_ends():
    path, x = MixturePath(Linear(0.8), base(), mixture()), points().requires_grad_(True)
    _, cache = path.fields(x.detach(), 0.4)
    (g,) = torch.autograd.grad(path._all(x, 0.4)[0].sum(), x)
    torch.testing.assert_close(cache["g"], g)
    x = x.detach()
    torch.testing.assert_close(path.at(1.0)(x), mixture()(x))
    torch.testing.assert_close(path.at(0.0)(x), base()(x) + base().log_z())
    assert path.start.log_z() == 0


# -- learned fields


@every_interpolant
@pytest.mark.parametrize("t", [0.0, 0.3, 0.8, 1.0])
def test_velocity_and_denoiser_give_drift_and_score(interpolant, t):
    exact = MixturePath(interpolant, base(), mixture())
    denoiser = Exact(exact, "eta") if interpolant.noise else None
    path = VelocityPath(interpolant, base(), mixture(), Exact(exact, "v"), denoiser)
    x = points()
    _, b, s = fields(path, x, t)
    _, wanted, score = fields(exact, x, t)
    torch.testing.assert_close(b, wanted)
    torch.testing.assert_close(s, score)
    torch.testing.assert_close(path.drift(x, t), wanted)
    u = path.at(t)(x)
    torch.testing.assert_close(u, (1 - t) * base()(x) + t * mixture()(x))


def test_weights_at_the_end_do_not_ask_for_energies_between():
    found, rows = [], []

    def end(x):
        rows.append(len(x))
        return mixture()(x)

    for between in (True, False):
        exact = MixturePath(Linear(), base(), mixture())
        way = VelocityPath(Linear(), base(), end, Exact(exact, "v"), between=between)
        rows.clear()
        walkers = Walkers.sample(way.start, 50, seeded(0), islands=1)
        models = Schedule.uniform(5, EulerMaruyama(0.5)).forward(way)
        found.append((anneal(models, walkers, seeded(1), ess_min=0), len(rows)))
    (walkers, most), (others, least) = found
    torch.testing.assert_close(walkers.log_w, others.log_w)
    torch.testing.assert_close(walkers.state.u, others.state.u)
    assert least == most - 4, "those of four times between"
    assert least == 1, "and once at the end"


def test_an_end_that_is_steep_at_the_start_is_not_asked_there():
    # 0 times an infinite slope is no number
    def end(x):
        return mixture()(x) + (300 * (x[:, 0] - 4)).exp()

    exact, x = MixturePath(Linear(), base(), mixture()), points()
    x[0, 0] = 8.0
    way = VelocityPath(Linear(), base(), end, Exact(exact, "v"))
    assert not torch.isfinite(evaluate(end, x)[1]["g"]).all()
    torch.testing.assert_close(fields(way, x, 0.0)[2], -evaluate(base(), x)[1]["g"])
    torch.testing.assert_close(way.energy_gradient(x, 0.0), evaluate(base(), x)[1]["g"])


@pytest.mark.parametrize("interpolant", INTERPOLANTS[:3], ids=str)
@pytest.mark.parametrize("t", [0.2, 0.7, 1.0])
def test_the_drift_of_an_energy_is_that_of_its_score(interpolant, t):
    energy = timed(interpolant)
    c1 = torch.tensor([[0.5, -0.3], [-0.3, 0.9]], dtype=D)
    energy.net = Bend(energy, c1)
    end = Gaussian(energy.base.mean, Cholesky(c1, D))
    exact, path, x = MixturePath(interpolant, energy.base, end), EnergyPath(energy), points()
    u, b, s = fields(path, x, t)
    wanted = fields(exact, x, t)
    torch.testing.assert_close(u, wanted[0] - energy.base.log_z())
    torch.testing.assert_close(b, wanted[1])
    torch.testing.assert_close(s, wanted[2])
    torch.testing.assert_close(path.drift(x, t), b)
    torch.testing.assert_close(energy(x, torch.full((len(x),), t, dtype=D)), u)


@pytest.mark.parametrize("interpolant", INTERPOLANTS[:3], ids=str)
def test_before_any_training_a_timed_energy_is_a_gaussian_at_every_time(interpolant):
    energy = timed(interpolant)
    path, x = EnergyPath(energy), points()
    exact = MixturePath(interpolant, energy.base, energy.base)
    for t in (0.0, 0.4, 1.0):
        u, b, s = fields(path, x, t)
        wanted = fields(exact, x, t)
        torch.testing.assert_close(u, wanted[0] - energy.base.log_z())
        torch.testing.assert_close(b, wanted[1])
        torch.testing.assert_close(s, wanted[2])
    torch.testing.assert_close(energy(x), energy.base(x))


def test_score_matching_has_its_least_value_at_the_truth():
    # rows of N(0, C - noise^2): f = 0 is the truth, and there the loss is mean 1 - V/S
    energy = timed()
    clean = (energy.marginals.variance - energy.noise**2).sqrt()
    t = torch.linspace(0, 1, 2001, dtype=D)[:, None]
    c = energy.interpolant.at(t)
    v = c.alpha**2 * energy.marginals.variance + c.beta**2 * energy.noise**2
    least = float((1 - v / (c.width * energy.marginals.variance)).mean())

    def loss(seed):
        rng = seeded(seed)
        xi = torch.randn(2000, 2, generator=rng, dtype=D) * clean
        return energy.score_loss(xi @ energy.marginals.q.T, rng)

    draws = torch.stack([loss(seed).detach() for seed in range(40)])
    assert abs(float(draws.mean()) - least) < 4 * float(draws.std()) / math.sqrt(40)
    weight = energy.net.net[-1].weight

    def slopes():
        each = torch.stack([torch.autograd.grad(loss(seed), weight)[0] for seed in range(40)])
        return (each.mean(0).abs() / each.std(0) * math.sqrt(40)).max()

    assert slopes() < 4
    with torch.no_grad():
        weight.fill_(2.0)
    assert slopes() > 20


def test_a_reward_is_taken_off_the_energy_and_guides_the_score():
    path, x, t = MixturePath(Linear(), base(), mixture()), points(), 0.6

    def reward(x):
        return 0.7 * x[:, 0] - 0.2 * x[:, 1] ** 2

    tilted = RewardPath(path, reward)
    (u, b, s), (u0, b0, s0) = (fields(p, x, t) for p in (tilted, path))
    torch.testing.assert_close(u, u0 - t * reward(x))
    assert torch.equal(b, b0)
    up = torch.stack([torch.full_like(x[:, 0], 0.7), -0.4 * x[:, 1]], 1)
    torch.testing.assert_close(s, s0 + t * up)
    torch.testing.assert_close(tilted.at(0.0)(x), path.at(0.0)(x))


def test_a_reward_guides_a_learned_score_and_kernels_that_follow_one():
    exact, x, t = MixturePath(Linear(), base(), mixture()), points(), 0.6
    path = VelocityPath(Linear(), base(), mixture(), Exact(exact, "v"))
    tilted = RewardPath(path, lambda x: 0.7 * x[:, 0] - 0.2 * x[:, 1] ** 2)
    up = t * torch.stack([torch.full_like(x[:, 0], 0.7), -0.4 * x[:, 1]], 1)
    torch.testing.assert_close(fields(tilted, x, t)[2], fields(path, x, t)[2] + up)
    found = tilted.energy_gradient(x, t)
    torch.testing.assert_close(found, path.energy_gradient(x, t) - up)
    assert "g" not in path.fields(x, t)[1]


# -- what is refused


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Linear(-0.1), "0 or more"),
        (lambda: Linear().draw(points(4), points(3), seeded(0)), "rows come in pairs"),
        (lambda: couple(points(4), points(3)), "got 4 and 3"),
        (lambda: MixturePath(Linear(), base(), _three()), "of one shape"),
        (lambda: VelocityPath(Linear(), base(), mixture(), _field, _field), "needs a denoiser"),
        (lambda: VelocityPath(Linear(0.5), base(), mixture(), _field), "needs a denoiser"),
        (lambda: VelocityPath(Linear(), mixture(), mixture(), _field), "noneq.Gaussian, not a"),
        (lambda: timed(Linear(0.5)), "noise=0"),
        (lambda: timed(noise=0.0), "needs noise > 0"),
        (lambda: MixturePath(Linear(), base(), mixture()).at(1.5), r"in \[0, 1\]"),
        (lambda: _velocity(lambda x, t: x[:, 0]).fields(points(), 0.5), "a vector at every row"),
        (
            lambda: VelocityPath(Linear(), base(), lambda x: mixture()(x)[:, None], _field).fields(
                points(), 0.5
            ),
            r"returned shape \(6, 1\) for 6 rows",
        ),
        (
            lambda: (
                Linear().draw(points(4), points(4), seeded(0)).velocity_loss(lambda x, t: x.sum(1))
            ),
            "a vector at every row",
        ),
        (
            lambda: evaluate(RewardPath(_path(), lambda x: torch.ones(len(x))).at(0.5), points()),
            "has no gradient to guide by",
        ),
        (
            lambda: _path().at(0.5).evaluate(points(), graph=True),
            "no parameters to differentiate",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_a_reason(make, says):
    with pytest.raises(ValueError, match=says):
        make()


def _field(x, t):
    return x


def _velocity(v):
    return VelocityPath(Linear(), base(), mixture(), v)


def _path():
    return MixturePath(Linear(), base(), mixture())


def _three():
    return Gaussian(torch.zeros(3, dtype=D), Identity())
