"""A session goes on with the same bits, keeps the average, and sees a run that diverges."""

import math
from copy import deepcopy

import pytest
import torch
from known import build, differences

from noneq import Session, Tilted
from noneq.data import digits
from noneq.energies import evaluate
from noneq.run import checkpoint, choose
from noneq.run.choosing import with_changes
from noneq.run.divergence import DivergenceMonitor
from noneq.run.families import FAMILIES
from noneq.run.storing import load_model, save_model

X = digits().train[:300].view(-1, 1, 8, 8)
RECIPE = choose(
    (1, 8, 8),
    len(X),
    "image",
    discrete=True,
    iterations=24,
    renew=10,
    temperatures=30,
    walkers=64,
    held_out=16,
    batch=64,
    ess_min=0.97,
    width=32,
    networks=1,
    net="mlp",
    tau=0.2,
    score_matching=None,
    early_stopping=False,
)


def run(session, until=math.inf):
    for record in session:
        if record.iteration >= until:
            break
    return record


def bits(session):
    """All that moves, but for the clock."""
    tree = session.state_dict()
    del tree["seconds"]
    return tree


@pytest.fixture(scope="module")
def whole():
    session = Session(RECIPE, X, seed=1)
    last = run(session)
    # all that resuming may forget has happened
    assert last.state.walkers.weights.resampled > 0
    assert last.state.trust.redone > 0
    assert last.state.kernel.h != RECIPE.model.step_size
    return session


@pytest.mark.parametrize("at", [1, 7, 10, 11, 23])
def test_a_resumed_session_has_the_same_bits(whole, tmp_path, at):
    first = Session(RECIPE, X, seed=1)
    run(first, at)
    checkpoint.store(tmp_path, first.state_dict())
    second = Session(RECIPE, X, seed=1)
    second.load_state_dict(checkpoint.load(tmp_path))
    assert second.iteration == at
    run(second)
    assert differences(bits(whole), bits(second)) == []


@pytest.mark.parametrize(
    "changes",
    [{"weighted": False, "start": "data", "tau": None}, {"held_out": None, "renew": None}],
)
def test_other_ways_to_train_resume_as_well(tmp_path, changes):
    recipe = with_changes(RECIPE, {"iterations": 6, **changes})
    whole = Session(recipe, X, seed=2)
    run(whole)
    first = Session(recipe, X, seed=2)
    run(first, 3)
    checkpoint.store(tmp_path, first.state_dict())
    second = Session(recipe, X, seed=2)
    second.load_state_dict(checkpoint.load(tmp_path))
    run(second)
    assert differences(bits(whole), bits(second)) == []


def test_another_seed_has_other_bits(whole):
    other = Session(RECIPE, X, seed=2)
    run(other)
    assert differences(bits(whole), bits(other))


def test_a_session_does_not_touch_the_global_generator():
    before = torch.get_rng_state()
    run(Session(with_changes(RECIPE, {"iterations": 1}), X))
    assert torch.equal(before, torch.get_rng_state())


def test_the_average_is_the_exponential_one():
    recipe = with_changes(RECIPE, {"iterations": 5, "renew": None})
    session = Session(recipe, X)
    name = "net.net.0.weight"
    expected = None
    for done, _ in enumerate(session, start=1):
        now = session.energy.state_dict()[name].clone()
        ema = min(recipe.optimizer.ema, done / (9 + done))  # the start is forgotten
        expected = now if expected is None else ema * expected + (1 - ema) * now
    assert torch.allclose(session.average.state_dict()[name], expected, atol=1e-6)
    assert not torch.equal(session.average.state_dict()[name], now)


def test_tau_falls_and_backoff_lowers_it():
    session = Session(with_changes(RECIPE, {"renew": None, "iterations": 4, "tau_end": 0.5}), X)
    session.backoff = 0.5
    taus = [record.state.trust.tau for record in session]
    falls = [1, 0.875, 0.75, 0.625]
    assert taus == pytest.approx([RECIPE.train.tau * 0.5 * fall for fall in falls])


def test_the_learning_rate_falls_as_the_root_without_a_trust_region():
    session = Session(
        with_changes(RECIPE, {"renew": None, "iterations": 4, "tau_end": 0.36, "tau": None}), X
    )
    rates = []
    for _ in session:
        rates.append(session.optimizer.param_groups[0]["lr"] / RECIPE.optimizer.lr)
    assert rates == pytest.approx([math.sqrt(f) for f in (1, 0.84, 0.68, 0.52)])


def test_a_session_keeps_time_by_the_clock_that_it_is_given():
    session = Session(
        with_changes(RECIPE, {"iterations": None, "seconds": 7.0, "renew": None}), X, seed=0
    )
    ticks = iter(range(100))
    session.clock = lambda: float(next(ticks))
    run(session)
    assert (session.iteration, session.seconds) == (7, 7.0)


class Stepping(type(FAMILIES["network"])):
    """Another optimiser, and half of the width of the recipe."""

    def build(self, recipe, rows, seed=0):
        return super().build(with_changes(recipe, {"width": 16}), rows, seed)

    def optimizer(self, energy, choices):
        return torch.optim.SGD(energy.parameters(), lr=choices.lr)


def test_a_session_may_be_of_a_family_of_its_own():
    session = Session(with_changes(RECIPE, {"iterations": 2}), X, family=Stepping())
    run(session)
    assert isinstance(session.optimizer, torch.optim.SGD)
    assert session.optimizer.param_groups[0]["lr"] == RECIPE.optimizer.lr
    assert len(session.energy.state_dict()["net.net.0.bias"]) == 16


def test_a_session_goes_on_with_other_rows_and_no_end():
    first = Session(with_changes(RECIPE, {"iterations": 2}), X[:100])
    run(first)
    endless = {"iterations": None, "seconds": math.inf}
    second = Session(with_changes(RECIPE, endless), X[100:])
    second.load_state_dict(first.state_dict())
    record = run(second, 5)
    assert (record.iteration, second.progress) == (5, 0)
    assert record.state.trust.tau == RECIPE.train.tau


def test_the_recipe_says_whether_there_is_a_trust_region():
    without = with_changes(RECIPE, {"tau": None})
    for recipe, other in ((RECIPE, without), (without, RECIPE)):
        first, second = Session(recipe, X), Session(other, X)
        run(first, 1)
        second.load_state_dict(first.state_dict())
        assert (run(second, 2).state.trust is None) == (other.train.tau is None)


def test_random_numbers_of_another_kind_of_device_are_refused():
    first = Session(with_changes(RECIPE, {"iterations": 1}), X)
    run(first)
    second = Session(RECIPE, X)
    # a generator of CUDA has a state of 16 bytes
    saved = {**first.state_dict(), "rng": torch.zeros(16, dtype=torch.uint8)}
    with pytest.raises(ValueError, match="another kind of device than cpu, where this session"):
        second.load_state_dict(saved)
    assert (second.iteration, second.seconds) == (0, 0)


# -- the watch


def fed(watch, *values):
    for nll in values:
        watch.see(nll)
    return watch


def test_the_watch_sees_a_run_that_rises_from_its_best():
    watch = fed(DivergenceMonitor(base=20.0, margin=3.0, least=2), 20.0, 15.0, 12.0, 12.0, 12.5)
    assert watch.healthy
    fed(watch, 14.0, 16.0)
    assert not watch.healthy
    with pytest.raises(FloatingPointError, match="rose to"):
        watch.see(20.0)


def test_the_watch_takes_no_single_batchs_word():
    watch = fed(DivergenceMonitor(base=20.0, margin=3.0), *[12.0] * 30, 60.0)
    assert watch.healthy is False
    fed(watch, *[12.0] * 30)
    assert watch.healthy
    fed(DivergenceMonitor(base=20.0, margin=3.0), 60.0, *[12.0] * 60)  # nor the first one's


def test_the_watch_knows_that_a_renewal_corrects_log_z():
    watch = fed(
        DivergenceMonitor(base=20.0, margin=3.0, least=2), 20.0, 5.0, 0.0, -5.0
    )  # log Z ran away
    watch.known = 14.0  # what was known right after the last renewal
    watch.see(-6.0, renewed=True)  # the last one under the old log Z
    fed(watch, 15.0, 15.5)
    assert watch.healthy
    watch.see(15.5, renewed=True)
    watch.see(40.0)
    with pytest.raises(FloatingPointError, match=r"the base has 20\.0"):
        watch.see(40.0)  # worse than the base, and known so


def test_the_watch_sees_what_only_the_renewals_know():
    # between renewals the running NLL falls, and every renewal finds the model worse
    watch = DivergenceMonitor(base=40.0, margin=3.0, least=5)
    for known in (10.0, 12.0):
        fed(watch, *[known] * 10, *[known - 5.0] * 30)
        watch.see(known - 5.0, renewed=True)
    with pytest.raises(FloatingPointError, match="rose to"):
        fed(watch, *[14.0] * 10)
    assert watch.known == 10.0


def test_the_watch_knows_that_a_probability_is_at_most_1():
    watch = fed(
        DivergenceMonitor(base=20.0, margin=3.0, least=2, floor=0.0), 20.0, 5.0, 0.5, -2.0, -2.0
    )
    with pytest.raises(FloatingPointError, match=r"fell to -.*which no model can have"):
        fed(watch, -40.0, -40.0)
    fed(
        DivergenceMonitor(base=20.0, margin=3.0, least=2), 20.0, -40.0, -40.0
    )  # of a density there is none


def test_the_watch_has_no_opinion_without_log_z():
    assert fed(DivergenceMonitor(base=20.0, margin=3.0), math.nan).healthy


def test_the_watch_takes_infinity_for_divergence():
    watch = fed(DivergenceMonitor(base=20.0, margin=3.0), 10.0)
    with pytest.raises(FloatingPointError):
        watch.see(math.inf)


def test_the_watch_is_calm_over_heavy_tails():
    # one Cauchy column; 5 runs of 200 batches of the exact base: a batch's mean strays far
    x = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
    x[:, 1] = torch.tan(
        math.pi * (torch.rand(400, generator=torch.Generator().manual_seed(1)) - 0.5)
    )
    recipe = choose((2,), 400, "table", iterations=1, batch=32)
    for seed in range(5):
        session = Session(recipe, x, seed)
        base, rng = session.energy.base, torch.Generator().manual_seed(seed)
        for _ in range(200):
            rows = x[torch.randint(400, (32,), generator=rng)]
            session.monitor.see(float(base(rows).mean()) + base.log_z())


# -- models


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"clusters": None},
        {"base": "diagonal", "clusters": None},
        {"base": "diagonal"},
        {"base": "diagonal", "clusters": 1},  # of one cluster the base's own is used
        {"base": "low-rank", "clusters": None},
        {"base": "low-rank"},
        {"leapfrog_steps": 3},
        {"net": "convnet", "width": 4, "depth": 2},
        {"net": "resnet", "width": 4, "depth": 1},
    ],
)
def test_a_model_comes_back_from_its_file(tmp_path, changes):
    recipe = with_changes(RECIPE, changes)
    energy, kernel = build(recipe, X, seed=3)
    with torch.no_grad():
        for p in energy.net.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(0)))
    # the moving average is a copy, whose base is another object than the kernel knows
    save_model(tmp_path / "m.safetensors", deepcopy(energy), kernel, recipe)
    again, moves = load_model(tmp_path / "m.safetensors", recipe, (1, 8, 8))
    for a, b in zip(evaluate(energy, X[:9]), evaluate(again, X[:9]), strict=True):
        assert differences(a, b) == []
    assert again.base.log_z() == energy.base.log_z()
    assert torch.equal(kernel.factor.mul(X), moves.factor.mul(X))
    assert isinstance(again, Tilted)


def test_the_parameters_of_another_model(tmp_path):
    energy, kernel = build(RECIPE, X)
    save_model(tmp_path / "m.safetensors", energy, kernel, RECIPE)
    with pytest.raises(ValueError, match=r"m.safetensors: the parameters of another model"):
        load_model(tmp_path / "m.safetensors", with_changes(RECIPE, {"width": 33}), (1, 8, 8))
    with pytest.raises(ValueError, match="another model"):
        load_model(tmp_path / "m.safetensors", RECIPE, (1, 4, 4))
    tensors = checkpoint.load_tensors(tmp_path / "m.safetensors")
    del tensors[max(name for name in tensors if name.startswith("net."))]
    checkpoint.save_tensors(tmp_path / "m.safetensors", tensors)
    with pytest.raises(ValueError, match=r"another model \(Missing key"):
        load_model(tmp_path / "m.safetensors", RECIPE, (1, 8, 8))


def test_networks_are_seeded():
    a, b, c = (FAMILIES["network"].network(RECIPE, (64,), seed).state_dict() for seed in (0, 0, 1))
    assert differences(dict(a), dict(b)) == []
    assert differences(dict(a), dict(c))


def test_nothing_is_judged_without_a_margin():
    unwatched = DivergenceMonitor(base=math.inf, margin=math.inf)
    assert fed(unwatched, *[1e9] * 50, math.inf).seen == 0
    assert unwatched.healthy
