"""Checks of what an estimator is given: numbers of its own, rows, weights."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import _check_sample_weight

from noneq.estimators.arrays import Rows, extremes

__all__ = ["check_number", "check_whole", "visible_kind", "weighted"]


def check_whole(name: str, value: Any, least: int) -> None:
    """Raise ValueError unless the value is a whole number, ``least`` or more."""
    if type(value) is bool or not isinstance(value, Integral) or int(value) < least:
        raise ValueError(f"{name} must be a whole number >= {least}, got {value!r}")


def check_number(name: str, value: Any, below: float = math.inf) -> None:
    """Raise ValueError unless the value is a number in [0, below)."""
    if not isinstance(value, Real) or not 0 <= float(value) < below:
        most = "" if below == math.inf else f" and below {below:g}"
        raise ValueError(f"{name} must be a number, 0 or more{most}, got {value!r}")


def visible_kind(x: Rows, wanted: str, *, chosen: bool = False) -> str:
    """The kind of visible units that these rows allow, "bernoulli" or "gaussian".

    Arguments:
        x: rows (M, d).
        wanted: the one, or "auto".
        chosen: whether earlier rows have chosen it.

    Raises ValueError for rows that are not in [0, 1] where they have to be.
    """
    if wanted not in ("auto", "bernoulli", "gaussian"):
        raise ValueError(f"visible is 'auto', 'bernoulli' or 'gaussian', got {wanted!r}")
    least, most = (float(f(e)) for f, e in zip((np.min, np.max), extremes(x), strict=True))
    inside = least >= 0 and most <= 1
    if wanted == "bernoulli" and not inside:
        once = " (the rows of the first call did)" if chosen else ""
        raise ValueError(
            f"bits and their probabilities lie in [0, 1]{once}, these values from {least:.4g} to "
            f"{most:.4g}: scale them (sklearn.preprocessing.minmax_scale), make bits of them "
            "(sklearn.preprocessing.Binarizer), or take visible='gaussian' for numbers, from the "
            "start"
        )
    return wanted if wanted != "auto" else "bernoulli" if inside else "gaussian"


def weighted(x: Rows, sample_weight: Any) -> tuple[Rows, NDArray[np.float64]]:
    """The rows of positive weight, and their weights; all 1 for None.

    Raises ValueError for weights that are negative, not finite or all 0.
    """
    weight: NDArray[np.float64] = _check_sample_weight(
        sample_weight, x, dtype=np.float64, ensure_non_negative=True
    )
    if not weight.any():
        raise ValueError("sample_weight is 0 for every row: there is nothing to learn from")
    return (x, weight) if weight.all() else (x[weight > 0], weight[weight > 0])
