"""Images with their class labels, as the rows of a model that is conditional on the label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Labels", "labels_among"]

MANY = 20  # labels that are listed in a text, at most
LEAST = 5  # training images of a label


class Labels(NamedTuple):
    """Describes rows (x, c): the pixels of an image and behind them its label as a one-hot vector.

    Attributes:
        classes: class labels, whole numbers in increasing order; the k-th is the k-th unit vector.
        shape: shape (C, H, W) of an image.

    >>> labels = Labels((2, 7), (1, 1, 2))
    >>> rows = labels.join(torch.tensor([[[[0.5, -1.0]]]]), [7])
    >>> rows, labels.images(rows).shape, labels.of(rows)
    (tensor([[ 0.5000, -1.0000,  0.0000,  1.0000]]), torch.Size([1, 1, 1, 2]), tensor([7]))
    """

    classes: tuple[int, ...]
    shape: tuple[int, ...]

    def join(self, x: Tensor, labels: Sequence[int] | NDArray[np.int64]) -> Tensor:
        """Join images and their labels to rows.

        Arguments:
            x: images (M, *shape).
            labels: their labels (M,).

        Returns:
            The rows (M, C H W + k), in the dtype of x.

        Raises:
            ValueError: a label is none of the classes.
        """
        own = torch.as_tensor(labels, device="cpu")
        other = own[~torch.isin(own, torch.tensor(self.classes, device="cpu"))]
        if len(other):
            raise ValueError(f"label {int(other[0])} is none of the model's: {self}")
        at = torch.searchsorted(torch.tensor(self.classes, device="cpu"), own)
        one_hot = torch.eye(len(self.classes), device="cpu")[at]
        return torch.cat([x.flatten(1), one_hot.to(x)], 1)

    def images(self, x: Tensor) -> Tensor:
        """Return the images (M, *shape) of rows, without their labels."""
        return x[:, : -len(self.classes)].reshape(-1, *self.shape)

    def of(self, x: Tensor) -> Tensor:
        """Return the labels (M,) of rows, as integers."""
        at = x[:, -len(self.classes) :].argmax(1)
        return torch.tensor(self.classes, device=x.device)[at]

    def context(self, label: int, like: Tensor) -> Tensor:
        """Return the unit vector (k,) of a label.

        Arguments:
            label: one of the classes.
            like: tensor whose dtype and device it gets.

        Raises:
            ValueError: the label is none of the classes.
        """
        if label not in self.classes:
            raise ValueError(f"label {label} is none of the model's: {self}")
        one_hot = like.new_zeros(len(self.classes))
        one_hot[self.classes.index(label)] = 1
        return one_hot

    def __str__(self) -> str:
        more = f" and {len(self.classes) - MANY} more" if len(self.classes) > MANY else ""
        return ", ".join(map(str, self.classes[:MANY])) + more

    def plain(self) -> dict[str, Any]:
        """Return the classes and the shape as lists, for a JSON file."""
        return {"classes": list(self.classes), "shape": list(self.shape)}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Labels:
        """Restore the labels from the dictionary that `plain` returned."""
        return cls(tuple(plain["classes"]), tuple(plain["shape"]))


def labels_among(splits: Sequence[NDArray[np.int64]], shape: tuple[int, ...]) -> Labels:
    """Find the classes of images, which must have training images.

    Arguments:
        splits: labels of the training, validation and test images.
        shape: shape (C, H, W) of an image.

    Returns:
        The labels of the training images.

    Raises:
        ValueError: a label has fewer than five training images, or none; or there is one label.
    """
    classes, counts = np.unique(splits[0], return_counts=True)
    for name, part in zip(("validation", "test"), splits[1:], strict=True):
        other = np.setdiff1d(part, classes)
        if len(other):
            raise ValueError(
                f"label {other[0]} is among the {name} images, and not among the training images: "
                "leave it out (`classes` names those to keep)"
            )
    if len(classes) < 2:
        raise ValueError("all images have one label: take `model` network")
    if counts.min() < LEAST:
        raise ValueError(
            f"label {classes[counts.argmin()]} has {counts.min()} training images, too few for a "
            f"density: {LEAST} or more are needed; leave it out (`classes` names those to keep)"
        )
    return Labels(tuple(classes.tolist()), shape)
