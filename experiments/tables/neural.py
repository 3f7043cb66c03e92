"""A neural spline flow of zuko, with early stopping."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from experiments.tables.rows import (
    MANY,
    Coordinates,
    Fitted,
    Rows,
    Whitener,
    noisy,
    scored,
    spaces_of,
)  # fmt: skip
from experiments.tables.search import best_of
from noneq.random import add_noise

__all__ = ["SplineTraining", "spline_flow"]

BATCH, RATE, EMA = 256, 1e-3, 0.99


class SplineTraining:
    """One training of zuko's NSF by maximum likelihood.

    Arguments:
        rows: the rows of the split.
        space: one of `spaces_of`.
        transforms: number of autoregressive transforms.
        hidden: width of the two hidden layers.
        decay: weight decay of AdamW.
    """

    def __init__(
        self, rows: Rows, *, space: str, transforms: int, hidden: int, decay: float
    ) -> None:
        import zuko

        self.outer, self.own = rows, torch.Generator().manual_seed(rows.seed)
        self.coordinates = Coordinates(rows, mapped=space == "mapped")
        self.rows = rows = self.coordinates.rows
        plain = space == "standardised"
        self.whitener = None if plain else Whitener(noisy(rows), rows.validation)
        dim = rows.train.shape[1]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(rows.seed)
            self.net: nn.Module = zuko.flows.NSF(
                dim, transforms=transforms, hidden_features=(hidden, hidden)
            )
        self.average = copy.deepcopy(self.net)
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=RATE, weight_decay=decay)
        self.done = 0
        self.words = (
            f"{space} columns, {transforms} transforms of width {hidden}, weight decay {decay:g}"
        )

    def _inside(self, x: Tensor) -> Tensor:
        return (self.whitener.apply(x) if self.whitener else x).float()

    def advance(self, iterations: int, speed: float = 1.0) -> None:
        """Train for some iterations, at this fraction of the learning rate."""
        for group in self.optimizer.param_groups:
            group["lr"] = speed * RATE
        for _ in range(iterations):
            which = torch.randint(len(self.rows.train), (BATCH,), generator=self.own)
            x = add_noise(self.rows.train[which], self.rows.noise, self.own)
            self.optimizer.zero_grad(set_to_none=True)
            loss = -self.net().log_prob(self._inside(x)).mean()
            loss.backward()
            nn.utils.clip_grad_norm_(self.net.parameters(), 5.0)
            self.optimizer.step()
            self.done += 1
            step = 1 - min(EMA, self.done / (self.done + 10))
            with torch.no_grad():
                averages, now = list(self.average.parameters()), list(self.net.parameters())
                torch._foreach_lerp_(averages, now, step)

    @torch.no_grad()
    def nll(self, x: Tensor) -> Tensor:
        """NLL of rows (M, D), by the averaged parameters."""
        y, log_volume = self.coordinates.apply(x)
        volume = log_volume + (self.whitener.log_volume if self.whitener else 0.0)
        parts = torch.split(self._inside(y), 1000)
        return -torch.cat([self.average().log_prob(z) for z in parts]).double() - volume

    def check(self) -> float:
        """The validation NLL."""
        values = scored(self.nll, self.outer.validation, self.rows.noise, draws=3)
        return float(values.nan_to_num(math.inf).mean())

    def state(self) -> Any:
        """The averaged parameters."""
        return self.average.state_dict()

    def restore(self, state: Any) -> None:
        """Take these as the averaged parameters."""
        self.average.load_state_dict(state)


def spline_flow(rows: Rows) -> Fitted:
    """A neural spline flow of zuko: coordinates by validation, which also ends the training.

    Source: Durkan, Bekasov, Murray, Papamakarios 2019, arXiv 1906.04032.
    """
    t, h, d = (3, 64, 0.1) if len(rows.train) < MANY else (5, 128, 0.01)
    trainings = [
        SplineTraining(rows, space=s, transforms=t, hidden=h, decay=d) for s in spaces_of(rows)
    ]
    best, words = best_of(trainings, rows.seconds)
    assert isinstance(best, SplineTraining)
    return Fitted(best.nll, words)
