"""Folders in which images are published, with files of training and of test images."""

from __future__ import annotations

from pathlib import Path

from noneq.data.cifar import cifar_folder
from noneq.data.idx import idx_folder

__all__ = ["published"]


def published(folder: Path) -> tuple[Path, Path | None]:
    """Find the training and the test images in a folder, as MNIST and CIFAR are published.

    Arguments:
        folder: the folder, with IDX files or with CIFAR's binary files.

    Returns:
        The path to read the training images from, which is the folder itself where they are in
        several files, and the path of the test images, or None if there are none.

    Raises:
        FileNotFoundError: if there are no images.
    """
    found = idx_folder(folder) or cifar_folder(folder)
    if found is None:
        raise FileNotFoundError(
            f"{folder}: holds no IDX file of images (train-images-idx3-ubyte), and none of CIFAR "
            "(data_batch_1.bin or train.bin)"
        )
    return found
