"""Denoising: the mean of the clean row that a noisy row came from, by Tweedie's formula."""

from __future__ import annotations

from torch import Tensor

from noneq.energies.base import Energy, evaluate
from noneq.spaces import context_size

__all__ = ["denoised"]


def denoised(energy: Energy, x: Tensor, noise: float) -> Tensor:
    """Compute the mean of the clean row given a noisy row x, ``x - noise^2 dU/dx``.

    This is exact if ``exp(-U) / Z`` is the density of clean rows to which Gaussian noise of that
    standard deviation was added (Tweedie's formula; Robbins 1956, Efron 2011).

    Arguments:
        energy: energy U of noisy rows.
        x: noisy rows (M, *shape).
        noise: standard deviation of the noise.

    Returns:
        The mean of the clean row for each noisy row (M, *shape).
    """
    step = noise**2 * evaluate(energy, x)[1]["g"]
    if held := context_size(energy):  # a context had no noise
        step[..., -held:] = 0
    mean: Tensor = x - step
    return mean
