"""Normalised log-densities of new rows under the model of a trained run.

`score` computes them with the log Z that the evaluation of the run has estimated, and `flow_score`
beside it by the probability flow of an interpolant, which needs no log Z.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from noneq.data import Scaling
from noneq.energies import Energy, log_joint, path_to
from noneq.energies.checks import check_states
from noneq.likelihood.score import energy_of, grouped_stderr, mean_energy, noise_draws
from noneq.models.interpolants import DriftedPath, FlowLikelihood, flow_likelihood
from noneq.random import add_noise
from noneq.run.families.base import base_of
from noneq.run.folder import Run
from noneq.run.verdict import Verdict
from noneq.run.verdict_file import read_verdict
from noneq.spaces import context_size

__all__ = [
    "FlowScores",
    "LabelScores",
    "Scores",
    "draws_of",
    "flow_score",
    "label_scores",
    "log_densities",
    "score",
]

DRAWS, POINTS = 16, 1_000_000  # of repeated values from their intervals; rows in all
SAME = 50  # pairs of draws of noise, at most, that all rows share


@dataclass(frozen=True)
class Scores:
    """The log-densities of rows under a run's model, in nats and float64.

    Attributes:
        log_density: normalised log-densities ``-U(x) - log Z`` (M,) of the M rows as they are,
            without the noise that was added to rows in training; of mapped columns, and of values
            with probabilities, plus `noneq.data.Scaling.log_volume`: those of the standardised
            rows.
        expected: mean log-density (M,) of each row with such noise added, over several draws of
            the noise: differences between rows are by the same draws for every row, the mean over
            all rows by independent ones, whatever their order; ``log_density`` if training had no
            noise.
        unlike: difference between the mean negative log-likelihoods of these rows and of the
            training rows under the base (the energy that training started from), in standard
            deviations over training rows; if it is far from 0, the rows may be in other units.
        verdict: evaluation of the run: log Z, its standard error, and alarms, i.e. sentences that
            say why log Z may be wrong.
    """

    log_density: Tensor
    expected: Tensor
    unlike: float
    verdict: Verdict


def draws_of(scaling: Scaling, rows: int = 1) -> int:
    """Choose how many times repeated values of rows are drawn from their intervals.

    Arguments:
        scaling: scaling of the model, which knows which columns have repeated values.
        rows: number of rows; 1 where it is not known yet.

    Returns:
        16, fewer for more than 62,500 rows, and 1 where no column has repeated values.
    """
    return max(1, min(DRAWS, POINTS // rows)) if scaling.spreads else 1


def score(run: Run, x: Tensor, draws: int = 1) -> Scores:
    """Compute the normalised log-densities of rows under the model of a trained run.

    Arguments:
        run: run whose log Z has been estimated by `noneq.run.evaluation.evaluate_run`.
        x: rows (draws M, *shape) in the model's units, where ``shape`` is the shape of one row.
        draws: how many times all rows are there, with other draws of repeated values from their
            intervals, as `noneq.data.rows_like` returns them; log-densities are averaged over
            the draws.

    Returns:
        The log-densities (M,) of the rows in nats, and how unlike the training rows they are, as
        `Scores`.

    Raises:
        FileNotFoundError: log Z has not been estimated yet.
        ValueError: the rows have a wrong shape or are no states of the model, or likelihood.json
            is damaged or was written for other parameters.
    """
    energy, _ = run.model()
    base = base_of(energy)
    verdict, noise = read_verdict(run, energy), run.recipe.train.noise
    x = x.to(run.device)
    check_states(energy, x)
    volume = run.scaling.log_volume(x)
    density = _density(energy, x, volume, verdict.log_z)
    expected = density if not noise else volume - _of_noisy(energy, x, noise) - verdict.log_z
    density, expected = density.view(draws, -1).mean(0), expected.view(draws, -1).mean(0)
    rows = mean_energy(base, x, noise=noise) + base.log_z() - volume
    train = verdict.base["train"]
    spread = train.stderr * math.sqrt(run.config["data"]["rows"][0])
    unlike = (float(rows.mean()) - train.value) / spread
    return Scores(density, expected, unlike, verdict)


def log_densities(run: Run, x: Tensor, draws: int = 1) -> Tensor:
    """Compute the normalised log-densities of rows as they are, and nothing else.

    Arguments:
        run: run whose log Z has been estimated by `noneq.run.evaluation.evaluate_run`.
        x: rows (draws M, *shape) in the model's units, as for `score`.
        draws: how many times all rows are there.

    Returns:
        The log-densities (M,) in nats, float64: `Scores.log_density`.

    Raises:
        FileNotFoundError: log Z has not been estimated yet.
        ValueError: likelihood.json is damaged or was written for other parameters.
    """
    energy, _ = run.model()
    verdict, x = read_verdict(run, energy), x.to(run.device)
    density = _density(energy, x, run.scaling.log_volume(x), verdict.log_z)
    return density.view(draws, -1).mean(0)


def _density(energy: Energy, x: Tensor, volume: Tensor, log_z: float) -> Tensor:
    """Compute the normalised log-densities of rows, with what their coordinates add."""
    return volume - mean_energy(energy, x) - log_z


class LabelScores(NamedTuple):
    """What a model that is conditional on labels says of images without labels.

    Attributes:
        probabilities: probability of each label, given the image (M, k), float64, in the order of
            `noneq.data.labelled.Labels.classes`.
        log_density: log-density of each image (M,), whatever its label, in nats of the model's
            units: ``log sum_c p(c) p(x | c)``, p(c) as among the training rows.
        verdict: evaluation of the run, with the error of log Z, and alarms.
    """

    probabilities: Tensor
    log_density: Tensor
    verdict: Verdict


def label_scores(run: Run, images: Tensor) -> LabelScores:
    """Tell the labels of images by Bayes' theorem, and how likely the images are at all.

    Arguments:
        run: run of the kind ``conditional`` whose log Z has been estimated.
        images: images (M, C, H, W) in the model's units, without noise
            (``run.scaling.apply(pixels)``).

    Returns:
        The probabilities of the labels, and the log-densities.

    Raises:
        FileNotFoundError: log Z has not been estimated yet.
        ValueError: the model has no labels, or the images have another shape.
    """
    labels, energy = run.scaling.labels, run.model()[0]
    if labels is None:
        raise ValueError(f"{run.folder}: its model knows no labels")
    if images.shape[1:] != labels.shape:
        raise ValueError(f"images of shape {tuple(images.shape[1:])}, the model's {labels.shape}")
    verdict, x = read_verdict(run, energy), images.to(run.device)
    assert verdict.labels is not None
    counts = torch.tensor([one["train"] for one in verdict.labels["each"]], device=x.device)
    contexts = torch.eye(len(counts), device=x.device)
    joint = log_joint(energy, x, contexts, counts / counts.sum()) - verdict.log_z
    return LabelScores(joint.softmax(1), joint.logsumexp(1), verdict)


def _of_noisy(energy: Energy, x: Tensor, noise: float) -> Tensor:
    """Compute the mean energy (M,) of each row under noise, comparable between rows.

    The same draws for all rows, each with its negative, leave an error that all rows share, which
    grows with the dimension; independent draws, whose errors average out over the rows, correct
    it. Of a quadratic energy nothing else is left.
    """
    rng = torch.Generator(x.device).manual_seed(0)
    u = torch.zeros(len(x), dtype=torch.float64, device=x.device)
    pairs = max(2, min(SAME, 20_000 // len(x)))
    for _ in range(pairs):
        xi = add_noise(torch.zeros_like(x[:1]), noise, rng, held=context_size(energy))
        u += (mean_energy(energy, x + xi) + mean_energy(energy, x - xi)) / (2 * pairs)
    draws = max(noise_draws(len(x)), 2000 // len(x))
    own = mean_energy(energy, x[u.argsort()], noise=noise, draws=draws)  # in any order of rows
    return u + (own.mean() - u.mean())


@dataclass(frozen=True)
class FlowScores:
    """The likelihoods of the same noisy rows by a probability flow and by a log Z, in nats.

    The flow is that of the velocity field which follows from the learned energies at all times;
    log Z is that of the energy at the end. The two differ by what was learned wrong, by the errors
    of log Z, and by those of the flow's time steps.

    Attributes:
        flow: log-densities by the flow, in the units of the standardised rows.
        nll: mean negative log-likelihood of the rows by the energy and its log Z.
        difference: mean of the negative log-likelihoods by the flow less those by log Z.
        stderr: standard error of this difference, due to the finite number of rows.
    """

    flow: FlowLikelihood
    nll: float
    difference: float
    stderr: float


def flow_score(run: Run, x: Tensor, *, most: int = 500, steps: int = 64) -> FlowScores:
    """Compute the likelihood of rows by the probability flow of an interpolant, and by its log Z.

    Noise as in training is added to the rows, once.

    Arguments:
        run: run of the kind ``interpolant`` whose log Z has been estimated.
        x: rows (M, *shape) in the model's units.
        most: number of rows to take; where there are more, they are drawn at random (seed 0).
        steps: number of time steps of the flow, see `noneq.models.interpolants.flow_likelihood`.

    Returns:
        Both likelihoods of the same noisy rows, and their difference, as `FlowScores`.

    Raises:
        FileNotFoundError: log Z has not been estimated yet.
        ValueError: the run is of another kind, or the rows have a wrong shape.
        FloatingPointError: the flow leads from a row to positions that are not finite.
    """
    energy, _ = run.model()
    if not run.family.carried:
        raise ValueError(
            f"a probability flow is that of a `model` interpolant, and this is a {run.recipe.kind}"
        )
    verdict, rng = read_verdict(run, energy), torch.Generator(run.device).manual_seed(0)
    x = x.to(run.device)
    check_states(energy, x)
    if len(x) > most:
        x = x[torch.randperm(len(x), generator=rng, device=x.device)[:most]]
    volume = run.scaling.log_volume(x)
    noisy = add_noise(x, run.recipe.train.noise, rng)
    path = path_to(energy, base_of(energy))
    assert isinstance(path, DriftedPath)
    flow = flow_likelihood(path, noisy, steps=steps)
    by_log_z = -energy_of(energy, noisy) - verdict.log_z
    apart = by_log_z - flow.log_density
    flow = replace(flow, log_density=flow.log_density + volume)
    return FlowScores(
        flow, -float((by_log_z + volume).mean()), float(apart.mean()), grouped_stderr(apart, x)
    )
