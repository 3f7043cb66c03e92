"""The kinds of the columns of a table, found from their values.

=========== ============================================== =====================================
kind        values                                         likelihood
=========== ============================================== =====================================
continuous  hardly any value is repeated                   density
rounded     repeated, on a grid whose cells are narrow     density
rounded     repeated, off any grid (``loose``)             density
grid        repeated, on a grid whose cells are wide       probability of a cell
atoms       one or more values hold over 5 % of the rows   probability of an atom, or as above
category    texts, or few numbers off any grid             probability of a category
=========== ============================================== =====================================

A column in which values repeat has no density: a model could make its likelihood as large as it
likes by a peak on them. `noneq.data.cells` spreads such values over intervals. Constant columns,
identifiers of the rows, and free text are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from noneq.data.identifiers import DIFFERENT, identifies, is_whole
from noneq.data.plaintext import visible

__all__ = ["Column", "LeftOut", "grid_of", "kind_of", "kind_of_words"]

ATOM = 0.05  # share of the rows that makes a value an atom
OFTEN = 5  # times the frequency of the values beside it, at least, of an atom
LARGE, CLEAR = 20, 0.15  # rows, or share of them, at least, of an atom of rounded values
NEAR = 6  # values on either side that an atom is compared with
MOSTLY = 0.95  # share of the rows on a grid on which values are rounded, with exceptions
REPEATED = 0.1  # share of the rows with repeated values that make cells of those off any grid
FEW = 20  # different numbers that are categories, at most
FEWEST = 4  # different numbers that are categories even where they are on a dense grid
TEXTS = 100  # different texts that are categories, at most
WHOLE, PARTS = 4, 10  # rows for each different value of a grid of integers, or of other steps
COARSE = 8  # cells in a standard deviation, at most, of a grid
DIGITS = 6  # decimals of a grid, at most
NAME = 40  # characters of a name in a message

Kind = Literal["continuous", "rounded", "grid", "atoms", "category"]
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Column:
    """A column of a table and its kind, with what is needed to spread its values over intervals.

    Attributes:
        name: name of the column; empty if it has none.
        number: its position in the file, from 1.
        kind: "continuous", "rounded", "grid", "atoms" or "category".
        step: width of a cell of the grid, in the file's units; 0: there is no grid.
        offset: a value of the grid.
        counted: whether values on the grid have probabilities; otherwise they have densities.
        positive: whether samples below 0 become 0, as no value on the grid is negative.
        atoms: values of the atoms, in increasing order.
        width: width of the interval that each atom is spread over, in the file's units.
        loose: whether values lie off any grid; ``step`` is then the width of a cell around each.
        levels: numbers of the categories, in increasing order: 0, 1, 2, ... for texts.
        texts: texts of the categories; empty if they are numbers.
        low, high: smallest and largest value of the training rows; None: not known, or categories.
    """

    name: str
    number: int
    kind: Kind = "continuous"
    step: float = 0.0
    offset: float = 0.0
    counted: bool = False
    positive: bool = False
    atoms: tuple[float, ...] = ()
    width: float = 0.0
    loose: bool = False
    levels: tuple[float, ...] = ()
    texts: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None

    @property
    def called(self) -> str:
        """Return the name of the column in messages, or its number if it has none."""
        return visible(self.name, NAME) if self.name else f"column {self.number}"

    @property
    def discrete(self) -> bool:
        """Return whether each value, or each but those beside atoms, has a probability."""
        return self.kind in ("grid", "category", "atoms")

    @property
    def whole(self) -> bool:
        """Return whether the values are integers."""
        return self.step >= 1 and self.step.is_integer() and self.offset.is_integer()

    def plain(self) -> dict[str, Any]:
        """Convert the column to a dictionary for a JSON file, without what is unset."""
        own, unset = asdict(self), asdict(Column("", 0))
        return {k: v for k, v in own.items() if v != unset[k] or k in ("name", "number")}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Column:
        """Restore a column from the dictionary that `plain` returned."""
        own: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in plain.items()}
        return cls(**own)


class LeftOut(NamedTuple):
    """A column that is left out, and why.

    Attributes:
        called: name or number of the column.
        why: reason in a few words, e.g. "constant".
    """

    called: str
    why: str


def kind_of(
    values: Values, *, single: bool = False, distinct: int | None = None
) -> dict[str, Any] | str:
    """Find the kind of a column of numbers.

    Arguments:
        values: the values (M,) of the rows.
        single: whether they were stored as float32, whose decimals are inexact.
        distinct: number of different rows, if the others are copies; default: M.

    Returns:
        Fields of a `Column`, "kind" among them; or the reason to leave the column out.

    >>> import numpy as np
    >>> kind_of(np.arange(60.0) % 12 + 1950)
    {'kind': 'grid', 'step': 1.0, 'offset': 1950.0, 'counted': True, 'positive': True}
    >>> kind_of(np.array([0.3, 0.7, 1.1, 2.5]))
    {'kind': 'continuous'}
    >>> kind_of(np.arange(60.0))
    'numbers the rows'
    """
    found, times = np.unique(values, return_counts=True)
    n, many = len(values), len(found)
    if many == 1:
        return "constant"
    if many == n:
        return identifies(values) or {"kind": "continuous"}
    if many == distinct and not _atoms(found, times):
        return {"kind": "continuous"}  # values are repeated where rows are copied
    step, offset = grid_of(found, single=single)
    few = many <= FEW and 4 * many <= n
    if few and (not step or many <= FEWEST or 2 * many < (found[-1] - found[0]) / step):
        return {"kind": "category", "levels": tuple(found.tolist())}
    sd = float(values.std())
    coarse = step * COARSE >= sd
    rough = 0.0 if coarse else _mostly(values, step)
    step, offset = (rough, 0.0) if rough else (step, offset)
    heavy = () if step and coarse else _atoms(found, times, rounded=step > 0)
    on_grid: dict[str, Any] = {"step": step, "offset": offset} if step else {}
    rest = values[~np.isin(values, heavy)]
    if heavy and len(np.unique(rest)) == len(rest):
        step = 0.0  # no other value is repeated
        on_grid = {}
    if step:
        least = WHOLE if is_whole(found) else PARTS
        on_grid["counted"] = not rough and (coarse or many * least <= n)
        on_grid["positive"] = bool(on_grid["counted"] and found[0] >= 0)
    elif gap := _gap(rest, 0 if distinct is None else n - distinct):
        on_grid = {"step": gap, "loose": True}
    if heavy:
        width = float(rest.std()) or sd
        return {"kind": "atoms", **on_grid, "atoms": heavy, "width": width}
    if not on_grid:
        return {"kind": "continuous"}
    return {"kind": "grid" if on_grid.get("counted") else "rounded", **on_grid}


def _gap(values: Values, copies: int) -> float:
    """Return the median distance of values of which many are repeated; 0: few are, or one is left.

    A row that copies another repeats its value, and does not count.
    """
    found = np.unique(values)
    if len(values) - len(found) - copies <= REPEATED * len(values):
        return 0.0
    gaps = np.diff(found)
    gaps = gaps[gaps > 1e-9 * np.ptp(values)]  # others are rounding errors
    return float(np.median(gaps)) if len(gaps) else 0.0


def _atoms(found: Values, times: NDArray[Any], *, rounded: bool = False) -> tuple[float, ...]:
    """Return the values of over 5 % of the rows, and far more than their neighbours have."""
    share, n = times / times.sum(), len(found)
    enough = (share > ATOM) & (~np.full(n, rounded) | (times >= LARGE) | (share >= CLEAR))
    often = np.flatnonzero(enough)
    # of the nearest values, some of which may be atoms themselves, the median
    low = np.clip(often - NEAR, 0, max(0, n - 2 * NEAR - 1))
    beside = [float(np.median(share[i : i + 2 * NEAR + 1])) for i in low]
    return tuple(found[i] for i, own in zip(often, beside, strict=True) if share[i] > OFTEN * own)


def _mostly(values: Values, step: float) -> float:
    """Return a decimal step wider than ``step`` of a grid with nearly all values; 0: none."""
    for digits in range(DIGITS + 1):
        if 10.0**-digits <= 1.5 * step:
            return 0.0
        scaled = values * 10.0**digits
        # an error of 1e-6 at values of one million, at most .01: no number is near to all others
        slack = np.minimum(1e-6 + 1e-12 * np.abs(scaled), 0.01)
        if (np.abs(scaled - np.rint(scaled)) < slack).mean() >= MOSTLY:
            return 10.0**-digits
    return 0.0


def kind_of_words(codes: NDArray[np.int64], texts: Sequence[str]) -> dict[str, Any] | str:
    """Find the kind of a column of texts.

    Arguments:
        codes: index of the text of each row (M,).
        texts: the different texts, in increasing order.

    Returns:
        Fields of a `Column`, which is a category; or the reason to leave the column out.
    """
    many, n = len(texts), len(codes)
    if many == 1:
        return "constant"
    if many == n:
        return DIFFERENT
    if (many <= FEW and 2 * many <= n) or many <= min(TEXTS, n // 10):
        levels = tuple(float(i) for i in range(many))
        return {"kind": "category", "levels": levels, "texts": tuple(texts)}
    return f"text, {many:,} different ones"


def grid_of(found: Values, *, single: bool = False) -> tuple[float, float]:
    """Find the coarsest grid ``offset + step k``, k an integer, on which values lie.

    Decimals are tried first, so that values such as 0.1, 0.3 have exact steps; then multiples of
    the smallest distance of two values, for numbers that have been standardised.

    Arguments:
        found: different values (K,), in increasing order.
        single: whether they were stored as float32.

    Returns:
        Step and offset; zeros if the values lie on no grid of at most 100,000 cells.
    """
    if len(found) < 2:
        return 0.0, 0.0
    most, precision = float(np.abs(found).max()), 2e-7 if single else 1e-14
    for digits in range(DIGITS + 1):
        scaled = found * 10.0**digits
        slack = 1e-6 + precision * most * 10.0**digits
        if slack > 0.02 or most * 10.0**digits >= 2**53:
            break
        near = np.rint(scaled)
        if (np.abs(scaled - near) <= slack).all():
            cells = int(np.gcd.reduce(np.diff(near).astype(np.int64)))
            return cells / 10.0**digits, float(near[0]) / 10.0**digits
    least = float(np.diff(found).min())
    cells = (found - found[0]) / least
    if len(found) < 3 or cells[-1] > 1e5:
        return 0.0, 0.0
    near = np.rint(cells)
    step = float(found[-1] - found[0]) / float(near[-1])
    slack = 1e-3 + precision * most / step
    fits = slack < 0.02 and (np.abs((found - found[0]) / step - near) <= slack).all()
    return (step, float(found[0])) if fits else (0.0, 0.0)
