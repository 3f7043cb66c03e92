"""Whether a training diverges, by its running likelihood."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

__all__ = ["DivergenceMonitor"]

_TOLD = {
    "NLL": (" nats", "the model learns faster than its walkers mix"),
    "loss": ("", "the steps are too long"),
}


@dataclass
class DivergenceMonitor:
    """Tells a run that diverges by its running NLL, a smooth mean over some iterations.

    It has diverged where that mean is more than ``margin`` nats above the base's own NLL, above
    the best since log Z was known anew (the start, or a renewal), or above the best that was
    known so; or ``margin`` below what no model can be below. Nothing is judged before ``least``
    iterations have been seen.

    Arguments:
        base: NLL of the base.
        margin: in nats; more than a batch's mean may stray. Where it is infinite nothing is
            judged.
        least: iterations.
        floor: NLL that no model is below: 0 of discrete rows, whose probabilities are at most 1.
        kind: what is watched in place of the NLL may be the loss of score matching.
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
        """Whether it is near its best: a state worth going back to."""
        return self.seen < self.least or not self.mean - self.best > self.margin / 4

    def see(self, nll: float, *, renewed: bool = False) -> None:
        """Judge one iteration. One that ends in a renewal is the last under its log Z.

        Raises FloatingPointError when the run has diverged.
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
        nats, why = _TOLD[self.kind]
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
