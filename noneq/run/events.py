"""The metrics of a training as events that TensorBoard shows while it goes on."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

__all__ = ["check_tensorboard", "tensorboard_events"]


def tensorboard_events(folder: Path, iteration: int = 0) -> Callable[[Mapping[str, Any]], None]:
    """Begin to write events of TensorBoard, which the package tensorboard reads and writes.

    Arguments:
        folder: folder of the events; TensorBoard shows it as a run of this name.
        iteration: iteration that the training goes on from; later events that are there already
            are not shown.

    Returns:
        A function that writes the numbers among the metrics of an iteration.

    Raises:
        ImportError: tensorboard is not installed.
    """
    check_tensorboard()
    from torch.utils.tensorboard import SummaryWriter

    writer: Any = SummaryWriter(str(folder), purge_step=iteration + 1 if iteration else None)

    def write(row: Mapping[str, Any]) -> None:
        for name, value in row.items():
            number = isinstance(value, int | float) and math.isfinite(value)
            if number and name != "iteration":
                writer.add_scalar(name, float(value), row["iteration"])
        writer.flush()

    return write


def check_tensorboard() -> None:
    """Raise ImportError, which says what to install, where tensorboard is not installed."""
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "events of TensorBoard need the extra noneq[tensorboard], i.e. the package tensorboard"
        ) from error
