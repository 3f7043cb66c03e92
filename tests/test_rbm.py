"""The restricted Boltzmann machine against sums over all states of both layers."""

import pytest
import torch
from targets import bits, rbm, seeded

from noneq import (
    Bernoulli,
    BernoulliRBM,
    BlockGibbs,
    ParameterPath,
    Settings,
    Walkers,
    check_energy,
    evaluate,
    train,
)
from noneq.rbm import MOST

SHAPES = pytest.mark.parametrize(("d", "m"), [(4, 3), (3, 5)])


def joint(model):
    """log of exp(b.v + c.h + v W h) for every pair (2^d, 2^m), one by one."""
    d, m = model.w.shape
    v, h = bits(d), bits(m)
    with torch.no_grad():
        return torch.stack([(v @ model.b) + (k @ model.c) + v @ (model.w @ k) for k in h], 1)


@SHAPES
def test_free_energy_and_log_z_are_sums_over_hidden_units(d, m):
    model = rbm(d, m)
    log_p = joint(model)
    torch.testing.assert_close(-model(bits(d)).detach(), log_p.logsumexp(1))
    assert model.log_z() == pytest.approx(float(log_p.logsumexp((0, 1))), abs=1e-10)
    assert model.float().log_z() == pytest.approx(float(log_p.logsumexp((0, 1))), abs=1e-5)


def test_many_states_are_summed_over_in_parts():
    model = rbm(17, 15, seed=4)
    h = bits(15)
    with torch.no_grad():
        given = h @ model.c + torch.nn.functional.softplus(model.b + h @ model.w.T).sum(1)
    assert model.log_z() == pytest.approx(float(given.logsumexp(0)), abs=1e-9)


@SHAPES
def test_its_own_evaluation_is_that_of_its_formula(d, m):
    model, v = rbm(d, m), bits(d)
    u, cache = evaluate(model, v)
    plain, auto = evaluate(lambda x: model(x), v)
    torch.testing.assert_close(u, plain)
    torch.testing.assert_close(cache["g"], auto["g"])
    torch.testing.assert_close(cache["pre"], (model.c + v @ model.w).detach())
    assert not u.requires_grad
    graph, _ = evaluate(model, v, graph=True)
    grads = [torch.autograd.grad(f(v).sum(), [model.w, model.b, model.c]) for f in (model,)]
    own = torch.autograd.grad(graph.sum(), [model.w, model.b, model.c])
    for a, b in zip(own, grads[0], strict=True):
        torch.testing.assert_close(a, b)
    check_energy(model, v)


@SHAPES
def test_exact_samples_are_distributed_as_the_sums_say(d, m):
    # seed 51; 200,000; binomial standard errors of all 2^d states
    model = rbm(d, m)
    p = joint(model).logsumexp(1).softmax(0)
    x = model.sample(200_000, seeded(51))
    z = z_of_counts(x, p, d)
    assert float(z.abs().max()) < 4


def z_of_counts(x, p, d):
    n = len(x)
    place = (x @ 2.0 ** torch.arange(d - 1, -1, -1).double()).long()
    share = place.bincount(minlength=2**d) / n
    common = n * p > 10
    assert n * float((share - p)[~common].abs().sum()) < 50
    return ((share - p) / (p * (1 - p) / n).sqrt())[common]


@SHAPES
def test_block_gibbs_draws_from_the_exact_conditionals(d, m):
    # seed 52; 20,000 from one state: P(v' | v) = sum_h P(h | v) P(v' | h), from the joint sums
    model = rbm(d, m)
    log_p = joint(model)
    step = log_p.softmax(1) @ log_p.softmax(0).T
    torch.testing.assert_close(log_p.exp().sum(1) @ step, log_p.exp().sum(1))  # invariance
    for i in (1, 2**d - 2):
        v = bits(d)[i].expand(20_000, -1).clone()
        moved = Walkers.at(v, model).move(BlockGibbs(), model, seeded(52))
        assert float(z_of_counts(moved.x, step[i], d).abs().max()) < 4
        assert not moved.log_w.any()


def test_a_sweep_of_the_model_before_an_update_is_biased():
    # seed 53; exact start at the old model, reweighted to the new one, swept by either
    old, new, rng = rbm(seed=7), rbm(seed=8), seeded(53)
    p = (-new(bits(4))).detach().softmax(0) @ bits(4)
    walkers = Walkers.sample(old, 200_000, rng, islands=100).reweight(new)
    right = walkers.move(BlockGibbs(), new, rng)
    stale = old.gibbs(walkers.x, evaluate(old, walkers.x)[1], rng)
    w = right.log_w.exp().view(100, -1, 1)
    for x, exact in ((right.x, True), (stale, False)):
        rows = (w * (x - p).view(100, -1, 4)).mean(1)
        z = (rows.mean(0) / rows.std(0) * 10).abs().max()
        assert float(z) < 4 if exact else float(z) > 10


def test_a_machine_without_weights_is_solvable_at_any_size():
    d, m = MOST + 30, MOST + 5
    model = BernoulliRBM(torch.randn(d, m, generator=seeded(1)), torch.zeros(d), torch.ones(m))
    logits = torch.linspace(-2, 1, d)
    free = model.independent(logits)
    expected = float(logits.double().exp().log1p().sum()) + m * torch.tensor(2.0).double().log()
    assert free.log_z() == pytest.approx(float(expected), abs=1e-5)
    x = free.sample(20_000, seeded(54))
    p = logits.sigmoid()
    assert float(((x.mean(0) - p) / (p * (1 - p) / 20_000).sqrt()).abs().max()) < 4
    assert torch.equal(model.independent().b, model.b)
    for known in (model.log_z, lambda: model.sample(2, seeded(0))):
        with pytest.raises(ValueError, match=r"25 units: 2\^25 states are too many to sum over"):
            known()


def test_parameters_that_do_not_fit():
    for w, b, c in (((3, 2), (2,), (3,)), ((3, 2), (3,), (3,)), ((2, 3, 2), (2, 3), (2,))):
        with pytest.raises(ValueError, match="do not fit"):
            BernoulliRBM(torch.zeros(w), torch.zeros(b), torch.zeros(c))


# -- paths of parameters


def test_a_path_of_parameters_mixes_them():
    start, end = rbm(seed=1), rbm(seed=2)
    path = ParameterPath(start, end)
    for beta in (0.0, 0.3, 1.0):
        model = path.at(beta)
        for key, value in model.state_dict().items():
            own = [m.state_dict()[key] for m in (start, end)]
            torch.testing.assert_close(value, (1 - beta) * own[0] + beta * own[1])
    assert path.start is start
    torch.testing.assert_close(end.w, rbm(seed=2).w), "the ends stay as they are"


def test_a_path_of_parameters_can_be_annealed_along():
    # seed 55; 100 islands of 200, against the sum over all states
    end, rng = rbm(), seeded(55)
    path = ParameterPath(end.independent(), end)
    walkers = Walkers.sample(path.start, 20_000, rng, islands=100)
    for beta in (0.25, 0.5, 0.75, 1.0):
        walkers = walkers.move(BlockGibbs(), path.at(beta), rng)
    value, stderr = walkers.log_z
    assert abs(value - end.log_z()) < 4 * stderr


def test_a_machine_trains_by_block_gibbs_and_is_renewed_on_the_way():
    # seeds 27, 28; the energies between a base and a machine have no conditionals, so that
    # renewals move by another kernel than training
    data = rbm(seed=2).sample(500, seeded(27)).float()
    model = BernoulliRBM(torch.zeros(data.shape[1], 3), data.mean(0).logit(), torch.zeros(3))
    torch.nn.init.normal_(model.w, std=0.1, generator=seeded(28))
    model.base = Bernoulli.fit(data)
    settings = Settings(walkers=128, held_out=512, moves=2, renew=25, temperatures=50)
    for record in train(model, data, settings, kernel=BlockGibbs()):
        if record.renewed is not None:
            break
    assert record.iteration == 25
    assert record.renewed
    found = record.log_z_held_out
    assert abs(found.value - model.log_z()) < 4 * found.stderr < 0.2


def test_a_path_of_parameters_joins_two_of_a_kind():
    for other in (rbm(5, 3), torch.nn.Linear(4, 3)):
        with pytest.raises(ValueError, match="two modules of the same type and shapes"):
            ParameterPath(rbm(4, 3), other)
    with pytest.raises(ValueError, match=r"beta is in \[0, 1\], got 1.1"):
        ParameterPath(rbm(), rbm()).at(1.1)
