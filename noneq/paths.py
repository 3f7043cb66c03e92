r"""Paths besides the geometric one: anything with ``start`` and ``at(beta) -> energy``."""

from __future__ import annotations

import copy

import torch
from torch import nn

__all__ = ["ParameterPath"]


class ParameterPath:
    r"""Two modules of a kind, mixed: ``theta_beta = (1 - beta) theta_0 + beta theta_1``.

    Between two RBMs the models in between are RBMs, which a geometric path's are not: their
    conditional distributions can be sampled (Salakhutdinov and Murray 2008).

    Arguments:
        start: at beta = 0, usually solvable.
        end: at beta = 1, of the same type and shapes.
    """

    def __init__(self, start: nn.Module, end: nn.Module) -> None:
        own, other = ({k: v.shape for k, v in m.state_dict().items()} for m in (start, end))
        if type(start) is not type(end) or own != other:
            raise ValueError(
                "a path of parameters joins two modules of the same type and shapes, got "
                f"{type(start).__name__} and {type(end).__name__}"
            )
        self.start = start
        self.end = end

    @torch.no_grad()
    def at(self, beta: float) -> nn.Module:
        """The module at beta in [0, 1]."""
        if not 0 <= beta <= 1:
            raise ValueError(f"beta is in [0, 1], got {beta}")
        model, ends = copy.deepcopy(self.end), (self.start.state_dict(), self.end.state_dict())
        for key, value in model.state_dict().items():
            if value.is_floating_point():
                value.copy_(torch.lerp(ends[0][key], ends[1][key], beta))
        return model
