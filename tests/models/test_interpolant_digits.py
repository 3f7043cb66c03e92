"""An energy learned by score matching, and maximum likelihood from there: log Z by quadrature.

One asymmetric mixture in two dimensions, one network of seed 0 for all tests; walkers are judged
at 4 standard errors, with the seeds that they name.
"""

import functools

import pytest
import torch
from targets import seeded

from noneq import MALA, GaussianMixture, Schedule, Settings, Tilted, TrustRegion, population, train
from noneq.kernels import EulerMaruyama
from noneq.models import TimedMLP
from noneq.models.interpolants import EnergyPath, TimedEnergy
from noneq.training import TrainState

D = torch.float64
NOISE = 0.3


def mixture(noise=0.0):
    means = torch.tensor([[1.5, 1.0], [-1.5, -0.5]], dtype=D)
    c = torch.tensor([[[0.2, 0.1], [0.1, 0.2]], [[0.4, 0.0], [0.0, 0.1]]], dtype=D)
    return GaussianMixture(means, c + noise**2 * torch.eye(2), torch.tensor([0.7, 0.3], dtype=D))


@functools.cache
def matched():
    rng, x = seeded(0), mixture().sample(2000, seeded(1))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = TimedMLP(2, 32, 2, gain=2.0).double()
    energy = TimedEnergy.fit(x, net, NOISE)
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    for _ in range(300):
        loss = energy.score_loss(x[torch.randint(len(x), (256,), generator=rng)], rng)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return energy


@torch.no_grad()
def log_z(energy):
    side = torch.linspace(-9, 9, 600, dtype=D)
    u = energy(torch.cartesian_prod(side, side))
    return float(torch.logsumexp(-u, 0) + 2 * torch.log(side[1] - side[0]))


def nll(energy):
    return float(energy(mixture(NOISE).sample(20_000, seeded(2))).detach().mean()) + log_z(energy)


def ended(energy):
    return Tilted(energy.base, energy.net.frozen(1.0))


def brought(energy, n, seed, **how):
    kernel = EulerMaruyama(0.5, factor=energy.base.factor)
    return population(EnergyPath(energy), n, Schedule.uniform(40, kernel), rng=seeded(seed), **how)


def test_score_matching_lowers_the_likelihood_of_a_gaussian_towards_the_truth():
    energy, truth = matched(), mixture(NOISE)
    entropy, gaussian = nll(truth), nll(energy.base)
    assert gaussian - entropy > 0.4
    assert nll(energy) - entropy < 0.5 * (gaussian - entropy)  # the masses of modes are rough


def test_a_timed_network_at_one_time_is_a_plain_one():
    net = TimedMLP((2, 3), 8, 3, gain=2.0)
    with torch.no_grad():
        for p in net.parameters():
            p.normal_(generator=seeded(4))
    before, x = torch.get_rng_state(), torch.randn(5, 2, 3, generator=seeded(5))
    plain = net.frozen(0.7)
    assert torch.equal(before, torch.get_rng_state())
    wanted = net(x, torch.full((5,), 0.7))
    torch.testing.assert_close(plain(x), wanted, rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        next(plain.parameters()).zero_()
    assert torch.equal(net(x, torch.full((5,), 0.7)), wanted)
    field = TimedMLP(2, 8, field=True)
    torch.nn.init.normal_(next(reversed(list(field.net))).weight, generator=seeded(6))
    plain, x = field.frozen(0.5), torch.randn(4, 2, generator=seeded(7))
    torch.testing.assert_close(plain(x), field(x, torch.full((4,), 0.5)))


def test_walkers_know_log_z_of_the_energy_that_is_trained_on():
    # seed 6: 8 islands of 128
    energy = matched()
    walkers, _ = brought(energy, 1024, 6)
    value, stderr = walkers.log_z
    assert stderr < 0.05
    assert abs(value - log_z(energy)) < 4 * stderr
    on = walkers.reweight(ended(energy))
    assert on.log_z.value == pytest.approx(value, abs=1e-10)


def test_training_goes_on_from_there_with_the_right_log_z():
    # seeds 7, 8 and 9; the held-out walkers' log Z, as the gradient walkers' is biased
    energy, truth = matched(), mixture(NOISE)
    model = ended(energy)
    walkers = brought(energy, 512, 7, islands=1)[0].reweight(model)
    held = brought(energy, 512, 8)[0].reweight(model)
    kernel = MALA(0.3, energy.base.factor)
    records = train(
        model,
        mixture().sample(2000, seeded(1)),
        Settings(noise=NOISE, renew=None, moves=4),
        rng=seeded(9),
        resume=TrainState(0, walkers, held, kernel, TrustRegion(0.05)),
    )
    for _, record in zip(range(40), records):
        pass
    value, stderr = record.log_z_held_out
    assert stderr < 0.1
    assert nll(model) - nll(truth) < 0.7 * (nll(energy) - nll(truth))
    assert abs(value - log_z(model)) < 4 * stderr
