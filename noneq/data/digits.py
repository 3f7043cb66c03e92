"""Scikit-learn's 1,797 handwritten digits, 8 x 8 pixels: the smallest real image set."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Split", "digits"]


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
    from sklearn.datasets import load_digits

    x = torch.from_numpy(load_digits().data).float() / 8 - 1
    x = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))]
    return Split(x[:1257], x[1257:1437], x[1437:])
