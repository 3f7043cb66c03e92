"""Images of three classes in unequal proportions, and a classifier that measures proportions.

The digits 2, 3 and 6 of MNIST in the proportions 4 : 2 : 1, with Gaussian noise on the pixels, as
in Carbone, Hua, Coste, Vanden-Eijnden 2023 (arXiv 2305.19414); at 14 x 14 pixels, which are means
of 2 x 2, or as they are; or three classes of another set of images. The classifier is
scikit-learn's perceptron, trained on images with that noise. Its errors are measured on images
that it was not trained on, and proportions are corrected for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from sklearn.neural_network import MLPClassifier
from torch import Tensor
from torch.nn.functional import avg_pool2d

from noneq.data.readers import read

__all__ = ["CLASSES", "NOISE", "PROPORTIONS", "Classifier", "Images", "Proportions", "load"]

CLASSES = (2, 3, 6)
PROPORTIONS = torch.tensor([4.0, 2.0, 1.0]).double() / 7
TRAIN, HELD = (640, 320, 160), (160, 80, 40)  # images of each class; validation and test are HELD
NOISE = 0.15  # standard deviation, where pixels are from -1 to 1
COPIES = 5  # noisy copies of each image that the classifier is trained on


@dataclass(frozen=True)
class Images:
    """Images (M, 1, H, W), pixels from -1 to 1 without noise, in the proportions 4 : 2 : 1.

    Attributes:
        train, validation, test: images to train on, to choose by, and to report on.
        rest: all images of the three classes, for the classifier.
        labels: class (0, 1 or 2) of each of ``rest``.
        held: which of ``rest`` are validation or test images.
    """

    train: Tensor
    validation: Tensor
    test: Tensor
    rest: Tensor
    labels: Tensor
    held: Tensor


def load(
    path: Path,
    halvings: int = 1,
    classes: tuple[int, ...] = CLASSES,
    train: tuple[int, ...] = TRAIN,
    seed: int = 0,
) -> Images:
    """Read three classes of a file of labelled images, the digits 2, 3 and 6 by default.

    Arguments:
        path: file of images with labels, of any format that noneq reads, e.g. MNIST's .npz.
        halvings: how often pixels are replaced by means of 2 x 2.
        classes: labels of the three classes.
        train: number of images of each to train on, in the proportions 4 : 2 : 1.
        seed: seed of the splits.

    Returns:
        The images.

    Raises:
        ValueError: there are no labels, or too few images of a class.
    """
    rows = read(path)
    if rows.labels is None:
        raise ValueError(f"{path}: has no labels, by which classes are chosen")
    x = rows.x.reshape(len(rows.x), 1, *rows.x.shape[-2:])
    x = 2 * (x - x.min()) / (x.max() - x.min()) - 1
    for _ in range(halvings):
        x = avg_pool2d(x, 2)
    rng = torch.Generator().manual_seed(seed)
    parts: list[list[Tensor]] = [[], [], [], []]
    for own, n, held in zip(classes, train, HELD, strict=True):
        mine = (rows.labels == own).nonzero()[:, 0]
        if len(mine) < n + 2 * held:
            raise ValueError(f"{path}: has {len(mine)} images of a {own}, {n + 2 * held} asked")
        mine = mine[torch.randperm(len(mine), generator=rng)]
        sizes = [n, held, held, len(mine) - n - 2 * held]
        for part, which in zip(parts, mine.split(sizes), strict=True):
            part.append(which)
    split = [torch.cat(part) for part in parts]
    every = torch.cat(split)
    labels = sum((k * (rows.labels[every] == own).long() for k, own in enumerate(classes)))
    held = torch.zeros(len(every), dtype=torch.bool)
    held[len(split[0]) : len(split[0]) + len(split[1]) + len(split[2])] = True
    return Images(*(x[which] for which in split[:3]), x[every], torch.as_tensor(labels), held)


@dataclass(frozen=True)
class Proportions:
    """Proportions of the classes among weighted images.

    Attributes:
        masses: estimated proportions, corrected for the classifier's errors; they sum to 1, and
            may be a little below 0.
        stderr: largest standard error of the three.
        sure: mean over the images of the highest probability that the classifier gives to a class.
    """

    masses: tuple[float, ...]
    stderr: float
    sure: float

    def error(self, truth: Tensor = PROPORTIONS) -> float:
        """Half the sum of the absolute differences to the truth."""
        return float((torch.tensor(self.masses).double() - truth).abs().sum() / 2)


class Classifier:
    """Tells the classes of noisy images, and with which probabilities it confuses them.

    Arguments:
        images: images of the three classes.
        seed: seed of noise and initial weights.

    Attributes:
        confusion: probabilities (3, 3) that an image of class i is called j, on held-out images.
        accuracy: share of the held-out images whose class is told rightly.
    """

    def __init__(self, images: Images, seed: int = 0) -> None:
        rng = torch.Generator().manual_seed(seed)
        own = ~images.held
        self._net = MLPClassifier((200,), alpha=1e-2, early_stopping=True, random_state=seed)
        x, y = _noisy(images.rest[own], COPIES, rng), images.labels[own].repeat(COPIES)
        self._net.fit(x.numpy(), y.numpy())
        x, y = _noisy(images.rest[images.held], COPIES, rng), images.labels[images.held]
        called = torch.from_numpy(self._net.predict(x.numpy())).view(COPIES, -1)
        hits = [[(called[:, y == i] == j).double().mean() for j in range(3)] for i in range(3)]
        self.confusion = torch.tensor(hits).double()
        self.accuracy = float((called == y).double().mean())

    def proportions(self, x: Tensor, p: Tensor | None = None) -> Proportions:
        """Estimate the proportions of the classes among images.

        Arguments:
            x: images (N, 1, H, W), with noise.
            p: probabilities (N,) of the images; by default all are equal.

        Returns:
            The proportions.
        """
        weights = torch.full((len(x),), 1 / len(x)) if p is None else p
        weights = weights.double()
        likely = torch.from_numpy(self._net.predict_proba(x.flatten(1).numpy())).double()
        called = torch.nn.functional.one_hot(likely.argmax(1), 3).double()
        inverse = torch.linalg.inv(self.confusion)
        each = called @ inverse
        masses = weights @ each
        spread = (weights[:, None] ** 2 * (each - masses) ** 2).sum(0).sqrt()
        sure = float(weights @ likely.max(1).values)
        return Proportions(tuple(masses.tolist()), float(spread.max()), sure)


def _noisy(images: Tensor, copies: int, rng: torch.Generator) -> Any:
    """Noisy copies of images, each a row of float32."""
    x = images.flatten(1).repeat(copies, 1)
    return x + NOISE * torch.randn(x.shape, generator=rng)
