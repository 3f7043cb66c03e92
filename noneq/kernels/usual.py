r"""The kernel that is meant where none is named."""

from __future__ import annotations

from torch import Tensor

from noneq.covariance import Factor, Identity
from noneq.energies import Solvable
from noneq.kernels.discrete import DiscreteLangevin
from noneq.kernels.langevin import MALA
from noneq.spaces import Discrete, space_of

__all__ = ["default_kernel"]


def default_kernel(base: Solvable, x: Tensor) -> MALA | DiscreteLangevin:
    """MALA for rows like x, preconditioned by the base's covariance if it has one.

    For discrete variables discrete Langevin, adjusted.
    """
    if isinstance(space_of(base), Discrete):
        return DiscreteLangevin(0.3)
    factor: Factor = getattr(base, "factor", None) or Identity()
    return MALA(1.3 * x[0].numel() ** (-1 / 3), factor)
