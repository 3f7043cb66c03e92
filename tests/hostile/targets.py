"""What a case is made of: an energy that keeps its log Z to itself, a base, rows, the truth."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from noneq import Gaussian, GaussianMixture
from noneq.energies import Identity, evaluate, fingerprint
from noneq.spaces import space_of

__all__ = ["Case", "Veiled", "gaussian_mixture", "isotropic", "on_diagonal", "seeded"]


class Case(NamedTuple):
    """One question to `noneq.log_z`, and its answer."""

    energy: Callable[[Tensor], Tensor]
    base: Any
    """None: fitted to the rows, as in an audit"""
    data: Tensor
    log_z: float
    """inf where exp(-U) has no finite integral"""


class Veiled:
    """An energy that does all that another does, but tell its log Z or sample itself."""

    def __init__(self, energy: Any) -> None:
        self.energy = energy
        self.space = space_of(energy)
        for name in ("gradient", "gibbs", "path_from", "base", "remedy"):
            if hasattr(energy, name):
                setattr(self, name, getattr(energy, name))

    def __call__(self, x: Tensor) -> Tensor:
        return self.energy(x)

    def fingerprint(self) -> Tensor | None:
        return fingerprint(self.energy)

    def evaluate(self, x, was=None, graph=False):
        return evaluate(self.energy, x, was, graph=graph, lean=True)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def on_diagonal(dim: int, distance: float) -> list[float]:
    """A point at this distance from the origin, on the diagonal."""
    return [distance / math.sqrt(dim)] * dim


def isotropic(dim: int, middle: Sequence[float] | float, scale: float) -> Gaussian:
    """A Gaussian of one standard deviation."""
    middle = [middle] * dim if isinstance(middle, float | int) else list(middle)
    return Gaussian(torch.tensor(middle, dtype=torch.float32), Identity(scale))


def gaussian_mixture(means, scales, masses) -> GaussianMixture:
    """Components with diagonal covariances; a scale is a number or one for each coordinate."""
    means = torch.tensor(means, dtype=torch.float32)
    roots = [torch.as_tensor(s, dtype=torch.float32).expand(means.shape[1]) for s in scales]
    covariances = torch.stack([root.square().diag() for root in roots])
    return GaussianMixture(means, covariances, torch.tensor(masses, dtype=torch.float32))
