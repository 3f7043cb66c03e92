"""Maps of standardised rows to other coordinates, one after another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

__all__ = ["Chained", "Map"]


class Map(Protocol):
    """An invertible map of rows, whose volume is known exactly."""

    def apply(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Map rows y (M, D) to x (M, D), and return ``log |det dx/dy|`` (M,) beside them."""

    def undo(self, x: Tensor) -> Tensor:
        """Map rows x (M, D) back to y (M, D)."""


class Chained:
    """Applies one map after another, ``x = m_K(... m_1(y))``; it is a `Map` itself.

    Arguments:
        maps: the maps, the first one first.

    >>> from noneq.data.margins import Margins
    >>> y = torch.randn(200, 2, generator=torch.Generator().manual_seed(0)).exp()
    >>> twice = Chained([Margins.fit(y), Margins.fit(y)])
    >>> bool(torch.allclose(twice.undo(twice.apply(y)[0]), y.double(), atol=1e-6))
    True
    """

    def __init__(self, maps: Sequence[Map]) -> None:
        self.maps = tuple(maps)

    def apply(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Map rows.

        Arguments:
            y: rows (M, D).

        Returns:
            The mapped rows x (M, D), float64 on the CPU, and ``log |det dx/dy|`` of each (M,),
            the sum of those of all maps.
        """
        x = y.double().cpu()
        total = torch.zeros(len(x), dtype=torch.float64, device="cpu")
        for one in self.maps:
            x, volume = one.apply(x)
            total = total + volume
        return x, total

    def undo(self, x: Tensor) -> Tensor:
        """Map rows back, by the last map first.

        Arguments:
            x: mapped rows (M, D).

        Returns:
            The rows y (M, D), float64 on the CPU.
        """
        y = x.double().cpu()
        for one in reversed(self.maps):
            y = one.undo(y)
        return y
