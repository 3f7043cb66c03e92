"""The annealing path from independent units to a restricted Boltzmann machine (RBM).

The start is a mixture of K sets of independent visible units v, of energies A_k, constants Z_k and
probabilities pi_k, ``P_0(v) = sum_k pi_k exp(-A_k(v)) / Z_k``, often K = 1. The end is an RBM of
joint energy ``A(v) - c.h - v.W h`` with m hidden bits h. Given k, joint energies of v and h are
mixed, ``(1 - beta) A_k(v) + beta [A(v) - c.h - v.W h]``, and k and h are summed out. With
``pre = c + v W``

    ``U_beta(v) = -log sum_k pi_k exp(-(1 - beta) [A_k(v) + log Z_k]) + beta A(v)
    + (1 - beta) m log 2 - sum_j softplus(beta pre_j)``;

``m log 2`` makes U_0 the start's own energy, and at beta = 1 the sum over k is 1. A_k, A and pre
do not depend on beta, so that a walker that does not move costs no matrix product. Given v, k and
h are independent; given both, the units of v are independent: block Gibbs of two blocks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from noneq.energies import Cache, Mixture, SnapshotPath, Solvable
from noneq.models.rbm.algebra import Algebra, log_sum
from noneq.models.rbm.layers import Layer
from noneq.numerics import product
from noneq.spaces import space_of

__all__ = ["RBMPath"]


class RBMPath(SnapshotPath):
    """Connect independent units at beta = 0 to an RBM at beta = 1 by energies ``U_beta``.

    The joint energies of visible and hidden units at both ends are added with the factors 1 - beta
    and beta, and the hidden units are summed out. So every energy on the path is the free energy
    of an RBM, too (or of a mixture of RBMs, if the start is a mixture). Source: Salakhutdinov and
    Murray 2008, for one set of independent units.

    Arguments:
        base: start with exact samples and log Z: one set of independent units, or a
            `noneq.energies.Mixture` of K sets.
        start: energies of independent visible units of the base, one for each of the K sets, of
            the same kind (bits, numbers or sites) as those of the RBM.
        end: weights, hidden biases and visible units of the RBM.
    """

    def __init__(self, base: Solvable, start: Sequence[Layer], end: Algebra) -> None:
        super().__init__()
        self.start = base
        self.units = tuple(start)
        self.end = end._replace(w=end.w.detach().clone(), c=end.c.detach())
        self.space = space_of(base)
        # one set of units keeps its own constant; a mixture is normalised
        self.log_norms = self.log_masses = self.end.c.new_zeros(1)
        if isinstance(base, Mixture):
            self.log_norms, self.log_masses = (
                t.to(self.end.c) for t in (base.log_norms, base.log_masses)
            )

    @torch.no_grad()
    def evaluate(
        self, x: Tensor, previous_cache: Mapping[str, Tensor] | None, *, beta: float
    ) -> tuple[Tensor, Cache]:
        """Compute the energies of visible units x at one position beta on the path.

        It is the free energy of an RBM between independent units at beta = 0 and the RBM at beta =
        1; its formula is in `noneq.models.rbm.path`.

        Arguments:
            x: visible units (B, *shape).
            previous_cache: dictionary that an earlier call for the same x returned, at any beta,
                which saves a matrix product; or None.
            beta: position on the path, in [0, 1].

        Returns:
            The energies (B,), and the dictionary of what does not depend on beta: energies
            ``start`` (B, K) of the K sets of independent units, energies ``a`` (B,) of the RBM's
            visible units and logits ``pre`` (B, m) of its hidden units.
        """
        if previous_cache is not None and "start" in previous_cache:
            cache = {key: previous_cache[key] for key in ("start", "a", "pre")}
        else:
            v, end = x.flatten(1), self.end
            start = torch.stack([units.energy(v) for units in self.units], 1)
            start = start + self.log_norms
            cache = {"start": start, "a": end.layer.energy(v), "pre": end.pre(v)}
        a = beta * cache["a"] - self._log_shares(cache, beta).logsumexp(1)
        hidden = (1 - beta) * len(self.end.c) * math.log(2)
        return a + hidden - log_sum(beta * cache["pre"]), cache

    @torch.no_grad()
    def gradient(self, x: Tensor, cache: Cache, *, beta: float) -> Tensor:
        """Compute the gradient of the energy at beta at visible units x, by one matrix product.

        Arguments:
            x: visible units (B, *shape).
            cache: dictionary that `evaluate` returned for x.
            beta: position on the path, in [0, 1].

        Returns:
            The gradient (B, *shape).
        """
        v, pre = x.flatten(1), beta * cache["pre"]
        shares = self._log_shares(cache, beta).softmax(1)
        slopes = [layer.gradient(v) for layer in self._layers(beta)]
        mean = (torch.stack(slopes, 2) * shares[:, None]).sum(2)
        return product(pre.sigmoid(), self.end.w.T, mean, scale=-beta).view_as(x)

    @torch.no_grad()
    def gibbs(self, x: Tensor, cache: Cache, rng: torch.Generator, *, beta: float) -> Tensor:
        """Make one block Gibbs sweep under the energy at beta: hidden units, then visible units.

        If the start is a mixture, its component is drawn along with the hidden units.

        Arguments:
            x: visible units (B, *shape).
            cache: dictionary that `evaluate` returned for x.
            rng: source of randomness.
            beta: position on the path, in [0, 1].

        Returns:
            The new visible units (B, *shape).
        """
        layers = self._layers(beta)
        layer = layers[0]
        if len(layers) > 1:
            shares = self._log_shares(cache, beta).softmax(1)
            k = torch.multinomial(shares, 1, generator=rng)[:, 0]
            layer = layer.chosen(layers, k)
        return self.rbm_at(beta, layer).sweep(beta * cache["pre"], rng).view_as(x)

    def rbm_at(self, beta: float, layer: Layer | None = None) -> Algebra:
        """Return the RBM at one position on the path.

        Arguments:
            beta: position on the path, in [0, 1].
            layer: visible units of the RBM; default: interpolated between the first (or only) set
                of independent units at beta = 0 and the visible units at beta = 1.

        Returns:
            The RBM, with hidden biases and couplings multiplied by beta.
        """
        layer = self._layers(beta)[0] if layer is None else layer
        return Algebra(layer, self.end.w, beta * self.end.c, beta)

    def _layers(self, beta: float) -> list[Layer]:
        """Return the visible units of every component at beta."""
        return [units.mixed(self.end.layer, beta) for units in self.units]

    def _log_shares(self, cache: Cache, beta: float) -> Tensor:
        """Compute ``log pi_k - (1 - beta) [A_k + log Z_k]`` (B, K)."""
        return self.log_masses - (1 - beta) * cache["start"]
