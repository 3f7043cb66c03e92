"""Where the samples of a table's model differ most from its rows: in columns, and in pairs.

A likelihood says how well a model fits on the whole, and not where it does not. Rows are grouped
by each column: by its categories or few values, or in quarters. Within each group shares of every
other column are compared between rows and weighted samples (`noneq.run.shares`). Of n independent
rows and m samples with the shares p and q, and the share r of both together, the difference counts
where

    ``n KL(p, r) + m KL(q, r) > log(2 C / 0.01)``,

KL the relative entropy of two coins and C the number of comparisons. By Chernoff's bound (1952)
``exp(-n KL(p, r))`` bounds the probability of a share as far away as p from a true share r, so
that chance alone finds any difference in hardly one of a hundred tables.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from noneq.data import DataSet
from noneq.data.kinds import Column
from noneq.energies import Energy, Solvable
from noneq.random import add_noise
from noneq.run.bases import some
from noneq.run.folder import Run
from noneq.run.shares import Events, error_of, evidence_of, span_of, text_of
from noneq.walkers import Walkers

__all__ = ["LARGE", "Difference", "differences", "differences_of", "told"]

Array: TypeAlias = NDArray[np.float64]

ROWS = 4000  # rows that samples are compared with, at most
SAMPLES = 8192  # of the base, reweighted to the model, where they are worth more than the walkers
WIDE = 60  # columns that are compared, the first ones
FEW = 5  # different numbers that are groups of their own, at most; others are put in quarters
LEAST = 20  # rows, and independent samples, of a group that is looked at
CHANCE = 0.01  # that any difference is found by chance, in all comparisons together
LARGE = 0.1
"""Difference of two shares that a verdict mentions."""

KEPT = 12  # differences that are kept
PREFERRED = 1.25  # of a pair, a difference within a category stands for one of up to so much more


@dataclass(frozen=True)
class Difference:
    """A share of the rows of a table, and that of the samples of its model.

    Attributes:
        among: group of rows in words, e.g. "ward is surgery"; "all rows".
        what: what the share is of, e.g. "age is 17 or less".
        data: the share of the rows in the group, 0 to 1.
        model: the share of the samples in the group, by their weights.
        stderr: standard error of the difference of both.
    """

    among: str
    what: str
    data: float
    model: float
    stderr: float

    @property
    def size(self) -> float:
        """Return the absolute difference of both shares."""
        return abs(self.data - self.model)


def differences_of(
    run: Run, data: DataSet, energy: Energy, base: Energy, walkers: Walkers
) -> tuple[Difference, ...] | None:
    """Find where the samples of a run's model differ from its training and validation rows.

    Arguments:
        run: run whose data are a table.
        data: its data, in the model's units.
        energy: its model.
        base: its base; samples of it are reweighted to the model and taken in place of the
            walkers, where they are worth more independent samples.
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
    if isinstance(base, Solvable):
        more = Walkers.sample(base, SAMPLES, rng).reweight(energy)
        walkers = max(walkers, more, key=_worth)
    shown, samples = (run.scaling.undo(x).cpu().numpy() for x in (rows, walkers.x))
    p = walkers.p.detach().double().cpu().numpy()
    return differences(shown, samples, p, columns, _worth(walkers))


def _worth(walkers: Walkers) -> float:
    """Return the number of independent samples that walkers are worth."""
    return min(walkers.ess * len(walkers), walkers.effective_ancestors)


def differences(
    rows: Array, samples: Array, p: Array, columns: Sequence[Column], worth: float
) -> tuple[Difference, ...]:
    """Find where weighted samples differ from rows by more than chance.

    Of a pair of columns the larger difference is taken: that of the one within groups of the
    other, or the reverse; groups by a category are preferred. It is listed only where those of
    both columns by themselves, and chance, do not explain it.

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
    shrink = min(1.0, worth * float((p**2).sum()))
    kept: list[tuple[_Group, int, float]] = []
    shares: list[tuple[Array, Array]] = []
    for group in _groups(rows, samples, columns):
        weights = p * group.samples
        mass, many = float(weights.sum()), int(group.rows.sum())
        independent = shrink * mass**2 / max(float((weights**2).sum()), 1e-300)
        if many >= LEAST and independent >= LEAST:
            kept.append((group, many, independent))
            shares.append((group.rows / many, weights / mass))
    if not kept:
        return ()
    of_rows, of_samples = (np.stack(parts) for parts in zip(*shares, strict=True))
    events = [Events.of(*both) for both in zip(columns, rows.T, samples.T, strict=True)]
    comparisons = sum(len(e.words) for e in events) * len(kept)
    own: dict[tuple[int, int], tuple[float, Difference]] = {}
    for j, event in enumerate(events):
        data, model = of_rows @ event.rows, of_samples @ event.samples  # (groups, events)
        for (group, many, independent), p_data, p_model in zip(kept, data, model, strict=True):
            evidence = evidence_of(p_data, p_model, many, independent)
            k = int(evidence.argmax())
            if group.column == j or evidence[k] < math.log(2 * comparisons / CHANCE):
                continue
            both = float(p_data[k]), float(p_model[k])
            error = math.hypot(error_of(both[0], many), error_of(both[1], independent))
            found = Difference(group.words, event.words[k], *both, error)
            pair = min(group.column, j), max(group.column, j)
            named = group.column >= 0 and bool(columns[group.column].levels)
            rank = found.size * (PREFERRED if named else 1.0)
            if pair not in own or rank > own[pair][0]:
                own[pair] = rank, found
    return _listed({pair: found for pair, (_, found) in own.items()})


def _listed(own: Mapping[tuple[int, int], Difference]) -> tuple[Difference, ...]:
    """Leave out pairs whose columns differ as much by themselves, and sort by size."""
    alone = {j: one.size for (i, j), one in own.items() if i < 0}
    shown = [
        one
        for (i, j), one in own.items()
        if i < 0 or one.size > max(alone.get(i, 0.0), alone.get(j, 0.0)) + 3 * one.stderr
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
    others = f" The report lists {more} more." if more else ""
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
                words = f"{column.called} is {text_of(value, column)}"
                yield _Group(j, words, x == value, y == value)
            continue
        ends = [-math.inf, *np.unique(np.quantile(x, (0.25, 0.5, 0.75))), math.inf]
        for low, high in itertools.pairwise(ends):
            words = f"{column.called} is {span_of(low, high, column)}"
            yield _Group(j, words, (x > low) & (x <= high), (y > low) & (y <= high))
