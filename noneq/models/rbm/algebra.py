r"""The algebra of a restricted Boltzmann machine, whatever its visible layer.

Visible v with the energy A(v) of `noneq.models.rbm.layers`, hidden h in {0, 1}^m, joint energy
``A(v) - c.h - strength v.W h``. Summed over h it is the free energy

    ``U(v) = A(v) - sum_j softplus(pre_j)``,  ``pre = c + strength v W``,

with the same Z. Given v the hidden units are independent bits of logits ``pre``; given h the layer
has the field ``field + strength W h``.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus

from noneq.models.rbm.layers import Layer, bits
from noneq.numerics import CACHED, product
from noneq.random import draw_bits

__all__ = ["MOST", "Algebra", "log_sum"]

MOST = 20  # units, of two states each, that can be summed over
AT_ONCE = 2**18  # units of states
LARGE = 80.0  # log(1 + exp(x)) = x from here on, and exp(x) still is a float32


def log_sum(pre: Tensor) -> Tensor:
    """``sum_j log(1 + exp(pre_j))`` (B,): hidden units of these logits (B, m), summed over."""
    if pre.requires_grad or pre.device.type != "cpu":
        return softplus(pre).sum(1)
    # in parts that stay in the cache, by a logarithm that takes half of softplus's time
    found = pre.new_empty(len(pre))
    rows = max(1, CACHED // pre.shape[1])
    for part, sums in zip(torch.split(pre, rows), torch.split(found, rows), strict=True):
        logs = part.clamp(max=LARGE).exp_().add_(1).log_()
        torch.sum(torch.maximum(logs, part, out=logs), 1, out=sums)
    return found


class Algebra(NamedTuple):
    """Numbers that define a machine, as they act; rows v are flat, (B, d).

    Attributes:
        layer: the visible units.
        w: W (d, m).
        c: (m,) fields of the hidden units.
        strength: of the coupling.
    """

    layer: Layer
    w: Tensor
    c: Tensor
    strength: float = 1.0

    def pre(self, v: Tensor) -> Tensor:
        """Logits of the hidden units (B, m)."""
        return product(v, self.w, self.c, scale=self.strength)

    def energy(self, v: Tensor, pre: Tensor) -> Tensor:
        """U (B,)."""
        return self.layer.energy(v) - log_sum(pre)

    def gradient(self, v: Tensor, pre: Tensor) -> Tensor:
        """dU/dv (B, d): ``dA/dv - strength W sigmoid(pre)``."""
        return product(pre.sigmoid(), self.w.T, self.layer.gradient(v), scale=-self.strength)

    def fields(self, h: Tensor) -> Tensor:
        """Of the visible units given h (B, m): (B, d)."""
        return product(h, self.w.T, self.layer.field, scale=self.strength)

    def push(self, h: Tensor) -> Tensor:
        """What h (B, m) adds to the fields (B, d)."""
        return self.strength * (h @ self.w.T)

    def sweep(self, pre: Tensor, rng: torch.Generator) -> Tensor:
        """Hidden units of the logits ``pre``, then visible ones given them (B, d)."""
        return self.layer.draw(self.fields(draw_bits(pre, rng)), rng)

    @property
    def states(self) -> float:
        """Of the smaller layer: the terms of the sum that `log_z` is."""
        log_states = min(len(self.c) * math.log(2), self.layer.log_states)
        return math.exp(log_states) if log_states < 700 else math.inf

    def log_z(self) -> float:
        """Exact, by summing over the states of one layer, in float64.

        Raises ValueError where both layers have more than 2^20 states.
        """
        return float(self._log_p()[0].logsumexp(0))

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """n exact samples (n, d), where `log_z` can be summed."""
        log_p, hidden = self._log_p()
        k = torch.multinomial(log_p.softmax(0), n, replacement=True, generator=rng)
        if hidden:
            return self.layer.draw(self.fields(bits(k, len(self.c)).to(self.c)), rng)
        return self.layer.states(k)

    def _log_p(self) -> tuple[Tensor, bool]:
        """log of the unnormalised mass of each state of a layer; whether it is the hidden one."""
        exact = Algebra(self.layer.double(), self.w.double(), self.c.double(), self.strength)
        units, hidden = len(self.c), len(self.c) * math.log(2) <= self.layer.log_states
        count = units if hidden else self.layer.log_states / math.log(2)
        if count > MOST + 1e-9:
            raise ValueError(
                f"the smaller layer has 2^{count:.4g} states, too many to sum over (2^{MOST} can "
                "be); take noneq.log_z, which anneals"
            )
        states = torch.arange(round(2**count), device=self.w.device)
        numbers = torch.split(states, max(1, AT_ONCE // max(self.w.shape)))
        if hidden:
            h = (bits(k, units).to(exact.c) for k in numbers)
            sums = [p @ exact.c + exact.layer.log_sum(exact.push(p)) for p in h]
            return torch.cat(sums), True
        v = (exact.layer.states(k) for k in numbers)
        return torch.cat([-exact.energy(p, exact.pre(p)) for p in v]), False
