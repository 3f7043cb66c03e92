"""Scikit-learn's 1,797 handwritten digits, 8 x 8 pixels: the smallest real image set."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["SIZES", "Split", "digits", "raw_digits"]

SIZES = (1257, 180, 360)
"""Rows to train on, to choose by, to report on."""


class Split(NamedTuple):
    """Rows to train on, to choose by, and to report on once."""

    train: Tensor
    validation: Tensor
    test: Tensor


def digits() -> Split:
    """The digits as rows of 64 values ``pixel / 8 - 1`` in [-1, 1]: 1,257, 180 and 360 of them.

    Pixels are integers 0 to 16, some always 0, so a density needs noise: ``Settings(noise=0.15)``
    is this library's protocol. The split never changes. Source: Alpaydin and Kaynak 1998, as
    bundled with scikit-learn.
    """
    x = torch.from_numpy(raw_digits()[0]).float() / 8 - 1
    return Split(*torch.split(x, list(SIZES)))


def raw_digits() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Pixels (1797, 64), 0 to 16, and labels (1797,), in the order that `SIZES` cuts."""
    from sklearn.datasets import load_digits

    found = load_digits()
    rng = torch.Generator().manual_seed(0)
    order = torch.randperm(len(found.data), generator=rng, device="cpu").numpy()
    return found.data[order], found.target[order].astype(np.int64)
