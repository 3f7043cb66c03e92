"""Checks of what an estimator is given: numbers of its own, rows, weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import _check_sample_weight

from noneq.estimators.arrays import Rows, extremes

__all__ = ["check_parameters", "check_whole", "visible_kind", "weighted"]

_LEAST = {
    "n_components": 1, "n_iter": 1, "batch_size": 1, "n_moves": 1, "n_walkers": 2,
    "n_temperatures": 1,
}  # fmt: skip
_BELOW = {
    "learning_rate": math.inf, "memory": math.inf, "weight_decay": math.inf, "tau": math.inf,
    "validation_fraction": 1.0,
}  # fmt: skip
_MAY_BE_NONE = {"n_walkers", "n_temperatures", "weight_decay", "tau"}


def check_parameters(given: Mapping[str, Any]) -> None:
    """Raise ValueError for a parameter of an estimator that is out of its range.

    Arguments:
        given: as ``get_params`` has them.
    """
    for name, value in given.items():
        if value is None and name in _MAY_BE_NONE:
            continue
        if name in _LEAST:
            check_whole(name, value, _LEAST[name])
        elif name in _BELOW:
            _check_number(name, value, _BELOW[name])


def check_whole(name: str, value: Any, least: int) -> None:
    """Raise ValueError unless the value is a whole number, ``least`` or more."""
    if type(value) is bool or not isinstance(value, Integral) or int(value) < least:
        raise ValueError(f"{name} must be a whole number >= {least}, got {value!r}")


def _check_number(name: str, value: Any, below: float) -> None:
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
