"""From a file's units to the model's and back: x = (value - shift) / scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Scaling", "for_binary", "for_bits", "for_images", "for_table", "scalar"]

_BLOCK = 4096  # rows in float64 at a time


@dataclass(frozen=True, eq=False)
class Scaling:
    """``x = (value - shift) / scale``: from a file's units to the model's.

    Attributes:
        shift: float64, () or (*shape) of a row.
        scale: float64, () or (*shape), positive.
        threshold: of a binary set: values above it are 1, others 0, before shift and scale.
    """

    shift: Tensor
    scale: Tensor
    threshold: float | None = None

    def __post_init__(self) -> None:
        if not bool((torch.isfinite(self.scale) & (self.scale > 0)).all()):
            raise ValueError("values spread too far, or too little, for a scale to be computed")

    def apply(self, rows: Tensor) -> Tensor:
        """Rows (M, *shape) of any type in the model's units, float32."""
        return torch.cat([self._apply(part.double()) for part in torch.split(rows, _BLOCK)])

    def _apply(self, values: Tensor) -> Tensor:
        if self.threshold is not None:
            values = (values > self.threshold).double()
        shift, scale = self.shift.to(values), self.scale.to(values)
        return ((values - shift) / scale).float()

    def undo(self, x: Tensor) -> Tensor:
        """Rows in the file's units, float64; a binary set's are 0 and 1."""
        values = x.double() * self.scale.to(x.device) + self.shift.to(x.device)
        return values if self.threshold is None else (values > 0.5).double()

    def log_jacobian(self, dim: int) -> float:
        """``log |dx/dvalue| = -sum log scale`` of a row of ``dim`` values.

        Added to a log-density in the model's units it gives the one in the file's. The
        probability of a binary row is no density: it is the same in all units.
        """
        if self.scale.dim() and self.scale.numel() != dim:
            raise ValueError(f"rows have {self.scale.numel()} values, not {dim}")
        total = float(self.scale.double().log().sum())
        return -total if self.scale.dim() else -dim * total

    def plain(self) -> dict[str, Any]:
        """For a file: numbers and lists of them."""
        return {
            "shift": self.shift.tolist(),
            "scale": self.scale.tolist(),
            "threshold": self.threshold,
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Scaling:
        """The scaling that `plain` was made of, bit for bit."""
        shift, scale = (_number(plain[k]) for k in ("shift", "scale"))
        return cls(shift, scale, plain["threshold"])

    def __str__(self) -> str:
        if self.threshold is not None:
            low, high = ((v - float(self.shift)) / float(self.scale) for v in (0, 1))
            return f"x = {high:g} where value > {self.threshold:g}, else {low:g}"
        if self.scale.dim():
            return "x = (value - mean) / sd, column by column"
        shift, scale = float(self.shift), float(self.scale)
        if (shift, scale) == (0, 1):
            return "x = value"
        if shift == scale:
            many = f"{1 / scale:g} value" if scale < 1 else f"value / {scale:g}"
            return f"x = {many} - 1"
        return f"x = (value - {shift:.4g}) / {scale:.4g}"


def _number(value: float | list[float]) -> Tensor:
    """A constant of the scaling, kept on the processor."""
    return torch.tensor(value, dtype=torch.float64, device="cpu")


def scalar(shift: float, scale: float, threshold: float | None = None) -> Scaling:
    """One shift and one scale for all values."""
    return Scaling(_number(shift), _number(scale), threshold)


def for_images(train: NDArray[Any]) -> Scaling:
    """One scale for all pixels, by the training rows.

    Non-negative integers ``2 v / top - 1``, where top is the largest, or 255 if that is above 127
    and at most 255; values in [0, 1] ``2 v - 1``; in [-1, 1] unchanged; others by mean and
    standard deviation.
    """
    low, high = float(train.min()), float(train.max())
    whole = train.dtype.kind in "iub" or bool((train == np.floor(train)).all())
    if low >= 0 and high > 0 and (whole or high <= 1):
        top = high if whole else 1.0
        half = (255.0 if 127 < top <= 255 else top) / 2
        return scalar(half, half)
    if low < 0 and low >= -1 and high <= 1:
        return scalar(0.0, 1.0)
    if low == high:
        return scalar(low, 1.0)
    with np.errstate(over="ignore", invalid="ignore"):  # an error, but one of ours
        return scalar(float(train.mean(dtype=np.float64)), float(train.std(dtype=np.float64)))


def for_table(train: NDArray[Any]) -> Scaling:
    """Columns by their mean and standard deviation over the training rows; 1 where constant."""
    constant = torch.from_numpy((train == train[0]).all(0))
    with np.errstate(over="ignore", invalid="ignore"):  # an error, but one of ours
        mean = torch.from_numpy(train.mean(0, dtype=np.float64))
        sd = torch.from_numpy(train.std(0, dtype=np.float64))
    first = torch.from_numpy(train[0].astype(np.float64))
    return Scaling(torch.where(constant, first, mean), torch.where(constant, 1.0, sd))


def for_bits(train: NDArray[Any], *, binary: bool) -> Scaling:
    """Values as they are, all 0 or 1; or, if ``binary``, 1 above the middle of their range.

    Raises ValueError for other values, and where all are the same.
    """
    if binary:
        return scalar(0.0, 1.0, for_binary(train).threshold)
    other = train[(train != 0) & (train != 1)]
    if len(other):
        raise ValueError(
            f"{len(other):,} values are neither 0 nor 1 ({float(other[0]):g}, say), and a machine "
            "of bits has no others: `binary` makes 1 of those above the middle of their range; "
            "`model` gaussian-rbm takes numbers"
        )
    if train.min() == train.max():
        raise ValueError(f"every training value is {float(train.min()):g}: nothing to learn")
    return scalar(0.0, 1.0)


def for_binary(train: NDArray[Any]) -> Scaling:
    """Values above the middle of the training range are 1, others -1.

    Raises ValueError where all are the same.
    """
    low, high = float(train.min()), float(train.max())
    if low == high:
        raise ValueError(f"binary: every training value is {low:g}, there is nothing to part")
    return scalar(0.5, 0.5, low / 2 + high / 2)
