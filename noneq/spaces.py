"""Spaces of positions, which decide which transition kernels can move samples of an energy.

An energy declares the space of its positions by an attribute ``space``; without one it is R^n.

============= ========================================= =============================
space         positions                                 kernels
============= ========================================= =============================
`REAL`        R^n                                       Langevin, HMC, random walk
`WithContext` R^n, and coordinates that stay            the same, see below
`Box`         R^n between walls                         the same, see below
`BINARY`      {0, 1}^n                                  Gibbs, discrete Langevin
`ONE_HOT`     n sites of q states, one-hot (..., n, q)  Gibbs, discrete Langevin
============= ========================================= =============================

Positions are never clipped to a box. A kernel that accepts and rejects needs no change, since the
energy is +inf outside. One that reflects (`noneq.HMC` and `noneq.kernels.RandomWalk` with
``reflect=True``) moves by a bijection of the box. An unadjusted kernel (one that never rejects)
that does not reflect raises an error: a Gaussian move out of the box has no valid importance
weight, because the reverse move starts where the density is zero.

Labels or covariates on which a density depends are the last coordinates of its samples, and the
preconditioner of a kernel, a `noneq.energies.Held`, leaves them as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

__all__ = [
    "BINARY",
    "ONE_HOT",
    "REAL",
    "Box",
    "Discrete",
    "Real",
    "Space",
    "WithContext",
    "check_inside",
    "context_size",
    "model_name",
    "require",
    "space_of",
]


@dataclass(frozen=True)
class Real:
    """Represents R^n, the space of unbounded continuous variables; `REAL` is an instance."""

    def __str__(self) -> str:
        return "R^n"

    def contains(self, x: Tensor) -> Tensor:
        """Return true for each row of x (B, *shape), as booleans (B,): R^n has no bounds."""
        return torch.ones(len(x), dtype=torch.bool, device=x.device)


@dataclass(frozen=True)
class WithContext(Real):
    """Represents R^n beside a context: the last ``size`` coordinates, which stay."""

    size: int

    def __str__(self) -> str:
        return f"R^n beside a context of {self.size} coordinates"


@dataclass(frozen=True)
class Discrete:
    """Represents the space of discrete variables ("sites"): bits 0 and 1, or one-hot vectors.

    One-hot vectors lie along the last dimension. Positions are floating-point tensors, so that the
    formula of an energy also has a value and a gradient between the states; kernels that use
    gradients, such as `noneq.kernels.DiscreteLangevin`, evaluate this gradient at the states.

    Arguments:
        one_hot: whether sites are one-hot vectors (`ONE_HOT`), instead of bits (`BINARY`).
    """

    one_hot: bool

    def __str__(self) -> str:
        return "one-hot vectors" if self.one_hot else "{0, 1}^n"

    def contains(self, x: Tensor) -> Tensor:
        """Check whether each row of x consists of bits or, if ``one_hot``, of one-hot vectors.

        Arguments:
            x: rows (B, *shape).

        Returns:
            Booleans (B,).
        """
        fine = ((x == 0) | (x == 1)).flatten(1).all(1)
        return fine & (x.sum(-1) == 1).reshape(len(x), -1).all(1) if self.one_hot else fine


def check_inside(space: Space, x: Tensor) -> None:
    """Check that every row lies in a space.

    Arguments:
        space: space in which the rows should lie.
        x: rows (M, *shape).

    Raises:
        ValueError: a row is not in the space; the message has a remedy.
    """
    outside = (~space.contains(x)).nonzero().flatten()
    if len(outside):
        if space == BINARY:
            what = (
                "not made of 0 and 1; make them binary, e.g. (x > 0.5).to(x), or, where they are "
                "probabilities, draw bits by torch.bernoulli(x)"
            )
        elif space == ONE_HOT:
            what = (
                "not one-hot along the last dimension; torch.nn.functional.one_hot makes them so"
            )
        else:
            what = f"outside of {space}; drop them, or move its walls"
        raise ValueError(
            f"{len(outside)} of {len(x)} rows (the first: row {int(outside[0])}) are {what}"
        )


class Box:
    """Represents continuous variables between walls: ``low <= x <= high`` in every coordinate.

    Arguments:
        low: lower wall, a number or a tensor that broadcasts to one position; -inf for no wall.
        high: upper wall, above the lower one; +inf for no wall.

    Raises:
        ValueError: the lower wall is not below the upper one in some coordinate.

    >>> box = Box(0.0, 1.0)
    >>> y, sign = box.fold(torch.tensor([[0.25, 1.25]]))
    >>> y, sign
    (tensor([[0.2500, 0.7500]]), tensor([[ 1., -1.]]))
    """

    def __init__(self, low: float | Tensor, high: float | Tensor) -> None:
        # float64, so that walkers in float64 have exactly the walls that were given
        self.low, self.high = (
            w if isinstance(w, Tensor) else torch.tensor(w, dtype=torch.float64, device="cpu")
            for w in (low, high)
        )
        self._at: dict[tuple[torch.device, torch.dtype], tuple[Tensor, Tensor]] = {}
        if not bool((self.low < self.high).all()):
            raise ValueError(f"a box has low < high in every coordinate, got {low} and {high}")

    def __str__(self) -> str:
        if self.low.dim() or self.high.dim():
            return f"a box from {float(self.low.min()):.4g} to {float(self.high.max()):.4g}"
        return f"[{float(self.low):.4g}, {float(self.high):.4g}]^n"

    def _walls(self, x: Tensor) -> tuple[Tensor, Tensor]:
        # cached: a copy to a GPU waits for it, and every move needs the walls several times
        """Return both walls on the device and in the precision of x."""
        key = (x.device, x.dtype)
        if key not in self._at:
            self._at[key] = (self.low.to(x), self.high.to(x))
        return self._at[key]

    def holds(self, other: Box) -> bool:
        """Return whether another box lies within this one, with walls rounded to float32."""
        a, b = ([wall.detach().cpu().float() for wall in (o.low, o.high)] for o in (self, other))
        return bool((a[0] <= b[0]).all() and (b[1] <= a[1]).all())

    def contains(self, x: Tensor) -> Tensor:
        """Return true for each row of x (B, *shape) that is inside the box, walls included."""
        low, high = self._walls(x)
        return ((x >= low) & (x <= high)).flatten(1).all(1)

    def nearest(self, x: Tensor) -> Tensor:
        """Return the nearest points (B, *shape) of the box, coordinates clamped to the walls."""
        return x.clamp(*self._walls(x))

    def fold(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Reflect points at the walls of the box until they are inside.

        Arguments:
            z: points (N, *shape).

        Returns:
            The reflected points (N, *shape), and signs (N, *shape) by which to multiply the
            velocities of the points: -1 for a coordinate that was reflected an odd number of
            times, else 1.
        """
        low, high = self._walls(z)
        one_sided = torch.isinf(low) | torch.isinf(high)
        width = torch.where(one_sided, 1.0, high - low)
        turns = torch.remainder(torch.where(one_sided, 0.0, (z - low) / width), 2.0)
        y = low + width * (1 - (1 - turns).abs())
        y = torch.where(one_sided, torch.where(z < low, 2 * low - z, 2 * high - z), y)
        y = torch.where((z >= low) & (z <= high), z, y).clamp(low, high)  # against rounding
        odd = torch.where(one_sided, (z < low) | (z > high), turns > 1)
        return y, torch.where(odd, -1.0, 1.0).to(z)


Space: TypeAlias = Real | Box | Discrete
"""A space of the positions of an energy, which declares it by its attribute ``space``."""
REAL, BINARY, ONE_HOT = Real(), Discrete(one_hot=False), Discrete(one_hot=True)
"""The spaces R^n, {0, 1}^n (bits), and sites of one-hot vectors along the last dimension."""


def space_of(model: object) -> Space:
    """Return the space of the positions of an energy.

    Arguments:
        model: energy.

    Returns:
        The attribute ``space`` of the energy, or R^n where the energy has no such attribute.
    """
    module = getattr(model, "module", None)  # of torch's wrappers, e.g. for averages
    if not hasattr(model, "space") and hasattr(module, "space"):
        model = module
    space: Space = getattr(model, "space", REAL)
    return space


def context_size(model: object) -> int:
    """Count the last coordinates of an energy's rows that are a context.

    Returns:
        Their number; 0 for an energy without a context.
    """
    space = space_of(model)
    return space.size if isinstance(space, WithContext) else 0


def require(model: object, kernel: object, *kinds: type) -> Space:
    """Return the space of a model, or raise ValueError where a kernel cannot move in it.

    Arguments:
        model: energy.
        kernel: transition kernel, or another object that needs the space; the error message has
            the name of its class.
        kinds: classes of the spaces in which the kernel can move: Real, Box or Discrete.

    Returns:
        The space of the model, an instance of one of ``kinds``.

    Raises:
        ValueError: the space of the model is of another class; the message names kernels that can
            move in it.
    """
    space = space_of(model)
    if isinstance(space, WithContext):
        _check_held(space, kernel)
    if isinstance(space, kinds):
        return space
    if isinstance(space, Discrete):
        why = (
            "it moves continuous variables; take noneq.kernels.GibbsWithGradients, "
            "noneq.kernels.DiscreteLangevin or noneq.kernels.BlockGibbs"
        )
    elif Discrete in kinds:
        why = (
            "it moves discrete variables; take noneq.MALA, noneq.HMC or noneq.kernels.RandomWalk, "
            "or, if the model's are discrete, give it an attribute space = noneq.spaces.BINARY or "
            "noneq.spaces.ONE_HOT"
        )
    else:
        why = (
            "an unadjusted move out of a box has no valid weight; take a kernel that accepts and "
            "rejects, or noneq.HMC(..., adjusted=False, reflect=True)"
        )
    mover, name = type(kernel).__name__, model_name(model)
    raise ValueError(f"{mover} cannot move walkers of the model ({name}) on {space}: {why}")


def _check_held(space: WithContext, kernel: object) -> None:
    """Raise ValueError unless a kernel's preconditioner leaves the context as it is."""
    held = getattr(getattr(kernel, "factor", None), "held", 0)
    if held != space.size:
        raise ValueError(
            f"{type(kernel).__name__} would move {space.size - held} coordinates of the context: "
            "take noneq.MALA or noneq.HMC with the factor of the base, or a noneq.energies.Held"
        )


def model_name(model: object) -> str:
    """Return the name of a model's class, for error messages.

    Arguments:
        model: energy, or an object that wraps one and has it as its attribute ``__wrapped__``.

    Returns:
        The name of the class of the energy.
    """
    return type(getattr(model, "__wrapped__", model)).__name__
