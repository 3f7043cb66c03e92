"""Nothing is made on the default device, nothing crosses from one device to another.

Rows, generators and models are made on the processor; what is done with them runs while the
default device is "meta", whose tensors hold no numbers: a tensor that was made without the device
of those at hand fails where it meets one of them, as on a GPU it would fail or wait for a copy.

``NONEQ_DEVICE=cuda pytest tests/test_devices.py`` takes what was made to that device before it is
used; NONEQ_DEVICE=pretended to one that is pretended (`pretended`).
"""

import itertools
import math
import os
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from discrete_paths import discrete_path
from pretended import pretended_gpu, travelled
from roster import DISCRETE_KERNELS, KERNELS, factors
from targets import DISCRETE, TARGETS, base, centred, gaussian_rbm, potts_rbm, rbm, seeded
from torch import nn
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

import noneq
from noneq import (
    HMC,
    MALA,
    MLP,
    ULA,
    BernoulliRBM,
    Gaussian,
    GaussianMixture,
    GaussianRBM,
    PottsRBM,
    Run,
    Session,
    Settings,
    Tilted,
    Walkers,
    anneal,
    check_energy,
    data,
    energies,
    log_z,
    nll,
    pilot,
    population,
    train,
)
from noneq.annealing import Schedule, complete
from noneq.energies import denoising
from noneq.estimators import RBM, EnergyDensity
from noneq.kernels import EulerMaruyama, Flow, GibbsWithGradients, RandomWalk
from noneq.likelihood import bennett, exact_log_z, genealogy
from noneq.models import ConvNet, ResNet, TimedMLP
from noneq.models.interpolants import (
    Linear,
    MixturePath,
    RewardPath,
    TimedEnergy,
    Trigonometric,
    VelocityPath,
    couple,
)
from noneq.run import checkpoint, choose, samples, supervise
from noneq.run.evaluation import evaluate_run
from noneq.run.scores import score
from noneq.training import match, step
from noneq.walkers.resampling import multinomial, residual, stratified, systematic

CPU, META = torch.device("cpu"), torch.device("meta")
DEVICE = os.environ.get("NONEQ_DEVICE", "cpu")

#: name: a function that makes what is needed and returns what is to be done with it
CASES = {}


def case(name):
    """Enter a case into the list."""

    def enter(make):
        assert name not in CASES
        CASES[name] = make
        return make

    return enter


@pytest.fixture(autouse=True)
def optimisers_count_on_the_processor():
    """Torch's own optimisers make their counters of steps on the default device."""
    inside = []

    def before(*_):
        inside.append(torch.device("cpu"))
        inside[-1].__enter__()

    def after(*_):
        inside.pop().__exit__(None, None, None)

    hooks = (
        register_optimizer_step_pre_hook(before),
        register_optimizer_step_post_hook(after),
    )
    yield
    for hook in hooks:
        hook.remove()
    while inside:  # of a step that failed
        after()


def tensors_in(value, depth=0):
    """Every tensor that a value holds."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, nn.Module):
        yield from itertools.chain(value.parameters(), value.buffers())
    elif isinstance(value, dict):
        yield from itertools.chain.from_iterable(tensors_in(v, depth) for v in value.values())
    elif isinstance(value, list | tuple | set):
        yield from itertools.chain.from_iterable(tensors_in(v, depth) for v in value)
    elif hasattr(value, "__dict__") and depth < 4 and type(value).__module__.startswith("noneq"):
        yield from tensors_in(vars(value), depth + 1)


def check(make):
    """Make on the processor, use with "meta" for a default: no tensor found may be there."""
    with pretended_gpu() if DEVICE == "pretended" else nullcontext():
        with CPU:
            use = make()
        if DEVICE != "cpu":
            travelled(use, "cuda" if DEVICE == "pretended" else DEVICE)
        with META:
            found = list(tensors_in(use()))
        allowed = ("cpu",) if DEVICE == "cpu" else ("cpu", "cuda")
        wrong = [(tuple(t.shape), t.dtype) for t in found if t.device.type not in allowed]
    assert not wrong, (
        f"{len(wrong)} of {len(found)} tensors are on the default device: {wrong[:5]}"
    )


# -- what they run on


def normal_rows(n=120, d=2, seed=0):
    """Two unequal clusters."""
    x = torch.randn(n, d, generator=seeded(seed))
    x[: n // 3] = 0.5 * x[: n // 3] + 3
    return x


def bit_rows(n=120, d=6, seed=1):
    p = torch.where(torch.arange(n)[:, None] < n // 3, 0.2, 0.7)
    return (torch.rand(n, d, generator=seeded(seed)) < p).float()


def network(shape=(2,), dtype=torch.float32):
    """A base and a network whose last layer is not 0."""
    net = MLP(shape, 8, 2)
    for p in net.parameters():
        p.data = 0.3 * torch.randn(p.shape, generator=seeded(2))
    mean = torch.zeros(shape)
    return Tilted(Gaussian(mean, energies.Diagonal(torch.ones(shape))), net).to(dtype)


def every_verb(kernel, path, start, rng):
    """What walkers can do."""
    walkers = Walkers.sample(start, 32, rng, islands=4)
    model = path.at(0.5)
    walkers = walkers.reweight(model).move(kernel, model, rng).resample(1.0, rng)
    kernel = kernel.adapt(walkers.info)
    walkers = walkers.move(kernel, path.at(1.0), rng)
    f = walkers.x.flatten(1)
    known = walkers.ess, walkers.log_z, walkers.effective_ancestors, walkers.mean(f), walkers.p
    return walkers, known, walkers.equal(8, rng), genealogy(walkers)


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("kind", ["identity", "diagonal", "cholesky", "low-rank"])
def test_kernels_of_numbers(name, kind):
    def make():
        energy, rng = network(dtype=torch.float64), seeded(0)
        kernel = KERNELS[name][0](0.1, factors((2,))[kind])
        path = energies.GeometricPath(energy.base, energy)
        return lambda: every_verb(kernel, path, energy.base, rng)

    check(make)


@pytest.mark.parametrize("kernel", DISCRETE_KERNELS)
@pytest.mark.parametrize("target", DISCRETE)
def test_kernels_of_sites(kernel, target):
    def make():
        model, rng = DISCRETE[target][0](), seeded(0)
        if kernel == "BlockGibbs" and not hasattr(model, "gibbs"):
            pytest.skip("has no conditionals")
        path, move = discrete_path(model), DISCRETE_KERNELS[kernel](0.3)
        return lambda: every_verb(move, path, path.start, rng)

    check(make)


@pytest.mark.parametrize("kernel", ["EulerMaruyama", "Flow", "Flow probes", "MALA", "HMC"])
@pytest.mark.parametrize(
    "kind",
    ["mixture", "mixture noise", "velocity", "denoiser", "energy", "reward", "reward whole"],
)
def test_kernels_of_drifted_paths(kernel, kind):
    def make():
        path, rng = drifted_path(kind), seeded(0)
        factor = path.base.factor if kind == "energy" else energies.Identity()
        move = {
            "EulerMaruyama": EulerMaruyama(1.0, factor),
            "Flow": Flow(heun=False), "Flow probes": Flow(probes=2),
            "MALA": MALA(0.1), "HMC": HMC.obabo(0.1),
        }[kernel]  # fmt: skip
        carry = move if kernel[0] in "EF" else noneq.kernels.Chain((EulerMaruyama(1.0), move))
        schedule = Schedule.uniform(4, carry)

        def use():
            walkers, _ = population(path, 16, schedule, rng=rng)
            return walkers, walkers.log_z, walkers.mean(walkers.x)

        return use

    check(make)


def drifted_path(kind):
    """A path of two dimensions with a drift."""
    start = Gaussian(torch.tensor([0.3, -0.2]), energies.Identity(1.3))
    means = torch.tensor([[2.0, 1.0], [-1.5, 0.5]])
    covariances = torch.tensor([[[0.3, 0.1], [0.1, 0.2]], [[0.1, 0.0], [0.0, 0.15]]])
    end = GaussianMixture(means, covariances, torch.tensor([0.6, 0.4]))
    path = MixturePath(Linear(0.5 if kind == "mixture noise" else 0.0), start, end)
    if kind == "velocity":
        return VelocityPath(Linear(), start, end, TimedMLP(2, 8, 2, field=True))
    if kind == "denoiser":
        fields = [TimedMLP(2, 8, 2, field=True) for _ in range(2)]
        return VelocityPath(Linear(0.5), start, end, *fields)
    if kind == "energy":
        energy = TimedEnergy.fit(normal_rows(), TimedMLP(2, 8, 2), 0.1)
        return energies.path_to(energy, energy.base)
    if kind.startswith("reward"):
        reward = nn.Sequential(nn.Linear(2, 1), nn.Flatten(0))
        return RewardPath(path, reward, whole=kind.endswith("whole"))
    return path


SMALL = {"walkers": 32, "held_out": 16, "moves": 2, "batch": 20, "renew": None, "temperatures": 12}
SETTINGS = {
    "weighted": Settings(**SMALL),
    "renewed": Settings(**{**SMALL, "renew": 2}),
    "unweighted": Settings(**{**SMALL, "weighted": False, "renew": 2}),
    "pcd": Settings.pcd(walkers=32, moves=2, batch=20),
    "cd": Settings.cd(walkers=32, moves=2, batch=20),
    "active": Settings(**{**SMALL, "active": 10}),
    "memory": Settings(**{**SMALL, "forgetting_factor": 0.9}),
    "plain steps": Settings(**{**SMALL, "tau": None}),
    "noise": Settings(**{**SMALL, "noise": 0.1}),
}


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("model", ["network", "rbm", "gaussian rbm"])
def test_training(name, model):
    def make():
        rows = bit_rows() if model == "rbm" else normal_rows()
        if model == "network":
            energy = network()
        else:
            kind = {"rbm": BernoulliRBM, "gaussian rbm": GaussianRBM}[model]
            energy = kind.from_data(rows, 4, seeded(1))
        settings = SETTINGS[name]
        if model == "rbm" and settings.noise:
            pytest.skip("bits have no noise")
        rng = seeded(0)
        return lambda: list(itertools.islice(train(energy, rows, settings, rng=rng), 3))

    check(make)


TRAINED = {
    "default generator": {},
    "ULA": {"kernel": ULA(0.1)},
    "ULA, fresh": {"kernel": ULA(0.1, refresh=True)},
    "HMC": {"kernel": HMC(0.1, leapfrog_steps=2)},
    "random walk": {"kernel": RandomWalk(0.3)},
}


@pytest.mark.parametrize("name", TRAINED)
def test_training_with_a_kernel(name):
    def make():
        energy, rows = network(), normal_rows()
        settings = Settings(**SMALL)

        def use():
            records = list(itertools.islice(train(energy, rows, settings, **TRAINED[name]), 2))
            again = train(energy, rows, settings, resume=records[-1].state)
            return records, next(again)

        return use

    check(make)


@pytest.mark.parametrize("trust", [False, True], ids=["plain", "trusted"])
@pytest.mark.parametrize("kernel", [MALA(0.1), ULA(0.1)], ids=["MALA", "ULA"])
def test_one_step(kernel, trust):
    def make():
        energy, rows, rng = network(), normal_rows(), seeded(0)
        optimizer = torch.optim.SGD(energy.parameters(), lr=0.01)

        def use():
            walkers = Walkers.sample(energy.base, 32, rng)
            region = noneq.TrustRegion() if trust else None
            how = {"kernel": kernel, "optimizer": optimizer, "rng": rng, "trust": region}
            return step(energy, rows, walkers, **how)

        return use

    check(make)


# -- whole runs

RECIPES = {
    "network": {"width": 8, "clusters": 2},
    "network, momentum": {"width": 8, "leapfrog_steps": 2, "clusters": None, "base": "low-rank"},
    "network, plain steps": {"width": 8, "tau": None, "base": "diagonal", "clusters": None},
    "rbm": {"model": "rbm", "hidden": 4},
    "gaussian-rbm": {"model": "gaussian-rbm", "hidden": 4},
    "interpolant": {"model": "interpolant", "width": 8, "noise": 0.1, "steps": 6},
}
BUDGET = {"iterations": 3, "bracket": {"walkers": 32, "temperatures": 12, "equilibrate": 4}}
WALKING = {"walkers": 32, "held_out": 16, "moves": 2, "renew": 2, "temperatures": 12, "batch": 20}


def recipe_of(name, rows):
    changes = {**RECIPES[name], **BUDGET}
    changes |= {"batch": 20} if name == "interpolant" else WALKING
    return choose(rows.shape[1:], len(rows), "table", **changes)


@pytest.mark.parametrize("name", RECIPES)
def test_sessions_and_their_checkpoints(name, tmp_path):
    def make():
        rows = bit_rows() if name == "rbm" else normal_rows(200)
        recipe = recipe_of(name, rows)

        def use():
            session = Session(recipe, rows, seed=1)
            events = [next(iter(session))]
            checkpoint.store(tmp_path, session.state_dict())
            other = Session(recipe, rows, seed=1)
            other.load_state_dict(checkpoint.load(tmp_path))
            events += other
            return events, other.energy, other.average, other.state_dict()["average"]

        return use

    check(make)


@pytest.mark.parametrize("name", RECIPES)
def test_run_folders(name, tmp_path):
    def make():
        rows = bit_rows(300) if name == "rbm" else normal_rows(300)
        np.save(tmp_path / "rows.npy", rows.numpy())

        def use():
            found = data.load(tmp_path / "rows.npy", bits=name == "rbm")
            session = Session(recipe_of(name, found.train), found.train)
            about = {"classes": None, "subset": None, "binary": False}
            run = Run.create(tmp_path / "run", found, session, **about)
            list(supervise(run, session))
            again = Session(run.recipe, run.data().train)
            run.restore(again)
            evaluate_run(run, found)
            drawn = [samples.draw(run, 4, weighted=w) for w in (False, True)]
            if name != "interpolant":
                drawn.append(samples.draw(run, 4, "chains", moves=2))
            denoised = denoising.denoised(run.model()[0], found.test, 0.1)
            scores = score(run, found.test)
            return found.train, run.model(), drawn, denoised, scores, again.energy

        return use

    check(make)


@pytest.mark.parametrize("weighted", [True, False], ids=["weighted", "pcd"])
@pytest.mark.parametrize("rows", [bit_rows, normal_rows], ids=["bits", "numbers"])
@pytest.mark.parametrize("hidden", [4, 24], ids=["exact", "annealed"])
def test_the_estimator(rows, weighted, hidden):
    def make():
        x = rows(100, 26 if hidden > 4 else 6).numpy()
        how = {"n_iter": 1, "batch_size": 50, "random_state": 0, "n_temperatures": 10}
        machine = RBM(hidden, weighted=weighted, n_walkers=32, n_moves=1, **how)

        def use():
            machine.fit(x).partial_fit(x)
            machine.transform(x), machine.gibbs(x), machine.sample(3), machine.score(x)
            return machine.rbm_, torch.from_numpy(machine.score_samples(x))

        return use

    check(make)


# -- everything else


@case("check_energy")
def _():
    energy, x = network(), normal_rows()
    return lambda: check_energy(energy, x)


@case("log_z of a network")
def _():
    energy, x = network(), normal_rows()
    return lambda: nll(energy, x, log_z(energy, data=x, n=32, temperatures=10))


@case("log_z of a function")
def _():
    curved, dim = TARGETS["banana"]
    start = base(dim)
    return lambda: log_z(curved, start, n=32, temperatures=10)


@case("log_z of rows with noise")
def _():
    energy, x = network(), normal_rows()
    return lambda: log_z(energy, data=x, n=32, temperatures=10, noise=0.1)


@case("log_z without a base")
def _():
    energy, x = network().net, normal_rows()
    tilted = lambda y: energy(y) + y.square().sum(1)  # noqa: E731
    return lambda: log_z(tilted, data=x, n=32, temperatures=10)


@case("log_z of an RBM by a schedule")
def _():
    machine, x = BernoulliRBM.from_data(bit_rows(), 4, seeded(0)), bit_rows()
    schedule = Schedule.uniform(10, noneq.kernels.BlockGibbs())
    return lambda: log_z(machine, data=x, n=32, temperatures=schedule)


@case("log_z of a function of bits")
def _():
    model = DISCRETE["triangle"][0]().float()
    start, x = energies.Bernoulli(torch.zeros(3)), bit_rows(120, 3)
    return lambda: log_z(model, start, x, n=32, temperatures=10)


@case("log_z of a function of sites")
def _():
    model = DISCRETE["Potts"][0]().float()
    places = torch.randint(3, (100, 2), generator=seeded(0))
    x = nn.functional.one_hot(places, 3).float()
    return lambda: log_z(model, data=x, n=32, temperatures=10)


for _name, _machine in {
    "Bernoulli": rbm, "Potts": potts_rbm, "Gaussian": gaussian_rbm,
    "centred": lambda: centred(BernoulliRBM, (4, 3), (4,), (3,), seed=1),
}.items():  # fmt: skip

    @case(f"an RBM, {_name}")
    def _(machine=_machine):
        model, rng = machine(), seeded(0)

        def use():
            walkers = Walkers.sample(model.base, 16, rng).reweight(model)
            path = energies.path_to(model, model.base)
            schedule = pilot(path, noneq.kernels.BlockGibbs(), rng, n=16, cess=0.9, warmup=2)
            found = population(path, 16, schedule, rng=rng)
            return walkers, found, exact_log_z(model, n=8, rng=rng)

        return use


for _kind in (BernoulliRBM, GaussianRBM, PottsRBM):

    @case(f"from_data and independent_start, {_kind.__name__}")
    def _(kind=_kind):
        x = normal_rows() if kind is GaussianRBM else bit_rows()
        if kind is PottsRBM:
            x = torch.stack([x, 1 - x], -1)
        rng = seeded(0)
        return lambda: (kind.from_data(x, 3, rng), kind.independent_start(x))


for _precondition in ("keep", "diagonal", "full"):

    @case(f"pilot and population, {_precondition}")
    def _(precondition=_precondition):
        energy, rng = network(), seeded(0)
        path = energies.GeometricPath(energy.base, energy)

        def use():
            how = {"n": 16, "cess": 0.9, "warmup": 3, "precondition": precondition}
            schedule = pilot(path, HMC.obabo(0.3, adjusted=True), rng, **how)
            forward, _ = population(path, 16, schedule, rng=rng)
            back = anneal(schedule.backward(path), forward, rng)
            return forward, population(path, 16, 8, rng=rng), bennett(forward, back)

        return use


SOLVABLE = {
    "Gaussian, full": lambda x: Gaussian.fit(x),
    "Gaussian, diagonal": lambda x: Gaussian.fit(x, "diagonal"),
    "Gaussian, low-rank": lambda x: Gaussian.fit(x, "low-rank"),
    "GaussianMixture": lambda x: GaussianMixture.fit(x, 2),
    "Bernoulli": lambda x: energies.Bernoulli.fit((x > 0).to(x)),
    "Uniform": lambda x: energies.Uniform(x.amin(0) - 1, x.amax(0) + 1),
    "Mixture": lambda x: energies.Mixture([Gaussian.fit(x), Gaussian.fit(x[:20])]),
    "Tempered": lambda x: energies.Tempered(Gaussian.fit(x), 0.5),
    "local_covariance": lambda x: Gaussian(x.mean(0), energies.local_covariance(x, 2)),
}
for _name, _fit in SOLVABLE.items():

    @case(f"solvable, {_name}")
    def _(fit=_fit):
        x, rng = normal_rows(), seeded(0)

        def use():
            energy = fit(x)
            if not hasattr(energy, "sample"):
                return energy
            drawn = energy.sample(6, rng)
            cov = energy.covariance() if hasattr(energy, "covariance") else None
            known = energies.evaluate(energy, drawn), energies.fingerprint(energy)
            return energy, drawn, energy.log_z(), known, cov

        return use


for _scheme in (systematic, stratified, multinomial, residual):

    @case(f"resampling, {_scheme.__name__}")
    def _(scheme=_scheme):
        energy, rng = network(), seeded(0)

        def use():
            walkers = Walkers.sample(energy.base, 32, rng).reweight(energy)
            order = walkers.state.u
            return [walkers.resample(1.0, rng, scheme, order=o) for o in (None, order)]

        return use


@case("walkers taken, put and restored")
def _():
    energy, rng, index = network(), seeded(0), torch.arange(5)

    def use():
        walkers = Walkers.sample(energy.base, 16, rng, islands=1).reweight(energy)
        part = walkers[index].move(MALA(0.1), energy, rng)
        saved = walkers.put(index, part).state_dict(energy)
        again = Walkers.from_state_dict(saved, energy)
        return again, saved, again.reweight(energy, graph=True)[1], Walkers.at(again.x, energy)

    return use


@case("walls and dead walkers")
def _():
    box = energies.Boxed(network(), torch.tensor([-1.0, -2.0]), torch.tensor([1.0, 2.0]))
    start, rng = Gaussian(torch.zeros(2), energies.Identity()), seeded(0)

    def use():
        walkers = Walkers.sample(start, 32, rng).reweight(box)
        walkers, u = walkers.reweight(box, graph=True)
        return walkers.resample(1.0, rng), u, walkers.mean(u), walkers.ess

    return use


@case("a box and its kernels")
def _():
    low, high, rng = torch.tensor([-1.0, -2.0]), torch.tensor([1.0, 2.0]), seeded(0)
    box, inside = energies.Uniform(low, high), energies.Boxed(network(), low, high)
    path = energies.GeometricPath(box, inside)
    return lambda: [every_verb(k, path, box, rng) for k in (RandomWalk(0.3), MALA(0.05))]


@case("paths through models")
def _():
    models, rng = [network() for _ in range(3)], seeded(0)
    through = energies.ModelsPath(models[0].base, models)
    between = energies.ParameterPath(models[0], models[1])

    def use():
        found = [population(through, 16, Schedule.uniform(4, MALA(0.1)), rng=rng)]
        walkers = found[0][0].reweight(between.at(0.5))
        return found, walkers.move(MALA(0.1), between.at(1.0), rng)

    return use


for _name, _net in {
    "ConvNet": lambda: ConvNet((1, 8, 8), 4, 2),
    "ResNet": lambda: ResNet((1, 8, 8), 4, stages=2),
    "TimedMLP of time": lambda: _Now(TimedMLP((1, 8, 8), 8, 2)),
}.items():

    @case(f"network, {_name}")
    def _(net=_net):
        start = Gaussian(torch.zeros(1, 8, 8), energies.Identity())
        energy, rng = Tilted(start, net()), seeded(0)
        path = energies.GeometricPath(start, energy)
        return lambda: every_verb(MALA(0.1), path, start, rng)


class _Now(nn.Module):
    """A network of space and time at the time 1/2."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x, x.new_full((len(x),), 0.5))


@case("score matching")
def _():
    energy, x = TimedEnergy.fit(normal_rows(), TimedMLP(2, 8, 2), 0.1), normal_rows()
    return lambda: list(itertools.islice(match(energy, x, batch=16), 3))


@case("interpolants")
def _():
    x, y, rng = normal_rows(20), normal_rows(20, seed=3), seeded(0)

    def use():
        bridges = [i.draw(couple(x, y), y, rng) for i in (Linear(0.3), Trigonometric())]
        return bridges, [b.velocity_loss(lambda x, t: x) for b in bridges]

    return use


@case("digits")
def _():
    return lambda: list(data.digits())


@case("check_kernel")
def _():
    return lambda: noneq.check_kernel(MALA(0.1))


@case("Gibbs with gradients, default kernel")
def _():
    model, rng = DISCRETE["Ising"][0](), seeded(0)
    path = discrete_path(model)
    return lambda: population(path, 16, 8, rng=rng, kernel=GibbsWithGradients())


@case("conditional samples")
def _():
    energy, x, rng = network(), normal_rows(6), seeded(0)
    base = GaussianMixture(torch.ones(2, 2), torch.eye(2).expand(2, 2, 2), torch.ones(2))
    x[::2, 0], x[1, 1] = math.nan, math.nan
    return lambda: [complete(energy, one, x, 2, rng=rng, n=8) for one in (energy.base, base)]


@case("density estimator")
def _():
    x = normal_rows(70).double().numpy()
    settings = {
        "base": "full",
        "early_stopping": False,
        "bracket": {"walkers": 32, "temperatures": 8, "equilibrate": 8},
    }
    model = EnergyDensity(max_iter=2, n_walkers=16, settings=settings, random_state=0)

    def use():
        model.fit(x)
        model.sample(3), model.sample(500), model.sample_conditional(x[:2]), model.predict(x)
        base = EnergyDensity(max_iter=0, random_state=0).fit(x)
        base.sample(3), base.sample_conditional(x[:2])
        return model.energy_, model.base_, torch.from_numpy(model.score_samples(x))

    return use


@pytest.mark.parametrize("name", CASES)
def test_the_rest(name):
    check(CASES[name])


@pytest.mark.skipif(DEVICE != "cpu", reason="what is made is taken to another device")
def test_the_check_itself():
    # made on the default device: found where it meets another, and where it is handed back
    def meets():
        x = torch.ones(3)
        return lambda: x + torch.ones(3)

    def crosses():
        x = torch.ones(3)
        return lambda: torch.eye(3).to(x)

    for make in (meets, crosses):
        with pytest.raises((RuntimeError, NotImplementedError, AssertionError)):
            check(make)
    with pytest.raises(AssertionError, match="1 of 2 tensors"):
        check(lambda: lambda: {"a": [torch.ones(3), torch.ones(3, device="cpu")]})
    assert torch.get_default_device() == CPU
