"""Sets of bits on which restricted Boltzmann RBMs are compared, each drawn from a seed.

A set that is drawn from a mixture knows its own exact log-likelihood, so that a model can be told
how far it is from the truth and not only from another model.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from noneq.data.digits import raw_digits

__all__ = ["SETS", "Bits", "Mixture", "bars_and_stripes", "digit_bits", "far_clusters", "fifty"]

Spread = Literal["even", "arcsine", "uniform"]


@dataclass(frozen=True)
class Mixture:
    """Clusters of independent bits.

    Attributes:
        mass: (K,) of the clusters.
        p: (K, d) probabilities of a 1.
    """

    mass: Tensor
    p: Tensor

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """n rows (n, d)."""
        cluster = torch.multinomial(self.mass, n, replacement=True, generator=rng)
        u = torch.rand(n, self.p.shape[1], generator=rng, dtype=torch.float64)
        return (u < self.p[cluster]).float()

    def log_prob(self, v: Tensor) -> Tensor:
        """Exact log-likelihoods (B,) in float64."""
        v = v.double()
        each = v @ self.p.log().T + (1 - v) @ (-self.p).log1p().T
        return (each + self.mass.log()).logsumexp(1)


@dataclass(frozen=True)
class Bits:
    """Rows of bits to learn from and fresh ones to be scored on.

    Attributes:
        name: for tables.
        train: rows (M, d).
        fresh: rows (F, d), never seen in training.
        log_prob: of the law that both are drawn from; None where it is not known.
    """

    name: str
    train: Tensor
    fresh: Tensor
    log_prob: Callable[[Tensor], Tensor] | None = None

    def truth(self, v: Tensor) -> float:
        """Mean log-likelihood of rows under the law itself; 0 where that is not known."""
        return 0.0 if self.log_prob is None else float(self.log_prob(v).mean())


def fifty(seed: int = 0, spread: Spread = "even", rows: int = 4_000) -> Bits:
    """50 bits from an equal mixture of four product-Bernoulli clusters, 20,000 fresh rows.

    Arguments:
        seed: of the clusters and the rows.
        spread: how a bit's probability is drawn in each cluster: "even" 0.1 or 0.9, "arcsine"
            Beta(1/2, 1/2) between 0.01 and 0.99, "uniform" between 0.05 and 0.95.
        rows: to train on.
    """
    rng = torch.Generator().manual_seed(seed)
    u = torch.rand(4, 50, generator=rng, dtype=torch.float64)
    p = {
        "even": torch.where(u < 0.5, 0.1, 0.9),
        "arcsine": 0.01 + 0.98 * (math.pi / 2 * u).sin().square(),
        "uniform": 0.05 + 0.9 * u,
    }[spread].double()
    law = Mixture(torch.full((4,), 0.25, dtype=torch.float64), p)
    train, fresh = law.sample(rows, rng), law.sample(20_000, rng)
    return Bits(f"50 bits, {spread}", train, fresh, law.log_prob)


def far_clusters(seed: int = 0, mass: float = 0.8, noise: float = 0.05, *, bits: int = 50) -> Bits:
    """Bits from a random pattern (4 of 5 rows) and its complement, 5 % of the bits flipped.

    Nine tenths of the bits lie between the two: no chain of the learned model crosses 45 bits.
    """
    rng = torch.Generator().manual_seed(seed)
    pattern = (torch.rand(bits, generator=rng) < 0.5).double()
    p = torch.stack([pattern, 1 - pattern]) * (1 - 2 * noise) + noise
    law = Mixture(torch.tensor([mass, 1 - mass], dtype=torch.float64), p)
    train, fresh = law.sample(4_000, rng), law.sample(20_000, rng)
    return Bits("far clusters", train, fresh, law.log_prob)


def bars_and_stripes(seed: int = 0, side: int = 4) -> Bits:
    """Rows or columns of a square are on or off: 30 patterns of 16 bits for a side of 4.

    The two blank patterns are drawn twice as often as the others. Source: MacKay 2003, chapter 43.
    """
    rng = torch.Generator().manual_seed(seed)

    def sample(n: int) -> Tensor:
        lines = (torch.rand(n, side, 1, generator=rng) < 0.5).expand(n, side, side)
        upright = torch.rand(n, 1, 1, generator=rng) < 0.5
        return torch.where(upright, lines.mT, lines).flatten(1).float()

    def log_prob(v: Tensor) -> Tensor:
        square = v.view(-1, side, side)
        ways = sum(
            (square == line).flatten(1).all(1) for line in (square[:, :1], square[:, :, :1])
        )
        return (torch.as_tensor(ways).double() / 2 ** (side + 1)).log()

    return Bits("bars and stripes", sample(4_000), sample(20_000), log_prob)


def digit_bits(seed: int = 0) -> Bits:
    """scikit-learn's 8 x 8 digits, pixels of 8 and more of 16 are on: 1,437 rows and 360."""
    x = (torch.from_numpy(raw_digits()[0]) >= 8).float()
    x = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))]
    return Bits("digits", x[:1437], x[1437:])


SETS = {
    "fifty": fifty,
    "far": far_clusters,
    "bars": bars_and_stripes,
    "digits": digit_bits,
}
