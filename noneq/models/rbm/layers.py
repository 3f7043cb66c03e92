r"""Visible layers: what bits, numbers and one-hot sites do differently in a Boltzmann machine.

A layer is the energy A(v) of its units alone, of flat rows v (B, d). Hidden units push on it with
a linear term: ``exp(-A(v) + v.push)`` is a layer of the same kind, whose linear parameter is
``field + push`` in place of ``field``: the field that acts, which conditional distributions have
as their argument. Sums over all v have the push itself: far from the origin it is lost in the sum.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor
from torch.nn.functional import one_hot, softplus

from noneq.random import draw_bits, draw_state

__all__ = ["Bits", "Layer", "Normals", "Sites", "bits"]


def bits(k: Tensor, units: int) -> Tensor:
    """The binary digits of numbers k (B,): (B, units) of 0 and 1."""
    return (k[:, None] >> torch.arange(units, device=k.device)) & 1


@dataclass(frozen=True)
class Layer:
    """Independent visible units; those here have nothing but a field, ``A(v) = -field.v``.

    Arguments:
        field: (d,), the linear parameter.
    """

    field: Tensor

    @property
    def log_states(self) -> float:
        """Log of the number of states, inf where they are not finitely many."""
        raise NotImplementedError

    def energy(self, v: Tensor) -> Tensor:
        """A (B,)."""
        return -(v @ self.field)

    def gradient(self, v: Tensor) -> Tensor:
        """dA/dv (B, d)."""
        return -self.field.expand_as(v)

    def draw(self, field: Tensor, rng: torch.Generator) -> Tensor:
        """v (B, d) where the fields (B, d) act."""
        raise NotImplementedError

    def log_sum(self, push: Tensor) -> Tensor:
        """Log of the sum or integral of ``exp(-A(v) + v.push)``, pushes (B, d)."""
        raise NotImplementedError

    def states(self, k: Tensor) -> Tensor:
        """The states of the numbers k (B,)."""
        raise NotImplementedError

    def mixed(self, other: Self, beta: float) -> Self:
        """The layer of energy ``(1 - beta) A + beta A_other``, but for a constant."""
        return replace(self, field=torch.lerp(self.field, other.field, beta))

    def chosen(self, layers: Sequence[Self], k: Tensor) -> Self:
        """For each row the units of the layer k (B,): the parameters are (B, d), for `draw`."""
        return replace(self, field=torch.stack([one.field for one in layers])[k])

    def double(self) -> Self:
        """In float64."""
        return replace(self, field=self.field.double())


@dataclass(frozen=True)
class Bits(Layer):
    """Units of 0 and 1."""

    @property
    def log_states(self) -> float:
        """``d log 2``."""
        return len(self.field) * math.log(2)

    def draw(self, field: Tensor, rng: torch.Generator) -> Tensor:
        """Bits of these logits."""
        return draw_bits(field, rng)

    def log_sum(self, push: Tensor) -> Tensor:
        """``sum_i softplus(field_i + push_i)``."""
        return softplus(self.field + push).sum(1)

    def states(self, k: Tensor) -> Tensor:
        """Binary digits."""
        return bits(k, len(self.field)).to(self.field)


@dataclass(frozen=True)
class Sites(Layer):
    """One-hot sites of q states, one after the other."""

    q: int

    @property
    def log_states(self) -> float:
        """``(d / q) log q``."""
        return len(self.field) // self.q * math.log(self.q)

    def draw(self, field: Tensor, rng: torch.Generator) -> Tensor:
        """A state of every site, of these logits."""
        state = draw_state(self._sites(field), rng)
        return one_hot(state, self.q).flatten(1).to(field)

    def log_sum(self, push: Tensor) -> Tensor:
        """``sum_sites logsumexp_a (field_a + push_a)``."""
        return self._sites(self.field + push).logsumexp(-1).sum(1)

    def states(self, k: Tensor) -> Tensor:
        """Digits of base q."""
        places = self.q ** torch.arange(len(self.field) // self.q, device=k.device)
        return one_hot(k[:, None] // places % self.q, self.q).flatten(1).to(self.field)

    def _sites(self, field: Tensor) -> Tensor:
        return field.view(*field.shape[:-1], -1, self.q)


@dataclass(frozen=True)
class Normals(Layer):
    """Numbers: ``A(v) = sum_i precision_i (v_i - m_i)^2 / 2``, ``field = precision m``."""

    precision: Tensor

    @property
    def log_states(self) -> float:
        """There is no end of them."""
        return math.inf

    def energy(self, v: Tensor) -> Tensor:
        """A (B,)."""
        return (v - self.centre).square() @ self.precision / 2

    def gradient(self, v: Tensor) -> Tensor:
        """``precision (v - m)``."""
        return (v - self.centre) * self.precision

    @property
    def centre(self) -> Tensor:
        """m (d,)."""
        return self.field / self.precision

    def draw(self, field: Tensor, rng: torch.Generator) -> Tensor:
        """Normal, mean ``field / precision`` and variance ``1 / precision``."""
        xi = torch.randn(field.shape, generator=rng, dtype=field.dtype, device=field.device)
        return torch.addcdiv(xi.mul_(self.precision.rsqrt()), field, self.precision)

    def log_sum(self, push: Tensor) -> Tensor:
        """``sum_i [push_i (m_i + push_i / (2 precision_i)) + log(2 pi / precision_i) / 2]``."""
        gain = push * (self.centre + push / (2 * self.precision))
        return (gain + (2 * math.pi / self.precision).log() / 2).sum(1)

    def mixed(self, other: Self, beta: float) -> Self:
        """Fields and precisions mixed."""
        precision = torch.lerp(self.precision, other.precision, beta)
        return replace(super().mixed(other, beta), precision=precision)

    def chosen(self, layers: Sequence[Self], k: Tensor) -> Self:
        """Fields and precisions of the layers k."""
        precision = torch.stack([one.precision for one in layers])[k]
        return replace(super().chosen(layers, k), precision=precision)

    def double(self) -> Self:
        """In float64."""
        return replace(super().double(), precision=self.precision.double())
