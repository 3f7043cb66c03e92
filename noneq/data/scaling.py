"""Scaling of rows between the units of a file and those of a model: x = (value - shift) / scale.

Shift and scale depend on the kind of data: `for_images`, `for_table`, `for_bits` and `for_binary`
compute them from the training rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noneq.data.margins import Margins

__all__ = ["Scaling", "for_binary", "for_bits", "for_images", "for_table", "scalar"]

_BLOCK = 4096  # rows in float64 at a time


@dataclass(frozen=True, eq=False)
class Scaling:
    """Maps values from a file's units to the model's: ``x = (value - shift) / scale``.

    The model's units are those of the rows x that a model is trained on.

    Attributes:
        shift: number subtracted from the values, float64; of shape () if it is the same for all
            values of a row, else of the shape of a row.
        scale: positive number by which the shifted values are divided, float64; of shape () or of
            the shape of a row.
        threshold: for binary data, the number above which values are replaced by 1, and others by
            0, before shift and scale are applied; None: values are not replaced.
        margins: maps of the shifted and scaled columns to normal variables, which then are x;
            None: they are not mapped.

    Raises:
        ValueError: if a scale is not a positive finite number.
    """

    shift: Tensor
    scale: Tensor
    threshold: float | None = None
    margins: Margins | None = None

    def __post_init__(self) -> None:
        if not bool((torch.isfinite(self.scale) & (self.scale > 0)).all()):
            raise ValueError("values spread too far, or too little, for a scale to be computed")

    def apply(self, rows: Tensor) -> Tensor:
        """Convert rows from the file's units to the model's, ``x = (value - shift) / scale``.

        Arguments:
            rows: rows (M, *shape) in the file's units, of any type of numbers.

        Returns:
            The rows in the model's units, float32 (M, *shape).
        """
        return torch.cat([self._apply(part.double()) for part in torch.split(rows, _BLOCK)])

    def _apply(self, values: Tensor) -> Tensor:
        if self.threshold is not None:
            values = (values > self.threshold).double()
        shift, scale = self.shift.to(values), self.scale.to(values)
        x = (values - shift) / scale
        return (x if self.margins is None else self.margins.apply(x)[0].to(x)).float()

    def undo(self, x: Tensor) -> Tensor:
        """Convert rows from the model's units to the file's, ``value = x scale + shift``.

        Arguments:
            x: rows (M, *shape) in the model's units.

        Returns:
            The rows in the file's units, float64 (M, *shape); for binary data, 0 or 1 instead.
        """
        if self.margins is not None:
            parts = [self.margins.undo(part) for part in torch.split(x, _BLOCK)]
            x = torch.cat(parts).to(x.device)
        values = x.double() * self.scale.to(x.device) + self.shift.to(x.device)
        return values if self.threshold is None else (values > 0.5).double()

    def log_jacobian(self, dim: int) -> float:
        """Compute ``log |det dx/dvalue| = -sum log scale`` for a row of ``dim`` values, in nats.

        The log-density of a row in the file's units is that of the shifted and scaled row plus
        this number (and `log_volume`, if the columns are mapped). For binary rows it need not be
        added: probabilities have no units.

        Arguments:
            dim: the number of values of a row.

        Returns:
            The logarithm of the Jacobian determinant of ``x = (value - shift) / scale``, in nats.

        Raises:
            ValueError: if ``scale`` has one number for each value of a row, but not ``dim``.
        """
        if self.scale.dim() and self.scale.numel() != dim:
            raise ValueError(f"rows have {self.scale.numel()} values, not {dim}")
        total = float(self.scale.double().log().sum())
        return -total if self.scale.dim() else -dim * total

    def log_volume(self, x: Tensor) -> Tensor:
        """Compute ``log |det dx/dy|`` of the map of standardised rows y to rows x by `margins`.

        The log-density of a row y is that of x plus this number.

        Arguments:
            x: rows (M, *shape) in the model's units.

        Returns:
            The logarithms of the determinants (M,), float64, in nats; 0 without margins.
        """
        if self.margins is None:
            return torch.zeros(len(x), dtype=torch.float64, device=x.device)
        m = self.margins
        parts = [m.apply(m.undo(part))[1] for part in torch.split(x, _BLOCK)]
        return torch.cat(parts).to(x.device)

    def plain(self) -> dict[str, Any]:
        """Convert the scaling to numbers and lists for a JSON file.

        Returns:
            A dictionary of shift, scale and threshold, from which `from_plain` restores the
            scaling.
        """
        return {
            "shift": self.shift.tolist(),
            "scale": self.scale.tolist(),
            "threshold": self.threshold,
            "margins": None if self.margins is None else self.margins.plain(),
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Scaling:
        """Restore a scaling from the dictionary that `plain` returned, bit for bit.

        Arguments:
            plain: a dictionary returned by `plain`, also if written to JSON and read again.

        Returns:
            The scaling.
        """
        shift, scale = (_number(plain[k]) for k in ("shift", "scale"))
        margins = plain["margins"]
        own = None if margins is None else Margins.from_plain(margins)
        return cls(shift, scale, plain["threshold"], own)

    def __str__(self) -> str:
        if self.threshold is not None:
            low, high = ((v - float(self.shift)) / float(self.scale) for v in (0, 1))
            return f"x = {high:g} where value > {self.threshold:g}, else {low:g}"
        if self.scale.dim():
            how = "" if self.margins is None else ", mapped to a normal variable"
            return f"x = (value - mean) / sd{how}, column by column"
        shift, scale = float(self.shift), float(self.scale)
        if (shift, scale) == (0, 1):
            return "x = value"
        if shift == scale:
            many = f"{1 / scale:g} value" if scale < 1 else f"value / {scale:g}"
            return f"x = {many} - 1"
        return f"x = (value - {shift:.4g}) / {scale:.4g}"


def _number(value: float | list[float]) -> Tensor:
    """Convert to a float64 tensor on the CPU."""
    return torch.tensor(value, dtype=torch.float64, device="cpu")


def scalar(shift: float, scale: float, threshold: float | None = None) -> Scaling:
    """Make a scaling ``x = (value - shift) / scale`` with one shift and one scale for all values.

    Arguments:
        shift: the number subtracted from every value.
        scale: the positive number by which the differences are divided.
        threshold: for binary data, the number above which a value counts as 1, and otherwise as 0,
            before shift and scale are applied; or None.

    Returns:
        The scaling.
    """
    return Scaling(_number(shift), _number(scale), threshold)


def for_images(train: NDArray[Any]) -> Scaling:
    """Choose one shift and scale for all pixels of images, from the training rows.

    Non-negative integers v become ``2 v / top - 1``, where top is 255 if the largest value is from
    128 to 255, and the largest value otherwise. Values in [0, 1] become ``2 v - 1``, values in
    [-1, 1] stay unchanged, and others are standardised by mean and standard deviation.

    Arguments:
        train: the training rows (M, C, H, W).

    Returns:
        The scaling ``x = (v - shift) / scale``.
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
    with np.errstate(over="ignore", invalid="ignore"):  # Scaling raises a clearer error
        return scalar(float(train.mean(dtype=np.float64)), float(train.std(dtype=np.float64)))


def for_table(train: NDArray[Any]) -> Scaling:
    """Make the scaling that standardises each column of a table.

    Shift and scale of a column are its mean and standard deviation over the training rows. For a
    constant column they are its value and 1, so that it becomes 0.

    Arguments:
        train: the training rows (M, D).

    Returns:
        The scaling ``x = (value - shift) / scale``, with shift and scale of shape (D,).
    """
    constant = torch.from_numpy((train == train[0]).all(0))
    with np.errstate(over="ignore", invalid="ignore"):  # Scaling raises a clearer error
        mean = torch.from_numpy(train.mean(0, dtype=np.float64))
        sd = torch.from_numpy(train.std(0, dtype=np.float64))
    first = torch.from_numpy(train[0].astype(np.float64))
    return Scaling(torch.where(constant, first, mean), torch.where(constant, 1.0, sd))


def for_bits(train: NDArray[Any], *, binary: bool) -> Scaling:
    """Make the scaling that turns rows into bits, 0 or 1, as an RBM of bits takes them.

    Arguments:
        train: the training rows (M, *shape).
        binary: whether values above the middle of the range of ``train`` become 1 and others 0; if
            not, all values must be 0 or 1 already.

    Returns:
        The scaling, from values to 0 or 1.

    Raises:
        ValueError: if a value is neither 0 nor 1 without ``binary``, or if all are equal.
    """
    if binary:
        return scalar(0.0, 1.0, for_binary(train).threshold)
    other = train[(train != 0) & (train != 1)]
    if len(other):
        raise ValueError(
            f"{len(other):,} values are neither 0 nor 1 ({float(other[0]):g}, say), and an RBM "
            "of bits has no others: `binary` makes 1 of those above the middle of their range; "
            "`model` gaussian-rbm takes numbers"
        )
    if train.min() == train.max():
        raise ValueError(f"every training value is {float(train.min()):g}: nothing to learn")
    return scalar(0.0, 1.0)


def for_binary(train: NDArray[Any]) -> Scaling:
    """Make the scaling that maps each value to 1 or -1.

    Values above the middle between the smallest and the largest training value become 1.

    Arguments:
        train: the training rows (M, *shape).

    Returns:
        The scaling, from values to 1 or -1.

    Raises:
        ValueError: if all values are equal.
    """
    low, high = float(train.min()), float(train.max())
    if low == high:
        raise ValueError(f"binary: every training value is {low:g}, there is nothing to part")
    return scalar(0.5, 0.5, low / 2 + high / 2)
