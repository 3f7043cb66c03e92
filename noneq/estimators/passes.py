"""Passes over weighted rows, held as a tensor from which a training loop draws its batches."""

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
    """Make passes over the training rows, i.e. epochs; each iteration over the object is a pass.

    A pass goes over the rows in one or more parts. The present part is copied to the tensor
    ``window``, from which the training draws its batches. Dense rows are a single part; sparse
    rows of bits that are too large for memory come in several parts, in an order that is random in
    each pass. Rows of unequal weights are resampled by weight for each pass (systematic
    resampling), and where values are probabilities, new bits are drawn.

    Arguments:
        x: rows (M, d), dense or sparse.
        weight: positive sample weights (M,) of the rows.
        tensor: function that converts a dense array of rows to a tensor in the model's units.
        bits: kind of the values: "drawn" for probabilities of bits, "given" for bits, "" for real
            numbers.
        batch: number of rows of a training batch.
        rng: source of randomness, on the device of the tensors.

    Attributes:
        window: tensor (m, d) of the m rows of the present part, overwritten by the next part.
        batches: number of batches that are drawn from each part.
        windows: number of parts of a pass.
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
        """Return the number of batches of one pass over the rows."""
        return self.windows * self.batches

    def __iter__(self) -> Iterator[int]:
        """Make one pass over the rows.

        Yields:
            The number of batches to draw from ``window``, once for each part of the rows, after
            the part has been copied there.
        """
        for k in range(self.windows):
            self.fill(k)
            yield self.batches

    def fill(self, k: int) -> None:
        """Copy the k-th part of the rows into the tensor ``window``.

        Arguments:
            k: index of the part, less than ``windows``; 0 begins a new pass over the rows.
        """
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
        """Draw the indices of the rows of a pass, by weight; None: all rows in their order."""
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
