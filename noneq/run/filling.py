"""Missing values of rows, drawn from a run's model given the other values of the row."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from noneq.annealing import Completed, Track, complete, untracked
from noneq.data.gaps import check_apart
from noneq.run.families.base import base_of
from noneq.run.folder import Run

__all__ = ["Filled", "fill"]


class Filled(NamedTuple):
    """Rows whose missing values are filled in.

    Attributes:
        x: completed rows (R, count, *shape) in the model's units.
        found: what annealing said of those R' rows that had gaps; None if none had.
    """

    x: Tensor
    found: Completed | None


def fill(
    run: Run, x: Tensor, count: int = 1, *, seed: int = 0, track: Track = untracked
) -> Filled:
    """Draw the missing values of rows from a run's model, given the other values of the row.

    Arguments:
        run: trained run, whose model has a base of Gaussians.
        x: rows (R, *shape) in the model's units, with NaN where a value is missing.
        count: number of samples of each row.
        seed: seed of all randomness.
        track: function ``(steps, label) -> steps`` that displays the progress of a loop.

    Returns:
        The completed rows, as `Filled`. Rows without gaps are repeated as they are.

    Raises:
        ValueError: the base of the model is not made of Gaussians, its coordinates are those of a
            flow, or ``count`` is less than 1.
        TooFarError: annealing does not reach the model.
        FloatingPointError: the energy is NaN or -inf at a walker.
    """
    check_apart(run.scaling)
    if count < 1:
        raise ValueError(f"`count` is 1 or more, got {count}")
    energy, _ = run.model()
    rng = torch.Generator(run.device).manual_seed(seed)
    x = x.to(run.device)
    gaps = x.flatten(1).isnan().any(1)
    filled = x[:, None].repeat(1, count, *[1] * (x.dim() - 1))
    if not bool(gaps.any()):
        return Filled(filled, None)
    found = complete(energy, base_of(energy), x[gaps], count, rng=rng, track=track)
    filled[gaps] = found.x
    return Filled(filled, found)
