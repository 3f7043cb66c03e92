"""What a recipe takes of memory, at the least: refused before it is tried."""

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

FLOAT = 4  # bytes
TRAINED = 5  # a parameter, its gradient, Adam's two moments, its moving average
MOVED = 4  # a walker's position and gradient, and those proposed to it


def footprint(recipe: Recipe, shape: Sequence[int]) -> Mapping[str, int]:
    """Bytes that a run takes at the least, by the choice that asks for them.

    Parameters with what an optimiser keeps of them, walkers, and what a network computes on the
    way for each of them and each row of a batch.

    Arguments:
        recipe: every choice.
        shape: of one row.

    Returns:
        Bytes by ``section.field``.
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
    """Raise ValueError where a run takes more memory than the device has.

    Arguments:
        recipe: every choice.
        default: what they are by default, of the same model: the one that costs most is named.
        shape: of one row.
        device: of the run.
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
    """Raise ValueError where so many walkers take more memory than the device has."""
    need = FLOAT * MOVED * math.prod(shape) * n
    check_fits(need, f"{what} takes", "take fewer", device)
