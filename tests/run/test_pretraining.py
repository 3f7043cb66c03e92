"""Score matching first: what it hands to maximum likelihood, to the bit, and with known log Z."""

import math

import pytest
import torch
from known import differences

import noneq
from noneq import Session
from noneq.energies import GaussianMixture
from noneq.models import Averaged
from noneq.run import checkpoint, choose
from noneq.run.learners import LikelihoodLearner
from noneq.run.score_stage import iterations_of_scores
from noneq.training import ScoreMatchingRecord

RNG = torch.Generator().manual_seed(0)
#: two unequal modes, and a skewed second column
X = torch.randn(400, 2, generator=RNG) * torch.tensor([0.3, 0.5])
X[:100] += torch.tensor([2.0, 0.0])
X[:, 1] += 0.6 * X[:, 0].square()
QUICK = {
    "base": "full",
    "clusters": None,
    "width": 16,
    "walkers": 256,
    "held_out": 64,
    "moves": 2,
    "renew": None,
    "batch": 128,
    "networks": 2,
    "score_matching": 40,
    "iterations": 60,
    "early_stopping": False,
    "noise": 0.1,
}


def recipe(**changes):
    return choose((2,), len(X), "table", **{**QUICK, **changes})


def run(session, until=math.inf):
    for record in session:
        if record.iteration >= until:
            break
    return record


def bits(session):
    tree = session.state_dict()
    del tree["seconds"]
    return tree


def log_z_on_a_grid(energy, half=9.0, points=601):
    """Integrate exp(-U) over a square by the trapezoidal rule."""
    axis = torch.linspace(-half, half, points)
    grid = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        u = torch.cat([energy(part) for part in grid.split(50_000)]).double()
    return float(torch.logsumexp(-u, 0) + 2 * math.log(float(axis[1] - axis[0])))


@pytest.fixture(scope="module")
def whole():
    session = Session(recipe(), X, seed=3)
    run(session)
    return session


@pytest.mark.parametrize("at", [1, 17, 39, 40, 41, 59])
def test_a_resumed_session_has_the_same_bits(whole, tmp_path, at):
    first = Session(recipe(), X, seed=3)
    run(first, at)
    checkpoint.store(tmp_path, first.state_dict())
    second = Session(recipe(), X, seed=3)
    second.load_state_dict(checkpoint.load(tmp_path))
    assert second.iteration == at
    run(second)
    assert differences(bits(whole), bits(second)) == []


def test_the_model_is_the_base_tilted_by_the_mean_of_the_averaged_networks():
    session = Session(recipe(), X, seed=1)
    learner = session.learner
    run(session, 40)
    assert learner.pretraining
    assert isinstance(session.trained, ScoreMatchingRecord)
    assert torch.equal(session.energy(X), session.energy.base(X))  # until then it is its base
    assert torch.equal(session.average(X), session.energy.base(X))
    nets, ones = learner.stage.average.module, torch.ones(len(X))
    one, two = (session.energy.net.around(net) for net in nets)  # which see whitened rows
    expected = session.energy.base(X) + (one(X, ones) + two(X, ones)) / 2
    trained = {name: value.clone() for name, value in nets.state_dict().items()}
    state = learner.stage.begin()
    torch.testing.assert_close(session.energy(X), expected)
    assert not torch.allclose(expected, session.energy.base(X), atol=0.05)
    assert differences(trained, nets.state_dict()) == []
    assert state.iteration == 40


def test_the_networks_differ_and_the_average_is_not_the_last():
    session = Session(recipe(), X, seed=1)
    run(session, 40)
    stage, ones = session.learner.stage, torch.ones(len(X))
    one, two = stage.average.module
    assert not torch.allclose(one(X, ones), two(X, ones), atol=0.01)
    assert min(float(net(X, ones).detach().abs().max()) for net in (one, two)) > 0.01
    assert not torch.allclose(one(X, ones), stage.nets[0](X, ones), atol=1e-4)


@pytest.mark.parametrize("seed", [0, 1])
def test_walkers_arrive_with_the_log_z_of_the_model(seed):
    """Within 5 standard errors (of about 0.02) of a grid, where the base is 0.05 or more away."""
    many = {"walkers": 2048, "held_out": 2048, "score_matching": 500, "iterations": 900}
    session = Session(recipe(**many | {"width": 32}), X, seed=seed)
    run(session, 500)
    state = session.learner.stage.begin()
    exact = log_z_on_a_grid(session.energy)
    assert abs(exact - session.energy.base.log_z()) > 0.05
    found = state.held_out.log_z
    assert found.stderr < 0.1
    assert abs(found.value - exact) < 5 * found.stderr
    assert abs(state.walkers.log_z.value - exact) < 0.25
    # and the walkers have the model's mean, not the base's alone
    axis = torch.linspace(-9.0, 9.0, 301)
    grid = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        p = torch.softmax(-session.energy(grid).double(), 0)
    third = float((p * grid[:, 1].double() ** 3).sum())
    walked = float(state.held_out.mean(state.held_out.x[:, 1].double() ** 3))
    spread = float((p * grid[:, 1].double() ** 6).sum()) ** 0.5
    assert abs(walked - third) < 5 * spread / math.sqrt(state.held_out.ess * 2048)


def test_maximum_likelihood_begins_with_the_whole_trust_region():
    session = Session(recipe(tau=0.1, tau_end=0.5), X, seed=1)
    seen = {}
    for record in session:
        if not isinstance(record, ScoreMatchingRecord):
            seen[record.iteration] = record.state.trust.tau
    assert min(seen) == 41
    assert abs(seen[41] - 0.1) < 0.004
    assert abs(seen[60] - 0.05) < 0.004
    assert seen[41] > seen[50] > seen[60]


def test_the_rate_of_score_matching_falls_to_zero_and_backoff_lowers_it():
    session = Session(recipe(), X, seed=1)
    stage = session.learner.stage
    stage.set_rate(0.0, 1.0)
    assert stage.optimizer.param_groups[0]["lr"] == 2e-3
    stage.set_rate(0.0, 0.25)
    assert stage.optimizer.param_groups[0]["lr"] == 5e-4
    run(session, 39)
    stage.set_rate(0.0, 1.0)
    assert 0 < stage.optimizer.param_groups[0]["lr"] < 1e-5


def test_score_matching_takes_at_most_three_quarters_of_the_iterations():
    assert iterations_of_scores(recipe(iterations=1000)) == 40
    assert iterations_of_scores(recipe(iterations=40)) == 30
    assert iterations_of_scores(recipe(iterations=1)) == 0
    assert iterations_of_scores(recipe(score_matching=None)) == 0
    assert iterations_of_scores(recipe(iterations=None, seconds=1.0)) == 40
    assert type(Session(recipe(iterations=1), X).learner) is LikelihoodLearner


def test_of_a_time_it_takes_two_fifths():
    session = Session(recipe(iterations=None, seconds=100.0, score_matching=10_000), X)
    now = [0.0]

    def clock():
        now[0] += 0.5  # an iteration reads the clock once
        return now[0]

    session.clock = clock
    first = next(r.iteration for r in session if not isinstance(r, ScoreMatchingRecord))
    assert 78 <= first <= 83  # 40 s


def test_looks_begin_at_the_model_of_score_matching():
    how = {"early_stopping": True, "iterations": 680, "score_matching": 500}
    session = Session(recipe(**how), X, seed=1, validation=X[::8])
    session.validation.interval = 10**6  # no other look but the one at the end
    run(session)
    looks = [look.iteration for look in session.validation.looks]
    assert looks == [0, 501, 680]
    assert session.validation.origin == 500
    assert session.validation.looks[1].nll < session.validation.looks[0].nll - 0.1


def stage_of(**changes):
    how = {"early_stopping": True, "score_matching": 2000, "iterations": 4000, **changes}
    return Session(recipe(**how), X[:40], seed=1, validation=X[200:]).learner.stage


def test_the_networks_of_the_lowest_loss_are_kept():
    # forty rows are memorised: the loss of the others falls, and then rises
    stage = stage_of(width=64, noise=0.0, dropout=0.0)
    losses, kept = [], []
    see = stage.best.see

    def seen(energy, nets, iteration):
        see(energy, nets, iteration)
        rng = torch.Generator().manual_seed(stage.best.seed)
        losses.append(float(energy.score_loss(stage.best.rows, rng).detach()))
        kept.append(stage.best.iteration)

    stage.best.see = seen
    stage.set_rate(0.0, 1.0)
    for record in stage.iterate():
        stage.set_rate(record.iteration / 4000, 1.0)
    least = min(range(len(losses)), key=losses.__getitem__)
    assert stage.best.loss == losses[least]
    assert kept[-1] == 50 * (least + 1)
    assert losses[-1] > losses[least]
    assert record.iteration < 2000  # enough is known before the end
    assert record.iteration - kept[-1] >= max(500, kept[-1])
    state = stage.begin()
    frozen = Averaged([net.frozen(1.0) for net in stage.best.nets])
    assert torch.equal(stage.context.energy.net.net(X[:9]), frozen(X[:9]))
    assert state.iteration == record.iteration


def test_a_resumed_stage_knows_its_best_networks():
    first, second = stage_of(), stage_of()
    first.set_rate(0.0, 1.0)
    for record in first.iterate():
        first.set_rate(record.iteration / 4000, 1.0)
        if record.iteration == 120:
            break
    second.load_state_dict(first.state_dict())
    assert second.best.iteration in (50, 100)
    assert differences(first.best.state_dict(), second.best.state_dict()) == []


def test_a_mixture_is_a_base_like_any_other():
    session = Session(recipe(base="mixture", components=2, score_matching=200, iterations=203), X)
    assert isinstance(session.learner.stage.base, GaussianMixture)
    run(session)
    truth, found = log_z_on_a_grid(session.energy), session.trained.held_out.log_z
    assert found.stderr < 0.1
    assert abs(found.value - truth) < 4 * found.stderr


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"start": "data"}, "hands over walkers of its own"),
        ({"score_matching": 0}, "score_matching must be 1 or more"),
        ({"networks": 0}, "networks must be 1 or more"),
    ],
)
def test_what_cannot_be(changes, told):
    with pytest.raises(ValueError, match=told):
        Session(recipe(**changes), X)


def test_convolutional_networks_have_none():
    images = torch.randn(20, 1, 8, 8)
    asked = choose((1, 8, 8), 20, "image", net="convnet", depth=1, score_matching=5, iterations=9)
    with pytest.raises(ValueError, match="is for `net` mlp"):
        Session(asked, images)
    unasked = choose((1, 8, 8), 20, "image", net="convnet", depth=1)
    assert unasked.train.score_matching is None


def test_defaults_that_do_not_go_together_are_left_out():
    assert choose((2,), 5000, "table").train.score_matching
    mixed = choose((2,), 5000, "table", base="mixture", components=3)
    assert mixed.train.score_matching
    assert choose((2,), 5000, "table", start="data").train.score_matching is None
    few, many = choose((2,), 300, "table"), choose((2,), 5000, "table")
    assert few.train.score_matching < many.train.score_matching
    assert few.model.dropout > many.model.dropout
    assert choose((2,), 5000, "table", seconds=60.0).budget.iterations is None
    assert choose((2,), 5000, "table", seconds=60.0, iterations=7).budget.iterations == 7


def test_an_average_of_networks():
    nets = [noneq.models.MLP(2, 4, 1) for _ in range(3)]
    for k, net in enumerate(nets):
        net.net[-1].bias.data.fill_(float(k))
    assert Averaged(nets)(X[:5]).tolist() == [1.0] * 5
    with pytest.raises(ValueError, match="one network or more"):
        Averaged([])


def test_a_longer_budget_is_no_second_beginning(tmp_path):
    first = Session(recipe(tau=0.1, tau_end=0.0), X, seed=1)
    run(first, 50)
    second = Session(recipe(tau=0.1, tau_end=0.0, iterations=240), X, seed=1)
    second.load_state_dict(first.state_dict())
    record = run(second, 141)
    # the share (141 - 40) / (240 - 40) of maximum likelihood is done, but for the last step
    assert abs(record.state.trust.tau - 0.05) < 0.002


def test_the_report_of_both_stages_shows_the_likelihood():
    from noneq.report.training import training_figure

    scores = [{"iteration": i, "loss": 0.5, "rate": 1e-3} for i in (1, 11)]
    likelihood = [{"iteration": i, "loss": 0.1, "nll": 2.0, "ess": 0.9} for i in (21, 31)]
    titles = [ax.get_title() for ax in training_figure([*scores, *likelihood]).axes]
    alone = [ax.get_title() for ax in training_figure(likelihood).axes]
    assert titles == alone
    assert titles != [ax.get_title() for ax in training_figure(scores).axes]
