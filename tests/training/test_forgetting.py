"""Weights that fade: what they take back of a lag, what they spread, and where `train` fades them.

The oracle is a Gaussian autoregression whose mean moves at constant speed: everything is linear,
so that the formulas of docs/mathematics.md (section 4) are exact at any speed.
"""

import copy
import math
from dataclasses import dataclass, replace
from itertools import islice

import pytest
import torch
from targets import seeded

from noneq import MLP, BernoulliRBM, Gaussian, Settings, Tilted, Walkers, train
from noneq.kernels import State
from noneq.likelihood.score import energy_of
from noneq.run import choose
from noneq.training import step

SPEED = 0.15


class Moving:
    """N(m, 1), but for a constant of the energy that changes with m."""

    def __init__(self, m):
        self.m = m

    def __call__(self, x):
        return (x[:, 0] - self.m).square() / 2 + 0.3 * self.m


@dataclass(frozen=True)
class Autoregression:
    """``y = m + r (x - m) + sqrt(1 - r^2) xi``, which leaves N(m, 1) invariant."""

    r: float
    fresh = True

    def __call__(self, model, state, rng):
        xi = torch.randn(state.x.shape, generator=rng, dtype=state.x.dtype)
        y = model.m + self.r * (state.x - model.m) + math.sqrt(1 - self.r**2) * xi
        return State(y, model(y), {}, {}), torch.zeros_like(state.u).double(), {}


@pytest.mark.parametrize(
    ("forgetting_factor", "r"), [(0.0, 0.8), (0.6, 0.8), (0.9, 0.8), (0.8, 0.5)]
)
def test_weights_that_fade_leave_the_share_of_the_lag_that_theory_says(forgetting_factor, r):
    # seed 5, 40,000 walkers, 60 updates: r^60 = 1e-6 of the start is left; no resampling
    rng = seeded(5)
    x = torch.randn(40_000, 1, generator=rng, dtype=torch.float64)
    walkers, m = Walkers.at(x, Moving(0.0)), 0.0
    for _ in range(60):
        walkers = walkers.decay(forgetting_factor).move(Autoregression(r), Moving(m), rng)
        m += SPEED
        walkers = walkers.reweight(Moving(m))
    plain = float(walkers.x.mean()) - m
    assert plain == pytest.approx(-SPEED / (1 - r), abs=4 / math.sqrt(len(x)))
    share = r * (1 - forgetting_factor) / (1 - forgetting_factor * r)
    found = float(walkers.mean(walkers.x[:, 0])) - m
    stderr = 1 / math.sqrt(walkers.ess * len(x))
    assert stderr < 0.1 * SPEED
    assert found == pytest.approx(-share * SPEED / (1 - r), abs=4 * stderr)
    spread = (
        SPEED**2
        * (1 + forgetting_factor * r)
        / ((1 - forgetting_factor**2) * (1 - forgetting_factor * r))
    )
    close = 4 * spread * math.sqrt(2 / len(x))
    assert float(walkers.log_w.var()) == pytest.approx(spread, abs=close)


def machine():
    rows = (torch.rand(200, 6, generator=seeded(3)) < torch.linspace(0.2, 0.9, 6)).float()
    rows[:100] = 1 - rows[:100]
    return BernoulliRBM.from_data(rows, 4, seeded(4), scale=0.5), rows


def test_the_gradient_has_the_whole_weights_and_later_ones_a_part():
    model, rows = machine()
    walkers = Walkers.sample(model.base, 64, seeded(0), islands=1).reweight(model)
    log_w = torch.linspace(-2, 1, 64, dtype=torch.float64)
    walkers = replace(walkers, weights=replace(walkers.weights, log_w=log_w))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    after, _, _, mean, _ = step(
        model,
        rows[:32],
        walkers,
        kernel=None,
        optimizer=optimizer,
        rng=seeded(1),
        ess_min=0.0,
        forgetting_factor=0.25,
    )
    expected = walkers.mean(energy_of(model, walkers.x))
    assert float(mean) == pytest.approx(float(expected), rel=1e-5)
    assert torch.allclose(after.log_w, 0.25 * walkers.log_w)


def test_training_with_no_memory_weighs_by_its_last_step_alone():
    model, rows = machine()
    settings = Settings(
        walkers=32,
        held_out=8,
        moves=1,
        batch=16,
        forgetting_factor=0.0,
        ess_min=0.0,
        renew=None,
        tau=0.05,
    )
    before = model
    for record in islice(train(model, rows, settings), 3):
        walkers = record.state.walkers
        if before is not model:
            change = energy_of(before, walkers.x) - energy_of(model, walkers.x)
            assert torch.allclose(walkers.log_w, change.double(), atol=1e-5)
            assert float(change.abs().max()) > 0.01
        before = copy.deepcopy(model)
    assert math.isnan(record.log_z.value)  # of weights that have forgotten
    assert math.isfinite(record.log_z_held_out.value)
    assert math.isfinite(record.nll)


def test_a_network_whose_weights_fade_has_its_held_out_walkers_renewed():
    # its gradient walkers keep more founders than any renewal would; log Z against quadrature
    data = torch.randn(500, 2, generator=seeded(7)) * torch.tensor([1.0, 0.3])
    data[:, 1] += 0.4 * data[:, 0].square()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        energy = Tilted(Gaussian.fit(data), MLP(2, 16))
    settings = Settings(
        walkers=64,
        held_out=128,
        moves=2,
        batch=64,
        forgetting_factor=0.5,
        renew=20,
        temperatures=80,
    )
    records = list(islice(train(energy, data, settings), 60))
    assert [r.renewed for r in records[19::20]] == [True] * 3
    axis = torch.linspace(-9, 9, 361)
    u = energy_of(energy, torch.cartesian_prod(axis, axis)).double()
    exact = float((-u).logsumexp(0)) + 2 * math.log(18 / 360)
    found = records[-1].log_z_held_out
    assert abs(found.value - exact) < 4 * found.stderr < 0.5
    assert abs(exact - energy.base.log_z()) > 0.1


def test_a_machines_running_log_z_is_right_after_a_renewal():
    model, rows = machine()
    settings = Settings(
        walkers=32,
        held_out=256,
        moves=1,
        batch=64,
        forgetting_factor=0.8,
        renew=40,
        temperatures=100,
    )
    record = next(islice(train(model, rows, settings), 39, None))
    assert record.renewed
    found = record.log_z_held_out
    assert abs(found.value - model.log_z()) < 4 * found.stderr < 0.2


def test_training_with_a_memory_resumes_with_the_same_bits():
    def run(model, upto, resume=None, rng=None):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        rng = rng or seeded(2)
        settings = Settings(
            walkers=32, held_out=8, moves=1, batch=16, forgetting_factor=0.6, renew=6
        )
        records = train(model, rows, settings, optimizer=optimizer, rng=rng, resume=resume)
        done = resume.iteration if resume else 0
        return next(islice(records, upto - done - 1, None)).state, rng

    model, rows = machine()
    again = copy.deepcopy(model)
    whole, _ = run(model, 20)
    part, rng = run(again, 9)
    part, _ = run(again, 20, part, rng)
    assert torch.equal(whole.walkers.log_w, part.walkers.log_w)
    assert torch.equal(model.w, again.w)


def test_what_a_memory_cannot_be_is_refused():
    for forgetting_factor in (-0.1, 1.5, math.nan):
        with pytest.raises(ValueError, match=r"forgetting_factor is a fraction in \[0, 1\]"):
            Settings(forgetting_factor=forgetting_factor)
    with pytest.raises(ValueError, match="weights are forgotten all at once"):
        Settings(forgetting_factor=0.5, active=8)
    Settings(forgetting_factor=0.5, active=8, weighted=False)
    with pytest.raises(ValueError, match="`held_out` 8 or more, or `forgetting_factor` 1"):
        choose((1, 8, 8), 1000, "image", discrete=True, model="rbm", held_out=None)
