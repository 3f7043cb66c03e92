"""Log-weights of N walkers and every reduction over them; only this file changes log-weights.

The normalising constant is ``log Z = log Z_start + log mean_i w_i`` at any time: resampling gives
every walker of an island (a group that is resampled separately) the island's mean weight, so that
log Z needs no second accumulator. All reductions over walkers stand here and nowhere else, since
walkers that are spread over several processes would need a collective operation for each:
`summary`, `check`, `p`, `log_p`, `ess`, `log_z`, `log_mean_by_island`, `mass_by_island`,
`effective_ancestors`, `mean`, `draw`, `conditional_ess` and `resample` of `Weights`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from noneq.walkers import reductions
from noneq.walkers.reductions import Summary
from noneq.walkers.resampling import Resampler, resample_islands, systematic

__all__ = ["InvalidWeightsError", "LogZ", "Weights"]


class LogZ(NamedTuple):
    """Holds an estimate of log Z (nats) with its standard error.

    The standard error is computed from islands, groups of walkers that are resampled separately.

    Attributes:
        value: estimate of log Z.
        stderr: standard error of the estimate; NaN for three islands or fewer.
    """

    value: float
    stderr: float


class InvalidWeightsError(FloatingPointError):
    """Raised where log-weights are read of which one or more are NaN or +inf."""


@dataclass(frozen=True)
class Weights:
    """Holds the log-weights of N walkers (weighted samples); methods return new weights.

    Attributes:
        log_w: log-weights (N,), float64, accumulated since the start; -inf is a weight of zero,
            NaN or +inf is invalid and raises an error where the weights are read.
        log_z_start: log Z of the model from which the walkers were sampled; NaN if unknown.
        ancestors: index of the starting walker from which each walker descends (N,).
        islands: number of islands, equal contiguous groups of walkers that are resampled
            separately, so that the spread of their log Z gives a standard error.
        resampled: number of times that one or more islands have been resampled.
    """

    log_w: Tensor
    log_z_start: float
    ancestors: Tensor
    islands: int = 1
    resampled: int = 0

    @classmethod
    def equal(
        cls, n: int, log_z: float, islands: int = 1, *, device: torch.device | None = None
    ) -> Weights:
        """Return N weights of 1.

        Arguments:
            n: number N of walkers, 2 or more and a multiple of ``islands``; else ValueError.
            log_z: log Z of the model that the walkers come from; NaN if unknown.
            islands: number of groups of walkers that are resampled separately.
            device: device of the weights.

        >>> Weights.equal(4, 0.0).log_z
        LogZ(value=0.0, stderr=nan)
        """
        if n < 2:
            raise ValueError(f"weights compare walkers: 2 or more are needed, got {n}")
        if islands < 1 or n % islands:
            near = max(islands, 1) * max(1, round(n / max(islands, 1)))
            raise ValueError(
                f"{n} walkers cannot be split into {islands} equal islands; "
                f"take {near} walkers or islands=1"
            )
        log_w = torch.zeros(n, dtype=torch.float64, device=device)
        return cls(log_w, log_z, torch.arange(n, device=device), islands)

    def add(
        self, increment: Tensor, minus: Tensor | None = None, *, zero: Tensor | None = None
    ) -> Weights:
        """Return weights with the log-weights ``log_w + increment - minus``.

        A weight of zero stays zero, and an invalid weight stays invalid.

        Arguments:
            increment: change of the log-weights (N,).
            minus: term that is subtracted from the log-weights (N,); None: 0.
            zero: whether each weight becomes zero (N,), unless it is invalid (NaN or +inf).
        """
        if zero is not None:  # added to an invalid weight, -inf is NaN
            increment = increment.masked_fill(zero, -math.inf)
        log_w = self.log_w + increment  # in float64, as the first of them
        if minus is not None:
            log_w -= minus
        return replace(self, log_w=log_w.masked_fill_(self.log_w.isneginf(), -math.inf))

    def resample(
        self,
        ess_min: float,
        rng: torch.Generator,
        scheme: Resampler = systematic,
        *,
        order: Tensor | None = None,
    ) -> tuple[Weights, Tensor | None]:
        """Resample every island (group of walkers) whose effective sample size is too low.

        Arguments:
            ess_min: effective sample size, a fraction in [0, 1], below which an island is
                resampled.
            rng: source of randomness.
            scheme: function that draws which walkers are copied, e.g. systematic resampling.
            order: quantity (N,) by which the walkers of an island are sorted before resampling.

        Returns:
            The weights, where each walker of a resampled island has the mean weight of the island,
            and the index (N,) of the walker copied to each place, None if no island was resampled.

        Raises:
            ValueError: ess_min is outside [0, 1].
            FloatingPointError: a weight is invalid, or all weights of an island are zero.
        """
        if not 0 <= ess_min <= 1:
            raise ValueError(f"ess_min is a fraction of the walkers in [0, 1], got {ess_min}")
        least = ess_min * (1 - 1e-12)  # equal weights gain nothing
        if self.summary.lowest >= least:  # a NaN must not pass for healthy
            return self, None
        self.check()
        log_w = self.by_island
        low = ~(reductions.ess(log_w) >= least)
        index = resample_islands(reductions.normalise(log_w), low, scheme, rng, order)
        mean = reductions.log_mean_exp(log_w)
        new = torch.where(low[:, None], mean[:, None], log_w).flatten()
        ancestors, times = self.ancestors[index], self.resampled + 1
        return replace(self, log_w=new, ancestors=ancestors, resampled=times), index

    def decay(self, forgetting_factor: float) -> Weights:
        """Return weights whose logarithms are multiplied by a factor in [0, 1] (else ValueError).

        If the factor is below 1, log Z is unknown from then on. Weights of zero stay zero.
        """
        if not 0 <= forgetting_factor <= 1:
            raise ValueError(f"forgetting_factor is a fraction in [0, 1], got {forgetting_factor}")
        if forgetting_factor == 1:
            return self
        log_w = (forgetting_factor * self.log_w).masked_fill_(self.log_w.isneginf(), -math.inf)
        return replace(self, log_w=log_w, log_z_start=math.nan)

    def __getitem__(self, index: Tensor) -> Weights:
        """Return the weights at ``index`` (a 1-d integer tensor), as one group (island)."""
        return replace(self, log_w=self.log_w[index], ancestors=self.ancestors[index], islands=1)

    def put(self, index: Tensor, part: Weights) -> Weights:
        """Return a copy with the weights at ``index`` (n,) replaced by the n weights ``part``."""
        return replace(
            self,
            log_w=self.log_w.index_copy(0, index, part.log_w),
            ancestors=self.ancestors.index_copy(0, index, part.ancestors),
            log_z_start=self.log_z_start if part.log_z_start == self.log_z_start else math.nan,
            resampled=max(self.resampled, part.resampled),
        )

    def __len__(self) -> int:
        """Return the number N of walkers."""
        return len(self.log_w)

    @property
    def by_island(self) -> Tensor:
        """Return the log-weights (islands, N / islands), one row for each group of walkers."""
        return self.log_w.view(self.islands, -1)

    @property
    def invalid(self) -> Tensor:
        """Return booleans (N,), true where a log-weight is NaN or +inf."""
        return ~(self.log_w < math.inf)

    @cached_property
    def _p(self) -> Tensor:
        return reductions.normalise(self.log_w)

    @cached_property
    def summary(self) -> Summary:
        """Return a `Summary` of the weights, e.g. of how many are 0, read in one transfer."""
        return Summary.of(reductions.summarise(self.by_island, self._p).tolist())

    def read_with(self, *scalars: Tensor) -> list[float]:
        """Return 0-d tensors as floats, read in one transfer with the numbers of `summary`."""
        numbers = torch.stack(scalars)  # of the widest of their types
        if "summary" in vars(self):
            return list(numbers.tolist())
        own = reductions.summarise(self.by_island, self._p)
        found: list[float] = torch.cat([own, numbers]).tolist()
        vars(self)["summary"] = Summary.of(found[: len(own)])
        return found[len(own) :]

    def check(self) -> None:
        """Raise FloatingPointError if a log-weight is NaN or +inf, or an island has weight 0."""
        if self.summary.invalid:
            raise InvalidWeightsError(
                f"{self.summary.invalid} of {len(self)} log-weights are NaN or +inf"
            )
        if self.summary.empty:
            raise FloatingPointError(
                "every walker of an island has weight zero: the energy is +inf wherever they are; "
                "start closer to the model, or change it in smaller steps"
            )

    @property
    def p(self) -> Tensor:
        """Return the normalised weights ``p_i = w_i / sum_j w_j`` (N,), float64."""
        self.check()
        return self._p

    @property
    def log_p(self) -> Tensor:
        """Return the logarithms of the normalised weights (N,), float64."""
        self.check()
        return self.log_w.log_softmax(0)

    @property
    def ess(self) -> float:
        """Return the effective sample size ``1 / (N sum_i p_i^2)`` of all walkers, in [1/N, 1]."""
        self.check()
        return self.summary.ess

    @property
    def log_mean_by_island(self) -> Tensor:
        """Return the log of the mean weight of each group of walkers (islands,), float64."""
        self.check()
        return reductions.log_mean_exp(self.by_island)

    @property
    def mass_by_island(self) -> Tensor:
        """Return the share of the total weight in each group of walkers (islands,), float64."""
        return self.p.view(self.islands, -1).sum(1)

    @property
    def log_z(self) -> LogZ:
        """Estimate log Z as ``log Z_start + log mean w``, with a jackknife error over islands.

        With R islands (groups of walkers that are resampled separately) the jackknife error is
        increased by ``sqrt((R - 1) / (R - 3))``, so that the error of log Z over the standard
        error, a Student t with R - 1 degrees of freedom, has variance 1; NaN for R <= 3.
        """
        self.check()
        found, r = self.summary, self.islands
        few = math.sqrt((r - 1) / (r - 3)) if r > 3 else math.nan
        return LogZ(self.log_z_start + found.log_mean, few * found.log_mean_stderr)

    @property
    def effective_ancestors(self) -> float:
        """Return the effective number of ancestors, ``1 / sum_a P_a^2``.

        P_a is the share of the total weight held by walkers that descend from starting walker a.
        """
        n = 1 + int(self.ancestors.max())  # a part keeps the numbers of the whole
        mass = torch.zeros(n, dtype=torch.float64, device=self.log_w.device)
        return float(1.0 / mass.index_add(0, self.ancestors, self.p).square().sum())

    def mean(self, f: Tensor) -> Tensor:
        """Return the mean ``sum_i p_i f_i`` of values f (N, ...), with normalised weights p.

        Walkers of weight zero are left out, as f may be infinite there; the graph of f is kept.
        """
        p = self.p
        if self.summary.zero:
            some = p > 0
            p, f = p[some], f[some]
        return reductions.mean(p.to(f.dtype), f)

    def draw(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw n indices of walkers (n,) by systematic resampling, in random order."""
        index = systematic(self.p, rng, n)
        return index[torch.randperm(n, generator=rng, device=index.device)]

    def conditional_ess(self, increment: Tensor) -> Tensor:
        """Return ``(sum_i p_i e^{d_i})^2 / sum_i p_i e^{2 d_i}`` (0-d) for increments d (N,).

        It is the share of the effective sample size left by adding d; p are normalised weights.
        """
        return reductions.conditional_ess(self.log_w, increment)
