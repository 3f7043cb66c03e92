"""Gaussian noise on data: what gives a density to pixels that are integers."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["add_noise"]


def add_noise(x: Tensor, noise: float, rng: torch.Generator) -> Tensor:
    """``x + noise xi``, xi standard normal; x itself where ``noise`` is 0.

    Raises ValueError unless ``noise >= 0``.
    """
    if not noise >= 0:
        raise ValueError(f"noise is a standard deviation >= 0, got {noise}")
    if noise == 0:
        return x
    xi = torch.randn(x.shape, generator=rng, dtype=x.dtype, device=x.device)
    return x + noise * xi
