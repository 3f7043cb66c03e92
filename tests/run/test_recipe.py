"""Every default has one home, and every choice can be made otherwise."""

import json
import subprocess
import sys

import numpy as np
import pytest

from noneq import Settings
from noneq.run import choose
from noneq.run.choosing import applicable, read_recipe
from noneq.run.recipe import Budget, Likelihood


def test_the_digits_recipe_is_the_one_that_was_measured():
    recipe = choose((1, 8, 8), 1257, "image", discrete=True)
    assert (recipe.train.noise, recipe.model.net, recipe.model.width, recipe.model.depth) == (
        0.15,
        "inner-product",
        256,
        2,
    )
    assert recipe.model.dropout == 0.1
    assert (recipe.train.walkers, recipe.train.held_out, recipe.train.moves) == (512, 128, 8)
    assert (recipe.train.tau, recipe.train.tau_end, recipe.train.longest) == (0.015, 0.05, 0.1)
    assert (
        recipe.train.batch,
        recipe.optimizer.lr,
        recipe.optimizer.weight_decay,
        recipe.model.clusters,
    ) == (1024, 3e-3, 0.5, 15)
    assert (recipe.bracket.walkers, recipe.bracket.temperatures, recipe.bracket.equilibrate) == (
        512,
        1000,
        4500,
    )
    assert (recipe.train.score_matching, recipe.model.networks) == (3000, 2)
    assert (recipe.budget.iterations, recipe.train.early_stopping) == (3900, True)


def test_kind_and_shape_decide():
    image = choose((1, 28, 28), 1000, "image", discrete=True)
    table = choose((5,), 300, "table")
    assert image.model.net == "convnet"
    assert table.model.net == "mlp"
    assert table.train.noise == 0
    assert choose((5,), 300, "table", discrete=True).train.noise > 0
    assert (
        choose((5,), 40, "table").model.clusters is None
    )  # too few rows for clusters: the base's own
    assert choose((3, 64, 64), 10_000, "image").model.base == "low-rank"
    assert choose((5000,), 10_000, "table").model.base == "low-rank"
    assert choose((5000,), 42, "table").model.base == "chosen"  # three fits are cheap
    assert (image.model.base, table.model.base) == ("full", "chosen")
    assert choose((5,), 300, "table", model="interpolant").model.base == "full"
    assert choose((5,), 40, "table").train.batch <= 40


ONE = choose((1, 8, 8), 1257, "image", discrete=True)
CHOICES = sorted(
    (section, name) for section, own in ONE.sections().items() for name in vars(own)
)  # fmt: skip


@pytest.mark.parametrize(("section", "name"), CHOICES)
def test_every_choice_can_be_made_otherwise(section, name):
    value = getattr(getattr(ONE, section), name)
    other = {
        "base": "diagonal",
        "components": None,
        "net": "resnet",
        "start": "data",
        "weighted": False,
        "restart": None,
        "cycled": False,
        "tau_end": 0.5,
        "ess_min": 0.7,
        "dropout": 0.3,
        "forgetting_factor": 0.7,
        "ema": 0.5,
        "held_out": 64,
        "active": 16,
        "shifted": 0.5,
    }.get(name, not value if isinstance(value, bool) else (value or 1) * 2)
    if other is None:
        return  # no walkers, or Gaussians of a mixture: they go with other choices
    changes = {"bracket": {name: other}} if section == "bracket" else {name: other}
    changed = choose((1, 8, 8), 1257, "image", discrete=True, **changes)
    assert getattr(getattr(changed, section), name) == other
    was, now = ONE.plain(), changed.plain()
    differ = {(s, k) for s in ONE.sections() for k in was[s] if was[s][k] != now[s][k]}
    with_it = {
        "net": {("train", "score_matching"), ("model", "networks")},
        "start": {("train", "score_matching"), ("model", "networks")},
        "seconds": {("budget", "iterations")},
    }
    assert differ == {(section, name)} | with_it.get(name, set())


def test_an_rbm_has_choices_of_its_own():
    bits = choose((1, 8, 8), 1257, "image", discrete=True, model="rbm", hidden=7)
    assert (bits.kind, bits.model.hidden, bits.train.noise) == ("rbm", 7, 0.0)
    assert (bits.train.forgetting_factor, bits.train.moves) == (
        0.9,
        1,
    )  # many modes that mix, slowly
    assert choose((64,), 1257, "table", discrete=True, model="rbm").train.forgetting_factor == 1
    assert choose((5,), 4000, "table", discrete=True, model="gaussian-rbm").train.noise > 0
    assert "hidden" in applicable(bits)
    assert not {"width", "noise", "bracket.cycled"} & applicable(bits).keys()
    assert "hidden" not in applicable(choose((5,), 300, "table"))
    with pytest.raises(ValueError, match=r"^`width` does not apply to `model` rbm"):
        choose((5,), 300, "table", model="rbm", width=3)
    with pytest.raises(ValueError, match=r"^`noise` does not apply to `model` rbm"):
        choose((5,), 300, "table", model="rbm", noise=0.3)
    with pytest.raises(ValueError, match=r"^`hidden` does not apply to `model` network"):
        choose((5,), 300, "table", hidden=3)


def test_a_section_can_be_given_whole():
    recipe = choose((5,), 300, "table", train={"tau": None, "moves": 3}, bracket={"walkers": 64})
    assert (recipe.train.tau, recipe.train.moves, recipe.bracket.walkers) == (None, 3, 64)
    found = applicable(recipe)
    assert (found["walkers"], found["bracket.walkers"]) == (recipe.train.walkers, 64)
    with pytest.raises(TypeError, match=r"no 'movs'; did you mean moves\?"):
        choose((5,), 300, "table", train={"movs": 3})
    with pytest.raises(ValueError, match="`model` is one of network, rbm"):
        choose((5,), 300, "table", model="other")


def test_a_recipe_survives_a_file():
    changes = {"tau": 0.1, "width": 9, "lr": 1e-4, "iterations": 7, "bracket": {"walkers": 64}}
    recipe = choose((1, 8, 8), 1257, "image", discrete=True, **changes)
    assert read_recipe(json.loads(json.dumps(recipe.plain()))) == recipe


def test_settings_are_the_recipes():
    recipe = choose((1, 8, 8), 1257, "image", discrete=True, tau=0.3, moves=5, ess_min=0.6)
    assert isinstance(recipe.train, Settings)
    assert (recipe.train.tau, recipe.train.moves, recipe.train.ess_min) == (0.3, 5, 0.6)
    assert choose((5,), 300, "table", tau=None).train.tau is None


def test_tau_falls_linearly_over_the_budget():
    budget, train = Budget(iterations=100), Likelihood(tau_end=0.2)
    assert [budget.progress(i, 1e9) for i in (0, 50, 100)] == [0, 0.5, 1]
    assert [round(train.speed(p), 6) for p in (0, 0.5, 1, 2)] == [1, 0.6, 0.2, 0.2]
    assert Budget(seconds=60).progress(7, 30.0) == 0.5


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"tau": -1}, "tau must be positive, or None"),
        ({"walkers": 1}, "walkers must be 2 or more"),
        ({"held_out": 12}, "multiple of 8"),
        ({"bracket": {"walkers": 100}}, "`bracket.walkers` is a multiple of 16"),
        ({"tau_end": 2}, "tau_end is a fraction"),
        ({"seconds": 0, "iterations": None}, "the budget is a time > 0"),
        ({"width": 0}, "width must be 1 or more"),
        ({"noise": -0.1}, "noise is a standard deviation"),
        ({"ema": float("nan")}, "ema is a fraction"),
    ],
)
def test_what_is_out_of_range(changes, told):
    with pytest.raises(ValueError, match=told):
        choose((5,), 300, "table", **changes)


def test_an_unknown_choice_is_named():
    with pytest.raises(TypeError, match="no 'walkrs'"):
        choose((5,), 300, "table", walkrs=3)


def test_the_recipe_imports_nothing_heavy():
    code = (
        "import sys, noneq.run.recipe; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"leapfrog_steps": None}, r"^`leapfrog_steps` must be a whole number, got None$"),
        ({"components": 2.5}, "^`components` must be a whole number, or None, got 2.5$"),
        ({"lr": "small"}, "^`lr` must be a number, got 'small'$"),
        ({"tau": True}, "^`tau` must be a number, or None, got True$"),
        ({"refresh": 1}, "^`refresh` must be True or False, got 1$"),
        ({"bracket": {"walkers": None}}, "^`walkers` must be a whole number, got None$"),
    ],
)
def test_a_value_of_another_type_is_refused_by_its_name(changes, told):
    with pytest.raises(ValueError, match=told):
        choose((5,), 300, "table", **changes)


def test_numbers_of_numpy_are_numbers():
    recipe = choose((5,), 300, "table", width=np.int64(64), lr=np.float32(0.5), seconds=60)
    assert (recipe.model.width, recipe.optimizer.lr, recipe.budget.seconds) == (64, 0.5, 60)
