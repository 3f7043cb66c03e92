"""The base class of restricted Boltzmann machines (RBMs) with any kind of visible units.

Visible units v have biases b and an energy A(v; b) of their own, and enter the coupling by
features f(v); subclasses define A and f. Hidden units are bits, h in {0, 1}^m. With offsets mu of
v and lam of h (Montavon and Mueller 2012; Melchior, Fischer, Wiskott 2016) the joint energy is, up
to a constant,

    ``A(v; b) - c.h - (f(v) - f(mu)).W (h - lam)``,

which is an RBM with the biases ``b - W lam`` and ``c - f(mu) W``. The offsets do not change which
models can be reached, only the coordinates of the optimiser: the gradient to W is the difference
of ``E[(f(v) - f(mu)) (h - lam)]`` in the data and in the model. With both 0 it is the ordinary
RBM.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn

from noneq.energies import Cache, Mixture, Solvable
from noneq.models.rbm.algebra import Algebra
from noneq.models.rbm.layers import Layer
from noneq.models.rbm.path import RBMPath
from noneq.spaces import Space

__all__ = ["RBM"]


class RBM(nn.Module):
    """Base class of restricted Boltzmann machines; a call returns the free energy U(v).

    For visible units v and hidden bits h the joint energy is, up to a constant,
    ``A(v; b) - c.h - (f(v) - f(mu)).W (h - lam)``; subclasses define A, the energy of visible
    units without coupling, and the features f. The offsets mu and lam centre the units, which
    helps the optimiser and does not change what an RBM can represent.

    Arguments:
        w: weights W (d, m).
        b: visible biases (*shape), d numbers.
        c: hidden biases (m,).
        mu: offsets of the visible units (*shape); default 0.
        lam: offsets of the hidden units (m,); default 0.

    Attributes:
        space: space of the visible units: bits, real numbers or one-hot sites.
        base: energy of independent visible units, with exact samples and log Z, where walkers
            (weighted samples) start.

    Raises:
        ValueError: shapes do not fit, or there are no hidden units.
    """

    space: Space
    base: Solvable
    mu: Tensor
    lam: Tensor

    def __init__(
        self,
        w: Tensor,
        b: Tensor,
        c: Tensor,
        *,
        mu: Tensor | None = None,
        lam: Tensor | None = None,
    ) -> None:
        super().__init__()
        if w.shape != (b.numel(), *c.shape) or not b.dim():
            raise ValueError(
                f"weights (d, m), visible biases (d,) and hidden biases (m,) do not fit: "
                f"{tuple(w.shape)}, {tuple(b.shape)}, {tuple(c.shape)}"
            )
        if not len(c):
            raise ValueError("an RBM has 1 hidden unit or more, got 0")
        self.w, self.b, self.c = (nn.Parameter(t.detach().clone()) for t in (w, b, c))
        for name, offset, like in (("mu", mu, b), ("lam", lam, c)):
            offset = torch.zeros_like(like) if offset is None else offset
            if offset.shape != like.shape:
                raise ValueError(
                    f"the offsets {name} have the shape of their units, {tuple(like.shape)}, "
                    f"got {tuple(offset.shape)}"
                )
            self.register_buffer(name, offset.detach().clone())

    # -- what differs

    def _layer(self, centre: Tensor) -> Layer:
        """Return the visible units with the biases ``centre`` (*shape)."""
        raise NotImplementedError

    def _units(self, base: Solvable) -> Layer | None:
        """Return the layer of a base of independent units of this kind; None for another base."""
        raise NotImplementedError

    def _scale(self) -> Tensor | None:
        """Return ``f(v) / v`` (d,); None for 1."""
        return None

    @classmethod
    def independent_start(cls, data: Tensor) -> Solvable:
        """Fit independent visible units to rows (M, *shape) of data.

        Returns:
            The energy of the independent units, with exact samples and log Z.

        Raises:
            ValueError, TypeError: a row is not a state of this RBM.
        """
        raise NotImplementedError

    @staticmethod
    def _first(base: Any, xi: Tensor, c: Tensor) -> tuple[Tensor, ...]:
        """Return the constructor's arguments for a base and weights xi in its units."""
        raise NotImplementedError

    # -- making one

    @classmethod
    def from_data(
        cls, data: Tensor, hidden: int, rng: torch.Generator | None = None, *, scale: float = 0.01
    ) -> Self:
        """Make an RBM to be trained on data, with independent units fitted to the data as `base`.

        Visible biases are those of the base, hidden biases 0. The offsets, which centre the units,
        are the mean of the data and 1/2. Weights are small and random: the first model is nearly
        the base.

        Arguments:
            data: rows (M, *shape).
            hidden: number m of hidden units, 1 or more.
            rng: source of the random weights, on the data's device; default seed 0.
            scale: standard deviation of the weights, in units of the data's standard deviations
                where data are real numbers.

        Returns:
            The RBM.

        Raises:
            ValueError, TypeError: rows are no states of this RBM or all the same, or hidden < 1.
        """
        base = cls.independent_start(data)
        if hidden < 1:
            raise ValueError(f"an RBM has 1 hidden unit or more, got {hidden}")
        rng = rng or torch.Generator(data.device).manual_seed(0)
        xi = torch.randn(
            (data[0].numel(), hidden), generator=rng, dtype=data.dtype, device=data.device
        )
        c = xi.new_zeros(hidden)
        new = cls(*cls._first(base, scale * xi, c), mu=data.mean(0), lam=c + 0.5)
        new.base = base
        return new

    def recentred(self, mu: Tensor, lam: Tensor) -> Self:
        """Make an RBM of the same free energy with other offsets, which centre the units.

        Arguments:
            mu: new offsets of the visible units (*shape), best near the mean of v.
            lam: new offsets of the hidden units (m,), best near the mean of h.

        Returns:
            The new RBM, with the same base and weights and other biases.
        """
        new = type(self)(*self._own(), mu=mu, lam=lam)
        with torch.no_grad():
            new.b.copy_(self.visible_bias + (self.w @ lam).view_as(self.b))
            new.c.copy_(self.hidden_bias + new._push(mu))
        new.base = self.base
        return new

    def _own(self) -> tuple[Tensor, ...]:
        """Return the constructor's arguments."""
        return self.w, self.b, self.c

    # -- the energy

    @property
    def visible_bias(self) -> Tensor:
        """Return the visible biases ``b - W lam`` (*shape) of the same RBM without offsets.

        Here b are the visible biases, W the weights and lam the offsets of hidden units.
        """
        return self.b - (self.w @ self.lam).view_as(self.b)

    @property
    def hidden_bias(self) -> Tensor:
        """Return the hidden biases ``c - f(mu) W`` (m,) of the same RBM without offsets.

        Here c are the hidden biases, W the weights and mu the offsets of visible units v, which
        enter the coupling to hidden units by f(v).
        """
        return self.c - self._push(self.mu)

    def _push(self, v: Tensor) -> Tensor:
        """Compute ``f(v) W`` (m,) of one position (*shape)."""
        scale, v = self._scale(), v.flatten()
        return self.w.T @ (v if scale is None else v * scale)

    def machine(self) -> Algebra:
        """Return visible units, weights and hidden biases of the same RBM without offsets."""
        return self._machine(self.hidden_bias)

    def _machine(self, c: Tensor) -> Algebra:
        scale = self._scale()
        w = self.w if scale is None else self.w * scale[:, None]
        return Algebra(self._layer(self.visible_bias), w, c)

    def forward(self, v: Tensor) -> Tensor:
        """Return the free energies U(v) (B,) of visible units v (B, *shape)."""
        machine, v = self.machine(), v.flatten(1)
        return machine.energy(v, machine.pre(v))

    def evaluate(
        self,
        v: Tensor,
        previous_cache: Mapping[str, Tensor] | None = None,  # noqa: ARG002
        graph: bool = False,
    ) -> tuple[Tensor, Cache]:
        """Return the free energies (B,) of v (B, *shape), and a cache of the hidden logits.

        The cache is a dictionary with the entry ``pre`` (B, m), which the methods `gradient` and
        `gibbs` use. With ``graph`` the energies keep their autograd graph to the parameters.
        """
        with torch.set_grad_enabled(graph):
            machine, v = self.machine(), v.flatten(1)
            pre = machine.pre(v)
            return machine.energy(v, pre), {"pre": pre.detach()}

    @torch.no_grad()
    def gradient(self, v: Tensor, cache: Cache) -> Tensor:
        """Return ``dU/dv`` (B, *shape) at v (B, *shape), from the cache that `evaluate` made."""
        return self._machine(self.c).gradient(v.flatten(1), cache["pre"]).view_as(v)

    @torch.no_grad()
    def gibbs(self, v: Tensor, cache: Cache, rng: torch.Generator) -> Tensor:
        """Return new v (B, *shape) after a Gibbs sweep: hidden units given v, then v given these.

        The argument ``cache`` is the dictionary that `evaluate` returned for v.
        """
        return self._machine(self.c).sweep(cache["pre"], rng).view_as(v)  # c is in pre

    @torch.no_grad()
    def features(self, v: Tensor) -> Tensor:
        """Return ``P(h_j = 1 | v)`` (B, m) for hidden units h, given visible v (B, *shape)."""
        return self.machine().pre(v.flatten(1)).sigmoid()

    @property
    def states(self) -> float:
        """Return the number of states of the smaller layer, over which `log_z` sums."""
        return self.machine().states

    @torch.no_grad()
    def log_z(self) -> float:
        """Return the exact log Z (nats), summed in float64 over the states of the smaller layer.

        Raises:
            ValueError: the visible and the hidden units both have more than 2^20 states.
        """
        return self.machine().log_z()

    @torch.no_grad()
    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw n exact, independent samples (n, *shape) of the visible units.

        Raises:
            ValueError: the visible and the hidden units both have more than 2^20 states.
        """
        return self.machine().sample(n, rng).view(n, *self.b.shape)

    @torch.no_grad()
    def path_from(self, base: Solvable) -> RBMPath | None:
        """Return the annealing path of RBMs from ``base`` to this one, or None.

        It is None unless the base is an energy of independent visible units, or a mixture of such.
        """
        sets = base.components if isinstance(base, Mixture) else (base,)
        units = [layer for one in sets if (layer := self._units(one)) is not None]
        return RBMPath(base, units, self.machine()) if len(units) == len(sets) else None
