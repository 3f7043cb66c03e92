"""The units that an estimator's model is trained in: bits as they are, numbers standardised."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noneq.estimators.arrays import Floats, are_bits
from noneq.estimators.streams import Moments
from noneq.random import draw_bits

__all__ = ["Units"]


@dataclass(frozen=True)
class Units:
    """Rows of arrays and rows of tensors, one from the other.

    Attributes:
        visible: "bernoulli" or "gaussian".
        mean, scale: (d,) what numbers are standardised by; 0 and 1 for bits.
        device: where tensors are.
    """

    visible: str
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    device: str

    @classmethod
    def of(cls, visible: str, moments: Moments, device: str) -> Self:
        """Those of rows with these moments; ValueError for columns that never change."""
        still = np.flatnonzero(moments.low == moments.high).tolist()
        if visible == "bernoulli":
            if len(still) == len(moments.mean) and are_bits(moments.low):
                raise ValueError("all rows are the same one: there is nothing to learn")
            mean, scale = np.zeros_like(moments.mean), np.ones_like(moments.mean)
            return cls(visible, mean, scale, device)
        if still:
            raise ValueError(
                f"{len(still)} columns never change (the first: {still[0]}): no density "
                "exists there; drop them (sklearn.feature_selection.VarianceThreshold)"
            )
        return cls(visible, moments.mean, np.sqrt(moments.var), device)

    @property
    def bits(self) -> bool:
        """Whether the visible units are bits."""
        return self.visible == "bernoulli"

    def tensor(self, x: Floats, dtype: torch.dtype = torch.float32) -> Tensor:
        """Rows in the model's units."""
        scaled = (x.astype(np.float64) - self.mean) / self.scale
        return torch.from_numpy(scaled).to(device=self.device, dtype=dtype)

    def states(self, x: Floats, rng: torch.Generator) -> Tensor:
        """Rows in the model's units, with bits drawn where they are probabilities of bits."""
        rows = self.tensor(x)
        return draw_bits(torch.logit(rows), rng) if self.bits else rows

    def array(self, x: Tensor) -> NDArray[np.float64]:
        """Rows in the units that they were given in."""
        found: NDArray[np.float64] = x.detach().double().cpu().numpy() * self.scale + self.mean
        return found
