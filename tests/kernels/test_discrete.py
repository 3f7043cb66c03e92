"""Kernels on discrete sites against their whole transition matrices, in float64."""

import math

import pytest
import torch
from targets import bits, on, one_hots, potts, rbm, seeded, seen, triangle

from noneq import Walkers
from noneq.energies import Categorical, evaluate
from noneq.kernels import DiscreteLangevin, GibbsWithGradients, metropolis
from noneq.random import draw_state
from noneq.spaces import ONE_HOT


def square(model):
    """The same on 2 x 2 sites."""
    return on(model.space, lambda x: model(x.flatten(1)))


def one_site(seed):
    model = potts(seed)
    return lambda x: model(torch.stack([x, x.roll(1, -1)], 1))


SITES = {  # name: (seed -> energy), its states
    "bits": (lambda seed: rbm(seed=seed), bits(4)),
    "2 x 2 bits": (lambda seed: square(rbm(seed=seed)), bits(4).view(-1, 2, 2)),
    "one-hot": (lambda seed: potts(seed), one_hots(2, 3)),
    "one site": (lambda seed: on(ONE_HOT, one_site(seed)), one_hots(1, 3)[:, 0]),
}
every_kind_of_site = pytest.mark.parametrize("kind", SITES)


def changed(states):
    """How many sites differ between every two states (S, S)."""
    apart = states[:, None] != states
    apart = apart.any(-1) if (states.sum(-1) == 1).all() else apart
    return apart.reshape(len(states), len(states), -1).sum(2).double()


def one_change(model, states):
    """log q(t | s) (S, S) of Gibbs with gradients, normalised over all states."""
    g = evaluate(model, states)[1]["g"]
    gain = -((states - states[:, None]) * g[:, None]).flatten(2).sum(2) / 2
    return gain.masked_fill(changed(states) != 1, -math.inf).log_softmax(1)


def all_changes(model, states, h):
    """log q(t | s) (S, S) of discrete Langevin, normalised over all states."""
    g = evaluate(model, states)[1]["g"]
    gain = -((states - states[:, None]) * g[:, None]).flatten(2).sum(2) / 2
    return (gain - changed(states) / (4 * h)).log_softmax(1)


def index(x, states):
    return (x[:, None] == states).flatten(2).all(2).double().argmax(1)


def draws(kernel, model, states, times, known=None):
    """Start and end (S * times,) of moves from every state, and their increments."""
    begin = torch.arange(len(states)).repeat_interleave(times)
    new, increment, _ = kernel(model, seen(known or model, states[begin]), seeded(31))
    return begin, index(new.x, states), increment


def proposals(monkeypatch):
    """Kernels that accept and reject then show what they propose, and the ratio they look at."""
    monkeypatch.setattr("noneq.kernels.discrete.metropolis", lambda old, new, r, rng: (new, r, {}))


@every_kind_of_site
def test_the_ratio_is_that_of_the_whole_transition_matrix(kind, monkeypatch):
    # U(x) + log q(x | y) - U(y) - log q(y | x), to rounding: detailed balance is then exact
    proposals(monkeypatch)
    make, states = SITES[kind]
    model = make(3)
    u = model(states).detach()
    for kernel, log_q in (
        (GibbsWithGradients(), one_change(model, states)),
        (DiscreteLangevin(0.2), all_changes(model, states, 0.2)),
        (DiscreteLangevin(1.5), all_changes(model, states, 1.5)),
    ):
        s, t, ratio = draws(kernel, model, states, 100)
        expected = u[s] - u[t] + log_q[t, s] - log_q[s, t]
        assert float((ratio - expected).abs().max()) < 1e-10
        assert len(set(zip(s.tolist(), t.tolist(), strict=True))) >= 2 * len(states)


@every_kind_of_site
@pytest.mark.parametrize("h", [0.2, 1.5])
def test_the_weight_of_a_stale_state_is_that_of_two_transition_matrices(kind, h):
    # forward with the energy last seen, back with the present one
    make, states = SITES[kind]
    old, model = make(2), make(3)
    forth, back = all_changes(old, states, h), all_changes(model, states, h)
    s, t, increment = draws(DiscreteLangevin(h, adjusted=False), model, states, 100, old)
    expected = old(states)[s] - model(states)[t] + back[t, s] - forth[s, t]
    assert float((increment - expected.detach()).abs().max()) < 1e-10


@every_kind_of_site
def test_proposals_are_drawn_by_the_transition_matrix(kind, monkeypatch):
    # seed 31; 5,000 from every state; binomial standard errors
    proposals(monkeypatch)
    make, states = SITES[kind]
    model, n = make(3), 5000
    for kernel, log_q in (
        (GibbsWithGradients(), one_change(model, states)),
        (DiscreteLangevin(0.4), all_changes(model, states, 0.4)),
    ):
        s, t, _ = draws(kernel, model, states, n)
        counts = torch.zeros_like(log_q).index_put((s, t), torch.ones(len(s)).double(), True)
        p = log_q.exp()
        assert bool((counts[p < 1e-12] == 0).all())
        common = p * (1 - p) * n > 10
        z = ((counts / n - p) / (p * (1 - p) / n).sqrt())[common]
        assert len(z) > len(states)
        assert float(z.abs().max()) < 4


def test_accepted_moves_leave_the_model_invariant_state_by_state():
    # seed 32; 300,000 exact draws of 8 states, after 3 moves still distributed so
    model, states = triangle(), bits(3)
    p = (-model(states)).softmax(0)
    for kernel in (GibbsWithGradients(), DiscreteLangevin(1.0)):
        rng = seeded(32)
        begin = torch.multinomial(p, 300_000, replacement=True, generator=rng)
        walkers = Walkers.at(states[begin], model)
        for _ in range(3):
            walkers = walkers.move(kernel, model, rng)
        counts = index(walkers.x, states).bincount(minlength=8)
        z = (counts / 300_000 - p) / (p * (1 - p) / 300_000).sqrt()
        assert float(z.abs().max()) < 4
        assert float((index(walkers.x, states) != begin).double().mean()) > 0.2


@pytest.mark.parametrize("outside", [math.inf, math.nan])
def test_states_that_are_forbidden_are_never_entered(outside):
    # two bits are never both 1
    energy = on(triangle().space, lambda x: torch.where(x.prod(1) > 0, outside, x @ x.new_ones(2)))
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]).repeat(100, 1)
    for kernel in (GibbsWithGradients(), DiscreteLangevin(2.0)):
        walkers = Walkers.at(x, energy)
        for _ in range(5):
            walkers = walkers.move(kernel, energy, seeded(0))
        assert bool((walkers.x.prod(1) == 0).all())
        assert not torch.equal(walkers.x, x)


def test_the_gumbel_trick_draws_from_the_softmax():
    # seed 33; 200,000 draws of 3, one of them impossible
    logits = torch.tensor([0.5, -math.inf, -0.7], dtype=torch.float64)
    drawn = draw_state(logits.expand(200_000, 3), seeded(33)).bincount(minlength=3) / 200_000
    p = logits.softmax(0)
    assert drawn[1] == 0
    z = (drawn - p)[[0, 2]] / (p * (1 - p) / 200_000).sqrt()[[0, 2]]
    assert float(z.abs().max()) < 4


def test_what_unadjusted_kernels_do_not_tune():
    unadjusted, adjusted = DiscreteLangevin(0.3, adjusted=False), DiscreteLangevin(0.3, rate=1.0)
    info = {"accept": torch.tensor(0.5)}
    assert unadjusted.adapt(info) is unadjusted
    assert adjusted.adapt(info).h == pytest.approx(0.3 * math.exp(0.5 - 0.6))
    assert adjusted.scaled(2.0).h == pytest.approx(0.6)
    assert GibbsWithGradients().scaled(2.0) == GibbsWithGradients()
    assert GibbsWithGradients().adapt(info) == GibbsWithGradients()


def test_metropolis_accepts_with_the_probability_of_the_ratio():
    # seed 34; 100,000 of each ratio; what is not finite is rejected, what is no energy counted
    n = 100_000
    old = seen(Categorical(torch.zeros(2)), torch.tensor([[1.0, 0.0]]).repeat(6 * n, 1))
    ratios = torch.tensor([-2.0, -0.4, 0.0, 3.0, math.nan, 3.0], dtype=torch.float64)
    u = torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0, -math.inf]).repeat_interleave(n)
    new = old._replace(x=old.x.flip(1), u=u, cache={"g": old.cache["g"] + 1})
    after, increment, info = metropolis(old, new, ratios.repeat_interleave(n), seeded(34))
    accepted = (after.x != old.x).any(1)
    rates = accepted.view(6, n).double().mean(1)
    p = torch.tensor([math.exp(-2.0), math.exp(-0.4)])
    assert float(((rates[:2] - p) / (p * (1 - p) / n).sqrt()).abs().max()) < 4
    assert rates[2:].tolist() == [1.0, 1.0, 0.0, 0.0]
    assert float(info["accept"].mean()) == pytest.approx(float(rates.mean()), abs=1e-6)
    assert float(info["fault"].mean()) == pytest.approx(1 / 6, abs=1e-6)
    assert torch.equal(after.u == u, accepted), "energies and gradients go with the positions"
    assert torch.equal((after.cache["g"] != old.cache["g"]).any(1), accepted)
    assert not increment.any()
