"""The 1,797 handwritten digits of scikit-learn, 8 x 8 pixels, in a fixed split.

The digits come with scikit-learn, so that nothing is downloaded.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["SIZES", "Split", "digits", "raw_digits"]

SIZES = (1257, 180, 360)
"""The numbers of training, validation and test rows of the digits."""


class Split(NamedTuple):
    """Holds the training, validation and test rows of a data set.

    Attributes:
        train: training rows (M, *shape).
        validation: validation rows (M, *shape), for choices such as early stopping.
        test: test rows (M, *shape), for the likelihood that is reported at the end.
    """

    train: Tensor
    validation: Tensor
    test: Tensor

    def __repr__(self) -> str:
        sizes = " / ".join(f"{len(part):,}" for part in self)
        return f"Split({sizes} rows of shape {tuple(self.train.shape[1:])})"


def digits() -> Split:
    """Load the 1,797 handwritten digits of scikit-learn, 8 x 8 pixels, in a fixed split.

    Pixels are integers from 0 to 16, scaled to ``pixel / 8 - 1`` in [-1, 1]. Some pixels are 0 in
    all images, so that a density can be fitted only with noise added to the rows; the
    documentation of this library adds Gaussian noise of standard deviation 0.15,
    ``noneq.Settings(noise=0.15)``. Source: Alpaydin and Kaynak 1998.

    >>> [tuple(part.shape) for part in digits()]
    [(1257, 64), (180, 64), (360, 64)]

    Returns:
        Training, validation and test rows of 64 values, float32.
    """
    x = torch.from_numpy(raw_digits()[0]).float() / 8 - 1
    return Split(*torch.split(x, list(SIZES)))


def raw_digits() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Load the pixels and labels of all digits, first the training, then validation and test rows.

    Returns:
        Pixels, float64 (1797, 64), from 0 to 16, and labels, int64 (1797,), from 0 to 9. The first
        1,257 rows are for training, the next 180 for validation, the last 360 for testing.
    """
    from sklearn.datasets import load_digits

    found = load_digits()
    rng = torch.Generator().manual_seed(0)
    order = torch.randperm(len(found.data), generator=rng, device="cpu").numpy()
    return found.data[order], found.target[order].astype(np.int64)
