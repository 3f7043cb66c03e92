"""Reductions of log-weights: mean weight, normalisation, effective sample size.

Every function takes log-weights ``log_w`` (or normalised weights ``p``) of shape ``(..., n)``;
leading dimensions are separate populations of n samples. All arithmetic is float64. ``-inf`` is a
legal log-weight (weight zero); a population in which every weight is zero is an error.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = [
    "Summary",
    "conditional_ess",
    "ess",
    "jackknife",
    "log_mean_exp",
    "mean",
    "normalise",
    "summarise",
]


class Summary(NamedTuple):
    """Holds numbers that summarise log-weights, read from the device in one transfer.

    Islands are groups of walkers (weighted samples) that are resampled separately.

    Attributes:
        invalid: number of log-weights that are NaN or +inf.
        zero: number of log-weights that are -inf (weight zero).
        empty: number of islands in which every walker has weight zero.
        lowest: the smallest effective sample size of an island, a fraction.
        ess: effective sample size of all walkers, a fraction.
        log_mean: logarithm of the mean weight.
        log_mean_stderr: standard error of ``log_mean`` by the jackknife over islands.
    """

    invalid: int
    zero: int
    empty: int
    lowest: float
    ess: float
    log_mean: float
    log_mean_stderr: float

    @classmethod
    def of(cls, numbers: list[float]) -> Summary:
        """Make a summary of seven numbers, in the order of its fields.

        Arguments:
            numbers: the numbers that `summarise` computes, as a list.

        Returns:
            The summary, with counts as integers.
        """
        invalid, zero, empty, *others = numbers
        return cls(int(invalid), int(zero), int(empty), *others)


def log_mean_exp(log_w: Tensor) -> Tensor:
    r"""Compute the logarithm of the mean weight, ``log (1/n) sum_i exp(log_w_i)``.

    Arguments:
        log_w: log-weights (..., n).

    Returns:
        A tensor (...), float64.

    >>> log_mean_exp(torch.tensor([0.0, math.log(3.0)])).exp()
    tensor(2.0000, dtype=torch.float64)
    """
    return log_w.double().logsumexp(-1) - math.log(log_w.shape[-1])


def jackknife(log_w: Tensor) -> Tensor:
    """Estimate the standard error of the log of the mean weight of n independent walkers.

    It is the square root of ``(n - 1)/n sum_i (t_i - mean t)^2``, where t_i is the logarithm of
    the mean of all weights but the i-th. It is close to the relative standard error of the mean
    weight where that is small, and larger where one weight dominates. Sources: Quenouille 1956;
    Tukey 1958.

    Arguments:
        log_w: log-weights (..., n).

    Returns:
        A tensor (...), float64; NaN for n = 1.

    >>> jackknife(torch.tensor([0.0, math.log(3.0)]))  # half of log 3: either may be left out
    tensor(0.5493, dtype=torch.float64)
    """
    log_w, n = log_w.double(), log_w.shape[-1]
    if n == 1:
        return log_w.new_full(log_w.shape[:-1], math.nan)
    none = torch.full_like(log_w[..., :1], -math.inf)
    before = torch.cat([none, log_w[..., :-1]], -1).logcumsumexp(-1)
    after = torch.cat([log_w[..., 1:], none], -1).flip(-1).logcumsumexp(-1).flip(-1)
    t = torch.logaddexp(before, after)
    spread = (t - t.mean(-1, keepdim=True)).square().sum(-1).sqrt()
    return spread * math.sqrt((n - 1) / n)


def normalise(log_w: Tensor) -> Tensor:
    r"""Normalise weights, ``p_i = w_i / sum_j w_j``.

    Arguments:
        log_w: log-weights (..., n).

    Returns:
        Weights (..., n) that sum to 1, float64.

    >>> normalise(torch.tensor([0.0, math.log(3.0), -math.inf]))
    tensor([0.2500, 0.7500, 0.0000], dtype=torch.float64)
    """
    return log_w.double().softmax(-1)


def ess(log_w: Tensor) -> Tensor:
    """Compute the effective sample size as a fraction, ``1 / (n sum_i p_i^2)``.

    Here p are the normalised weights. Source: Kong, Liu, Wong 1994.

    Arguments:
        log_w: log-weights (..., n).

    Returns:
        A tensor (...), float64, in [1/n, 1].

    >>> ess(torch.zeros(4))
    tensor(1., dtype=torch.float64)
    """
    return (log_w.shape[-1] * normalise(log_w).square().sum(-1)).reciprocal()


def conditional_ess(log_w: Tensor, increment: Tensor) -> Tensor:
    """Compute the conditional effective sample size of an increment d of the log-weights.

    It is ``(sum_i p_i e^{d_i})^2 / sum_i p_i e^{2 d_i}``, with p the normalised weights before the
    increment: the share of the effective sample size that the increment leaves. Unlike a ratio of
    two `ess`, it does not favour an increment that cancels earlier ones. Source: Zhou, Johansen,
    Aston 2016 (arXiv 1303.3123).

    Arguments:
        log_w: log-weights before the increment (..., n).
        increment: the increment d (..., n).

    Returns:
        A tensor (...), float64, in (0, 1]; 1 where d is the same wherever p > 0.

    >>> conditional_ess(torch.zeros(2), torch.tensor([0.0, math.log(3.0)]))
    tensor(0.8000, dtype=torch.float64)
    """
    log_p = log_w.double().log_softmax(-1)
    d = increment.double().masked_fill(log_p.isneginf(), 0.0)
    once = log_p + d
    return (2 * once.logsumexp(-1) - (once + d).logsumexp(-1)).exp()


def mean(p: Tensor, f: Tensor) -> Tensor:
    """Compute the weighted mean ``sum_i p_i f_i``.

    Arguments:
        p: normalised weights (n,), of the dtype of f.
        f: values (n, ...).

    Returns:
        A tensor (...), with the graph of f.
    """
    return p.dot(f) if f.dim() == 1 else torch.tensordot(p, f, 1)


def summarise(log_w: Tensor, p: Tensor) -> Tensor:
    """Compute the numbers of a `Summary` on the device, without a transfer to the host.

    Arguments:
        log_w: log-weights by island (islands, n), n the number of walkers in an island.
        p: normalised weights of all walkers, flat (islands * n,).

    Returns:
        A tensor (7,), float64, in the order of the fields of `Summary`.
    """
    invalid, zero = (~(log_w < math.inf)).sum(1), log_w.isneginf().sum(1)
    overall = (len(p) * p.square().sum(0, keepdim=True)).reciprocal()
    empty, log_mean = zero == log_w.shape[1], log_mean_exp(log_w)
    if len(log_w) == 1:  # what would be reduced over islands is the one that there is
        unknown = torch.full_like(log_mean, math.nan)
        return torch.cat([invalid, zero, empty, overall, overall, log_mean, unknown])
    counts = torch.stack([invalid, zero, empty]).sum(1)
    others = ess(log_w).min(), overall[0], log_mean_exp(log_mean), jackknife(log_mean)
    return torch.cat([counts, torch.stack(others)])
