"""A map of each column of a table to a standard normal variable, fitted to the column's rows.

A skewed or heavy-tailed column is hard for a Gaussian base and for a network. A column x with the
cumulative distribution F becomes ``z = Phi^-1(F(x))``, Phi the standard normal one; F is that of a
mixture of Gaussians in one dimension and of a Cauchy variable of small weight, so that no value is
impossible. Where values were spread over intervals (`noneq.data.cells`), it also has the
distributions of these draws, weighted by the frequencies of the values. The map is strictly
increasing, and its slope is known exactly.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from noneq.data.cells import NARROW, Block
from noneq.data.peaks import has_peaks

__all__ = ["Margins"]

Column: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]

COMPONENTS = (1, 2, 3, 5, 8)
ROWS = 2000  # rows that the mixture of a column is fitted to at most
EACH = 12  # rows that a component needs
FLOOR = 1e-2  # added to the variance of each Gaussian, in units of the squared half width
LIGHTEST, HEAVIEST = 1e-3, 3e-2  # weight of the Cauchy variable; between them 1 / rows
FARTHEST, POINTS = 60.0, 4001  # of asinh((x - centre) / spread), where the inverse is sought
STEPS = 9  # of the inverse, at most, by Newton's method or, where that leads outside, by bisection
CLOSE = 1e-12  # relative step of the inverse after which it has converged
BISECTIONS = 30  # of the inverse where the density jumps, so that Newton's method may not converge
PRIOR = 0.5  # rows that each interval counts for before any row is seen


@dataclass(frozen=True, eq=False)
class Margins:
    """Strictly increasing maps of columns, each to a standard normal variable, ``z = m(x)``.

    All tensors are float64. A column with fewer Gaussians than another has some of weight 0.

    Attributes:
        weights: weights of the Gaussians of each column (D, K), which add up to 1.
        means: their means (D, K).
        sds: their standard deviations (D, K).
        centre: median of each column (D,), around which its Cauchy variable is centred.
        spread: scale of each Cauchy variable (D,).
        tail: weight of the Cauchy variable, in (0, 1), the same for all columns.
        uniform: ends and weight of the uniform variables of each column (D, I, 3); with their
            weights, those of the Gaussians add up to 1. None: there are none.
        apart: whether categories and the peaks of columns were left apart.

    >>> x = torch.randn(500, 1, generator=torch.Generator().manual_seed(0)).exp()
    >>> margins = Margins.fit(x)
    >>> z, log_slope = margins.apply(x)
    >>> bool(torch.allclose(margins.undo(z), x.double(), atol=1e-6))
    True
    """

    weights: Tensor
    means: Tensor
    sds: Tensor
    centre: Tensor
    spread: Tensor
    tail: float
    uniform: Tensor | None = None
    apart: bool = False

    @classmethod
    def fit(
        cls,
        x: Tensor,
        seed: int = 0,
        blocks: Sequence[Block | None] | None = None,
        *,
        apart: bool = False,
    ) -> Margins:
        """Fit the maps to the columns of rows.

        The number of Gaussians, at most 8, has the lowest Bayesian information criterion (Schwarz
        1978).

        Arguments:
            x: rows (M, D), with columns of about unit variance; 2,000 of them are used at most.
            seed: seed of the first means of the mixtures.
            blocks: for each column its intervals, or None; None: no column has any.
            apart: whether categories, and the peaks of a column that has several, stay apart, as
                one Gaussian maps them.

        Returns:
            The maps.
        """
        every = x.double().cpu().numpy()
        blocks = blocks or [None] * every.shape[1]
        rows = every
        if len(rows) > ROWS:
            rows = rows[np.random.default_rng(0).permutation(len(rows))[:ROWS]]
        found = [_column(*own, seed, apart) for own in zip(every.T, rows.T, blocks, strict=True)]
        most = max(len(gaussians) for gaussians, _ in found)
        weights, means = np.zeros((2, len(found), most))
        sds = np.ones((len(found), most))
        uniform = np.zeros((len(found), max(len(own[1]) for own in found), 3))
        uniform[:, :, 1] = 1.0
        for j, (gaussians, cells) in enumerate(found):
            k = len(gaussians)
            weights[j, :k], means[j, :k], sds[j, :k] = gaussians.T
            uniform[j, : len(cells)] = cells
        centre = np.median(rows, 0)
        spread = 2 * (np.percentile(np.abs(rows - centre), 68, 0) + 1e-3)
        tail = min(max(1 / len(x), LIGHTEST), HEAVIEST)
        read = torch.from_numpy
        own = (read(weights), read(means), read(sds), read(centre), read(spread), tail)
        return cls(*own, read(uniform) if uniform.size else None, apart)

    def apply(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map rows to normal variables.

        Arguments:
            x: rows (M, D).

        Returns:
            The mapped rows z (M, D), float64, and ``log |det dz/dx|`` of each row (M,).
        """
        z, log_slope = self._map(x.double().cpu())
        return z, log_slope.sum(1)

    def undo(self, z: Tensor) -> Tensor:
        """Map normal variables back to rows, by Newton's method between points of a table.

        Arguments:
            z: mapped rows (M, D).

        Returns:
            The rows x (M, D), float64.
        """
        z = z.double().cpu()
        points, table = self._table
        at = torch.searchsorted(table, z.T.contiguous()).T.clamp(1, len(points) - 1)
        low, high = points[at - 1], points[at]
        s = (low + high) / 2
        rows = torch.arange(len(z), device=z.device)  # those that have not converged
        for _ in range(STEPS if self.uniform is None else BISECTIONS):
            last = s[rows]
            found, log_slope = self._map(self.centre + self.spread * last.sinh())
            less = found < z[rows]
            low, high = torch.where(less, last, low), torch.where(less, high, last)
            newton = last - (found - z[rows]) / (log_slope.exp() * self.spread * last.cosh())
            inside = (newton >= low) & (newton <= high)
            s[rows] = torch.where(inside, newton, (low + high) / 2)
            on = ((s[rows] - last).abs() > CLOSE * (1 + last.abs())).any(1)
            if not bool(on.any()):
                break
            rows, low, high = rows[on], low[on], high[on]
        return self.centre + self.spread * s.sinh()

    @cached_property
    def _table(self) -> tuple[Tensor, Tensor]:
        """Values of asinh((x - centre) / spread) (G,), and z at each for every column (D, G)."""
        points = torch.linspace(-FARTHEST, FARTHEST, POINTS, dtype=torch.float64, device="cpu")
        z, _ = self._map(self.centre + self.spread * points[:, None].sinh())
        return points, z.T.contiguous()

    def _map(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return z (M, D) and ``log dz/dx`` (M, D) at rows x (M, D)."""
        low, high = self._shares(x)
        left = torch.special.ndtri(low.clamp(min=1e-300))
        z = torch.where(low < 0.5, left, -torch.special.ndtri(high.clamp(min=1e-300)))
        log_normal = -z.square() / 2 - math.log(2 * math.pi) / 2
        return z, self._log_density(x) - log_normal

    def plain(self) -> dict[str, Any]:
        """Convert the maps to numbers and lists for a JSON file."""
        own = {f.name: getattr(self, f.name) for f in fields(self)}
        return {k: v.tolist() if isinstance(v, Tensor) else v for k, v in own.items()}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Margins:
        """Restore maps from the dictionary that `plain` returned, bit for bit."""
        own: dict[str, Any] = {
            k: torch.tensor(v, dtype=torch.float64, device="cpu") if isinstance(v, list) else v
            for k, v in plain.items()
        }
        return cls(**own)

    def _shares(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the probabilities F(x) and 1 - F(x) (M, D), each exact where it is small."""
        u = (x[..., None] - self.means) / self.sds
        c = (x - self.centre) / self.spread
        far = torch.atan(1 / c.abs().clamp(min=1e-300)) / math.pi  # beyond |c|, in one direction
        low = torch.where(c < 0, far, 1 - far)
        high = torch.where(c < 0, 1 - far, far)
        ndtr, w = torch.special.ndtr, self.weights
        left, right = (w * ndtr(u)).sum(-1), (w * ndtr(-u)).sum(-1)
        if self.uniform is not None:
            start, end, mass = self.uniform.unbind(-1)
            part = ((x[..., None] - start) / (end - start)).clamp(0, 1)
            left = left + (mass * part).sum(-1)
            right = right + (mass * (1 - part)).sum(-1)
        return (
            (1 - self.tail) * left + self.tail * low,
            (1 - self.tail) * right + self.tail * high,
        )

    def _log_density(self, x: Tensor) -> Tensor:
        """Return ``log F'(x)`` (M, D)."""
        u = (x[..., None] - self.means) / self.sds
        each = self.weights.log() - self.sds.log() - u.square() / 2 - math.log(2 * math.pi) / 2
        c = (x - self.centre) / self.spread
        cauchy = -torch.log1p(c.square()) - (math.pi * self.spread).log()
        if self.uniform is not None:
            start, end, mass = self.uniform.unbind(-1)
            inside = (x[..., None] >= start) & (x[..., None] < end)
            flat = torch.where(inside, (mass / (end - start)).log(), -math.inf)
            each = torch.cat([each, flat], -1)
        return torch.logaddexp(
            math.log1p(-self.tail) + each.logsumexp(-1), math.log(self.tail) + cauchy
        )


def _column(
    every: Column, rows: Column, block: Block | None, seed: int, apart: bool
) -> tuple[Column, Column]:
    """Return weights, means and sds of Gaussians (K, 3), and uniform variables (I, 3).

    ``every`` has all rows of a column, ``rows`` those that mixtures are fitted to.
    """
    nothing = np.empty((0, 3))
    beside = None if block is None else block.rest
    gaussians = _mixture(rows, seed) if beside in (None, "all") else nothing
    if apart and (beside == "none" or (len(gaussians) and has_peaks(gaussians))):
        return np.array([[1.0, every.mean(), every.std()]]), nothing
    if block is None:
        return gaussians, nothing
    edges = block.edges.numpy()
    times, rest = _frequencies(every, edges)
    if block.rest == "all":  # the mixture is what is expected before any row is seen
        n = len(every) + PRIOR * len(edges)
        gaussians[:, 0] *= 1 - times.sum() / n
        return gaussians, np.concatenate([edges, times[:, None] / n], 1)
    width = np.diff(edges)[:, 0]
    weights = (times + PRIOR) / (len(every) + PRIOR * (len(edges) + (len(rest) > 0)))
    own = np.stack([weights, edges.mean(1), NARROW * width], 1)
    if not len(rest):
        return own, nothing
    other = _mixture(rest[: 2 * ROWS] if len(rest) > 1 else every, seed)
    other[:, 0] *= 1 - weights.sum()
    return np.concatenate([own, other]), nothing


def _frequencies(column: Column, edges: Column) -> tuple[Column, Column]:
    """Return the number of rows in each interval (I,), and the rows in none."""
    start = np.searchsorted(edges[:, 0], column, side="right") - 1
    at = start.clip(min=0)
    inside = (start >= 0) & (column < edges[at, 1])
    return np.bincount(at[inside], minlength=len(edges)).astype(float), column[~inside]


def _mixture(values: Column, seed: int) -> Column:
    """Fit mixtures of Gaussians to a column (M,), and return that of the lowest criterion.

    Its Gaussians are rows of weight, mean and standard deviation (K, 3).
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    column = values[:, None]
    width = np.percentile(np.abs(column - np.median(column)), 68)  # no outlier widens it
    floor = FLOOR * max(float(width) ** 2, 0.01 * float(column.var()), 1e-12)
    best: tuple[float, Any] | None = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for k in COMPONENTS:
            if k > 1 and k * EACH > len(np.unique(column)):
                break
            one = GaussianMixture(k, reg_covar=floor, random_state=seed).fit(column)
            criterion = float(one.bic(column))
            if best is None or criterion < best[0]:
                best = criterion, one
    assert best is not None
    one = best[1]
    own = [one.weights_, one.means_[:, 0], np.sqrt(one.covariances_[:, 0, 0])]
    return np.stack(own, 1)
