"""Solvable energies with independent coordinates, for boxes and for discrete variables.

Their log Z and samples are exact, so that annealing to any energy on the same space can start from
them.
"""

from __future__ import annotations

import math
from typing import Self

import torch
from torch import Tensor, nn

from noneq.energies.base import Cache
from noneq.random import draw_bits
from noneq.spaces import BINARY, ONE_HOT, Box, Space

__all__ = ["Bernoulli", "Categorical", "Uniform"]


class Uniform(nn.Module):
    """Represents the uniform density on a bounded box: U = 0 inside, +inf outside.

    Arguments:
        low: finite lower bounds of the coordinates, a tensor that together with ``high``
            broadcasts to the shape (*shape) of one position.
        high: finite upper bounds of the coordinates.

    Raises:
        ValueError: a bound is infinite, low >= high somewhere, or both bounds are scalars, from
            which the shape of a position does not follow.
    """

    low: Tensor
    high: Tensor

    def __init__(self, low: float | Tensor, high: float | Tensor) -> None:
        super().__init__()
        low, high = (
            wall if isinstance(wall, Tensor) else torch.tensor(wall, device="cpu")
            for wall in (low, high)
        )
        low, high = low + 0 * high, high + 0 * low
        if not (low.dim() and low.is_floating_point()):
            raise ValueError(
                "a uniform density needs walls of the shape of one position, in floating point: "
                f"take torch.zeros(d) for 0, say; got {low.tolist()} and {high.tolist()}"
            )
        if not bool(torch.isfinite(high - low).all()):
            raise ValueError("a uniform density needs a bounded box: finite low and high")
        self.space: Space = Box(low, high)
        self.register_buffer("low", low.clone())
        self.register_buffer("high", high.clone())

    def forward(self, x: Tensor) -> Tensor:
        """Return the energies (B,) of the rows of x (B, *shape): 0 in the box, +inf outside."""
        return torch.where(self.space.contains(x), x.flatten(1).sum(1) * 0, math.inf)

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw n exact, independent samples (n, *shape), uniform in the box.

        Arguments:
            n: number of samples.
            rng: source of randomness.

        Returns:
            The samples (n, *shape).
        """
        shape = (n, *self.low.shape)
        u = torch.rand(shape, generator=rng, dtype=self.low.dtype, device=self.low.device)
        return torch.lerp(self.low, self.high, u)

    def log_z(self) -> float:
        """Return log Z in nats, the logarithm of the volume of the box."""
        return float((self.high - self.low).double().log().sum())


class Bernoulli(nn.Module):
    """Represents independent bits x_i, which are 1 with probability ``sigmoid(theta_i)``.

    ``U(x) = -sum_i theta_i x_i``, ``log Z = sum_i log(1 + exp(theta_i))``.

    Arguments:
        logits: log-odds theta (*shape), finite.

    Raises:
        ValueError: a logit is infinite or NaN.
    """

    logits: Tensor
    space = BINARY

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.register_buffer("logits", _finite(logits).detach().clone())

    @classmethod
    def fit(cls, x: Tensor) -> Self:
        """Fit independent bits to data, with half a count added to each state of each bit.

        ``P(x_i = 1) = (sum_n x_ni + 1/2) / (N + 1)`` for N rows x_n (Krichevsky and Trofimov
        1981).

        Arguments:
            x: rows (N, *shape) of 0 and 1.

        Returns:
            The independent bits with these probabilities.
        """
        p = (x.double().sum(0) + 0.5) / (len(x) + 1)
        return cls(p.logit().to(x))

    def forward(self, x: Tensor) -> Tensor:
        """Return the energies ``-sum_i theta_i x_i`` (B,) of the rows of x (B, *shape)."""
        return -(x * self.logits).flatten(1).sum(1)

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw n exact, independent samples.

        Arguments:
            n: number of samples.
            rng: source of randomness.

        Returns:
            The samples (n, *shape), floating-point zeros and ones.
        """
        return draw_bits(self.logits.expand(n, *self.logits.shape), rng)

    def gibbs(self, x: Tensor, cache: Cache, rng: torch.Generator) -> Tensor:  # noqa: ARG002
        """Make a Gibbs sweep, which draws all bits anew, since they do not depend on each other.

        Arguments:
            x: positions (B, *shape), of which only the number of rows is used.
            cache: not used; an argument of the ``gibbs`` methods of all energies.
            rng: source of randomness.

        Returns:
            The new positions (B, *shape), independent of x.
        """
        return self.sample(len(x), rng)

    def log_z(self) -> float:
        """Return ``log Z = sum_i log(1 + exp(theta_i))`` in nats, theta the log-odds."""
        return float(nn.functional.softplus(self.logits.double()).sum())


class Categorical(nn.Module):
    """Represents independent one-hot variables ("sites") x_i of q states.

    Site i is in state c with probability ``softmax(theta_i)_c``. ``U(x) = -sum_ic theta_ic x_ic``,
    ``log Z = sum_i log sum_c exp(theta_ic)``.

    Arguments:
        logits: unnormalised log-probabilities theta (*sites, q), finite.

    Raises:
        ValueError: a logit is infinite or NaN.
    """

    logits: Tensor
    space = ONE_HOT

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.register_buffer("logits", _finite(logits).detach().clone())

    @classmethod
    def fit(cls, x: Tensor) -> Self:
        """Fit independent sites to data, with half a count added to each state of each site.

        ``P(x_ic = 1) = (sum_n x_nic + 1/2) / (N + q/2)`` for N rows x_n, sites i and q states c
        (Krichevsky and Trofimov 1981).

        Arguments:
            x: one-hot rows (N, *sites, q).

        Returns:
            The independent sites with these probabilities.
        """
        return cls((x.double().sum(0) + 0.5).log().to(x))

    def forward(self, x: Tensor) -> Tensor:
        """Return the energies ``-sum_ic theta_ic x_ic`` (B,) of the rows of x (B, *sites, q)."""
        return -(x * self.logits).flatten(1).sum(1)

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw n exact, independent samples.

        Arguments:
            n: number of samples.
            rng: source of randomness.

        Returns:
            The samples (n, *sites, q), one-hot vectors along the last dimension.
        """
        q = self.logits.shape[-1]
        p = self.logits.softmax(-1).reshape(-1, q)
        drawn = torch.multinomial(p, n, replacement=True, generator=rng).T
        return nn.functional.one_hot(drawn, q).to(p).view(n, *self.logits.shape)

    def gibbs(self, x: Tensor, cache: Cache, rng: torch.Generator) -> Tensor:  # noqa: ARG002
        """Make a Gibbs sweep, which draws all sites anew, since they do not depend on each other.

        Arguments:
            x: positions (B, *sites, q), of which only the number of rows is used.
            cache: not used; an argument of the ``gibbs`` methods of all energies.
            rng: source of randomness.

        Returns:
            The new positions (B, *sites, q), independent of x.
        """
        return self.sample(len(x), rng)

    def log_z(self) -> float:
        """Return ``log Z = sum_i log sum_c exp(theta_ic)`` in nats, theta the logits."""
        return float(self.logits.double().logsumexp(-1).sum())


def _finite(logits: Tensor) -> Tensor:
    """Return the logits; raise ValueError unless all are finite."""
    if not bool(torch.isfinite(logits).all()):
        raise ValueError("logits must be finite: a probability of 0 or 1 cannot be reweighted")
    return logits
