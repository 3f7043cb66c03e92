"""Conversion of rows to the units in which an estimator's RBM is trained, and back.

Bits are unchanged, numbers are standardised.
"""

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
    """Converts NumPy rows in the user's units to tensors in the model's units, and back.

    The model's units are ``(x - mean) / scale``.

    Attributes:
        visible: kind of the visible units, "bernoulli" or "gaussian".
        mean: column means (d,) that are subtracted; 0 for "bernoulli".
        scale: standard deviations (d,) that divide the columns; 1 for "bernoulli".
        device: torch device of the tensors.
    """

    visible: str
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    device: str

    @classmethod
    def of(cls, visible: str, moments: Moments, device: str) -> Self:
        """Choose the units for rows, whose moments are given.

        Arguments:
            visible: kind of the visible units, "bernoulli" or "gaussian".
            moments: mean, variance and range of each column of the rows.
            device: torch device of the tensors.

        Returns:
            The units, with the mean and the standard deviation of each column for "gaussian", and
            with mean 0 and scale 1 for "bernoulli".

        Raises:
            ValueError: a column is constant, or, for "bernoulli", all rows are equal.
        """
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
        """Return whether the visible units are bits, i.e. ``visible`` is "bernoulli"."""
        return self.visible == "bernoulli"

    def tensor(self, x: Floats, dtype: torch.dtype = torch.float32) -> Tensor:
        """Convert rows from the user's units to the model's, ``(x - mean) / scale``.

        Arguments:
            x: array (M, d) in the user's units.
            dtype: dtype of the result.

        Returns:
            A tensor (M, d) in the model's units, on ``device``.
        """
        scaled = (x.astype(np.float64) - self.mean) / self.scale
        return torch.from_numpy(scaled).to(device=self.device, dtype=dtype)

    def states(self, x: Floats, rng: torch.Generator) -> Tensor:
        """Convert rows in the user's units to states of the model's visible units.

        Arguments:
            x: array (M, d) in the user's units.
            rng: source of randomness of the bits.

        Returns:
            A tensor (M, d) in the model's units, float32; for "bernoulli" bits, each of which is 1
            with the probability in ``x``.
        """
        rows = self.tensor(x)
        return draw_bits(torch.logit(rows), rng) if self.bits else rows

    def array(self, x: Tensor) -> NDArray[np.float64]:
        """Convert rows from the model's units to the user's, ``mean + scale x``.

        Arguments:
            x: tensor (M, d) in the model's units.

        Returns:
            An array (M, d) in the user's units, float64.
        """
        found: NDArray[np.float64] = x.detach().double().cpu().numpy() * self.scale + self.mean
        return found
