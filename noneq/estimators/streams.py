r"""What a stream of rows has shown so far: its moments, a sample of it, rows set aside.

Rows come in calls, which may come again with the same rows (passes of the caller's own), so that a
row is known by its content: a hash of it, uniform in [0, 1). The ``MOST`` smallest of the distinct
hashes (Bar-Yossef, Jayram, Kumar, Sivakumar, Trevisan 2002) tell how many distinct rows there
were, ``(MOST - 1) / largest``, and choose those set aside: always the same ones, whatever the
order and however often they come, and a uniform sample of the whole stream.
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
    """Of weighted rows, by column: mean, variance, range.

    Attributes:
        weight: sum of the weights.
        square: sum of their squares.
        mean, var, low, high: (d,).
    """

    weight: float
    square: float
    mean: NDArray[np.float64]
    var: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @classmethod
    def of(cls, x: Rows, weight: NDArray[np.float64]) -> Self:
        """Those of rows (M, d) with weights (M,)."""
        if issparse(x):
            mean, var = mean_variance_axis(x.astype(np.float64), 0, weights=weight)
        else:
            p = weight / weight.sum()
            mean = p @ x.astype(np.float64)
            var = p @ np.square(x - mean)
        return cls(float(weight.sum()), float(weight @ weight), mean, var, *extremes(x))

    def merged(self, other: Self) -> Self:
        """Those of the rows of both (Chan, Golub, LeVeque 1983)."""
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
        """Their effective number (Kish 1965): that of the rows where all weights are equal."""
        return self.weight**2 / self.square


def apart(a: Moments, b: Moments) -> tuple[int, float]:
    """Find the column whose means differ most between two samples of rows.

    By Bernstein's inequality, ``z^2 = delta^2 / (se^2 + delta range / 3 n)``: a bit that is rare
    may well be on in several rows of the fewer.

    Returns:
        The column, and the difference in standard errors, as `excess` counts it.
    """
    n, whole = min(a.rows, b.rows), a.merged(b)
    delta = np.abs(a.mean - b.mean)
    square = whole.var * (1 / a.rows + 1 / b.rows) + delta * (whole.high - whole.low) / (3 * n)
    z = delta / np.sqrt(np.where(delta > 0, square, 1.0))
    return int(z.argmax()), float(z.max())


class History:
    """What the calls have shown.

    Arguments:
        aside: fraction of the distinct rows that is set aside, at most MOST rows; none where more
            than a quarter of a call's rows repeat others: those say as much as fresh ones, and
            the model would miss the states set aside.
        seed: of the sample.

    Attributes:
        moments: of all rows to be learned from.
        bits: share of the rows that are made of 0 and 1.
        kept: a uniform sample of these rows, by weight, without replacement.
        calls: (len(kept),) which call each came in.
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
        """A call's rows (M, d) with positive weights (M,): those to learn from, maybe none."""
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
        """The rows set aside (H, d)."""
        rows = [dense(row) for row, _ in self._held.values()]
        return np.concatenate(rows) if rows else self.kept[:0]

    @property
    def held_weight(self) -> NDArray[np.float64]:
        """Their weights (H,); of length 0 where there are none."""
        return np.array([weight for _, weight in self._held.values()])

    @property
    def distinct(self) -> float:
        """Number of distinct rows."""
        full = len(self._hashes) == MOST
        return (MOST - 1) / float(self._hashes[-1]) if full else float(len(self._hashes))

    @property
    def repeats(self) -> bool:
        """Whether rows repeat others of their call, so that a row is none of its own."""
        return self._unlike < 0.75 * self._seen

    @property
    def rows(self) -> float:
        """How many rows there were to learn from, those that came in several calls once."""
        assert self.moments is not None
        return self.moments.rows * (1.0 if self.repeats else min(1, self.distinct / self._seen))

    def _split(self, x: Rows, weight: NDArray[np.float64]) -> tuple[Rows, NDArray[np.float64]]:
        """Set rows aside; the others, with those that give way to them."""
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
        """Those of the smallest priorities, ``Exp(1) / weight`` (Efraimidis and Spirakis 2006)."""
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
        """Which of the rows kept came early and which late; None if all came at once."""
        edges = np.unique(self.calls)
        if len(edges) < 2:
            return None
        share = np.array([(self.calls < edge).mean() for edge in edges[1:]])
        edge = edges[1:][np.abs(share - 0.5).argmin()]
        return self.calls < edge, self.calls >= edge

    def drift(self) -> Iterator[str]:
        """How the rows have changed, in words: early against late ones, the last call's too."""
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
