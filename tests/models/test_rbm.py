"""Restricted Boltzmann RBMs against sums over both layers, and quadrature for numbers."""

import math
from dataclasses import replace
from itertools import islice

import pytest
import torch
from targets import Grid, bits, centred, features, gaussian_rbm, one_hots, potts_rbm, rbm, seeded
from torch.utils._python_dispatch import TorchDispatchMode

from noneq import (
    MALA,
    BernoulliRBM,
    Gaussian,
    GaussianRBM,
    PottsRBM,
    Settings,
    Walkers,
    check_energy,
    train,
)
from noneq.energies import Bernoulli, Categorical, evaluate
from noneq.kernels import BlockGibbs
from noneq.models.rbm.algebra import MOST, log_sum
from noneq.random import draw_bits
from noneq.training import renewal as training


def centred_bits(d=4, m=3, seed=7):
    return centred(BernoulliRBM, (d, m), (d,), (m,), seed=seed)


def plain_bits(d=3, m=5):
    return rbm(d, m)


RBMS = {  # name: (RBM, all its visible states, or some)
    "bits": (centred_bits, lambda: bits(4)),
    "bits, many hidden": (plain_bits, lambda: bits(3)),
    "sites": (potts_rbm, lambda: one_hots(2, 3)),
    "sites, many hidden": (lambda: potts_rbm(m=5), lambda: one_hots(2, 3)),
    "numbers": (gaussian_rbm, lambda: torch.randn(9, 2, generator=seeded(1)).double()),
}
every_rbm = pytest.mark.parametrize("name", RBMS)
finite_rbm = pytest.mark.parametrize("name", [n for n in RBMS if n != "numbers"])


def joint(model, v):
    """Minus the joint energy of every v and every h (V, 2^m), by its definition."""
    shape, m = model.b.shape, len(model.c)
    w = model.w.reshape(*shape, m)
    s2 = model.log_var.exp() if isinstance(model, GaussianRBM) else torch.ones(shape).double()
    alone = (v - model.b).square() / (-2 * s2)
    if not isinstance(model, GaussianRBM):
        alone = v * model.b
    with torch.no_grad():
        rows = []
        for h in bits(m):
            coupling = ((v - model.mu) / s2 * (w @ (h - model.lam))).flatten(1).sum(1)
            rows.append(alone.flatten(1).sum(1) + h @ model.c + coupling)
        return torch.stack(rows, 1).detach()


@every_rbm
def test_the_free_energy_is_the_sum_over_hidden_units(name):
    make, states = RBMS[name]
    model, v = make(), states()
    difference = joint(model, v).logsumexp(1) + model(v).detach()
    torch.testing.assert_close(difference, difference[:1].expand_as(difference))
    if name == "bits, many hidden":
        assert float(difference.abs().max()) < 1e-12, "without offsets there is no constant"
    # the biases that act, and one formula for all: A(v) - sum softplus(c' + f(v) W)
    s2 = model.log_var.exp() if name == "numbers" else 1.0
    pre = model.hidden_bias + (v / s2).flatten(1) @ model.w
    a = -(v * model.visible_bias)
    if name == "numbers":
        a = (v - model.visible_bias).square() / (2 * s2)
    torch.testing.assert_close(model(v), a.flatten(1).sum(1) - pre.exp().log1p().sum(1))


@every_rbm
def test_every_parameter_is_learned_by_the_derivative_of_the_energy(name):
    make, states = RBMS[name]
    model, v = make(), states()[:3]
    names, values = zip(*model.named_parameters(), strict=True)
    assert set(names) == {"w", "b", "c"} | ({"log_var"} if name == "numbers" else set())

    def energies(*numbers):
        return torch.func.functional_call(model, dict(zip(names, numbers, strict=True)), v)

    values = tuple(value.detach().clone().requires_grad_() for value in values)
    assert torch.autograd.gradcheck(energies, values)
    for value, slope in zip(values, torch.autograd.grad(energies(*values).sum(), values)):
        assert float(slope.abs().max()) > 1e-3, value.shape


@finite_rbm
def test_log_z_is_the_sum_over_all_states(name):
    make, states = RBMS[name]
    model = make()
    exact = float((-model(states())).detach().logsumexp(0))
    assert model.log_z() == pytest.approx(exact, abs=1e-10)
    assert model.float().log_z() == pytest.approx(exact, abs=1e-5)


def test_log_z_of_numbers_is_an_integral():
    model = gaussian_rbm()
    with torch.no_grad():
        assert model.log_z() == pytest.approx(Grid.of(model, 2).log_z, abs=1e-8)


def test_many_states_are_summed_over_in_parts():
    model = rbm(17, 15, seed=4)
    h = bits(15)
    with torch.no_grad():
        given = h @ model.c + torch.nn.functional.softplus(model.b + h @ model.w.T).sum(1)
    assert model.log_z() == pytest.approx(float(given.logsumexp(0)), abs=1e-9)


@every_rbm
def test_its_own_evaluation_is_that_of_its_formula(name):
    make, states = RBMS[name]
    model, v = make(), states()
    u, cache = evaluate(model, v)
    plain, auto = evaluate(lambda x: model(x), v)
    torch.testing.assert_close(u, plain)
    torch.testing.assert_close(cache["g"], auto["g"])
    assert cache["g"].shape == v.shape
    p = joint(model, v).softmax(1) @ bits(len(model.c))
    torch.testing.assert_close(cache["pre"].sigmoid(), p)
    torch.testing.assert_close(model.features(v), p)
    assert not u.requires_grad
    graph, skip_gradient = evaluate(model, v, graph=True, skip_gradient=True)
    assert set(skip_gradient) == {"pre"}
    parameters = list(model.parameters())
    own, other = (torch.autograd.grad(x.sum(), parameters) for x in (graph, model(v)))
    for a, b in zip(own, other, strict=True):
        torch.testing.assert_close(a, b)
    check_energy(model, v)


def z_of_counts(x, states, p):
    """Of the frequencies of all states, those expected ten times or more."""
    n = len(x)
    place = (states.flatten(1) @ x.flatten(1).T).argmax(0)
    if states.dim() == 2:
        place = ((2 * states - 1) @ (2 * x - 1).T).argmax(0)
    share = place.bincount(minlength=len(states)) / n
    common = n * p > 10
    assert n * float((share - p)[~common].abs().sum()) < 50
    return ((share - p) / (p * (1 - p) / n).sqrt())[common]


@finite_rbm
def test_exact_samples_are_distributed_as_the_sums_say(name):
    # seed 51; 200,000; binomial standard errors of all states
    make, states = RBMS[name]
    model, v = make(), states()
    x = model.sample(200_000, seeded(51))
    assert x.shape[1:] == model.b.shape
    p = joint(model, v).logsumexp(1).softmax(0)
    assert float(z_of_counts(x, v, p).abs().max()) < 4


def test_exact_samples_of_numbers_have_the_moments_of_the_integral():
    # seed 56; 200,000 independent draws
    model = gaussian_rbm()
    with torch.no_grad():
        grid = Grid.of(model, 2)
    f = features(model.sample(200_000, seeded(56)))
    z = (f.mean(0) - grid.mean(features(grid.x))) / (f.std(0) / math.sqrt(200_000))
    assert float(z.abs().max()) < 4


@finite_rbm
def test_block_gibbs_draws_from_the_exact_conditionals(name):
    # seed 52; 20,000 from one state: P(v' | v) = sum_h P(h | v) P(v' | h), from the joint sums
    make, states = RBMS[name]
    model, v = make(), states()
    log_p = joint(model, v)
    step = log_p.softmax(1) @ log_p.softmax(0).T
    torch.testing.assert_close(log_p.exp().sum(1) @ step, log_p.exp().sum(1))  # invariance
    for i in (1, len(v) - 2):
        start = v[i].expand(20_000, *v.shape[1:]).clone()
        moved = Walkers.at(start, model).move(BlockGibbs(), model, seeded(52))
        assert float(z_of_counts(moved.x, v, step[i]).abs().max()) < 4
        assert not moved.log_w.any()


def test_block_gibbs_of_numbers_draws_a_mixture_of_normals():
    # seed 57; 100,000 from one place: normals of mean b' + W h and variance s^2, h given v
    model = gaussian_rbm()
    for v in ([0.3, -1.0], [-2.0, 0.7]):
        v = torch.tensor([v], dtype=torch.float64)
        with torch.no_grad():
            p, means = joint(model, v).softmax(1)[0], model.visible_bias + bits(3) @ model.w.T
            noise = torch.diag(model.log_var.exp())
        mean = p @ means
        second = noise + (means.T * p) @ means
        y = Walkers.at(v.expand(100_000, -1), model).move(BlockGibbs(), model, seeded(57)).x
        squares = (y[:, :, None] * y[:, None]).flatten(1)
        for found, exact in ((y, mean), (squares, second.flatten())):
            z = (found.mean(0) - exact) / (found.std(0) / math.sqrt(100_000))
            assert float(z.abs().max()) < 4


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


# -- offsets


@pytest.mark.parametrize("name", ["bits", "sites", "numbers"])
def test_offsets_make_the_gradient_the_centred_one(name):
    # minus the difference of E[(f(v) - f(mu)) (h - lam)], of v and of h, between data and model
    make, states = RBMS[name]
    model, v = make(), states()
    data, model_rows = v[:4], v[3:]
    (model(data).mean() - model(model_rows).mean()).backward()
    s2 = model.log_var.detach().exp() if name == "numbers" else torch.ones(1).double()

    def moments(rows):
        h = model.features(rows)
        centre = ((rows - model.mu) / s2).flatten(1)
        return centre.T @ (h - model.lam) / len(rows), (rows / s2).mean(0), h.mean(0)

    for grad, x, y in zip(
        (model.w.grad, model.b.grad, model.c.grad), moments(data), moments(model_rows), strict=True
    ):
        torch.testing.assert_close(grad, y - x)


@pytest.mark.parametrize("name", ["bits", "sites", "numbers"])
def test_other_offsets_are_the_same_function(name):
    make, states = RBMS[name]
    model, v = make(), states()
    mu, lam = torch.linspace(0, 1, model.b.numel()).double().view_as(model.b), model.lam + 0.7
    other = model.recentred(mu, lam)
    torch.testing.assert_close(other(v), model(v))
    assert torch.equal(other.mu, mu)
    assert torch.equal(other.lam, lam)
    assert other.base is model.base
    assert other.log_z() == pytest.approx(model.log_z(), abs=1e-10)


# -- from data


def data_of(kind, n=500):
    """Rows with correlations and unequal means; the first column of bits is 0 throughout."""
    x = torch.randn(n, 4, generator=seeded(9)) @ torch.randn(4, 4, generator=seeded(10))
    if kind is GaussianRBM:
        return x.view(n, 2, 2) * torch.tensor([3.0, 0.2]) + 1
    b = (x > torch.tensor([1e9, 0.5, -1.0, 0.0])).float()
    if kind is BernoulliRBM:
        return b
    return torch.nn.functional.one_hot((b[:, ::2] + b[:, 1::2]).long(), 3).float()


@pytest.mark.parametrize("kind", [BernoulliRBM, GaussianRBM, PottsRBM])
def test_an_rbm_from_data_starts_at_units_with_their_means(kind):
    data = data_of(kind)
    model = kind.from_data(data, 6, seeded(3))
    assert model.w.shape == (data[0].numel(), 6)
    assert model.w.dtype == data.dtype
    torch.testing.assert_close(model.mu, data.mean(0))
    assert bool((model.lam == 0.5).all())
    assert bool((model.c == 0).all())
    base = kind.independent_start(data)
    same = base.state_dict()
    assert all(torch.equal(value, same[key]) for key, value in model.base.state_dict().items())
    # nearly the base, at a distance of the weights' size
    off = (model(data) - base(data)).detach()
    assert float((off - off.mean()).abs().max()) < 0.2
    x = base.sample(100_000, seeded(4))
    half = {BernoulliRBM: (0.5, 1), PottsRBM: (0.5, 1.5), GaussianRBM: (0, 0)}[kind]
    mean = (data.sum(0) + half[0]) / (len(data) + half[1])
    assert float(((x.mean(0) - mean) / x.std(0)).abs().max()) < 4 / math.sqrt(100_000)
    # the base is saved with the RBM and is no parameter of it
    names = {name for name, _ in model.named_parameters()}
    assert names == {"w", "b", "c"} | ({"log_var"} if kind is GaussianRBM else set())
    other = kind.from_data(data_of(kind, 50), 6)
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(other(data), model(data))
    torch.testing.assert_close(other.base(data), base(data))


def test_weights_are_in_the_units_of_the_data():
    data = data_of(GaussianRBM)
    near, far = (GaussianRBM.from_data(x, 5, seeded(1)) for x in (data, 100 * data))
    pre = [m.features(x) for m, x in ((near, data), (far, 100 * data))]
    torch.testing.assert_close(*pre, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("make", "kind"),
    [(centred_bits, Bernoulli), (potts_rbm, Categorical), (gaussian_rbm, Gaussian)],
)
def test_an_rbm_from_numbers_starts_at_its_visible_units(make, kind):
    model = make()
    assert type(model.base) is kind
    x = model.base.sample(3, seeded(0))
    assert x.dtype == model.w.dtype
    expected = -(x * model.b).flatten(1).sum(1)
    if kind is Gaussian:
        expected = ((x - model.b).square() / model.log_var.exp()).sum(1) / 2
    torch.testing.assert_close(model.base(x), expected.detach())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_hidden_units_are_summed_over_without_overflow(dtype):
    # several parts; logits as large as a diverging RBM's
    eps, zero = torch.finfo(dtype).eps, torch.zeros((), dtype=torch.float64)
    pre = 60 * torch.randn(700, 300, generator=seeded(8), dtype=dtype)
    pre[0, :4] = torch.tensor([1e4, -1e4, 79.5, 80.5])
    exact = torch.logaddexp(pre.double(), zero).sum(1)
    torch.testing.assert_close(log_sum(pre).double(), exact, rtol=4 * eps, atol=0)
    with_graph = log_sum(pre.requires_grad_()).detach().double()  # torch's softplus is cut at 20
    torch.testing.assert_close(with_graph, exact, rtol=4e-7, atol=0)
    small = torch.linspace(-18, 3, 50, dtype=dtype)[:, None]
    exact = torch.logaddexp(small.double(), zero)[:, 0]
    torch.testing.assert_close(log_sum(small).double(), exact, rtol=0, atol=2 * eps)
    assert log_sum(torch.tensor([[math.inf, 0.0]])).tolist() == [math.inf]
    assert log_sum(torch.tensor([[math.nan, 0.0]])).isnan().all()


def test_log_z_far_from_the_origin_is_that_of_the_same_rbm_at_the_origin():
    # in float64; a mean of 1e8 standard deviations is known to 1e-8 of them
    w, c = 1e-8 * torch.randn(4, 3, generator=seeded(0)).double(), torch.tensor([0.5, -1, 0.2])
    spread, b = torch.full((4,), 2 * math.log(1e-8)), 1e-8 * torch.arange(4)
    here = GaussianRBM(w, b.double(), c.double(), spread.double(), mu=b.double())
    there = GaussianRBM(w, 1 + b.double(), c.double(), spread.double(), mu=1 + b.double())
    assert there.log_z() == pytest.approx(here.log_z(), abs=1e-6)


def test_mixed_precision_is_off_where_an_rbm_moves():
    # logits of 8 bits are probabilities to 1 in 100: sweeps would leave another law invariant
    shapes = ((3, 4), (3,), (4,), (3,))
    model = GaussianRBM(*(torch.randn(s, generator=seeded(5)) for s in shapes))
    start = Walkers.at(torch.randn(50, 3, generator=seeded(4)), model)
    for kernel in (BlockGibbs(), MALA(0.3)):
        plain = start.move(kernel, model, seeded(5))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = start.move(kernel, model, seeded(5))
        assert torch.equal(mixed.x, plain.x)
        assert torch.equal(mixed.state.u, plain.state.u)


# -- cost


class Products(TorchDispatchMode):
    """The sizes of all products of two matrices."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name in ("mm", "addmm"):
            a, b = args[-2:]
            self.seen.append((*a.shape, b.shape[1]))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("kind", [BernoulliRBM, GaussianRBM, PottsRBM])
def test_a_sweep_is_two_products(kind):
    n, m = 64, 7
    data = data_of(kind)
    d, model = data[0].numel(), kind.from_data(data, m, seeded(0))
    walkers = Walkers.at(data[:n], model)
    with Products() as products:
        walkers.move(BlockGibbs(), model, seeded(1))
    assert products.seen == [(n, m, d), (n, d, m)], "v given h, and the new v's logits"


@pytest.mark.parametrize("kind", [BernoulliRBM, GaussianRBM, PottsRBM])
def test_on_a_path_a_change_of_temperature_is_no_product(kind):
    n, m = 64, 7
    data = data_of(kind)
    d, model = data[0].numel(), kind.from_data(data, m, seeded(0), scale=0.5)
    path = model.path_from(model.base)
    walkers = Walkers.sample(model.base, n, seeded(1)).reweight(path.at(0.2))
    with Products() as products:
        walkers = walkers.reweight(path.at(0.3)).reweight(path.at(0.5))
    assert products.seen == []
    with Products() as products:
        walkers.move(BlockGibbs(), path.at(0.6), seeded(1))
    assert products.seen == [(n, m, d), (n, d, m)]


# -- what it refuses


def test_parameters_that_do_not_fit():
    for w, b, c in (((3, 2), (2,), (3,)), ((3, 2), (3,), (3,)), ((2, 3, 2), (2, 3), (2,))):
        with pytest.raises(ValueError, match="do not fit"):
            BernoulliRBM(torch.zeros(w), torch.zeros(b), torch.zeros(c))
    with pytest.raises(ValueError, match="1 hidden unit or more, got 0"):
        BernoulliRBM(torch.zeros(3, 0), torch.zeros(3), torch.zeros(0))
    fit = torch.zeros(3, 2), torch.zeros(3), torch.zeros(2)
    with pytest.raises(ValueError, match=r"log_var has the shape of the biases, \(3,\), got"):
        GaussianRBM(*fit, torch.zeros(2))
    for offsets in ({"mu": torch.zeros(2)}, {"lam": torch.zeros(3)}):
        with pytest.raises(ValueError, match="have the shape of their units"):
            BernoulliRBM(*fit, **offsets)


def test_sums_over_too_many_states():
    d, m = MOST + 30, MOST + 5
    zeros = torch.zeros(d * 2, m), torch.zeros(m)
    for model, units in (
        (BernoulliRBM(zeros[0][:d], zeros[0][:d, 0], zeros[1]), "25"),
        (PottsRBM(zeros[0][:54], torch.zeros(18, 3), zeros[1]), "25"),
        (PottsRBM(zeros[0][:39], torch.zeros(13, 3), zeros[1]), "20.6"),
        (GaussianRBM(zeros[0][:2], *torch.zeros(1, 2), zeros[1], torch.zeros(2)), "25"),
    ):
        for known in (model.log_z, lambda model=model: model.sample(2, seeded(0))):
            with pytest.raises(ValueError, match=rf"smaller layer has 2\^{units} states, too"):
                known()


@pytest.mark.parametrize("kind", [BernoulliRBM, GaussianRBM, PottsRBM])
def test_rows_that_no_rbm_can_have(kind):
    fine = data_of(kind)
    wrong = fine.clone()
    wrong.view(len(fine), -1)[7, 2] = math.nan
    with pytest.raises(ValueError, match=r"NaN or infinite values in 1 of 500 rows .*row 7"):
        kind.from_data(wrong, 3)
    with pytest.raises(ValueError, match="1 hidden unit or more, got 0"):
        kind.from_data(fine, 0)
    with pytest.raises(TypeError, match=r"floating point.*data.float\(\) converts"):
        kind.from_data(fine.long(), 3)
    told = {
        BernoulliRBM: r"1 of 500 rows \(the first: row 7\) are not made of 0 and 1; make them bin",
        PottsRBM: r"1 of 500 rows \(the first: row 7\) are not one-hot",
        GaussianRBM: "1 columns never change",
    }
    wrong = fine.clone()
    if kind is GaussianRBM:
        wrong[:, 0, 0] = 3.0
    else:
        wrong.view(len(fine), -1)[7, 2] = 0.5
    with pytest.raises(ValueError, match=told[kind]):
        kind.from_data(wrong, 3)


def test_bits_that_are_always_0_are_smoothed():
    data = torch.zeros(9, 5)
    data[0, 4] = 1.0
    model = BernoulliRBM.from_data(data, 3)
    torch.testing.assert_close(model.b[:4].detach().sigmoid(), torch.full((4,), 0.05))
    assert bool(torch.isfinite(model(torch.ones(1, 5))).all())


def test_states_are_numbered_without_repetition():
    for make, states in ((centred_bits, bits(4)), (potts_rbm, one_hots(2, 3))):
        layer = make().algebra().layer
        found = layer.states(torch.arange(len(states)))
        assert {tuple(r) for r in found.tolist()} == {tuple(r) for r in states.flatten(1).tolist()}
        assert len(states) == pytest.approx(math.exp(layer.log_states))


def test_rows_that_are_all_alike_teach_nothing():
    for rows in (torch.zeros(5, 3), torch.tensor([[1.0, 0.0, 1.0]]).expand(4, 3)):
        with pytest.raises(ValueError, match="rows are the same one: there is nothing to learn"):
            BernoulliRBM.from_data(rows, 2)
    BernoulliRBM.from_data(torch.tensor([[1.0, 0.0], [1.0, 1.0]]), 2)  # a constant column is fine


def test_of_an_rbm_the_held_out_walkers_alone_are_renewed(monkeypatch):
    # annealed from independent units they can lose a mode, and founders do not tell
    rows = draw_bits(torch.zeros(200, 4), seeded(0))
    settings = Settings(walkers=16, held_out=None, moves=1, batch=16, temperatures=5)
    real, seen = training.renew, []

    def renew(energy, walkers, held_out, *how):
        seen.append((len(walkers), held_out))
        return real(energy, walkers, held_out, *how)

    monkeypatch.setattr(training, "renew", renew)
    for held_out, tried in ((None, []), (8, [20, 40])):
        how = replace(settings, renew=20, held_out=held_out)
        records = train(BernoulliRBM.from_data(rows, 2), rows, how)
        found = [r.iteration for r in islice(records, 40) if r.renewed is not None]
        assert found == tried
        assert seen == [(8, None)] * len(tried)


def test_conditionals_without_held_out_walkers_need_no_base():
    class Own(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = rbm(4, 3).float()
            self.space, self.gibbs = self.inner.space, self.inner.gibbs

        def forward(self, v):
            return self.inner(v)

        def evaluate(self, v, previous_cache=None, graph=False):
            return self.inner.evaluate(v, previous_cache, graph)

    rows = draw_bits(torch.zeros(200, 4), seeded(0))
    settings = Settings(walkers=16, held_out=None, moves=1, batch=16, start="data")
    assert math.isnan(next(train(Own(), rows, settings)).nll)
