"""What is known of log Z, and of a likelihood: numbers with their errors and their alarms."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from noneq.annealing import Schedule
from noneq.likelihood.support import Share
from noneq.walkers import LogZ, Walkers

__all__ = ["NLL", "Estimate"]


@dataclass(frozen=True)
class Estimate:
    """A bracketed log Z.

    Attributes:
        forward: from forward annealing, too low on average.
        backward: from backward annealing, too high on average.
        alarms: why the bracket may be wrong, each with what to do; empty if none was raised.
        ess: effective sample size of the forward walkers, a fraction.
        survivors: effective number of forward ancestors that still have descendants.
        schedule: the temperatures used, e.g. to use again; None where log Z is exact.
        walkers: the forward walkers, a weighted sample of the model.
        mark: fingerprint of the parameters that it belongs to; None for a plain function.
        off_support_mass: share of the model's mass where there are no data, with its standard error and
            what a perfect model has (`noneq.likelihood.support`); None without data.

    >>> import noneq, torch
    >>> base = noneq.Gaussian(torch.zeros(2), noneq.energies.Identity(2.0))
    >>> z = noneq.log_z(lambda x: x.square().sum(1) / 2, base, n=64, temperatures=20)
    >>> low, high = z.interval
    >>> low.value <= z.value == high.value
    True
    >>> z.bracketed
    True
    """

    forward: LogZ
    backward: LogZ
    alarms: tuple[str, ...]
    ess: float
    survivors: float
    schedule: Schedule | None
    walkers: Walkers
    mark: Tensor | None = None
    off_support_mass: Share | None = None

    @property
    def interval(self) -> tuple[LogZ, LogZ]:
        """The interval of log Z that the two sides span: the smaller, then the larger."""
        ends = self.forward, self.backward
        return ends if self.backward.value > self.forward.value else ends[::-1]

    @property
    def value(self) -> float:
        """The larger side: the likelihoods that follow are not optimistic."""
        return self.interval[1].value

    @property
    def stderr(self) -> float:
        """Standard error of `value`."""
        return self.interval[1].stderr

    @property
    def gap(self) -> float:
        """``backward - forward``; negative where the sides cross."""
        return self.backward.value - self.forward.value

    @property
    def bracketed(self) -> bool:
        """Whether no alarm was raised."""
        return not self.alarms

    @property
    def known(self) -> str:
        """What may be said of log Z where an alarm was raised, in words.

        The forward side of a frozen schedule is an unbiased Z, so that by Markov's inequality it
        exceeds log Z by more than c in a share e^-c of all runs at most, and the best of three
        starts in three times as many: by more than 4.1 nats in one run of twenty.
        """
        if not math.isfinite(self.forward.value):
            return "nothing: a side is not finite"
        return (
            f"a lower bound: log Z is {self.forward.value:.2f} or more, on average over runs "
            f"({self.forward.value - 4.1:.2f} or more in 19 runs of 20)"
        )

    def __str__(self) -> str:
        low, high = self.interval
        text = (
            f"log Z between {low.value:.2f} ± {low.stderr:.2f} and "
            f"{high.value:.2f} ± {high.stderr:.2f}"
        )
        if self.schedule is None:
            text = f"log Z {self.value:.2f}, exact"
        elif self.bracketed:
            apart = abs(self.gap) + math.hypot(low.stderr, high.stderr)
            text = f"{text}: bracketed within {apart:.2f} nat"
        else:
            known = f"{text}: NOT bracketed; known is {self.known}"
            text = "\n".join([known, *(f"  alarm: {a}" for a in self.alarms)])
        if self.off_support_mass is None:
            return text
        value, stderr, expected = self.off_support_mass
        return (
            f"{text}\nmass where there are no data: {value:.2f} ± {stderr:.2f} "
            f"({expected:.2f} of a perfect model)"
        )


@dataclass(frozen=True)
class NLL:
    """A mean negative log-likelihood in nats per row, with its two errors.

    Attributes:
        value: ``mean U + log Z``.
        stderr_z: standard error of log Z, common to every set scored with it.
        stderr_data: standard error of the mean over the rows.
        bracketed: whether log Z was bracketed without an alarm.

    >>> import noneq, torch
    >>> energy = noneq.Gaussian(torch.zeros(2), noneq.energies.Identity())
    >>> rows = energy.sample(1000, torch.Generator().manual_seed(0))
    >>> found = noneq.nll(energy, rows, noneq.log_z(energy, data=rows))
    >>> print(found)
    2.88 nats ± 0.00 (log Z) ± 0.04 (rows)
    """

    value: float
    stderr_z: float
    stderr_data: float
    bracketed: bool

    def __str__(self) -> str:
        sure = "" if self.bracketed else " (log Z is NOT bracketed: see its alarms)"
        return (
            f"{self.value:.2f} nats ± {self.stderr_z:.2f} (log Z) ± {self.stderr_data:.2f} "
            f"(rows){sure}"
        )
