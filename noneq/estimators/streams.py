r"""A summary of the rows of all calls of ``fit`` and ``partial_fit``, which come as a stream.

The summary holds column moments, a sample of rows, and validation rows. The same rows may come
again in later calls, so a row is identified by a hash of its values, uniform in [0, 1). The 256
smallest distinct hashes (Bar-Yossef, Jayram, Kumar, Sivakumar, Trevisan 2002) give an estimate of
the number of distinct rows, 255 divided by the largest of these hashes. They also choose the
validation rows: the same rows whatever the order and the number of repetitions, and a uniform
sample of the whole stream.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse, vstack
from sklearn.utils.sparsefuncs import mean_variance_axis

from noneq.estimators.arrays import Floats, Rows, dense, extremes, hashes, rows_of_bits

__all__ = ["History", "Moments", "apart"]

KEPT = 1024  # rows of the sample
MOST = 256  # rows set aside
LEAST = 80  # distinct rows, before any is set aside


@dataclass(frozen=True)
class Moments:
    """The mean, variance and range of every column of weighted rows (M, d).

    Attributes:
        weight: sum of the sample weights of the rows.
        square: sum of the squared sample weights of the rows.
        mean: weighted means of the columns (d,).
        var: weighted variances of the columns (d,).
        low: smallest values of the columns (d,).
        high: largest values of the columns (d,).
    """

    weight: float
    square: float
    mean: NDArray[np.float64]
    var: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @classmethod
    def of(cls, x: Rows, weight: NDArray[np.float64]) -> Self:
        """Compute the moments of the columns of weighted rows.

        Arguments:
            x: rows (M, d), dense or sparse.
            weight: positive sample weights (M,).

        Returns:
            The mean, variance and range of each of the d columns.
        """
        if issparse(x):
            mean, var = mean_variance_axis(x.astype(np.float64), 0, weights=weight)
        else:
            p = weight / weight.sum()
            mean = p @ x.astype(np.float64)
            var = p @ np.square(x - mean)
        return cls(float(weight.sum()), float(weight @ weight), mean, var, *extremes(x))

    def merged(self, other: Self) -> Self:
        """Combine these moments with those of other rows (Chan, Golub, LeVeque 1983).

        Arguments:
            other: moments of the same columns of other rows.

        Returns:
            The moments of both sets of rows together.
        """
        weight = self.weight + other.weight
        share, delta = other.weight / weight, other.mean - self.mean
        between = share * (1 - share) * delta**2
        return replace(
            self,
            weight=weight,
            square=self.square + other.square,
            mean=self.mean + share * delta,
            var=(1 - share) * self.var + share * other.var + between,
            low=np.minimum(self.low, other.low),
            high=np.maximum(self.high, other.high),
        )

    @property
    def rows(self) -> float:
        """Return the effective number of rows, ``(sum w)^2 / sum w^2`` (Kish 1965).

        w are the sample weights of the rows.
        """
        return self.weight**2 / self.square


def apart(a: Moments, b: Moments) -> tuple[int, float]:
    """Find the column whose means differ most between two samples of rows.

    The difference ``delta`` of the two means of a column is converted to a score by Bernstein's
    inequality, ``z^2 = delta^2 / (se^2 + delta range / (3 n))``. Here se is the standard error of
    delta, range the difference of the largest and least value, and n the smaller number of rows.
    The second term keeps z small if a rare bit is 1 in several rows of a small sample.

    Arguments:
        a: moments of the columns of the first sample.
        b: moments of the columns of the second sample.

    Returns:
        The index of the column with the largest z, and this z.
    """
    n, whole = min(a.rows, b.rows), a.merged(b)
    delta = np.abs(a.mean - b.mean)
    square = whole.var * (1 / a.rows + 1 / b.rows) + delta * (whole.high - whole.low) / (3 * n)
    z = delta / np.sqrt(np.where(delta > 0, square, 1.0))
    return int(z.argmax()), float(z.max())


class History:
    """A summary of the rows of all calls of ``fit`` or ``partial_fit``.

    It sets some rows aside for validation, and collects moments and a sample of all others, the
    training rows.

    Arguments:
        aside: fraction of the distinct rows to set aside for validation, at most 256 rows. None
            are set aside where more than a quarter of the rows repeat others of their call:
            training rows then include most states, and would lack those set aside.
        seed: seed of the sample of training rows.

    Attributes:
        moments: moments of the columns of all training rows; None before the first call.
        bits: weighted fraction of the training rows whose values are all 0 or 1.
        kept: sample (K, d) of the training rows, at most 1024, drawn by weight without
            replacement.
        calls: for each row of ``kept`` the index of the call in which it came, from 0; (K,).
    """

    def __init__(self, aside: float, seed: int) -> None:
        self.moments: Moments | None = None
        self.bits = 0.0
        self.kept: Floats = np.empty((0, 0))
        self.calls: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._aside, self._rng = aside, np.random.default_rng(seed)
        self._held: dict[float, tuple[Rows, float]] = {}
        self._hashes: NDArray[np.float64] = np.empty(0)
        self._call, self._seen, self._unlike = 0, 0, 0
        self._priority: NDArray[np.float64] = np.empty(0)
        self._last: tuple[Moments, Moments] | None = None

    def add(self, x: Rows, weight: NDArray[np.float64]) -> tuple[Rows, NDArray[np.float64]]:
        """Add the rows of a call to the summary, and set some of them aside for validation.

        Arguments:
            x: rows (M, d), dense or sparse.
            weight: positive sample weights (M,) of the rows.

        Returns:
            The m rows to train on (m, d), where m may be 0, and their weights (m,).
        """
        x, weight = self._split(x, weight)
        if not len(weight):
            return x, weight
        now, before = Moments.of(x, weight), self.moments
        self._last = None if before is None else (before, now)
        self.moments = now if before is None else before.merged(now)
        bits = float(weight[rows_of_bits(x)].sum())
        self.bits += (bits - self.bits * now.weight) / self.moments.weight
        self._sample(x, weight)
        self._call += 1
        return x, weight

    @property
    def held(self) -> Floats:
        """Return the validation rows (H, d), on which no model is trained; H may be 0."""
        rows = [dense(row) for row, _ in self._held.values()]
        return np.concatenate(rows) if rows else self.kept[:0]

    @property
    def held_weight(self) -> NDArray[np.float64]:
        """Return the sample weights (H,) of the validation rows; H may be 0."""
        return np.array([weight for _, weight in self._held.values()])

    @property
    def distinct(self) -> float:
        """Return the number of distinct rows so far, estimated from hashes if it exceeds 256."""
        full = len(self._hashes) == MOST
        return (MOST - 1) / float(self._hashes[-1]) if full else float(len(self._hashes))

    @property
    def repeats(self) -> bool:
        """Return whether more than a quarter of the rows repeat other rows of the same call."""
        return self._unlike < 0.75 * self._seen

    @property
    def rows(self) -> float:
        """Return the effective number of training rows, ``(sum w)^2 / sum w^2`` of the weights w.

        Rows that come again in later calls count once.
        """
        assert self.moments is not None
        return self.moments.rows * (1.0 if self.repeats else min(1, self.distinct / self._seen))

    def _split(self, x: Rows, weight: NDArray[np.float64]) -> tuple[Rows, NDArray[np.float64]]:
        """Set rows aside; return the other rows, and rows that are set aside no longer."""
        found = hashes(x)
        unlike, first, times = np.unique(found, return_index=True, return_counts=True)
        self._seen, self._unlike = self._seen + len(found), self._unlike + len(unlike)
        self._hashes = np.union1d(self._hashes, unlike)[:MOST]
        limit = self._hashes[-1] if len(self._hashes) == MOST else 1.0
        limit = min(self._aside, limit) if not self.repeats and self.distinct >= LEAST else -1.0
        out = first[(unlike <= limit) & (times == 1)]
        self._held |= {float(found[i]): (x[i : i + 1], float(weight[i])) for i in out}
        late = [self._held.pop(key) for key in list(self._held) if key > limit]
        learn = np.setdiff1d(np.arange(len(found)), out)
        x, weight = x[learn], weight[learn]
        if late:
            stack = vstack if issparse(x) else np.concatenate
            rows = [row if issparse(x) else dense(row) for row, _ in late]
            x = stack([x, *rows])
            weight = np.append(weight, [w for _, w in late])
        return (x.tocsr() if issparse(x) else x), weight

    def _sample(self, x: Rows, weight: NDArray[np.float64]) -> None:
        """Keep rows of the smallest ``Exp(1) / weight`` (Efraimidis and Spirakis 2006)."""
        priority = self._rng.exponential(size=len(weight)) / weight
        new = np.argsort(priority)[:KEPT]
        calls = np.full(len(new), self._call)
        rows = dense(x[new])
        if len(self.kept):
            priority, calls, rows = (
                np.concatenate(both)
                for both in (
                    (self._priority, priority[new]),
                    (self.calls, calls),
                    (self.kept, rows),
                )
            )
        else:
            priority = priority[new]
        best = np.sort(np.argsort(priority)[:KEPT])
        self._priority, self.calls, self.kept = priority[best], calls[best], rows[best]

    # -- drift

    def halves(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]] | None:
        """Divide the sample ``kept`` of K training rows into rows of early and of late calls.

        Returns:
            Two arrays of booleans (K,), true for early and for late rows, as nearly half of the
            rows each as whole calls allow; None if all rows came in one call.
        """
        edges = np.unique(self.calls)
        if len(edges) < 2:
            return None
        share = np.array([(self.calls < edge).mean() for edge in edges[1:]])
        edge = edges[1:][np.abs(share - 0.5).argmin()]
        return self.calls < edge, self.calls >= edge

    def drift(self) -> Iterator[str]:
        """Test whether column means differ between early and late rows, or at the last call.

        Yields:
            No sentence, or one, about the first difference that is significant.
        """
        pairs = []
        halves = self.halves()
        if halves is not None:
            early, late = (Moments.of(self.kept[h], np.ones(h.sum())) for h in halves)
            pairs.append((early, late, "in the first half of the stream", "in the second"))
        if self._last is not None:
            pairs.append((*self._last, "in all calls before", "in the last call"))
        for a, b, former, latter in pairs:
            column, z = apart(a, b)
            if z > math.sqrt(2 * math.log(1000 * len(a.mean))):
                yield (
                    f"the rows drift: column {column} has the mean {a.mean[column]:.3g} {former}, "
                    f"{b.mean[column]:.3g} {latter} ({z:.1f} standard errors): the model knows "
                    "the last rows best; give the rows in random order, or all of them to fit"
                )
                return
