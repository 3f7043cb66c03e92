"""The results of the package: a bracketed log Z, and a likelihood computed with it.

`Estimate` and `NLL` hold their values with standard errors and whether alarms (sentences on why
log Z may be wrong) were raised, and print as text.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from noneq.annealing import Schedule
from noneq.likelihood.support import Share
from noneq.walkers import LogZ, Walkers
from noneq.walkers.notebook import html_table

__all__ = ["NLL", "Estimate"]


@dataclass(frozen=True)
class Estimate:
    """Holds a bracket of log Z: one estimate that is low on average, one that is high, and alarms.

    `noneq.log_z` returns an object of this class. The low estimate is from annealing samples
    forward, from an energy with known log Z to the model; the high one from annealing samples of
    the model backward. An alarm is a sentence that says why the bracket may be wrong.

    Attributes:
        forward: log Z from forward annealing, on average too low, with its standard error.
        backward: log Z from backward annealing, on average too high, with its standard error.
        alarms: reasons why the bracket may be wrong, each with its remedy; empty if there are
            none.
        ess: effective sample size of the forward samples, as a fraction of their number.
        effective_ancestors: effective number of those samples at the start of forward annealing
            from which, after resampling, the samples at its end descend.
        schedule: annealing schedule of the forward samples, which `noneq.log_z` accepts as
            ``temperatures``; None where log Z is exact.
        walkers: the weighted sample of the model at the end of forward annealing.
        mark: hash of the model's parameters, by which `noneq.nll` recognises the model; None
            where the model is a plain function.
        off_support_mass: share of the model's probability in regions without data, with its
            standard error and its expectation for a perfect model (`noneq.likelihood.support`);
            None where no data were given.

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
    effective_ancestors: float
    schedule: Schedule | None
    walkers: Walkers
    mark: Tensor | None = None
    off_support_mass: Share | None = None

    @property
    def interval(self) -> tuple[LogZ, LogZ]:
        """The two estimates of log Z (nats) with their standard errors, the smaller one first."""
        ends = self.forward, self.backward
        return ends if self.backward.value > self.forward.value else ends[::-1]

    @property
    def value(self) -> float:
        """The larger of the two estimates of log Z, in nats.

        A likelihood that is computed with it is rather too low than too high.
        """
        return self.interval[1].value

    @property
    def stderr(self) -> float:
        """The standard error, in nats, of the larger of the two estimates of log Z (`value`)."""
        return self.interval[1].stderr

    @property
    def gap(self) -> float:
        """The difference of the two estimates of log Z, backward less forward, in nats.

        It is negative where the forward estimate is the higher one.
        """
        return self.backward.value - self.forward.value

    @property
    def bracketed(self) -> bool:
        """Whether there are no alarms, so that log Z can be taken to lie in `interval`.

        An alarm is a sentence that says why the estimates may be wrong.
        """
        return not self.alarms

    @property
    def known(self) -> str:
        """A sentence on the lower bound of log Z, which is valid even where there are alarms.

        Forward annealing by a fixed schedule gives an unbiased estimate of Z. By Markov's
        inequality the logarithm of such an estimate exceeds log Z by more than c in at most a
        share ``exp(-c)`` of all runs. The forward estimate is the best of up to three, and exceeds
        log Z by more than c in at most a share ``3 exp(-c)``: one run of twenty for c = 4.1 nats.
        """
        if not math.isfinite(self.forward.value):
            return "nothing: the forward estimate is not finite"
        return (
            f"a lower bound: log Z is {self.forward.value:.2f} or more, on average over runs "
            f"({self.forward.value - 4.1:.2f} or more in 19 runs of 20)"
        )

    @property
    def _ends(self) -> str:
        """Both estimates of log Z with their errors, the smaller one first."""
        return " and ".join(f"{end.value:.2f} ± {end.stderr:.2f}" for end in self.interval)

    def __repr__(self) -> str:
        alarms = f"{len(self.alarms)} alarm{'s' * (len(self.alarms) > 1)}"
        sure = "bracketed" if self.bracketed else f"NOT bracketed, {alarms}"
        if self.schedule is None:
            return f"Estimate(log Z {self.value:.2f}, exact)"
        return (
            f"Estimate(log Z between {self._ends}, {sure}, ESS {self.ess:.2f}, "
            f"{self.effective_ancestors:.0f} of {len(self.walkers)} ancestors)"
        )

    @property
    def _off_support(self) -> str:
        """The mass where there are no data, beside that of a perfect model; "" if unknown."""
        if self.off_support_mass is None:
            return ""
        value, stderr, expected = self.off_support_mass
        return f"{value:.2f} ± {stderr:.2f} ({expected:.2f} of a perfect model)"

    def _repr_html_(self) -> str:
        """Return the estimates and alarms as HTML, which a notebook shows."""
        if self.schedule is None:
            return html_table(f"log Z {self.value:.2f} nats, exact", {}, self.alarms)
        sure = "bracketed" if self.bracketed else "NOT bracketed"
        rows = {} if self.bracketed else {"what is known": self.known}
        rows["effective sample size"] = f"{self.ess:.2f}"
        rows["effective ancestors"] = f"{self.effective_ancestors:.0f} of {len(self.walkers)}"
        rows["mass where there are no data"] = self._off_support or "unknown: no data were given"
        return html_table(f"log Z between {self._ends} nats: {sure}", rows, self.alarms)

    def __str__(self) -> str:
        low, high = self.interval
        text = f"log Z between {self._ends}"
        if self.schedule is None:
            text = f"log Z {self.value:.2f}, exact"
        elif self.bracketed:
            apart = abs(self.gap) + math.hypot(low.stderr, high.stderr)
            text = f"{text}: bracketed within {apart:.2f} nat"
        else:
            known = f"{text}: NOT bracketed; what is known is {self.known}"
            text = "\n".join([known, *(f"  alarm: {a}" for a in self.alarms)])
        if self.off_support_mass is None:
            unseen = "a mode that no start of an annealing reaches would go unseen"
            return f"{text}\n(no data were given: {unseen})" if self.schedule else text
        return f"{text}\nmass where there are no data: {self._off_support}"


@dataclass(frozen=True)
class NLL:
    """Holds the mean negative log-likelihood of data, in nats per row, with two standard errors.

    Attributes:
        value: mean negative log-likelihood, ``mean U(x) + log Z`` over the rows x.
        stderr_z: standard error of log Z; this error is the same for all data of the model.
        stderr_data: standard error of ``mean U(x)``, due to the finite number of rows.
        bracketed: whether log Z was estimated without alarms, which are reasons to distrust it.

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
