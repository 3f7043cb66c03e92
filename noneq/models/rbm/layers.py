r"""Visible layers of a Boltzmann machine: bits, real numbers and one-hot sites.

A layer is the energy A(v) of independent units, of flat rows v (B, d). Hidden units add a linear
term, the push: ``exp(-A(v) + v.push)`` is a layer of the same kind whose linear parameter is
``field + push``. Conditional distributions take ``field + push`` as their argument. Sums over all
v take the push itself, which would lose its digits in the sum far from the origin.
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
    """Return the binary digits of integers, the lowest first.

    Arguments:
        k: integers (B,).
        units: number of digits.

    Returns:
        A tensor (B, units) of 0 and 1.

    >>> bits(torch.tensor([6]), 3).tolist()
    [[0, 1, 1]]
    """
    return (k[:, None] >> torch.arange(units, device=k.device)) & 1


@dataclass(frozen=True)
class Layer:
    """Base class of visible layers of RBMs: independent units with an energy A(v).

    ``A(v) = -field.v`` unless a subclass overrides it. Rows v are flat, (B, d).

    Arguments:
        field: linear parameter (d,), e.g. the log-odds of bits.
    """

    field: Tensor

    @property
    def log_states(self) -> float:
        """Return the log of the number of states, inf if it is infinite."""
        raise NotImplementedError

    def energy(self, v: Tensor) -> Tensor:
        """Compute A (B,) at v (B, d)."""
        return -(v @ self.field)

    def gradient(self, v: Tensor) -> Tensor:
        """Compute dA/dv (B, d)."""
        return -self.field.expand_as(v)

    def draw(self, field: Tensor, rng: torch.Generator) -> Tensor:
        """Draw units v (B, d) of layers with the linear parameters ``field`` (B, d)."""
        raise NotImplementedError

    def log_sum(self, push: Tensor) -> Tensor:
        """Compute the log (B,) of the sum or integral of ``exp(-A(v) + v.push)``, push (B, d)."""
        raise NotImplementedError

    def states(self, k: Tensor) -> Tensor:
        """Return states of the layer (B, d), given their numbers k (B,) in an enumeration."""
        raise NotImplementedError

    def mixed(self, other: Self, beta: float) -> Self:
        """Return the layer of energy ``(1 - beta) A + beta A_other``, up to a constant."""
        return replace(self, field=torch.lerp(self.field, other.field, beta))

    def chosen(self, layers: Sequence[Self], k: Tensor) -> Self:
        """Return a layer whose parameters in row i are those of ``layers[k_i]``, k (B,).

        As the parameters are (B, d), only `draw` can be used.
        """
        return replace(self, field=torch.stack([one.field for one in layers])[k])

    def double(self) -> Self:
        """Return the layer in float64."""
        return replace(self, field=self.field.double())


@dataclass(frozen=True)
class Bits(Layer):
    """Visible layer of an RBM made of bits, with ``A(v) = -field.v``."""

    @property
    def log_states(self) -> float:
        """Return ``d log 2``."""
        return len(self.field) * math.log(2)

    def draw(self, field: Tensor, rng: torch.Generator) -> Tensor:
        """Draw bits (B, d) with the logits ``field`` (B, d)."""
        return draw_bits(field, rng)

    def log_sum(self, push: Tensor) -> Tensor:
        """Compute ``sum_i softplus(field_i + push_i)`` (B,)."""
        return softplus(self.field + push).sum(1)

    def states(self, k: Tensor) -> Tensor:
        """Return the binary digits of k (B, d)."""
        return bits(k, len(self.field)).to(self.field)


@dataclass(frozen=True)
class Sites(Layer):
    """Visible layer of an RBM made of one-hot sites of q states, with ``A(v) = -field.v``.

    Arguments:
        field: logits of all states of all sites (d,), d a multiple of q.
        q: number of states of a site.
    """

    q: int

    @property
    def log_states(self) -> float:
        """Return ``(d / q) log q``."""
        return len(self.field) // self.q * math.log(self.q)

    def draw(self, field: Tensor, rng: torch.Generator) -> Tensor:
        """Draw a one-hot state of every site (B, d) with the logits ``field`` (B, d)."""
        state = draw_state(self._sites(field), rng)
        return one_hot(state, self.q).flatten(1).to(field)

    def log_sum(self, push: Tensor) -> Tensor:
        """Compute ``sum_sites logsumexp_a (field_a + push_a)`` (B,)."""
        return self._sites(self.field + push).logsumexp(-1).sum(1)

    def states(self, k: Tensor) -> Tensor:
        """Return the digits of k in base q, one-hot (B, d)."""
        places = self.q ** torch.arange(len(self.field) // self.q, device=k.device)
        return one_hot(k[:, None] // places % self.q, self.q).flatten(1).to(self.field)

    def _sites(self, field: Tensor) -> Tensor:
        return field.view(*field.shape[:-1], -1, self.q)


@dataclass(frozen=True)
class Normals(Layer):
    """Visible layer of an RBM made of normal numbers of means m and variances 1 / precision.

    ``A(v) = sum_i precision_i (v_i - m_i)^2 / 2``.

    Arguments:
        field: products ``precision_i m_i`` (d,).
        precision: inverse variances (d,).
    """

    precision: Tensor

    @property
    def log_states(self) -> float:
        """Return inf: there are infinitely many states."""
        return math.inf

    def energy(self, v: Tensor) -> Tensor:
        """Compute A (B,) at v (B, d)."""
        return (v - self.centre).square() @ self.precision / 2

    def gradient(self, v: Tensor) -> Tensor:
        """Compute ``precision (v - m)`` (B, d)."""
        return (v - self.centre) * self.precision

    @property
    def centre(self) -> Tensor:
        """Return the means m (d,)."""
        return self.field / self.precision

    def draw(self, field: Tensor, rng: torch.Generator) -> Tensor:
        """Draw normal v (B, d) with mean ``field / precision`` and variance ``1 / precision``."""
        xi = torch.randn(field.shape, generator=rng, dtype=field.dtype, device=field.device)
        return torch.addcdiv(xi.mul_(self.precision.rsqrt()), field, self.precision)

    def log_sum(self, push: Tensor) -> Tensor:
        """Compute ``sum_i [push_i (m_i + push_i / (2 p_i)) + log(2 pi / p_i) / 2]`` (B,).

        p is the precision.
        """
        gain = push * (self.centre + push / (2 * self.precision))
        return (gain + (2 * math.pi / self.precision).log() / 2).sum(1)

    def mixed(self, other: Self, beta: float) -> Self:
        """Return the layer with fields and precisions interpolated linearly."""
        precision = torch.lerp(self.precision, other.precision, beta)
        return replace(super().mixed(other, beta), precision=precision)

    def chosen(self, layers: Sequence[Self], k: Tensor) -> Self:
        """Return a layer whose fields and precisions in row i are those of ``layers[k_i]``."""
        precision = torch.stack([one.precision for one in layers])[k]
        return replace(super().chosen(layers, k), precision=precision)

    def double(self) -> Self:
        """Return the layer in float64."""
        return replace(super().double(), precision=self.precision.double())
