"""Numbers that weighted walkers give: means, effective sample size, log Z."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from noneq.energies import Snapshot
from noneq.kernels import State
from noneq.walkers import faults
from noneq.walkers.weights import InvalidWeightsError, LogZ, Weights

__all__ = ["Readings"]

T = TypeVar("T")


class Readings:
    """Read-only numbers of walkers, each computed by their `Weights`.

    Attributes:
        state: positions, energies and cache of the walkers.
        weights: log-weights of the walkers.
        under: the energy for which the walkers are weighted; None if it is unknown.
        last_move: the last move, from which the cause of an invalid weight is explained.
    """

    state: State
    weights: Weights
    under: Snapshot | None
    last_move: faults.LastMove | None

    def _read(self, what: Callable[[Weights], T]) -> T:
        """Read from the weights; the error for an invalid weight explains its cause."""
        try:
            return what(self.weights)
        except InvalidWeightsError as error:
            why = faults.explain(self.x, self.weights.invalid, self.last_move)
            raise FloatingPointError(why) from error

    def __len__(self) -> int:
        return len(self.weights)

    @property
    def x(self) -> Tensor:
        """Return the positions (N, *shape)."""
        return self.state.x

    @property
    def log_w(self) -> Tensor:
        """Return the log-weights (N,), float64."""
        return self.weights.log_w

    @property
    def islands(self) -> int:
        """Return the number of islands, groups of walkers that are resampled separately."""
        return self.weights.islands

    @property
    def p(self) -> Tensor:
        """Return the normalised weights (N,), float64; FloatingPointError if one is invalid."""
        return self._read(lambda w: w.p)

    @property
    def ess(self) -> float:
        """Return the effective sample size of all walkers, a fraction in [1/N, 1]."""
        return self._read(lambda w: w.ess)

    @property
    def log_z(self) -> LogZ:
        """Estimate ``log Z_start + log mean w``, with its standard error (`Weights.log_z`)."""
        return self._read(lambda w: w.log_z)

    @property
    def effective_ancestors(self) -> float:
        """Return the effective number of ancestors: ``1 / sum_a P_a^2``.

        P_a is the share of the weight of all walkers that descend from starting walker a.
        """
        return self._read(lambda w: w.effective_ancestors)

    def mean(self, f: Tensor) -> Tensor:
        """Return the weighted mean of values f (N, ...) at the walkers, with the graph of f."""
        return self._read(lambda w: w.mean(f))

    def equal(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw n positions by weight: an unweighted sample (n, *shape) of the model."""
        x: Tensor = self.state.x[self._read(lambda w: w.draw(n, rng))]
        return x
