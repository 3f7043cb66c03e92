r"""Restricted Boltzmann machines: energies of bits with hidden units summed out.

Visible v in {0, 1}^d, hidden h in {0, 1}^m, joint energy ``-b.v - c.h - v.W h``. Summing over h
leaves the free energy ``F(v) = -b.v - sum_j softplus(c_j + (v W)_j)``, with the same Z.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from noneq.energies import Cache
from noneq.spaces import BINARY, draw_bits

__all__ = ["BernoulliRBM"]

MOST = 20  # units of the smaller layer that can be summed over


class BernoulliRBM(nn.Module):
    r"""A restricted Boltzmann machine of bits; `forward` is the free energy.

    ``U(v) = -b.v - sum_j softplus(c_j + (v W)_j)``. `evaluate` computes the hidden pre-activations
    once for the energy, its gradient and `gibbs`. Source: Smolensky 1986; Hinton 2002.

    Arguments:
        w: W (d, m).
        b: (d,) visible biases.
        c: (m,) hidden biases.
    """

    space = BINARY

    def __init__(self, w: Tensor, b: Tensor, c: Tensor) -> None:
        super().__init__()
        if w.shape != (*b.shape, *c.shape) or b.dim() != 1:
            raise ValueError(
                f"weights (d, m), visible biases (d,) and hidden biases (m,) do not fit: "
                f"{tuple(w.shape)}, {tuple(b.shape)}, {tuple(c.shape)}"
            )
        self.w, self.b, self.c = (nn.Parameter(t.detach().clone()) for t in (w, b, c))

    def forward(self, v: Tensor) -> Tensor:
        """Free energies (B,)."""
        return -(v @ self.b) - softplus(self.c + v @ self.w).sum(1)

    def evaluate(
        self,
        v: Tensor,
        was: Mapping[str, Tensor] | None = None,  # noqa: ARG002
        graph: bool = False,
    ) -> tuple[Tensor, Cache]:
        """Free energies, ``g = -b - W sigmoid(c + v W)`` and the pre-activations ``pre``."""
        with torch.set_grad_enabled(graph):
            pre = self.c + v @ self.w
            u = -(v @ self.b) - softplus(pre).sum(1)
        pre = pre.detach()
        g = -self.b.detach() - pre.sigmoid() @ self.w.detach().T
        return u, {"g": g, "pre": pre}

    @torch.no_grad()
    def gibbs(self, v: Tensor, cache: Cache, rng: torch.Generator) -> Tensor:  # noqa: ARG002
        """Hidden units given v, then visible units given them."""
        hidden = draw_bits(cache["pre"], rng)
        return draw_bits(self.b + hidden @ self.w.T, rng)

    def independent(self, logits: Tensor | None = None) -> Self:
        """An RBM of the same shape without weights: exact samples and log Z at any size.

        Arguments:
            logits: (d,) of its visible units; default: their biases here.
        """
        b = self.b if logits is None else logits
        return type(self)(torch.zeros_like(self.w), b, torch.zeros_like(self.c))

    @torch.no_grad()
    def log_z(self) -> float:
        """Exact, by summing over the smaller layer, in float64.

        Raises ValueError where both layers have more than 20 units and are connected.
        """
        w, b, c = (t.double() for t in (self.w, self.b, self.c))
        if not bool(w.any()):
            return float(softplus(b).sum() + softplus(c).sum())
        if len(c) > len(b):
            w, b, c = w.T, c, b
        states = self._states(len(c)).to(w)
        return float(_summed(states, w.T, b, c).logsumexp(0))

    @torch.no_grad()
    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """n exact samples (n, d), where `log_z` is known."""
        w, b, c = (t.double() for t in (self.w, self.b, self.c))
        if not bool(w.any()):
            return draw_bits(self.b.expand(n, -1), rng)
        if len(b) < len(c):
            states = self._states(len(b)).to(w)
            return states[_draw(_summed(states, w, c, b), n, rng)].to(self.w)
        states = self._states(len(c)).to(w)
        hidden = states[_draw(_summed(states, w.T, b, c), n, rng)]
        return draw_bits(self.b + hidden.to(self.w) @ self.w.T, rng)

    def _states(self, units: int) -> Tensor:
        if units > MOST:
            raise ValueError(
                f"the smaller layer has {units} units: 2^{units} states are too many to sum over "
                f"({MOST} units can be); take noneq.log_z, which anneals"
            )
        k = torch.arange(2**units, device=self.w.device)[:, None]
        return (k >> torch.arange(units, device=self.w.device)) & 1


def _summed(states: Tensor, w: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Log of the sums over the layer of biases b, for states of the other; in parts that fit."""
    parts = torch.split(states, 2**14)
    return torch.cat([part @ c + softplus(b + part @ w).sum(1) for part in parts])


def _draw(log_p: Tensor, n: int, rng: torch.Generator) -> Tensor:
    return torch.multinomial(log_p.softmax(0), n, replacement=True, generator=rng)
