"""Visible layers of restricted Boltzmann machines: bits, real numbers and one-hot sites.

A layer is the energy A(v) of independent units, for flat rows v (B, d), with a linear parameter
called ``field``. Hidden units add a linear term, called the push: ``exp(-A(v) + v.push)`` is a
layer of the same kind whose linear parameter is ``field + push``. Conditional distributions take
``field + push`` as their argument. Sums over all v take the push itself, since the sum
``field + push`` would lose digits far from the origin.
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
    """Compute the binary digits of integers, the lowest digit first.

    Arguments:
        k: integers (B,).
        units: number of digits.

    Returns:
        Integers (B, units), each 0 or 1.

    >>> bits(torch.tensor([6]), 3).tolist()
    [[0, 1, 1]]
    """
    return (k[:, None] >> torch.arange(units, device=k.device)) & 1


@dataclass(frozen=True)
class Layer:
    """Base class of visible layers of RBMs: independent units v (B, d) with an energy A(v).

    Here ``A(v) = -field.v``; a subclass may define another.

    Arguments:
        field: linear parameter (d,), e.g. the log-odds of bits.
    """

    field: Tensor

    @property
    def log_states(self) -> float:
        """Return the logarithm of the number of states of all units together; it may be inf."""
        raise NotImplementedError

    def energy(self, v: Tensor) -> Tensor:
        """Return the energies A(v) (B,) of rows v (B, d), of independent units."""
        return -(v @ self.field)

    def gradient(self, v: Tensor) -> Tensor:
        """Return the gradient dA/dv (B, d) of the energy A of independent units, at v (B, d)."""
        return -self.field.expand_as(v)

    def draw(self, field: Tensor, rng: torch.Generator) -> Tensor:
        """Draw random units, given linear parameters for each row in place of those of the layer.

        Arguments:
            field: linear parameters (B, d), e.g. log-odds of bits.
            rng: source of randomness.

        Returns:
            The units v (B, d).
        """
        raise NotImplementedError

    def log_sum(self, push: Tensor) -> Tensor:
        """Compute the log of the sum (or integral) of ``exp(-A(v) + v.push)`` over all states v.

        Arguments:
            push: numbers (B, d) that hidden units of an RBM add to the linear parameters.

        Returns:
            The logarithms (B,).
        """
        raise NotImplementedError

    def states(self, k: Tensor) -> Tensor:
        """Return states of all units, given their numbers in an enumeration of all states.

        Arguments:
            k: integers (B,) from 0 to the number of states minus 1.

        Returns:
            The states (B, d).
        """
        raise NotImplementedError

    def mixed(self, other: Self, beta: float) -> Self:
        """Return the layer of energy ``(1 - beta) A + beta A_other``, up to a constant.

        Arguments:
            other: layer of the same kind, of energy A_other.
            beta: weight of the other layer, in [0, 1].

        Returns:
            The layer with interpolated parameters.
        """
        return replace(self, field=torch.lerp(self.field, other.field, beta))

    def chosen(self, layers: Sequence[Self], k: Tensor) -> Self:
        """Return a layer whose parameters in row i are those of ``layers[k_i]``.

        As the parameters then are (B, d) instead of (d,), only `draw` can be used.

        Arguments:
            layers: layers of the same kind.
            k: indices (B,) of layers.

        Returns:
            The layer with a set of parameters for each row.
        """
        return replace(self, field=torch.stack([one.field for one in layers])[k])

    def double(self) -> Self:
        """Return a copy of the layer with parameters in float64."""
        return replace(self, field=self.field.double())


@dataclass(frozen=True)
class Bits(Layer):
    """Visible layer of an RBM made of bits v (B, d), with energy ``A(v) = -field.v``.

    Arguments:
        field: log-odds of the bits (d,).
    """

    @property
    def log_states(self) -> float:
        """Return ``d log 2``, the logarithm of the number of states of d bits."""
        return len(self.field) * math.log(2)

    def draw(self, field: Tensor, rng: torch.Generator) -> Tensor:
        """Draw random bits (B, d), given their log-odds ``field`` (B, d)."""
        return draw_bits(field, rng)

    def log_sum(self, push: Tensor) -> Tensor:
        """Compute the log (B,) of the sum of ``exp((field + push).v)`` over all states v of bits.

        It is ``sum_i softplus(field_i + push_i)``. Hidden units of an RBM add the numbers ``push``
        (B, d) to the log-odds ``field``.
        """
        return softplus(self.field + push).sum(1)

    def states(self, k: Tensor) -> Tensor:
        """Return the binary digits (B, d) of integers k (B,) as the states of d bits."""
        return bits(k, len(self.field)).to(self.field)


@dataclass(frozen=True)
class Sites(Layer):
    """Visible layer of an RBM made of one-hot sites of q states, with energy ``A(v) = -field.v``.

    Arguments:
        field: logits of all states of all sites (d,), d a multiple of q.
        q: number of states of a site.
    """

    q: int

    @property
    def log_states(self) -> float:
        """Return ``(d / q) log q``, the logarithm of the number of states of d / q sites."""
        return len(self.field) // self.q * math.log(self.q)

    def draw(self, field: Tensor, rng: torch.Generator) -> Tensor:
        """Draw random one-hot states (B, d) of all sites, given their logits ``field`` (B, d)."""
        state = draw_state(self._sites(field), rng)
        return one_hot(state, self.q).flatten(1).to(field)

    def log_sum(self, push: Tensor) -> Tensor:
        """Compute the log (B,) of the sum of ``exp((field + push).v)`` over all one-hot states v.

        Hidden units of an RBM add the numbers ``push`` (B, d) to the logits ``field``.
        """
        return self._sites(self.field + push).logsumexp(-1).sum(1)

    def states(self, k: Tensor) -> Tensor:
        """Return the d / q digits in base q of integers k (B,), each one-hot: states (B, d).

        The first digit is the least significant one.
        """
        places = self.q ** torch.arange(len(self.field) // self.q, device=k.device)
        return one_hot(k[:, None] // places % self.q, self.q).flatten(1).to(self.field)

    def _sites(self, field: Tensor) -> Tensor:
        return field.view(*field.shape[:-1], -1, self.q)


@dataclass(frozen=True)
class Normals(Layer):
    """Visible layer of an RBM made of normal numbers of means m and variances 1 / precision.

    The energy is ``A(v) = sum_i precision_i (v_i - m_i)^2 / 2``.

    Arguments:
        field: products ``precision_i m_i`` (d,).
        precision: inverse variances (d,).
    """

    precision: Tensor

    @property
    def log_states(self) -> float:
        """Return inf, since normal numbers have infinitely many states."""
        return math.inf

    def energy(self, v: Tensor) -> Tensor:
        """Return ``sum_i precision_i (v_i - m_i)^2 / 2`` (B,) for normal numbers v (B, d).

        Here m are their means, and precisions are inverse variances.
        """
        return (v - self.centre).square() @ self.precision / 2

    def gradient(self, v: Tensor) -> Tensor:
        """Return ``precision (v - m)`` (B, d), the gradient of the energy at v (B, d).

        Here m are the means of the normal numbers v, and precisions are inverse variances.
        """
        return (v - self.centre) * self.precision

    @property
    def centre(self) -> Tensor:
        """Return the means ``field / precision`` (d,) of the normal numbers."""
        return self.field / self.precision

    def draw(self, field: Tensor, rng: torch.Generator) -> Tensor:
        """Draw normal numbers (B, d) of means ``field / precision``, given ``field`` (B, d).

        Their variances are ``1 / precision``.
        """
        xi = torch.randn(field.shape, generator=rng, dtype=field.dtype, device=field.device)
        return torch.addcdiv(xi.mul_(self.precision.rsqrt()), field, self.precision)

    def log_sum(self, push: Tensor) -> Tensor:
        """Compute the log of the integral of ``exp(-A(v) + v.push)``, A the energy, over all v.

        It is ``sum_i [push_i (m_i + push_i / (2 p_i)) + log(2 pi / p_i) / 2]``, with means m and
        precisions p.

        Arguments:
            push: numbers (B, d) that hidden units of an RBM add to the linear parameters.

        Returns:
            The logarithms (B,).
        """
        gain = push * (self.centre + push / (2 * self.precision))
        return (gain + (2 * math.pi / self.precision).log() / 2).sum(1)

    def mixed(self, other: Self, beta: float) -> Self:
        """Return the layer with fields and precisions interpolated linearly.

        Arguments:
            other: layer of normal numbers.
            beta: weight of the other layer, in [0, 1].

        Returns:
            The layer of energy ``(1 - beta) A + beta A_other``, up to a constant.
        """
        precision = torch.lerp(self.precision, other.precision, beta)
        return replace(super().mixed(other, beta), precision=precision)

    def chosen(self, layers: Sequence[Self], k: Tensor) -> Self:
        """Return a layer whose fields and precisions in row i are those of ``layers[k_i]``.

        Arguments:
            layers: layers of normal numbers.
            k: indices (B,) of layers.

        Returns:
            The layer with a set of parameters for each row, of which only `draw` can be used.
        """
        precision = torch.stack([one.precision for one in layers])[k]
        return replace(super().chosen(layers, k), precision=precision)

    def double(self) -> Self:
        """Return a copy of the layer with parameters in float64."""
        return replace(super().double(), precision=self.precision.double())
