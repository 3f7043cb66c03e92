"""What the kinds of models choose: defaults, optimisers, schedules, pixels and advice."""

import math

import pytest
import torch

from noneq.data import digits
from noneq.run import choose
from noneq.run.families import FAMILIES
from noneq.run.recipe import Optimizer

TABLE = torch.randn(300, 2, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize(
    ("shape", "rows", "hidden", "batch"),
    [
        ((1000,), 100_000, 500, 512),  # not more than 500
        ((10,), 100_000, 20, 512),  # twice as many as visible units
        ((1, 8, 8), 300, 30, 300),  # a tenth of the rows
        ((64,), 50, 8, 50),  # not fewer than 8
    ],
)
@pytest.mark.parametrize("kind", ["rbm", "gaussian-rbm"])
def test_hidden_units_and_batches_suit_the_data(kind, shape, rows, hidden, batch):
    recipe = choose(shape, rows, "image" if len(shape) > 1 else "table", model=kind)
    assert (recipe.model.hidden, recipe.train.batch) == (hidden, batch)


@pytest.mark.parametrize("kind", ["network", "rbm"])
def test_an_optimiser_has_the_rates_of_the_recipe(kind):
    family, bits = FAMILIES[kind], (digits().train > 0).float()
    recipe = choose(
        (64,), len(bits), "table", model=kind, **({} if kind == "rbm" else {"width": 2})
    )
    energy, _ = family.build(recipe, bits + (0 if kind == "rbm" else 0.1 * torch.rand(bits.shape)))
    optimizer = family.optimizer(energy, Optimizer(lr=0.02, weight_decay=0.3))
    assert {group["lr"] for group in optimizer.param_groups} == {0.02}
    assert max(group["weight_decay"] for group in optimizer.param_groups) == 0.3


def test_a_schedule_has_as_many_temperatures_as_are_asked_for():
    family, rng = FAMILIES["network"], torch.Generator().manual_seed(0)
    small = {"width": 2, "depth": 1, "clusters": None}
    for cycled in (True, False):
        bracket = {"walkers": 64, "temperatures": 20, "cycled": cycled}
        recipe = choose((2,), 300, "table", **small, bracket=bracket)
        energy, kernel = family.build(recipe, TABLE)
        for asked, steps in ((None, 20), (7, 7)):
            found = family.annealing_schedule(recipe, energy, kernel, rng, asked)
            assert (found if cycled else len(found)) == steps


def test_a_base_is_that_of_noisy_rows():
    recipe = choose((2,), 300, "table", model="gaussian-rbm", hidden=2, noise=2.0)
    energy, _ = FAMILIES["gaussian-rbm"].build(recipe, TABLE)
    spread = energy.base.sample(10_000, torch.Generator().manual_seed(1)).std(0)
    assert spread.tolist() == pytest.approx([math.sqrt(5.0)] * 2, rel=0.15)


def test_bits_are_black_and_white():
    assert FAMILIES["rbm"].shown(torch.tensor([0.0, 1.0])).tolist() == [-1.0, 1.0]


def test_what_is_advised_after_divergence():
    for kind, fewer in (("network", "a smaller network"), ("rbm", "fewer hidden units")):
        advice = FAMILIES[kind].after_divergence
        assert fewer in advice(choose((5,), 300, "table", model=kind))
        assert advice(choose((5,), 300, "table", model=kind, tau=None)) == (
            "a trust region (`tau` 0.1) or a smaller learning rate (`lr`)"
        )
