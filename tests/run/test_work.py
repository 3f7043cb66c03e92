"""The default bracket takes at most half of the training's counted evaluations, or about 30 s."""

import logging

import known
import pytest
import torch

from noneq import Session
from noneq.kernels import with_momentum
from noneq.likelihood import log_z
from noneq.run import choose, evaluation, supervise, work
from noneq.run.choosing import with_changes
from noneq.run.evaluation import evaluate_run
from noneq.run.work import bracket_within, evaluations_of_bracket, evaluations_of_training

ROWS = torch.randn(400, 2, generator=torch.Generator().manual_seed(0)) @ torch.tensor(
    [[1.0, 0.5], [0.0, 0.4]]
)


def counted(net):
    """A list of the numbers of rows that a network maps from now on."""
    rows = []
    net.register_forward_hook(lambda _module, inputs, _output: rows.append(len(inputs[0])))
    return rows


@pytest.mark.parametrize("refresh", [False, True])
@pytest.mark.parametrize("leaps", [1, 3])
def test_evaluations_are_those_of_the_network(refresh, leaps):
    how = {
        "walkers": 512, "held_out": 128, "moves": 5, "batch": 16, "renew": None, "width": 4,
        "base": "full", "iterations": 40, "early_stopping": False, "score_matching": None,
        "networks": 1, "clusters": None, "refresh": refresh, "leapfrog_steps": leaps,
        "bracket": {"walkers": 256, "temperatures": 200, "equilibrate": 150},
    }  # fmt: skip
    recipe = choose((2,), len(ROWS), "table", **how)
    session = Session(recipe, ROWS)
    rows = counted(session.energy.net)
    for _ in session:
        pass
    told = evaluations_of_training(recipe, [{"iteration": 40, "ess": 1.0}], 0)
    # but for what comes before the first iteration, and what is evaluated twice
    assert sum(rows) == pytest.approx(told, rel=0.25)
    rows.clear()
    kernel, rng = with_momentum(session.learner.trained.kernel), torch.Generator()
    log_z(
        session.energy, data=ROWS, n=256, temperatures=200, equilibrate=150, kernel=kernel, rng=rng
    )
    assert sum(rows) == pytest.approx(evaluations_of_bracket(recipe), rel=0.25)  # and the pilots


def test_score_matching_and_looks_are_counted():
    recipe = choose((3,), 2100, "table")  # 512 + 128 walkers, 4 moves of 2 evaluations
    lines = [{"iteration": 1}, {"iteration": 90}, {"iteration": 91, "ess": 0.9},
             {"iteration": 100, "ess": 0.9, "validation_nll": 3.0}]  # fmt: skip
    looked = 256 * 350 + 300
    each = 640 * 9 + 3 * 1024
    wanted = 3 * 512 * 90 + each * 10 + looked
    assert evaluations_of_training(recipe, lines, 300) == wanted
    assert evaluations_of_training(recipe, [], 300) == 0
    assert evaluations_of_bracket(recipe) == 512 * (2 * 1000 + 1000 + 2 * 750) * 2


@pytest.mark.parametrize(
    ("shape", "rows", "kind"),
    [((1, 8, 8), 1257, "image"), ((13,), 124, "table"), ((10,), 7000, "table")],
)
def test_a_whole_training_by_default_has_its_whole_bracket(shape, rows, kind):
    recipe = choose(shape, rows, kind, discrete=kind == "image")
    scores, most = recipe.train.score_matching, recipe.budget.iterations
    lines = [{"iteration": scores}, {"iteration": most, "ess": 1.0}]
    least = work._in_seconds(recipe, shape)
    half = evaluations_of_training(recipe, lines, 0) / 2
    assert bracket_within(recipe, max(half, least)) == recipe.bracket


def test_a_bracket_is_shortened_in_proportion_and_not_without_end():
    recipe = choose((3,), 2100, "table", bracket={"temperatures": 400, "equilibrate": 60})
    takes = evaluations_of_bracket(recipe)
    for share in (0.9, 0.5, 0.3):
        short = bracket_within(recipe, share * takes)
        assert short.temperatures == int(400 * share)
        assert short.equilibrate == max(50, int(60 * share))
        assert short.walkers == recipe.bracket.walkers
    assert bracket_within(recipe, takes) == recipe.bracket
    short = bracket_within(recipe, 0.0)
    assert (short.temperatures, short.equilibrate) == (50, 50)
    few = with_changes(recipe, {"bracket": {"equilibrate": 7}})
    assert bracket_within(few, 0.0).equilibrate == 7


def trained(folder, bracket):
    run, data, session = known.begun(folder, bracket=bracket)
    list(supervise(run, session))
    return run, data


def test_only_the_default_is_shortened_and_it_says_so(tmp_path, monkeypatch, caplog):
    default = {"walkers": 512, "temperatures": 1000, "equilibrate": 1000}
    run, data = trained(tmp_path, default)
    assert work.within_share(run, run.recipe) == run.recipe, "30 s are granted"
    monkeypatch.setattr(work, "SECONDS", 1e-6)
    with caplog.at_level(logging.INFO, "noneq"):
        verdict = evaluate_run(run, data)
    assert "the bracket takes 50 temperatures instead of 1000" in caplog.text
    assert (verdict.how["temperatures"], verdict.how["equilibrate"]) == (50, 50)
    assert verdict.how["walkers"] == 512
    assert run.recipe.bracket.temperatures == 1000
    assert evaluate_run(run, data).log_z == verdict.log_z
    own = with_changes(run.recipe, {"bracket": {"temperatures": 999}})
    assert work.within_share(run, own) == own, "the user's choice"
    monkeypatch.delattr(evaluation, "within_share")
    asked = evaluate_run(run, data, how={"temperatures": 60, "equilibrate": 5})
    assert (asked.how["temperatures"], asked.how["equilibrate"]) == (60, 5)
