r"""The kernel that is meant where none is named."""

from __future__ import annotations

from torch import Tensor

from noneq.covariance import Factor, Identity
from noneq.energies import Energy, Solvable
from noneq.kernels.discrete import DiscreteLangevin
from noneq.kernels.gibbs import BlockGibbs, Conditional
from noneq.kernels.langevin import MALA
from noneq.spaces import Discrete, space_of

__all__ = ["default_kernel"]


def default_kernel(
    base: Solvable | None, x: Tensor, energy: Energy | None = None
) -> MALA | DiscreteLangevin | BlockGibbs:
    """MALA for rows like x, preconditioned by the base's covariance if it has one.

    For discrete variables discrete Langevin, adjusted; for an energy that draws from its own
    conditionals block Gibbs.

    Arguments:
        base: where the walkers start, on the energy's space.
        x: rows (M, *shape).
        energy: what they move under.
    """
    if isinstance(energy, Conditional):
        return BlockGibbs()
    if isinstance(space_of(base), Discrete):
        return DiscreteLangevin(0.3)
    factor: Factor = getattr(base, "factor", None) or Identity()
    return MALA(1.3 * x[0].numel() ** (-1 / 3), factor)
