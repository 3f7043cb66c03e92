"""What of a source is asked for, and its rows in training, validation and test splits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray

from noneq.data.cells import Cells
from noneq.data.kinds import LeftOut
from noneq.data.scaling import Scaling
from noneq.data.tables import TableChoice

__all__ = ["Array", "Choice", "Parts"]

Array = NDArray[Any]
"""An array of numbers of any type."""


class Parts(NamedTuple):
    """Holds training, validation and test rows in the units of the file, not scaled yet.

    Attributes:
        train: training rows (M, *shape).
        validation: validation rows (M, *shape).
        test: test rows (M, *shape).
        columns: the names of a table's columns; empty if it has none.
        scaling: the scaling of a data set that is known by name, such as "digits"; None: it is
            still to be computed from the training rows.
        cells: the columns of a table with their kinds; None: they were not looked for.
        left_out: the columns of a table that are left out, with reasons.
        gaps: the number of rows left out for missing values.
        labels: the class labels of the rows of each split; None: they were not asked for.
    """

    train: Array
    validation: Array
    test: Array
    columns: tuple[str, ...] = ()
    scaling: Scaling | None = None
    cells: Cells | None = None
    left_out: tuple[LeftOut, ...] = ()
    gaps: int = 0
    labels: Sequence[Array] | None = None


class Choice(NamedTuple):
    """Holds which rows of a data set to select, and the random generator to draw them with.

    Attributes:
        classes: class labels of the rows to keep; None: all rows.
        subset: the number of rows to keep of each class; None: all rows of these classes.
        rng: random generator on the CPU, for the choice of rows and for splits.
        table: which columns and rows of a table to take, and kinds of its columns.
        kinds: whether the kinds of a table's columns are found; otherwise all hold numbers.
        labels: whether the labels of images are kept beside them.
    """

    classes: Sequence[int] | None
    subset: Sequence[int] | None
    rng: torch.Generator
    table: TableChoice = TableChoice()
    kinds: bool = True
    labels: bool = False

    @property
    def everything(self) -> bool:
        """Return True if all rows are kept, False if they are chosen by class or number."""
        return self.classes is None and self.subset is None
