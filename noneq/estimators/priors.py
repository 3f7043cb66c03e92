"""Adam with normal priors on the parameters: an L2 penalty that is weaker for more rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

__all__ = ["PriorAdam", "groups", "strengths"]

DECAY = 1e-3  # of the weights, at least: see docs/lab/rbm.md, 50 bits
SPREAD = 3.0


class PriorAdam(torch.optim.Adam):
    """Adam that minimises the loss plus ``strength |theta - centre|^2 / 2``, theta the parameters.

    It takes the arguments of `torch.optim.Adam`. Each parameter group has a ``strength`` and a
    ``centre`` (a number or a tensor) beside Adam's own entries. If the loss is a mean over N rows,
    a strength of ``1 / (N s^2)`` gives the maximum a posteriori estimate under a normal prior with
    mean ``centre`` and standard deviation s.
    """

    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """Make a step of Adam on the gradients of the loss plus ``strength (theta - centre)``.

        theta are the parameters; strength and centre belong to their parameter group.

        Arguments:
            closure: function that evaluates the loss again, as in `torch.optim.Adam`, or None.

        Returns:
            The loss that ``closure`` returns; None without a closure.
        """
        with torch.no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    if p.grad is not None and group["strength"]:
                        p.grad.add_(p - group["centre"], alpha=group["strength"])
        return super().step(closure)


def groups(model: nn.Module) -> list[dict[str, Any]]:
    """Sort the parameters of an RBM into parameter groups for the optimiser `PriorAdam`.

    Arguments:
        model: RBM.

    Returns:
        Dictionaries of the parameters, a penalty of strength 0 and its centre, for the weights,
        the visible biases, the hidden biases, and all other parameters, if there are any.
    """
    kinds = {"w": 0, "b": 1, "c": 2}
    found: list[dict[str, Any]] = [
        {"params": [], "centre": 0.0, "strength": 0.0} for _ in range(4)
    ]
    for name, p in model.named_parameters():
        found[kinds.get(name, 3)]["params"].append(p)
    return [group for group in found if group["params"]]


def strengths(rows: float, hidden: int, decay: float | None) -> tuple[float, float]:
    """Compute the strengths of the L2 penalties of an RBM's weights and biases.

    A penalty of strength s adds ``s |theta|^2 / 2`` to the mean loss. By default the strength for
    the weights is ``max(1e-3, hidden / (36 rows))``. Its second term corresponds to a normal prior
    under which the sum of all hidden units' contributions to a visible unit's logit has standard
    deviation 3, so that many hidden units do not memorise few rows.

    Arguments:
        rows: effective number of training rows.
        hidden: number of hidden units.
        decay: strength for the weights; None: the default.

    Returns:
        The strength for the weights, and the strength ``1 / rows`` for the biases.
    """
    if decay is None:
        decay = max(DECAY, hidden / (4 * SPREAD**2 * rows))
    return decay, 1 / rows
