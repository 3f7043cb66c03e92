"""The work of a training and of its bracket, in evaluations of the energy: no clock decides.

The bracket that follows a training by default takes at most half of the training's evaluations, or
as many as take about 30 s if that is more. Both are counted, so that a training of a given number
of iterations is repeated to the bit, however busy the machine.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from noneq.run.families import About
from noneq.run.families.network import PERCEPTRONS
from noneq.run.folder import Run
from noneq.run.recipe import Bracket, Recipe
from noneq.run.score_stage import iterations_of_scores
from noneq.run.validation import cost_of_a_look

__all__ = ["bracket_within", "evaluations_of_bracket", "evaluations_of_training", "within_share"]

SHARE = 0.5  # of the training's evaluations that the bracket may take
SECONDS, SPEED = 30.0, 5e10  # that it may take in any case, at operations a second of one core
ROW = 4e4  # operations that the evaluation of a row takes besides those of the model
SLOW = 10  # operations on weights that one on a number of a mixture's covariances takes
MATCHED = 3  # evaluations that the loss of score matching, or a gradient of parameters, takes
LEAST = 50  # temperatures, and moves of equilibration
logger = logging.getLogger("noneq")


def evaluations_of_training(recipe: Recipe, rows: Sequence[Mapping[str, Any]], held: int) -> float:
    """Count the evaluations of an energy or of its gradient, of single rows, in a training.

    Arguments:
        recipe: all settings of the training.
        rows: its metrics, a dictionary for each logged iteration.
        held: number of validation rows of a look.

    Returns:
        The number of evaluations, those of score matching and of looks at the validation rows
        among them.
    """
    train = recipe.train
    last = max((row["iteration"] for row in rows), default=0)
    # a line of maximum likelihood has an effective sample size; score matching may not be logged,
    # where it was a trial of two bases
    likely = [row["iteration"] for row in rows if "ess" in row]
    matched = min(iterations_of_scores(recipe), min(likely) - 1 if likely else last)
    looks = sum("validation_nll" in row for row in rows)
    walkers = (train.active or train.walkers) + (train.held_out or 0)
    each = walkers * (train.moves * _of_a_move(recipe) + 1) + MATCHED * train.batch
    scores = MATCHED * min(512, train.batch)
    return float(scores * matched + each * (last - matched) + looks * cost_of_a_look(recipe, held))


def evaluations_of_bracket(recipe: Recipe) -> float:
    """Count the evaluations of an energy or of its gradient, of single rows, in a bracket.

    A model that is conditional on labels has a bracket for each of them.

    Arguments:
        recipe: all settings, with those of the bracket.

    Returns:
        The number of evaluations, without those of pilot runs.
    """
    own = recipe.bracket
    more = round(0.75 * own.temperatures)  # from each of two more starts
    moves = 2 * own.temperatures + own.equilibrate + 2 * more
    brackets = getattr(recipe.model, "labels", 1)
    return float(brackets * own.walkers * moves * _of_a_move(recipe))


def bracket_within(recipe: Recipe, most: float) -> Bracket:
    """Shorten a bracket so that it takes no more than a number of evaluations.

    Arguments:
        recipe: all settings, with those of the bracket.
        most: largest number of evaluations.

    Returns:
        The bracket, with fewer temperatures and moves of equilibration in the same ratio where it
        takes more, but 50 of each at least if it had them.

    >>> from noneq.run import choose
    >>> recipe = choose((3,), 2100, "table")
    >>> bracket_within(recipe, evaluations_of_bracket(recipe) / 2).temperatures
    500
    """
    own, takes = recipe.bracket, evaluations_of_bracket(recipe)
    if takes <= most:
        return own

    def fewer(n: int) -> int:
        return min(n, max(LEAST, math.floor(n * most / takes)))

    return replace(own, temperatures=fewer(own.temperatures), equilibrate=fewer(own.equilibrate))


def within_share(run: Run, recipe: Recipe) -> Recipe:
    """Shorten the default bracket of a trained run to half of the training's evaluations.

    Settings of the bracket that are not the defaults are the user's, and stay. So do those of
    kinds of models other than perceptrons, whose evaluations are not alike.

    Arguments:
        run: trained run.
        recipe: all settings, with those of the bracket.

    Returns:
        The recipe, with a shorter bracket where it takes more than half, and more than about 30 s.
    """
    about = run.config["data"]
    data = About(about["shape"], about["rows"][0], about["kind"], about["discrete"])
    perceptron = getattr(recipe.model, "net", "") in PERCEPTRONS or run.family.labelled
    if not perceptron or recipe.bracket != run.family.defaults(data).bracket:
        return recipe
    held = min(4000, about["rows"][1] * about.get("draws", 1))
    most = SHARE * evaluations_of_training(recipe, run.metrics.rows(), held)
    bracket = bracket_within(recipe, max(most, _in_seconds(recipe, about["shape"])))
    if bracket != recipe.bracket:
        logger.info(
            "the bracket takes %d temperatures instead of %d: half of the training, or 30 s",
            bracket.temperatures,
            recipe.bracket.temperatures,
        )
    return replace(recipe, bracket=bracket)


def _of_a_move(recipe: Recipe) -> int:
    model = recipe.model
    return int(getattr(model, "leapfrog_steps", 1)) + bool(getattr(model, "refresh", False))


def _in_seconds(recipe: Recipe, shape: Sequence[int]) -> float:
    """Count the evaluations that take about 30 s, by the size of network and mixture."""
    model, d = recipe.model, math.prod(shape)
    inner = getattr(model, "net", "") == "inner-product"
    outputs = d if inner else getattr(model, "labels", 1)
    weights = (d + outputs) * model.width + (model.depth - 1) * model.width**2
    numbers = SLOW * (getattr(model, "components", 0) or 0) * d**2
    networks = getattr(model, "networks", 1)
    # forward, and backward to the row
    return float(SECONDS * SPEED / (4 * (networks * weights + numbers) + ROW))
