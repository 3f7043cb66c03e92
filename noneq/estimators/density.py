"""Log Z and log-likelihoods of an estimator's model."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noneq.annealing import pilot, population
from noneq.energies import path_to
from noneq.estimators.arrays import Floats, Rows, hashes, parts, uniform
from noneq.estimators.training import Trained
from noneq.kernels import BlockGibbs
from noneq.likelihood import Estimate, exact_log_z, log_z
from noneq.likelihood.score import energy_of

__all__ = ["draw", "energies", "estimate", "impossible"]

DRAWS = 20  # of the bits of a row of probabilities


def estimate(model: Trained, kept: Tensor, temperatures: int | None) -> Estimate:
    """Estimate log Z of an RBM, exactly if the states of one of its layers are few enough to sum.

    Otherwise it is bracketed by forward and backward annealing.

    Arguments:
        model: RBM whose ``base`` forward annealing starts from.
        kept: (K, d) rows that the model was trained on, from which backward annealing starts.
        temperatures: number of annealing temperatures; default: four times that of a pilot run,
            and 50 or more.

    Returns:
        The estimate with its alarms.
    """
    rng = torch.Generator(kept.device).manual_seed(0)
    try:
        return exact_log_z(model, rng=rng)
    except ValueError:
        schedule = pilot(path_to(model, model.base), BlockGibbs(), rng)
        schedule = schedule.resized(temperatures or max(50, 4 * len(schedule)))
        return log_z(model, model.base, kept, temperatures=schedule, rng=rng)


def energies(model: Trained, rows: Tensor, drawn: Floats | None) -> Tensor:
    """Compute the energies of rows (M, d).

    Arguments:
        model: in float64.
        rows: in its units.
        drawn: the rows as they were given, where they are probabilities: U is then the mean over
            draws of their bits.

    Returns:
        U of each row (M,), float64.
    """
    if drawn is None:
        return energy_of(model, rows)
    found = []
    for part in parts(drawn, DRAWS):
        u = torch.from_numpy(np.stack([uniform(row, DRAWS) for row in part])).to(rows.device)
        p = torch.from_numpy(part).to(rows)
        bits = (u < p[:, None]).to(rows).flatten(0, 1)
        found.append(energy_of(model, bits).view(-1, DRAWS).mean(1))
    return torch.cat(found)


def impossible(
    score: NDArray[np.float64], x: Rows | None, stderr: float
) -> tuple[NDArray[np.float64], list[str]]:
    """Compute log-probabilities of discrete rows, and find those that no model can have.

    One above 0 by no more than the error of log Z becomes 0, the best that is known of it.

    Arguments:
        score: (M,) log-probabilities.
        x: the rows; None where the scores are means over several states.
        stderr: of log Z.

    Returns:
        Log-probabilities, and a sentence if one of them is above 0.
    """
    first = [int(score.argmax())] if x is None else np.unique(hashes(x), return_index=True)[1]
    top = score[first].max()
    excess = float(top + np.log(np.exp(score[first] - top).sum()))
    alarms, slack = [], 1e-6 + 4 * stderr
    if excess > slack:
        alarms.append(
            f"the rows that were scored have {math.exp(min(excess, 700)):.3g} times the mass of "
            f"all states: log Z is too low by {excess:.3g} nats or more; take more temperatures "
            "(n_temperatures), and train on rows like these"
        )
    return np.where((score > 0) & (score <= slack), 0.0, score), alarms


def draw(model: Trained, z: Estimate, n: int, rng: torch.Generator) -> Tensor:
    """Draw rows from the model, exactly where its log Z is exact, else by annealing.

    Returns:
        n rows (n, d).
    """
    if z.schedule is None:  # exact
        return model.sample(n, rng)
    # an ordinary sample comes from four times as many weighted ones
    many = 8 * -(-max(16, 4 * n) // 8)
    return population(path_to(model, model.base), many, z.schedule, rng=rng)[0].equal(n, rng)
