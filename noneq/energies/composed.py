"""Energies composed of trained ones: products of densities ("and") and mixtures ("or").

A composition is an energy as any other. Walkers (weighted samples) of one model become walkers of
the composition by ``walkers.reweight(composition)``, exactly: their weights correct for the
difference, and their log Z becomes that of the composition. Where few of them keep weight, anneal
from one to the other (`noneq.population`), or bracket the log Z by `noneq.log_z`.

Source: products of experts, Hinton 2002; composition of energies, Du, Li, Mordatch 2020 (arXiv
2004.06030), whose sampling has no weights.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from noneq.energies.base import Cache, Energy, evaluate
from noneq.energies.composite import _both
from noneq.spaces import Box, Space, space_of

__all__ = ["Product", "Union"]


class _Composed(nn.Module):
    """Holds energies on one space; a subclass says how their values make one."""

    def __init__(self, energies: Sequence[Energy]) -> None:
        super().__init__()
        if not energies:
            raise ValueError("a composition has one energy or more, got none")
        first, *others = (space_of(one) for one in energies)
        for other in others:
            if not _same(first, other):
                raise ValueError(f"energies live on one space, got {first} and {other}")
        self.parts = nn.ModuleList(e for e in energies if isinstance(e, nn.Module))
        self.energies = tuple(energies)
        self.space: Space = space_of(energies[0])

    def combined(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return the energy (B,) of energies u (B, K), and its derivatives to them (B, K)."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Return the energies (B,) of the rows of x (B, *shape)."""
        return self.combined(torch.stack([one(x) for one in self.energies], 1))[0]

    def evaluate(
        self,
        x: Tensor,
        previous_cache: Mapping[str, Tensor] | None = None,  # noqa: ARG002
        graph: bool = False,
    ) -> tuple[Tensor, Cache]:
        """Evaluate the energy and its gradient at the rows of x.

        Arguments:
            x: positions (B, *shape).
            previous_cache: not used; an argument of the ``evaluate`` methods of all energies.
            graph: whether the energies keep their autograd graph to the parameters.

        Returns:
            The energies (B,), and a cache with the gradient "g" (B, *shape) where all have one.
        """
        found = [evaluate(one, x, graph=graph) for one in self.energies]
        u, share = self.combined(torch.stack([u for u, _ in found], 1))
        caches = [cache for _, cache in found]
        if not all(_both(cache, cache) for cache in caches):
            return u, {}
        column = (-1, *[1] * (x.dim() - 1))
        shares = [s.detach().view(column) for s in share.unbind(1)]
        g = sum(s * cache["g"] for s, cache in zip(shares, caches, strict=True))
        return u, {"g": g}  # type: ignore[dict-item]


def _same(a: Space, b: Space) -> bool:
    """Return whether two spaces are the same; boxes are compared by their walls."""
    if isinstance(a, Box) and isinstance(b, Box):
        return a.holds(b) and b.holds(a)
    return a == b


class Product(_Composed):
    """Multiplies densities: ``U(x) = sum_k w_k U_k(x)``, so that x is likely under all of them.

    Arguments:
        energies: energies U_k, for positions of the same shape in the same space.
        powers: powers w (K,) of the densities; default: 1 each. A negative power asks for x that
            are unlikely under a density, and Z must stay finite.

    Raises:
        ValueError: there are no energies, they live on different spaces, or the number of powers
            is not theirs.

    >>> import noneq
    >>> from noneq.energies import Gaussian, Identity
    >>> one, two = (Gaussian(torch.tensor([m]), Identity()) for m in (0.0, 2.0))
    >>> rng = torch.Generator().manual_seed(0)
    >>> walkers = noneq.Walkers.sample(one, 4096, rng).reweight(Product([one, two]))
    >>> abs(float(walkers.mean(walkers.x)) - 1) < 0.05  # a Gaussian of mean 1, variance 1/2
    True
    """

    powers: Tensor

    def __init__(self, energies: Sequence[Energy], powers: Sequence[float] | None = None) -> None:
        super().__init__(energies)
        powers = [1.0] * len(energies) if powers is None else powers
        if len(powers) != len(energies) or not all(map(math.isfinite, powers)):
            raise ValueError(f"{len(energies)} energies need as many finite powers, got {powers}")
        self.register_buffer("powers", torch.tensor(powers, dtype=torch.float64))

    def combined(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``sum_k w_k u_k`` (B,) of energies u (B, K), and the powers for every row."""
        powers = self.powers.to(u)
        zero = u.isposinf()  # where a density is zero, so is any positive power of it
        product = torch.where(zero, 0.0, u) @ powers
        product = torch.where((zero & (powers < 0)).any(1), -math.inf, product)
        return torch.where((zero & (powers > 0)).any(1), math.inf, product), powers.expand_as(u)


class Union(_Composed):
    """Mixes densities of known log Z: ``exp(-U(x)) = sum_k pi_k exp(-U_k(x)) / Z_k``.

    The mixture is normalised, ``log Z = 0``, as well as the log Z of its parts are known.

    Arguments:
        energies: energies U_k, for positions of the same shape in the same space.
        log_z: ``log Z_k`` (K,) in nats, numbers or estimates of `noneq.log_z`.
        masses: probabilities pi (K,), positive, normalised here; default: all equal.

    Raises:
        ValueError: there are no energies, they live on different spaces, the numbers of ``log_z``
            or of masses are not theirs, or a mass is not positive.

    >>> from noneq.energies import Gaussian, Identity
    >>> one, two = (Gaussian(torch.tensor([m]), Identity()) for m in (-1.0, 1.0))
    >>> either = Union([one, two], [one.log_z(), two.log_z()], [0.25, 0.75])
    >>> x = torch.linspace(-9, 9, 2001)[:, None]
    >>> abs(float((-either(x)).exp().sum()) * 0.009 - 1) < 1e-4
    True
    """

    log_weights: Tensor

    def __init__(
        self,
        energies: Sequence[Energy],
        log_z: Sequence[Any],
        masses: Sequence[float] | None = None,
    ) -> None:
        super().__init__(energies)
        pi = torch.tensor([1.0] * len(energies) if masses is None else masses).double()
        known = torch.tensor([float(getattr(z, "value", z)) for z in log_z], dtype=torch.float64)
        sizes = (len(known), len(pi)) == (len(energies), len(energies))
        if not (sizes and bool((pi > 0).all()) and bool(known.isfinite().all())):
            raise ValueError(
                f"{len(energies)} energies need as many finite log Z and positive masses, got "
                f"{known.tolist()} and {pi.tolist()}"
            )
        self.register_buffer("log_weights", (pi / pi.sum()).log() - known)

    def combined(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mixture's energy (B,) of energies u (B, K), and its shares (B, K)."""
        log_p = self.log_weights.to(u) - u
        return -log_p.logsumexp(1), log_p.softmax(1).nan_to_num(0.0)
