"""What a kind of model is told of the data, and what it tells of the size of a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

__all__ = ["About", "Size"]


class About(NamedTuple):
    """The properties of data from which default settings of a training are chosen.

    Attributes:
        shape: shape of one row; of images (channels, height, width).
        rows: number of training rows.
        kind: kind of the data, "image" or "table".
        discrete: whether values repeat or columns are constant, so that only noisy data have a
            density.
    """

    shape: Sequence[int]
    rows: int
    kind: Literal["image", "table"]
    discrete: bool


class Size(NamedTuple):
    """The size of a model, from which the memory that training takes is estimated.

    Attributes:
        choice: name of the setting that decides the size, e.g. "width".
        parameters: approximate number of parameters.
        activations: approximate number of activations that are kept for one row.
    """

    choice: str
    parameters: int
    activations: int
