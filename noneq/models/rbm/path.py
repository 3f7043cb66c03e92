r"""The way from independent units to a machine: machines all along, so that block Gibbs moves.

The start is K sets of independent units, ``P_0(v) = sum_k pi_k exp(-A_k(v)) / Z_k``, often K = 1.
Given k, joint energies of v and h are mixed, ``(1 - beta) A_k(v) + beta [A(v) - c.h - v.W h]``,
and k and h are summed out. With ``pre = c + v W``

    ``U_beta(v) = -log sum_k pi_k exp(-(1 - beta) [A_k(v) + log Z_k]) + beta A(v)
    + (1 - beta) m log 2 - sum_j softplus(beta pre_j)``;

``m log 2`` makes U_0 the start's own energy, and at beta = 1 the sum over k is 1. A_k, A and pre
do not depend on beta, so that a walker that stays where it is costs no matrix product. Given v, k
and h are independent; given both, v is independent units: block Gibbs of two blocks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from noneq.energies import Cache, Mixture, Solvable
from noneq.energies.base import check_beta
from noneq.energies.fingerprint import new_mark
from noneq.models.rbm.algebra import Machine, log_sum
from noneq.models.rbm.layers import Layer
from noneq.numerics import product
from noneq.spaces import space_of

__all__ = ["MachinePath"]


class MachinePath:
    """From a base to a machine, as described above (Salakhutdinov and Murray 2008, K = 1).

    A snapshot: make a new one after the parameters have changed.

    Arguments:
        base: where walkers start: one set of units, or a `noneq.energies.Mixture` of them.
        start: the base's units, layers of the machine's kind.
        end: the machine.
    """

    def __init__(self, base: Solvable, start: Sequence[Layer], end: Machine) -> None:
        self.start = base
        self.units = tuple(start)
        self.end = end._replace(w=end.w.detach().clone(), c=end.c.detach())
        self.space = space_of(base)
        self.mark = new_mark()
        # one set of units keeps its own constant; a mixture is normalised
        self.log_norms = self.log_masses = self.end.c.new_zeros(1)
        if isinstance(base, Mixture):
            self.log_norms, self.log_masses = (
                t.to(self.end.c) for t in (base.log_norms, base.log_masses)
            )

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
        self.machines = tuple(
            Machine(units.mixed(end.layer, beta), end.w, beta * end.c, beta)
            for units in path.units
        )

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
        if was is not None and "start" in was:
            cache = {key: was[key] for key in ("start", "a", "pre")}
        else:
            v, end = x.flatten(1), self.path.end
            start = torch.stack([units.energy(v) for units in self.path.units], 1)
            start = start + self.path.log_norms
            cache = {"start": start, "a": end.layer.energy(v), "pre": end.pre(v)}
        a = self.beta * cache["a"] - self._log_shares(cache).logsumexp(1)
        hidden = (1 - self.beta) * len(self.path.end.c) * math.log(2)
        return a + hidden - log_sum(self.beta * cache["pre"]), cache

    def _log_shares(self, cache: Cache) -> Tensor:
        """``log pi_k - (1 - beta) [A_k + log Z_k]`` (B, K)."""
        return self.path.log_masses - (1 - self.beta) * cache["start"]

    @torch.no_grad()
    def gradient(self, x: Tensor, cache: Cache) -> Tensor:
        v, pre = x.flatten(1), self.beta * cache["pre"]
        shares = self._log_shares(cache).softmax(1)
        slopes = [machine.layer.slope(v) for machine in self.machines]
        mean = (torch.stack(slopes, 2) * shares[:, None]).sum(2)
        return product(pre.sigmoid(), self.path.end.w.T, mean, scale=-self.beta).view_as(x)

    @torch.no_grad()
    def gibbs(self, x: Tensor, cache: Cache, rng: torch.Generator) -> Tensor:
        pre = self.beta * cache["pre"]
        machine = self.machines[0]
        if len(self.machines) > 1:
            shares = self._log_shares(cache).softmax(1)
            k = torch.multinomial(shares, 1, generator=rng)[:, 0]
            layers = [machine.layer for machine in self.machines]
            machine = machine._replace(layer=layers[0].chosen(layers, k))
        return machine.sweep(pre, rng).view_as(x)
