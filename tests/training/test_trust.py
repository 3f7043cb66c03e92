"""The trust region: the cost of a step, its scale, schedules, faults.

The oracle is the definition, ``-log CESS`` from energies evaluated apart, and the optimiser's own
step with its learning rate multiplied by the scale.
"""

import copy
import math

import pytest
import torch
from torch import nn, optim

from noneq import MALA, MLP, ULA, Gaussian, Tilted, TrustRegion, Walkers
from noneq.energies import Identity
from noneq.kernels import Repeat
from noneq.run import checkpoint


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def skewed(n=512, seed=3):
    """Rows of a lopsided pair of blobs, no symmetry about anything."""
    rng = seeded(seed)
    one = torch.rand(n, 1, generator=rng) < 0.3
    x = torch.randn(n, 2, generator=rng)
    return torch.where(
        one, 0.4 * x + torch.tensor([-1.2, 0.1]), 0.7 * x + torch.tensor([0.9, 0.6])
    )


def network(seed=0, dtype=torch.float32):
    """A tilted Gaussian whose network is not zero."""
    net = MLP(2, width=16)
    for p in net.parameters():
        p.data = 0.4 * torch.randn(p.shape, generator=seeded(seed))
    return Tilted(Gaussian(torch.tensor([0.2, -0.1]), Identity(1.1)), net).to(dtype)


class Linear(nn.Module):
    """``U = |x|^2 / 2 - theta.x``: the model N(theta, 1), whose likelihood is known exactly."""

    def __init__(self):
        super().__init__()
        self.base = Gaussian(torch.zeros(2, dtype=torch.float64), Identity())
        self.theta = nn.Parameter(torch.zeros(2, dtype=torch.float64))

    def forward(self, x):
        return self.base(x) - x @ self.theta


def started(energy, n=256, seed=1):
    return Walkers.sample(energy.base, n, seeded(seed), islands=1).reweight(energy)


def gradient(energy, data, walkers, optimizer):
    """The reweight, loss and backward of everyone's loop."""
    walkers, u = walkers.reweight(energy, graph=True)
    loss = energy(data).mean() - walkers.mean(u)
    optimizer.zero_grad()
    loss.backward()
    return walkers


def run(energy, optimizer, trust, data, *, steps, seed=2, walkers=None, scheduler=None):
    """A loop of trusted steps; yields the walkers before and after each."""
    rng = seeded(seed)
    walkers = started(energy) if walkers is None else walkers
    for _ in range(steps):
        walkers = gradient(energy, data, walkers, optimizer)
        walkers = walkers.resample(0.5, rng).move(Repeat(MALA(0.4), 2), energy, rng)
        before, old = walkers, copy.deepcopy(energy)
        walkers, _ = trust.step(optimizer, energy, walkers)
        if scheduler is not None:
            scheduler.step()
        yield before, old, walkers


def parameters(energy):
    return torch.cat([p.detach().flatten().clone() for p in energy.parameters()])


def cost(walkers, old, new):
    """``-log CESS`` of the step from one energy to another, from the definition."""
    with torch.no_grad():
        d = (new(walkers.x) - old(walkers.x)).double()
    p = walkers.p
    return -math.log(float((p * (-d).exp()).sum() ** 2 / (p * (-2 * d).exp()).sum()))


# -- what a step costs ------------------------------------------------------------------------


@pytest.mark.parametrize("lr", [1e-4, 1e-2, 1.0, 10.0])
@pytest.mark.parametrize("make", [optim.SGD, optim.Adam])
def test_no_step_costs_more_than_twice_tau_whatever_the_learning_rate(make, lr):
    for tau in (0.01, 0.2):
        energy, trust = network(), TrustRegion(tau, longest=math.inf)
        costs = []
        optimizer = make(energy.parameters(), lr=lr)
        for before, old, after in run(energy, optimizer, trust, skewed(), steps=15):
            assert 0 <= trust.cost <= 2 * tau
            assert trust.cost == pytest.approx(cost(before, old, energy), rel=1e-3, abs=2e-5)
            assert math.isfinite(after.ess)
            costs.append(trust.cost)
        assert trust.steps == 15
        # it does move, and at a speed that the learning rate does not set
        assert sum(costs[3:]) / len(costs[3:]) > tau / 30


def test_the_cost_counts_weights():
    # a rare walker of almost all the weight decides
    energy = Linear()
    walkers = Walkers.at(torch.tensor([[0.0, 0.0], [8.0, 0.0], [0.5, 0.0]]).double(), energy)
    heavier = copy.deepcopy(energy)
    heavier.theta.data[0] = 1.0  # weights 1 : e^8 : e^0.5
    walkers = walkers.reweight(heavier)
    optimizer = optim.SGD(heavier.parameters(), lr=1.0)
    heavier.theta.grad = torch.tensor([-1.0, 0.0], dtype=torch.float64)
    old = copy.deepcopy(heavier)
    trust = TrustRegion(10.0, longest=math.inf)
    trust.step(optimizer, heavier, walkers)
    assert trust.scale == 1.0
    assert trust.cost == pytest.approx(cost(walkers, old, heavier), rel=1e-6)
    assert trust.cost < 0.01  # without weights it were log 3


def test_dead_walkers_do_not_count():
    class Walled(Linear):
        def forward(self, x):
            return torch.where(x[:, 0] < 1.0, super().forward(x), math.inf)

    energy = Walled()
    walkers = started(energy)
    assert 0 < int((walkers.log_w == -math.inf).sum()) < 128
    optimizer, trust = optim.SGD(energy.parameters(), lr=0.3), TrustRegion(0.1)
    for _ in range(5):
        walkers = gradient(energy, skewed().double().clamp(max=0.9), walkers, optimizer)
        walkers, _ = trust.step(optimizer, energy, walkers)
        assert trust.cost <= 0.2
    assert bool(torch.isfinite(energy.theta).all())


# -- what a scale is --------------------------------------------------------------------------

OPTIMIZERS = {
    "SGD": lambda p: optim.SGD(p, lr=0.3),
    "SGD with momentum": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "SGD with decay": lambda p: optim.SGD(p, lr=0.1, momentum=0.5, weight_decay=0.1),
    "Adam": lambda p: optim.Adam(p, lr=0.05),
    "AdamW": lambda p: optim.AdamW(p, lr=0.05, weight_decay=0.5),
    "NAdam": lambda p: optim.NAdam(p, lr=0.05),
    "RAdam": lambda p: optim.RAdam(p, lr=0.05),
    "RMSprop": lambda p: optim.RMSprop(p, lr=0.02, momentum=0.3),
    "Adagrad": lambda p: optim.Adagrad(p, lr=0.05),
    "Adadelta": lambda p: optim.Adadelta(p, lr=5.0),
    "Adamax": lambda p: optim.Adamax(p, lr=0.05),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_step_of_scale_lambda_is_the_optimisers_own_with_lambda_times_lr(name):
    scales = []
    for tau in (1e-5, 0.3):
        energy = network(dtype=torch.float64)
        optimizer, data = OPTIMIZERS[name](energy.parameters()), skewed().double()
        for _ in range(5):  # fill its moments
            gradient(energy, data, started(energy), optimizer)
            optimizer.step()
        walkers = gradient(energy, data, started(energy), optimizer)
        twin = copy.deepcopy(energy)
        other = OPTIMIZERS[name](twin.parameters())
        other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        for p, q in zip(energy.parameters(), twin.parameters(), strict=True):
            q.grad = p.grad.clone()
        trust = TrustRegion(tau, longest=math.inf)
        trust.step(optimizer, energy, walkers)
        for group in other.param_groups:
            group["lr"] *= trust.scale
        other.step()
        torch.testing.assert_close(parameters(energy), parameters(twin), rtol=1e-6, atol=1e-9)
        for p, q in zip(energy.parameters(), twin.parameters(), strict=True):
            for key, value in optimizer.state[p].items():
                if torch.is_tensor(value):
                    torch.testing.assert_close(value, other.state[q][key], check_dtype=False)
        scales.append(trust.scale)
    assert scales[0] < 1  # it did scale


def test_every_parameter_group_is_scaled_alike():
    energy = network(dtype=torch.float64)
    first, *others = energy.parameters()
    optimizer = optim.SGD([{"params": [first], "lr": 0.5}, {"params": others, "lr": 2.0}], lr=1.0)
    walkers = gradient(energy, skewed().double(), started(energy), optimizer)
    old = [p.detach().clone() for p in energy.parameters()]
    trust = TrustRegion(0.01)
    trust.step(optimizer, energy, walkers)
    assert trust.scale != 1
    for p, o, lr in zip(energy.parameters(), old, [0.5] + [2.0] * len(others), strict=True):
        torch.testing.assert_close(p.detach(), o - trust.scale * lr * p.grad)


def test_a_frozen_group_does_not_lift_the_limit_from_the_others():
    # learning rate 0 for the first layers, as while a new head warms up
    energy = network()
    *body, weight, bias = energy.parameters()
    groups = [{"params": body, "lr": 0.0}, {"params": [weight, bias], "lr": 300.0}]
    optimizer, trust = optim.SGD(groups), TrustRegion(0.1)
    walkers = gradient(energy, skewed(), started(energy), optimizer)
    old = copy.deepcopy(energy)
    trust.step(optimizer, energy, walkers)
    assert not torch.equal(parameters(energy), parameters(old))
    assert cost(walkers, old, energy) <= 0.2


REFUSED = ["LBFGS", "Rprop", "Lookahead", "AdamWScheduleFree", "SGDScheduleFree"]


@pytest.mark.parametrize("name", REFUSED)
def test_optimisers_whose_steps_cannot_be_scaled_are_refused(name):
    energy = network()
    kind = getattr(optim, name, None) or type(name, (optim.SGD,), {})
    optimizer = kind(energy.parameters(), lr=0.1)
    old = parameters(energy)
    walkers = gradient(energy, skewed(), started(energy), optimizer)
    with pytest.raises(ValueError, match=f"{name} does not allow; use SGD, Adam or kin"):
        TrustRegion(0.1).step(optimizer, energy, walkers)
    assert torch.equal(parameters(energy), old)


@pytest.mark.parametrize("make", [optim.SGD, optim.Adam])
@pytest.mark.parametrize("lr", [1e-5, 1e-3, 1.0])
def test_no_step_is_longer_than_a_fraction_of_the_parameters(make, lr):
    def relative(longest):
        energy = network()
        trust, optimizer = TrustRegion(0.2, longest=longest), make(energy.parameters(), lr=lr)
        for _, old, _ in run(energy, optimizer, trust, skewed(), steps=20):
            before = parameters(old)
            yield float((parameters(energy) - before).norm() / before.norm().clamp(min=1.0))

    limited = list(relative(0.003))
    assert max(limited) <= 0.003 * (1 + 1e-4)
    assert sum(r > 0.003 * (1 - 1e-4) for r in limited) >= 10  # the limit that binds
    assert max(relative(math.inf)) > 2 * 0.003


def test_parameters_that_start_at_zero_do_move():
    energy, trust = Linear(), TrustRegion(0.5, longest=0.02)
    data = torch.tensor([[2.0, -1.5]]).double().repeat(64, 1)
    optimizer = optim.SGD(energy.parameters(), lr=1.0)
    lengths = [0.0]
    for _ in run(energy, optimizer, trust, data, steps=20, walkers=started(energy, 1024)):
        lengths.append(float(energy.theta.detach().norm()))
    assert lengths[-1] == pytest.approx(20 * 0.02, rel=0.05)


# -- the walkers that come back ---------------------------------------------------------------


def counting(energy):
    """Rows that the network has been asked for."""
    rows = []
    energy.net.register_forward_hook(lambda _, args, __: rows.append(len(args[0])))
    return rows


def test_the_walkers_belong_to_the_new_energy_and_come_with_their_graph():
    energy, data = network(dtype=torch.float64), skewed().double()
    optimizer, trust = optim.Adam(energy.parameters(), lr=0.02), TrustRegion(0.05)
    rows = counting(energy)
    walkers, redone = started(energy, 64), 0
    for k in range(4):
        walkers = gradient(energy, data, walkers, optimizer)
        walkers = walkers.move(MALA(0.3), energy, seeded(k))
        old = copy.deepcopy(energy)
        rows.clear()
        after, u = trust.step(optimizer, energy, walkers)
        assert sum(rows) == 64 * (1 + trust.redone - redone)
        redone = trust.redone
        with torch.no_grad():
            expected = walkers.log_w + old(walkers.x) - energy(walkers.x)
        torch.testing.assert_close(after.log_w, expected)
        torch.testing.assert_close(after.state.u, energy(walkers.x).detach())
        assert torch.equal(after.x, walkers.x)
        rows.clear()
        assert after.reweight(energy) is after
        assert rows == []
        # the graph is that of the new parameters
        found = torch.autograd.grad(after.mean(u), list(energy.parameters()))
        fresh = torch.autograd.grad((after.p * energy(after.x)).sum(), list(energy.parameters()))
        for a, b in zip(found, fresh, strict=True):
            torch.testing.assert_close(a, b)
        walkers = after.move(MALA(0.3), energy, seeded(9))


def test_redone_evaluations_are_counted():
    # one evaluation of the walkers a step, and one for each time that it is redone
    energy, data = network(), skewed()
    optimizer = optim.SGD(energy.parameters(), lr=300.0)
    trust = TrustRegion(0.1, longest=math.inf)
    walkers = gradient(energy, data, started(energy, 64), optimizer)
    rows = counting(energy)
    trust.step(optimizer, energy, walkers)
    assert trust.redone >= 2
    assert sum(rows) == 64 * (1 + trust.redone)
    assert trust.steps == 1
    # a step that fits at once is not redone
    energy = network()
    optimizer, trust = optim.SGD(energy.parameters(), lr=1e-3), TrustRegion(0.1)
    walkers = gradient(energy, data, started(energy, 64), optimizer)
    rows = counting(energy)
    trust.step(optimizer, energy, walkers)
    assert trust.redone == 0
    assert sum(rows) == 64


def test_most_steps_are_predicted_well_enough_to_be_taken_at_once():
    energy, trust = network(), TrustRegion(0.05)
    for _ in run(energy, optim.Adam(energy.parameters(), lr=1e-3), trust, skewed(), steps=60):
        pass
    assert trust.redone <= 60 * 0.3


def test_advance_replaces_the_reweight():
    # a stale unadjusted move: positions and weights come from it, one evaluation
    energy, data = network(), skewed()
    optimizer, trust = optim.SGD(energy.parameters(), lr=0.01), TrustRegion(0.2)
    walkers = gradient(energy, data, started(energy, 128), optimizer)
    rows = counting(energy)
    kernel = ULA(0.05)
    after, u = trust.step(
        optimizer, energy, walkers, lambda w: w.move(kernel, energy, seeded(5), graph=True)
    )
    assert sum(rows) == 128 * (1 + trust.redone)
    expected = walkers.move(kernel, energy, seeded(5))
    torch.testing.assert_close(after.x, expected.x)
    torch.testing.assert_close(after.log_w, expected.log_w)
    torch.testing.assert_close(u, energy(after.x))
    assert u.requires_grad


def test_noise_of_an_unadjusted_move_is_not_taken_for_divergence():
    # at this step size ULA's own noise costs more than 2 tau; no length of the step can help, and
    # the model is fine: either the step is taken, or the message names the kernel's step size
    energy, data = network(), skewed()
    optimizer, trust = optim.SGD(energy.parameters(), lr=1e-3), TrustRegion(0.02)
    walkers = gradient(energy, data, started(energy, 256), optimizer)
    rng = seeded(5)
    try:
        trust.step(optimizer, energy, walkers, lambda w: w.move(ULA(1.0), energy, rng, graph=True))
    except FloatingPointError as error:
        assert "step size" in str(error), str(error)  # noqa: PT017


# -- independence of the learning rate --------------------------------------------------------


def settle(energy, optimizer, trust, data, walkers, rounds=150):
    """Repeat one and the same step until its prediction and the moments stand still."""
    old = [p.detach().clone() for p in energy.parameters()]
    for _ in range(rounds):
        with torch.no_grad():
            for p, o in zip(energy.parameters(), old, strict=True):
                p.copy_(o)
        # the walkers' own graph is used up by each backward: evaluate anew
        gradient(energy, data, Walkers.at(walkers.x, energy), optimizer)
        trust.step(optimizer, energy, Walkers.at(walkers.x, energy))
    moved = [p.detach() - o for p, o in zip(energy.parameters(), old, strict=True)]
    with torch.no_grad():
        for p, o in zip(energy.parameters(), old, strict=True):
            p.copy_(o)
    return torch.cat([m.flatten() for m in moved])


def rmsprop(parameters, lr):
    return optim.RMSprop(parameters, lr=lr, alpha=0.9)


@pytest.mark.parametrize("make", [optim.SGD, optim.Adam, rmsprop])
def test_once_predicted_the_path_does_not_depend_on_the_learning_rate(make):
    # float64; 50 steps, learning rates a hundredfold apart: the same parameters to 1e-7
    ends = []
    for lr in (1e-4, 1e-2):
        energy, data, trust = (
            network(dtype=torch.float64),
            skewed().double(),
            TrustRegion(0.05, longest=math.inf),
        )
        optimizer = make(energy.parameters(), lr=lr)
        start = started(energy)
        settle(energy, optimizer, trust, data, start)
        assert trust.cost == pytest.approx(0.05, rel=1e-3)
        path = [
            parameters(energy)
            for _ in run(energy, optimizer, trust, data, steps=50, walkers=started(energy))
        ]
        ends.append(torch.stack(path))
    assert float((ends[0][-1] - ends[0][0]).norm()) > 0.1
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("make", [optim.SGD, optim.Adam])
def test_learning_reaches_the_optimum_whatever_the_learning_rate(make):
    # U = |x|^2/2 - theta.x: a step costs about |d theta|^2, so theta walks sqrt(tau) = 0.22 a step
    # and then turns about the optimum at that distance: an excess of (2 sqrt(tau))^2 / 2 = 2 tau
    # nats at most, of 3.1 at the start; 25 steps suffice for the 2.5 to walk
    tau = 0.05
    data = torch.tensor([2.0, -1.5], dtype=torch.float64) + torch.randn(
        4000, 2, generator=seeded(4), dtype=torch.float64
    )
    for lr in (1e-4, 1e-2, 1.0, 100.0):
        energy, trust = Linear(), TrustRegion(tau, longest=math.inf)
        optimizer = make(energy.parameters(), lr=lr)
        for _ in run(energy, optimizer, trust, data, steps=60, walkers=started(energy, 1024)):
            pass
        excess = float((energy.theta.detach() - data.mean(0)).square().sum()) / 2
        assert excess <= 2 * tau


# -- schedules --------------------------------------------------------------------------------


def step_length(energy, optimizer, trust, data, walkers):
    """Length of one more step from here, undone afterwards."""
    return float(settle(energy, optimizer, trust, data, walkers, rounds=1).norm())


def test_a_learning_rate_schedule_multiplies_the_length():
    # "the allowed cost becomes tau (lr / initial_lr)^2"
    energy, data, trust = (
        network(dtype=torch.float64),
        skewed().double(),
        TrustRegion(0.02, longest=math.inf),
    )
    optimizer = optim.SGD(energy.parameters(), lr=0.1)
    scheduler = optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.25)
    walkers = started(energy)
    full = float(settle(energy, optimizer, trust, data, walkers).norm())
    scheduler.step()
    quarter = float(settle(energy, optimizer, trust, data, walkers).norm())
    assert trust.cost == pytest.approx(0.02 / 16, rel=1e-3)
    assert quarter == pytest.approx(full / 4, rel=0.1)  # the cost is not quite quadratic


def test_a_rate_lowered_by_hand_shortens_the_steps():
    # as torch's ReduceLROnPlateau does; the rate at the top counts, wherever it began
    for rates in ((0.1, 0.1, 0.025), (0.004, 0.1, 0.025)):
        energy, data = network(dtype=torch.float64), skewed().double()
        trust = TrustRegion(0.02, longest=math.inf)
        optimizer, walkers = optim.SGD(energy.parameters(), lr=1.0), started(energy)
        for rate, cost in zip(rates, (0.02, 0.02, 0.02 / 16), strict=True):
            optimizer.param_groups[0]["lr"] = rate
            settle(energy, optimizer, trust, data, walkers)
            assert trust.cost == pytest.approx(cost, rel=1e-3)


def test_walkers_that_lag_are_brought_up_first():
    # a step is judged by what it does itself, not by what was done since the walkers last looked
    energy, walkers = Linear(), started(Linear(), 256)
    energy.theta.data[0] = 1.0  # a change that alone costs more than tau
    optimizer, trust = optim.SGD(energy.parameters(), lr=1e-3), TrustRegion(0.01)
    energy.theta.grad = torch.tensor([0.0, 1.0], dtype=torch.float64)
    old = copy.deepcopy(energy)
    after, _ = trust.step(optimizer, energy, walkers)
    assert trust.redone == 0
    assert trust.cost == pytest.approx(cost(walkers.reweight(old), old, energy), rel=1e-3)
    torch.testing.assert_close(after.log_w, walkers.reweight(energy).log_w)


def test_a_learning_rate_schedule_multiplies_the_length_at_once():
    # the very next step, from the same point with the same gradient
    energy, data, trust = (
        network(dtype=torch.float64),
        skewed().double(),
        TrustRegion(0.02, longest=math.inf),
    )
    optimizer = optim.SGD(energy.parameters(), lr=0.1)
    scheduler = optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.25)
    walkers = started(energy)
    full = float(settle(energy, optimizer, trust, data, walkers).norm())
    scheduler.step()
    assert step_length(energy, optimizer, trust, data, walkers) == pytest.approx(full / 4, rel=0.1)


SCHEDULES = {
    "linear to zero": lambda o: optim.lr_scheduler.LambdaLR(o, lambda k: max(0.0, 1 - k / 8)),
    "cosine": lambda o: optim.lr_scheduler.CosineAnnealingLR(o, 8),
    "warm-up from zero": lambda o: optim.lr_scheduler.LambdaLR(o, lambda k: min(1.0, k / 4)),
    "one cycle": lambda o: optim.lr_scheduler.OneCycleLR(o, max_lr=0.01, total_steps=13),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_torchs_schedules_work_to_their_ends(name):
    energy, trust = network(), TrustRegion(0.1)
    optimizer = optim.Adam(energy.parameters(), lr=1e-3)
    scheduler = SCHEDULES[name](optimizer)
    old = parameters(energy)
    for _ in run(energy, optimizer, trust, skewed(), steps=12, scheduler=scheduler):
        assert trust.cost <= 0.2
        new = parameters(energy)
        if scheduler.get_last_lr()[0] == 0 and trust.steps > 9:
            torch.testing.assert_close(new, old)  # at lr = 0 nothing moves
        old = new
    assert trust.redone <= 12


def test_the_optimisers_step_is_counted_by_the_scheduler():
    # torch warns, hence pytest fails, if the scheduler steps before the optimiser did
    energy, trust = network(), TrustRegion(0.1)
    optimizer = optim.SGD(energy.parameters(), lr=0.1)
    scheduler = optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    for _ in run(energy, optimizer, trust, skewed(), steps=3, scheduler=scheduler):
        pass
    assert scheduler.get_last_lr()[0] == pytest.approx(0.1 * 0.9**3)


# -- faults -----------------------------------------------------------------------------------


@pytest.mark.parametrize("tau", [0.0, -0.1, math.nan])
def test_tau_is_positive(tau):
    with pytest.raises(ValueError, match="tau must be positive"):
        TrustRegion(tau)


@pytest.mark.parametrize(
    "bad",
    [
        {"longest": 0.0},
        {"longest": -1.0},
        {"longest": math.nan},
        {"smoothing": 1.0},
        {"smoothing": -0.1},
    ],
)
def test_longest_and_memory_have_ranges(bad):
    with pytest.raises(ValueError, match="longest > 0 and 0 <= smoothing < 1 are needed"):
        TrustRegion(0.1, **bad)


class Brittle(Linear):
    """NaN unless its parameters are what they were."""

    def forward(self, x):
        u = super().forward(x)
        return u if bool((self.theta == 0).all()) else u * math.nan


def test_no_step_that_leaves_the_walkers_finite():
    # 20 tries, then an error that says what to do; the parameters are as before, bit by bit
    energy = Brittle()
    optimizer = optim.Adam(energy.parameters(), lr=0.1)
    walkers = gradient(energy, skewed().double(), started(energy), optimizer)
    trust = TrustRegion(0.1)
    with pytest.raises(FloatingPointError, match="lower tau, or go back to a checkpoint"):
        trust.step(optimizer, energy, walkers)
    assert trust.redone == 20
    assert trust.steps == 0
    assert torch.equal(energy.theta.detach(), torch.zeros(2, dtype=torch.float64))
    assert math.isfinite(walkers.reweight(energy).ess)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_leaves_the_parameters_as_they_were(bad):
    energy = Linear()
    walkers = started(energy)
    optimizer = optim.SGD(energy.parameters(), lr=0.1)
    energy.theta.grad = torch.tensor([bad, 1.0], dtype=torch.float64)
    with pytest.raises(FloatingPointError, match="parameters are as they were before"):
        TrustRegion(0.1).step(optimizer, energy, walkers)
    assert torch.equal(energy.theta.detach(), torch.zeros(2, dtype=torch.float64))


def test_a_step_without_gradients_changes_nothing_and_is_no_fault():
    energy = Linear()
    energy.theta.data += 0.7
    walkers = started(energy)  # unequal weights
    optimizer = optim.SGD(energy.parameters(), lr=0.1)
    energy.theta.grad = torch.zeros(2, dtype=torch.float64)
    trust = TrustRegion(0.1)
    for _ in range(3):
        walkers, _ = trust.step(optimizer, energy, walkers)
    torch.testing.assert_close(energy.theta.detach(), torch.full((2,), 0.7).double())
    assert trust.redone == 0


def test_a_copied_trust_region_goes_on_alike():
    # what a checkpoint needs
    energy, data = network(), skewed()
    optimizer, trust = optim.SGD(energy.parameters(), lr=0.01), TrustRegion(0.1)
    for _, _, walkers in run(energy, optimizer, trust, data, steps=5):
        pass
    twin, copied = copy.deepcopy(energy), copy.deepcopy(trust)
    other = optim.SGD(twin.parameters(), lr=0.01)
    ends = []
    for e, o, t in ((energy, optimizer, trust), (twin, other, copied)):
        for _ in run(e, o, t, data, steps=5, walkers=Walkers.at(walkers.x, e)):
            pass
        ends.append((parameters(e), t.scale, t.cost, t.redone, t.steps))
    assert torch.equal(ends[0][0], ends[1][0])
    assert ends[0][1:] == ends[1][1:]


def test_a_trust_region_comes_back_from_a_checkpoint(tmp_path):
    # with its prediction, and with the largest learning rate so far: a rate that fell shortens
    energy, data = network(), skewed()
    optimizer, trust = optim.SGD(energy.parameters(), lr=0.01), TrustRegion(0.1, longest=0.3)
    for _, _, walkers in run(energy, optimizer, trust, data, steps=5):
        pass
    trust.tau = 0.07  # by a schedule
    checkpoint.store(tmp_path, trust.state_dict())
    restored = TrustRegion(0.5, smoothing=0.1)
    restored.load_state_dict(checkpoint.load(tmp_path))
    assert vars(restored) == vars(trust)
    assert restored._length is not None
    twin = copy.deepcopy(energy)
    ends = []
    for e, t in ((energy, trust), (twin, restored)):
        slow = optim.SGD(e.parameters(), lr=0.002)
        for _ in run(e, slow, t, data, steps=5, walkers=Walkers.at(walkers.x, e)):
            pass
        ends.append((parameters(e), t.state_dict()))
    assert torch.equal(ends[0][0], ends[1][0])
    assert ends[0][1] == ends[1][1]
    assert restored._top == 0.01  # of all rates so far, not of the last


def test_a_new_trust_region_has_no_memory_in_a_checkpoint(tmp_path):
    checkpoint.store(tmp_path, TrustRegion(0.3).state_dict())
    restored = TrustRegion(0.1)
    restored.load_state_dict(checkpoint.load(tmp_path))
    assert vars(restored) == vars(TrustRegion(0.3))
    assert restored._length is None
