"""A moving average of a model's parameters, which is usually the better model."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

__all__ = ["moving_average"]


def moving_average(model: nn.Module, decay: float) -> AveragedModel:
    """Make an exponential moving average of a model's parameters.

    ``average <- d average + (1 - d) now`` at each ``update_parameters(model)``, where
    ``d = min(decay, (1 + n) / (10 + n))`` after n updates, so that the start has little weight
    soon. Buffers are copied once, from the model as it is. The average is a model of its own with
    its own log Z.

    Arguments:
        model: the model whose parameters are averaged.
        decay: largest weight d of the past, in [0, 1].

    Returns:
        The average, a copy of the model at first.

    >>> average = moving_average(nn.Linear(2, 1), 0.999)
    >>> average.update_parameters(nn.Linear(2, 1))
    >>> int(average.n_averaged)
    1
    """
    # not a function of its own scope: an estimator that holds it can be pickled
    with torch.device("cpu"):  # the counter, which is read at each update
        return AveragedModel(model, multi_avg_fn=partial(_follow, decay))


def _follow(
    decay: float, average: Sequence[Tensor], now: Sequence[Tensor], count: Tensor | int
) -> None:
    d = min(decay, (1 + int(count)) / (10 + int(count)))
    torch._foreach_lerp_(tuple(average), tuple(now), 1 - d)
