"""`step`, `train` and the own loop: gradients, likelihoods, costs, settings, resuming, bad input.

The oracle is quadrature in two dimensions: a skewed mixture of two Gaussians is learned by a small
network on a Gaussian. Seeds are in the tests; statistical claims are judged at 4 standard errors.
"""

import copy
import dataclasses
import itertools
import math
from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn, optim
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import noneq
from noneq import (
    MALA,
    MLP,
    ULA,
    Gaussian,
    GaussianMixture,
    Settings,
    Tilted,
    TrustRegion,
    Walkers,
    train,
)
from noneq.annealing import TooFarError
from noneq.energies import Identity
from noneq.kernels import Repeat
from noneq.likelihood.score import energy_of as energies
from noneq.training import TrainState

TRUTH = GaussianMixture(
    torch.tensor([[-1.3, -0.3], [1.0, 0.6]]),
    torch.tensor([[[0.15, 0.05], [0.05, 0.3]], [[0.5, -0.2], [-0.2, 0.3]]]),
    torch.tensor([0.3, 0.7]),
)
AXIS = torch.linspace(-7, 7, 281, dtype=torch.float64)
GRID = torch.cartesian_prod(AXIS, AXIS)
LOG_AREA = 2 * math.log(float(AXIS[1] - AXIS[0]))


def seeded(seed):
    return torch.Generator().manual_seed(seed)


DATA = TRUTH.sample(4000, seeded(1))
BASE = Gaussian.fit(DATA)
TRUE_P = (-energies(TRUTH, GRID.float())).softmax(0)
ENTROPY = float((TRUE_P * energies(TRUTH, GRID.float())).sum())


def network(seed=0, width=32):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return MLP(2, width)


def model(seed=0, width=32):
    """The base, tilted by a network that starts at zero."""
    return Tilted(copy.deepcopy(BASE), network(seed, width))


def bent(seed=0, strength=0.5):
    """The base, tilted by a network that does not."""
    energy = model(seed, 16)
    with torch.no_grad():
        for p in energy.net.net[-1].parameters():
            p.copy_(strength * torch.randn(p.shape, generator=seeded(seed + 50)))
    return energy


def log_z(energy):
    """By quadrature."""
    return float((-energies(energy, GRID.float())).logsumexp(0)) + LOG_AREA


def nll(energy):
    """Cross-entropy of the truth under the model, by quadrature."""
    return float((TRUE_P * energies(energy, GRID.float())).sum()) + log_z(energy)


def parameters(energy):
    return torch.cat([p.detach().flatten().clone() for p in energy.parameters()])


def last(iterator, n):
    return next(itertools.islice(iterator, n - 1, None))


QUICK = Settings(walkers=64, held_out=16, moves=2, batch=32, renew=None)
BARE = replace(QUICK, held_out=None)
UNKNOWN = replace(BARE, start="data")  # log Z unknown: any energy will do


# -- learning ---------------------------------------------------------------------------------

LEARNING = {
    "SGD": lambda p: optim.SGD(p, lr=1e-2),
    "Adam": lambda p: optim.Adam(p, lr=1e-3),
}


@pytest.mark.parametrize("name", LEARNING)
def test_training_reaches_the_entropy_of_a_skewed_density(name):
    # the Gaussian stands 0.41 nat above the entropy. 250 iterations at tau = 0.02 leave less than
    # 0.08: 0.003 for what 4,000 rows can tell of some ten effective parameters (10/2/4000), and
    # for steps that never shrink about a step's size, sqrt(tau) = 0.14 in energy
    energy = model(0)
    assert nll(energy) > ENTROPY + 0.3
    settings = Settings(
        walkers=256, held_out=128, moves=4, batch=256, tau=0.02, renew=100, temperatures=100
    )
    optimizer = LEARNING[name](energy.parameters())
    record = last(train(energy, DATA, settings, optimizer=optimizer, rng=seeded(1)), 250)
    assert ENTROPY - 1e-3 < nll(energy) < ENTROPY + 0.08
    # every log Z at hand agrees with quadrature: the running ones and the bracket
    held = record.log_z_held_out
    assert abs(held.value - log_z(energy)) < max(0.1, 4 * held.stderr)
    z = noneq.log_z(energy, data=DATA, n=256, temperatures=100, equilibrate=50, rng=seeded(2))
    assert z.bracketed
    assert abs(z.value - log_z(energy)) < max(0.05, 4 * z.stderr)
    found = noneq.nll(energy, DATA, z)
    error = math.hypot(found.stderr_z, found.stderr_data)
    assert abs(found.value - nll(energy)) < 4 * error


@pytest.mark.parametrize("lr", [1e-4, 1e-3, 1e-2])
def test_training_grows_no_mode_where_no_walker_is_whatever_the_learning_rate(lr):
    # a trust region that looks at walkers alone lengthens Adam's steps some hundredfold, and they
    # cannot see what that does to the energy six standard deviations away: it ends 2 to 300 nats
    # above the entropy. 0.41 nat above it is where training starts, 0.03 to 0.11 where it ends.
    settings = Settings(walkers=256, held_out=128, moves=4, renew=100, temperatures=100)
    for seed in (2, 4):
        energy = model(seed)
        optimizer = optim.Adam(energy.parameters(), lr=lr)
        run = train(energy, DATA, settings, optimizer=optimizer, rng=seeded(seed))
        above = [
            nll(energy) - ENTROPY for now in itertools.islice(run, 300) if not now.iteration % 20
        ]
        assert max(above) < 0.41, seed
        assert sum(above[-5:]) / 5 < 0.15, seed


def test_the_running_likelihood_is_that_of_one_model():
    # U = U_0 - theta.x, log Z = |theta|^2 / 2 + log 2 pi: NLL known at every theta. The record's
    # must be that of the parameters before the step or after it, not the energy of one plus
    # the log Z of the other (a step is sqrt(tau) = 0.3 long, log Z changes by 0.3 |theta|).
    energy = Shifted()
    data = torch.tensor([2.5, -1.5]) + torch.randn(4000, 2, generator=seeded(1))

    def exact(theta):
        u = (data.square().sum(1) / 2 - data @ theta).mean()
        return float(u + theta.square().sum() / 2) + math.log(2 * math.pi)

    settings = Settings(walkers=4096, held_out=None, moves=4, batch=4096, renew=None)
    optimizer = optim.SGD(energy.parameters(), lr=0.1)
    before = energy.theta.detach().clone()
    for record in itertools.islice(
        train(energy, data, settings, optimizer=optimizer, rng=seeded(2)), 8
    ):
        after = energy.theta.detach().clone()
        # sd of the mean of U over the batch: |x - theta| / 64 < 0.06; of log Z about 0.03
        near = min(abs(record.nll - exact(before)), abs(record.nll - exact(after)))
        assert near < 0.15, record.iteration
        before = after


class Shifted(nn.Module):
    """``U = |x|^2 / 2 - theta.x``: the model N(theta, 1)."""

    def __init__(self):
        super().__init__()
        self.base = Gaussian(torch.zeros(2), Identity())
        self.theta = nn.Parameter(torch.zeros(2))

    def forward(self, x):
        return self.base(x) - x @ self.theta


def test_the_weighted_gradient_is_right_on_a_lagging_path():
    # 12 steps of the last layer from zero to a bent energy, fixed beforehand; one slow move each
    # (h = 0.02). 16 populations of 2,000; five fixed random projections of the gradient; the
    # weighted mean within 4 standard errors of quadrature, the unweighted beyond 8 of its own
    target = bent(3, 1.0)
    energy = copy.deepcopy(target)
    layer, end = energy.net.net[-1], copy.deepcopy(target.net.net[-1])
    theta = list(energy.parameters())
    directions = [[torch.randn(p.shape, generator=seeded(d)) for p in theta] for d in range(5)]

    def projected(loss):
        g = torch.autograd.grad(loss, theta)
        return [float(sum((a * b).sum() for a, b in zip(g, d, strict=True))) for d in directions]

    found = {"weighted": [], "unweighted": []}
    for seed in range(16):
        rng = seeded(seed)
        walkers = Walkers.sample(BASE, 2000, rng, islands=1)
        for k in range(1, 13):
            with torch.no_grad():
                layer.weight.copy_(end.weight * k / 12)
                layer.bias.copy_(end.bias * k / 12)
            walkers = walkers.reweight(energy)
            if k < 12:
                walkers = walkers.resample(0.5, rng).move(MALA(0.02, BASE.factor), energy, rng)
        found["weighted"].append(projected(walkers.mean(energy(walkers.x))))
        found["unweighted"].append(projected(energy(walkers.x).mean()))
    x = GRID.float()
    p = (-energies(energy, x)).softmax(0).float()
    exact = torch.tensor(projected((p * energy(x)).sum()))

    def z_scores(values):
        values = torch.tensor(values)
        return ((values.mean(0) - exact) / (values.std(0) / 4)).abs()

    assert bool((z_scores(found["weighted"]) < 4).all())
    assert float(z_scores(found["unweighted"]).max()) > 8


# -- step, train and the own loop are one thing -------------------------------------------------


def test_the_own_loop():
    # exactly as a user writes it
    rng = torch.Generator().manual_seed(0)
    base = noneq.Gaussian.fit(DATA)
    energy = noneq.Tilted(base, network(0))
    optimizer = torch.optim.Adam(energy.parameters(), lr=1e-3)
    trust = noneq.TrustRegion(tau=0.02)
    kernel = noneq.kernels.Repeat(noneq.MALA(0.3, base.factor), 4)
    walkers = noneq.Walkers.sample(base, 512, rng)
    rows = counting(energy)
    start = nll(energy)
    rows.clear()
    walkers, u = walkers.reweight(energy, graph=True)
    for _ in range(150):
        x = DATA[torch.randint(len(DATA), (256,), generator=rng)]
        loss = energy(x).mean() - walkers.mean(u)
        optimizer.zero_grad()
        loss.backward()
        walkers = walkers.resample(0.5, rng).move(kernel, energy, rng)
        walkers, u = trust.step(optimizer, energy, walkers)
    # K + 1 evaluations of each walker, one more at the start, and those redone
    assert sum(rows) == 150 * 256 + 512 * (150 * 5 + 1 + trust.redone)
    assert nll(energy) < start - 0.25
    value, stderr = walkers.reweight(energy).log_z
    assert abs(value - log_z(energy)) < max(0.3, 4 * stderr)  # biased low: they train


def test_a_forgotten_reweight_costs_rows_and_never_a_wrong_weight():
    # the loop of a contrastive divergence user who only replaced the optimiser step
    energy, rng = bent(1), seeded(1)
    optimizer = optim.SGD(energy.parameters(), lr=0.01)
    walkers = Walkers.sample(BASE, 128, rng).reweight(energy)
    other = walkers
    for k in range(3):
        walkers, u = walkers.reweight(energy, graph=True)
        loss = energy(DATA[:64]).mean() - walkers.mean(u)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        walkers = walkers.move(MALA(0.1), energy, seeded(k))  # reweights by itself
        other = other.reweight(energy).move(MALA(0.1), energy, seeded(k))
    torch.testing.assert_close(walkers.log_w, other.log_w, rtol=0, atol=1e-5)


def test_step_is_the_own_loop():
    ends = []
    for own in (True, False):
        energy, rng, trust = bent(2), seeded(3), TrustRegion(0.05)
        optimizer = optim.Adam(energy.parameters(), lr=1e-3)
        kernel = Repeat(MALA(0.2), 2)
        walkers = Walkers.sample(BASE, 64, rng, islands=1)
        walkers, u = walkers.reweight(energy, graph=True)
        for _ in range(5):
            x = DATA[torch.randint(len(DATA), (32,), generator=rng)]
            if own:
                loss = energy(x).mean() - walkers.mean(u)
                optimizer.zero_grad()
                loss.backward()
                walkers = walkers.resample(0.9, rng).move(kernel, energy, rng)
                walkers, u = trust.step(optimizer, energy, walkers)
            else:
                walkers, u, at_data, at_walkers, _ = noneq.training.step(
                    energy, x, walkers, u, kernel=kernel, optimizer=optimizer, rng=rng,
                    trust=trust, ess_min=0.9,
                )  # fmt: skip
                assert not at_data.requires_grad
                assert not at_walkers.requires_grad
                loss = at_data - at_walkers
        ends.append((parameters(energy), walkers.x, walkers.log_w, loss.detach()))
    for a, b in zip(*ends, strict=True):
        assert torch.equal(a, b)


def test_parameters_changed_between_two_steps_are_seen():
    # u then belongs to other parameters, though its graph could still be used
    energy, x = bent(2), DATA[:32]
    walkers, u = Walkers.sample(BASE, 64, seeded(1)).reweight(energy, graph=True)
    for p in energy.parameters():
        p.data = p.data + 0.1
    optimizer = optim.SGD(energy.parameters(), lr=0.0)
    done = noneq.training.step(
        energy, x, walkers, u, kernel=None, optimizer=optimizer, rng=seeded(2), ess_min=0.0
    )
    expected = walkers.reweight(energy)
    torch.testing.assert_close(done.walkers.log_w, expected.log_w)
    mean = expected.mean(energy(walkers.x).detach())
    torch.testing.assert_close(done.walker_energy, mean)
    assert done.u is None  # nothing was evaluated after the step


def test_step_returns_energies_before_the_step():
    energy = bent(2)
    old = copy.deepcopy(energy)
    walkers = Walkers.sample(BASE, 64, seeded(1)).reweight(energy)
    optimizer = optim.SGD(energy.parameters(), lr=0.5)
    x = DATA[:32]
    _, _, at_data, at_walkers, _ = noneq.training.step(
        energy, x, walkers, kernel=None, optimizer=optimizer, rng=seeded(2)
    )
    assert not torch.equal(parameters(energy), parameters(old))
    torch.testing.assert_close(at_data, old(x).mean().detach())
    torch.testing.assert_close(at_walkers, walkers.mean(old(walkers.x).detach()))


def test_train_is_step_with_a_schedule_of_batches():
    energy, twin = bent(4), bent(4)
    settings = replace(BARE, tau=None)
    record = last(
        train(energy, DATA, settings, optimizer=optim.SGD(energy.parameters(), lr=0.01),
              kernel=MALA(0.2), rng=seeded(5)),
        4,
    )  # fmt: skip
    rng, kernel, optimizer = seeded(5), MALA(0.2), optim.SGD(twin.parameters(), lr=0.01)
    walkers = Walkers.sample(twin.base, 64, rng, islands=1)
    for _ in range(4):
        x = DATA[torch.randint(len(DATA), (32,), generator=rng)]
        walkers, _, at_data, at_walkers, _ = noneq.training.step(
            twin, x, walkers, kernel=Repeat(kernel, 2), optimizer=optimizer, rng=rng
        )
        kernel = kernel.adapt(walkers.info)
    assert torch.equal(parameters(energy), parameters(twin))
    assert torch.equal(record.state.walkers.x, walkers.x)
    assert record.loss == float(at_data) - float(at_walkers)
    assert record.data_energy == float(at_data)
    assert record.state.kernel.h == kernel.h


# -- what an iteration costs ------------------------------------------------------------------


def counting(energy):
    """Rows that the network has been asked for."""
    rows = []
    energy.net.register_forward_hook(lambda _, args, __: rows.append(len(args[0])))
    return rows


def rows_of_an_iteration(settings, kernel):
    """Rows at walkers, gradient and held-out, in iterations 3 to 8; those redone left out."""
    energy = bent(5)
    rows = counting(energy)
    optimizer = optim.SGD(energy.parameters(), lr=1e-3)
    run = train(energy, DATA, settings, optimizer=optimizer, kernel=kernel, rng=seeded(1))
    counts, redone = [], 0
    for record in itertools.islice(run, 8):
        trust = record.state.trust
        again = 0 if trust is None else trust.redone - redone
        redone += again
        n = settings.active or settings.walkers
        moves = 1 if kernel.fresh else settings.moves  # what a redone step repeats
        counts.append(sum(rows) - settings.batch - n * again * moves)
        rows.clear()
    return counts[2:]


@pytest.mark.parametrize("tau", [None, 0.05])
@pytest.mark.parametrize("held", [None, 16])
def test_fresh_kernels_cost_k_plus_1_evaluations_of_each_walker(tau, held):
    for moves in (1, 4):
        settings = replace(QUICK, moves=moves, tau=tau, held_out=held)
        expected = (64 + (held or 0)) * (moves + 1)
        assert rows_of_an_iteration(settings, MALA(0.2)) == [expected] * 6
        refreshed = ULA(0.02, refresh=True)
        assert rows_of_an_iteration(settings, refreshed) == [expected] * 6


@pytest.mark.parametrize("tau", [None, 0.3])
@pytest.mark.parametrize("held", [None, 16])
def test_stale_ula_costs_one_evaluation_a_move(tau, held):
    for moves in (1, 3):
        settings = replace(QUICK, moves=moves, tau=tau, held_out=held)
        assert rows_of_an_iteration(settings, ULA(0.01)) == [(64 + (held or 0)) * moves] * 6


def test_active_walkers_cost_no_more_than_a_small_population():
    # those that were not touched last time are evaluated once more: K + 1 and the trusted step's
    settings = replace(BARE, walkers=256, active=32, moves=2, tau=None)
    assert rows_of_an_iteration(settings, MALA(0.2)) == [32 * 3] * 6
    settings = replace(settings, tau=0.05)
    assert rows_of_an_iteration(settings, MALA(0.2)) == [32 * 4] * 6


@pytest.mark.parametrize("moves", [1, 3])
def test_active_walkers_of_a_stale_kernel_are_moved_before_the_loss(moves):
    settings = replace(BARE, walkers=256, active=32, moves=moves, tau=None)
    assert rows_of_an_iteration(settings, ULA(0.01)) == [32 * moves] * 6


# -- persistent and plain contrastive divergence -------------------------------------------------

BASELINE = replace(UNKNOWN, weighted=False, tau=None)


def by_hand(energy, settings, optimizer, rng, steps, *, restart):
    """Contrastive divergence as everyone writes it, with the same random numbers."""
    kernel = MALA(0.1)

    def batch(n):
        return DATA[torch.randint(len(DATA), (n,), generator=rng)]

    def moved(x):
        walkers = Walkers.at(x, energy).move(Repeat(kernel, settings.moves), energy, rng)
        return walkers.x, kernel.adapt(walkers.info)

    chains = batch(settings.walkers)
    for _ in range(steps):
        x = batch(settings.batch)
        if restart:
            chains, kernel = moved(x)
        loss = energy(x).mean() - energy(chains).mean()
        optimizer.zero_grad()
        loss.backward()
        if not restart:
            chains, kernel = moved(chains)
        optimizer.step()
    return chains, float(loss.detach())


@pytest.mark.parametrize("restart", [False, True])
def test_contrastive_divergence_is_a_setting(restart):
    # the same parameters as a loop by hand: equal weights, chains from the data
    energy, twin = bent(6), bent(6)
    settings = replace(BASELINE, restart=restart)
    record = last(
        train(energy, DATA, settings, optimizer=optim.SGD(energy.parameters(), lr=0.05),
              kernel=MALA(0.1), rng=seeded(1)),
        6,
    )  # fmt: skip
    chains, loss = by_hand(
        twin, settings, optim.SGD(twin.parameters(), lr=0.05), seeded(1), 6, restart=restart
    )
    torch.testing.assert_close(parameters(energy), parameters(twin), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(record.state.walkers.x, chains, rtol=1e-3, atol=1e-4)
    assert record.loss == pytest.approx(loss, abs=1e-5)


UNWEIGHTED = {
    "plain": {},
    "trusted": {"tau": 0.1},
    "stale": {"kernel": ULA(0.02)},
    "stale and trusted": {"tau": 0.3, "kernel": ULA(0.02)},
    "active": {"active": 16},
    "active and trusted": {"active": 16, "tau": 0.1},
    "restarted": {"restart": True},
    "restarted, stale": {"restart": True, "kernel": ULA(0.02)},
    "renewed": {"renew": 2, "temperatures": 20},
}


@pytest.mark.parametrize("name", UNWEIGHTED)
def test_without_weights_the_gradient_is_a_plain_mean(name):
    changes = dict(UNWEIGHTED[name])
    kernel = changes.pop("kernel", MALA(0.1))
    settings = replace(BASELINE, **changes)
    energy = bent(7)
    seen = []
    mean = Walkers.mean

    def spy(self, f):
        seen.append(self.log_w)
        return mean(self, f)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Walkers, "mean", spy)
        run = train(energy, DATA, settings, optimizer=optim.SGD(energy.parameters(), lr=0.1),
                    kernel=kernel, rng=seeded(2))  # fmt: skip
        for record in itertools.islice(run, 6):
            assert math.isnan(record.log_z.value)
    assert len(seen) == 6
    for log_w in seen:
        assert bool((log_w == log_w[0]).all())


def test_persistent_chains_start_at_the_data_and_go_on():
    energy = bent(7)
    settings = replace(BASELINE, moves=1)
    frozen = optim.SGD(energy.parameters(), lr=0.0)
    run = train(energy, DATA, settings, optimizer=frozen, kernel=MALA(1e-10), rng=seeded(3))
    first, second = itertools.islice(run, 2)
    gaps = torch.cdist(first.state.walkers.x, DATA).amin(1)
    assert float(gaps.max()) < 1e-3
    moved = (first.state.walkers.x - second.state.walkers.x).norm(dim=1)
    assert float(moved.max()) < 1e-3  # the same chains
    assert len(first.state.walkers) == 64


@pytest.mark.parametrize("changes", [{"weighted": True}, {"renew": 10}])
def test_restarting_walkers_have_neither_weights_nor_renewals(changes):
    with pytest.raises(ValueError, match="neither weights nor renewals"):
        Settings.cd(**changes)


def test_contrastive_divergence_by_name_is_the_textbooks():
    # on an energy with a base, too: no renewal from it, no held-out walkers, plain steps
    for settings, restarts in ((Settings.pcd(walkers=64), False), (Settings.cd(batch=64), True)):
        energy = bent(7)
        optimizer = optim.SGD(energy.parameters(), lr=0.1)
        twin, before = copy.deepcopy(energy), parameters_of(energy)
        record = next(train(energy, DATA, settings, optimizer=optimizer, rng=seeded(3)))
        assert record.state.trust is None
        assert record.state.held_out is None
        assert record.renewed is None
        assert record.scale == 1.0
        assert settings.renew is None
        assert settings.restart is restarts
        u = twin(record.state.walkers.x)
        assert bool(torch.isfinite(u).all())
        assert not torch.equal(parameters_of(energy), before)


class Noisy(nn.Module):
    """What an unadjusted kernel was given to move with, and where to."""

    fresh = False

    def __init__(self):
        super().__init__()
        self.noise, self.steps = [], []

    def __call__(self, model, state, rng):
        self.noise.append(torch.randn(3, generator=rng))
        self.steps.append(parameters_of(model.energy))
        return ULA(0.02)(model, state, rng)


def parameters_of(energy):
    return torch.cat([p.detach().flatten().clone() for p in energy.parameters()])


def test_a_redone_stale_step_has_the_same_noise():
    # new noise for every try would choose among noises, not among steps
    energy, rng, kernel = model(5), seeded(5), Noisy()
    walkers = Walkers.sample(energy.base, 64, rng)
    trust = noneq.TrustRegion(0.05, longest=math.inf)
    optimizer = optim.SGD(energy.parameters(), lr=30.0)
    for _ in range(2):
        walkers, *_ = noneq.training.step(
            energy, DATA[:64], walkers, kernel=kernel, optimizer=optimizer, rng=rng, trust=trust
        )
    assert trust.redone >= 1
    assert len(kernel.noise) == 2 + trust.redone
    assert len({tuple(n.tolist()) for n in kernel.noise}) == 2
    assert len({tuple(t.tolist()) for t in kernel.steps}) == len(kernel.steps)


def test_contrastive_divergence_restarts_at_every_batch():
    energy = bent(7)
    batches = []
    energy.register_forward_pre_hook(lambda _, args: batches.append(args[0].detach()))
    settings = replace(BASELINE, moves=1, restart=True)
    frozen = optim.SGD(energy.parameters(), lr=0.0)
    run = train(energy, DATA, settings, optimizer=frozen, kernel=MALA(1e-10), rng=seeded(3))
    for record in itertools.islice(run, 3):
        torch.testing.assert_close(record.state.walkers.x, batches[-1], rtol=0, atol=1e-3)
        assert len(record.state.walkers) == settings.batch


def test_the_docstrings_settings_of_the_baselines_run_as_they_stand():
    # an energy without a base, nothing else given: what a contrastive divergence user has
    net = network(1)
    with torch.no_grad():
        net.net[-1].weight.normal_(0, 0.1, generator=seeded(1))
    for settings in (Settings.pcd(), Settings.cd()):
        record = next(train(copy.deepcopy(net), DATA, settings))
        assert math.isfinite(record.loss)


# -- renewal ----------------------------------------------------------------------------------


def test_renewal_replaces_all_walkers_and_their_founders():
    energy = model(8)
    settings = replace(QUICK, walkers=128, held_out=64, renew=40, temperatures=100, moves=4)
    records = list(itertools.islice(train(energy, DATA, settings, rng=seeded(4)), 40))
    assert all(r.renewed is None for r in records[:39])
    before, after = records[38].state, records[39].state
    assert records[39].renewed is True
    for old, new in ((before.walkers, after.walkers), (before.held_out, after.held_out)):
        assert new.effective_ancestors > old.effective_ancestors
        assert (len(new), new.islands) == (len(old), old.islands)
        assert new.weights.log_z_start == BASE.log_z()
        assert int(new.weights.ancestors.max()) < len(new)
        assert not torch.equal(new.x, old.x)
    held = after.held_out.log_z
    assert abs(held.value - log_z(energy)) < max(0.1, 4 * held.stderr)
    walkers = after.walkers  # a weighted sample of the model: its mean, by quadrature
    p = (-energies(energy, GRID.float())).softmax(0)
    exact, spread = p @ GRID, (p @ GRID.square() - (p @ GRID).square()).sqrt()
    difference = (walkers.mean(walkers.x) - exact).abs()
    assert bool((difference < 4 * spread / walkers.effective_ancestors**0.5).all())


def test_renewal_is_refused_where_fewer_founders_survive():
    # a bent energy, two temperatures: hardly a founder survives, while the walkers, kept by a
    # learning rate of zero, are as many as they were
    energy = bent(9, 2.0)
    settings = replace(QUICK, held_out=64, tau=None, renew=1, temperatures=2, ess_min=0.0)
    frozen = optim.SGD(energy.parameters(), lr=0.0)
    run = train(energy, DATA, settings, optimizer=frozen, kernel=MALA(0.2), rng=seeded(5))
    first = next(run)
    assert first.renewed is not None
    whole = Walkers.at(first.state.walkers.x, energy)  # equal weights, every founder alive
    state = replace(first.state, walkers=whole)
    again = train(energy, DATA, settings, optimizer=frozen, rng=seeded(6), resume=state)
    record = next(again)
    assert record.renewed is False
    assert record.state.walkers.effective_ancestors == 64
    assert torch.equal(record.state.walkers.weights.ancestors, torch.arange(64))
    held, before = record.state.held_out.weights, first.state.held_out.weights
    assert torch.equal(held.ancestors, before.ancestors)


def test_renewal_that_fails_is_refused(monkeypatch):
    def fail(*_, **__):
        raise TooFarError("2000 temperatures reached only beta = 0.1")

    monkeypatch.setattr("noneq.training.renewal.pilot", fail)
    energy = model(9)
    run = train(energy, DATA, replace(QUICK, renew=2), rng=seeded(1))
    assert [r.renewed for r in itertools.islice(run, 4)] == [None, False, None, False]


def test_an_out_of_memory_error_in_a_renewal_is_not_swallowed(monkeypatch):
    # it is a RuntimeError too; only the annealing's own failure may be forgiven
    def fail(*_, **__):
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr("noneq.training.renewal.pilot", fail)
    with pytest.raises(torch.OutOfMemoryError):
        next(train(model(9), DATA, replace(QUICK, renew=1), rng=seeded(1)))


# -- held-out walkers -------------------------------------------------------------------------


def test_held_out_walkers_never_touch_the_parameters():
    # two runs, the same random numbers, held-out walkers elsewhere and with other weights: the
    # same parameters, bit by bit
    ends, held = [], []
    for shift in (0.0, 1.5):
        energy, rng = bent(10), seeded(1)
        walkers = Walkers.sample(BASE, 64, rng, islands=1)
        aside = Walkers.at(BASE.sample(16, rng) + shift, BASE, log_z=BASE.log_z(), islands=8)
        state = TrainState(0, walkers, aside, MALA(0.2), TrustRegion(0.05))
        settings = replace(QUICK, ess_min=0.0)  # resampling draws numbers only where it happens
        optimizer = optim.Adam(energy.parameters(), lr=1e-3)
        run = train(energy, DATA, settings, optimizer=optimizer, rng=rng, resume=state)
        record = last(run, 10)
        ends.append((parameters(energy), record.state.walkers.x, record.state.walkers.log_w))
        held.append(record.log_z_held_out.value)
    assert held[0] != held[1]
    for a, b in zip(*ends, strict=True):
        assert torch.equal(a, b)


def test_held_out_log_z_is_unbiased_and_that_of_the_training_walkers_low():
    # 64 walkers feed the gradient of a network and are moved little: 12 seeds of 40 iterations.
    # Held-out: the mean of Z-hat / Z is 1 within 4 standard errors. In the gradient: log Z is low.
    held, fed = [], []
    for seed in range(12):
        energy = model(11)
        settings = replace(QUICK, held_out=512, moves=1, batch=256, tau=0.02, ess_min=0.0)
        record = last(train(energy, DATA, settings, kernel=MALA(0.2), rng=seeded(seed)), 40)
        state, exact = record.state, log_z(energy)
        held.append(state.held_out.reweight(energy).log_z.value - exact)
        fed.append(state.walkers.reweight(energy).log_z.value - exact)
    held, fed = torch.tensor(held).exp(), torch.tensor(fed)
    assert abs(float(held.mean()) - 1) < 4 * float(held.std()) / math.sqrt(12)
    assert float(fed.mean()) < -4 * float(fed.std()) / math.sqrt(12)


# -- lazily reweighted mini-batches of walkers --------------------------------------------------


@dataclass(frozen=True)
class Still:
    """A kernel that leaves the model invariant by not moving."""

    fresh: bool = True

    def __call__(self, model, state, rng):
        return state, torch.zeros_like(state.u), {}

    def adapt(self, info):
        return self

    def scaled(self, by):
        return self


def test_increments_of_untouched_walkers_telescope():
    # walkers stand still; whoever was touched whenever, in the end log_w = U_base - U for all
    energy = bent(12)
    settings = replace(BARE, walkers=128, active=16, ess_min=0.0, moves=1, tau=0.02)
    record = last(train(energy, DATA, settings, kernel=Still(), rng=seeded(1)), 20)
    walkers = record.state.walkers.reweight(energy)
    expected = (BASE(walkers.x) - energy(walkers.x)).detach().double()
    torch.testing.assert_close(walkers.log_w, expected, rtol=0, atol=1e-4)
    assert float(expected.std()) > 0.1


@pytest.mark.parametrize("kernel", [None, ULA(0.05)], ids=["default", "stale"])
def test_active_walkers_train_and_their_weights_are_exact(kernel):
    # 64 of 2,048 walkers an iteration; afterwards all are reweighted: moments and log Z of the
    # model within 4 standard errors, counted in surviving founders
    energy = model(13)
    start = nll(energy)
    settings = Settings(
        walkers=2048, held_out=None, active=64, moves=4, batch=256, renew=None, tau=0.02
    )
    record = last(train(energy, DATA, settings, kernel=kernel, rng=seeded(2)), 150)
    assert math.isnan(record.log_z.value)  # not known until all are reweighted
    assert nll(energy) < start - 0.2
    walkers = record.state.walkers.reweight(energy)
    n = walkers.effective_ancestors
    assert abs(walkers.log_z.value - log_z(energy)) < 4 * math.sqrt(1 / n - 1 / 2048) + 0.02
    p = (-energies(energy, GRID.float())).softmax(0)
    for f in (lambda x: x[:, 0], lambda x: x[:, 1], lambda x: (x[:, 0] > 0).double()):
        exact = float(p @ f(GRID))
        spread = math.sqrt(float(p @ f(GRID).square()) - exact**2)
        assert abs(float(walkers.mean(f(walkers.x.double()))) - exact) < 4 * spread / math.sqrt(n)


# -- resuming ---------------------------------------------------------------------------------


def snapshot(energy, optimizer, rng, state):
    return (
        copy.deepcopy(energy.state_dict()),
        copy.deepcopy(optimizer.state_dict()),
        rng.get_state(),
        state,
    )


def restored(saved):
    energy, rng = model(14), seeded(99)
    optimizer = optim.Adam(energy.parameters(), lr=2e-3)
    energy.load_state_dict(saved[0])
    optimizer.load_state_dict(saved[1])
    rng.set_state(saved[2])
    return energy, optimizer, rng, saved[3]


RESUMED = {
    "no trust region": {"tau": None},
    "trust region": {"tau": 0.05},
    "renewal": {"tau": 0.05, "renew": 4, "temperatures": 20},
    "active": {"tau": 0.05, "active": 16},
    "PCD": {"weighted": False, "start": "data"},
    "stale": {"kernel": ULA(0.02), "tau": 0.5},
}


def uninterrupted(settings, kernel, n=10):
    energy, rng = model(14), seeded(7)
    optimizer = optim.Adam(energy.parameters(), lr=2e-3)
    run = train(energy, DATA, settings, optimizer=optimizer, kernel=kernel, rng=rng)
    for record in itertools.islice(run, n):
        yield energy, optimizer, rng, record


def same(record, other, energy, twin):
    assert torch.equal(parameters(energy), parameters(twin))
    assert torch.equal(record.state.walkers.x, other.state.walkers.x)
    assert torch.equal(record.state.walkers.log_w, other.state.walkers.log_w)
    for field in ("iteration", "loss", "data_energy", "ess", "scale", "renewed"):
        assert getattr(record, field) == pytest.approx(getattr(other, field), abs=0, nan_ok=True)
    assert record.log_z_held_out.value == pytest.approx(other.log_z_held_out.value, nan_ok=True)


@pytest.mark.parametrize("name", RESUMED)
def test_resuming_gives_the_same_bits_as_no_interruption(name):
    changes = dict(RESUMED[name])
    kernel = changes.pop("kernel", None)
    settings = replace(QUICK, **changes)
    *_, (energy, _, _, whole) = uninterrupted(settings, kernel)
    *_, (half, optimizer, rng, record) = uninterrupted(settings, kernel, 5)
    twin, optimizer, rng, state = restored(snapshot(half, optimizer, rng, record.state))
    run = train(twin, DATA, settings, optimizer=optimizer, rng=rng, resume=state)
    same(whole, last(run, 5), energy, twin)


def test_resuming_from_an_older_record_after_training_went_on():
    # records are frozen: the fifth is still the fifth when the eighth has been made
    settings = replace(QUICK, tau=0.05, longest=math.inf)
    saved = None
    for energy, optimizer, rng, record in uninterrupted(settings, None):
        if record.iteration == 5:
            saved = snapshot(energy, optimizer, rng, record.state)
    twin, optimizer, rng, state = restored(saved)
    run = train(twin, DATA, settings, optimizer=optimizer, rng=rng, resume=state)
    same(record, last(run, 5), energy, twin)


def test_going_back_to_an_earlier_state_of_the_same_model():
    # a rollback: the same objects, parameters and optimiser put back in place
    energy, rng = model(14), seeded(7)
    optimizer = optim.Adam(energy.parameters(), lr=2e-3)
    run = train(energy, DATA, QUICK, optimizer=optimizer, rng=rng)
    saved = snapshot(energy, optimizer, rng, last(run, 3).state)
    last(run, 3)
    energy.load_state_dict(saved[0])
    optimizer.load_state_dict(saved[1])
    record = last(train(energy, DATA, QUICK, optimizer=optimizer, rng=rng, resume=saved[3]), 3)
    assert record.iteration == 6
    assert math.isfinite(record.loss)


def test_a_state_can_be_copied():
    record = last(train(model(14), DATA, QUICK, rng=seeded(7)), 3)
    twin = copy.deepcopy(record.state)
    assert torch.equal(twin.walkers.x, record.state.walkers.x)
    assert torch.equal(twin.held_out.log_w, record.state.held_out.log_w)


def test_a_record_keeps_no_graph():
    # a list of records must not hold every iteration's activations
    record = last(train(model(14), DATA, QUICK, rng=seeded(7)), 3)
    for walkers in (record.state.walkers, record.state.held_out):
        for field in dataclasses.fields(walkers):
            value = getattr(walkers, field.name)
            assert not (isinstance(value, torch.Tensor) and value.requires_grad), field.name


def test_the_same_seed_gives_the_same_bits():
    def end(rng):
        energy = model(15)
        record = last(train(energy, DATA, replace(QUICK, renew=3, temperatures=10), rng=rng), 6)
        return parameters(energy), record.state.walkers.x, record.loss

    one, two, default, other = end(seeded(0)), end(seeded(0)), end(None), end(seeded(1))
    for a in (two, default):
        assert torch.equal(one[0], a[0])
        assert torch.equal(one[1], a[1])
        assert one[2] == a[2]
    assert not torch.equal(one[0], other[0])


def test_the_global_generator_is_left_alone():
    state = torch.get_rng_state()
    energy = model(15)
    last(train(energy, DATA, replace(QUICK, renew=2, temperatures=5, noise=0.1)), 3)
    assert torch.equal(torch.get_rng_state(), state)


# -- what the caller does around the loop -------------------------------------------------------


def test_an_average_of_the_parameters_is_a_model_of_its_own():
    energy = model(16)
    ema = AveragedModel(energy, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    settings = replace(QUICK, tau=0.02, walkers=128)
    for _ in itertools.islice(train(energy, DATA, settings, rng=seeded(1)), 60):
        ema.update_parameters(energy)
    assert isinstance(ema.module, Tilted)
    assert not torch.equal(parameters(ema.module), parameters(energy))
    z = noneq.log_z(ema.module, data=DATA, n=256, temperatures=100, equilibrate=30, rng=seeded(1))
    exact = log_z(ema.module)
    assert abs(z.value - exact) < max(0.05, 4 * z.stderr)
    assert abs(exact - log_z(energy)) > 0.005  # and not the model's
    # the wrapper itself is an energy too
    assert noneq.log_z(ema, ema.module.base, DATA, n=16, temperatures=5, equilibrate=1)


@pytest.mark.parametrize("tau", [None, 0.05])
def test_a_learning_rate_schedule_around_the_loop(tau):
    energy = model(17)
    optimizer = optim.Adam(energy.parameters(), lr=1e-3)
    scheduler = optim.lr_scheduler.ExponentialLR(optimizer, 0.8)
    lengths, old = [], parameters(energy)
    run = train(energy, DATA, replace(BARE, tau=tau), optimizer=optimizer, rng=seeded(1))
    for record in itertools.islice(run, 40):
        scheduler.step()
        lengths.append(float((parameters(energy) - old).norm()))
        old = parameters(energy)
        if tau is not None and record.iteration > 20:
            assert record.cost <= 2 * tau * 0.8 ** (2 * 20)
    assert sum(lengths[-5:]) < 0.05 * sum(lengths[5:10])


def test_noise_is_drawn_afresh_for_every_batch():
    energy = bent(18)
    batches = []
    settings = replace(BARE, noise=0.3, batch=2000)
    few = torch.tensor([[-2.0, 0.0], [2.0, 1.0]])  # far apart: the nearest row is the source
    run = train(energy, few, settings, rng=seeded(1))
    energy.register_forward_pre_hook(lambda _, args: batches.append(args[0].detach()))
    last(run, 2)
    batches = [b for b in batches if len(b) == 2000]
    assert len(batches) == 2
    for batch in batches:
        near = few[torch.cdist(batch, few).argmin(1)]
        # sd of an estimated sd: 0.3 / sqrt(2 * 4000)
        assert abs(float((batch - near).std()) - 0.3) < 4 * 0.3 / math.sqrt(8000)
    assert not torch.equal(batches[0], batches[1])


def test_without_noise_batches_are_rows_and_noise_forgives_constant_columns():
    energy = bent(18)
    batches = []
    run = train(energy, DATA, BARE, rng=seeded(1))
    energy.register_forward_pre_hook(lambda _, args: batches.append(args[0].detach()))
    last(run, 2)
    assert bool((batches[-1][:, None] == DATA).all(2).any(1).all())
    flat = DATA.clone()
    flat[:, 1] = 0.5
    base = Gaussian.fit(flat, noise=0.2)
    record = last(train(Tilted(base, network(1)), flat, replace(QUICK, noise=0.2)), 3)
    assert math.isfinite(record.nll)


def test_walkers_that_start_at_the_data_leave_log_z_unknown():
    energy = nn.Sequential(nn.Linear(2, 8), nn.SiLU(), nn.Linear(8, 1), nn.Flatten(0))
    with torch.no_grad():
        for p in energy.parameters():
            p.copy_(0.3 * torch.randn(p.shape, generator=seeded(1)))
    record = last(train(energy, DATA, UNKNOWN, rng=seeded(1)), 3)
    assert math.isnan(record.log_z.value)
    assert math.isnan(record.nll)
    assert 0 < record.ess <= 1


def test_records_are_frozen_and_complete():
    energy = model(19)
    records = list(itertools.islice(train(energy, DATA, QUICK, rng=seeded(1)), 3))
    assert [r.iteration for r in records] == [1, 2, 3]
    assert all(a.seconds <= b.seconds for a, b in itertools.pairwise(records))
    for r in records:
        assert 0 < r.ess <= 1
        assert 0 <= r.acceptance <= 1
        assert r.scale > 0
        assert 0 <= r.cost <= 0.2
        assert math.isfinite(r.log_z.value)
        assert math.isfinite(r.log_z_held_out.stderr)
    with pytest.raises(dataclasses.FrozenInstanceError):
        records[0].loss = 0.0


# -- faults -----------------------------------------------------------------------------------


def test_a_model_that_diverges_stops_with_a_reason():
    energy = model(20)
    optimizer = optim.SGD(energy.parameters(), lr=1e30)
    run = train(energy, DATA, replace(QUICK, tau=None), optimizer=optimizer, rng=seeded(1))
    with pytest.raises(FloatingPointError, match="diverged; take a smaller learning rate"):
        last(run, 10)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"walkers": 1}, "walkers must be 2 or more, got 1"),
        ({"moves": 0}, "moves must be 1 or more, got 0"),
        ({"batch": 0}, "batch must be 1 or more, got 0"),
        ({"ess_min": 1.5}, "ess_min is a fraction"),
        ({"ess_min": -0.1}, "ess_min is a fraction"),
        ({"ess_min": math.nan}, "ess_min is a fraction"),
        ({"held_out": 12}, "a multiple of 8, not 12"),
        ({"held_out": -8}, "held_out"),
        ({"start": "noise"}, "start is 'base' or 'data', got 'noise'"),
        ({"noise": -0.1}, "noise is a standard deviation >= 0"),
        ({"noise": math.nan}, "noise is a standard deviation >= 0"),
        ({"active": 1}, "active is between 2 and 512 walkers, got 1"),
        ({"active": 513}, "active is between 2 and 512 walkers, got 513"),
        ({"tau": 0.0}, "tau"),
        ({"tau": -0.1}, "tau"),
        ({"renew": -1}, "renew"),
        ({"temperatures": 0}, "temperatures"),
        ({"active": 16, "restart": True}, "active"),
    ],
)
def test_settings_that_cannot_be(changes, message):
    # when they are made, or at the latest when training starts; not 500 iterations later
    with pytest.raises(ValueError, match=message):
        next(train(bent(0), DATA, Settings(**changes)))


class Column(nn.Module):
    """The commonest mistake: (B, 1)."""

    def __init__(self):
        super().__init__()
        self.base = BASE
        self.net = nn.Linear(2, 1)

    def forward(self, x):
        return self.net(x)


def with_layer(layer):
    body = nn.Sequential(nn.Linear(2, 8), layer, nn.SiLU(), nn.Linear(8, 1), nn.Flatten(0))
    return Tilted(BASE, body)


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (DATA.numpy(), TypeError, "must be a torch tensor, got ndarray; torch.as_tensor converts"),
        ((8 * DATA).long(), TypeError, r"must be floating point, got torch.int64; data.float\(\)"),
        (DATA[:, 0], ValueError, r"a single column is data\[:, None\]"),
        (DATA[:1], ValueError, "two or more rows"),
        (DATA[:0], ValueError, "two or more rows"),
        (
            torch.where(torch.arange(8000).view(4000, 2) == 7, math.nan, DATA),
            ValueError,
            r"NaN or infinite values in 1 of 4000 rows \(the first: row 3\); drop or fill them",
        ),
        (DATA / torch.tensor([1.0, math.inf]), ValueError, r"1 columns never change \(1\)"),
    ],
)
def test_data_that_no_density_fits(data, error, message):
    with pytest.raises(error, match=message):
        next(train(model(0), data, QUICK))


def test_data_of_another_width_than_the_model():
    with pytest.raises(ValueError, match="shape"):
        next(train(model(0), torch.randn(100, 3, generator=seeded(1)), QUICK))


def test_data_of_another_precision_than_the_model():
    with pytest.raises((TypeError, ValueError), match="float64"):
        next(train(model(0), DATA.double(), QUICK))


@pytest.mark.parametrize(
    ("energy", "message"),
    [
        (Column(), r"returned shape \(16, 1\) for 16 rows; expected \(16,\): return net\(x\)"),
        (with_layer(nn.Dropout(0.5)), r"holds Dropout \(net.1\): dropout.* use model.eval\(\)"),
        (with_layer(nn.BatchNorm1d(8)), r"holds BatchNorm1d \(net.1\).* use model.eval\(\)"),
    ],
)
def test_what_is_no_energy_is_refused_before_training(energy, message):
    with pytest.raises(ValueError, match=message):
        next(train(energy, DATA, QUICK))


def test_batch_normalisation_and_dropout_pass_once_frozen():
    for layer in (nn.Dropout(0.5), nn.BatchNorm1d(8)):
        energy = with_layer(layer)
        energy.eval()
        assert math.isfinite(next(train(energy, DATA, QUICK)).loss)


@pytest.mark.parametrize("changes", [{}, {"start": "data"}, {"start": "data", "renew": None}])
def test_an_energy_without_a_base_says_how_to_get_one(changes):
    with pytest.raises(ValueError, match=r"use Tilted\(Gaussian.fit\(data\), net\), give .* take"):
        next(train(network(0), DATA, Settings(**changes)))


def test_refused_optimisers_are_refused_in_training_too():
    energy = model(0)
    optimizer = optim.Rprop(energy.parameters())
    with pytest.raises(ValueError, match="Rprop does not allow"):
        next(train(energy, DATA, QUICK, optimizer=optimizer))


def test_held_out_walkers_are_resampled_as_the_others():
    # by an exact kernel together with the others, by ULA on their own
    for kernel in (MALA(0.2), ULA(0.05)):
        settings = replace(BARE, held_out=64, ess_min=1.0)
        record = last(train(bent(4), DATA, settings, kernel=kernel, rng=seeded(5)), 4)
        held, own = record.state.held_out, record.state.walkers
        assert held.weights.resampled >= 3
        assert own.weights.resampled >= 3
        assert math.isfinite(record.log_z_held_out.stderr)
