"""Paths to Boltzmann RBMs, what moves on them, and training: against sums over all states."""

import itertools
import math

import pytest
import torch
from hostile.targets import Veiled
from targets import (
    Grid,
    assert_exact,
    bits,
    features,
    gaussian_rbm,
    one_hots,
    potts_rbm,
    rbm,
    seeded,
)

from noneq import (
    HMC,
    MALA,
    ULA,
    BernoulliRBM,
    Gaussian,
    GaussianRBM,
    Settings,
    Walkers,
    log_z,
    nll,
    train,
)
from noneq.energies import (
    Bernoulli,
    Cholesky,
    Diagonal,
    GeometricPath,
    ModelsPath,
    ParameterPath,
    evaluate,
    path_to,
)
from noneq.kernels import BlockGibbs, DiscreteLangevin, RandomWalk
from noneq.training import renew

RBMS = {"bits": (rbm, lambda: bits(4)), "sites": (potts_rbm, lambda: one_hots(2, 3)),
            "numbers": (gaussian_rbm, lambda: torch.randn(9, 2).double())}  # fmt: skip
every_rbm = pytest.mark.parametrize("name", RBMS)


def rebased(model, factor=None):
    """The model with a base that has nothing of it, frozen."""
    units = torch.linspace(-0.4, 0.9, model.b.numel()).double().view_as(model.b)
    if isinstance(model, GaussianRBM):
        model.base = Gaussian(units, factor or Diagonal(torch.tensor([2.1, 1.3]), torch.float64))
    else:
        model.base = type(model.base)(units)
    return model.requires_grad_(False)


# -- the path


@every_rbm
def test_on_its_way_an_rbm_is_the_mixture_of_joint_energies(name):
    # exp(-U_beta) = sum_h exp(-(1 - beta) [A_0 + m log 2] - beta E(v, h)), h written out
    make, states = RBMS[name]
    model, v = rebased(make()), states()
    base, path = model.base, model.path_from(model.base)
    h, algebra = bits(3), model.algebra()
    e0 = (base(v) + 3 * math.log(2))[:, None]
    e1 = algebra.layer.energy(v.flatten(1))[:, None] - v.flatten(1) @ algebra.w @ h.T
    e1 = e1 - h @ algebra.c
    for beta in (0.0, 0.2, 0.7, 1.0):
        exact = -(-(1 - beta) * e0 - beta * e1).logsumexp(1)
        torch.testing.assert_close(path.at(beta)(v), exact)
    torch.testing.assert_close(path.at(0.0)(v), base(v))
    torch.testing.assert_close(path.at(1.0)(v), model(v))
    assert path.start is base
    assert path.space == model.space
    assert path.at(0.3).fingerprint() == path.at(0.8).fingerprint()
    assert path.at(0.3).fingerprint() != model.path_from(base).at(0.3).fingerprint()


@every_rbm
def test_a_change_of_temperature_is_the_energy_asked_anew(name):
    make, states = RBMS[name]
    model, v = rebased(make()), states()
    path = model.path_from(model.base)
    _, was = evaluate(path.at(0.2), v)
    for beta in (0.0, 0.6, 1.0):
        u, cache = evaluate(path.at(beta), v, was)
        fresh, again = evaluate(path.at(beta), v)
        torch.testing.assert_close(u, fresh)
        torch.testing.assert_close(cache["g"], again["g"])
        leaf = v.clone().requires_grad_(True)
        end = model(leaf) if beta == 1.0 else None
        if end is not None:
            torch.testing.assert_close(cache["g"], torch.autograd.grad(end.sum(), leaf)[0])
    # between the ends the gradient is the slope of the energy
    if name == "numbers":
        x, d = v[:1].repeat(2, 1), 1e-5 * torch.eye(2).double()
        slope = (path.at(0.4)(x + d) - path.at(0.4)(x - d)) / 2e-5
        torch.testing.assert_close(evaluate(path.at(0.4), v[:1])[1]["g"][0], slope)


@pytest.mark.parametrize(
    "kernel", [BlockGibbs(), MALA(0.3), ULA(0.1), HMC(0.1), RandomWalk(0.5)], ids=str
)
def test_every_kernel_samples_numbers_along_the_path(kernel):
    # seed 58; 100 islands of 400; the RBM changes at every one of 4 steps
    model, rng = rebased(gaussian_rbm()), seeded(58)
    path = path_to(model, model.base)
    walkers = Walkers.sample(path.start, 40_000, rng, islands=100)
    for beta in (0.3, 0.55, 0.8, 1.0):
        walkers = walkers.move(kernel, path.at(beta), rng)
        walkers = walkers.resample(1.0, rng) if beta == 0.55 else walkers
    assert_exact(walkers, Grid.of(model, 2), "numbers", features)


def test_a_path_is_a_snapshot():
    model, v = rbm(), bits(4)
    path = model.path_from(model.base)
    before = path.at(0.5)(v)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(1.0)
    assert torch.equal(path.at(0.5)(v), before)


def test_the_path_to_an_energy_is_its_own_or_the_geometric_one():
    for make, _ in RBMS.values():
        model = make()
        assert not isinstance(path_to(model, model.base), GeometricPath)
    model = rebased(gaussian_rbm(), Cholesky(torch.eye(2), torch.float64))
    assert isinstance(path_to(model, model.base), GeometricPath), "of full covariance"
    assert isinstance(path_to(model.base, model.base), GeometricPath), "of no RBM"
    path = path_to(rbm(), rebased(rbm()).base)
    assert not isinstance(path, GeometricPath), "any base of the kind"
    with pytest.raises(ValueError, match=r"beta is in \[0, 1\], got 1.1"):
        path.at(1.1)
    with pytest.raises(ValueError, match="no parameters to differentiate"):
        evaluate(path.at(0.5), bits(4), graph=True)


# -- log Z


def test_an_rbm_too_large_to_sum_is_bracketed_by_block_gibbs():
    # 100 x 15, which can be summed: within 4 standard errors of either side; no argument needed
    model = BernoulliRBM(
        0.5 * torch.randn(100, 15, generator=seeded(3)),
        0.5 * torch.randn(100, generator=seeded(4)),
        torch.randn(15, generator=seeded(5)),
    )
    found = log_z(Veiled(model), n=512, temperatures=150)
    assert isinstance(found.schedule.kernels[0], BlockGibbs)
    for value, stderr in (found.forward, found.backward):
        assert abs(value - model.log_z()) < 4 * stderr < 0.4
    assert found.bracketed


@every_rbm
def test_log_z_of_any_rbm_from_its_base_or_another(name):
    model = RBMS[name][0]()
    for base in (None, rebased(RBMS[name][0]()).base):
        found = log_z(Veiled(model), base, n=512, temperatures=60)
        for value, stderr in (found.forward, found.backward):
            assert abs(value - model.log_z()) < 4 * stderr < 0.4


# -- gradients left out


def test_kernels_that_take_stale_states_never_see_a_gradient_of_the_wrong_model():
    # the RBM leaves its gradient out; its formula, as a function, does not: the same weights
    old, new = gaussian_rbm(seed=9), gaussian_rbm(seed=10)
    x = torch.randn(50, 2, generator=seeded(1), dtype=torch.float64)
    for kernel in (ULA(0.1), HMC(0.1, adjusted=False)):
        model, plain = gaussian_rbm(seed=9), gaussian_rbm(seed=9)
        walkers, others = Walkers.at(x, model), Walkers.at(x, lambda v: plain(v))
        assert "g" not in walkers.state.cache
        for step, numbers in enumerate((new, old, new)):
            for module in (model, plain):
                module.load_state_dict(numbers.state_dict())
            if step == 0:  # no gradient of the old model is left: reweighted, as it must be
                others = others.reweight(lambda v: plain(v))
            walkers = walkers.move(kernel, model, seeded(step))
            others = others.move(kernel, lambda v: plain(v), seeded(step))
            torch.testing.assert_close(walkers.x, others.x)
            torch.testing.assert_close(walkers.log_w, others.log_w)
            assert "g" in walkers.state.cache


@pytest.mark.parametrize("kernel", [MALA(0.2), HMC(0.2)], ids=["MALA", "HMC"])
def test_kernels_that_accept_ask_for_the_gradient_once(kernel):
    class Counted(GaussianRBM):
        asked = 0

        def gradient(self, v, cache):
            Counted.asked += 1
            return super().gradient(v, cache)

    model = gaussian_rbm()
    model.__class__ = Counted
    walkers = Walkers.sample(model.base, 64, seeded(2)).reweight(model)
    assert Counted.asked == 0
    for _ in range(3):
        walkers = walkers.move(kernel, model, seeded(3))
    assert Counted.asked == 1 + 3 * getattr(kernel, "leapfrog_steps", 1)


# -- training


def clusters(n):
    """Rows of 8 bits near one of two patterns, of masses 0.7 and 0.3."""
    rng = seeded(11)
    p = torch.tensor([[0.9] * 3 + [0.1] * 5, [0.1] * 4 + [0.8] * 4])
    which = (torch.rand(n, generator=rng) > 0.7).long()
    return torch.bernoulli(p[which], generator=rng)


def test_an_rbm_trains_by_block_gibbs_and_is_renewed_on_the_way():
    # seed 28; no argument but data; judged by the exact likelihood
    data = clusters(500)
    model = BernoulliRBM.from_data(data, 5, seeded(28))

    def nll():
        return float(model(data).detach().double().mean()) + model.log_z()

    first = nll()
    settings = Settings(walkers=128, held_out=512, moves=2, renew=40, temperatures=50)
    records = list(itertools.islice(train(model, data, settings), 80))
    record = records[-1]
    assert record.state.kernel == BlockGibbs()
    assert any(r.renewed for r in records)
    found = record.log_z_held_out
    assert abs(found.value - model.log_z()) < 4 * found.stderr < 0.2
    independent = float(model.base(data).mean()) + model.base.log_z()
    assert first == pytest.approx(independent, abs=0.05)
    assert nll() < first - 0.5


def test_constant_bits_can_be_trained_on_and_other_values_cannot():
    data = clusters(50)
    data[:, 2] = 0.0
    model = BernoulliRBM.from_data(data, 3)
    settings = Settings(walkers=16, held_out=16, moves=1)
    assert math.isfinite(next(train(model, data, settings)).nll)
    with pytest.raises(ValueError, match=r"50 of 50 rows \(the first: row 0\) are not made of 0"):
        next(train(model, data + 0.5, settings))


def test_rows_between_the_states_are_refused_wherever_they_are_given():
    model = BernoulliRBM.from_data(bits(4).float(), 2, seeded(0))
    found = log_z(Veiled(model), n=16, temperatures=5)
    state = next(train(model, bits(4).float())).state
    grey = bits(4).float()
    grey[5, 1] = 0.4
    for use in (
        lambda x, **noise: log_z(Veiled(model), data=x, n=16, temperatures=5, **noise),
        lambda x, **noise: nll(model, x, found, **noise),
        lambda x, **noise: next(train(model, x, Settings(**noise), resume=state)),
    ):
        with pytest.raises(
            ValueError, match=r"1 of 16 rows \(the first: row 5\) are not made of 0"
        ):
            use(grey)
        with pytest.raises(ValueError, match="discrete rows cannot have noise added"):
            use(bits(4).float(), noise=0.1)


def test_persistent_contrastive_divergence_of_an_rbm_needs_no_kernel_either():
    data = clusters(50)
    model = BernoulliRBM.from_data(data, 3)
    record = next(train(model, data, Settings.pcd(walkers=16)))
    assert record.state.kernel == BlockGibbs()


def test_a_model_whose_path_has_no_conditionals_is_renewed_by_another_kernel():
    class Alone(torch.nn.Module):
        """An RBM without a path of its own."""

        def __init__(self, inner):
            super().__init__()
            self.inner, self.base, self.space = inner, inner.base, inner.space

        def forward(self, v):
            return self.inner(v)

        def evaluate(self, v, previous_cache=None, graph=False):
            return self.inner.evaluate(v, previous_cache, graph)

        def gibbs(self, v, cache, rng):
            return self.inner.gibbs(v, cache, rng)

        def gradient(self, v, cache):
            return self.inner.gradient(v, cache)

    model, rng = Alone(rbm()), seeded(12)
    walkers = Walkers.sample(model.base, 64, rng, islands=1).reweight(model).resample(1.0, rng)
    walkers = walkers.move(BlockGibbs(), model, rng)
    renewed, (new, _) = renew(model, walkers, None, BlockGibbs(), rng, 60)
    assert renewed
    assert abs(new.log_z.value - model.inner.log_z()) < 0.3
    schedule = log_z(Veiled(model), n=64, temperatures=20).schedule
    assert isinstance(schedule.kernels[0], DiscreteLangevin)


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
    path = ParameterPath(rbm(seed=1), end)
    walkers = Walkers.sample(path.start, 20_000, rng, islands=100)
    for beta in (0.25, 0.5, 0.75, 1.0):
        walkers = walkers.move(BlockGibbs(), path.at(beta), rng)
    value, stderr = walkers.log_z
    assert abs(value - end.log_z()) < 4 * stderr


def test_a_path_of_parameters_joins_two_of_a_kind():
    for other in (rbm(5, 3), torch.nn.Linear(4, 3), Bernoulli(torch.zeros(4))):
        with pytest.raises(ValueError, match="two modules of the same type and shapes"):
            ParameterPath(rbm(4, 3), other)
    with pytest.raises(ValueError, match=r"beta is in \[0, 1\], got 1.1"):
        ParameterPath(rbm(), rbm()).at(1.1)


# -- through the models of a training


def trail():
    """Three RBMs on the way to the usual one, which turn; a base of their own."""
    models = [rebased(rbm(seed=s)) for s in (3, 1, 7)]
    return models[-1].base, models


def test_a_path_through_models_meets_each_of_them():
    base, models = trail()
    path, v = ModelsPath(base, models), bits(4)
    assert path.start is base
    torch.testing.assert_close(path.at(0.0)(v), base(v))
    for k, model in enumerate(models, 1):
        torch.testing.assert_close(path.at(k / 3)(v), model(v))
    first = models[0].path_from(base)
    torch.testing.assert_close(path.at(0.2)(v), first.at(0.6)(v))
    second = ParameterPath(models[0], models[1])
    torch.testing.assert_close(path.at(0.5)(v), second.at(0.5)(v))
    torch.testing.assert_close(path.at(0.4)(v), second.at(0.2)(v))
    assert not torch.allclose(path.at(0.5)(v), second.at(0.4)(v))
    with pytest.raises(ValueError, match="one or more of them, got none"):
        ModelsPath(base, [])
    with pytest.raises(ValueError, match=r"beta is in \[0, 1\], got -0.1"):
        path.at(-0.1)


def test_walkers_annealed_through_models_are_exact():
    # seed 56; 100 islands of 200, weighted by four steps on three legs
    base, models = trail()
    path, rng = ModelsPath(base, models), seeded(56)
    walkers = Walkers.sample(base, 20_000, rng, islands=100)
    for beta in (0.2, 0.45, 0.7, 1.0):
        walkers = walkers.move(BlockGibbs(), path.at(beta), rng)
    assert_exact(walkers, Grid.over(models[-1], bits(4)), "through three RBMs")


def two_clusters(pull, tilt):
    """24 bits of which all or none are on, more surely the larger pull; tilt in nats to one."""
    w = torch.full((24, 1), pull)
    b = torch.full((24,), -pull / 2)
    # the units' sums are e^(12 pull) as large with h = 1 as with h = 0
    return BernoulliRBM(w, b, torch.tensor([tilt - 12 * pull]))


def test_renewal_through_its_own_models_keeps_a_mode_that_the_straight_path_loses():
    # seeds 0 to 4; the mode that the base hardly has: its exact mass is 1 - sigmoid(-1)
    trained = [two_clusters(pull, -1.0) for pull in (0.5, 1.0, 2.0, 4.0)]
    model = trained[-1]
    model.base = Bernoulli(torch.full((24,), -1.4))
    exact = 1 / (1 + math.exp(1.0))
    found = {}
    for name, target in (("straight", model), ("through", ModelsPath(model.base, trained))):
        masses = []
        for seed in range(5):
            rng = seeded(seed)
            old = Walkers.sample(model.base, 128, rng, islands=1)
            _, (new, _) = renew(target, old, None, BlockGibbs(), rng, 60, weighted=False)
            masses.append(float(new.mean((new.x.mean(1) > 0.5).float())))
        found[name] = torch.tensor(masses)
    # the new ones are resampled: 128 draws of a mass that a weighted sample of fewer told
    stderr = float(found["through"].std()) / 5**0.5
    assert abs(float(found["through"].mean()) - exact) < 4 * stderr < 0.2
    assert bool((found["straight"] == 0).all()), "what the straight path cannot do"


def test_renewal_that_misses_a_mode_is_refused_although_more_founders_survive():
    # seed 3; exact samples of both modes that descend from 40; log Z of the new: -0.31 at best
    model, rng = two_clusters(4.0, -1.0), seeded(3)
    model.base = Bernoulli(torch.full((24,), -1.4))
    old = Walkers.at(model.sample(128, rng), model, log_z=model.log_z())
    old = old[torch.arange(128) % 40]
    renewed, (kept, _) = renew(model, old, None, BlockGibbs(), rng, 60)
    assert renewed is False
    assert kept is old
    unknown = Walkers.at(old.x, model)[torch.arange(128) % 40]
    renewed, (new, _) = renew(model, unknown, None, BlockGibbs(), rng, 60)
    assert renewed, "nothing is known against it"
    held = Walkers.at(model.sample(64, rng), model, log_z=model.log_z(), islands=8)
    assert renew(model, unknown, held, BlockGibbs(), rng, 60)[0] is False
    assert new.effective_ancestors > 60
    assert new.log_z.value < model.log_z() - 0.2
