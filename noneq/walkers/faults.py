"""Checks on walkers (weighted samples), and error messages that explain an invalid weight.

A log-weight is invalid when it is NaN or +inf. Each ``check_`` function raises an error for
walkers or kernels that an operation on walkers cannot accept.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from noneq.energies import Energy, Snapshot
from noneq.energies.base import is_invalid
from noneq.kernels import Kernel, transports
from noneq.kernels.base import name
from noneq.spaces import Discrete, space_of

__all__ = ["LastMove", "check_graph", "check_inside", "check_space", "check_start", "explain"]


class LastMove(NamedTuple):
    """Holds the last move of N walkers, to explain a weight that is found invalid later.

    A weight is invalid if its logarithm is NaN or +inf.

    Attributes:
        kernel: the kernel that moved the walkers.
        increment: change of the log-weights by the move (N,).
        before: energies at the positions before the move (N,).
        after: energies at the positions after the move (N,).
    """

    kernel: Kernel
    increment: Tensor
    before: Tensor
    after: Tensor

    def kernel_at_fault(self) -> bool:
        """Return whether the kernel, not the energy, has made a log-weight NaN or +inf.

        Returns:
            True if the kernel's increment of a log-weight is NaN or +inf although the energies
            before and after the move are finite.
        """
        known = torch.isfinite(self.before) & torch.isfinite(self.after)
        return bool((~(self.increment < math.inf) & known).any())

    def left_support(self) -> bool:
        """Return whether a transport has carried a walker to where the energy is +inf.

        Returns:
            True if so; False for a kernel that is no transport (a kernel that carries walkers from
            one energy of a path to the next).
        """
        return transports(self.kernel) and bool(self.after.isposinf().any())


def explain(x: Tensor, invalid: Tensor, last: LastMove | None) -> str:
    """Explain invalid log-weights (NaN or +inf) in words, for an error message.

    Arguments:
        x: positions of the walkers (N, *shape).
        invalid: whether each log-weight is NaN or +inf (N,).
        last: last move of the walkers; None if the walkers have not moved.

    Returns:
        One sentence with the probable cause and a remedy.
    """
    n, where = len(x), f"at {int(invalid.sum())} of {len(x)} walkers"
    lost = not bool(torch.isfinite(x[invalid]).all())
    if last is not None and last.left_support():
        return (
            f"{name(last.kernel)} led {int(last.after.isposinf().sum())} of {n} walkers to where "
            "the energy is +inf: no diffusion has a valid weight at a hard wall; give it a finite "
            "height, or anneal by kernels that accept and reject"
        )
    if last is not None and (lost or last.kernel_at_fault()):
        return (
            f"the kernel {name(last.kernel)} returned a weight of NaN or +inf, or a position that "
            f"is not finite, {where}: take a smaller step, or look at the increment that it "
            "computes"
        )
    return (
        f"the energy is NaN or -inf {where}, {_place(x[invalid][0])}: look at what it computes "
        "there; where it is being trained the model has diverged; take a smaller learning rate "
        "or trust region (tau)"
    )


def _place(x: Tensor) -> str:
    """Describe the position of a walker by its first coordinates."""
    x = x.flatten()
    shown = ", ".join(f"{float(v):.4g}" for v in x[:4])
    return f"the first at x = ({shown}{', ...' if len(x) > 4 else ''})"


def check_inside(x: Tensor, energy: Energy) -> None:
    """Check that all positions are in the space of an energy.

    Arguments:
        x: positions (N, *shape).
        energy: energy; its space is its attribute ``space``, or R^n without one.

    Raises:
        ValueError: a position is outside of the space.
    """
    space = space_of(energy)
    if not bool((inside := space.contains(x)).all()):
        raise ValueError(
            f"{int((~inside).sum())} of {len(x)} walkers are outside the energy's space, "
            f"{space}: start them inside, nothing is clipped"
        )


def check_start(u: Tensor) -> None:
    """Check the energies of walkers at their start, which must be numbers or +inf.

    Arguments:
        u: energies (N,); +inf is allowed and gives a weight of zero.

    Raises:
        FloatingPointError: an energy is NaN or -inf.
    """
    bad = is_invalid(u)
    if bool(bad.any()):
        raise FloatingPointError(
            f"the energy is NaN or -inf at {int(bad.sum())} of {len(u)} walkers at the start: "
            "an energy is a number or +inf wherever its walkers may be"
        )


def check_space(x: Tensor, energy: Energy, before: Snapshot | None) -> None:
    """Check that walkers are at states of a discrete energy before they are reweighted to it.

    Nothing is checked for an energy of continuous variables.

    Arguments:
        x: positions (N, *shape).
        energy: the energy to which the walkers are reweighted.
        before: the energy for which they are weighted now; None if unknown.

    Raises:
        ValueError: a position is not a state of the energy, e.g. not made of bits.
    """
    space = space_of(energy)
    if not isinstance(space, Discrete) or before is None:
        return
    # looked at only where the space changes: on their way walkers do not wait for a GPU
    if space_of(before.model) != space and not bool((on := space.contains(x)).all()):
        raise ValueError(
            f"{int((~on).sum())} of {len(x)} walkers are none of the states of the energy, "
            f"a {type(energy).__name__} on {space}: start from a base on the same space"
        )


def check_graph(kernel: Kernel) -> None:
    """Check that the energies which a kernel computes in a move can be used in a training loss.

    They can if the kernel evaluates the new energy at the final positions only, as the unadjusted
    kernel `noneq.kernels.ULA` does.

    Arguments:
        kernel: transition kernel that is to move walkers with ``graph=True``.

    Raises:
        ValueError: the kernel accepts and rejects, or is a transport (it carries walkers from one
            energy of a path to the next).
    """
    if kernel.fresh:
        raise ValueError(
            "graph=True is for unadjusted kernels on stale states (ULA); "
            "after other kernels use reweight(energy, graph=True)"
        )
    if transports(kernel):
        raise ValueError(
            f"{name(kernel)} leads along a path, whose energies have no parameters to "
            "differentiate: move without graph=True, then reweight(energy, graph=True) to "
            "the energy that learns"
        )
