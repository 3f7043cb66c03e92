"""A run's folder is for one process at a time."""

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
    """Another process works in the run's folder."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """A context in which no other process may change the folder; a lock dies with its process.

    A new run that a killed process left unsettled is settled first.

    Raises BusyError at once where another process has it.
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
    """The folder itself locked: its lock file may be removed by hand while a process works there.

    Raises BlockingIOError where another process has it.
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
        except OSError:  # such as those of a network: the lock file holds all the same
            pass
        yield
    finally:
        os.close(handle)
