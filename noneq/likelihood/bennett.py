"""Estimators of log Z from the work of forward and backward annealing, or from genealogies.

The work done on a walker (a weighted sample) that is annealed from one energy to another is ``W =
-log w``, with w the weight that it collects. Crooks' relation (1999) between the distributions of
forward work and of backward work along the reversed schedule (`noneq.Schedule.backward`) is

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
    r"""Estimate log Z_1 from walkers annealed forward and backward, by Bennett's acceptance ratio.

    Walkers are weighted samples. Forward annealing is from an energy U_0 to U_1, backward
    annealing from U_1 to U_0. With a_i the forward log-weights, ``-b_j`` the backward ones, and
    ``s(t) = 1 / (1 + e^-t)``, the estimate of ``log(Z_1 / Z_0)`` is the root c of

        ``sum_i s(a_i - c - log(n_F/n_B)) = sum_j s(c + log(n_F/n_B) - b_j)``

    It has the least variance of all estimators from both sets of log-weights. Its standard error
    is ``sqrt(v_F + v_B)``, with v_F and v_B the relative variances of the means of s on the left
    and on the right; it is NaN where the distributions of a and b hardly overlap (an effective
    sample size below 5 of the terms of either sum). Sources: Bennett 1976; Crooks 1999; Shirts,
    Bair, Hooker, Pande 2003 (the error).

    Arguments:
        forward: walkers annealed by ``schedule.forward(path)`` without resampling (``ess_min=0``)
            from exact samples of U_0, or their log-weights (n_F,).
        backward: walkers annealed by ``schedule.backward(path)`` without resampling from exact,
            independent samples of U_1, or their log-weights (n_B,).

    Returns:
        If ``forward`` is walkers, ``log Z_1`` (the walkers hold log Z_0); if it is log-weights,
        ``log(Z_1 / Z_0)``; with the standard error.

    Raises:
        ValueError: walkers were resampled, which mixes the log-weights of different walkers.
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
    r"""Estimate log Z with a standard error that is computed from the ancestors of the walkers.

    An ancestor is a walker at the start of annealing; resampling gives it several descendants or
    none. The standard error of `noneq.Walkers.log_z` needs several islands (groups of walkers that
    are resampled separately); this one needs a single island. The relative variance of Z is

        ``n/(n - 1) (sum_a P_a^2 - sum_r P_r^2 / n)``

    with P_a the share of the total weight held by descendants of ancestor a, P_r the share of
    island r, and n the number of walkers in an island. Without resampling it is the variance of a
    mean. Variance that arises after all walkers descend from one ancestor is not seen, nor a mode
    that all walkers missed. Each multinomial resampling adds an excess of about ``1/n``, which the
    estimator of Lee and Whiteley 2018 (arXiv 1509.00394) removes; under systematic resampling the
    excess is smaller, and their estimator can be negative.

    Arguments:
        walkers: annealed walkers, resampled or not.

    Returns:
        log Z with its standard error, which is NaN if an island has fewer than 20 effective
        ancestors on average.

    Raises:
        FloatingPointError: all walkers have weight zero, or a weight is invalid.
    """
    n = len(walkers) // walkers.islands
    ancestors, islands = walkers.effective_ancestors, walkers.weights.mass_by_island
    spread = float(n / (n - 1) * (1 / ancestors - islands.square().sum() / n))
    known = ancestors >= ANCESTORS * walkers.islands
    return LogZ(walkers.log_z.value, math.sqrt(max(0.0, spread)) if known else math.nan)
