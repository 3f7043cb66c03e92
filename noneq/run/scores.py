"""Normalised log-densities of new rows under the model of a trained run.

`score` computes them with the log Z that the evaluation of the run has estimated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from noneq.energies.checks import check_states
from noneq.likelihood.score import mean_energy, noise_draws
from noneq.random import add_noise
from noneq.run.evaluation import read_verdict
from noneq.run.families.base import base_of
from noneq.run.folder import Run
from noneq.run.verdict import Verdict

__all__ = ["Scores", "score"]


@dataclass(frozen=True)
class Scores:
    """The log-densities of rows under a run's model, in nats and float64.

    Attributes:
        log_density: normalised log-densities ``-U(x) - log Z`` (M,) of the M rows as they are,
            without the noise that was added to rows in training; of mapped columns, and of values
            with probabilities, plus `noneq.data.Scaling.log_volume`: those of the standardised
            rows.
        expected: mean log-density (M,) of each row with such noise added, over several draws of
            the noise, which are the same for every row; ``log_density`` if training had no noise.
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
    density = volume - mean_energy(energy, x) - verdict.log_z
    expected = density
    if noise:
        rng = torch.Generator(run.device).manual_seed(0)
        noises = [
            add_noise(torch.zeros_like(x[:1]), noise, rng) for _ in range(noise_draws(len(x)))
        ]
        u = torch.stack([mean_energy(energy, x + xi) for xi in noises])
        expected = volume - u.mean(0) - verdict.log_z
    density, expected = density.view(draws, -1).mean(0), expected.view(draws, -1).mean(0)
    rows = mean_energy(base, x, noise=noise) + base.log_z() - volume
    train = verdict.base["train"]
    spread = train.stderr * math.sqrt(run.config["data"]["rows"][0])
    unlike = (float(rows.mean()) - train.value) / spread
    return Scores(density, expected, unlike, verdict)
