"""Functions that compute log Z, free energies of rows, and samples of an estimator's RBM."""

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
    """Estimate log Z of an RBM.

    If one of the two layers has at most 20 binary units, log Z is an exact sum over the states of
    this layer. Otherwise log Z is estimated by forward and by backward annealing.

    Arguments:
        model: RBM whose ``base``, a model of independent units, forward annealing starts from.
        kept: (K, d) rows that the model was trained on, from which backward annealing starts.
        temperatures: number of annealing temperatures; None: four times the number that a short
            pilot run chooses, and 50 or more.

    Returns:
        The estimate of log Z in nats, its standard error, and alarms: sentences that say why log Z
        may be wrong.
    """
    rng = torch.Generator(kept.device).manual_seed(0)
    try:
        return exact_log_z(model, rng=rng)
    except ValueError:
        schedule = pilot(path_to(model, model.base), BlockGibbs(), rng)
        schedule = schedule.resized(temperatures or max(50, 4 * len(schedule)))
        return log_z(model, model.base, kept, temperatures=schedule, rng=rng)


def energies(model: Trained, rows: Tensor, drawn: Floats | None) -> Tensor:
    """Compute the free energy U of every row under an RBM.

    Arguments:
        model: RBM with float64 parameters.
        rows: rows (M, d) in the model's units.
        drawn: array (M, d) of the same rows if their values are probabilities of bits: U is then
            the mean over 20 draws of bits for each row. None: U of ``rows`` is computed.

    Returns:
        The free energy of each row, a float64 tensor (M,).
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
    """Check that the probabilities of distinct rows of bits sum to at most 1.

    A larger sum shows that the estimate of log Z, which is subtracted in all log-probabilities, is
    too low. A log-probability that exceeds 0 by no more than four standard errors of log Z is set
    to 0.

    Arguments:
        score: log-probabilities (M,) of the rows, in nats.
        x: rows (M, d); None where each score is a mean over several states, so that only the
            largest score is checked.
        stderr: standard error of log Z.

    Returns:
        The corrected log-probabilities (M,) in nats, and a list of alarms: one sentence if the
        sum exceeds 1 by more than the error of log Z, otherwise none.
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
    """Draw rows from an RBM: exactly if log Z is a sum over states, otherwise by annealing.

    Arguments:
        model: RBM to sample.
        z: estimate of the RBM's log Z, whose annealing schedule is used; exact draws are made if
            it has none.
        n: number of rows.
        rng: source of randomness.

    Returns:
        Rows (n, d) in the model's units, of equal weight.
    """
    if z.schedule is None:  # exact
        return model.sample(n, rng)
    # an ordinary sample comes from four times as many weighted ones
    many = 8 * -(-max(16, 4 * n) // 8)
    return population(path_to(model, model.base), many, z.schedule, rng=rng)[0].equal(n, rng)
