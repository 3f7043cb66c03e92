"""What the digits benchmark is compared with, and how a likelihood is averaged over noise.

Every model is scored on the same noise draws, so differences between models are paired.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

import noneq
from noneq.data import digits
from noneq.random import add_noise

__all__ = ["NOISE", "baselines", "mean_error", "noisy", "per_row"]

NOISE, DRAWS = 0.15, 20


def noisy(x: Tensor) -> Tensor:
    """Every row with each of the noise draws, (M DRAWS, 64): the same for every model."""
    rng = torch.Generator().manual_seed(20)
    return add_noise(x.repeat(DRAWS, 1), NOISE, rng)


def per_row(score: Callable[[Tensor], Tensor], x: Tensor) -> list[float]:
    """NLL of each row, mean over the noise draws."""
    values: list[float] = score(noisy(x)).view(DRAWS, -1).mean(0).tolist()
    return values


def baselines() -> dict[str, list[float]]:
    """Test NLL of each row; their own parameters are chosen on the validation rows."""
    from sklearn.neighbors import KernelDensity

    data = digits()
    gaussian = noneq.Gaussian.fit(data.train, noise=NOISE)
    found = {
        "Gaussian": per_row(lambda x: gaussian(x).double() + gaussian.log_z(), data.test),
    }

    def kde(bandwidth: float) -> Callable[[Tensor], Tensor]:
        fitted = KernelDensity(bandwidth=bandwidth).fit(data.train.numpy())
        return lambda x: -torch.from_numpy(fitted.score_samples(x.numpy()))

    def mixture(components: int, extra: float) -> Callable[[Tensor], Tensor]:
        noise = math.sqrt(NOISE**2 + extra)
        fitted = noneq.GaussianMixture.fit(data.train, components, noise=noise, floor=0.0)
        return lambda x: fitted(x).double()

    choices: dict[str, list[Callable[[Tensor], Tensor]]] = {
        "kernel density": [kde(b) for b in (0.2, 0.22, 0.24, 0.26, 0.28)],
        "Gaussian mixture, 10 full": [mixture(10, 0.0)],
        "Gaussian mixture, chosen": [
            mixture(k, e) for k in (10, 12, 15, 20) for e in (0.005, 0.01, 0.015)
        ],
    }
    held = noisy(data.validation)
    for name, scores in choices.items():
        best = min(scores, key=lambda score: float(score(held).mean()))
        found[name] = per_row(best, data.test)
    return found


def mean_error(rows: list[float]) -> tuple[float, float]:
    """Mean and standard error."""
    x = torch.tensor(rows, dtype=torch.float64)
    return float(x.mean()), float(x.std() / math.sqrt(len(x)))
