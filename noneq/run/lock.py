"""A lock on a run's folder, so that only one process at a time changes its files."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from noneq.run.staging import LOCK, settle

__all__ = ["BusyError", "locked"]

if sys.platform != "win32":
    import fcntl


class BusyError(RuntimeError):
    """Error: another process works in the folder of a training run, or has replaced the run."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of the folder of a training run; it is released if the process is killed.

    If an earlier process was killed while it put the files of a new run in their places, the
    remaining files are moved first.

    Arguments:
        folder: folder of the run.

    Returns:
        A context in which no other process may change the folder.

    Raises:
        BusyError: another process holds the lock.
    """
    with ExitStack() as held:
        try:
            held.enter_context(FileLock(folder / LOCK, timeout=0))
            held.enter_context(_folder_locked(folder))
        except (Timeout, BlockingIOError):
            raise BusyError(
                f"{folder}: another process is working on this run; wait for it, or stop it"
            ) from None
        settle(folder)
        yield


@contextmanager
def _folder_locked(folder: Path) -> Iterator[None]:
    """Lock the folder itself: its lock file may be removed by hand while a process works there.

    Raises:
        BlockingIOError: another process holds the lock.
    """
    if sys.platform == "win32":
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:  # e.g. a network file system: the lock file still holds
            pass
        yield
    finally:
        os.close(handle)
