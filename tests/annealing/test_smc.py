"""Annealing: the schedule, the pilot that finds it, and a normalising constant without bias.

Islands never exchange members (tested in test_walkers.py), so 20,000 islands of 16 walkers are
20,000 independent runs of 16, in one tensor. The judgement is at 4 standard errors over them.
"""

import math

import pytest
import torch
from torch import nn

from noneq import (
    HMC,
    MALA,
    MLP,
    ULA,
    Gaussian,
    Schedule,
    Tilted,
    Walkers,
    anneal,
    pilot,
    population,
)
from noneq.annealing import adapt_steps
from noneq.energies import Cholesky, GeometricPath, Identity
from noneq.kernels import Chain, RandomWalk, Repeat, with_momentum
from noneq.likelihood import backward
from noneq.walkers import reductions


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def modes(x):
    """Two unequal modes of unequal widths; not normalised: Z is about 3.6."""
    a = math.log(2.2 / 0.5) - ((x[:, 0] + 1.4) / 0.5).square() / 2
    b = math.log(0.7 / 0.35) - ((x[:, 0] - 1.3) / 0.35).square() / 2
    return -torch.logaddexp(a, b)


def base():
    return Gaussian(torch.tensor([0.4], dtype=torch.float64), Identity(1.2))


def quadrature(energy):
    axis = torch.linspace(-20, 20, 40_001, dtype=torch.float64)[:, None]
    log_p = -energy(axis)
    return axis, log_p.softmax(0), float(log_p.logsumexp(0)) + math.log(1e-3)


# -- schedules


def test_schedule_errors():
    k = MALA(0.1)
    for betas in ((0.0,), (), (0.0, 0.5), (0.1, 1.0), (1.0, 0.0), (0.0, math.nan)):
        with pytest.raises(ValueError, match=f"leads from .* to beta = 1, got {len(betas)} betas"):
            Schedule(betas, (k,) * len(betas))
    for betas, where in (
        ((0.0, 0.6, 0.6, 1.0), "0.6 after 0.6"),
        ((0.0, 0.7, 0.6, 1.0), "0.6 after 0.7"),
        ((0.0, math.nan, 1.0), "nan after 0 "),
    ):
        with pytest.raises(ValueError, match=f"increase strictly from 0 to 1, got {where}"):
            Schedule(betas, (k,) * len(betas))
    with pytest.raises(ValueError, match="scales is empty"):
        Schedule.uniform(2, k).cycled(())
    with pytest.raises(ValueError, match="3 betas need as many kernels, got 2"):
        Schedule((0.0, 0.5, 1.0), (k, k))
    with pytest.raises(ValueError, match="1 or more steps, got 0"):
        Schedule.uniform(0, k)
    uniform = Schedule.uniform(4, k)
    assert uniform.betas == (0.0, 0.25, 0.5, 0.75, 1.0)
    assert uniform.kernels == (k,) * 5
    assert len(uniform) == 4


def test_resized_keeps_the_shape():
    kernels = tuple(MALA(h) for h in (1.0, 2.0, 3.0, 4.0))
    schedule = Schedule((0.0, 0.1, 0.4, 1.0), kernels)
    assert schedule.resized(3) == schedule
    six = schedule.resized(6)
    assert six.betas == pytest.approx((0, 0.05, 0.1, 0.25, 0.4, 0.7, 1.0))
    assert [k.h for k in six.kernels][::2] == [1.0, 2.0, 3.0, 4.0]
    assert all(a.h <= b.h for a, b in zip(six.kernels, six.kernels[1:], strict=False))
    assert schedule.resized(1).betas == (0.0, 1.0)
    assert schedule.resized(1).kernels == (kernels[0], kernels[-1])
    for steps in (1, 2, 5, 7, 100):
        assert len(schedule.resized(steps)) == steps
    for steps in (0, -1):
        with pytest.raises(ValueError, match=r"steps|betas"):
            schedule.resized(steps)


def test_a_cycle_of_steps_ends_with_the_full_one():
    kernels = tuple(MALA(1.0 + i) for i in range(8))
    plain = Schedule(tuple(i / 7 for i in range(8)), kernels)
    found = plain.cycled((1.0, 0.3, 0.1))
    assert found.betas == plain.betas
    scales = [k.h / old.h for k, old in zip(found.kernels, kernels, strict=True)]
    assert scales[::-1] == pytest.approx([1.0, 0.3, 0.1, 1.0, 0.3, 0.1, 1.0, 0.3])
    assert plain.cycled((1.0,)).kernels == kernels


def test_the_way_back_is_the_mirror_image():
    schedule = Schedule((0.0, 0.1, 0.4, 1.0), tuple(MALA(h) for h in (1.0, 2.0, 3.0, 4.0)))
    path = GeometricPath(base(), modes)
    there = [(energy.beta, kernel.h) for energy, kernel in schedule.forward(path)]
    *back, (end, kernel) = schedule.backward(path)
    assert there == [(0.1, 2.0), (0.4, 3.0), (1.0, 4.0)]
    assert [(energy.beta, kernel.h) for energy, kernel in back] == there[::-1]
    assert end.beta == 0.0
    assert kernel is None


def test_a_chain_is_mirrored_part_by_part():
    a, b, c = MALA(0.1), ULA(0.2), MALA(0.3)
    schedule = Schedule.uniform(1, Repeat(Chain((a, Repeat(Chain((b, c)), 2))), 3))
    (_, kernel), _ = schedule.backward(GeometricPath(base(), modes))
    assert kernel == Repeat(Chain((Repeat(Chain((c, b)), 2), a)), 3)


# -- the pilot


@pytest.mark.parametrize("cess", [0.8, 0.95])
def test_pilot_leaves_about_cess_at_every_step(cess):
    # judged on 20,000 other walkers; the pilot has 2,000: its own error is about 0.01
    path = GeometricPath(base(), modes)
    schedule = pilot(path, MALA(0.5), seeded(1), n=2000, cess=cess)
    assert schedule.betas[0] == 0.0
    assert schedule.betas[-1] == 1.0
    assert len(schedule) >= 3
    rng, left = seeded(2), []
    walkers = Walkers.sample(base(), 20_000, rng, islands=1)
    for model, kernel in schedule.forward(path):
        before, walkers = walkers, walkers.reweight(model)
        left.append(float(reductions.conditional_ess(before.log_w, walkers.log_w - before.log_w)))
        walkers = walkers.resample(0.5, rng).move(kernel, model, rng)
    assert left[:-1] == pytest.approx([cess] * (len(left) - 1), abs=0.03)
    assert left[-1] > cess - 0.03


def test_pilot_tunes_the_kernel():
    # from a step that accepts nearly everything; the adaptation lags behind the temperature, which
    # asks for steps that shrink sevenfold, so a fast rate is taken
    path = GeometricPath(base(), modes)
    schedule = pilot(path, MALA(1e-2, rate=2.0), seeded(1), n=1000)
    rng = seeded(2)
    walkers = Walkers.sample(base(), 5000, rng)
    walkers = walkers.move(schedule.kernels[0], path.at(0.0), rng)
    assert float(walkers.info["accept"]) == pytest.approx(0.6, abs=0.05)
    for model, kernel in schedule.forward(path):
        walkers = walkers.reweight(model).resample(0.5, rng).move(kernel, model, rng)
        assert float(walkers.info["accept"]) == pytest.approx(0.6, abs=0.1)


def test_steps_are_tuned_where_they_are_used():
    wide, narrow = (Gaussian(torch.zeros(3), Cholesky(torch.eye(3) * v)) for v in (1.0, 0.03))
    betas = tuple((i / 30) ** 2 for i in range(31))
    schedule = Schedule(betas, (MALA(0.2),) * 31)
    found = adapt_steps(GeometricPath(wide, narrow), schedule, seeded(0))
    assert found.betas == betas
    for kernel, energy in ((found.kernels[0], wide), (found.kernels[-1], narrow)):
        walkers = Walkers.at(energy.sample(4000, seeded(1)), energy).move(
            kernel, energy, seeded(2)
        )
        assert abs(float(walkers.info["accept"]) - 0.6) < 0.15
    assert found.kernels[0].h > 10 * found.kernels[-1].h


def test_pilot_errors():
    path, rng = GeometricPath(base(), modes), seeded(0)
    for cess in (0.0, 1.0, -0.1, 1.5, math.nan):
        with pytest.raises(ValueError, match=r"cess is a fraction in \(0, 1\)"):
            pilot(path, MALA(0.5), rng, cess=cess)
    with pytest.raises(ValueError, match="must start at an energy with sample"):
        pilot(GeometricPath(modes, base()), MALA(0.5), rng)
    with pytest.raises(RuntimeError, match="4 temperatures reached only beta"):
        pilot(path, MALA(0.5), rng, cess=0.99, most=4)


# -- the normalising constant


KERNELS = {"MALA": MALA(0.3), "ULA": ULA(0.06), "ULA fresh": ULA(0.06, refresh=True),
           "Repeat MALA": Repeat(MALA(0.2), 2)}  # fmt: skip


@pytest.mark.parametrize("ess_min", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("name", KERNELS)
def test_annealing_gives_an_unbiased_normalising_constant(name, ess_min):
    # seed 31; 20,000 runs of 16 walkers; E Z-hat = Z and E Z-hat mean(x) = Z E x, exactly
    axis, p, log_z = quadrature(modes)
    schedule = Schedule((0.0, 0.05, 0.2, 0.5, 1.0), (KERNELS[name],) * 5)
    rng = seeded(31)
    walkers = Walkers.sample(base(), 320_000, rng, islands=20_000)
    walkers = anneal(schedule.forward(GeometricPath(base(), modes)), walkers, rng, ess_min=ess_min)
    w = (walkers.log_w + walkers.weights.log_z_start - log_z).exp().view(20_000, 16)
    x = walkers.x.view(20_000, 16)
    for runs, truth in ((w.mean(1), 1.0), ((w * x).mean(1), float(p @ axis[:, 0]))):
        error = float(runs.std()) / math.sqrt(20_000)
        assert error < 0.03, "an error bar that would hide anything"
        assert abs(float(runs.mean()) - truth) < 4 * error
    resampled = not torch.equal(walkers.weights.ancestors, torch.arange(320_000))
    assert resampled == (ess_min > 0)


def test_annealing_backwards_gives_the_inverse_ratio():
    # seed 32; 5,000 runs of 16, from exact samples of the model (inverse distribution function)
    axis, p, log_z = quadrature(modes)
    rng = seeded(32)
    uniform = torch.rand(80_000, generator=rng, dtype=torch.float64)
    start = axis[torch.searchsorted(p.cumsum(0), uniform).clamp(max=len(axis) - 1)]
    path = GeometricPath(base(), modes)
    schedule = Schedule((0.0, 0.05, 0.2, 0.5, 1.0), (MALA(0.3),) * 5)
    walkers = Walkers.at(start, modes, log_z=log_z, islands=5000)
    walkers = anneal(schedule.backward(path), walkers, rng, ess_min=0.7)
    z = walkers.log_w.view(5000, 16).exp().mean(1) * math.exp(log_z - base().log_z())
    assert abs(float(z.mean()) - 1) < 4 * float(z.std()) / math.sqrt(5000)
    assert walkers.log_z.value == pytest.approx(base().log_z(), abs=4 * walkers.log_z.stderr)


def test_backward_chains_start_half_from_data_half_from_the_model():
    # a planted mode shows only if the two halves differ; walkers of weight 0 start nothing
    start = Gaussian(torch.zeros(2), Identity())
    for n, rows in ((64, 7), (64, 500)):
        forward = Walkers.sample(start, n, seeded(0), islands=8)
        forward = forward.reweight(lambda x: torch.where(x[:, 0] > 0, x.sum(1), math.inf))
        data = torch.randn(rows, 2, generator=seeded(1)) - 9.0
        x, _ = backward._starts(forward, data, seeded(2))
        assert x.shape == (n, 2)
        for half, source in ((x[: n // 2], data), (x[n // 2 :], forward.x[forward.p > 0])):
            assert bool((half[:, None] == source).all(2).any(1).all())
        copies = (x[: n // 2, None] == data).all(2).sum(0)
        assert int(copies.max()) <= math.ceil(n / 2 / rows), "no row far more often than others"
        x, _ = backward._starts(forward, None, seeded(2))
        assert bool((x[:, None] == forward.x[forward.p > 0]).all(2).any(1).all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_hard_wall_can_be_annealed_to(dtype):
    # seed 33; N(0, 1) cut off at -0.5, tilted: Z by quadrature; the dead have weight 0
    def wall(x):
        return torch.where(x[:, 0] > -0.5, x[:, 0].square() / 2 + 0.5 * x[:, 0], math.inf)

    axis = (torch.arange(20_000, dtype=torch.float64)[:, None] + 0.5) / 2000 - 0.5
    log_z = float((-wall(axis)).logsumexp(0)) - math.log(2000)
    start = Gaussian(torch.zeros(1, dtype=dtype), Identity())
    path, rng = GeometricPath(start, wall), seeded(33)
    schedule = pilot(path, MALA(0.5), rng, cess=0.9)
    assert len(schedule) < 30
    walkers = Walkers.sample(start, 20_000, rng, islands=200)
    walkers = anneal(schedule.resized(2 * len(schedule)).forward(path), walkers, rng)
    assert walkers.log_z.value == pytest.approx(log_z, abs=4 * walkers.log_z.stderr)
    assert walkers.log_z.stderr < 0.05
    assert bool((walkers.x[walkers.p > 0] > -0.5).all())


@pytest.mark.parametrize("steps", [1, 5])
@pytest.mark.parametrize("kernel", [MALA(0.1), ULA(0.1)], ids=repr)
def test_a_path_shares_evaluations(kernel, steps):
    # one evaluation of the network a temperature, and one for the start; on the way back, too
    net = MLP(3, width=8)
    nn.init.normal_(net.net[-1].weight, generator=seeded(0))
    rows = []
    net.register_forward_hook(lambda _, args, __: rows.append(len(args[0])))
    start = Gaussian(torch.zeros(3), Identity())
    schedule = Schedule.uniform(steps, kernel)
    for end in (Tilted(start, net), net):  # sharing its base with the path or not
        rows.clear()
        walkers = Walkers.sample(start, 40, seeded(1))
        path = GeometricPath(start, end)
        walkers = anneal(schedule.forward(path), walkers, seeded(2), ess_min=0.9)
        assert rows == [40] * (steps + 1)
        u = end(walkers.x).detach()
        torch.testing.assert_close(walkers.state.u, u, rtol=0, atol=1e-5)
        rows.clear()
        walkers = Walkers.at(walkers.x, path.at(1.0))
        anneal(schedule.backward(path), walkers, seeded(3), ess_min=0.9)
        assert rows == [40] * (steps + 1)


def test_a_path_is_the_weighted_mean_of_its_ends():
    net = MLP(1, width=8).double()
    nn.init.normal_(net.net[-1].weight, generator=seeded(0))
    start = base()
    x = torch.randn(10, 1, generator=seeded(1), dtype=torch.float64)
    other = Gaussian(torch.tensor([-0.5], dtype=torch.float64), Identity(0.7))
    for end in (modes, Tilted(start, net), Tilted(other, net)):
        path = GeometricPath(start, end)
        for beta in (0.0, 0.3, 1.0):
            expected = (1 - beta) * start(x) + beta * end(x)
            torch.testing.assert_close(path.at(beta)(x), expected.detach())
            u, cache = path.at(beta).evaluate(x)
            leaf = x.clone().requires_grad_(True)
            ((1 - beta) * start(leaf) + beta * end(leaf)).sum().backward()
            torch.testing.assert_close(cache["g"], leaf.grad)
            again, same = path.at(beta).evaluate(x, previous_cache=path.at(0.7).evaluate(x)[1])
            torch.testing.assert_close(again, u)
            torch.testing.assert_close(same["g"], cache["g"])
        for beta in (-0.1, 1.1, math.nan):
            with pytest.raises(ValueError, match=r"beta is in \[0, 1\]"):
                path.at(beta)


def test_a_new_path_after_an_update_is_not_taken_for_the_old_one():
    net = MLP(1, width=8).double()
    start = base()
    end = Tilted(start, net)
    walkers = Walkers.sample(start, 16, seeded(0)).reweight(GeometricPath(start, end).at(1.0))
    nn.init.normal_(net.net[-1].weight, generator=seeded(1))
    after = walkers.reweight(GeometricPath(start, end).at(1.0))
    change = walkers.state.u - end(walkers.x).detach()
    assert float(change.abs().max()) > 0.01
    torch.testing.assert_close(after.log_w - walkers.log_w, change)


def test_annealing_without_a_kernel_keeps_momenta() -> None:
    # one evaluation a temperature, as MALA; other kernels are taken as they are
    assert isinstance(with_momentum(MALA(0.3)), HMC)
    assert with_momentum(kernel := RandomWalk(0.3)) is kernel
    path = GeometricPath(
        Gaussian(torch.zeros(3), Identity()), Gaussian(torch.full((3,), 2.0), Identity())
    )
    walkers, schedule = population(path, 16, 5, rng=seeded(0))
    assert walkers.state.aux["v"].shape == (16, 3)
    assert all(k.leapfrog_steps == 1 and k.friction == 1.0 for k in schedule.kernels)


@pytest.mark.parametrize(("n", "temperatures"), [(16, 10), (64, 50), (1024, 200)])
def test_a_pilot_is_no_larger_than_what_it_is_for(n, temperatures):
    # rows that the energy is asked for: the pilot's and, after it, the population's
    rows = []

    def energy(x):
        rows.append(len(x))
        return (x - 4.0).square().sum(1) / 2

    path = GeometricPath(Gaussian(torch.zeros(5), Identity()), energy)
    population(path, n, temperatures, rng=seeded(0))
    assert sum(rows) < 3 * n * temperatures
    assert max(rows) == n
