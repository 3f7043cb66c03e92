"""Energies that torch.compile turns, with their gradients, into one program."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from noneq.energies.base import Cache, Energy, Solvable, evaluate, shape_message
from noneq.energies.composite import _change
from noneq.energies.fingerprint import fingerprint
from noneq.energies.paths import GeometricPath, Path, path_to
from noneq.spaces import Discrete, space_of

__all__ = ["Compiled"]

Program: TypeAlias = Callable[[Tensor], tuple[Tensor, ...]]


class Compiled(nn.Module):
    """Evaluates an energy U and its gradient by one program, which torch.compile makes of them.

    An energy of few operations spends most of its time on calling them one by one and on recording
    them for the gradient: then ``torch.compile(energy)`` alone hardly helps, and the program that
    contains the gradient does. Along an annealing path the program also contains the start of the
    path. A network whose time is spent in large matrix products gains little.

    The first evaluation compiles, and so does the first of another number of rows, which takes
    seconds and, on a CPU, needs a compiler for C++. Evaluations that keep a graph to the
    parameters, as a loss needs, are those of the energy itself. A copy compiles anew. Save the
    parameters of the energy, not of this wrapper.

    Arguments:
        energy: energy U of continuous variables, without branches on the values of x.
        **options: options of `torch.compile`, e.g. ``backend`` or ``dynamic``. CUDA graphs
            (``mode="reduce-overhead"``) overwrite earlier results and cannot be used.

    Raises:
        ValueError: the variables of the energy are discrete, so that it has no gradient.

    >>> import noneq
    >>> target = noneq.testing.banana()
    >>> energy = Compiled(target.energy, backend="eager")  # this backend needs no compiler
    >>> x = torch.randn(5, 2)
    >>> torch.allclose(energy.evaluate(x)[0], target.energy(x))
    True
    """

    def __init__(self, energy: Energy, **options: Any) -> None:
        super().__init__()
        self.space = space_of(energy)
        if isinstance(self.space, Discrete):
            raise ValueError("an energy of discrete variables has no gradient to compile")
        self.energy = energy
        self.options = options
        self._program: Program | None = None

    @property
    def base(self) -> Energy:
        """The base of the energy, with exact log Z and samples; AttributeError without one."""
        own: Any = self.energy
        return own.base  # type: ignore[no-any-return]

    def __getstate__(self) -> dict[str, Any]:
        # a program belongs to the parameters that it was made of, not to those of a copy
        return {**super().__getstate__(), "_program": None}  # type: ignore[no-untyped-call]

    def forward(self, x: Tensor) -> Tensor:
        """Return the energies U (B,) of the rows of x (B, *shape), not by the program."""
        return self.energy(x)

    def fingerprint(self) -> Tensor | None:
        """Return a hash of the energy's parameters; None where they cannot be hashed."""
        return fingerprint(self.energy)

    def path_from(self, base: Solvable) -> Path:
        """Return the path from a solvable energy to this one, evaluated by one program.

        Arguments:
            base: start of the path, with exact log Z and samples.

        Returns:
            The path that the energy itself chooses, if it does, else a `GeometricPath`.
        """
        own = path_to(self.energy, base)
        return _CompiledPath(base, self) if type(own) is GeometricPath else own

    def evaluate(
        self, x: Tensor, previous_cache: Mapping[str, Tensor] | None = None, graph: bool = False
    ) -> tuple[Tensor, Cache]:
        """Evaluate the energy and its gradient at the rows of x.

        Arguments:
            x: positions (B, *shape).
            previous_cache: cache that an earlier call returned for the same x, or None.
            graph: whether the energies keep their autograd graph to the parameters; the energy is
                then evaluated without the program.

        Returns:
            The energies (B,) and a cache, ``{"g": dU/dx (B, *shape)}``.

        Raises:
            ValueError: the energy does not return one number for each row.
        """
        if graph:
            return evaluate(self.energy, x, previous_cache, graph=True)
        self._program = self._program or _compiled(_with_gradient(self.energy), self.options)
        with torch.no_grad():
            u, g = self._program(x)
        if u.shape != x.shape[:1]:
            raise ValueError(shape_message(self.energy, u, x))
        return u, {"g": g}


class _CompiledPath(GeometricPath):
    """The geometric path to a compiled energy: both ends and their gradients by one program."""

    def __init__(self, start: Solvable, end: Compiled) -> None:
        super().__init__(start, end.energy)
        self._program = _compiled(_both_ends(start, end.energy, self.tilt), end.options)

    def ends(self, x: Tensor) -> Cache:
        """Return U_0 ("u0"), U_1 - U_0 ("du") and their gradients ("g0", "dg") at x."""
        with torch.no_grad():
            u0, g0, du, dg = self._program(x)
        if du.shape != x.shape[:1]:
            raise ValueError(shape_message(self.end, du, x))
        return {"u0": u0, "du": du, "g0": g0, "dg": dg}


def _both_ends(start: Energy, end: Energy, tilt: Energy | None) -> Program:
    """Return the function of x whose values are U_0, its gradient, and those of the change."""

    def ends(x: Tensor) -> tuple[Tensor, ...]:
        u0, g0 = _with_gradient(start)(x)
        if tilt is not None:
            return u0, g0, *_with_gradient(tilt)(x)
        u1, g1 = _with_gradient(end)(x)
        return u0, g0, _change(u0, u1), g1 - g0

    return ends


def _with_gradient(energy: Energy) -> Program:
    """Return the function of x whose values are the energies (B,) and their gradient in x."""

    def total(x: Tensor) -> tuple[Tensor, Tensor]:
        u = energy(x)
        return u.sum(), u

    def both(x: Tensor) -> tuple[Tensor, Tensor]:
        g, u = torch.func.grad(total, has_aux=True)(x)
        return u, g

    return both


def _compiled(function: Any, options: Mapping[str, Any]) -> Program:
    """Compile a function, not together with others of the same code, whose number is limited."""
    function.__code__ = function.__code__.replace()
    program: Program = torch.compile(function, **options)
    return program
