r"""A preconditioner learned from weighted walkers: positive definite, however few they are.

The estimate ``C_k = (1 - s) S_k + s C_(k-1)``, S the walkers' weighted covariance, leans on the
one before it. Along a path that is a running mean, so that a few walkers a time suffice for more
dimensions than they are, and as a mean of a positive definite and a positive semi-definite matrix
it is positive definite. The share of the old is ``s = p / (p + n_eff)``, p the numbers that a
walker has to tell about: d for a covariance, 10 for variances.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from noneq.energies import Cholesky, Diagonal, Factor

__all__ = ["Learned", "Precondition"]

#: what a pilot does to a kernel's preconditioner
Precondition = Literal["keep", "diagonal", "full"]


@dataclass(frozen=True)
class Learned:
    """A covariance that follows walkers.

    Attributes:
        c: float64, variances (*shape) or a covariance (d, d).
        full: which.
    """

    c: Tensor
    full: bool

    @classmethod
    def at(cls, x: Tensor, p: Tensor, *, full: bool) -> Learned:
        """From walkers alone: their variances, to which a covariance leans.

        Arguments:
            x: positions (N, *shape).
            p: normalised weights (N,).
            full: a covariance instead of variances.
        """
        variance = _centred(x, p).square().mul(_column(p, x)).sum(0)
        variance = variance + _least(variance)
        if not full:
            return cls(variance, full=False)
        return cls(variance.flatten().diag(), full=True).follow(x, p)

    def follow(self, x: Tensor, p: Tensor) -> Learned:
        """The estimate after another look at walkers x of weights p."""
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
        """Its root, for vectors of that dtype."""
        return Cholesky(self.c, dtype) if self.full else Diagonal(self.c.sqrt(), dtype)


def _least(variance: Tensor) -> float:
    """Where all agree there is some variance, too: for the rounding of a root, and to move."""
    return 1e-10 * float(variance.mean()) + 1e-30


def _column(p: Tensor, x: Tensor) -> Tensor:
    return p.view(-1, *[1] * (x.dim() - 1))


def _centred(x: Tensor, p: Tensor) -> Tensor:
    # the dead may be anywhere: 0 x inf is no number
    x = torch.where(_column(p, x) > 0, x.double(), 0.0)
    return torch.where(_column(p, x) > 0, x - (_column(p, x) * x).sum(0), 0.0)
