"""The device of a computation, by name."""

from __future__ import annotations

import torch

__all__ = ["usable"]


def usable(name: str = "") -> str:
    """The device of that name; by default cuda where there is one, else cpu.

    Raises ValueError where it cannot be used, or lacks float64, which log-weights need.
    """
    chosen = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.zeros(1, device=chosen, dtype=torch.float64)
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"--device {chosen}: cannot be used here ({reason})") from error
    return chosen
