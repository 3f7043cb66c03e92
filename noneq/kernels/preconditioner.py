"""A preconditioner estimated from weighted walkers, positive definite however few they are.

The estimate is ``C_k = (1 - s) S_k + s C_(k-1)``, with S_k the weighted covariance of the walkers.
Along a path it is a running mean, so that fewer walkers than dimensions suffice; as a mean of a
positive definite and a positive semi-definite matrix it stays positive definite. The share of the
old estimate is ``s = p / (p + n_eff)``, where n_eff is the effective sample size and p is d for a
covariance, 10 for variances.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from noneq.energies import Cholesky, Diagonal, Factor

__all__ = ["Learned", "Precondition"]

#: how a pilot run sets a kernel's preconditioner: not, by variances, or by a covariance
Precondition = Literal["keep", "diagonal", "full"]


@dataclass(frozen=True)
class Learned:
    """Estimates a covariance, or variances, that follow the walkers along a path.

    Attributes:
        c: variances (*shape) or a covariance (d, d), in float64.
        full: whether it is a covariance.
    """

    c: Tensor
    full: bool

    @classmethod
    def at(cls, x: Tensor, p: Tensor, *, full: bool) -> Learned:
        """Make a first estimate: variances, or a covariance that is shrunk towards them.

        Arguments:
            x: positions (N, *shape).
            p: normalised weights (N,).
            full: whether to estimate a covariance instead of variances.
        """
        variance = _centred(x, p).square().mul(_column(p, x)).sum(0)
        variance = variance + _least(variance)
        if not full:
            return cls(variance, full=False)
        return cls(variance.flatten().diag(), full=True).follow(x, p)

    def follow(self, x: Tensor, p: Tensor) -> Learned:
        """Return the estimate after including walkers.

        Arguments:
            x: positions (N, *shape).
            p: normalised weights (N,).
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
        """Return the square root of the covariance, for vectors of a dtype."""
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
