"""The device of a computation by name, and what fits into its memory."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import torch

__all__ = ["check_fits", "memory", "usable"]

_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


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


def memory(device: torch.device | str = "cpu") -> int:
    """Bytes of memory that a device has to give; of the cpu at most what a container lets it."""
    device = torch.device(device)
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    found = []
    with suppress(AttributeError, ValueError, OSError):  # no such question on Windows
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for path in _LIMITS:
        with suppress(OSError, ValueError):  # "max": no limit
            found.append(int(Path(path).read_text(encoding="ascii")))
    with suppress(OSError, StopIteration):  # of Linux
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next(line.split() for line in lines if line.startswith("MemAvailable:"))
        found.append(1024 * int(free[1]))
    return min(found, default=2**63)


def check_fits(need: int, what: str, remedy: str, device: torch.device | str = "cpu") -> None:
    """Raise ValueError where a device has less memory than is needed.

    Arguments:
        need: bytes.
        what: that needs them, with its verb.
        remedy: what to do.
        device: by default the processor.
    """
    there = memory(device)
    if need > there:
        name = str(torch.device(device))
        has = "there are" if name == "cpu" else f"{name} has"
        raise ValueError(
            f"{what} {_gigabytes(need)} GB of memory, and {has} {_gigabytes(there)}: {remedy}"
        )


def _gigabytes(size: int) -> str:
    found = size / 10**9
    return f"{found:,.0f}" if found >= 100 else f"{found:.3g}"
