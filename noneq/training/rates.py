"""Learning-rate schedules: what the rate is multiplied by along a training, and how it is set."""

from __future__ import annotations

import math

import torch

__all__ = ["cosine", "set_learning_rate"]


def cosine(progress: float) -> float:
    """Compute ``(1 + cos(pi progress)) / 2``, which falls from 1 to 0.

    Arguments:
        progress: fraction of the training that is done; 1 or more at the end.

    Returns:
        The factor of the learning rate.

    >>> [round(cosine(p), 3) for p in (0.0, 0.5, 1.0, 2.0)]
    [1.0, 0.5, 0.0, 0.0]
    """
    return (1 + math.cos(math.pi * min(progress, 1.0))) / 2


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of all parameter groups of an optimiser."""
    for group in optimizer.param_groups:
        group["lr"] = rate
