"""A preconditioner estimated from weighted samples, positive definite however few they are.

The estimate at step k of an annealing path is ``C_k = (1 - s) S_k + s C_(k-1)``, with S_k the
weighted covariance of the samples. As a running mean it needs fewer samples than dimensions, and
as a mean of a positive definite and a positive semi-definite matrix it stays positive definite.
The share of the old estimate is ``s = p / (p + n_eff)``, where n_eff is the effective sample size
and p is the dimension d for a covariance, 10 for variances.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from noneq.energies import Cholesky, Diagonal, Factor

__all__ = ["Learned", "Precondition"]

Precondition = Literal["keep", "diagonal", "full"]
"""How a pilot run sets a kernel's preconditioner: "keep" the kernel's own, or estimate the
variances ("diagonal") or the covariance ("full") of the walkers (weighted samples)."""


@dataclass(frozen=True)
class Learned:
    """Holds a running estimate of the covariance, or the variances, of samples that are annealed.

    `at` makes the first estimate, `follow` includes samples of the next step.

    Attributes:
        c: variances (*shape) or a covariance (d, d), in float64.
        full: whether it is a covariance.
    """

    c: Tensor
    full: bool

    @classmethod
    def at(cls, x: Tensor, p: Tensor, *, full: bool) -> Learned:
        """Make a first estimate from weighted samples.

        Arguments:
            x: positions (N, *shape).
            p: normalised weights (N,).
            full: whether to estimate a covariance, shrunk towards its diagonal, instead of
                variances.

        Returns:
            The estimate.
        """
        variance = _centred(x, p).square().mul(_column(p, x)).sum(0)
        variance = variance + _least(variance)
        if not full:
            return cls(variance, full=False)
        return cls(variance.flatten().diag(), full=True).follow(x, p)

    def follow(self, x: Tensor, p: Tensor) -> Learned:
        """Average the estimate with the covariance (or variances) of further weighted samples.

        The larger the effective sample size of the new samples, the less the old estimate counts.

        Arguments:
            x: positions (N, *shape).
            p: normalised weights (N,).

        Returns:
            The new estimate.
        """
        known = float(1 / p.square().sum())  # effective number of walkers
        old = len(self.c) if self.full else 10
        share = old / (old + known)
        v = _centred(x, p)
        if self.full:
            v = v.flatten(1)
            now = (v * p[:, None]).T @ v
            now.diagonal().add_(_least(now.diagonal()))
        else:
            now = v.square().mul(_column(p, x)).sum(0)
        return Learned(share * self.c + (1 - share) * now, self.full)

    def factor(self, dtype: torch.dtype) -> Factor:
        """Return a square root of the estimated covariance, which kernels take as preconditioner.

        Arguments:
            dtype: dtype of the vectors to which the root is applied.

        Returns:
            A `Cholesky` factor of a covariance, or a `Diagonal` factor of variances.
        """
        return Cholesky(self.c, dtype) if self.full else Diagonal(self.c.sqrt(), dtype)


def _least(variance: Tensor) -> float:
    """Return a small variance, added to all, that keeps roots positive definite."""
    return 1e-10 * float(variance.mean()) + 1e-30


def _column(p: Tensor, x: Tensor) -> Tensor:
    """Return weights p (N,) in a shape that broadcasts with x."""
    return p.view(-1, *[1] * (x.dim() - 1))


def _centred(x: Tensor, p: Tensor) -> Tensor:
    # walkers of weight zero may be at infinity, where 0 x inf would be NaN
    """Return x minus its weighted mean, 0 for walkers of weight zero."""
    x = torch.where(_column(p, x) > 0, x.double(), 0.0)
    return torch.where(_column(p, x) > 0, x - (_column(p, x) * x).sum(0), 0.0)
