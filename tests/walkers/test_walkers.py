"""The algebra of weighted walkers: reweight, move, resample, parts, the freshness mark, faults.

Statistical tests: seeds are written in the tests, standard errors come from islands (independent
by construction, and tested to be so), the judgement is at 4 of them.
"""

import copy
import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from noneq import HMC, MALA, MLP, ULA, Gaussian, Tilted, TrustRegion, Walkers
from noneq.energies import GeometricPath, Identity, Tempered
from noneq.kernels import Chain, Repeat, State
from noneq.run import checkpoint
from noneq.walkers import Weights, reductions
from noneq.walkers.resampling import multinomial, residual, stratified, systematic

SCHEMES = (systematic, stratified, residual, multinomial)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


class Skew(nn.Module):
    """A skewed energy with parameters, in any dimension; counts the rows it is asked for."""

    def __init__(self, seed=0, dim=2, dtype=torch.float64):
        super().__init__()
        self.a = nn.Parameter(torch.randn(dim, dim, generator=seeded(seed), dtype=dtype))
        self.b = nn.Parameter(torch.randn(dim, generator=seeded(seed + 100), dtype=dtype))
        self.rows = []
        self.register_forward_hook(lambda _, args, __: self.rows.append(len(args[0])))

    def forward(self, x):
        return x.square().sum(1) / 2 + nn.functional.softplus(x @ self.a + self.b).sum(1)


def energies(model, x):
    """Energies by a copy: no hook counts, no graph."""
    twin = copy.deepcopy(model)
    twin._forward_hooks.clear()
    return twin(x).detach()


def normal(dim=2, dtype=torch.float64):
    return Gaussian(torch.zeros(dim, dtype=dtype), Identity(1.5))


def quadrature(energy):
    """Mean x and log Z of a 1-d energy on 20,001 points."""
    axis = torch.linspace(-20, 20, 20_001, dtype=torch.float64)[:, None]
    log_p = -energy(axis)
    log_z = float(log_p.logsumexp(0)) + math.log(40 / 20_000)
    return float(log_p.softmax(0) @ axis[:, 0]), log_z


def weighing(walkers, **changes):
    """The same walkers with other weights."""
    return replace(walkers, weights=replace(walkers.weights, **changes))


def close(a, b, tolerance=1e-10):
    torch.testing.assert_close(a, b, rtol=0, atol=tolerance)


# -- reweight and move


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_reweighting_there_and_back_leaves_the_weights(dtype):
    # cached energies telescope to the last bit of float64, also for float32 energies
    models = [Skew(k, dtype=dtype) for k in range(4)]
    walkers = Walkers.sample(normal(dtype=dtype), 64, seeded(0)).reweight(models[0])
    there = walkers
    for model in (*models[1:], *models[::-1]):
        there = there.reweight(model)
        assert torch.equal(there.x, walkers.x)
    close(there.log_w, walkers.log_w, 1e-12)
    assert there.log_w.dtype == torch.float64


def event(name, walkers, model, rng):
    """One thing that can happen to walkers; afterwards they may belong to ``model`` or lag."""
    if name == "reweight":
        return walkers.reweight(model)
    if name == "resample":
        return walkers.resample(1.0, rng, SCHEMES[int(torch.randint(4, (), generator=rng))])
    if name == "move some":
        index = torch.randperm(len(walkers), generator=rng)[:3]
        return walkers.put(index, walkers[index].move(MALA(0.2), model, rng))
    kernel = {"mala": MALA(0.2), "ula": ULA(0.1), "fresh ula": ULA(0.1, refresh=True)}[name]
    return walkers.move(kernel, model, rng)


EVENTS = ("reweight", "resample", "move some", "mala", "ula", "fresh ula")


@settings(max_examples=40, deadline=None)
@given(
    events=st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(0, 4)), max_size=8),
    detours=st.lists(st.integers(0, 4), max_size=4),
    seed=st.integers(0, 1000),
)
def test_after_any_events_every_detour_leaves_the_weights(events, detours, seed):
    # and a resampling on the way keeps every island's mean weight
    models, rng = [Skew(k) for k in range(5)], seeded(seed)
    walkers = Walkers.sample(normal(), 12, rng, islands=3).reweight(models[0])
    last = 0
    for name, k in events:
        before, walkers = walkers, event(name, walkers, models[k], rng)
        if name == "resample":
            means = [reductions.log_mean_exp(w.log_w.view(3, 4)) for w in (before, walkers)]
            close(*means)
        elif name != "move some":
            last = k
    walkers = walkers.reweight(models[last])  # of some who lag
    there = walkers
    for k in (*detours, last):
        there = there.reweight(models[k])
        close(there.log_w - walkers.log_w, walkers.state.u - there.state.u)
    close(there.log_w, walkers.log_w)
    assert torch.equal(there.weights.ancestors, walkers.weights.ancestors)
    assert there.log_z.value == pytest.approx(walkers.log_z.value)


def test_reweight_adds_old_minus_new_energy():
    a, b = Skew(1), Skew(2)
    walkers = Walkers.sample(normal(), 64, seeded(0)).reweight(a)
    close(walkers.log_w, energies(normal(), walkers.x) - energies(a, walkers.x))
    after = walkers.reweight(b)
    close(after.log_w - walkers.log_w, energies(a, walkers.x) - energies(b, walkers.x))
    close(after.state.u, energies(b, after.x))
    assert torch.equal(after.weights.ancestors, torch.arange(64))


def test_any_sequence_of_events_is_the_ratio_of_path_densities():
    # recorded positions, energies and gradients; every event's increment written out by hand
    h = 0.2
    models = [Skew(k) for k in range(6)]
    walkers = Walkers.sample(normal(), 64, seeded(0))
    rng, last, expected = seeded(1), normal(), torch.zeros(64, dtype=torch.float64)

    def seen(model, x):
        x = x.detach().requires_grad_(True)
        u = copy.deepcopy(model)(x)
        return u.detach(), torch.autograd.grad(u.sum(), x)[0]

    for k, event in enumerate(["stale", "reweight", "mala", "stale", "fresh ula", "stale"]):
        model, x = models[k], walkers.x
        (u_old, g_old), (u_now, g_now) = seen(last, x), seen(model, x)
        if event == "reweight":
            walkers = walkers.reweight(model)
            expected = expected + u_old - u_now
        elif event == "mala":
            walkers = walkers.move(Repeat(MALA(h), 2), model, rng)
            expected = expected + u_old - u_now
        else:
            fresh = event == "fresh ula"
            walkers = walkers.move(ULA(h, refresh=fresh), model, rng)
            if fresh:
                expected, u_old, g_old = expected + u_old - u_now, u_now, g_now
            y = walkers.x
            u_new, g_new = seen(model, y)
            there = (y - x + h * g_old).square().sum(1) / (4 * h)
            back = (x - y + h * g_new).square().sum(1) / (4 * h)
            expected = expected + u_old - u_new + there - back
        close(walkers.log_w, expected)
        last = model


def test_mean_is_weighted_and_keeps_the_graph():
    net = Skew(3)
    walkers = Walkers.sample(normal(), 64, seeded(0)).reweight(net)
    p = walkers.log_w.softmax(0)
    close(walkers.p, p)
    close(walkers.mean(walkers.x), (p[:, None] * walkers.x).sum(0))
    assert walkers.ess == pytest.approx(1 / float(64 * p.square().sum()))
    loss = walkers.mean(net(walkers.x))
    (gradient,) = torch.autograd.grad(loss, net.b)
    expected = (p[:, None] * (walkers.x @ net.a + net.b).sigmoid()).sum(0)
    close(gradient, expected.detach())


# -- resampling


def weighted(n=60, islands=4, seed=0):
    """Walkers with everything a walker can own, unequal weights, and a label in aux."""
    walkers = Walkers.sample(normal(), n, seeded(seed), islands=islands)
    walkers = walkers.reweight(Skew(1)).move(ULA(0.3), Skew(2), seeded(seed + 1))
    aux = {"label": torch.arange(n), "p": torch.randn(n, 2, generator=seeded(9))}
    return replace(walkers, state=walkers.state._replace(aux=aux))


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("islands", [1, 4, 12])
def test_resampling_keeps_every_islands_mean_weight(scheme, islands):
    walkers = weighted(islands=islands)
    after = walkers.resample(1.0, seeded(3), scheme)
    mean = reductions.log_mean_exp(walkers.log_w.view(islands, -1))
    close(after.log_w, mean.repeat_interleave(60 // islands), 1e-12)
    assert after.log_z.value == pytest.approx(walkers.log_z.value, abs=1e-12)
    if islands > 1:
        assert after.log_z.stderr == pytest.approx(walkers.log_z.stderr, abs=1e-12)
    again = after.reweight(Skew(4)).resample(1.0, seeded(4), scheme)
    assert again.log_z.value == pytest.approx(after.reweight(Skew(4)).log_z.value, abs=1e-12)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_resampling_permutes_everything_a_walker_owns(scheme):
    walkers = weighted()
    after = walkers.resample(1.0, seeded(3), scheme)
    index = after.state.aux["label"]
    assert not torch.equal(index, torch.arange(60))
    assert torch.equal(after.weights.ancestors, index)
    before = walkers.state
    assert torch.equal(after.x, before.x[index])
    assert torch.equal(after.state.u, before.u[index])
    assert before.cache.keys() == after.state.cache.keys() >= {"g"}
    for key, value in before.cache.items():
        assert torch.equal(after.state.cache[key], value[index]), key
    for key, value in before.aux.items():
        assert torch.equal(after.state.aux[key], value[index]), key
    # and so what follows is what would have followed for the chosen ones
    chosen = walkers[index]
    for change in (
        lambda w: w.reweight(Skew(5)),
        lambda w: w.move(ULA(0.1), Skew(5), seeded(6)),  # stale: it uses the cached gradient
    ):
        close(change(after).log_w - after.log_w, change(chosen).log_w - chosen.log_w)
    # founders of founders
    again = after.reweight(Skew(5)).resample(1.0, seeded(7), scheme)
    assert torch.equal(again.weights.ancestors, again.state.aux["label"])


@pytest.mark.parametrize("scheme", SCHEMES)
def test_islands_never_exchange_members(scheme):
    walkers = weighted(islands=12)
    for k in range(5):
        walkers = walkers.reweight(Skew(k)).resample(1.0, seeded(k), scheme)
        home = torch.arange(60) // 5
        assert torch.equal(walkers.weights.ancestors // 5, home)
        assert torch.equal(walkers.state.aux["label"] // 5, home)


def test_only_islands_below_the_threshold_are_resampled():
    walkers = weighted(islands=4)
    ess = reductions.ess(walkers.log_w.view(4, -1))
    threshold = float(ess.sort().values[1:3].mean())
    after = walkers.resample(threshold, seeded(0))
    for r in range(4):
        part = slice(15 * r, 15 * r + 15)
        kept = torch.equal(after.weights.ancestors[part], walkers.weights.ancestors[part])
        assert kept == (float(ess[r]) >= threshold)
        assert kept == torch.equal(after.log_w[part], walkers.log_w[part])
    assert walkers.resample(0.0, seeded(0)) is walkers
    equal = walkers.resample(1.0, seeded(0))
    assert equal.resample(1.0, seeded(1)) is equal, "equal weights gain nothing"


def test_effective_ancestors_are_counted_by_mass():
    walkers = weighted(islands=1)
    assert walkers.effective_ancestors == pytest.approx(60 * walkers.ess)
    after = walkers.resample(1.0, seeded(0))
    counts = torch.bincount(after.weights.ancestors).double() / 60
    assert after.effective_ancestors == pytest.approx(1 / float(counts.square().sum()))


def test_a_part_of_the_walkers_counts_its_own_ancestors():
    walkers = weighted()[torch.tensor([57, 40, 57, 3])]
    p = walkers.p
    assert walkers.effective_ancestors == pytest.approx(
        float(1 / ((p[0] + p[2]) ** 2 + p[1] ** 2 + p[3] ** 2))
    )


@pytest.mark.parametrize("ess_min", [0.0, 0.9])
def test_the_standard_error_of_log_z_is_calibrated(ess_min):
    # 200 runs (seeds 0 to 199) of 32 islands of 16; sd of the sd of 200 z-scores: 0.05,
    # of a Student t with 31 degrees of freedom: 1.03 (of one with 7, that of 8 islands, 1.18)
    target = Skew(1, dim=1)
    _, log_z = quadrature(lambda x: energies(target, x))
    path, z = GeometricPath(normal(1), target), []
    for seed in range(200):
        rng = seeded(seed)
        walkers = Walkers.sample(normal(1), 512, rng, islands=32)
        for beta in (0.5, 1.0):
            model = path.at(beta)
            walkers = walkers.reweight(model).resample(ess_min, rng).move(MALA(0.3), model, rng)
        z.append((walkers.log_z.value - log_z) / walkers.log_z.stderr)
    z = torch.tensor(z)
    assert 0.8 < float(z.std()) < 1.25
    assert abs(float(z.mean())) < 4 / math.sqrt(200)


def test_log_z_is_the_mean_of_the_islands_not_of_their_logs():
    log_w = torch.tensor([0.0, 1.0, 2.0, -1.0, 0.5, 3.0, 0.3, -0.7, 1.1, 0.2])
    walkers = weighing(Walkers.sample(normal(), 10, seeded(0), islands=5), log_w=log_w.double())
    z = log_w.double().exp().view(5, 2).mean(1)
    value, stderr = walkers.log_z
    assert value == pytest.approx(normal().log_z() + math.log(float(z.mean())))
    # Student's t of four degrees of freedom has variance 4 / (4 - 2)
    assert stderr == pytest.approx(math.sqrt(2) * float(reductions.jackknife(z.log())))
    assert math.isnan(walkers[torch.arange(6)].log_z.stderr)
    assert math.isnan(weighing(walkers[torch.arange(6)], islands=3).log_z.stderr)


def test_what_weights_say_of_several_islands():
    log_w = torch.tensor([0.0, 1.0, 2.0, -1.0, 0.5, 3.0]).double()
    weights = replace(Weights.equal(6, 0.7, 3), log_w=log_w)
    p, w = log_w.softmax(0), log_w.exp().view(3, 2)
    assert weights.ess == pytest.approx(1 / float(6 * p.square().sum()))
    assert weights.summary.lowest == pytest.approx(
        float((w.sum(1) ** 2 / 2 / (w**2).sum(1)).min())
    )
    close(weights.mass_by_island, p.view(3, 2).sum(1))
    close(weights.log_mean_by_island, w.mean(1).log())
    d = torch.tensor([0.3, -0.2, 0.1, 0.0, 1.0, -1.0]).double()
    left = (p * d.exp()).sum() ** 2 / (p * (2 * d).exp()).sum()
    assert weights.conditional_ess(d) == pytest.approx(float(left))
    zero = replace(weights, log_w=torch.tensor([-math.inf, -math.inf, 1.0, 2.0, 0.0, -math.inf]))
    assert zero.summary[:3] == (0, 3, 1)
    invalid = replace(weights, log_w=torch.tensor([math.nan, math.inf, 1.0, 2.0, 0.0, -math.inf]))
    assert invalid.summary[:3] == (2, 1, 0)
    with pytest.raises(FloatingPointError, match="2 of 6 log-weights are NaN"):
        invalid.check()


def test_weights_are_read_from_the_device_once():
    # a transfer from a GPU waits for all that was asked of it before
    class Reads(TorchDispatchMode):
        names = ("_local_scalar_dense", "equal", "nonzero")

        def __init__(self):
            super().__init__()
            self.count = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            self.count += any(name in str(func) for name in self.names)
            return func(*args, **(kwargs or {}))

    walkers = Walkers.sample(normal(), 32, seeded(0)).reweight(Skew(1))
    with Reads() as reads:
        walkers.resample(0.0, seeded(1))
        _ = walkers.p, walkers.ess, walkers.log_z, walkers.mean(walkers.x)
        _ = walkers.weights.mass_by_island, walkers.weights.log_mean_by_island
    assert reads.count == 0  # the one read is a whole tensor's


def test_equal_draws_by_weight():
    # seed 0; 40,000 draws among 3 positions: standard error of a frequency below 0.0025
    x = torch.tensor([[0.0], [1.0], [2.0]])
    walkers = Walkers.at(x, lambda y: y[:, 0] * 0)
    walkers = walkers.reweight(lambda y: -torch.tensor([0.2, 0.3, 0.5]).log() + y[:, 0] * 0)
    drawn = walkers.equal(40_000, seeded(0))
    assert drawn.shape == (40_000, 1)
    for value, p in ((0.0, 0.2), (1.0, 0.3), (2.0, 0.5)):
        assert float((drawn == value).double().mean()) == pytest.approx(p, abs=0.01)


@pytest.mark.parametrize("n", [1, 7, 300, 2500])
def test_equal_draws_each_walker_floor_or_ceiling_times_in_random_order(n):
    # seed 1; what is drawn is spread evenly over the walkers, and then shuffled
    x = torch.arange(500.0)[:, None]
    walkers = Walkers.at(x, lambda y: 0 * y[:, 0]).reweight(lambda y: 0.1 * (y[:, 0] / 60).sin())
    assert walkers.ess > 0.99
    drawn, expected = walkers.equal(n, seeded(1))[:, 0], n * walkers.p
    counts = torch.bincount(drawn.long(), minlength=500)
    assert drawn.shape == (n,)
    assert bool(((counts >= expected.floor()) & (counts <= expected.ceil())).all())
    if n == 300:
        assert len(drawn.unique()) == 300, "no walker is drawn twice"
        assert float(torch.corrcoef(torch.stack([drawn, torch.arange(300.0)]))[0, 1].abs()) < 0.2


# -- parts of the walkers


def test_moving_some_walkers_is_exact():
    # seed 21; 50 islands of 1,000, the energy changes at each of 8 steps, a quarter moves in each;
    # E w = Z / Z_start and E w (x - mean x) = 0, se from islands
    target = Skew(1, dim=1)
    mean, log_z = quadrature(lambda x: energies(target, x))
    start, rng = normal(1), seeded(21)
    path = GeometricPath(start, target)
    walkers = Walkers.sample(start, 50_000, rng, islands=50)
    for step in range(1, 9):
        index = torch.rand(50_000, generator=rng).argsort()[:12_500]
        target.rows.clear()
        for kernel in (MALA(0.5), ULA(0.2)):
            part = walkers[index].move(kernel, path.at(step / 8), rng)
            walkers = walkers.put(index, part)
        assert sum(target.rows) <= 3 * 12_500, "only the moved ones are evaluated"
    walkers = walkers.reweight(target)
    w = walkers.log_w.exp().view(50, -1)
    for value, truth in (
        (w.mean(1), math.exp(log_z - start.log_z())),
        ((w * (walkers.x[:, 0] - mean).view(50, -1)).mean(1), 0.0),
    ):
        assert abs(float(value.mean()) - truth) < 4 * float(value.std()) / math.sqrt(50)


def test_untouched_walkers_telescope():
    a, b, c = Skew(1), Skew(2), Skew(3)
    walkers = weighted(n=12, islands=1).reweight(a)
    index = torch.tensor([7, 1, 4])
    rest = torch.tensor([0, 2, 3, 5, 6, 8, 9, 10, 11])
    part = walkers[index].move(ULA(0.1), b, seeded(0))
    after = walkers.put(index, part)
    assert len(part) == 3
    assert part.islands == 1
    for now, new, old in ((after.log_w, part.log_w, walkers.log_w), (after.x, part.x, walkers.x),
                          (after.weights.ancestors, part.weights.ancestors,
                           walkers.weights.ancestors),
                          (after.state.u, part.state.u, walkers.state.u),
                          (after.state.cache["g"], part.state.cache["g"],
                           walkers.state.cache["g"])):  # fmt: skip
        assert torch.equal(now[index], new)
        assert torch.equal(now[rest], old[rest])
    # the same energy for all again; nobody is taken for fresh in between
    for model in (b, c):
        last = after.reweight(model)
        change = energies(a, walkers.x[rest]) - energies(model, walkers.x[rest])
        close((last.log_w - walkers.log_w)[rest], change)
    moved = after.move(MALA(0.1), b, seeded(1))
    change = energies(a, walkers.x[rest]) - energies(b, walkers.x[rest])
    close((moved.log_w - walkers.log_w)[rest], change)
    close(moved.log_w[index], part.log_w)


# -- the freshness mark


def perturb(net, seed, size=0.05):
    with torch.no_grad():
        for k, p in enumerate(net.parameters()):
            p += size * torch.randn(p.shape, generator=seeded(10 * seed + k), dtype=p.dtype)


@pytest.mark.parametrize("moves", [1, 4])
def test_her_own_loop_costs_k_plus_1_rows(moves):
    # DESIGN, section 4: the loop of someone with her own energy
    energy = Skew(1)
    base, rng, n = normal(), seeded(0), 64
    walkers = Walkers.sample(base, n, rng, islands=1)
    optimizer = torch.optim.Adam(energy.parameters(), lr=1e-2)
    trust = TrustRegion(0.05)
    kernel, counts, redone = Repeat(MALA(0.1), moves), [], 0
    walkers, u = walkers.reweight(energy, graph=True)
    assert energy.rows == [n]
    for k in range(12):
        x = torch.randn(40, 2, generator=seeded(k), dtype=torch.float64) + 1.0
        energy.rows.clear()
        loss = energy(x).mean() - walkers.mean(u)
        optimizer.zero_grad()
        loss.backward()
        walkers = walkers.resample(0.5, rng).move(kernel, energy, rng)
        walkers, u = trust.step(optimizer, energy, walkers)
        counts.append((sum(energy.rows) - len(x)) / n - (trust.redone - redone))
        redone = trust.redone
        # and the weights are right, whatever was reused
        close(walkers.state.u, energies(energy, walkers.x))
    assert counts == [moves + 1] * 12
    assert redone < 6


@pytest.mark.parametrize("kernel", [MALA(0.2), Repeat(MALA(0.2), 3), ULA(0.2, refresh=True),
                                    Chain((MALA(0.2), ULA(0.1)))], ids=repr)  # fmt: skip
@pytest.mark.parametrize("as_lambda", [False, True])
def test_a_forgotten_reweight_costs_one_evaluation_and_no_weight(kernel, as_lambda):
    results = {}
    for forget in (False, True):
        net = Skew(1)
        energy = (lambda x, net=net: net(x)) if as_lambda else net
        walkers, rng, rows = Walkers.sample(normal(), 32, seeded(0)), seeded(1), []
        for k in range(4):
            net.rows.clear()
            if not forget:
                walkers = walkers.reweight(energy)
            walkers = walkers.move(kernel, energy, rng)
            rows.append(sum(net.rows) // 32)
            perturb(net, k)
        moves = {Repeat: 3, Chain: 2}.get(type(kernel), 1)
        again = as_lambda and not forget  # of a lambda nothing is known: it is asked again
        assert rows == [moves + 1 + again] * 4
        results[forget] = walkers
    close(results[True].log_w, results[False].log_w, 1e-12)
    assert torch.equal(results[True].x, results[False].x)


def test_nothing_is_evaluated_twice():
    net = Skew(1)
    walkers = Walkers.sample(normal(), 32, seeded(0)).reweight(net)
    net.rows.clear()
    assert walkers.reweight(net) is walkers
    walkers = walkers.resample(1.0, seeded(1)).move(MALA(0.1), net, seeded(2))
    assert walkers.reweight(net) is walkers
    part = walkers[torch.arange(8)].move(MALA(0.1), net, seeded(3))
    assert net.rows == [32, 8], "resampling and taking a part keep the mark"
    same, _ = walkers.reweight(net, graph=True)
    assert same is walkers, "a graph of the energy that they are under changes nothing"
    assert net.rows == [32, 8, 32]
    now = walkers.under
    assert now.model is net
    perturb(net, 0)
    assert walkers.reweight(now) is walkers, "a snapshot says that the parameters are the same"
    perturb(net, 0, -0.05)
    walkers.put(torch.arange(8), part).reweight(net)
    assert net.rows == [32, 8, 32, 32], "after put nothing is known"


def test_a_graph_belongs_to_its_positions():
    net = Skew(1)
    walkers = Walkers.sample(normal(), 32, seeded(0)).reweight(net)
    part = walkers[torch.arange(16)].move(MALA(0.1), net, seeded(1))
    for other in (
        walkers.resample(1.0, seeded(1)),
        walkers.move(MALA(0.1), net, seeded(1)),
        walkers.move(ULA(0.1), net, seeded(1)),
        walkers[torch.arange(31, -1, -1)],
        walkers.put(torch.arange(16), part),
        walkers.reweight(Skew(2)).reweight(net),
    ):
        u = other.reweight(net, graph=True)[1]
        close(u.detach(), energies(net, other.x))
        torch.autograd.grad(u.sum(), net.b)


def test_gradients_can_be_accumulated():
    # two batches, two backwards, one step; or a step that is left out
    net = Skew(1)
    walkers = Walkers.sample(normal(), 32, seeded(0))
    for _ in range(2):
        walkers, u = walkers.reweight(net, graph=True)
        (-walkers.mean(u) / 2).backward()
    (expected,) = torch.autograd.grad(-walkers.mean(net(walkers.x)), net.b)
    torch.testing.assert_close(net.b.grad, expected)


def add_in_place(net):
    with torch.no_grad():
        net.b.add_(0.1)


def write_data(net):
    net.a.data[0, 1] += 0.1


def one_last_bit(net):
    net.b.data[0] = torch.nextafter(net.b.data[0], torch.tensor(9.0).double())


def opposite_changes(net):
    # two of one binade by as many units in the last place, in opposite directions
    net.b.data = torch.tensor([1.75, 1.25], dtype=torch.float64)


def second_difference(net):
    # the gradient of three equal logits, (1, -2, 1) / 3: orthogonal to weights 1, 2, 3, ...
    net.a.data = torch.tensor([[1.75, 1.0], [1.75, -0.4]], dtype=torch.float64)


def swap_two(net):
    net.a.data = net.a.data.flip(0, 1)


def one_sign(net):
    net.b.data[1] *= -1


def two_signs(net):
    net.b.data = -net.b.data


def fused_adam(net):
    optimizer = torch.optim.Adam(net.parameters(), lr=0.1, fused=True)
    net(torch.ones(3, 2, dtype=torch.float64)).sum().backward()
    optimizer.step()


def load_others(net):
    net.load_state_dict(Skew(7).state_dict())


def new_parameter(net):
    net.b = nn.Parameter(net.b.detach() + 0.1)


CHANGES = (add_in_place, write_data, one_last_bit, opposite_changes, second_difference, swap_two,
           one_sign, two_signs, fused_adam, load_others, new_parameter)  # fmt: skip


def closed_over(net):
    return lambda x: net(x)


def tempered_module(net):
    return Tempered(net, 0.7)


def tempered_lambda(net):
    return Tempered(lambda x: net(x), 0.7)


def tilted(net):
    return Tilted(normal(), net)


WRAPPERS = (nn.Identity, closed_over, tempered_module, tempered_lambda, tilted)


@pytest.mark.parametrize("wrap", WRAPPERS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("change", CHANGES, ids=lambda f: f.__name__)
def test_a_change_between_reweight_and_move_never_gives_a_wrong_weight(wrap, change):
    # the reference: energies of a copy made before the change and one made after it
    net = Skew(1)
    net.a.data = torch.tensor([[1.5, 1.5], [1.5, -0.4]], dtype=torch.float64)
    net.b.data = torch.tensor([1.5, 1.5], dtype=torch.float64)
    energy = net if wrap is nn.Identity else wrap(net)

    def now(x):
        u = energies(net, x)
        factor = 0.7 if "tempered" in wrap.__name__ else 1.0
        return factor * u + (energies(normal(), x) if wrap is tilted else 0.0)

    plain = Walkers.sample(normal(), 32, seeded(0)).reweight(energy)
    graphed, _ = plain.reweight(energy, graph=True)
    x, old = plain.x, now(plain.x)
    change(net)
    assert float((old - now(x)).abs().max()) > 0
    for walkers in (plain, graphed):
        moved = walkers.move(MALA(0.1), energy, seeded(1))
        close(moved.log_w - walkers.log_w, old - now(x), 1e-15)
        close(walkers.reweight(energy).log_w - walkers.log_w, old - now(x), 1e-15)
        close(walkers.reweight(energy, graph=True)[1].detach(), now(x), 1e-15)


# -- weights of zero, faults and errors


class Wall(nn.Module):
    """``exp(theta x)`` and more: +inf and its gradient too where x is large; NaN at -inf."""

    def __init__(self):
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(1.0, dtype=torch.float64))

    def forward(self, x):
        smooth = x.square().sum(1) / 2 + nn.functional.silu(x[:, 0])
        return (self.theta * x[:, 0]).exp() + smooth


def half_dead():
    """Ten walkers, three of them where `Wall` overflows."""
    x = torch.linspace(-1, 1, 10, dtype=torch.float64)[:, None].repeat(1, 2)
    x[[1, 5, 6], 0] = 1000.0
    return Walkers.at(x, normal(), log_z=0.0), torch.tensor([0, 2, 3, 4, 7, 8, 9])


def test_an_infinite_energy_is_weight_zero_for_ever():
    wall, (walkers, alive) = Wall(), half_dead()
    before = walkers
    walkers = walkers.reweight(wall)
    dead = torch.ones(10, dtype=torch.bool).index_fill(0, alive, False)
    assert torch.equal(walkers.log_w == -math.inf, dead)
    assert float(walkers.p[dead].sum()) == 0.0
    close(walkers.p[alive], walkers.log_w[alive].softmax(0))
    z = float(before.state.u[alive].sub(wall(before.x[alive]).detach()).exp().sum()) / 10
    assert walkers.log_z.value == pytest.approx(math.log(z), abs=1e-12)
    # they stay dead: under a finite energy, after any move, and again under the wall
    for event in (
        lambda w: w.reweight(normal()),
        lambda w: w.reweight(wall),
        lambda w: w.reweight(wall).reweight(normal()),
        lambda w: w.move(MALA(0.1), wall, seeded(0)),
        lambda w: w.move(MALA(0.1), normal(), seeded(0)),
        lambda w: w.move(MALA(0.1), normal(), seeded(0)).reweight(wall).reweight(normal()),
        lambda w: w.reweight(normal()).move(Repeat(ULA(0.01), 3), normal(), seeded(0)),
    ):
        after = event(walkers)
        assert torch.equal(after.log_w == -math.inf, dead)
        assert math.isfinite(after.log_z.value)
        assert math.isfinite(after.ess)
    resampled = walkers.resample(1.0, seeded(0))
    assert bool(torch.isin(resampled.weights.ancestors, alive).all()), "the dead have no offspring"
    assert float(walkers.mean(torch.where(dead, math.nan, 1.0))) == pytest.approx(1.0)


def test_the_dead_stay_dead_in_a_stale_unadjusted_move():
    # the gradient is infinite where they are, so their proposals are not finite and the energy
    # there is NaN: no fault, they are dead already
    wall, (walkers, alive) = Wall(), half_dead()
    walkers = walkers.reweight(wall)
    for k in range(3):
        walkers = walkers.move(ULA(0.01), wall, seeded(k))
        for after in (walkers, walkers.reweight(normal()), walkers.reweight(wall, graph=True)[0]):
            assert math.isfinite(after.ess)
            assert torch.equal((after.log_w > -math.inf).nonzero()[:, 0], alive)


def expected_gradient(walkers, alive, wall):
    x, p = walkers.x[alive], walkers.p[alive]
    return float((p * x[:, 0] * (wall.theta.detach() * x[:, 0]).exp()).sum())


def test_the_dead_do_not_poison_gradients():
    wall, (walkers, alive) = Wall(), half_dead()
    walkers, u = walkers.reweight(wall, graph=True)
    walkers.mean(u).backward()
    truth = expected_gradient(walkers, alive, wall)
    assert float(wall.theta.grad) == pytest.approx(truth, abs=1e-12)
    # those who died earlier neither, though their energy is finite in between
    wall.theta.grad = None
    walkers, u = walkers.reweight(normal()).reweight(wall, graph=True)
    walkers.mean(u).backward()
    assert float(wall.theta.grad) == pytest.approx(truth, abs=1e-12)


def test_the_dead_do_not_poison_gradients_where_their_energy_is_finite_again():
    class Kink(Wall):  # finite at x = 1000, where its gradient to theta is 0 x inf
        def forward(self, x):
            return x.square().sum(1) / 2 + (self.theta * (x[:, 0] < 100)).sqrt()

    kink, (walkers, _) = Kink(), half_dead()
    walkers, u = walkers.reweight(Wall()).reweight(kink, graph=True)
    assert bool(torch.isfinite(u).all())
    walkers.mean(u).backward()
    assert float(kink.theta.grad) == pytest.approx(0.5)  # d sqrt(theta) at theta = 1


def test_the_dead_do_not_poison_the_gradients_of_algorithm_1():
    wall, (walkers, alive) = Wall(), half_dead()
    walkers = walkers.reweight(wall)
    walkers, u = walkers.move(ULA(0.01), wall, seeded(0), graph=True)
    walkers.mean(u).backward()
    truth = expected_gradient(walkers, alive, wall)
    assert float(wall.theta.grad) == pytest.approx(truth, abs=1e-12)


READERS = {
    "p": lambda w: w.p,
    "ess": lambda w: w.ess,
    "log_z": lambda w: w.log_z,
    "mean": lambda w: w.mean(w.x),
    "effective_ancestors": lambda w: w.effective_ancestors,
    "resample": lambda w: w.resample(0.5, seeded(0)),
    "equal": lambda w: w.equal(3, seeded(0)),
}


@pytest.mark.parametrize("value", [math.nan, -math.inf])
def test_nan_and_minus_infinity_are_faults_that_are_counted(value):
    def broken(x):
        fault = (torch.arange(len(x)) % 4 == 1).to(x.dtype)
        return torch.where(fault == 1, value, x.square().sum(1) / 2)

    walkers = Walkers.sample(normal(), 16, seeded(0), islands=2)
    where = walkers.x[1::4, 0]

    def wall(x):  # infinite at one of the faults: that does not undo it
        return torch.where(torch.arange(len(x)) == 5, math.inf, x.square().sum(1) / 2)

    def broken_here(x):
        return torch.where(torch.isin(x[:, 0], where), value, x.square().sum(1) / 2)

    for bad in (
        walkers.reweight(broken),
        walkers.reweight(broken).reweight(normal()),
        walkers.reweight(broken).move(MALA(0.1), broken, seeded(0)),
        walkers.move(ULA(0.1), broken, seeded(0)),
        walkers.move(ULA(0.1), broken, seeded(0)).move(ULA(0.1), normal(), seeded(0)),
        walkers.reweight(broken_here, graph=True)[0],
        walkers.reweight(broken).reweight(wall),
        walkers.reweight(broken).move(ULA(0.1), wall, seeded(0)),
    ):
        for read in READERS.values():
            with pytest.raises(FloatingPointError, match="NaN or -inf at 4 of 16 walkers"):
                read(bad)


class Faulty:
    """A kernel that moves nobody and returns one increment that is no number."""

    fresh = True

    def __init__(self, value, x=None):
        self.value, self.x = value, x

    def __call__(self, model, state, rng):
        increment = torch.zeros(len(state.x))
        increment[3] = self.value
        x = state.x.clone()
        if self.x is not None:
            x[3] = self.x
            state = State(x, model(x), state.cache, state.aux)
        return state, increment, {}


@pytest.mark.parametrize(
    ("kernel", "said"),
    [
        (Faulty(math.nan), "Faulty"),
        (Faulty(math.inf), "Faulty"),
        (Faulty(math.nan, x=math.nan), "Faulty"),
        (Repeat(Faulty(math.nan), 2), r"Repeat\(Faulty\)"),
        (Chain((MALA(0.1), Repeat(Faulty(math.inf), 2))), r"Chain\(MALA, Repeat\(Faulty\)\)"),
    ],
)
def test_a_kernel_that_returns_an_invalid_weight_is_named(kernel, said):
    start = Walkers.sample(normal(), 16, seeded(0), islands=2).reweight(Skew(1))
    moved = start.move(kernel, Skew(1), seeded(1))
    index = torch.tensor([1, 3, 8])
    for bad, where in (
        (moved, "1 of 16"),
        (moved.reweight(Skew(2)), "1 of 16"),
        (moved[index], "1 of 3"),
        (start.put(torch.arange(8), start[torch.arange(8)].move(kernel, Skew(1), seeded(1))),
         "1 of 16"),
    ):  # fmt: skip
        for read in READERS.values():
            with pytest.raises(FloatingPointError, match=f"{said} returned .* {where} walkers"):
                read(bad)


def test_a_kernel_may_kill():
    start = Walkers.sample(normal(), 16, seeded(0), islands=2)
    moved = start.move(Faulty(-math.inf), normal(), seeded(1))
    assert int((moved.p == 0).sum()) == 1
    # and a fault of the energy is not the kernel's: an exact kernel does not undo it
    broken = start.reweight(lambda x: torch.where(x[:, 0] > 0, math.nan, x.square().sum(1)))
    with pytest.raises(FloatingPointError, match="the energy is NaN or -inf"):
        _ = broken.move(Faulty(0.0), normal(), seeded(1)).p


@pytest.mark.parametrize("value", [math.nan, -math.inf, math.inf])
def test_a_start_that_is_not_finite_is_noticed(value):
    def broken(x):
        return torch.where(torch.arange(len(x)) == 2, value, x.square().sum(1) / 2)

    x = torch.randn(8, 2, generator=seeded(0))
    if value == math.inf:
        walkers = Walkers.at(x, broken)
        assert float(walkers.p[2]) == 0.0
    else:
        with pytest.raises(FloatingPointError, match="1 of 8"):
            _ = Walkers.at(x, broken).p


def test_all_dead_is_an_error():
    walkers = Walkers.sample(normal(), 16, seeded(0), islands=2)
    first = torch.arange(16) < 8
    for energy in (
        lambda x: torch.full_like(x[:, 0], math.inf) + 0 * x[:, 0],
        lambda x: torch.where(first, math.inf, 0.0 * x[:, 0]),  # one island of the two
    ):
        dead = walkers.reweight(energy)
        for read in READERS.values():
            with pytest.raises(FloatingPointError, match="every walker of an island"):
                read(dead)


def test_errors_at_the_start():
    base = normal()
    for n in (0, 1):
        with pytest.raises(ValueError, match=f"2 or more are needed, got {n}"):
            Walkers.sample(base, n, seeded(0), islands=1)
        with pytest.raises(ValueError, match=f"2 or more are needed, got {n}"):
            Walkers.at(torch.zeros(n, 2), base)
    for islands in (3, 20, 0, -1):
        with pytest.raises(ValueError, match=f"10 walkers cannot be split into {islands}"):
            Walkers.sample(base, 10, seeded(0), islands=islands)
    for ess_min in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="ess_min is a fraction"):
            Walkers.sample(base, 8, seeded(0)).resample(ess_min, seeded(0))


def test_walkers_do_not_follow_the_callers_tensor():
    x = torch.zeros(4, 2)
    walkers = Walkers.at(x, lambda y: y.square().sum(1))
    x += 1.0
    assert float(walkers.x.abs().sum()) == 0.0
    assert math.isnan(walkers.log_z.value)
    assert Walkers.at(x, lambda y: y.square().sum(1), log_z=2.0).log_z.value == 2.0


def test_decayed_walkers_forget_weights_and_log_z():
    walkers = weighted()
    plain = walkers.decay(0.0)
    assert plain.ess == 1.0
    assert math.isnan(plain.log_z.value)
    assert torch.equal(plain.x, walkers.x)
    change = walkers.state.u - energies(Skew(4), walkers.x)
    close(plain.reweight(Skew(4)).log_w, change)
    close(walkers.decay(0.3).reweight(Skew(4)).log_w, 0.3 * walkers.log_w + change)
    assert walkers.decay(1.0) is walkers
    index = torch.arange(4)
    assert math.isnan(walkers.put(index, plain[index]).log_z.value)
    for memory in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match=r"forgetting_factor is a fraction in \[0, 1\]"):
            walkers.decay(memory)


def test_decayed_weights_of_zero_stay_zero():
    walkers = weighted()
    dead = weighing(
        walkers, log_w=walkers.log_w.clone().index_fill_(0, torch.tensor([2]), -math.inf)
    )
    for memory in (0.0, 0.5):
        assert dead.decay(memory).log_w.isneginf().nonzero().flatten().tolist() == [2]


def test_a_network_in_float32_trains_in_her_loop():
    # the loop again with a real network and float32 walkers: log_w stays float64 and right
    base = normal(3, torch.float32)
    energy = Tilted(base, MLP(3, width=8))
    walkers, rng = Walkers.sample(base, 64, seeded(0)), seeded(1)
    optimizer = torch.optim.SGD(energy.net.parameters(), lr=0.05)
    total = walkers.log_w
    for k in range(5):
        before = walkers
        walkers, u = walkers.reweight(energy, graph=True)
        total = total + (before.state.u.double() - walkers.state.u.double())
        data = torch.randn(40, 3, generator=seeded(k)) + 1.0
        optimizer.zero_grad()
        (energy(data).mean() - walkers.mean(u)).backward()
        walkers = walkers.move(Repeat(MALA(0.3), 2), energy, rng)
        optimizer.step()
    assert walkers.x.dtype == torch.float32
    assert walkers.log_w.dtype == torch.float64
    assert float(walkers.log_w.std()) > 0
    close(walkers.log_w, total, 1e-12)


# -- put away and taken up again


def stored(walkers, energy, tmp_path):
    """What a checkpoint gives back of them."""
    checkpoint.store(tmp_path, walkers.state_dict(energy))
    return checkpoint.load(tmp_path)


def test_resamplings_are_counted():
    walkers = weighted()
    assert walkers.weights.resampled == 0
    assert walkers.resample(0.0, seeded(0)).weights.resampled == 0  # nobody was low
    once = walkers.resample(1.0, seeded(0))
    assert once.weights.resampled == 1  # events, not islands
    assert once.resample(1.0, seeded(0)).weights.resampled == 1  # equal weights gain nothing
    lowered = once.reweight(Skew(7))
    assert lowered.weights.resampled == 1
    assert lowered.resample(1.0, seeded(0)).weights.resampled == 2
    index = torch.arange(4)
    part = lowered[index].resample(1.0, seeded(0))
    assert lowered.put(index, part).weights.resampled == 2
    assert lowered.decay(0.0).weights.resampled == 1
    # an untouched part does not make the others' weights their own work again
    assert lowered.put(index, walkers[index].reweight(Skew(7))).weights.resampled == 1


def test_a_part_with_a_momentum_or_without_goes_back_to_the_others():
    kernel, index = HMC.obabo(0.2), torch.arange(4)
    walkers = weighted()
    moved = walkers.move(kernel, Skew(7), seeded(0))
    assert "v" in moved.state.aux
    for whole, part in ((walkers, moved[index]), (moved, walkers[index]), (moved, moved[index])):
        both = whole.put(index, part)
        assert ("v" in both.state.aux) == ("v" in whole.state.aux and "v" in part.state.aux)
        assert "label" in both.state.aux
        assert torch.equal(both.x[4:], whole.x[4:])
        assert torch.equal(both.x[:4], part.x)
        both.move(kernel, Skew(7), seeded(1))


@pytest.mark.parametrize("resampled", [False, True])
def test_current_walkers_come_back_and_nothing_is_evaluated_again(tmp_path, resampled):
    energy = Skew(2)
    walkers = weighted().move(MALA(0.2), energy, seeded(1))
    if resampled:
        walkers = walkers.resample(1.0, seeded(3)).move(MALA(0.2), energy, seeded(4))
    saved = stored(walkers, energy, tmp_path)
    assert saved["current"]
    again = Walkers.from_state_dict(saved, energy)
    for name in ("log_w", "ancestors"):
        assert torch.equal(getattr(again.weights, name), getattr(walkers.weights, name))
    for name in ("islands", "log_z_start", "resampled", "log_z"):
        assert getattr(again.weights, name) == getattr(walkers.weights, name)
    assert again.weights.resampled == int(resampled)
    assert torch.equal(again.info["accept"], walkers.info["accept"])
    energy.rows.clear()
    assert again.reweight(energy) is again
    assert energy.rows == []
    one, other = (w.move(MALA(0.2), energy, seeded(5)) for w in (walkers, again))
    assert torch.equal(one.x, other.x)
    assert torch.equal(one.log_w, other.log_w)


def test_walkers_that_lag_come_back_lagging(tmp_path):
    # put away under parameters that they have not seen: what they saw is still in their energies
    energy = Skew(2)
    walkers = weighted().reweight(energy)
    with torch.no_grad():
        energy.a += 0.3
    saved = stored(walkers, energy, tmp_path)
    assert not saved["current"]
    again = Walkers.from_state_dict(saved, energy)
    expected = walkers.log_w + walkers.state.u - energies(energy, walkers.x)
    energy.rows.clear()
    close(again.reweight(energy).log_w, expected)
    assert energy.rows == [len(walkers)]
    close(again.move(MALA(0.2), energy, seeded(0)).log_w, expected)


@pytest.mark.parametrize("event", ["reweight", "move", "resample and move"])
def test_walkers_taken_up_under_other_parameters_have_the_right_weights(tmp_path, event):
    energy, other = Skew(2), Skew(9)
    walkers = weighted().move(MALA(0.2), energy, seeded(1))
    saved = {**stored(walkers, energy, tmp_path), "current": False}
    again = Walkers.from_state_dict(saved, other)
    expected = walkers.log_w + walkers.state.u - energies(other, walkers.x)
    if event == "reweight":
        again = again.reweight(other)
    elif event == "move":
        again = again.move(MALA(0.2), other, seeded(0))
    else:
        # the same as those which never were in a file
        walkers = walkers.resample(1.0, seeded(0))
        again = again.resample(1.0, seeded(0)).move(MALA(0.2), other, seeded(0))
        expected = walkers.log_w + walkers.state.u - energies(other, walkers.x)
    close(again.log_w, expected)
    close(again.state.u, energies(other, again.x))


def test_momenta_and_infinite_energies_come_back(tmp_path):
    energy = Skew(2)
    walkers = weighted().reweight(energy)
    u = walkers.state.u.clone()
    u[3] = math.inf
    state = walkers.state._replace(u=u, aux={"v": torch.arange(len(u)).double()})
    log_w = walkers.log_w.clone()
    log_w[3] = -math.inf
    walkers = weighing(replace(walkers, state=state), log_w=log_w, log_z_start=math.nan)
    again = Walkers.from_state_dict(stored(walkers, energy, tmp_path), energy)
    assert torch.equal(again.state.u, u)
    assert torch.equal(again.state.aux["v"], state.aux["v"])
    assert torch.equal(again.log_w, log_w)
    assert math.isnan(again.weights.log_z_start)


def test_log_weights_of_a_long_run_are_those_of_exact_arithmetic():
    # 50,000 increments of ten nats: partial sums of thousands are rounded by 5e-13 each
    rng = np.random.default_rng(0)
    steps = rng.normal(0.0, 10.0, (50_000, 4))
    weights = Weights.equal(4, 0.0)
    exact = [Fraction(0)] * 4
    for step in steps:
        weights = weights.add(torch.from_numpy(step))
        exact = [a + Fraction(b) for a, b in zip(exact, step.tolist(), strict=True)]
    off = [float(Fraction(a) - b) for a, b in zip(weights.log_w.tolist(), exact, strict=True)]
    assert max(map(abs, off)) < 1e-9


def test_log_z_of_a_long_run_is_kept_by_every_resampling():
    rng, steps = torch.Generator().manual_seed(0), torch.Generator().manual_seed(1)
    weights, change = Weights.equal(64, 1.5), 0.0
    for _ in range(5_000):
        weights = weights.add(torch.randn(64, generator=steps, dtype=torch.float64))
        before = weights.log_z.value
        weights, index = weights.resample(0.5, rng)
        change += abs(weights.log_z.value - before)
        assert index is None or float(weights.ess) == pytest.approx(1)
    assert weights.resampled > 1_000
    assert change < 1e-8
