"""Detection of a training that diverges, by a running mean of its negative log-likelihood."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

__all__ = ["DivergenceMonitor"]

_REASONS = {
    "NLL": (" nats", "the model learns faster than its walkers mix"),
    "loss": ("", "the steps are too long"),
}


@dataclass
class DivergenceMonitor:
    """Detects that training diverges, by a running mean of its negative log-likelihood (NLL).

    The NLL of a batch needs log Z, which walkers (weighted samples of the model) estimate. From
    time to time a renewal replaces the walkers by newly annealed ones, which estimate log Z anew.
    Training has diverged if the running mean is more than ``margin`` above the smallest of three
    numbers: the NLL of the base (the energy that training starts from), the least running mean
    since the last renewal, and the least running mean right after any renewal or the start, where
    log Z is most certain; or if it is more than ``margin`` below ``floor``. Nothing is tested for
    ``least`` iterations after a renewal.

    Arguments:
        base: NLL of the base per row, in nats.
        margin: tolerance in nats, larger than the fluctuations of a batch's mean NLL; infinite: no
            divergence is ever detected.
        least: number of iterations that the running mean extends over.
        seen: number of iterations since the last renewal, counted by `see`.
        mean: running mean of the NLL, in nats; NaN before the first iteration.
        best: least running mean of the NLL since the last renewal, in nats.
        known: least running mean of the NLL right after any renewal, in nats.
        floor: smallest possible NLL, in nats: 0 for discrete rows, whose probabilities are at most
            1, and minus infinity for real ones, which have densities.
        kind: name of the monitored metric: "NLL", or "loss" if the loss of score matching is
            monitored instead of the NLL.
    """

    base: float
    margin: float
    least: int = 25
    seen: int = 0
    mean: float = math.nan
    best: float = math.inf
    known: float = math.inf
    floor: float = -math.inf
    kind: Literal["NLL", "loss"] = "NLL"

    @property
    def healthy(self) -> bool:
        """Return whether training shows no sign of divergence, so that its state may be kept.

        This is True if the running mean of the NLL exceeds ``best``, the least running mean since
        log Z was last estimated anew, by at most ``margin / 4``; and also in the first ``least``
        iterations after a new estimate. A training that diverges later is rolled back to the last
        such state.
        """
        return self.seen < self.least or not self.mean - self.best > self.margin / 4

    def see(self, nll: float, *, renewed: bool = False) -> None:
        """Update the running mean with the NLL of one more iteration, and test for divergence.

        Arguments:
            nll: mean NLL of the iteration's batch, in nats; NaN, where log Z is unknown, is
                ignored.
            renewed: whether log Z is estimated anew after this iteration.

        Raises:
            FloatingPointError: the training has diverged.
        """
        if math.isnan(nll) or self.margin == math.inf:  # log Z unknown: nothing to judge by
            return
        self.seen += 1
        part = max(1 / self.seen, 1 / self.least)
        self.mean = nll if self.seen == 1 else self.mean + part * (nll - self.mean)
        if self.seen >= self.least:
            self.best = min(self.best, self.mean)
        if self.seen == self.least:
            self.known = min(self.known, self.mean)
        nats, why = _REASONS[self.kind]
        limit = min(self.base, self.best, self.known) + self.margin
        if nll == math.inf or (self.seen >= self.least and self.mean > limit):
            raise FloatingPointError(
                f"the running {self.kind} rose to {self.mean:.1f}{nats}, the limit is "
                f"{limit:.1f} (the base has {self.base:.1f}): {why}"
            )
        if self.seen >= self.least and self.mean < self.floor - self.margin:
            raise FloatingPointError(
                f"the running NLL fell to {self.mean:.1f} nats, which no model can have: log Z is "
                "lost, the model learns faster than its walkers mix"
            )
        if renewed:
            self.seen, self.best = 0, math.inf
