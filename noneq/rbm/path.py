r"""The way from independent units to a machine: machines all along, so that block Gibbs moves.

The joint energies of v and h are mixed, ``(1 - beta) [A_0(v) - c_0.h] + beta [A(v) - c.h - v.W
h]``, and h is summed out: with ``c_beta = (1 - beta) c_0 + beta c``

    ``U_beta(v) = (1 - beta) [A_0(v) + K] + beta A(v) - sum_j softplus(c_beta + beta v W)_j``.

``K = sum softplus(c_0)`` makes U_0 the base's own energy. The hidden biases start at ``c_0 = c + m
W``, m the base's mean: a hidden unit is then on as often at the start as at the end. A_0, A and
``v W`` do not depend on beta, so that a walker that stays costs no matrix product.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import softplus

from noneq.energies import Cache, Solvable
from noneq.products import product
from noneq.rbm.layers import Layer
from noneq.rbm.machine import Machine, log_sum
from noneq.spaces import space_of

__all__ = ["MachinePath"]

_paths = itertools.count()


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
        self.layers = (start, end.layer)
        self.w = end.w.detach().clone()
        self.c = torch.addmv(end.c, self.w.T, start.mean()), end.c
        self.offset = softplus(self.c[0]).sum()
        self.space = space_of(base)
        self.mark = torch.tensor(-(2**40) - next(_paths))  # no sum of bits is likely to be that

    def at(self, beta: float) -> _OnPath:
        """The machine at beta in [0, 1]."""
        if not 0 <= beta <= 1:
            raise ValueError(f"beta is in [0, 1], got {beta}")
        return _OnPath(self, beta)


class _OnPath:
    """One energy of a path; its cache holds what does not depend on beta: a0, a1 and ``vw``."""

    def __init__(self, path: MachinePath, beta: float) -> None:
        self.path = path
        self.beta = beta
        self.space = path.space
        start, end = path.layers
        self.machine = Machine(start.mixed(end, beta), path.w, torch.lerp(*path.c, beta), beta)

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
        if was is not None and "vw" in was:
            cache = {key: was[key] for key in ("a0", "a1", "vw")}
        else:
            v = x.flatten(1)
            a0, a1 = (layer.energy(v) for layer in self.path.layers)
            cache = {"a0": a0 + self.path.offset, "a1": a1, "vw": product(v, self.path.w)}
        a = torch.lerp(cache["a0"], cache["a1"], self.beta)
        return a - log_sum(self._pre(cache)), cache

    @torch.no_grad()
    def gradient(self, x: Tensor, cache: Cache) -> Tensor:
        return self.machine.slope(x.flatten(1), self._pre(cache)).view_as(x)

    @torch.no_grad()
    def gibbs(self, x: Tensor, cache: Cache, rng: torch.Generator) -> Tensor:
        return self.machine.sweep(self._pre(cache), rng).view_as(x)

    def _pre(self, cache: Cache) -> Tensor:
        return torch.add(self.machine.c, cache["vw"], alpha=self.beta)
