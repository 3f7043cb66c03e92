"""Adam under normal priors: regularisation that knows how many rows speak against it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

__all__ = ["PriorAdam", "groups", "strengths"]

DECAY = 1e-3  # of the weights, at least: see docs/lab/rbm.md, 50 bits
SPREAD = 3.0


class PriorAdam(torch.optim.Adam):
    """Adam on the loss and ``strength |theta - centre|^2 / 2``, of each group its own.

    With a strength of ``1 / (N s^2)``, N the number of rows that the loss is the mean over, it
    looks for the posterior's mode under a normal prior of standard deviation s about the centre.
    """

    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """A step of Adam, the prior's slope added to the gradients."""
        with torch.no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    if p.grad is not None and group["strength"]:
                        p.grad.add_(p - group["centre"], alpha=group["strength"])
        return super().step(closure)


def groups(model: nn.Module) -> list[dict[str, Any]]:
    """Sort the parameters of an RBM into groups for `PriorAdam`.

    Returns:
        Groups of weights, visible biases, hidden biases and the rest.
    """
    kinds = {"w": 0, "b": 1, "c": 2}
    found: list[dict[str, Any]] = [
        {"params": [], "centre": 0.0, "strength": 0.0} for _ in range(4)
    ]
    for name, p in model.named_parameters():
        found[kinds.get(name, 3)]["params"].append(p)
    return [group for group in found if group["params"]]


def strengths(rows: float, hidden: int, decay: float | None) -> tuple[float, float]:
    """Compute how strongly the priors of weights and biases pull, for so many rows.

    Without a decay the weights have the larger of two priors: that of ``DECAY``, and one where
    the logits that all hidden units add up to have the standard deviation SPREAD, so that many
    units for few rows do not learn the rows by heart.

    Returns:
        The strengths of the two priors, whose standard deviation is 1.
    """
    if decay is None:
        decay = max(DECAY, hidden / (4 * SPREAD**2 * rows))
    return decay, 1 / rows
