"""Intervals that repeated values of a table are spread over, so that the table has a density.

A value v on a grid becomes a uniform draw from its cell, ``[v - step / 2, v + step / 2)``, and so
do repeated values off any grid, with their median distance as step; the k-th category becomes a
draw from ``[k, k + 1)``; an atom a draw from an interval of its own, for which values above it
move up by its width. The draws of categories and atoms are Gaussian, 3.5 standard deviations to
either side of the middle of the interval, so that a mixture of Gaussians may have a component for
each category. With y the spread row and q(y) the density of its draws,

    ``log P(row) = log integral_cell p(y) dy >= E_q[log p(y) - log q(y)]``,

by Jensen's inequality (Theis, van den Oord, Bethge 2016, arXiv 1511.01844, section 3.1, for
uniform draws; Ho and others 2019, arXiv 1902.00275, equation 12, for others): the mean over the
draws is a lower bound of the log-probability, and no model makes it larger than the data allow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from noneq.data.kinds import Column

__all__ = ["NARROW", "Block", "Cells"]

DIGITS = 9  # decimal places of the steps of a grid
NARROW = 1 / 7
"""Standard deviation of the draws of a category or atom, as a fraction of their interval."""

EDGE = 2.0**-16  # of an interval is left out at each end, so that float32 rounds nothing across
MOST = 64  # cells of a grid for which intervals are listed


class Block(NamedTuple):
    """Intervals of a column, for `noneq.data.Margins`, in the units of the column given to it.

    Attributes:
        edges: ends of the intervals, float64 (I, 2).
        rest: the rows that a density beside them is fitted to: "none", where they are categories,
            "outside", where they are those of atoms, or "all", where they are cells of a grid.
    """

    edges: Tensor
    rest: str


@dataclass(frozen=True)
class Cells:
    """Maps rows of a table to points in intervals, and back.

    Attributes:
        columns: the columns of a row, with their kinds.

    >>> die = Cells((Column("", 1, "grid", step=1.0, offset=1.0, counted=True),))
    >>> y = die.spread(torch.tensor([[1.0], [6.0]]), torch.tensor([[0.25], [0.75]]))
    >>> [round(v, 3) for v in y.flatten().tolist()], die.collect(y).tolist()
    ([0.75, 6.25], [[1.0], [6.0]])
    """

    columns: tuple[Column, ...]

    @cached_property
    def repeats(self) -> bool:
        """Return whether a value has a probability, so that several draws of it matter."""
        return any(column.discrete for column in self.columns)

    @cached_property
    def trivial(self) -> bool:
        """Return whether no value is spread over an interval."""
        return all(column.kind == "continuous" for column in self.columns)

    @cached_property
    def _vectors(self) -> tuple[Tensor, Tensor, list[int]]:
        """Steps and offsets of the columns (D,), and the indices of atoms' and categories'."""
        own = [(c.step, c.offset) for c in self.columns]
        step, offset = torch.tensor(own, dtype=torch.float64, device="cpu").T
        return step, offset, [j for j, c in enumerate(self.columns) if c.atoms or c.levels]

    def spread(self, values: Tensor, u: Tensor) -> Tensor:
        """Map rows to points in the intervals of their values.

        Arguments:
            values: rows (M, D) in the file's units, texts as the numbers of their categories.
            u: where in its interval each value goes, in [0, 1), (M, D).

        Returns:
            The points y (M, D), float64, in the file's units, in which categories have width 1.

        Raises:
            ValueError: a value is none of the categories of its column.
        """
        values = values.double()
        u = EDGE + (1 - 2 * EDGE) * u.to(values)
        step, _, special = self._vectors
        y = values + step.to(values) * (u - 0.5)
        for j in special:
            column, v = self.columns[j], values[:, j].contiguous()
            if column.levels:
                y[:, j] = _codes(column, v) + _placed(u[:, j])
                continue
            atoms = values.new_tensor(column.atoms)
            below = torch.searchsorted(atoms, v)
            inside = torch.isin(v, atoms)
            moved = below * column.width
            own = v + moved + column.width * _placed(u[:, j])
            y[:, j] = torch.where(inside, own, y[:, j] + moved)
        return y

    def collect(self, y: Tensor) -> Tensor:
        """Map points back to the values whose intervals they are in, or nearest to.

        A count below 0 becomes 0.

        Arguments:
            y: points (M, D).

        Returns:
            The rows (M, D) in the file's units, float64; categories of texts are 0, 1, 2, ...
        """
        y = y.double()
        step, offset, special = self._vectors
        loose = torch.tensor([c.loose for c in self.columns], device="cpu")
        step, offset = step.masked_fill(loose, 0.0).to(y.device), offset.to(y.device)
        values = _rounded(y, step, offset)
        positive = torch.tensor([c.positive for c in self.columns], device=y.device)
        values = torch.where(positive, values.clamp(min=0.0), values)
        for j in special:
            column = self.columns[j]
            if column.levels:
                levels = y.new_tensor(column.levels)
                values[:, j] = levels[y[:, j].floor().long().clamp(0, len(levels) - 1)]
                continue
            atom, free = self._atoms(column, y[:, j].contiguous())
            free = _rounded(free, step[j], offset[j])
            free = free.clamp(min=0.0) if column.positive else free
            atoms = y.new_tensor(column.atoms)
            values[:, j] = torch.where(atom >= 0, atoms[atom.clamp(min=0)], free)
        return values

    @staticmethod
    def _atoms(column: Column, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the index of the atom at each point, -1 for none, and values beside atoms."""
        atoms = y.new_tensor(column.atoms)
        ends = atoms + column.width * torch.arange(1, len(atoms) + 1, device=y.device)
        passed = torch.searchsorted(ends, y, right=True)  # atoms whose interval ends below y
        here = passed.clamp(max=len(atoms) - 1)
        inside = (passed < len(atoms)) & (y >= ends[here] - column.width)
        return torch.where(inside, here, -1), y - passed * column.width

    def log_volume(self, y: Tensor, scale: Tensor) -> Tensor:
        """Compute what is added to a log-density, over the columns with probabilities.

        Arguments:
            y: points (M, D).
            scale: units of the columns (D,).

        Returns:
            ``-sum_j log(q_j(y) scale_j)`` (M,), float64, over the columns in which a value has a
            probability. For uniform draws ``-log q`` is the logarithm of the width of the cell.
        """
        return self._widths(y, scale).nan_to_num(0.0).sum(1)

    def log_units(self, y: Tensor, scale: Tensor) -> Tensor:
        """Compute ``-sum_j log scale_j`` (M,) over the columns in which a row has a density.

        Arguments:
            y: points (M, D).
            scale: units of the columns (D,).

        Returns:
            What is added to a log-likelihood in units of ``scale`` for one in the file's units.
        """
        has_density = self._widths(y, scale).isnan()
        return -(has_density * scale.to(y.device).double().log()).sum(1)

    def _widths(self, y: Tensor, scale: Tensor) -> Tensor:
        """Return ``-log(q scale)`` (M, D), NaN where a row has a density."""
        own = [1.0 if c.levels else c.step if c.counted else torch.nan for c in self.columns]
        scale = scale.to(y.device).double()
        widths = y.new_tensor(own, dtype=torch.float64).log().expand(y.shape).clone()
        for j in self._vectors[2]:
            column, here = self.columns[j], y[:, j].double().contiguous()
            if column.levels:
                widths[:, j] = -_log_q(here - here.floor().clamp(0, len(column.levels) - 1))
                continue
            atom, free = self._atoms(column, here)
            start = y.new_tensor(column.atoms, dtype=torch.float64)[atom.clamp(min=0)]
            own_width = math.log(column.width) - _log_q((free - start) / column.width)
            widths[:, j] = torch.where(atom >= 0, own_width, widths[:, j])
        return widths - scale.log()

    def blocks(self, values: Tensor, shift: Tensor, scale: Tensor) -> list[Block | None]:
        """List the intervals of each column.

        Arguments:
            values: training rows (M, D), in the file's units.
            shift: shift of the columns (D,).
            scale: scale of the columns (D,); the intervals are shifted and scaled.

        Returns:
            For each column its intervals: of its categories, its atoms, or the cells of a grid
            between the least and the largest value, if they are at most 64; else None.
        """
        return [
            None if block is None else Block((block.edges - shift[j]) / scale[j], block.rest)
            for j, block in enumerate(map(_block, self.columns, values.double().cpu().T))
        ]

    def with_ranges(self, values: Any) -> Cells:
        """Return the same columns with the ranges of training rows (M, D), in the file's units."""
        ends = zip(self.columns, values.min(0).tolist(), values.max(0).tolist(), strict=True)
        ranged = (c if c.levels else replace(c, low=low, high=high) for c, low, high in ends)
        return Cells(tuple(ranged))

    def plain(self) -> list[dict[str, Any]]:
        """Convert the columns to dictionaries for a JSON file."""
        return [column.plain() for column in self.columns]

    @classmethod
    def from_plain(cls, plain: Sequence[dict[str, Any]]) -> Cells:
        """Restore cells from what `plain` returned."""
        return cls(tuple(Column.from_plain(one) for one in plain))


REACH = 0.5 / NARROW  # half an interval in standard deviations
INSIDE = math.erf(REACH / math.sqrt(2))  # mass of a Gaussian there


def _placed(u: Tensor) -> Tensor:
    """Map uniform numbers to draws of a Gaussian in the middle of [0, 1), restricted to it."""
    place: Tensor = 0.5 + NARROW * torch.special.ndtri((1 - INSIDE) / 2 + INSIDE * u)
    return place.clamp(EDGE, 1 - EDGE)


def _log_q(place: Tensor) -> Tensor:
    """Return the log-density of such draws at places in [0, 1)."""
    normal = -((place - 0.5) / NARROW).square() / 2 - math.log(NARROW * INSIDE)
    return normal - math.log(2 * math.pi) / 2


def _rounded(y: Tensor, step: Tensor, offset: Tensor) -> Tensor:
    """Return the values of the grid nearest to y, as decimals where step and offset are some."""
    k = ((y - offset) / step.clamp(min=1e-300)).round()
    on_grid, decimal = offset + step * k, torch.zeros_like(step, dtype=torch.bool)
    for digits in range(DIGITS + 1):
        steps, start = step * 10**digits, offset * 10**digits
        off = torch.maximum((steps - steps.round()).abs(), (start - start.round()).abs())
        here = ~decimal & (off < 1e-5) & (steps.round() > 0)
        exact = (start.round() + k * steps.round()) / 10**digits
        on_grid, decimal = torch.where(here, exact, on_grid), decimal | here
    return torch.where(step > 0, on_grid, y)


def _codes(column: Column, values: Tensor) -> Tensor:
    """Return the number of the category of each value (M,)."""
    levels = values.new_tensor(column.levels)
    codes = torch.searchsorted(levels, values).clamp(max=len(levels) - 1)
    other = (levels[codes] != values).nonzero().flatten()
    if len(other):
        raise ValueError(
            f"{column.called}: {float(values[other[0]]):g} is none of its categories, which are "
            + ", ".join(f"{v:g}" for v in column.levels[:20])
        )
    return codes


def _block(column: Column, values: Tensor) -> Block | None:
    if column.levels:
        low = torch.arange(len(column.levels), dtype=torch.float64, device="cpu")
        return Block(torch.stack([low, low + 1], 1), "none")
    if column.atoms:
        k = torch.arange(len(column.atoms), dtype=torch.float64, device="cpu")
        low = torch.tensor(column.atoms, dtype=torch.float64, device="cpu") + column.width * k
        return Block(torch.stack([low, low + column.width], 1), "outside")
    if column.kind != "grid":
        return None
    least, most = float(values.min()), float(values.max())
    cells = round((most - least) / column.step) + 1
    if cells > MOST:
        return None
    low = least + column.step * (torch.arange(cells, dtype=torch.float64, device="cpu") - 0.5)
    return Block(torch.stack([low, low + column.step], 1), "all")
