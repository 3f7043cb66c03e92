r"""Estimators of log Z from the work of forward and backward walkers, or from their ancestors.

The work done on a walker on its way from one energy to another is ``W = -log w``, with w the
weight that it collects. Crooks' relation (1999) between the distributions of forward work and of
backward work along the mirrored schedule (`noneq.Schedule.backward`) is

    ``P_F(W) / P_B(-W) = exp(W - dF),  dF = -log(Z_1 / Z_0)``

if both start in equilibrium and no walker is resampled.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from noneq.walkers import LogZ, Walkers, reductions

__all__ = ["bennett", "genealogy"]

# measured: docs/mathematics.md, section 3
ANCESTORS = 20  # effective ancestors of an island; with fewer, the variance is underestimated
OVERLAP = 5  # effective walkers


def bennett(forward: Walkers | Tensor, backward: Walkers | Tensor) -> LogZ:
    r"""Estimate log Z_1 from forward and backward work together: Bennett's acceptance ratio.

    With a the forward log-weights, b minus the backward ones, and ``s(t) = 1 / (1 + e^-t)``, the
    root ``c = log(Z_1 / Z_0)`` of

        ``sum_i s(a_i - c - log(n_F/n_B)) = sum_j s(c + log(n_F/n_B) - b_j)``

    which has the least variance of all estimators from the two sets of work. Its standard error
    is ``sqrt(v_F + v_B)``, v the relative variance of either mean of s; NaN where the two
    distributions of work hardly overlap (an effective sample size below 5 in either sum).
    Sources: Bennett 1976; Crooks 1999; Shirts, Bair, Hooker, Pande 2003 (the error).

    Arguments:
        forward: walkers annealed by ``schedule.forward(path)`` with ``ess_min=0`` from exact
            samples of the start, or their log-weights (n_F,).
        backward: walkers annealed by ``schedule.backward(path)`` with ``ess_min=0`` from exact,
            independent samples of the end, or their log-weights (n_B,).

    Returns:
        From log-weights ``log(Z_1 / Z_0)``, from walkers ``log Z_1``, with its standard error.

    Raises:
        ValueError: the walkers were resampled, so that their weights are not their own work.
        FloatingPointError: a log-weight is NaN or +inf, or all forward or all backward walkers
            have weight zero.
    """
    start = forward.weights.log_z_start if isinstance(forward, Walkers) else 0.0
    a, b = _log_weights(forward, "forward"), -_log_weights(backward, "backward")
    m = math.log(len(a) / len(b))
    ends = torch.cat([a, b])
    ends = ends[torch.isfinite(ends)]
    room = 40 + math.log(len(a) + len(b))
    low, high = float(ends.min()) - abs(m) - room, float(ends.max()) + abs(m) + room
    for _ in range(60):  # the left side falls with c, the right one rises
        c = (low + high) / 2
        left, right = _log_acceptance(a - c - m), _log_acceptance(c + m - b)
        low, high = (c, high) if left.logsumexp(0) > right.logsumexp(0) else (low, c)
    shares = (reductions.ess(left) * len(a), reductions.ess(right) * len(b))
    variance = sum(1 / share - 1 / len(side) for share, side in zip(shares, (a, b), strict=True))
    overlap = min(float(share) for share in shares)
    return LogZ(start + c, math.sqrt(float(variance)) if overlap >= OVERLAP else math.nan)


def _log_acceptance(t: Tensor) -> Tensor:
    return torch.nn.functional.logsigmoid(t)


def _log_weights(side: Walkers | Tensor, name: str) -> Tensor:
    if isinstance(side, Walkers):
        if side.weights.resampled:
            raise ValueError(
                f"the {name} walkers were resampled {side.weights.resampled} times, so that their "
                "weights are not their own work: anneal them with ess_min=0"
            )
        side = side.log_w
    log_w = side.detach().double()
    bad = int((~(log_w < math.inf)).sum())
    if bad:
        raise FloatingPointError(
            f"{bad} of {len(log_w)} {name} log-weights are NaN or +inf: look for the energy or "
            "the kernel that made them"
        )
    if not bool((log_w > -math.inf).any()):
        raise FloatingPointError(
            f"all {name} walkers have weight zero: start at an energy that is closer to the other "
            "end of the path"
        )
    return log_w


def genealogy(walkers: Walkers) -> LogZ:
    r"""Estimate log Z and its standard error from the ancestors of a single population.

    No islands are needed. The variance is ``n/(n - 1) (sum_a P_a^2 - sum_r P_r^2 / n)``, P_a the
    share of the weight that descends from ancestor a, P_r that of island r, n the walkers of an
    island; without resampling it is the variance of a mean. It does not see variance that arises
    after all walkers descend from the same ancestor, nor a mode that all walkers missed. Each
    multinomial resampling makes it too large by about ``1/n``, which the estimator of Lee and
    Whiteley 2018 (arXiv 1509.00394) corrects; under systematic resampling the excess is smaller,
    and that estimator can be negative.

    Arguments:
        walkers: annealed population, resampled or not.

    Returns:
        log Z with its standard error, NaN with fewer than 20 effective ancestors an island.

    Raises:
        FloatingPointError: no walker has weight, see `noneq.Walkers.log_z`.
    """
    n = len(walkers) // walkers.islands
    ancestors, islands = walkers.effective_ancestors, walkers.weights.mass_by_island
    spread = float(n / (n - 1) * (1 / ancestors - islands.square().sum() / n))
    known = ancestors >= ANCESTORS * walkers.islands
    return LogZ(walkers.log_z.value, math.sqrt(max(0.0, spread)) if known else math.nan)
