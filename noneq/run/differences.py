"""Where the samples of a table's model differ most from its rows: in columns, and in pairs.

A likelihood says how well a model fits on the whole, and not where it does not. Rows are grouped
by each column: by its categories or few values, or in quarters. Within each group the distribution
of every other column is compared between rows and weighted samples, by the Kolmogorov-Smirnov
distance: the largest difference D of two shares, "so many of them are at most x". Of n independent
rows and m samples, chance alone exceeds D with a probability of about ``2 exp(-2 D^2 n m / (n +
m))``, for many of both (Smirnov 1939, the leading term). A difference counts where that is below
0.01 divided by the number of comparisons.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from noneq.data import DataSet
from noneq.data.kinds import Column
from noneq.random import add_noise
from noneq.run.bases import some
from noneq.run.folder import Run
from noneq.walkers import Walkers

__all__ = ["Difference", "differences", "differences_of", "told"]

Array: TypeAlias = NDArray[np.float64]

ROWS = 4000  # rows that samples are compared with, at most
WIDE = 60  # columns that are compared, the first ones
FEW = 5  # different numbers that are groups of their own, at most; others are put in quarters
LEAST = 20  # rows, and independent samples, of a group that is looked at
CHANCE = 0.01  # that any difference is found by chance, in all comparisons together
LARGE = 0.1  # difference of two shares that a verdict mentions
KEPT = 12  # differences that are kept


@dataclass(frozen=True)
class Difference:
    """A share of the rows of a table, and that of the samples of its model.

    Attributes:
        among: group of rows in words, e.g. "ward is surgery"; "all rows".
        what: what the share is of, e.g. "age is 17 or less".
        data: the share of the rows in the group, 0 to 1.
        model: the share of the samples in the group, by their weights.
        chance: difference of both that chance alone hardly exceeds, in all comparisons together.
    """

    among: str
    what: str
    data: float
    model: float
    chance: float

    @property
    def size(self) -> float:
        """Return the absolute difference of both shares."""
        return abs(self.data - self.model)


def differences_of(run: Run, data: DataSet, walkers: Walkers) -> tuple[Difference, ...] | None:
    """Find where the samples of a run's model differ from its training and validation rows.

    Arguments:
        run: run whose data are a table.
        data: its data, in the model's units.
        walkers: weighted samples of the model.

    Returns:
        The differences, the largest first; None where the data are images.
    """
    if not run.tabular:
        return None
    sizes = data.sizes
    held = torch.cat([data.train[: sizes[0]], data.validation[: sizes[1]]])
    rng = torch.Generator(held.device).manual_seed(run.seed)
    rows = add_noise(some(held, ROWS), run.recipe.train.noise, rng)
    own = run.scaling.cells.columns if run.scaling.cells is not None else ()
    names = data.columns or tuple("" for _ in range(data.shape[0]))
    columns = own or tuple(Column(name, i + 1) for i, name in enumerate(names))
    shown, samples = (run.scaling.undo(x).cpu().numpy() for x in (rows, walkers.x))
    p = walkers.p.detach().double().cpu().numpy()
    worth = min(1 / float((p**2).sum()), walkers.effective_ancestors)
    return differences(shown, samples, p, columns, worth)


def differences(
    rows: Array, samples: Array, p: Array, columns: Sequence[Column], worth: float
) -> tuple[Difference, ...]:
    """Find where weighted samples differ from rows by more than chance.

    Of a pair of columns the larger difference is taken: that of the one within groups of the
    other, or the reverse. It is listed only where those of both columns by themselves, and chance,
    do not explain it.

    Arguments:
        rows: rows (M, D), in the file's units; categories of texts are 0, 1, 2, ...
        samples: samples (N, D) in the same units.
        p: weights of the samples (N,), which sum to 1.
        columns: what is known of the D columns.
        worth: number of independent samples that they are worth, at most ``1 / sum p^2``.

    Returns:
        The differences, the largest first, 12 at most.

    >>> from noneq.data.kinds import Column
    >>> rng = np.random.default_rng(0)
    >>> ward, noise = rng.integers(0, 2, 800), rng.normal(size=800)
    >>> rows = np.stack([ward, 40.0 * ward + noise], 1)
    >>> blurred = np.stack([ward, rng.permutation(rows[:, 1])], 1)
    >>> own = [Column("child", 1, "category", levels=(0.0, 1.0)), Column("age", 2)]
    >>> found = differences(rows, blurred, np.full(800, 1 / 800), own, 800.0)
    >>> [(one.among, one.what[:6], round(one.data, 1), round(one.model, 1)) for one in found]
    [('child is 0', 'age is', 1.0, 0.5)]
    """
    rows, samples, columns = rows[:, :WIDE], samples[:, :WIDE], columns[:WIDE]
    groups = [*_groups(rows, samples, columns)]
    shrink = min(1.0, worth * float((p**2).sum()))
    kept, signed = [], []
    for group in groups:
        weights = p * group.samples
        mass, many = float(weights.sum()), int(group.rows.sum())
        if many < LEAST or not mass > 0:
            continue
        independent = shrink * mass**2 / float((weights**2).sum())
        if independent >= LEAST:
            kept.append((group, many * independent / (many + independent)))
            signed.append(np.concatenate([group.rows / many, -weights / mass]))
    if not kept:
        return ()
    comparisons = sum(len(columns) - (group.column >= 0) for group, _ in kept)
    bound = math.log(2 * comparisons / CHANCE) / 2
    chances = [math.sqrt(bound / many) for _, many in kept]
    own: dict[tuple[int, int], Difference] = {}
    for j, column in enumerate(columns):
        values = np.concatenate([rows[:, j], samples[:, j]])
        shares = _shares(values, len(rows), np.stack(signed), column)
        for (group, _), chance, (what, data, model) in zip(kept, chances, shares, strict=True):
            found = Difference(group.words, what, data, model, chance)
            pair = min(group.column, j), max(group.column, j)
            if group.column != j and found.size > max(chance, _size(own, pair)):
                own[pair] = found
    alone = {j: one.size for (i, j), one in own.items() if i < 0}
    shown = [
        one
        for (i, j), one in own.items()
        if i < 0 or one.size > max(alone.get(i, 0.0), alone.get(j, 0.0)) + one.chance
    ]
    return tuple(sorted(shown, key=lambda one: -one.size)[:KEPT])


def told(found: Sequence[Difference] | None) -> str:
    """Say in a sentence where samples differ from the rows, if it is by more than a tenth.

    Arguments:
        found: what `differences` returned; None: nothing was compared.

    Returns:
        The sentences; empty if there is no such difference.
    """
    large = [one for one in found or () if one.size > LARGE]
    if not large:
        return ""
    first, more = large[0], len(large) - 1
    where = "" if first.among == "all rows" else f"among those whose {first.among}, "
    others = f" The report shows {more} more such difference{'s' * (more > 1)}." if more else ""
    return (
        f"Its samples differ from the rows: {where}{first.what} for {first.data:.0%} of the rows, "
        f"and for {first.model:.0%} of the samples.{others} Likelihoods hold all the same."
    )


# -- groups of rows
@dataclass(frozen=True)
class _Group:
    """A group of rows and samples, by the values of a column; of all, by none (-1)."""

    column: int
    words: str
    rows: NDArray[np.bool_]
    samples: NDArray[np.bool_]


def _groups(rows: Array, samples: Array, columns: Sequence[Column]) -> Iterator[_Group]:
    """Make a group of all rows, and groups by each column."""
    yield _Group(-1, "all rows", np.ones(len(rows), bool), np.ones(len(samples), bool))
    for j, column in enumerate(columns):
        x, y = rows[:, j], samples[:, j]
        values = np.unique(x)
        if column.levels or len(values) <= FEW:
            for value in values:
                words = f"{column.called} is {_text(value, column)}"
                yield _Group(j, words, x == value, y == value)
            continue
        ends = [-math.inf, *np.unique(np.quantile(x, (0.25, 0.5, 0.75))), math.inf]
        for low, high in itertools.pairwise(ends):
            words = f"{column.called} is {_span(low, high, column)}"
            yield _Group(j, words, (x > low) & (x <= high), (y > low) & (y <= high))


def _size(own: dict[tuple[int, int], Difference], pair: tuple[int, int]) -> float:
    return own[pair].size if pair in own else 0.0


# -- shares of a column
def _shares(
    values: Array, many: int, signed: Array, column: Column
) -> Iterator[tuple[str, float, float]]:
    """Find the share that differs most between rows and samples, for each of G groups.

    Arguments:
        values: values of a column, of the rows and then of the samples (M + N,).
        many: number of rows M.
        signed: weights (G, M + N), of samples negative; both sum to 1 and -1, or 0 outside.
        column: the column.

    Returns:
        Words, the share of the rows and that of the samples, for each group.
    """
    found, at = np.unique(values, return_inverse=True)
    for weights in signed:
        data = np.bincount(at[:many], weights[:many], len(found))
        model = np.bincount(at[many:], -weights[many:], len(found))
        if not column.levels:
            data, model = data.cumsum(), model.cumsum()
        k = int(np.abs(data - model).argmax())
        value = _text(found[k], column)
        words = f"{column.called} is {value}" + (" or less" if not column.levels else "")
        yield words, float(data[k]), float(model[k])


# -- words
def _text(value: Any, column: Column) -> str:
    return column.texts[int(value)] if column.texts else f"{float(value):.4g}"


def _span(low: float, high: float, column: Column) -> str:
    if not math.isfinite(low):
        return f"{_text(high, column)} or less"
    if not math.isfinite(high):
        return f"above {_text(low, column)}"
    return f"above {_text(low, column)}, up to {_text(high, column)}"
