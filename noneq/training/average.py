"""A moving average of a model's parameters over training, usually the better model."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

__all__ = ["moving_average"]


def moving_average(model: nn.Module, decay: float) -> AveragedModel:
    """Make an exponential moving average of a model's parameters.

    Each call of ``average.update_parameters(model)`` sets
    ``average <- d average + (1 - d) parameters``, where ``d = min(decay, (1 + n) / (10 + n))``
    after n updates, so that the first parameters are soon forgotten. Buffers are copied only once,
    when the average is made. The averaged parameters define a model of their own, whose log Z
    differs from that of the trained model.

    Arguments:
        model: model whose parameters are averaged.
        decay: largest weight d of the earlier average, in [0, 1].

    Returns:
        The average, a module that is called like the model and is a copy of it at first.

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
