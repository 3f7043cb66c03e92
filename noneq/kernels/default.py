"""The kernel that is used where none is named."""

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
    """Choose a kernel for an energy: MALA, or a discrete kernel for discrete variables.

    An energy that can sample its own conditionals gets block Gibbs, any other energy on a discrete
    space adjusted discrete Langevin. MALA is preconditioned by the base's covariance, if it has
    one.

    Arguments:
        base: solvable energy at which the walkers start, on the same space as the energy under
            which they move; None: that space is R^n, and MALA is not preconditioned.
        x: rows (M, *shape), whose dimension sets the step size.
        energy: energy under which the walkers move; None: one without conditionals.

    Returns:
        The kernel.
    """
    if isinstance(energy, Conditional):
        return BlockGibbs()
    if isinstance(space_of(base), Discrete):
        return DiscreteLangevin(0.3)
    factor: Factor = getattr(base, "factor", None) or Identity()
    return MALA(1.3 * x[0].numel() ** (-1 / 3), factor)


def with_momentum(kernel: Kernel) -> Kernel:
    """Replace MALA by a kernel that keeps part of its momentum, which is better for annealing.

    Where the energy changes little from move to move, walkers that keep their direction lag less
    behind it: at one evaluation per temperature there are a third more effective ancestors on the
    digits, and about half the variance of log Z (docs/lab/annealing.md).

    Arguments:
        kernel: kernel of any type.

    Returns:
        Generalised HMC with one leapfrog step for MALA; any other kernel itself.
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
