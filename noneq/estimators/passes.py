"""Passes over weighted rows, by windows of tensors that a training loop draws its batches from."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import issparse
from torch import Tensor

from noneq.estimators.arrays import PART, Floats, Rows, dense
from noneq.random import draw_bits

__all__ = ["Passes"]


class Passes:
    """Goes over rows again and again; `window` is the tensor that holds them at the time.

    It holds all of them, unless sparse rows of bits are more than a part: then as many as fit, in
    an order that each pass draws anew. Rows of unequal weights are in a pass as often as their
    weight says (systematic draws), and probabilities are drawn as bits in each.

    Arguments:
        x: rows (M, d).
        weight: (M,) positive.
        tensor: brings rows into the model's units.
        bits: "drawn" where rows are probabilities of bits, "given" where they are bits, "" where
            they are numbers.
        batch: rows that training takes at once.
        rng: of the draws, on the device of the tensors.
    """

    def __init__(
        self,
        x: Rows,
        weight: NDArray[np.float64],
        tensor: Callable[[Floats], Tensor],
        bits: str,
        batch: int,
        rng: torch.Generator,
    ) -> None:
        self.x, self.weight, self.tensor, self.bits, self.rng = x, weight, tensor, bits, rng
        n = len(weight)
        size = n
        if issparse(x) and bits:
            size = min(n, max(2 * batch, PART // x.shape[1]))
        self.windows: int = math.ceil(n / size)
        self.size = math.ceil(n / self.windows)
        self.batches = math.ceil(self.size / batch)
        self.fixed = self.windows == 1 and bits != "drawn" and self._equal()
        self._order = self._drawn()
        self.window = self._rows(0)

    def __len__(self) -> int:
        """Batches of a pass."""
        return self.windows * self.batches

    def __iter__(self) -> Iterator[int]:
        """A pass: fills the window, and says how many batches to take from it, until all were."""
        for k in range(self.windows):
            self.fill(k)
            yield self.batches

    def fill(self, k: int) -> None:
        """Bring the k-th part of a pass into the window; the first begins a new one."""
        if self.fixed:
            return
        if k == 0:
            self._order = self._drawn()
        self.window.copy_(self._rows(k))

    def _rows(self, k: int) -> Tensor:
        order = self._order
        rows = self.x if order is None else self.x[order[k * self.size : (k + 1) * self.size]]
        found = self.tensor(dense(rows))
        return draw_bits(torch.logit(found), self.rng) if self.bits == "drawn" else found

    def _drawn(self) -> NDArray[np.int64] | None:
        """Which rows a pass takes, by weight; None for all as they stand."""
        n, order = len(self.weight), None
        if not self._equal():
            u = torch.rand(1, generator=self.rng, device=self.rng.device).item()
            edges = np.cumsum(self.weight)
            order = np.searchsorted(edges, (np.arange(n) + u) * (edges[-1] / n), side="right")
            order = order.clip(max=n - 1)  # of rounding
        if self.windows > 1:
            shuffled = torch.randperm(n, generator=self.rng, device=self.rng.device).cpu().numpy()
            order = shuffled if order is None else order[shuffled]
            order = np.resize(order, self.windows * self.size)
        return order

    def _equal(self) -> bool:
        return bool((self.weight == self.weight[0]).all())
