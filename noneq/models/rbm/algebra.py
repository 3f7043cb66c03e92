"""The formulas of a restricted Boltzmann machine (RBM) with any kind of visible units.

Visible units v have an energy A(v) of their own (`noneq.models.rbm.layers`), hidden units h are
bits, h in {0, 1}^m, and the joint energy is ``A(v) - c.h - strength v.W h``. The sum over h gives
the free energy

    ``U(v) = A(v) - sum_j softplus(pre_j)``,  ``pre = c + strength v W``,

with the same Z. Given v the hidden units are independent bits of logits ``pre``; given h the
visible units are independent, and ``strength W h`` is added to their linear parameters.
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
"""The largest number of units, of two states each, over whose states exact sums are taken."""
AT_ONCE = 2**18  # units of states
LARGE = 80.0  # log(1 + exp(x)) = x from here on, and exp(x) still is a float32


def log_sum(pre: Tensor) -> Tensor:
    """Compute ``sum_j log(1 + exp(pre_j))``, the log of the sum over all hidden states of an RBM.

    Arguments:
        pre: logits of the m hidden units (B, m).

    Returns:
        The sums (B,), with their autograd graph if ``pre`` requires a gradient.
    """
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
    """Hold the numbers that define an RBM of joint energy ``A(v) - c.h - strength v.W h``.

    Visible units v are flat rows (B, d), hidden units h are bits (B, m), and A(v) is the energy of
    independent visible units.

    Attributes:
        layer: visible units, which define A(v).
        w: weights W (d, m).
        c: biases of the hidden units (m,).
        strength: factor of the coupling between v and h.
    """

    layer: Layer
    w: Tensor
    c: Tensor
    strength: float = 1.0

    def pre(self, v: Tensor) -> Tensor:
        """Return the logits ``c + strength v W`` (B, m) of hidden units, given v (B, d).

        Here c are the hidden biases, W the weights, and ``strength`` scales the coupling.
        """
        return product(v, self.w, self.c, scale=self.strength)

    def energy(self, v: Tensor, pre: Tensor) -> Tensor:
        """Compute the free energy ``U(v)`` of visible units, with the hidden units summed out.

        Arguments:
            v: visible units (B, d).
            pre: logits of the hidden units given v (B, m), as the method `pre` returns them.

        Returns:
            The free energies (B,).
        """
        return self.layer.energy(v) - log_sum(pre)

    def gradient(self, v: Tensor, pre: Tensor) -> Tensor:
        """Compute the gradient of the free energy, ``dU/dv = dA/dv - strength W sigmoid(pre)``.

        Here A(v) is the energy of the visible units without hidden ones, W are the weights, and
        ``strength`` scales the coupling.

        Arguments:
            v: visible units (B, d).
            pre: logits of the hidden units given v (B, m), as the method `pre` returns them.

        Returns:
            The gradient (B, d).
        """
        return product(pre.sigmoid(), self.w.T, self.layer.gradient(v), scale=-self.strength)

    def fields(self, h: Tensor) -> Tensor:
        """Compute the linear parameters of the visible units given hidden units h.

        These are ``field + strength W h``, with ``field`` the linear parameters without hidden
        units (e.g. the log-odds of visible bits), W the weights and ``strength`` the scale of the
        coupling.

        Arguments:
            h: hidden units (B, m).

        Returns:
            The linear parameters (B, d).
        """
        return product(h, self.w.T, self.layer.field, scale=self.strength)

    def push(self, h: Tensor) -> Tensor:
        """Return ``strength W h`` (B, d), the effect of hidden units h (B, m) on visible ones.

        It is added to the linear parameters of the visible units; W are the weights, and
        ``strength`` scales the coupling.
        """
        return self.strength * (h @ self.w.T)

    def sweep(self, pre: Tensor, rng: torch.Generator) -> Tensor:
        """Make one block Gibbs sweep: draw hidden units, then visible units given the hidden ones.

        Arguments:
            pre: logits of the hidden units (B, m), given the visible units before the sweep.
            rng: source of randomness.

        Returns:
            The new visible units (B, d).
        """
        return self.layer.draw(self.fields(draw_bits(pre, rng)), rng)

    @property
    def states(self) -> float:
        """Return the number of states of the smaller layer, visible or hidden; it may be inf.

        The method `log_z` sums over these states.
        """
        log_states = min(len(self.c) * math.log(2), self.layer.log_states)
        return round(math.exp(log_states), 6) if log_states < 700 else math.inf

    def log_z(self) -> float:
        """Compute the exact log Z in float64 by a sum over the states of the smaller layer.

        Returns:
            log Z in nats.

        Raises:
            ValueError: the visible and the hidden units both have more than 2^20 states.
        """
        return float(self._log_p()[0].logsumexp(0))

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw exact, independent samples of the visible units.

        The probabilities of all states of the smaller layer are computed.

        Arguments:
            n: number of samples.
            rng: source of randomness.

        Returns:
            The samples (n, d).

        Raises:
            ValueError: the visible and the hidden units both have more than 2^20 states.
        """
        log_p, hidden = self._log_p()
        k = torch.multinomial(log_p.softmax(0), n, replacement=True, generator=rng)
        if hidden:
            return self.layer.draw(self.fields(bits(k, len(self.c)).to(self.c)), rng)
        return self.layer.states(k)

    def _log_p(self) -> tuple[Tensor, bool]:
        """Compute the log-mass of each state of a layer; say whether it is the hidden layer."""
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
