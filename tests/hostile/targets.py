"""What a case is made of: an energy that does not tell its log Z, a base, rows, the truth."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from noneq import Gaussian
from noneq.energies import Identity
from noneq.testing import Unsolved as Veiled
from noneq.testing import mixture as gaussian_mixture

__all__ = ["Case", "Veiled", "gaussian_mixture", "isotropic", "on_diagonal", "seeded"]


class Case(NamedTuple):
    """One question to `noneq.log_z`, and its answer."""

    energy: Callable[[Tensor], Tensor]
    base: Any
    """None: fitted to the rows, as in an audit"""
    data: Tensor
    log_z: float
    """inf where exp(-U) has no finite integral"""


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def on_diagonal(dim: int, distance: float) -> list[float]:
    """A point at this distance from the origin, on the diagonal."""
    return [distance / math.sqrt(dim)] * dim


def isotropic(dim: int, middle: Sequence[float] | float, scale: float) -> Gaussian:
    """A Gaussian of one standard deviation."""
    middle = [middle] * dim if isinstance(middle, float | int) else list(middle)
    return Gaussian(torch.tensor(middle, dtype=torch.float32), Identity(scale))
