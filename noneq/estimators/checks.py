"""Checks of the arguments of an estimator: its parameters, rows and sample weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import _check_sample_weight, validate_data

from noneq.estimators.arrays import Rows, extremes
from noneq.estimators.frames import Frames

__all__ = ["check_parameters", "check_whole", "complete_rows", "visible_kind", "weighted"]

_LEAST = {
    "n_components": 1, "n_iter": 1, "batch_size": 1, "n_moves": 1, "n_walkers": 2,
    "n_temperatures": 1,
}  # fmt: skip
_RANGES: dict[str, tuple[Callable[[float], bool], str]] = {
    "learning_rate": (lambda v: 0 <= v < math.inf, "0 or more"),
    "weight_decay": (lambda v: 0 <= v < math.inf, "0 or more"),
    "tau": (lambda v: 0 < v < math.inf, "above 0"),
    "forgetting_factor": (lambda v: 0 <= v <= 1, "from 0 to 1"),
    "validation_fraction": (lambda v: 0 <= v < 1, "0 or more and below 1"),
}
_MAY_BE_NONE = {"n_walkers", "n_temperatures", "weight_decay", "tau"}


def check_parameters(given: Mapping[str, Any]) -> None:
    """Check that the numeric parameters of an estimator are in their ranges.

    Arguments:
        given: parameters of the estimator by name, as scikit-learn's ``get_params`` returns
            them.

    Raises:
        ValueError: a parameter is out of its range.
    """
    for name, value in given.items():
        if value is None and name in _MAY_BE_NONE:
            continue
        if name in _LEAST:
            check_whole(name, value, _LEAST[name])
        elif name in _RANGES:
            inside, words = _RANGES[name]
            if not isinstance(value, Real) or not inside(float(value)):
                raise ValueError(f"{name} must be a number, {words}, got {value!r}")


def check_whole(name: str, value: Any, least: int) -> None:
    """Check that a parameter is a whole number of at least ``least``.

    Arguments:
        name: name of the parameter, for the error.
        value: value of the parameter.
        least: smallest value that is allowed.

    Raises:
        ValueError: the value is not a whole number, or less than ``least``.
    """
    if type(value) is bool or not isinstance(value, Integral) or int(value) < least:
        raise ValueError(f"{name} must be a whole number >= {least}, got {value!r}")


def visible_kind(x: Rows, wanted: str, *, chosen: bool = False) -> str:
    """Choose the kind of visible units of an RBM for rows of data.

    "auto" becomes "bernoulli" if all values are in [0, 1], and "gaussian" otherwise.

    Arguments:
        x: rows (M, d), dense or sparse.
        wanted: kind that the user asks for: "bernoulli", "gaussian" or "auto".
        chosen: whether "auto" became ``wanted`` at an earlier call, for the error's text.

    Returns:
        The kind, "bernoulli" or "gaussian".

    Raises:
        ValueError: ``wanted`` is none of the three, or is "bernoulli" and a value is not in
            [0, 1].
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
    """Check the sample weights of rows, and remove rows of weight zero.

    Arguments:
        x: rows (M, d), dense or sparse, or any array with M entries.
        sample_weight: weights (M,), 0 or more; None: all weights are 1.

    Returns:
        The m <= M rows of positive weight, and their weights (m,), float64.

    Raises:
        ValueError: a weight is negative or not finite, or all weights are 0.
    """
    weight: NDArray[np.float64] = _check_sample_weight(
        sample_weight, x, dtype=np.float64, ensure_non_negative=True
    )
    if not weight.any():
        raise ValueError("sample_weight is 0 for every row: there is nothing to learn from")
    return (x, weight) if weight.all() else (x[weight > 0], weight[weight > 0])


def complete_rows(
    estimator: Any, X: Any, frames: Frames | None = None, *, missing: bool = False, **how: Any
) -> NDArray[np.float64]:
    """Check that rows are numbers, by scikit-learn's ``validate_data``, with errors of one line.

    Arguments:
        estimator: estimator whose number and names of columns are set or checked.
        X: rows, any array-like (M, d), or a frame.
        frames: categories of texts, which become their numbers; None: rows hold numbers.
        missing: whether values may be missing, i.e. NaN.
        how: further arguments of ``validate_data``, e.g. ``reset``.

    Returns:
        The rows (M, d), float64.

    Raises:
        ValueError: the rows are not finite numbers, or have other columns or categories than in
            ``fit``.
    """
    finite: Any = "allow-nan" if missing else True
    X = X if frames is None else frames.encoded(X)
    try:
        found: NDArray[np.float64] = validate_data(
            estimator, X, dtype=np.float64, ensure_all_finite=finite, **how
        )
    except ValueError as error:
        first, *more = str(error).splitlines()
        if "contains NaN" not in first or not more:
            raise
        raise ValueError(
            f"{first} Leave rows with missing values out, or, of a fitted estimator, let "
            "sample_conditional fill them in."
        ) from error
    return found
