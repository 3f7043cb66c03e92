"""Conversion of the logged metrics of a training run to one array for each metric.

A missing or infinite metric becomes NaN. A row of NaN also stands where the run went back to an
earlier iteration. Curves have a gap at NaN.
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
"""The type of the metrics of a run: for each logged iteration a dict of numbers by name."""
Bracket: TypeAlias = Mapping[str, Any]
"""The type of the final estimates of log Z and likelihoods: a dict of numbers by name.

`noneq.report.training_figure` lists the names.
"""
Series: TypeAlias = Mapping[str, Array]
"""The type of metrics as arrays: for each name an array of numbers, NaN where there is none."""
KEYS = (
    "iteration", "nll", "ess", "effective_ancestors", "resampled", "renewed", "rollback",
    "acceptance",
    "step_size", "faults", "log_z", "log_z_held_out", "log_z_held_out_stderr", "cost", "tau",
    "scale", "data_energy", "walker_energy", "loss", "rate",
)  # fmt: skip
"""The names of the metrics that are drawn, as in the lines of a run's metrics.jsonl."""


def series(metrics: Metrics) -> Series:
    """Convert the metrics of a run, one dict for each iteration, to one array for each metric.

    >>> series([{"iteration": 1, "nll": 3.0}, {"iteration": 2}])["nll"]
    array([ 3., nan])

    Arguments:
        metrics: one dict for each logged iteration, in the order of logging.

    Returns:
        An array (T,) for each of the metrics that are drawn, by name. T is the number of logged
        iterations, plus one for each time the run went back to an earlier iteration: there an
        entry is inserted that is NaN for all metrics but the iteration.

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
        The value as a float, or NaN if it is not a finite number.
    """
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan
    return found if math.isfinite(found) else math.nan


def rises(count: Array) -> NDArray[np.intp]:
    """Find where a count, such as that of resamplings, has increased.

    The count may be set back to 0 from time to time.

    Arguments:
        count: the counts (T,), NaN where there is none.

    Returns:
        The indices, in an integer array, at which the count is larger than before, or is above 0
        after it was set back.
    """
    known = np.flatnonzero(np.isfinite(count))
    step = np.diff(count[known], prepend=0.0)
    return known[(step > 0) | ((step < 0) & (count[known] > 0))]
