"""What a recipe takes of memory, at the least: refused before it is tried."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from noneq.numerics import check_fits
from noneq.run.recipe import MACHINES, Recipe

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
    """
    dim, machine = math.prod(shape), recipe.model in MACHINES
    parameters, inner = (dim * recipe.hidden, recipe.hidden) if machine else _net(recipe, shape)
    row = dim + inner
    each = FLOAT * (MOVED * dim + inner)
    return {
        "hidden" if machine else "width": TRAINED * FLOAT * parameters,
        "walkers": each * recipe.walkers * (recipe.model != "interpolant"),
        "held_out": each * recipe.held_out * (recipe.model != "interpolant"),
        "batch": FLOAT * row * recipe.batch,
        "z_walkers": FLOAT * MOVED * dim * recipe.z_walkers,
        "z_temperatures": 8 * recipe.z_temperatures,
        "temperatures": 8 * recipe.temperatures,
        "steps": 8 * recipe.steps,
    }


def check_recipe(
    recipe: Recipe, usual: Recipe, shape: Sequence[int], device: torch.device | str
) -> None:
    """Raise ValueError where a run takes more memory than the device has.

    Arguments:
        recipe: every choice.
        usual: what they are by default, of the same model: the one that costs most is named.
        shape: of one row.
        device: of the run.
    """
    needs = footprint(recipe, shape)

    def without(name: str) -> int:
        changed = replace(recipe, **{name: getattr(usual, name)})
        return sum(footprint(changed, shape).values())

    name = min((*needs, "depth"), key=without)
    asked = f"--{name.replace('_', '-')} {getattr(recipe, name)}"
    if without(name) >= sum(needs.values()):
        asked = f"a model of rows of {math.prod(shape):,} values"
    check_fits(sum(needs.values()), f"{asked} takes", "take less", device)


def check_walkers(option: str, n: int, shape: Sequence[int], device: torch.device | str) -> None:
    """Raise ValueError where so many walkers take more memory than the device has."""
    need = FLOAT * MOVED * math.prod(shape) * n
    check_fits(need, f"{option} takes", "take fewer", device)


def _net(recipe: Recipe, shape: Sequence[int]) -> tuple[int, int]:
    """Parameters of an energy's network, and the numbers that it computes on the way of a row."""
    w, depth = recipe.width, recipe.depth
    if recipe.model == "interpolant" or recipe.net == "mlp":
        return math.prod(shape) * w + (depth - 1) * w**2, w * depth
    pixels = math.prod(shape[1:])
    convolutions = 32 if recipe.net == "convnet" else 36  # w^2 each, of its first stage
    return convolutions * w**2, pixels * w
