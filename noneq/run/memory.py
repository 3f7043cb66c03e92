"""An estimate of the least memory that training takes, to refuse settings that cannot fit.

The estimate counts parameters with the optimiser's state, walkers (the weighted samples of the
model), and the activations of a network.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from noneq.numerics import check_fits
from noneq.run.families import family_of
from noneq.run.recipe import Recipe

__all__ = ["check_recipe", "check_walkers", "footprint"]

FLOAT = 4  # bytes of a number
TRAINED = 5  # numbers a parameter: itself, gradient, Adam's two moments, moving average
MOVED = 4  # numbers a dimension of a walker: position and gradient, current and proposed


def footprint(recipe: Recipe, shape: Sequence[int]) -> Mapping[str, int]:
    """Estimate the least memory that a training takes, in parts, each due to one setting.

    The estimate counts parameters with the optimiser's state, walkers (the weighted samples of the
    model), and the activations of a network for each walker and each row of a batch.

    Arguments:
        recipe: all settings of the training.
        shape: shape of one row of data.

    Returns:
        The bytes that are due to each setting, by the name ``section.field`` of the setting in the
        recipe, e.g. ``"train.walkers"``.
    """
    dim = math.prod(shape)
    choice, parameters, activations = family_of(recipe.kind).size(recipe, shape)
    each = FLOAT * (MOVED * dim + activations)

    def count(section: str, name: str) -> int:
        return getattr(getattr(recipe, section), name, None) or 0

    return {
        f"model.{choice}": TRAINED * FLOAT * parameters,
        "train.walkers": each * count("train", "walkers"),
        "train.held_out": each * count("train", "held_out"),
        "train.batch": FLOAT * (dim + activations) * recipe.train.batch,
        "bracket.walkers": FLOAT * MOVED * dim * recipe.bracket.walkers,
        "bracket.temperatures": 8 * recipe.bracket.temperatures,
        "train.temperatures": 8 * count("train", "temperatures"),
        "model.steps": 8 * count("model", "steps"),
    }


def check_recipe(
    recipe: Recipe, default: Recipe, shape: Sequence[int], device: torch.device | str
) -> None:
    """Check that a training fits into the memory of its device.

    Arguments:
        recipe: all settings of the training.
        default: default settings for the same data and kind of model; the error names the
            setting whose default would save most memory.
        shape: shape of one row of data.
        device: torch device of the training.

    Raises:
        ValueError: the training takes more memory than the device has.
    """
    needs = footprint(recipe, shape)

    def without(name: str) -> int:
        section, _, field = name.partition(".")
        own, other = getattr(recipe, section), getattr(default, section)
        if not hasattr(own, field):
            return sum(needs.values())
        changed: Any = replace(own, **{field: getattr(other, field)})
        return sum(footprint(replace(recipe, **{section: changed}), shape).values())

    name = min((*needs, "model.depth"), key=without)
    section, _, field = name.partition(".")
    shown = name if section == "bracket" else field
    asked = f"`{shown}` {getattr(getattr(recipe, section), field, '')}"
    if without(name) >= sum(needs.values()):
        asked = f"a model of rows of {math.prod(shape):,} values"
    check_fits(sum(needs.values()), f"{asked} takes", "take less", device)


def check_walkers(what: str, n: int, shape: Sequence[int], device: torch.device | str) -> None:
    """Check that a number of walkers (weighted samples) fits into the memory of a device.

    Arguments:
        what: name and value of the setting, e.g. "--walkers 1024", for the text of the error.
        n: number of walkers.
        shape: shape of one walker.
        device: device of the walkers.

    Raises:
        ValueError: the walkers take more memory than the device has.
    """
    need = FLOAT * MOVED * math.prod(shape) * n
    check_fits(need, f"{what} takes", "take fewer", device)
