"""Events of a table's columns, of which rows and samples have shares, and how they differ."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import rel_entr

from noneq.data.kinds import Column

__all__ = ["Events", "error_of", "evidence_of", "span_of", "text_of"]

Array: TypeAlias = NDArray[np.float64]

CUTS = 20  # numbers up to which shares of a column are compared, and between which


class Events(NamedTuple):
    """Events of a column, of which rows and samples have shares.

    Attributes:
        words: what each of K events is, e.g. "age is 17 or less".
        rows, samples: whether each row and each sample is one, 0.0 or 1.0 (M, K) and (N, K).
    """

    words: Sequence[str]
    rows: Array
    samples: Array

    @classmethod
    def of(cls, column: Column, rows: Array, samples: Array) -> Events:
        """Make the events of each category, or of values up to some numbers and between two.

        Arguments:
            column: the column.
            rows: its values in the rows (M,).
            samples: its values in the samples (N,).

        Returns:
            The events.
        """
        values = np.unique(rows)
        if column.levels:
            words = [f"{column.called} is {text_of(v, column)}" for v in column.levels]
            levels = np.arange(len(column.levels)) if column.texts else np.array(column.levels)
            both = ((x[:, None] == levels).astype(float) for x in (rows, samples))
            return cls(words, *both)
        cuts = values
        if len(values) > CUTS:
            inner = np.linspace(0, 1, CUTS)[1:-1]
            every = np.concatenate([rows, samples])
            ends = [values[0] - 1e-9 * np.ptp(values), values[-1]]  # all rows lie between them
            cuts = np.unique([*np.quantile(every, inner, method="lower"), *ends])
        least = min(rows.min(), samples.min())
        words = [
            f"{column.called} is {text_of(v, column)}" + (" or less" if v > least else "")
            if v >= values[0]
            else f"{column.called} is below {text_of(values[0], column)}"
            for v in cuts
        ]
        words += [
            f"{column.called} is {span_of(low, high, column)}"
            for low, high in itertools.pairwise(cuts)
        ]
        below = [(x[:, None] <= cuts).astype(float) for x in (rows, samples)]
        return cls(words, *(np.concatenate([one, np.diff(one, axis=1)], 1) for one in below))


def evidence_of(p: Array, q: Array, n: float, m: float) -> Array:
    """Compute how sure it is that shares differ: a logarithm of a ratio of likelihoods.

    Arguments:
        p: shares of the rows (K,).
        q: shares of the samples (K,).
        n: number of independent rows.
        m: number of independent samples.

    Returns:
        ``n KL(p, r) + m KL(q, r)`` (K,), where r is the share of both together.
    """
    p, q = p.clip(0.0, 1.0), q.clip(0.0, 1.0)
    r = (n * p + m * q) / (n + m)
    found: Array = n * (rel_entr(p, r) + rel_entr(1 - p, 1 - r))
    found += m * (rel_entr(q, r) + rel_entr(1 - q, 1 - r))
    return found


def error_of(share: float, many: float) -> float:
    """Compute the standard error of a share, which is not 0 where the share is.

    Arguments:
        share: the share, 0 to 1.
        many: number of independent values that it is the share of.

    Returns:
        The standard error.
    """
    p = (share * many + 0.5) / (many + 1)
    return math.sqrt(p * (1 - p) / many)


def text_of(value: Any, column: Column) -> str:
    """Return a value of a column as text.

    Arguments:
        value: the value; a category of texts is a number from 0.
        column: the column.

    Returns:
        The text.
    """
    return column.texts[int(value)] if column.texts else f"{float(value):.4g}"


def span_of(low: float, high: float, column: Column) -> str:
    """Say in words that a value is above one number, and at most another.

    Arguments:
        low: the value is above it; -inf: above nothing.
        high: the value is at most this; inf: it has no end.
        column: column of the value.

    Returns:
        E.g. "above 3, up to 5".
    """
    if not math.isfinite(low):
        return f"{text_of(high, column)} or less"
    if not math.isfinite(high):
        return f"above {text_of(low, column)}"
    return f"above {text_of(low, column)}, up to {text_of(high, column)}"
