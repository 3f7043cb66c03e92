"""Estimates from weighted walkers: means, effective sample size, log Z."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from noneq.energies import Snapshot
from noneq.kernels import State
from noneq.walkers import faults
from noneq.walkers.notebook import html_table
from noneq.walkers.weights import InvalidWeightsError, LogZ, Weights

__all__ = ["Readings"]

T = TypeVar("T")


class Readings:
    """Base class of `noneq.Walkers`: estimates from N weighted samples.

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

    @property
    def _known(self) -> dict[str, str]:
        """The effective sample size and, where it is known, log Z, by name.

        Raises:
            FloatingPointError: a weight is invalid.
        """
        z, known = self.log_z, {"ESS": f"{self.ess:.2f}"}
        if not math.isnan(z.value):
            error = "" if math.isnan(z.stderr) else f" ± {z.stderr:.2f}"
            known["log Z"] = f"{z.value:.2f}{error}"
        return known

    @property
    def _where(self) -> str:
        """The number, shape, precision and device of the walkers."""
        x = self.state.x
        return f"{len(self)} of shape {tuple(x.shape[1:])}, {x.dtype} on {x.device}"

    def __repr__(self) -> str:
        try:
            own = ", ".join(f"{name} {value}" for name, value in self._known.items())
        except FloatingPointError:
            own = "with an invalid weight"
        return f"{type(self).__name__}({self._where}, {own})"

    def _repr_html_(self) -> str | None:
        """Return HTML, which a notebook shows; None if a weight is invalid: it shows the repr."""
        try:
            ancestors = f"{self.effective_ancestors:.0f}"
            return html_table(
                f"{type(self).__name__}: {self._where}",
                {**self._known, "effective ancestors": ancestors, "islands": f"{self.islands}"},
            )
        except FloatingPointError:
            return None

    def __len__(self) -> int:
        """Return the number N of walkers."""
        return len(self.weights)

    @property
    def x(self) -> Tensor:
        """Return the positions (N, *shape) of the walkers."""
        return self.state.x

    @property
    def log_w(self) -> Tensor:
        """Return the log-weights of the walkers (N,), float64, accumulated since the start."""
        return self.weights.log_w

    @property
    def islands(self) -> int:
        """Return the number of islands, equal groups of walkers that are resampled separately."""
        return self.weights.islands

    @property
    def p(self) -> Tensor:
        """Return the normalised weights (N,), float64, which sum to 1.

        Raises:
            FloatingPointError: a log-weight is NaN or +inf, or all weights of an island are zero.
        """
        return self._read(lambda w: w.p)

    @property
    def ess(self) -> float:
        """Return the effective sample size ``1 / (N sum_i p_i^2)`` of all walkers, a fraction.

        It is in [1/N, 1]; p are the normalised weights.
        """
        return self._read(lambda w: w.ess)

    @property
    def log_z(self) -> LogZ:
        """Estimate log Z of the present model, in nats, by ``log Z_start + log mean_i w_i``.

        Z_start is the normalising constant of the model from which the walkers were sampled, and w
        their weights.

        Returns:
            The estimate with its standard error, by the jackknife over the islands (groups of
            walkers that are resampled separately); the error is NaN for three islands or fewer.
        """
        return self._read(lambda w: w.log_z)

    @property
    def effective_ancestors(self) -> float:
        """Return the effective number of ancestors: ``1 / sum_a P_a^2``, in [1, N].

        P_a is the share of the total weight held by walkers that descend, through resampling, from
        the starting walker a.
        """
        return self._read(lambda w: w.effective_ancestors)

    def mean(self, f: Tensor) -> Tensor:
        """Estimate the mean of a function f under the model by the weighted mean of its values.

        It is ``sum_i p_i f(x_i)``, with p the normalised weights.

        Arguments:
            f: values of the function at the walkers (N, ...), e.g. ``walkers.x``; their autograd
                graph is kept.

        Returns:
            The weighted mean (...).
        """
        return self._read(lambda w: w.mean(f))

    def equal(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw positions in proportion to their weights: an unweighted sample of the model.

        Systematic resampling draws the position of walker i ``floor(n p_i)`` or ``ceil(n p_i)``
        times, p the normalised weights: none twice as long as no weight exceeds 1/n.

        Arguments:
            n: number of positions.
            rng: source of randomness.

        Returns:
            The positions (n, *shape), in random order.
        """
        x: Tensor = self.state.x[self._read(lambda w: w.draw(n, rng))]
        return x
