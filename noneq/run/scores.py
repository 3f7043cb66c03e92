"""Scores of new rows under a run's model: normalised log-densities."""

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
    """Of rows (M,), in nats, float64; log Z's error is the verdict's.

    Attributes:
        log_density: ``-U(x) - log Z`` of the rows as they are: the model's normalised density,
            which is that of data with its noise added.
        expected: the mean of that over draws of the noise, the same for every row: minus it is
            what likelihoods are means of; equal to ``log_density`` without noise.
        unlike: how many standard deviations the base's mean NLL of the rows is from that of the
            training rows; far from 0 they may be in other units.
        verdict: log Z, its error and its alarms.
    """

    log_density: Tensor
    expected: Tensor
    unlike: float
    verdict: Verdict


def score(run: Run, x: Tensor) -> Scores:
    """Score rows (M, *shape) in the model's units.

    Raises as `read_verdict` does, and ValueError for rows that the model cannot have.
    """
    energy, _ = run.model()
    base = base_of(energy)
    verdict, noise = read_verdict(run, energy), run.recipe.train.noise
    x = x.to(run.device)
    check_states(energy, x)
    density = -mean_energy(energy, x) - verdict.log_z
    expected = density
    if noise:
        rng = torch.Generator(run.device).manual_seed(0)
        draws = [
            add_noise(torch.zeros_like(x[:1]), noise, rng) for _ in range(noise_draws(len(x)))
        ]
        u = torch.stack([mean_energy(energy, x + xi) for xi in draws])
        expected = -u.mean(0) - verdict.log_z
    rows = mean_energy(base, x, noise=noise) + base.log_z()
    train = verdict.base["train"]
    spread = train.stderr * math.sqrt(run.config["data"]["rows"][0])
    unlike = (float(rows.mean()) - train.value) / spread
    return Scores(density, expected, unlike, verdict)
