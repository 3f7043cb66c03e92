"""Tests of the RBM that an estimator has fitted, against rows and walkers.

Walkers are the weighted Markov chains from which the gradient was computed. Each test that fails
gives a sentence that says why the model or its log Z may be wrong.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noneq.estimators.streams import History
from noneq.estimators.training import Trained, Training
from noneq.estimators.units import Units
from noneq.likelihood import Estimate
from noneq.likelihood.score import energy_of
from noneq.walkers import Walkers

__all__ = ["Evidence", "log_mass", "misfit", "mistaken_for_numbers"]

SAMPLE = 1024  # of the model
APART = 5.0  # standard errors between a column's mean under the model and among its walkers


@dataclass(frozen=True)
class Evidence:
    """The rows and walkers against which a fitted RBM is tested, in the units of the model.

    Where values of the user's rows are probabilities, bits have been drawn from them.

    Attributes:
        kept: random sample (K, d) of the training rows.
        held: validation rows (H, d), on which the model was not trained; H may be 0.
        held_weight: sample weights (H,) of the validation rows.
        halves: two arrays of booleans (K,), true for rows of ``kept`` from early and from late
            calls of ``fit`` or ``partial_fit``; None if all rows came in one call.
        walkers: weighted Markov chains from which the gradient was computed, at the end.
        exact: whether the gradient used the walkers' exact weights, i.e. training was weighted,
            and no forgetting factor shrank the log-weights.
        units: conversion between the user's units and those of the model.
    """

    kept: Tensor
    held: Tensor
    held_weight: Tensor
    halves: tuple[NDArray[np.bool_], NDArray[np.bool_]] | None
    walkers: Walkers
    exact: bool
    units: Units

    @classmethod
    def of(cls, training: Training, units: Units, rng: torch.Generator) -> Self:
        """Collect the rows and the walkers (weighted Markov chains) at the end of a training.

        Arguments:
            training: training that has ended.
            units: conversion between the user's units and those of the model.
            rng: source of randomness of bits that are drawn from probabilities.

        Returns:
            The rows and walkers, in the units of the model.
        """
        history, recipe = training.history, training.recipe
        assert recipe is not None
        return cls(
            units.states(history.kept, rng),
            units.states(history.held, rng),
            torch.from_numpy(history.held_weight).to(rng.device),
            history.halves(),
            training.walkers,
            recipe.train.weighted and recipe.train.forgetting_factor == 1,
            units,
        )


def misfit(model: Trained, z: Estimate, evidence: Evidence, rng: torch.Generator) -> Iterator[str]:
    """Test a fitted RBM, and report reasons why the RBM or its log Z may be wrong.

    The likelihood of training and of validation rows is compared with that of a model of
    independent units; log Z with the sum of ``exp(-U)`` over the training rows; the means of the
    columns under the model with those of the walkers (the weighted Markov chains of the training);
    and the likelihood of early with that of late rows.

    Arguments:
        model: RBM whose ``base`` is a model of independent units, fitted to the rows.
        z: estimate of the model's log Z, with the annealed walkers that gave it.
        evidence: rows and walkers to test the model against.
        rng: source of randomness of a sample that is drawn from the model.

    Returns:
        An iterator over sentences, one for each test that fails.
    """
    yield from _against_independent_units(model, z, evidence)
    if evidence.units.bits:
        excess = log_mass(model, evidence.kept) - z.value
        if excess > 1e-3 + 4 * z.stderr:
            yield (
                f"the rows it has learned from have {math.exp(excess):.3g} times the mass of all "
                "states: log Z is too low; take more temperatures (n_temperatures)"
            )
    yield from _against_walkers(z, evidence, rng)
    yield from _between_halves(model, evidence)


def log_mass(model: Trained, rows: Tensor) -> float:
    """Compute the logarithm of the sum of ``exp(-U)`` over rows of bits; equal rows count once.

    Arguments:
        model: RBM whose free energy is U.
        rows: rows (M, d) of 0 and 1.

    Returns:
        The logarithm. It is a lower bound of log Z, which is the logarithm of this sum over all
        2^d rows.
    """
    return float((-energy_of(model, torch.unique(rows, dim=0)).double()).logsumexp(0))


def _against_independent_units(model: Trained, z: Estimate, evidence: Evidence) -> Iterator[str]:
    def worse(rows: Tensor) -> Tensor:
        alone = energy_of(model.base, rows) + model.base.log_z()
        return energy_of(model, rows).double() + z.value - alone

    loss = float(worse(evidence.kept).mean())
    if not loss < 0.1 + 4 * z.stderr:
        yield (
            f"the rows it has learned from are {loss:.4g} nats less likely than under "
            "independent units: training has diverged, or found nothing in them; take a smaller "
            "learning_rate or tau, or more passes (n_iter)"
        )
        return
    weight = evidence.held_weight
    if len(weight) < 8:
        return
    each, p = worse(evidence.held), weight / weight.sum()
    fresh = float(p @ each)
    error = math.hypot(float((p.square() @ (each - fresh).square()).sqrt()), z.stderr)
    if not fresh < 0.1 + 2 * error:
        yield (
            f"{len(each)} rows that were set aside are {fresh:.3g} ± {error:.2g} nats less likely "
            f"than under independent units, the rows it has learned from {-loss:.3g} more likely: "
            "it knows those by heart; take fewer units (n_components) or passes (n_iter), or more "
            "weight_decay"
        )


def _against_walkers(z: Estimate, evidence: Evidence, rng: torch.Generator) -> Iterator[str]:
    walkers = evidence.walkers
    x, p = z.walkers.equal(SAMPLE, rng), walkers.p.to(walkers.x)
    means = torch.stack([x.mean(0), p @ walkers.x])
    # a bit that is rare may be on in nobody's sample: the larger variance
    spread = torch.maximum(x.var(0), p @ (walkers.x - means[1]).square())
    errors = ((1 / walkers.effective_ancestors + 1 / len(x)) * spread).sqrt()
    away = (means[1] - means[0]).abs() / errors.clamp(min=1 / len(x))
    if float(away.max()) > APART:
        k = int(away.argmax())
        ours, theirs = evidence.units.array(means)[:, k]
        weights = "exact weights (weighted=True, forgetting_factor=1)"
        calmer = "more walkers (n_walkers)" if evidence.exact else weights
        yield (
            f"column {k} has the mean {ours:.2g} under the model, but {theirs:.2g} among the "
            "walkers it has learned from: they do not mix, and have told it other masses of "
            f"its modes than it has; take {calmer} or fewer passes (n_iter)"
        )


def _between_halves(model: Trained, evidence: Evidence) -> Iterator[str]:
    if evidence.halves is None:
        return
    u = energy_of(model, evidence.kept).double()
    early, late = (u[torch.from_numpy(half).to(u.device)] for half in evidence.halves)
    if min(len(early), len(late)) < 8:
        return
    gap = float(early.mean() - late.mean())
    error = float((early.var() / len(early) + late.var() / len(late)).sqrt())
    if abs(gap) > 0.2 + 5 * error:
        likelier = "less" if gap > 0 else "more"
        yield (
            f"rows from the first half of the stream are {abs(gap):.3g} ± {error:.2g} nats "
            f"{likelier} likely than those from the second: it has not learned both; give the "
            "rows in random order, go over the stream again, or give all of them to fit"
        )


def mistaken_for_numbers(history: History) -> Iterator[str]:
    """Warn if ``visible="auto"`` chose Gaussian units although most rows consist of 0 and 1.

    Arguments:
        history: summary of the rows of all calls of ``fit`` and ``partial_fit``.

    Returns:
        An iterator over one sentence, the warning, or over none.
    """
    if history.bits > 0.5:
        yield (
            f"{history.bits:.0%} of the rows are made of 0 and 1, and yet, for the others' "
            "sake, visible='auto' has taken them for numbers: mend or drop those, or take "
            "visible='gaussian' if they are meant"
        )
