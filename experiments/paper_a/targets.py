"""Mixtures of Gaussians whose modes part while they are learned, with all that is known of them.

The model is

    U(x) = -log sum_k exp(-|x - m_k|^2 / 2 - z_k),   z_1 = 0,

with means m_k and numbers z_k as parameters: mode k has mass ``exp(-z_k) / sum_l exp(-z_l)``, and
``log Z = d/2 log 2 pi + log sum_k exp(-z_k)``, whatever the parameters are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

__all__ = ["PAIR", "TRIPLE", "Mixture", "Target", "worst"]

ROWS = 10_000
START = 0.3  # distance of the model's first means from the origin


@dataclass(frozen=True)
class Target:
    """Data: Gaussians of unit covariance around some points, with given masses.

    Attributes:
        dim: number of columns.
        means: the first coordinates of each mean; the others are 0.
        masses: masses of the modes, which add up to 1.
    """

    dim: int
    means: tuple[tuple[float, ...], ...]
    masses: tuple[float, ...]

    def centres(self) -> Tensor:
        """The means (K, dim)."""
        own = torch.zeros(len(self.means), self.dim)
        for k, mean in enumerate(self.means):
            own[k, : len(mean)] = torch.tensor(mean)
        return own

    def draw(self, rng: torch.Generator) -> Tensor:
        """10,000 rows (M, dim), of which each mode has exactly its share."""
        counts = [round(mass * ROWS) for mass in self.masses]
        mode = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
        return self.centres()[mode] + torch.randn(ROWS, self.dim, generator=rng)


PAIR = Target(50, ((-10.0,), (6.0,)), (0.25, 0.75))
"""The mixture of the paper: masses 1/4 and 3/4, sixteen standard deviations apart."""
TRIPLE = Target(20, ((-8.0, 0.0), (6.0, 4.0), (2.0, -9.0)), (0.1, 0.3, 0.6))
"""Three modes of masses .1, .3 and .6, at unequal distances."""


class Mixture(nn.Module):
    """The model; it can be sampled and its log Z is known whatever its parameters are.

    It starts as nearly one Gaussian: the means are 0.3 from the origin, each towards its mode, so
    that modes keep their numbers.

    Arguments:
        target: data that it is to learn.
    """

    def __init__(self, target: Target) -> None:
        super().__init__()
        centres = target.centres()
        self.means = nn.Parameter(START * centres / centres.norm(dim=1, keepdim=True))
        self.z = nn.Parameter(torch.zeros(len(centres) - 1))

    def _offsets(self) -> Tensor:
        return nn.functional.pad(self.z, (1, 0))

    def _parts(self, x: Tensor) -> Tensor:
        """``m_k . x - |m_k|^2 / 2 - z_k`` (B, K)."""
        return x @ self.means.T - self.means.square().sum(1) / 2 - self._offsets()

    def forward(self, x: Tensor) -> Tensor:
        """Energies (B,)."""
        return x.square().sum(1) / 2 - self._parts(x).logsumexp(1)

    @torch.no_grad()
    def modes(self, x: Tensor) -> Tensor:
        """The probability (B, K) of each mode at rows x."""
        return self._parts(x).softmax(1)

    @torch.no_grad()
    def masses(self) -> Tensor:
        """The masses (K,) of the modes."""
        return (-self._offsets()).softmax(0)

    @torch.no_grad()
    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """n exact samples (n, dim)."""
        mode = torch.multinomial(self.masses(), n, replacement=True, generator=rng)
        return self.means[mode] + torch.randn(n, self.means.shape[1], generator=rng)

    @torch.no_grad()
    def log_z(self) -> float:
        """``d/2 log 2 pi + log sum_k exp(-z_k)``."""
        normal = self.means.shape[1] / 2 * math.log(2 * math.pi)
        return normal + float((-self._offsets()).logsumexp(0))

    @torch.no_grad()
    def divergence(self, target: Target) -> float:
        """``KL(data || model)`` in nats, up to the overlap of modes that are far apart.

        It is ``sum_k p_k [log(p_k / q_k) + |m_k - a_k|^2 / 2]``, p_k and a_k the masses and means
        of the data, q_k and m_k those of the model.
        """
        p = torch.tensor(target.masses)
        apart = (self.means - target.centres()).square().sum(1) / 2
        return float((p * (p.log() - self.masses().log() + apart)).sum())


def worst(masses: Sequence[float], target: Target) -> float:
    """The largest error of a mass."""
    return max(abs(a - b) for a, b in zip(masses, target.masses, strict=True))
