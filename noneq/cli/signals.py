"""Signals that ask the program to stop, and a calm end after them.

Besides Ctrl-C and SIGTERM: SIGHUP, when a terminal closes; SIGUSR1, with which batch systems warn
of the end of a job; SIGXCPU, when the processor time is spent. One that is ignored from the
beginning, as SIGHUP under nohup, stays ignored.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

__all__ = ["STOPPING", "StoppedError", "interrupts", "stoppable"]

STOPPING = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGXCPU")
    if hasattr(signal, name)
)
#: a second of these stops at once; the others come again by themselves
_INSISTENT = (signal.SIGINT, signal.SIGTERM)


class StoppedError(KeyboardInterrupt):
    """A signal stopped the program.

    Arguments:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def interrupts(echo: Callable[[], None]) -> Iterator[Callable[[], int]]:
    """Note a signal that stops instead of dying of it, so that the run can be saved.

    Yields a function that tells the number of the signal that came, 0 if none did; ``say`` is
    called when the first does. A second Ctrl-C or SIGTERM is a `StoppedError`.
    """
    seen: list[int] = []

    def note(number: int) -> None:
        if seen:
            raise StoppedError(number)
        seen.append(number)
        with suppress(OSError, RuntimeError):  # the terminal is gone, or in the middle of a line
            echo()

    with _handled(note):
        yield lambda: seen[0] if seen else 0


@contextmanager
def stoppable() -> Iterator[None]:
    """A context in which a signal that stops is a `StoppedError`."""

    def stop(number: int) -> None:
        raise StoppedError(number)

    with _handled(stop):
        yield


@contextmanager
def _handled(handle: Callable[[int], None]) -> Iterator[None]:
    """Have it called with the first signal, and with those after it that insist."""
    came = False

    def handler(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        nonlocal came
        if not came or number in _INSISTENT:
            came = True
            handle(number)

    before = {}
    try:
        for number in STOPPING:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, handler)
        yield
    finally:
        for number, handler_before in before.items():
            signal.signal(number, handler_before)
