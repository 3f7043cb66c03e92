"""A Gaussian whose mean depends on a context, the base of conditional models.

Its preconditioner, a `Held`, leaves the context of every row as it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from noneq.energies.base import Cache
from noneq.energies.context import with_context
from noneq.energies.covariance import Factor
from noneq.energies.gaussian import Gaussian
from noneq.spaces import WithContext

__all__ = ["ConditionalGaussian", "Held"]


class Held(nn.Module):
    """Represents a preconditioner that moves all coordinates but the last ones, the context.

    Arguments:
        factor: square root L of a covariance of the coordinates that move.
        held: number k of coordinates that stay, 1 or more.

    Raises:
        ValueError: ``held`` is less than 1.

    >>> from noneq.energies import Identity
    >>> Held(Identity(2.0), 1).mul(torch.ones(1, 3))
    tensor([[2., 2., 0.]])
    """

    def __init__(self, factor: Factor, held: int) -> None:
        super().__init__()
        if held < 1:
            raise ValueError(f"one coordinate or more is held, got {held}")
        self.factor, self.held = factor, held

    def _moved(self, v: Tensor, product: Tensor) -> Tensor:
        return torch.cat([product, v.new_zeros(len(v), self.held)], 1)

    def mul(self, v: Tensor) -> Tensor:
        """Return ``L v`` (N, d + k) for each row of v, 0 at the context."""
        return self._moved(v, self.factor.mul(v[:, : -self.held]))

    def t_mul(self, v: Tensor) -> Tensor:
        """Return ``L^T v`` (N, d + k) for each row of v, 0 at the context."""
        return self._moved(v, self.factor.t_mul(v[:, : -self.held]))

    def solve(self, v: Tensor) -> Tensor:
        """Return ``L^-1 v`` (N, d + k) for each row of v, 0 at the context."""
        return self._moved(v, self.factor.solve(v[:, : -self.held]))

    def t_solve(self, v: Tensor) -> Tensor:
        """Return ``L^-T v`` (N, d + k) for each row of v, 0 at the context."""
        return self._moved(v, self.factor.t_solve(v[:, : -self.held]))

    def log_det(self, dim: int) -> float:
        """Return ``log |det L|`` of the coordinates that move; ``dim`` counts the context, too."""
        return self.factor.log_det(dim - self.held)


class ConditionalGaussian(nn.Module):
    """Represents a Gaussian whose mean depends on a context: ``x = m + A c + L xi``.

    It is the base of conditional models: ``U(x, c) = |L^-1 (x - m - A c)|^2 / 2``, with ``log Z =
    (d/2) log 2 pi + log det L`` for every context, and contexts drawn from those of the data. For
    one-hot labels it is the density of linear discriminant analysis: a mean of its own for every
    label, and one covariance.

    Arguments:
        mean: vector m (d,).
        slope: matrix A (d, k).
        factor: square root L of the covariance.
        contexts: contexts (M, k), from which those of samples are drawn.

    >>> rng = torch.Generator().manual_seed(0)
    >>> c = torch.rand(1000, 1, generator=rng)
    >>> x = 3 * c + 0.1 * torch.randn(1000, 1, generator=rng)
    >>> base = ConditionalGaussian.fit(x, c)
    >>> abs(float(base.slope) - 3) < 0.1, base.sample(5, rng).shape
    (True, torch.Size([5, 2]))
    """

    mean: Tensor
    slope: Tensor
    contexts: Tensor

    def __init__(self, mean: Tensor, slope: Tensor, factor: Factor, contexts: Tensor) -> None:
        super().__init__()
        for name, value in (("mean", mean), ("slope", slope), ("contexts", contexts)):
            self.register_buffer(name, value.detach().clone())
        self.factor = Held(factor, contexts.shape[1])
        self.space = WithContext(contexts.shape[1])

    @classmethod
    def fit(
        cls,
        x: Tensor,
        context: Tensor,
        kind: Literal["full", "diagonal", "low-rank"] = "full",
        *,
        noise: float = 0.0,
    ) -> ConditionalGaussian:
        """Fit the mean by linear regression, and the covariance to what the regression leaves.

        Arguments:
            x: rows (M, *shape).
            context: their contexts (M, k), of which samples draw theirs.
            kind: kind of covariance, as in `Gaussian.fit`.
            noise: standard deviation of Gaussian noise that will be added to x later.

        Returns:
            The conditional Gaussian.

        Raises:
            ValueError: the numbers of rows and contexts differ, fewer than two rows, a value that
                is not finite, or rows that the contexts explain without error.
        """
        if context.dim() != 2 or not context.shape[1]:
            raise ValueError(
                f"contexts are a matrix ({len(x)}, k), e.g. one-hot labels, got "
                f"{tuple(context.shape)}"
            )
        joined = with_context(x, context).double()
        if not bool(torch.isfinite(joined).all()):
            raise ValueError("rows and contexts must be finite")
        flat, c = joined[:, : -context.shape[1]], joined[:, -context.shape[1] :]
        # one-hot labels add up to 1: the solution of least norm is taken
        slope = torch.linalg.lstsq(
            (c - c.mean(0)).cpu(), (flat - flat.mean(0)).cpu(), driver="gelsd"
        )
        a = slope.solution.to(flat).T
        mean = flat.mean(0) - a @ c.mean(0)
        left = (flat - mean - c @ a.T).to(x)
        explained = left.double().var(0) <= 1e-12 * flat.var(0)
        if not noise > 0 and bool(explained.any()):
            raise ValueError("the contexts explain a column without error: no density is left")
        factor = Gaussian.fit(left, kind, noise=noise).factor
        return cls(mean.to(x), a.to(x), factor, context.to(x)).to(x.device)

    def _off(self, x: Tensor) -> Tensor:
        """Return ``x - m - A c`` (B, d) of rows (x, c)."""
        k = self.slope.shape[1]
        return x[:, :-k] - self.mean - x[:, -k:] @ self.slope.T

    def forward(self, x: Tensor) -> Tensor:
        """Return the energies (B,) of rows (x, c), shape (B, d + k)."""
        return self.factor.factor.solve(self._off(x)).square().sum(1) / 2

    def evaluate(
        self,
        x: Tensor,
        previous_cache: Mapping[str, Tensor] | None = None,  # noqa: ARG002
        graph: bool = False,  # noqa: ARG002
    ) -> tuple[Tensor, Cache]:
        """Return the energies (B,) and a cache with their gradient "g" (B, d + k).

        Only the argument x is used; the others are those of every energy's ``evaluate``.
        """
        with torch.no_grad():
            z = self.factor.factor.solve(self._off(x))
            g = self.factor.factor.t_solve(z)
            return z.square().sum(1) / 2, {"g": torch.cat([g, -g @ self.slope], 1)}

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw n exact, independent samples (n, d + k), with contexts of the data.

        Arguments:
            n: number of samples.
            rng: source of randomness.

        Returns:
            The samples, each with its context.
        """
        m = self.mean
        which = torch.randint(len(self.contexts), (n,), generator=rng, device=m.device)
        c = self.contexts[which]
        xi = torch.randn((n, len(m)), generator=rng, dtype=m.dtype, device=m.device)
        return torch.cat([m + c @ self.slope.T + self.factor.factor.mul(xi), c], 1)

    def log_z(self) -> float:
        """Return ``log Z_c`` in nats, the same for every context c."""
        d = len(self.mean)
        return d / 2 * math.log(2 * math.pi) + self.factor.factor.log_det(d)

    def given(self, context: Tensor) -> Gaussian:
        """Return the Gaussian of x for one context (k,)."""
        return Gaussian(self.mean + self.slope @ context.to(self.mean), self.factor.factor)
