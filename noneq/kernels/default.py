r"""The kernel that is meant where none is named."""

from __future__ import annotations

from torch import Tensor

from noneq.energies import Conditional, Energy, Factor, Identity, Solvable
from noneq.kernels.base import Kernel
from noneq.kernels.discrete import DiscreteLangevin
from noneq.kernels.gibbs import BlockGibbs
from noneq.kernels.hmc import HMC
from noneq.kernels.langevin import MALA
from noneq.spaces import Discrete, space_of

__all__ = ["default_kernel", "with_momentum"]


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


def with_momentum(kernel: Kernel) -> Kernel:
    """For annealing: MALA becomes one that keeps a part of its momentum; others stay themselves.

    Under energies that change a little from move to move, walkers that keep their direction
    follow better: at one evaluation a temperature a third more ancestors are left on digits, and
    log Z has about half the variance (docs/lab/annealing.md).
    """
    if isinstance(kernel, MALA):
        return HMC(
            kernel.h,
            kernel.factor,
            leapfrog_steps=1,
            friction=1.0,
            target_accept=0.8,
            rate=kernel.rate,
        )
    return kernel
