"""Every default has one home, and every choice can be made otherwise."""

import json
import subprocess
import sys

import pytest

from noneq import Recipe, Settings
from noneq.run import choose
from noneq.run.recipe import IDLE


def test_the_digits_recipe_is_the_one_that_was_measured():
    recipe = choose((1, 8, 8), 1257, "image", discrete=True)
    assert (recipe.noise, recipe.net, recipe.width, recipe.depth) == (0.15, "mlp", 256, 2)
    assert (recipe.walkers, recipe.held_out, recipe.moves) == (512, 128, 8)
    assert (recipe.tau, recipe.tau_end, recipe.longest) == (0.2, 0.05, 0.1)
    assert (recipe.batch, recipe.lr, recipe.decay, recipe.clusters) == (1024, 3e-3, 0.5, 15)
    assert (recipe.z_walkers, recipe.z_temperatures, recipe.z_equilibrate) == (1024, 1500, 4500)


def test_kind_and_shape_decide():
    image = choose((1, 28, 28), 1000, "image", discrete=True)
    table = choose((5,), 300, "table")
    assert image.net == "convnet"
    assert table.net == "mlp"
    assert table.noise == 0
    assert choose((5,), 300, "table", discrete=True).noise > 0
    assert choose((5,), 40, "table").clusters <= 1  # too few rows for clusters: the base's own
    assert choose((3, 64, 64), 10_000, "image").base == "low-rank"
    assert choose((5,), 40, "table").batch <= 40


@pytest.mark.parametrize(
    "name", sorted({*Recipe.__dataclass_fields__} - {"model", *IDLE["network"]})
)
def test_every_choice_can_be_made_otherwise(name):
    was = choose((1, 8, 8), 1257, "image", discrete=True)
    value = getattr(was, name)
    other = {
        "base": "diagonal",
        "net": "resnet",
        "start": "data",
        "weighted": False,
        "z_cycled": False,
        "tau_end": 0.5,
        "ess_min": 0.7,
        "memory": 0.7,
        "ema": 0.5,
        "held_out": 64,
        "z_walkers": 64,
    }.get(name, (value or 1) * 2)
    changed = choose((1, 8, 8), 1257, "image", discrete=True, **{name: other})
    assert getattr(changed, name) == other
    same = {k for k, v in was.plain().items() if changed.plain()[k] == v}
    assert set(was.plain()) - same == {name}


def test_a_machine_has_choices_of_its_own():
    bits = choose((1, 8, 8), 1257, "image", discrete=True, model="rbm", hidden=7)
    assert (bits.model, bits.hidden, bits.noise) == ("rbm", 7, 0.0)
    assert (bits.memory, bits.moves) == (0.9, 1)  # many modes that mix, slowly
    assert choose((64,), 1257, "table", discrete=True, model="rbm").memory == 1
    assert choose((5,), 4000, "table", discrete=True, model="gaussian-rbm").noise > 0
    assert "hidden" in bits.relevant()
    assert "width" not in bits.relevant()
    assert "hidden" not in choose((5,), 300, "table").relevant()
    with pytest.raises(ValueError, match=r"^--width says nothing to --model rbm"):
        choose((5,), 300, "table", model="rbm", width=3)
    with pytest.raises(ValueError, match=r"^--hidden says nothing to --model network"):
        choose((5,), 300, "table", hidden=3)


def test_a_recipe_survives_a_file():
    recipe = choose((1, 8, 8), 1257, "image", discrete=True, tau=0.1)
    assert Recipe(**json.loads(json.dumps(recipe.plain()))) == recipe


def test_settings_are_the_recipes():
    recipe = choose((1, 8, 8), 1257, "image", discrete=True, tau=0.3, moves=5, ess_min=0.6)
    settings = recipe.settings()
    assert isinstance(settings, Settings)
    for name in ("walkers", "held_out", "moves", "tau", "longest", "ess_min", "renew", "noise"):
        assert getattr(settings, name) == getattr(recipe, name), name
    assert choose((5,), 300, "table", tau=0).settings().tau is None


def test_tau_falls_linearly_over_the_budget():
    recipe = Recipe(iterations=100, tau_end=0.2)
    assert [recipe.progress(i, 1e9) for i in (0, 50, 100)] == [0, 0.5, 1]
    assert [round(recipe.fall(p), 6) for p in (0, 0.5, 1, 2)] == [1, 0.6, 0.2, 0.2]
    assert Recipe(seconds=60).progress(7, 30.0) == 0.5


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"tau": -1}, "tau must be 0 or more"),
        ({"walkers": 1}, "walkers must be 2 or more"),
        ({"held_out": 12}, "multiple of 8"),
        ({"z_walkers": 100}, "z_walkers must be a multiple of 16"),
        ({"tau_end": 2}, "tau_end is a fraction"),
        ({"seconds": 0}, "the budget is a time > 0"),
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
