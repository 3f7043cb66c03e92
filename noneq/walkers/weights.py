r"""Log-weights of walkers: the only file that writes ``log_w``, and every reduction of walkers.

``log Z = log Z_start + log mean_i w_i`` at any time: resampling gives every walker of an island
the island's mean weight, so that log Z needs no second accumulator.

A reduction over walkers depends on all of them. Each stands here and nowhere else, since walkers
that are spread over several processes need a collective operation for it:

============================= ====================================================================
reduction                     what it is
============================= ====================================================================
`Weights.summary`             counts of invalid and zero weights, effective sample sizes, log Z:
                              all that decisions and records need, read from the device at once
`Weights.check`               raises where a weight is invalid or an island has no weight
`Weights.p`                   weights divided by their sum
`Weights.ess`                 effective sample size of all walkers
`Weights.log_z`               log of the mean weight, its standard error over islands
`Weights.log_mean_by_island`  log of each island's mean weight
`Weights.mass_by_island`      each island's share of the weight
`Weights.effective_ancestors` number of ancestors, by the weight that descends from them
`Weights.mean`                weighted mean of values at the walkers
`Weights.draw`                indices drawn by weight
`Weights.conditional_ess`     the share of the effective sample size that an increment leaves
`Weights.resample`            the effective sample size of each island, and the draw within it
============================= ====================================================================
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
    """An estimate of log Z with its standard error over islands (NaN for three or fewer)."""

    value: float
    stderr: float


class InvalidWeightsError(FloatingPointError):
    """Log-weights are NaN or +inf."""


@dataclass(frozen=True)
class Weights:
    """Immutable log-weights of N walkers.

    Attributes:
        log_w: (N,) float64, everything since the start included; -inf is weight zero, NaN or +inf
            is an error that is raised when it is read.
        log_z_start: log Z of the model that the walkers were sampled from; NaN if unknown.
        ancestors: (N,) index of the starting walker that each descends from.
        islands: the walkers are this many equal contiguous groups that never exchange members,
            so that the spread of their log Z gives a standard error.
        resampled: how many times some island of them has been resampled since the start.
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
        """N weights of 1; ValueError if n < 2 or n is not a multiple of the number of islands.

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

    # -- what happens to them

    def add(
        self, increment: Tensor, minus: Tensor | None = None, *, zero: Tensor | None = None
    ) -> Weights:
        """``log_w + increment - minus``, -inf where it was or where ``zero`` (N,) is true.

        A weight that is invalid stays invalid wherever ``zero`` is true: an error is not undone.
        """
        log_w = self.log_w + increment  # in float64, as the first of them
        if minus is not None:
            log_w -= minus
        mask = self.log_w.isneginf()
        if zero is not None:
            mask |= zero & (self.log_w < math.inf)
        return replace(self, log_w=log_w.masked_fill_(mask, -math.inf))

    def resample(
        self,
        ess_min: float,
        rng: torch.Generator,
        scheme: Resampler = systematic,
        *,
        order: Tensor | None = None,
    ) -> tuple[Weights, Tensor | None]:
        """Resample every island whose effective sample size is below ``ess_min``, a fraction.

        Returns the weights, an island's all its mean weight, and the index (N,) that everything
        else a walker owns must follow; None where nobody was resampled.

        Raises ValueError if ess_min is outside [0, 1], FloatingPointError as `check` does.
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
        """Log-weights times a forgetting factor, and log Z unknown; weights of zero stay zero.

        Raises ValueError if the forgetting factor ``forgetting_factor`` is outside [0, 1].
        """
        if not 0 <= forgetting_factor <= 1:
            raise ValueError(
                f"forgetting_factor is a fraction of the log-weights in [0, 1], got "
                f"{forgetting_factor}"
            )
        if forgetting_factor == 1:
            return self
        log_w = (forgetting_factor * self.log_w).masked_fill_(self.log_w.isneginf(), -math.inf)
        return replace(self, log_w=log_w, log_z_start=math.nan)

    def __getitem__(self, index: Tensor) -> Weights:
        """The weights at ``index`` (a 1-d integer tensor), as one island."""
        return replace(self, log_w=self.log_w[index], ancestors=self.ancestors[index], islands=1)

    def put(self, index: Tensor, part: Weights) -> Weights:
        """These weights with those at ``index`` replaced by ``part``."""
        return replace(
            self,
            log_w=self.log_w.index_copy(0, index, part.log_w),
            ancestors=self.ancestors.index_copy(0, index, part.ancestors),
            log_z_start=self.log_z_start if part.log_z_start == self.log_z_start else math.nan,
            resampled=max(self.resampled, part.resampled),
        )

    # -- what they say

    def __len__(self) -> int:
        return len(self.log_w)

    @property
    def by_island(self) -> Tensor:
        """Log-weights (islands, N / islands)."""
        return self.log_w.view(self.islands, -1)

    @property
    def invalid(self) -> Tensor:
        """(N,): where a log-weight is NaN or +inf."""
        return ~(self.log_w < math.inf)

    @cached_property
    def _p(self) -> Tensor:
        return reductions.normalise(self.log_w)

    @cached_property
    def summary(self) -> Summary:
        """All numbers of these weights, in one transfer from the device."""
        return Summary.of(reductions.summarise(self.by_island, self._p).tolist())

    def read_with(self, *scalars: Tensor) -> list[float]:
        """Values of 0-d tensors, read from the device in the same transfer as the summary."""
        numbers = [one.double() for one in scalars]
        if "summary" in vars(self):
            return list(torch.stack(numbers).tolist())
        own = reductions.summarise(self.by_island, self._p)
        found: list[float] = torch.cat([own, torch.stack(numbers)]).tolist()
        vars(self)["summary"] = Summary.of(found[: len(own)])
        return found[len(own) :]

    def check(self) -> None:
        """Raise a FloatingPointError unless every weight is a number and every island has some."""
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
        """Normalised weights (N,), float64."""
        self.check()
        return self._p

    @property
    def ess(self) -> float:
        """Effective sample size of all walkers together, a fraction in [1/N, 1]."""
        self.check()
        return self.summary.ess

    @property
    def log_mean_by_island(self) -> Tensor:
        """Logarithm of the mean weight of each island (islands,), float64."""
        self.check()
        return reductions.log_mean_exp(self.by_island)

    @property
    def mass_by_island(self) -> Tensor:
        """Share of the weight that each island has (islands,), float64."""
        return self.p.view(self.islands, -1).sum(1)

    @property
    def log_z(self) -> LogZ:
        """``log Z_start + log mean w``, and its standard error by the jackknife over islands.

        R islands tell it with R - 1 degrees of freedom, so that in units of it errors are a
        Student t: it is widened by ``sqrt((R - 1) / (R - 3))``, after which their variance is 1.
        NaN for three islands or fewer, where that variance is infinite.
        """
        self.check()
        found, r = self.summary, self.islands
        few = math.sqrt((r - 1) / (r - 3)) if r > 3 else math.nan
        return LogZ(self.log_z_start + found.log_mean, few * found.log_mean_stderr)

    @property
    def effective_ancestors(self) -> float:
        r"""Effective number of ancestors, ``1 / sum_a P_a^2``, P_a the mass descended from a."""
        n = 1 + int(self.ancestors.max())  # a part keeps the numbers of the whole
        mass = torch.zeros(n, dtype=torch.float64, device=self.log_w.device)
        return float(1.0 / mass.index_add(0, self.ancestors, self.p).square().sum())

    def mean(self, f: Tensor) -> Tensor:
        """Weighted mean ``sum_i p_i f_i`` of values (N, ...) at the walkers; keeps f's graph.

        Walkers of weight zero are left out, whatever f is there.
        """
        p = self.p
        if self.summary.zero:
            some = p > 0
            p, f = p[some], f[some]
        mean: Tensor = torch.tensordot(p.to(f.dtype), f, 1)
        return mean

    def draw(self, n: int, rng: torch.Generator) -> Tensor:
        """n indices of walkers, drawn by weight, with replacement."""
        return torch.multinomial(self.p, n, replacement=True, generator=rng)

    def conditional_ess(self, increment: Tensor) -> Tensor:
        """What an increment (N,) leaves of the effective sample size, in (0, 1], a 0-d tensor.

        See `noneq.walkers.reductions.conditional_ess`.
        """
        return reductions.conditional_ess(self.log_w, increment)
