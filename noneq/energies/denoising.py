"""Denoising: the mean of the clean row that a noisy row came from, by Tweedie's formula."""

from __future__ import annotations

from torch import Tensor

from noneq.energies.base import Energy, evaluate

__all__ = ["denoised"]


def denoised(energy: Energy, x: Tensor, noise: float) -> Tensor:
    """Compute the mean of the clean row given a noisy one, ``x - noise^2 grad U(x)``.

    This is exact where the model is the distribution of data with Gaussian noise of that standard
    deviation (Tweedie's formula; Robbins 1956, Efron 2011).

    Arguments:
        energy: model of noisy rows.
        x: noisy rows (M, *shape).
        noise: standard deviation of the noise.

    Returns:
        The means (M, *shape).
    """
    mean: Tensor = x - noise**2 * evaluate(energy, x)[1]["g"]
    return mean
