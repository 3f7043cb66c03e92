"""Algorithm 1 of Carbone, Hua, Coste, Vanden-Eijnden 2023 (arXiv 2305.19414), written out.

With ``alpha_k(x, y) = U_k(x) + (y - x).grad U_k(x) / 2 + h |grad U_k(x)|^2 / 4``, U_k the energy
with the k-th parameters,

    X_{k+1} = X_k - h grad U_k(X_k) + sqrt(2h) xi,   A_0 = 0,
    A_{k+1} = A_k + alpha_k(X_k, X_{k+1}) - alpha_{k+1}(X_{k+1}, X_k),
    gradient_k = mean dU_k(data) - sum_i p_i dU_k(X_k^i),   p = softmax(A_k).
"""

import copy
import itertools
import math

import pytest
import torch

import noneq
from noneq import MLP, ULA, Gaussian, Tilted, TrustRegion, Walkers
from noneq.energies import Identity
from noneq.kernels import Repeat


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def model(seed):
    """A tilted Gaussian in float64 with a network whose last layer is not zero."""
    net = MLP(2, width=16).double()
    rng = seeded(seed)
    for p in net.parameters():
        p.data.normal_(0.0, 0.5, generator=rng)
    return Tilted(Gaussian(torch.tensor([0.3, -0.5]), Identity(1.2)).double(), net)


def energy_and_gradient(energy, x):
    x = x.detach().requires_grad_(True)
    u = energy(x)
    return u.detach(), torch.autograd.grad(u.sum(), x)[0]


def alpha(u, g, x, y, h):
    return u + ((y - x) * g).sum(1) / 2 + h * g.square().sum(1) / 4


def parameter_gradient(energy, data, x, p):
    """``mean dU(data) - sum p dU(x)``, one parameter at a time, from two separate backwards."""
    theta = [q for q in energy.parameters() if q.requires_grad]
    at_data = torch.autograd.grad(energy(data).mean(), theta)
    at_x = torch.autograd.grad((p * energy(x)).sum(), theta)
    return [a - b for a, b in zip(at_data, at_x, strict=True)]


def batches(n, seed):
    rng = seeded(seed)
    for _ in range(n):
        z = torch.randn(50, 2, generator=rng, dtype=torch.float64)
        yield torch.stack([z[:, 0] + 1, 0.5 * z[:, 1] + 0.4 * z[:, 0]], 1)


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
@pytest.mark.parametrize("moves", [1, 3])
def test_algorithm_1_to_the_letter(optimizer, moves):
    # moves > 1: the first is the stale one, the others are at fixed parameters
    h, n, iterations = 0.08, 64, 15
    energy, rng, replay = model(1), seeded(7), seeded(7)
    walkers = Walkers.sample(Gaussian(torch.zeros(2).double(), Identity()), n, rng, islands=1)
    opt = getattr(torch.optim, optimizer)(energy.net.parameters(), lr=0.02)
    kernel = Repeat(ULA(h), moves) if moves > 1 else ULA(h)
    rows = []
    energy.net.register_forward_hook(lambda _, args, __: rows.append(len(args[0])))

    # the same noise: the start, and the reweight from the start's energy to the first U
    x = torch.randn(n, 2, generator=replay, dtype=torch.float64)
    a = x.square().sum(1) / 2 - energy(x).detach()
    rows.clear()
    moved, graphed = 0.0, None
    for k, data in enumerate(batches(iterations, seed=2)):
        before = copy.deepcopy(energy)
        before.net._forward_hooks.clear()
        rows.clear()
        walkers, graphed, at_data, at_walkers, _ = noneq.training.step(
            energy, data, walkers, graphed, kernel=kernel, optimizer=opt, rng=rng, ess_min=0.0
        )
        # one evaluation of each walker a move; the first iteration also has the start to see
        assert sum(rows) == len(data) + n * moves + (n if k == 0 else 0)

        p = a.softmax(0)
        used = [q.grad for q in energy.net.parameters()]
        for mine, theirs in zip(used, parameter_gradient(before, data, x, p), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-9)
        assert float(at_data) == pytest.approx(float(before(data).detach().mean()), abs=1e-9)
        assert float(at_walkers) == pytest.approx(float((p * before(x).detach()).sum()), abs=1e-9)

        after = copy.deepcopy(energy)
        after.net._forward_hooks.clear()
        moved += sum(
            float((new - old).detach().abs().sum())
            for new, old in zip(after.parameters(), before.parameters(), strict=True)
        )
        u, g = energy_and_gradient(before, x)
        for _ in range(moves):
            xi = torch.randn(n, 2, generator=replay, dtype=torch.float64)
            y = x - h * g + math.sqrt(2 * h) * xi
            u_new, g_new = energy_and_gradient(after, y)
            a = a + alpha(u, g, x, y, h) - alpha(u_new, g_new, y, x, h)
            x, u, g = y, u_new, g_new

        torch.testing.assert_close(walkers.x, x, rtol=0, atol=1e-9)
        torch.testing.assert_close(walkers.log_w, a, rtol=0, atol=1e-9)
    assert moved > 1.0, "the parameters must have moved"
    assert float(a.std()) > 0.1, "the weights must have spread"


def test_graph_is_for_unadjusted_kernels():
    energy, rng = model(1), seeded(0)
    walkers = Walkers.sample(energy.base, 8, rng)
    with pytest.raises(ValueError, match="unadjusted kernels"):
        walkers.move(noneq.MALA(0.1), energy, rng, graph=True)
    moved, u = walkers.move(ULA(0.1), energy, rng, graph=True)
    assert u.requires_grad
    assert not any(t.requires_grad for t in (moved.log_w, moved.state.u, moved.x))
    torch.testing.assert_close(moved.reweight(energy, graph=True)[1], u, rtol=0, atol=0)


def test_a_kernel_that_keeps_the_graph_knows_the_energy_it_refuses():
    class Fenced(torch.nn.Module):
        space = noneq.spaces.Box(-9.0, 9.0)

        def forward(self, x):
            return 0 * x[:, 0].detach()

    rng = seeded(0)
    for energy, says in (
        (Fenced(), r"of the model \(Fenced\) on"),
        (_flat, "energy, a function,"),
    ):
        walkers = Walkers.at(torch.zeros(4, 2), energy)
        with pytest.raises(ValueError, match=says):
            walkers.move(ULA(0.1), energy, rng, graph=True)


def _flat(x):
    return 0 * x[:, 0].detach()


def test_who_moves_does_not_depend_on_the_weights():
    # seed 6; 16 of 64 walkers move in each of 100 iterations. The mean rank by weight of 16 drawn
    # without replacement from 64 has mean 31.5 and variance (64^2 - 1)/12 / 16 * (64 - 16)/63
    n, active, iterations = 64, 16, 100
    data = torch.cat(list(batches(10, seed=4)))
    settings = noneq.Settings(
        walkers=n,
        held_out=None,
        active=active,
        moves=1,
        tau=0.05,
        renew=None,
        batch=50,
        ess_min=0.0,
    )
    ranks, old = [], None
    records = noneq.train(model(4), data, settings, kernel=ULA(0.05), rng=seeded(6))
    for record in itertools.islice(records, iterations + 1):
        new = record.state.walkers
        if old is not None:
            moved = (new.x != old.x).any(1)
            assert int(moved.sum()) == active
            rank = old.log_w.argsort().argsort().double()
            ranks.append(float(rank[moved].mean()))
        old = new
    error = math.sqrt((n**2 - 1) / 12 / active * (n - active) / (n - 1) / iterations)
    assert float(old.log_w.std()) > 0.1, "without weights there is nothing to depend on"
    assert abs(sum(ranks) / iterations - (n - 1) / 2) < 4 * error


def test_the_held_out_log_z_is_that_of_the_held_out_walkers():
    data = torch.cat(list(batches(10, seed=5)))
    settings = noneq.Settings(walkers=32, held_out=64, moves=1, renew=None, batch=50)
    for record in itertools.islice(noneq.train(model(5), data, settings, rng=seeded(7)), 5):
        state = record.state
        assert record.log_z_held_out.value == pytest.approx(state.held_out.log_z.value, abs=1e-9)
        assert record.log_z.value == pytest.approx(state.walkers.log_z.value, abs=1e-9)
        assert abs(record.log_z.value - record.log_z_held_out.value) > 1e-6, "two estimates"


def test_a_trust_region_keeps_algorithm_1_exact():
    # the step is redone at other lengths: the weight must be that of the step at last taken
    h, n, energy, rng = 0.05, 200, model(3), seeded(5)
    walkers = Walkers.sample(energy.base, n, rng, islands=1)
    walkers, graphed = walkers.reweight(energy, graph=True)
    trust = TrustRegion(0.01)
    opt = torch.optim.SGD(energy.net.parameters(), lr=1.0)
    for data in batches(6, seed=3):
        before, old = copy.deepcopy(energy), walkers
        walkers, graphed, *_ = noneq.training.step(
            energy, data, walkers, graphed, kernel=ULA(h), optimizer=opt, rng=rng, trust=trust,
            ess_min=0.0,
        )  # fmt: skip
        u, g = energy_and_gradient(before, old.x)
        u_new, g_new = energy_and_gradient(energy, walkers.x)
        change = alpha(u, g, old.x, walkers.x, h) - alpha(u_new, g_new, walkers.x, old.x, h)
        torch.testing.assert_close(walkers.log_w - old.log_w, change, rtol=0, atol=1e-9)
    assert trust.redone > 0
