"""The moving average of a model's parameters: usually the better model."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

__all__ = ["moving_average"]


def moving_average(model: nn.Module, decay: float) -> AveragedModel:
    """``average <- d average + (1 - d) now`` at each ``update_parameters(model)``.

    ``d = min(decay, (1 + n) / (10 + n))`` after n updates: the start is forgotten soon. Buffers
    are the model's at first. The average is another model, with a log Z of its own.

    Arguments:
        model: whose parameters are averaged.
        decay: in [0, 1].
    """
    # not a function of its own scope: an estimator that holds it can be pickled
    with torch.device("cpu"):  # the counter, which is read at each update
        return AveragedModel(model, multi_avg_fn=partial(_follow, decay))


def _follow(
    decay: float, average: Sequence[Tensor], now: Sequence[Tensor], count: Tensor | int
) -> None:
    d = min(decay, (1 + int(count)) / (10 + int(count)))
    torch._foreach_lerp_(tuple(average), tuple(now), 1 - d)
