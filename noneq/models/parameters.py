"""Parameter groups: which parameters of a model an optimiser's weight decay shrinks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn

__all__ = ["parameter_groups"]


def parameter_groups(
    decayed: Iterable[nn.Parameter], free: Iterable[nn.Parameter] = (), *, weight_decay: float
) -> list[dict[str, Any]]:
    """Group parameters as the optimisers of torch take them.

    Arguments:
        decayed: parameters with weight decay, such as the weights of a network.
        free: parameters without it, such as the biases of a restricted Boltzmann machine.
        weight_decay: weight decay, 0 or more.

    Returns:
        One group, or two where there are free parameters.

    >>> net = nn.Linear(3, 1)
    >>> groups = parameter_groups([net.weight], [net.bias], weight_decay=0.1)
    >>> [group["weight_decay"] for group in groups]
    [0.1, 0.0]
    """
    groups = [{"params": list(decayed), "weight_decay": weight_decay}]
    rest = list(free)
    return [*groups, {"params": rest, "weight_decay": 0.0}] if rest else groups
