"""The bias study's own functions on RBMs of 6 bits, whose every law is a vector of 64 numbers.

Statistical tests: seeds as given, standard errors over independent populations, judged at 4 of
them. RBMs are random, without any symmetry.
"""

from dataclasses import replace

import pytest
import torch
from torch.nn.utils import parameters_to_vector

import noneq
from experiments.cd_bias import remedy as bias_remedy
from experiments.cd_bias import training as bias_training
from experiments.cd_bias.course import COURSES, Course, Truth, exact, log_z, moments, recorded
from experiments.cd_bias.law import Sweep, response, states
from experiments.cd_bias.remedy import REMEDIES
from experiments.cd_bias.training import CELLS
from experiments.cd_bias.walks import Sampler, judge, ladder, swap, walk
from experiments.rbm.sets import far_clusters
from noneq.models.rbm.layers import bits

D, M = 6, 3


def machine(seed=0, scale=1.5):
    rng = torch.Generator().manual_seed(seed)
    w, b, c = (scale * torch.randn(s, generator=rng) for s in ((D, M), (D,), (M,)))
    return noneq.BernoulliRBM(w, b, c, mu=0.3 * b.sigmoid(), lam=0.2 + 0.5 * c.sigmoid())


def course(updates=6, size=2.0):
    """From one random RBM towards another, with a kink halfway."""
    rbm = machine()
    ends = [parameters_to_vector(machine(s).parameters()).detach() for s in (0, 1, 2)]
    legs = [ends[1] - ends[0], ends[2] - ends[1]]
    thetas = [ends[0]]
    for t in range(updates):
        thetas.append(thetas[-1] + size / updates * legs[2 * t // updates])
    data = rbm.sample(50, torch.Generator().manual_seed(5))
    made = Course("small", rbm, data, torch.stack(thetas))
    made.place(updates)
    made.truths[updates] = Truth(exact(rbm), 1.0)
    return made


def every():
    return bits(torch.arange(2**D), D).float()


def test_exact_moments_are_sums_over_all_visible_states():
    rbm = machine(3)
    p = (-rbm(every()).detach().double()).softmax(0)
    torch.testing.assert_close(
        exact(rbm), moments(rbm, every()[None], p[None])[0], atol=1e-6, rtol=1e-5
    )
    assert log_z(rbm) == pytest.approx(rbm.log_z(), abs=1e-5)


def test_moments_are_the_rbms_own_gradient():
    # but for mu lam^T, which is the same in the data and in the model
    rbm, p = machine(4), torch.rand(2, 64, dtype=torch.float64)
    p = p / p.sum(1, keepdim=True)
    x = torch.stack([every(), every().flip(0)])
    grads = []
    for v, q in zip(x, p.float(), strict=True):
        rbm.zero_grad()
        (q * rbm(v)).sum().backward()
        w = rbm.w.grad - torch.outer(rbm.mu, rbm.lam)
        grads.append(-torch.cat([w.flatten(), rbm.b.grad, rbm.c.grad]))
    torch.testing.assert_close(
        moments(rbm, x, p).float(), torch.stack(grads), atol=2e-5, rtol=1e-4
    )


def test_a_sweep_is_a_transition_that_leaves_its_model():
    sweep = Sweep.of(course().machine(3), every().double())
    for matrix in (sweep.up, sweep.down, sweep.hidden()):
        torch.testing.assert_close(matrix.sum(1), torch.ones(len(matrix), dtype=torch.float64))
    torch.testing.assert_close(sweep(sweep.rho, 3), sweep.rho)
    other = Sweep.of(course().machine(0), every().double())
    assert float((sweep(other.rho) - other.rho).abs().sum()) > 0.01


@pytest.mark.parametrize("k", [1, 2])
def test_chains_follow_the_exact_law(k):
    along = course()
    predicted = response(along, (k,))[len(along)][0].exact
    found = [walk_moments(along, k, seed) for seed in range(16)]
    off = torch.stack(found) - along.truths[len(along)].mean
    # along the bias itself, where it is largest
    each = off @ predicted / predicted.norm()
    stderr = float(each.std()) / 4
    assert abs(float(each.mean() - predicted.norm())) < 4 * stderr
    assert float(predicted.norm()) > 8 * stderr


def walk_moments(along, k, seed, n=2**15):
    rng = torch.Generator().manual_seed(seed)
    v = along.data[torch.randint(len(along.data), (n,), generator=rng)]
    for t in range(1, len(along) + 1):
        m = along.machine(t)
        for _ in range(k):
            v = m.sweep(m.pre(v), rng)
    return moments(
        along.place(len(along)), v[None], torch.full((1, n), 1 / n, dtype=torch.float64)
    )[0]


def test_linear_response_is_right_to_first_order():
    # the start's own distance from the model is in both: chains start as exact samples here
    off = []
    for size in (0.2, 0.1):
        along = course(size=size)
        v = states(along)
        rho = Sweep.of(along.machine(0), v).rho
        rows = torch.multinomial(rho, 100_000, True, generator=torch.Generator().manual_seed(0))
        along = Course("small", along.rbm, v[rows].float(), along.thetas, along.truths)
        found = response(along, (2,))[len(along)][0]
        off.append(float((found.exact - found.linear).norm()))
        assert off[-1] < 0.25 * float(found.exact.norm())
    assert 3 < off[0] / off[1] < 5


def test_the_walk_measures_the_predicted_bias():
    along = course()
    predicted = response(along, (1,))[len(along)][0].exact.square().sum()
    found = walk(along, Sampler("PCD-1"), 64, 256)[0]
    assert abs(found.bias2 / 256 - float(predicted)) < 4 * found.stderr / 256
    weighted = walk(along, Sampler("weighted", weighted=True), 64, 256)[0]
    assert abs(weighted.bias2) < 4 * max(weighted.stderr, weighted.variance / 64)
    assert found.bias2 > 8 * abs(weighted.bias2)


def test_judging_exact_samples_finds_no_bias_and_variance_one():
    rbm, rng = machine(7), torch.Generator().manual_seed(1)
    x = rbm.sample(2**16, rng).view(1024, 64, D)
    one = moments(rbm, x.view(-1, 1, D), torch.ones(2**16, 1, dtype=torch.float64))
    truth = Truth(exact(rbm), float(one.var(0).sum()))
    found = judge(moments(rbm, x, torch.full((1024, 64), 1 / 64, dtype=torch.float64)), truth, 64)
    assert abs(found.bias2) < 4 * found.stderr + 1 / 1024
    assert found.variance == pytest.approx(1, abs=0.1)


def test_swaps_leave_the_product_of_models():
    rng, n = torch.Generator().manual_seed(0), 40_000
    models = [course(size=0.7).machine(t) for t in (0, 3, 6)]
    v = torch.stack([m.sample(n, rng) for m in models])
    after = swap(models, swap(models, v, rng, 0), rng, 1)
    moved = (after != v).any(-1).float().mean(1)
    assert bool((moved > 0.1).all())
    for old, new in zip(v, after, strict=True):
        stderr = (old.var(0) / n + new.var(0) / n).sqrt()
        assert bool(((old.mean(0) - new.mean(0)).abs() < 4 * stderr).all())


@pytest.mark.parametrize("kind", ["temperatures", "checkpoints"])
def test_a_ladder_ends_at_the_model(kind):
    along = course()
    models = ladder(along, Sampler("", ladder=kind, levels=4), 6)
    assert len(models) == 4
    end = along.machine(6)
    assert torch.equal(models[-1].pre(every()), end.pre(every()))
    first = models[0].pre(every())
    if kind == "checkpoints":
        assert torch.equal(first, along.machine(0).pre(every()))
    else:
        assert float(first.abs().max()) == 0.0


@pytest.mark.parametrize("kind", ["temperatures", "checkpoints"])
def test_exchange_measures_the_model(kind):
    # long at one model: no bias is left
    still = course(size=0.0, updates=40)
    found = walk(still, Sampler("", ladder=kind, levels=4), 64, 256)[0]
    assert abs(found.bias2) < 4 * max(found.stderr, found.variance / 64)


def test_a_course_is_the_same_every_time_and_learns():
    one, again = (recorded("far 14", updates=20) for _ in range(2))
    assert torch.equal(one.thetas, again.thetas)
    likelihoods = [
        float(one.place(t)(one.data).detach().double().mean()) + log_z(one.rbm) for t in (0, 20)
    ]
    assert likelihoods[1] < likelihoods[0] - 1
    assert set(one.truths) == {20}
    assert set(COURSES) == {"fifty", "far", "bars", "far 14", "digits"}


# -- training


def test_the_table_is_factorial_and_every_run_has_the_same_sweeps():
    twelve = [(c.weighted, c.memory, c.trust, c.start) for c in CELLS[:12]]
    assert sorted(set(twelve)) == sorted(twelve)
    assert len({kind[:2] for kind in twelve}) == 3
    for cell in (*CELLS, *REMEDIES):
        settings = cell.settings(cell.trials[0])
        assert settings.moves * cell.updates == bias_training.SWEEPS
        assert (settings.weighted, settings.start) == (cell.weighted, cell.start)
        assert settings.forgetting_factor == cell.memory
        assert (settings.tau is not None) == cell.trust
        assert len(cell.trials) == 4


@pytest.mark.parametrize(
    "cell", [c for c in REMEDIES if c.renew or c.ladder], ids=lambda c: c.name
)
def test_a_remedy_learns_at_the_same_updates(cell, monkeypatch):
    monkeypatch.setattr(bias_training, "SWEEPS", 60)
    monkeypatch.setattr(bias_remedy, "KEEP", 5)
    monkeypatch.setattr(bias_remedy, "RENEW", 15)
    small = replace(cell, rows=64)
    data = far_clusters().train[:400]
    rbm = noneq.BernoulliRBM.from_data(data, 3, torch.Generator().manual_seed(0), scale=0.05)
    first = float(rbm(data).detach().mean()) + log_z(rbm)
    assert list(bias_remedy.learn(small, rbm, data, 0.5, 0)) == list(range(1, 31))
    assert float(rbm(data).detach().mean()) + log_z(rbm) < first - 2


def test_the_trial_is_chosen_by_validation_alone():
    runs = [
        bias_training.Result("far", "", 0, t, stopped, held, fresh, 0.0, 0.8, 0.0)
        for t, stopped, held, fresh in ((1.0, 5, 0.3, 0.1), (2.0, 5, 0.2, 0.9), (3.0, 0, 0.1, 0.0))
    ]
    assert bias_training.best(runs).trial == 2.0  # the third never got anywhere
