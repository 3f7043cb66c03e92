"""Parameter groups for torch optimisers, which apply weight decay to some parameters only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn

__all__ = ["parameter_groups"]


def parameter_groups(
    decayed: Iterable[nn.Parameter], free: Iterable[nn.Parameter] = (), *, weight_decay: float
) -> list[dict[str, Any]]:
    """Make the parameter groups of a torch optimiser, with weight decay for some parameters only.

    Arguments:
        decayed: parameters with weight decay, such as the weights of a network.
        free: parameters without weight decay, such as the biases of a restricted Boltzmann
            machine.
        weight_decay: weight decay of the first kind of parameters, 0 or more.

    Returns:
        The first argument of an optimiser, a list of dictionaries with the keys ``params`` and
        ``weight_decay``: one for ``decayed``, and one for ``free`` unless it is empty.

    >>> net = nn.Linear(3, 1)
    >>> groups = parameter_groups([net.weight], [net.bias], weight_decay=0.1)
    >>> [group["weight_decay"] for group in groups]
    [0.1, 0.0]
    """
    groups = [{"params": list(decayed), "weight_decay": weight_decay}]
    rest = list(free)
    return [*groups, {"params": rest, "weight_decay": 0.0}] if rest else groups
