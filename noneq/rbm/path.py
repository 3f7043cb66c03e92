r"""The way from independent units to a machine: machines all along, so that block Gibbs moves.

The joint energies of v and h are mixed, ``(1 - beta) A_0(v) + beta [A(v) - c.h - v.W h]``, and h
is summed out. With ``pre = c + v W``

    ``U_beta(v) = (1 - beta) [A_0(v) + m log 2] + beta A(v) - sum_j softplus(beta pre_j)``;

``m log 2`` makes U_0 the base's own energy. A_0, A and pre do not depend on beta, so that a walker
that stays where it is costs no matrix product.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from noneq.energies import Cache, Solvable, check_beta, new_mark
from noneq.rbm.layers import Layer
from noneq.rbm.machine import Machine, log_sum
from noneq.spaces import space_of

__all__ = ["MachinePath"]


class MachinePath:
    """From a base to a machine, as described above (Salakhutdinov and Murray 2008, for bits).

    A snapshot: make a new one after the parameters have changed.

    Arguments:
        base: where walkers start.
        start: the base's units, a layer of the machine's kind.
        end: the machine.
    """

    def __init__(self, base: Solvable, start: Layer, end: Machine) -> None:
        self.start = base
        self.units = start
        self.end = end._replace(w=end.w.detach().clone(), c=end.c.detach())
        self.space = space_of(base)
        self.mark = new_mark()

    def at(self, beta: float) -> _OnPath:
        """The machine at beta in [0, 1]."""
        check_beta(beta)
        return _OnPath(self, beta)


class _OnPath:
    """One energy of a path; its cache holds what does not depend on beta."""

    def __init__(self, path: MachinePath, beta: float) -> None:
        self.path = path
        self.beta = beta
        self.space = path.space
        end = path.end
        self.machine = Machine(path.units.mixed(end.layer, beta), end.w, beta * end.c, beta)

    def __call__(self, x: Tensor) -> Tensor:
        return self.evaluate(x)[0]

    def fingerprint(self) -> Tensor:
        return self.path.mark

    @torch.no_grad()
    def evaluate(
        self, x: Tensor, was: Mapping[str, Tensor] | None = None, graph: bool = False
    ) -> tuple[Tensor, Cache]:
        if graph:
            raise ValueError("a machine on a path has no parameters to differentiate")
        if was is not None and "a0" in was:
            cache = {key: was[key] for key in ("a0", "a1", "pre")}
        else:
            v, end = x.flatten(1), self.path.end
            a0 = self.path.units.energy(v) + len(end.c) * math.log(2)
            cache = {"a0": a0, "a1": end.layer.energy(v), "pre": end.pre(v)}
        a = torch.lerp(cache["a0"], cache["a1"], self.beta)
        return a - log_sum(self.beta * cache["pre"]), cache

    @torch.no_grad()
    def gradient(self, x: Tensor, cache: Cache) -> Tensor:
        return self.machine.slope(x.flatten(1), self.beta * cache["pre"]).view_as(x)

    @torch.no_grad()
    def gibbs(self, x: Tensor, cache: Cache, rng: torch.Generator) -> Tensor:
        return self.machine.sweep(self.beta * cache["pre"], rng).view_as(x)
