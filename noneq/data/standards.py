"""The scalings that suit each kind of data, computed from training rows.

`for_images` chooses one shift and scale for all pixels, `for_table` those of each column, and
`for_bits` and `for_binary` part values in two.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from noneq.data.cells import Cells
from noneq.data.scaling import Scaling, scalar
from noneq.random import uniform

__all__ = ["for_binary", "for_bits", "for_images", "for_table"]


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


def for_table(train: NDArray[Any], cells: Cells | None = None) -> Scaling:
    """Make the scaling that standardises each column of a table.

    Shift and scale of a column are its mean and standard deviation over the training rows, whose
    repeated values are spread over their intervals before. For a constant column they are its
    value and 1, so that it becomes 0.

    Arguments:
        train: the training rows (M, D).
        cells: the columns with their kinds; None: all are continuous.

    Returns:
        The scaling ``x = (value - shift) / scale``, with shift and scale of shape (D,).
    """
    if cells is not None and not cells.trivial:
        rng = torch.Generator("cpu").manual_seed(0)
        train = cells.spread(torch.from_numpy(train), uniform(train.shape, rng)).numpy()
    constant = torch.from_numpy((train == train[0]).all(0))
    with np.errstate(over="ignore", invalid="ignore"):  # Scaling raises a clearer error
        mean = torch.from_numpy(train.mean(0, dtype=np.float64))
        sd = torch.from_numpy(train.std(0, dtype=np.float64))
    first = torch.from_numpy(train[0].astype(np.float64))
    shift, scale = torch.where(constant, first, mean), torch.where(constant, 1.0, sd)
    return Scaling(shift, scale, cells=cells)


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
