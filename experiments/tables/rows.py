"""What every method of the comparison is given, and what it gives back."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from noneq.data import DataSet, Margins
from noneq.likelihood.score import mean_energy, noise_draws
from noneq.random import add_noise

__all__ = [
    "MANY", "Coordinates", "Fitted", "Rows", "Whitener", "noisy", "rows_of", "scored", "spaces_of",
    "spent",
]  # fmt: skip

MANY = 2000  # training rows from which a network is larger, and less regularised
Score = Callable[[Tensor], Tensor]
RIDGES = (1e-5, 1e-4, 1e-3, 1e-2, 3e-2, 0.1, 0.3)


class Rows(NamedTuple):
    """The rows of one split of a table, in standardised units.

    Attributes:
        train: training rows (M, D), float64.
        validation: validation rows, by which everything is chosen.
        test: test rows, read once.
        noise: standard deviation of the noise under which densities are compared; 0 for tables.
        seconds: processor time that a fit may take, its choices included.
        seed: seed of the fit.
    """

    train: Tensor
    validation: Tensor
    test: Tensor
    noise: float = 0.0
    seconds: float = 120.0
    seed: int = 0


class Fitted(NamedTuple):
    """A fitted density.

    Attributes:
        nll: negative log-likelihood of rows, (M, D) to (M,), of the standardised values.
        choice: what the validation rows chose, in words.
    """

    nll: Score
    choice: str


def rows_of(data: DataSet, *, noise: float, seconds: float, seed: int) -> Rows:
    """The rows of a data set as the peers take them."""
    parts = (data.train, data.validation, data.test)
    return Rows(*(part.flatten(1).double() for part in parts), noise, seconds, seed)


def scored(nll: Score, x: Tensor, noise: float, draws: int | None = None) -> Tensor:
    """NLL of every row (M,), mean over the noise draws that noneq's own likelihood takes."""

    def energy(y: Tensor) -> Tensor:
        return nll(y.double())

    return mean_energy(energy, x.float(), noise=noise, draws=draws)


def noisy(rows: Rows, most: int = 10_000) -> Tensor:
    """Training rows with a number of draws of the noise, at most 20 of each row."""
    if not rows.noise:
        return rows.train
    draws = max(1, min(noise_draws(len(rows.train)), most // len(rows.train)))
    rng = torch.Generator().manual_seed(rows.seed + 1)
    return add_noise(rows.train.repeat(draws, 1), rows.noise, rng)


class Coordinates:
    """The coordinates that a network sees: standardised columns, or columns mapped to normals.

    Mapped columns are those of `noneq.data.Margins`, fitted to the training rows: no row is far
    away there. Networks may also be given whitened columns, see `Whitener`.

    Attributes:
        rows: training and validation rows in these coordinates.
    """

    def __init__(self, rows: Rows, *, mapped: bool) -> None:
        self._margins = Margins.fit(rows.train) if mapped else None
        self.rows = rows._replace(
            train=self.apply(rows.train)[0], validation=self.apply(rows.validation)[0]
        )

    def apply(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Rows (M, D) in these coordinates, and the log-volume of the map at each (M,)."""
        if self._margins is None:
            return x, x.new_zeros(len(x))
        return self._margins.apply(x)


def spaces_of(rows: Rows) -> tuple[str, ...]:
    """What is tried: noisy rows are left unmapped, since noise would no longer be Gaussian."""
    return ("standardised", "whitened", "mapped")[: 2 if rows.noise else 3]


class Whitener:
    """An affine map to coordinates of mean 0 and covariance I, with its volume.

    ``z = (x - mean) Q / sqrt(lambda)``, for eigenvectors Q and eigenvalues lambda of the
    covariance of the rows. A ridge is added to the eigenvalues: that under which a Gaussian with
    this covariance has the lowest NLL of the validation rows.
    """

    def __init__(self, x: Tensor, validation: Tensor) -> None:
        self.mean = x.mean(0)
        values, self.q = torch.linalg.eigh(torch.cov(x.T).reshape(x.shape[1], x.shape[1]))
        squares = self.rotate(validation).square().mean(0)

        def gaussian(ridge: float) -> float:
            v = values.clamp(min=0) + ridge
            return float((v.log() + squares / v).sum())

        self.ridge = min(RIDGES, key=gaussian)
        self.variances = values.clamp(min=0) + self.ridge

    def rotate(self, x: Tensor) -> Tensor:
        """Rows in the axes of the covariance; the volume stays as it is."""
        return (x - self.mean) @ self.q

    def apply(self, x: Tensor) -> Tensor:
        """Rows in whitened coordinates."""
        return self.rotate(x) / self.variances.sqrt()

    @property
    def log_volume(self) -> float:
        """``log |det dz/dx|``."""
        return -float(self.variances.log().sum()) / 2


def spent(start: float) -> float:
    """Processor seconds since a value of `time.process_time`."""
    return time.process_time() - start
