"""A moving average of a model's parameters over training, usually the better model."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

__all__ = ["moving_average"]


def moving_average(model: nn.Module, decay: float) -> AveragedModel:
    """Make an exponential moving average of a model's parameters.

    Each call of ``average.update_parameters(model)`` sets
    ``average <- d average + (1 - d) parameters``, where ``d = min(decay, (1 + n) / (10 + n))``
    after n updates (0 at the first), so that the first parameters are soon forgotten. Buffers are
    copied. The averaged parameters define a model of their own, whose log Z differs from that of
    the trained model.

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
    with torch.device("cpu"):  # the counter of updates, which is read at each of them
        return _Average(model, decay)


class _Average(AveragedModel):
    """An average that is updated in one operation on all parameters."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__(model)
        self.decay = decay

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Update the average by the model's parameters; the first update copies them."""
        n = int(self.n_averaged)
        d = min(self.decay, (1 + n) / (10 + n)) if n else 0.0
        torch._foreach_lerp_(list(self.module.parameters()), list(model.parameters()), 1 - d)
        buffers = list(self.module.buffers())
        if buffers:
            torch._foreach_copy_(buffers, list(model.buffers()))
        self.n_averaged += 1
