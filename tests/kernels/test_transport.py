"""Transports along paths with a drift: their increments, their order, and the way back.

The target is an asymmetric mixture in two dimensions whose fields are exact; wrong fields are the
exact ones bent. Statistical tests are judged at 4 standard errors over islands or seeds.
"""

import itertools
import math

import pytest
import torch
from drifting import Exact, base, mixture
from targets import seeded

from noneq import (
    MALA,
    Gaussian,
    GaussianMixture,
    Schedule,
    Walkers,
    anneal,
    check_kernel,
    log_z,
    pilot,
    population,
)
from noneq.energies import Cholesky, Identity, evaluate
from noneq.kernels import Chain, EulerMaruyama, Flow, Repeat, State
from noneq.kernels.base import each
from noneq.likelihood import bennett
from noneq.models.interpolants import (
    DriftedPath,
    Linear,
    MixturePath,
    Trigonometric,
    VelocityPath,
)
from noneq.walkers.reductions import conditional_ess

D = torch.float64
FACTOR = Cholesky(torch.tensor([[1.2, 0.5], [0.5, 0.7]], dtype=D), D)


def path(interpolant=None):
    return MixturePath(interpolant or Linear(), base(), mixture())


class Bent(DriftedPath):
    """The exact energies with fields that are wrong, b and s apart."""

    def __init__(self, exact, by=1.0):
        super().__init__(exact.base)
        self.exact, self.by, self.rows = exact, by, []

    def fields(self, x, t):
        self.rows.append(len(x))
        u, cache = self.exact.fields(x, t)
        bend = self.by * torch.stack([x[:, 1].sin(), 0.3 * x[:, 0]], 1)
        return u, {"b": 0.8 * cache["b"] + bend, "s": -1.2 * cache["g"] + 0.5 * bend}

    def energy_gradient(self, x, t):
        return self.exact.fields(x, t)[1]["g"]

    def drift(self, x, t):
        bend = self.by * torch.stack([x[:, 1].sin(), 0.3 * x[:, 0]], 1)
        return 0.8 * self.exact.drift(x, t) + bend


def state_at(way, t, n=50):
    x = 1.5 * torch.randn(n, 2, generator=seeded(1), dtype=D)
    u, cache = evaluate(way.at(t), x)
    return State(x, u + 0.3, cache, {"label": torch.arange(n)})


# -- increments


@pytest.mark.parametrize(("t", "to"), [(0.2, 0.5), (0.5, 0.2), (0.9, 1.0)])
@pytest.mark.parametrize("factor", [Identity(), Identity(0.6), FACTOR], ids=["1", "0.6", "full"])
def test_the_increment_is_the_ratio_of_the_path_densities(t, to, factor):
    way, eps = Bent(path()), 0.7
    state = state_at(way, t)
    kernel = EulerMaruyama(eps, factor)
    new, increment, _ = kernel(way.at(to), state, seeded(2))
    h, root = to - t, factor.mul(torch.eye(2, dtype=D)).T
    m = root @ root.T
    turn = math.copysign(1.0, h)

    def mean(x, time, h, turn):
        cache = way.fields(x, time)[1]
        return x + h * (cache["b"] + turn * eps * cache["s"] @ m)

    def log_q(y, mean):
        noise = torch.distributions.MultivariateNormal(mean, 2 * eps * abs(h) * m)
        return noise.log_prob(y)

    there = log_q(new.x, mean(state.x, t, h, turn))
    back = log_q(state.x, mean(new.x, to, -h, -turn))
    torch.testing.assert_close(increment, state.u - new.u + back - there)
    torch.testing.assert_close(new.u, way.at(to)(new.x))
    assert torch.equal(new.cache["t"], torch.full((50,), to, dtype=D))
    assert torch.equal(new.aux["label"], torch.arange(50))


@pytest.mark.parametrize("heun", [True, False])
def test_a_flow_weighs_by_the_determinant_of_its_map(heun):
    way = Bent(path())
    state, t, to = state_at(way, 0.3), 0.3, 0.45
    new, increment, _ = Flow(heun)(way.at(to), state, seeded(0))

    def step(x):
        x = x[None]
        b = way.drift(x, t)
        if heun:
            b = (b + way.drift(x + (to - t) * b, to)) / 2
        return (x + (to - t) * b)[0]

    torch.testing.assert_close(new.x, torch.stack([step(x) for x in state.x]))
    jacobians = torch.stack([torch.autograd.functional.jacobian(step, x) for x in state.x])
    torch.testing.assert_close(increment, state.u - new.u + torch.logdet(jacobians))


@pytest.mark.parametrize("heun", [True, False])
@pytest.mark.parametrize(("t", "to"), [(0.0, 0.2), (0.8, 1.0), (0.2, 0.0)])
def test_a_flow_with_a_denoiser_weighs_its_first_and_last_step(heun, t, to):
    # there the score is that of the ends, whose slope belongs to the determinant
    exact = path(Trigonometric(0.8))
    fields = [Exact(exact, what) for what in ("v", "eta")]
    way = VelocityPath(exact.interpolant, base(), mixture(), *fields)
    state = state_at(way, t, 20)
    new, increment, _ = Flow(heun)(way.at(to), state, seeded(0))

    def step(x):  # exact fields, whose graph is whole
        b = exact.drift(x[None], t)
        if heun:
            b = (b + exact.drift(x[None] + (to - t) * b, to)) / 2
        return x + (to - t) * b[0]

    torch.testing.assert_close(new.x, torch.stack([step(x) for x in state.x]))
    jacobians = torch.stack([torch.autograd.functional.jacobian(step, x) for x in state.x])
    torch.testing.assert_close(increment, state.u - new.u + torch.logdet(jacobians))


def test_a_trace_estimate_is_unbiased_for_the_terms_it_takes():
    # four points, each with the noise of 4,000 walkers; the first term alone is off by 0.01
    way, n = Bent(path(), by=0.4), 4_000
    state, to = state_at(way, 0.3, 4), 0.45
    exact = Flow(heun=False)(way.at(to), state, seeded(0))[1]
    many = each(lambda t: t.repeat_interleave(n, 0), state)
    noisy = Flow(heun=False, probes=2, terms=16)(way.at(to), many, seeded(1))[1]
    off = noisy.view(4, n) - exact[:, None]
    assert off.std(1).max() > 1e-3
    assert (off.mean(1).abs() < 4 * off.std(1) / math.sqrt(n) + 1e-6).all()


def test_no_time_no_move_but_a_reweight():
    # a step of length 0 changes the energy to that of the model, and nothing else
    way = Bent(path())
    state = state_at(way, 0.4)
    for kernel in (EulerMaruyama(0.5), Flow()):
        new, increment, _ = kernel(way.at(0.4), state, seeded(0))
        assert torch.equal(new.x, state.x)
        torch.testing.assert_close(increment, torch.full((50,), 0.3, dtype=D))


# -- weights


@pytest.mark.parametrize("kernel", [EulerMaruyama(0.3), EulerMaruyama(0.5, Identity(0.8))])
def test_euler_maruyama_passes_the_one_test_of_kernels(kernel):
    check_kernel(kernel)


KERNELS = {
    "sde": EulerMaruyama(0.6),
    "preconditioned": EulerMaruyama(0.5, FACTOR),
    "corrected": Chain((EulerMaruyama(0.6), MALA(0.1), MALA(0.05))),
    "flow": Flow(),
    "euler": Flow(heun=False),
}


@pytest.mark.parametrize("name", KERNELS)
def test_weights_are_exact_though_the_fields_are_wrong(name):
    # E w = 1 and the mixture's means, 50 islands of 400; resampled on the way
    way = Bent(path(Trigonometric()), by=0.5)
    schedule = Schedule.uniform(8, KERNELS[name])
    walkers, _ = population(way, 20_000, schedule, rng=seeded(3), islands=50)
    w = walkers.log_w.exp().view(50, -1)
    f = torch.stack([walkers.x[:, 0], walkers.x[:, 1], (walkers.x[:, 0] > 1).double()], 1)
    masses = mixture().log_masses.exp()
    exact = torch.tensor([*(masses @ mixture().means), 0.0], dtype=D)
    sample = mixture().sample(400_000, seeded(4))
    exact[2] = (sample[:, 0] > 1).double().mean()
    off = (w[..., None] * (f - exact).view(50, 400, 3)).mean(1)
    off = torch.cat([w.mean(1, keepdim=True) - 1, off], 1)
    z = off.mean(0) / off.std(0) * math.sqrt(50)
    assert (z.abs() < 4).all(), z
    assert walkers.ess < 0.97
    assert f[:, 2].mean() > 0.35, "they have moved: of the base 0.29 are there"


def test_with_exact_fields_little_is_lost_in_ten_steps():
    # one dimension, unequal modes
    means, masses = torch.tensor([[-2.0], [1.5]], dtype=D), torch.tensor([0.3, 0.7], dtype=D)
    end = GaussianMixture(means, torch.tensor([[[0.4]], [[0.8]]], dtype=D), masses)
    start = Gaussian(torch.tensor([0.2], dtype=D), Identity(1.0))
    way = MixturePath(Linear(), start, end)
    shares = []
    for seed in range(3):
        walkers = Walkers.sample(way.start, 4000, seeded(seed))
        walkers = anneal(
            Schedule.uniform(10, EulerMaruyama(0.5)).forward(way), walkers, seeded(seed), ess_min=0
        )
        shares.append(walkers.ess)
    assert min(shares) >= 0.6, shares


def test_the_loss_of_weight_falls_as_the_steps():
    # exact fields: the variance of log w is of order 1/K
    way, spread = path(Trigonometric()), []
    for steps in (40, 80, 160):
        walkers = Walkers.sample(way.start, 2000, seeded(5))
        models = Schedule.uniform(steps, EulerMaruyama(0.4)).forward(way)
        spread.append(float(anneal(models, walkers, seeded(6), ess_min=0).log_w.var()))
    for a, b in itertools.pairwise(spread):
        assert 1.6 < a / b < 2.6, spread


def test_heun_is_of_second_order():
    way, off = path(Trigonometric()), []
    fine = None
    for steps in (320, 10, 20, 40):
        walkers = Walkers.sample(way.start, 200, seeded(5))
        models = Schedule.uniform(steps, Flow()).forward(way)
        x = anneal(models, walkers, seeded(6), ess_min=0).x
        if fine is None:
            fine = x
        else:
            off.append(float((x - fine).square().mean().sqrt()))
    assert off[0] / off[1] > 3, off
    assert off[1] / off[2] > 3, off


@pytest.mark.parametrize("wrap", [lambda k: Chain((k,)), lambda k: Repeat(k, 1)])
def test_a_chain_leads_as_its_first_kernel_does(wrap):
    way, kernel = path(), EulerMaruyama(0.5)
    ends = []
    for led in (kernel, wrap(kernel)):
        walkers = Walkers.sample(way.start, 64, seeded(0))
        models = Schedule.uniform(4, led).forward(way)
        ends.append(anneal(models, walkers, seeded(1), ess_min=0))
    assert torch.equal(ends[0].x, ends[1].x)
    assert torch.equal(ends[0].log_w, ends[1].log_w)


def test_one_evaluation_a_step():
    way = Bent(path())
    way.rows.clear()
    population(way, 64, Schedule.uniform(7, EulerMaruyama(0.5)), rng=seeded(0))
    assert way.rows == [64] * 8, "the start's and one a step"


# -- the way back


def test_back_and_forth_agree_by_crooks():
    way, rng = Bent(path(), by=0.3), seeded(9)
    schedule = Schedule.uniform(12, Chain((EulerMaruyama(0.6, FACTOR), MALA(0.1))))
    forward = Walkers.sample(way.start, 8000, rng)
    forward = anneal(schedule.forward(way), forward, rng, ess_min=0)
    backward = Walkers.at(mixture().sample(8000, rng), way.at(1.0), log_z=0.0)
    backward = anneal(schedule.backward(way), backward, rng, ess_min=0)
    found = bennett(forward, backward)
    assert found.stderr < 0.03
    assert abs(found.value) < 4 * found.stderr
    assert abs(forward.log_z.value) < 4 * forward.log_z.stderr
    mean = torch.tensor([0.3, -0.2], dtype=D)
    off = backward.mean(backward.x - mean)
    assert (off.abs() < 4 * 1.3 / (8000 * backward.ess) ** 0.5).all(), "it has arrived at the base"


class End(torch.nn.Module):
    """The mixture with the way to it."""

    def __init__(self):
        super().__init__()
        self.way = path()
        self.base = self.way.start

    def forward(self, x):
        return mixture()(x)

    def path_from(self, start):
        return self.way if start is self.base else None


@pytest.mark.parametrize("corrected", [False, True])
def test_log_z_is_bracketed_along_a_drift(corrected):
    # rows that are samples of the model, or that are too wide and must come to rest first
    leads = EulerMaruyama(0.5)
    data = mixture().sample(500, seeded(1)) * (1.6 if corrected else 1.0)
    schedule = Schedule.uniform(20, Chain((leads, MALA(0.2))) if corrected else leads)
    rest = 300 if corrected else 0
    found = log_z(End(), data=data, n=512, temperatures=schedule, equilibrate=rest)
    assert abs(found.forward.value) < 4 * found.forward.stderr
    assert abs(found.backward.value) < 4 * found.backward.stderr


def test_what_only_leads_cannot_equilibrate():
    data = mixture().sample(64, seeded(1))
    schedule = Schedule.uniform(4, EulerMaruyama(0.5))
    with pytest.raises(ValueError, match=r"none equilibrates.*Chain.*equilibrate=0"):
        log_z(End(), data=data, n=32, temperatures=schedule)
    with pytest.raises(ValueError, match="no way back"):
        log_z(End(), data=data, n=32, temperatures=Schedule.uniform(4, Flow()))


def test_a_flow_refuses_walkers_at_two_times():
    way = path()
    walkers = Walkers.sample(way.start, 8, seeded(0), islands=1)
    ahead = walkers[torch.arange(4)].move(EulerMaruyama(0.5), way.at(0.5), seeded(1))
    mixed = walkers.put(torch.arange(4), ahead)
    with pytest.raises(ValueError, match=r"all at one time, and these are at 0 to 0.5"):
        mixed.move(Flow(), way.at(1.0), seeded(2))


def test_nobody_is_resampled_by_energies_that_are_not_there():
    exact = path()

    def velocity(x, t):
        return exact.drift(x, float(t[0]))

    way = VelocityPath(Linear(), base(), mixture(), velocity, between=False)
    walkers, _ = population(way, 256, Schedule.uniform(6, EulerMaruyama(0.5)), rng=seeded(0))
    assert walkers.weights.resampled == 0
    corrected = Schedule.uniform(6, Chain((EulerMaruyama(0.5), MALA(0.1))))
    with pytest.raises(ValueError, match="no energy to move by"):
        population(way, 64, corrected, rng=seeded(0))


def test_the_way_back_leads_down_the_steps_that_led_up():
    schedule = Schedule.along((0.0, 0.25, 0.75, 1.0), lambda t: EulerMaruyama(0.1 + t))
    there = [(model.beta, kernel.eps) for model, kernel in schedule.forward(path())]
    *back, (model, last) = schedule.backward(path())
    starts = [0.0] + [t for t, _ in there[:-1]]
    eps = [eps for _, eps in there]
    assert [(m.beta, k.eps) for m, k in back] == list(zip(starts, eps, strict=True))[::-1]
    assert (model.beta, last, schedule.n_backward_steps) == (0.0, None, 4)


def test_a_flow_has_no_way_back():
    with pytest.raises(ValueError, match=r"no way back.*EulerMaruyama"):
        list(Schedule.uniform(3, Flow()).backward(path()))


# -- schedules


def costs(way, schedule, seeds, n):
    """What each step takes of the effective sample size, of one population for each seed."""
    rows = []
    for seed in seeds:
        walkers, rng = Walkers.sample(way.start, n, seeded(seed), islands=1), seeded(1000 + seed)
        rows.append([])
        for model, kernel in schedule.forward(way):
            moved = walkers.move(kernel, model, rng)
            left = conditional_ess(walkers.log_w, moved.log_w - walkers.log_w)
            rows[-1].append(1 - float(left))
            walkers = moved
    return torch.tensor(rows)


def strays(way, schedule, wanted, seeds, n=2000):
    """By how many standard errors each step but the last leaves the costs of a pilot of n walkers.

    It halves until the step is right to a sixteenth of the last one, never longer, and costs are
    as h^2; its own population and the mean over these have errors. They are pooled over the steps.
    """
    cost, h = costs(way, schedule, seeds, n), torch.tensor(schedule.betas).diff()
    mean, relative = cost.mean(0)[1:-1], (cost.std(0) / cost.mean(0))[1:-1]
    stderr = wanted * relative.square().mean().sqrt() * math.sqrt(1 + 1 / len(seeds))
    least = wanted * (h[1:-1] / (h[1:-1] + h[:-2] / 16)) ** 2
    return torch.maximum(mean - wanted, least - mean) / stderr


def test_a_pilot_finds_times_of_equal_cost():
    # between Gaussians, where costs have no heavy tails; the largest of 20 seeds is 1.9, and of
    # as many equal times the least is 14
    narrow = Cholesky(torch.tensor([[0.3, 0.1], [0.1, 0.2]], dtype=D), D)
    end = Gaussian(torch.tensor([2.0, 1.0], dtype=D), narrow)
    way, kernel = MixturePath(Trigonometric(), base(), end), EulerMaruyama(0.5)
    found = pilot(way, kernel, seeded(0), cess=0.97, n=2000)
    assert 5 < len(found) < 100
    assert strays(way, found, 0.03, range(8)).max() < 4
    uniform = Schedule.uniform(len(found), kernel)
    assert strays(way, uniform, 0.03, range(8)).max() > 10


def test_a_pilot_tries_one_noise_at_several_lengths():
    states = []

    class Watched(EulerMaruyama):
        def __call__(self, model, state, rng):
            states.append(rng.get_state().numpy().tobytes())
            return super().__call__(model, state, rng)

    found = pilot(path(), Watched(0.5), seeded(0), cess=0.9, warmup=3)
    assert len(states) > 3 + 4 * len(found), "some trials and a move for each time"
    assert len(set(states)) == 3 + 2 * len(found)


def test_a_schedule_may_change_the_kernel_with_time():
    schedule = Schedule.along((0.0, 0.5, 1.0), lambda t: EulerMaruyama(0.1 + t))
    assert [kernel.eps for kernel in schedule.kernels[1:]] == [0.35, 0.85]


# -- what is refused


class Walled(DriftedPath):
    """A hard wall that comes nearer."""

    def fields(self, x, t):
        u = x.square().sum(1) / 2
        u = torch.where(x[:, 0] > 3 - 3 * t, math.inf, u)
        return u, {"b": torch.zeros_like(x), "g": x.clone()}

    def drift(self, x, t):
        return torch.zeros_like(x)


class Thin(DriftedPath):
    """A drift of the wrong shape."""

    def fields(self, x, t):
        return x.square().sum(1) / 2, {"b": x[:, :1], "g": x}

    def drift(self, x, t):
        return x


def test_an_energy_that_is_infinite_on_the_path_is_named():
    schedule = Schedule.uniform(5, EulerMaruyama(0.5))
    with pytest.raises(FloatingPointError, match=r"EulerMaruyama led \d+ of 128 walkers to where"):
        _ = population(Walled(base()), 128, schedule, rng=seeded(0))[0].log_z


def test_a_map_that_folds_is_named():
    steep = VelocityPath(Linear(), base(), mixture(), lambda x, t: -3 * x)
    walkers = Walkers.sample(steep.start, 64, seeded(0))
    walkers = walkers.move(Flow(heun=False), steep.at(1.0), seeded(0))
    assert walkers.ess > 0, "twice turned in two dimensions: det > 0"
    slope = torch.tensor([-3.0, 0.0], dtype=D)
    folds = VelocityPath(Linear(), base(), mixture(), lambda x, t: slope * x)
    walkers = Walkers.sample(folds.start, 64, seeded(0))
    with pytest.raises(FloatingPointError, match=r"Flow returned a weight of NaN.*smaller step"):
        _ = walkers.move(Flow(heun=False), folds.at(1.0), seeded(0)).ess


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: EulerMaruyama(0.0), "eps, the diffusivity, must be positive and finite, got 0.0"),
        (lambda: EulerMaruyama(math.nan), "must be positive and finite"),
        (lambda: Flow(probes=-1), "probes must be 0 or more"),
        (lambda: Flow(terms=0), "terms 1 or more"),
        (lambda: Schedule.along((0.0, 0.7, 0.6, 1.0), lambda t: EulerMaruyama(1.0)), "increase"),
        (lambda: Schedule.along((0.0, 1.2), lambda t: EulerMaruyama(1.0)), "from beta = 0 to"),
        (
            lambda: Walkers.sample(Thin(base()).start, 8, seeded(0)),
            r"the drift has shape \(8, 1\) for rows of shape \(8, 2\)",
        ),
        (
            lambda: Walkers.sample(base(), 8, seeded(0)).move(
                EulerMaruyama(1.0), mixture(), seeded(0)
            ),
            "along a path with a drift .*, and a GaussianMixture is not on one",
        ),
        (
            lambda: Walkers.sample(base(), 8, seeded(0)).move(
                EulerMaruyama(1.0), path().at(0.5), seeded(0)
            ),
            "and the energy that the walkers last saw is not on one",
        ),
        (
            lambda: Walkers.sample(path().start, 8, seeded(0)).move(
                Chain((EulerMaruyama(1.0),)), path().at(0.5), seeded(0), graph=True
            ),
            r"Chain\(EulerMaruyama\) leads along a path, .*: move without graph=True",
        ),
        (lambda: Repeat(EulerMaruyama(1.0), 2), "not repeated"),
        (lambda: Chain((MALA(0.1), EulerMaruyama(1.0))), "a transport leads a chain"),
    ],
)
def test_what_is_no_transport_is_refused(make, says):
    with pytest.raises(ValueError, match=says):
        make()
