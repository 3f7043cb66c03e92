"""What walkers cannot do, and why a weight is invalid: checks, with their messages in words."""

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
    """What the last move did to log-weights and energies, kept to explain an invalid weight."""

    kernel: Kernel
    increment: Tensor
    """(N,), of the log-weights"""
    before: Tensor
    """(N,): energies at the positions that it started from"""
    after: Tensor
    """(N,): energies at those where it ended"""

    def kernel_at_fault(self) -> bool:
        """Whether an increment is invalid although the energies at both ends are finite."""
        known = torch.isfinite(self.before) & torch.isfinite(self.after)
        return bool((~(self.increment < math.inf) & known).any())

    def left_support(self) -> bool:
        """Whether a transport has led a walker to where the energy is +inf."""
        return transports(self.kernel) and bool(self.after.isposinf().any())


def explain(x: Tensor, invalid: Tensor, last: LastMove | None) -> str:
    """What to say of invalid weights.

    Arguments:
        x: positions (N, *shape).
        invalid: (N,), where the log-weight is NaN or +inf.
        last: the last move, if there was one.
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
    """Where the first of the walkers concerned is, in few words."""
    x = x.flatten()
    shown = ", ".join(f"{float(v):.4g}" for v in x[:4])
    return f"the first at x = ({shown}{', ...' if len(x) > 4 else ''})"


def check_inside(x: Tensor, energy: Energy) -> None:
    """Raise ValueError for positions (N, *shape) outside the energy's space."""
    space = space_of(energy)
    if not bool((inside := space.contains(x)).all()):
        raise ValueError(
            f"{int((~inside).sum())} of {len(x)} walkers are outside the energy's space, "
            f"{space}: start them inside, nothing is clipped"
        )


def check_start(u: Tensor) -> None:
    """Raise FloatingPointError for energies (N,) that no walker can start from."""
    bad = is_invalid(u)
    if bool(bad.any()):
        raise FloatingPointError(
            f"the energy is NaN or -inf at {int(bad.sum())} of {len(u)} walkers at the start: "
            "an energy is a number or +inf wherever its walkers may be"
        )


def check_space(x: Tensor, energy: Energy, before: Snapshot | None) -> None:
    """Raise ValueError for walkers between the states of an energy of discrete sites.

    Arguments:
        x: positions (N, *shape).
        energy: where they are to go.
        before: what they are under.
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
    """Raise ValueError for a kernel whose last evaluation cannot serve the next loss."""
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
