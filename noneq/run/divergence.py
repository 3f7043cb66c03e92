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

    A renewal estimates log Z anew during training, by annealing new walkers. Training has diverged
    if the mean is more than ``margin`` above the smallest of three numbers: the NLL of the base
    (the energy that training starts from), the least mean since the last renewal, and the least
    mean right after any renewal or the start, where log Z is most certain; or if the mean is more
    than ``margin`` below ``floor``. Nothing is tested for ``least`` iterations after a renewal.

    Arguments:
        base: NLL of the base, in nats.
        margin: tolerance in nats, larger than the fluctuations of a batch's mean NLL; infinite: no
            divergence is ever detected.
        least: number of iterations that the running mean extends over.
        seen: number of iterations since the last renewal.
        mean: running mean of the NLL.
        best: least running mean of the NLL since the last renewal.
        known: least running mean of the NLL right after any renewal.
        floor: smallest possible NLL: 0 for discrete rows, whose probabilities are at most 1.
        kind: monitored metric: the NLL, or the loss of score matching in its place.
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
        """Whether the mean is within ``margin / 4`` of ``best``: a state to roll back to."""
        return self.seen < self.least or not self.mean - self.best > self.margin / 4

    def see(self, nll: float, *, renewed: bool = False) -> None:
        """Take the NLL of one more iteration into account.

        Arguments:
            nll: NLL of the iteration, in nats; NaN where log Z is unknown, which is ignored.
            renewed: whether log Z is estimated anew after this iteration.

        Raises:
            FloatingPointError: the run has diverged.
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
