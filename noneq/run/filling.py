"""Missing values of rows, drawn from a run's model given the other values of the row."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from noneq.annealing import Completed, Track, complete, untracked
from noneq.data.gaps import check_apart
from noneq.energies import Conditioned, Solvable
from noneq.run.families.base import base_of
from noneq.run.folder import Run
from noneq.walkers import reductions, systematic

__all__ = ["Filled", "fill"]

KEPT = 64  # draws of a row's intervals that are annealed, of all that are weighed by the base
EACH = 16  # walkers of each of these draws


class Filled(NamedTuple):
    """Rows whose missing values are filled in.

    Attributes:
        x: completed rows (R, count, *shape) in the model's units.
        found: what annealing said of those R' rows that had gaps; None if none had.
    """

    x: Tensor
    found: Completed | None


def fill(
    run: Run,
    x: Tensor,
    count: int = 1,
    *,
    draws: int = 1,
    seed: int = 0,
    track: Track = untracked,
) -> Filled:
    """Draw the missing values of rows from a run's model, given the other values of the row.

    Arguments:
        run: trained run, whose model has a base of Gaussians.
        x: rows (draws R, *shape) in the model's units, with NaN where a value is missing.
        count: number of samples of each row.
        draws: how many times all rows are there, with other draws of repeated values from their
            intervals, as `noneq.data.gaps.rows_with_gaps` returns them. Samples are of each draw
            as often as the model finds it likely within the interval.
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
    rows = x[: len(x) // draws]
    gaps = rows.flatten(1).isnan().any(1)
    filled = rows[:, None].repeat(1, count, *[1] * (x.dim() - 1))
    if not bool(gaps.any()):
        return Filled(filled, None)
    given, base = x[gaps.repeat(draws)], base_of(energy)
    if draws == 1:
        found = complete(energy, base, given, count, rng=rng, track=track)
        filled[gaps] = found.x
        return Filled(filled, found)
    given, log_q = _likely(run, base, given.view(draws, -1, *x.shape[1:]), rng)
    each = min(count, 1 + math.ceil(4 * count / len(given)))  # of a draw
    found = complete(energy, base, given.flatten(0, 1), each, rng=rng, n=EACH, track=track)
    filled[gaps] = _chosen(found, log_q, count, rng)
    return Filled(filled, found)


def _likely(
    run: Run, base: Solvable, given: Tensor, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Choose draws (K, R, *shape) of (draws, R, *shape) by their density under the base.

    The weight of a draw z from its interval with density q is ``p_0(z) / q(z)``.

    Returns:
        The draws, and ``log p_0`` (K, R) of their given values.
    """
    draws, rows = given.shape[:2]
    flat = given.flatten(0, 1)
    log_p = Conditioned(base, flat).log_density.view(draws, rows)
    volume = run.scaling.log_volume(flat.nan_to_num(0.0)).view(draws, rows)
    kept = systematic(reductions.normalise((log_p + volume.to(log_p)).T), rng, min(draws, KEPT))
    at = torch.arange(rows, device=kept.device)
    return given[kept.T, at], log_p[kept.T, at]


def _chosen(found: Completed, log_q: Tensor, count: int, rng: torch.Generator) -> Tensor:
    """Take samples (R, count, *shape) of each draw as often as model and base make it likely."""
    x = found.x.view(*log_q.shape, *found.x.shape[1:])
    log_w = (found.log_z.view_as(log_q) - log_q).T
    chosen = systematic(reductions.normalise(log_w), rng, count).contiguous()  # in order
    rows = torch.arange(len(chosen), device=chosen.device)[:, None]
    before = torch.arange(count, device=chosen.device) - torch.searchsorted(chosen, chosen)
    order = torch.rand(chosen.shape, generator=rng, device=chosen.device).argsort(1)
    return x[chosen, rows, before % x.shape[2]][rows, order]
