"""What a training of CIFAR-10 costs: evaluations and operations, counted, and hours from them.

    python -m experiments cifar10.cost                      counts, prints, records, no training
    python -m experiments cifar10.cost --utilisation 0.5

Evaluations are counted in rows, of which there are four kinds. The network's operations
are its multiply-adds, of convolutions and linear layers alone: F of them forward, F for the
gradient in the input, F for that of the parameters.

=========== ============================================================= ====================
rows        what is computed                                              multiply-adds
=========== ============================================================= ====================
moved       the energy and its gradient in x, for a move or a weight      2 F
learned     the same, and then the gradient of the parameters             4 F
data        the energy of the batch, and the gradient of the parameters   3 F, less the first
                                                                          layer's in the input
scored      the gradient in x, as in "moved", for the loss of score       6 F
            matching, and the gradient of this loss in the parameters
=========== ============================================================= ====================

A multiply-add is two operations. Hours are operations over a peak rate times the share of it that
is reached, which is assumed: nothing has been timed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import tyro
from torch import Tensor, nn

from experiments.cifar10.presets import PRESETS, SHAPE, recipe_of
from experiments.common import record, table, write_table
from noneq.run import Recipe
from noneq.run.score_stage import BATCH, iterations_of_scores

__all__ = [
    "PEAKS", "Operations", "Rows", "evaluations", "hours", "main", "operations", "rows_of",
    "stages",
]  # fmt: skip

PEAKS = {"fp32": 19.5e12, "TF32": 156e12, "bf16": 312e12}
"""Peak rates of an A100 in operations a second, from its data sheet."""
IMAGES = 50_000  # that are trained on, if no validation rows are kept apart
KEPT = 43_750  # an eighth is for validation
HEADS = ("preset", "parameters", "multiply-adds of a row, forward", "rows an iteration",
         "iterations", "rows in all", "operations in all", "hours in fp32", "hours in TF32",
         "hours in bf16")  # fmt: skip


class Rows(NamedTuple):
    """Rows of each kind that an iteration evaluates."""

    moved: int
    learned: int
    data: int
    scored: int = 0


class Operations(NamedTuple):
    """Multiply-adds of one row: forward, and in the first layer alone."""

    forward: int
    first: int

    def of(self, rows: Rows) -> int:
        """Multiply-adds of an iteration."""
        own = 2 * rows.moved + 4 * rows.learned + 3 * rows.data + 6 * rows.scored
        return own * self.forward - rows.data * self.first


def operations(net: nn.Module, shape: tuple[int, ...]) -> Operations:
    """Count the multiply-adds of a network, by what its layers are given."""
    found: list[int] = []

    def count(layer: nn.Module, _: Any, out: Tensor) -> None:
        weight = layer.weight
        assert isinstance(weight, Tensor)
        # each output is a sum over the inputs of one filter, or of one line of the matrix
        found.append(out[0].numel() * weight[0].numel())

    layers = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    try:
        with torch.no_grad():
            net(torch.zeros(1, *shape))
    finally:
        for hook in hooks:
            hook.remove()
    return Operations(sum(found), found[0])


def rows_of(recipe: Recipe) -> Rows:
    """Rows that an iteration of maximum likelihood evaluates, if no step is done again.

    Moves that accept and reject need all walkers at the new parameters once more, held-out ones
    without a gradient of parameters. Unadjusted moves of a part of the walkers need that part
    weighted first, from where the gradient comes.
    """
    how, own = recipe.train, recipe.model
    if how.active is not None:
        # the last of the moves of a stale kernel serves the loss
        return Rows(how.active * (how.moves - 1), how.active, how.batch)
    held = how.held_out or 0
    moved = (how.walkers + held) * how.moves * own.leapfrog_steps
    return Rows(moved + held, how.walkers, how.batch)


def stages(recipe: Recipe, iterations: int) -> list[tuple[int, Rows]]:
    """Iterations of score matching and of maximum likelihood, and the rows of one of each."""
    first = min(iterations, iterations_of_scores(recipe))
    scored = Rows(0, 0, 0, min(BATCH, recipe.train.batch))
    return [(first, scored), (iterations - first, rows_of(recipe))]


def evaluations(recipe: Recipe, iterations: int, redone: int = 0) -> int:
    """Rows that the network has evaluated after some iterations.

    Arguments:
        recipe: all settings.
        iterations: number of iterations, those of score matching among them.
        redone: how often the trust region has made a step shorter and evaluated all walkers again.
    """
    own = sum(n * sum(rows) for n, rows in stages(recipe, iterations))
    return own + redone * recipe.train.walkers


def hours(operations: float, peak: float, utilisation: float) -> float:
    """Hours that a number of operations takes at a share of a peak rate."""
    return operations / (peak * utilisation) / 3600


def counted(preset: str, utilisation: float) -> dict[str, Any]:
    """What a preset costs."""
    own = PRESETS[preset]
    recipe = recipe_of(preset, KEPT if own.validated else IMAGES)
    rng = torch.Generator().manual_seed(0)
    energy, _ = own.family.build(recipe, torch.randn(64, *SHAPE, generator=rng))
    net = energy.net
    assert isinstance(net, nn.Module)
    each, iterations = operations(net, SHAPE), recipe.budget.iterations
    assert iterations is not None
    parts = stages(recipe, iterations)
    whole = 2 * sum(n * each.of(rows) for n, rows in parts)
    return {
        "preset": preset,
        "parameters": sum(p.numel() for p in net.parameters()),
        "forward": each.forward,
        "stages": [{"iterations": n, "rows": rows._asdict()} for n, rows in parts if n],
        "evaluations": evaluations(recipe, iterations),
        "operations": whole,
        "utilisation": utilisation,
        "hours": {name: hours(whole, peak, utilisation) for name, peak in PEAKS.items()},
    }


def main(utilisation: float = 0.3, write: bool = True) -> None:
    """Count what each preset costs, print it, record it, and write the page's table.

    Args:
        utilisation: share of the peak rate that is reached, above 0 and at most 1: an assumption.
        write: whether to record it and write the table of docs/results/cifar10.md.
    """
    if not 0 < utilisation <= 1:
        raise ValueError(f"utilisation is a share above 0 and at most 1, got {utilisation}")
    found = [counted(preset, utilisation) for preset in PRESETS]
    lines = [
        [
            one["preset"], f"{one['parameters'] / 1e6:.2f} million",
            f"{one['forward'] / 1e6:.0f} million", _each(one, _rows), _each(one, _iterations),
            _scientific(one["evaluations"]),
            _scientific(one["operations"]), *(f"{time:.1f}" for time in one["hours"].values()),
        ]
        for one in found
    ]  # fmt: skip
    title = f"CIFAR-10 on an A100, at {utilisation:.0%} of its peak rates (assumed, not timed)"
    table(title, HEADS, lines)
    if write:
        record("cifar10_cost", found)
        write_table("cifar10.md", HEADS, lines)


def _each(one: dict[str, Any], number: Callable[[dict[str, Any]], int]) -> str:
    """A number of each stage, of score matching first."""
    return " + ".join(f"{number(stage):,}" for stage in one["stages"])


def _rows(stage: dict[str, Any]) -> int:
    return sum(stage["rows"].values())


def _iterations(stage: dict[str, Any]) -> int:
    return int(stage["iterations"])


def _scientific(number: float) -> str:
    power = math.floor(math.log10(number))
    return f"{number / 10**power:.1f}e{power}"


if __name__ == "__main__":
    tyro.cli(main)
