"""What guards a run: its folder is its own, for one process; a calm end when interrupted."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from filelock import FileLock, Timeout

__all__ = ["BusyError", "check_vacant", "interrupts", "locked"]


class BusyError(RuntimeError):
    """Another process works in the run's folder."""


def check_vacant(folder: Path, *, overwrite: bool = False) -> None:
    """Raise FileExistsError unless a run can be made there: nothing is, or a run to overwrite."""
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder}: is a file; a run is a folder: take another (--out)")
    there = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []
    if "config.json" in there and not overwrite:
        raise FileExistsError(
            f"{folder}: holds a run already; go on with it (--resume), replace it "
            "(--overwrite) or take another folder (--out)"
        )
    if there and not {"config.json", "lock"} & set(there):
        raise FileExistsError(
            f"{folder}: is not a run and not empty ({there[0]}, ...): take another (--out)"
        )


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """A context in which no other process may change the folder; a lock dies with its process.

    Raises BusyError at once where another process has it.
    """
    lock = FileLock(folder / "lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise BusyError(
            f"{folder}: another process is working on this run; wait for it, or stop it"
        ) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def interrupts(say: Callable[[], None]) -> Iterator[Callable[[], int]]:
    """Note Ctrl-C and SIGTERM instead of dying, so that the run can be saved.

    Yields a function that tells the number of the signal that came, 0 if none did; ``say`` is
    called when the first does. A second one is a KeyboardInterrupt.
    """
    seen: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        if seen:
            raise KeyboardInterrupt
        seen.append(number)
        say()

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: seen[0] if seen else 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
