"""Images moved by one pixel, as further training rows where the validation rows gain by them.

Of a few hundred large images not even the covariance is known: the Gaussian base of 980 digits of
28 x 28 has an NLL of -27 nats on them, and of 26 nats on test images (docs/results/digits.md). An
image that is moved by one pixel is still such an image. The share of moved images among the
training rows is chosen by the validation rows, by the Gaussian that is fitted to all.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import pad

from noneq.data import DataSet
from noneq.energies import Gaussian
from noneq.likelihood.score import mean_energy
from noneq.run.bases import FEWEST, LEAST, NOISY, ROWS, WIDE, some
from noneq.run.model_settings import GAUSSIANS
from noneq.run.recipe import Recipe

__all__ = ["choose_shifts", "moved", "with_shifts"]

SHARES = (0.5, 2 / 3, 0.8)
LARGEST = 2**27  # numbers, half a GB: with more than that no images are added by themselves
DIRECTIONS = ((0, 1), (0, -1), (1, 0), (-1, 0))


def moved(images: Tensor) -> Tensor:
    """Move images by one pixel to the left, to the right, up and down.

    The pixels at the edge that is left are repeated.

    Arguments:
        images: images (M, channels, height, width).

    Returns:
        The moved images (4 M, channels, height, width), direction by direction.

    Raises:
        ValueError: the rows are no images.

    >>> moved(torch.tensor([[[[1.0, 2.0, 3.0]]]]))[:2, 0, 0].tolist()
    [[2.0, 3.0, 3.0], [1.0, 1.0, 2.0]]
    """
    if images.dim() != 4:
        raise ValueError(
            "`shifted` moves images of shape (channels, height, width), got rows of shape "
            f"{tuple(images.shape[1:])}: leave it at 0"
        )
    height, width = images.shape[2:]
    wide = pad(images, (1, 1, 1, 1), mode="replicate")
    parts = [wide[:, :, 1 + a : 1 + a + height, 1 + b : 1 + b + width] for a, b in DIRECTIONS]
    return torch.cat(parts)


def with_shifts(rows: Tensor, share: float | Literal["chosen"]) -> Tensor:
    """Add moved images to training rows.

    Each image is there ``round(4 (1 - share) / share)`` times, once at least, and once moved in
    each of four directions.

    Arguments:
        rows: training rows (M, *shape), images if the share is not 0.
        share: share of moved images among all, 0 to 0.8; none if it is still to be chosen.

    Returns:
        The rows, unchanged if there is no share.
    """
    if share in ("chosen", 0):
        return rows
    share = float(share)
    copies = max(1, round(4 * (1 - share) / share))
    return torch.cat([*[rows] * copies, moved(rows)])


def choose_shifts(recipe: Recipe, data: DataSet) -> Recipe:
    """Choose the share of moved images by the validation rows.

    For shares of 0, 1/2, 2/3 and 4/5 a Gaussian is fitted to the training rows with moved ones.
    The share with the lowest mean negative log-likelihood (NLL) of the validation rows is taken,
    if it is lower than that of 0 by more than a paired standard error. With fewer validation rows
    than a base is chosen by, or too many images for the memory, the share is 0.

    Arguments:
        recipe: all settings of a training; its ``shifted`` is chosen if it is "chosen".
        data: data set with training and validation rows.

    Returns:
        The recipe, in which ``shifted`` is a number if the kind of model has that setting.
    """
    model: Any = recipe.model
    if getattr(model, "shifted", 0.0) != "chosen":
        return recipe
    train, validation = some(data.train, ROWS), some(data.validation, NOISY)
    share = 0.0
    few = FEWEST if train[0].numel() > WIDE else LEAST
    enough = len(torch.unique(validation.flatten(1), dim=0)) >= few
    if enough and 8 * data.train.numel() <= LARGEST and train.dim() == 4:
        kind: Any = model.base if model.base in GAUSSIANS else "full"

        def scores(share: float) -> Tensor:
            rows = with_shifts(train, share)
            base = Gaussian.fit(rows, kind, noise=recipe.train.noise, ridge=model.ridge)
            return mean_energy(base, validation, noise=recipe.train.noise) + base.log_z()

        plain, tried = scores(0.0), {one: scores(one) for one in SHARES}
        best = min(SHARES, key=lambda one: float(tried[one].mean()))
        gain = (plain - tried[best]).double()
        if float(gain.mean()) > float(gain.std()) / len(gain) ** 0.5:
            share = best
    return replace(recipe, model=replace(model, shifted=share))
