"""Metrics of a run as columns of numbers, from the dicts that were logged.

A missing or infinite metric is a gap, NaN, and so is the place where a run went back to an earlier
iteration, so that lines drawn through a column are interrupted there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from noneq.report.axes import Array

__all__ = ["KEYS", "Bracket", "Metrics", "Series", "number", "rises", "series"]

Metrics: TypeAlias = Sequence[Mapping[str, Any]]
"""The metrics of a run: one dict for each logged iteration."""
Bracket: TypeAlias = Mapping[str, Any]
"""log Z and likelihoods of a trained model."""
Series: TypeAlias = Mapping[str, Array]
"""One column of numbers for each metric, NaN where there is none."""
KEYS = (
    "iteration", "nll", "ess", "effective_ancestors", "resampled", "renewed", "rollback",
    "acceptance",
    "step_size", "faults", "log_z", "log_z_held_out", "log_z_held_out_stderr", "cost", "tau",
    "scale", "data_energy", "walker_energy", "loss", "rate",
)  # fmt: skip
"""The names of the metrics that are drawn."""


def series(metrics: Metrics) -> Series:
    """Convert the metrics of a run, one dict for each iteration, to one array for each metric.

    >>> series([{"iteration": 1, "nll": 3.0}, {"iteration": 2}])["nll"]
    array([ 3., nan])

    Arguments:
        metrics: one dict for each logged iteration, in the order of logging.

    Returns:
        A column for each name in `KEYS`. Where the iteration does not increase, because the run
        went back, a row is inserted in which all else is NaN.

    Raises:
        ValueError: if there are no metrics.
    """
    if not metrics:
        raise ValueError("a picture of training needs metrics, got none: has the run begun?")
    rows: list[Mapping[str, Any]] = []
    for row in metrics:
        if rows and row["iteration"] <= rows[-1]["iteration"]:
            rows.append({"iteration": row["iteration"]})
        rows.append(row)
    return {key: np.array([number(row.get(key)) for row in rows]) for key in KEYS}


def number(value: Any) -> float:
    """Convert a logged value to a number.

    Arguments:
        value: the logged value, of any type.

    Returns:
        The number, or NaN if the value is not a finite number.
    """
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan
    return found if math.isfinite(found) else math.nan


def rises(count: Array) -> NDArray[np.intp]:
    """Find where a count has increased that is set back to 0 from time to time.

    Arguments:
        count: the counts, NaN where there is none.

    Returns:
        The indices at which the count is larger than before, or above 0 after a restart.
    """
    known = np.flatnonzero(np.isfinite(count))
    step = np.diff(count[known], prepend=0.0)
    return known[(step > 0) | ((step < 0) & (count[known] > 0))]
