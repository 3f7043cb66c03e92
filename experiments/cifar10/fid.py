"""The Frechet inception distance of samples from images, by torchmetrics, an optional extra."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["MissingError", "frechet_inception_distance", "pixels"]

BATCH = 250


class MissingError(ImportError):
    """Error: torchmetrics, or what it needs for images, is not installed."""


def pixels(x: Tensor) -> Tensor:
    """Images (M, 3, H, W) from -1 to 1 as bytes from 0 to 255, what lies outside at the ends."""
    return ((x + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def frechet_inception_distance(images: Tensor, samples: Tensor) -> float:
    """Compute the distance between images and samples (Heusel and others 2017, arXiv 1706.08500).

    The features are those of the 2,048 last units of Inception v3. Its parameters are downloaded
    by torch-fidelity when they are first needed. The distance depends on the number of samples.

    Arguments:
        images: images (M, 3, H, W) from -1 to 1.
        samples: samples (N, 3, H, W), on the same device.

    Raises:
        MissingError: torchmetrics is not installed.
    """
    try:
        from torchmetrics.image.fid import FrechetInceptionDistance

        metric = FrechetInceptionDistance(feature=2048).to(images.device)
    except ImportError as error:  # without torch-fidelity it is the second line that raises
        raise MissingError(
            "the Frechet inception distance needs torchmetrics: pip install 'noneq[fid]'"
        ) from error
    for x, real in ((images, True), (samples, False)):
        for part in pixels(x).split(BATCH):
            metric.update(part, real=real)
    return float(metric.compute())
