"""Learning rates: a cosine schedule, and a function that sets the rate of an optimiser."""

from __future__ import annotations

import math

import torch

__all__ = ["cosine", "set_learning_rate"]


def cosine(progress: float) -> float:
    """Compute the factor ``(1 + cos(pi progress)) / 2`` of the learning rate, from 1 down to 0.

    Arguments:
        progress: fraction of the training that is done, from 0; values above 1 count as 1.

    Returns:
        The factor, in [0, 1].

    >>> [round(cosine(p), 3) for p in (0.0, 0.5, 1.0, 2.0)]
    [1.0, 0.5, 0.0, 0.0]
    """
    return (1 + math.cos(math.pi * min(progress, 1.0))) / 2


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of all parameter groups of an optimiser.

    Arguments:
        optimizer: optimiser, changed in place.
        rate: the new learning rate.
    """
    for group in optimizer.param_groups:
        group["lr"] = rate
