"""Handling of signals that ask the program to stop, so that a run is saved before it ends.

The signals are SIGINT (Ctrl-C), SIGTERM, SIGHUP (a terminal closes), SIGUSR1 (with which batch
systems warn of the end of a job) and SIGXCPU (the processor time is spent). A signal that is
ignored when the program starts, as SIGHUP under nohup, stays ignored.
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
"""Numbers of the signals that ask the program to stop, of those that the system has.

They are SIGINT (Ctrl-C), SIGTERM, SIGHUP, SIGUSR1 and SIGXCPU.
"""
#: signals that stop at once when repeated; the others may be repeated by the system
_INSISTENT = (signal.SIGINT, signal.SIGTERM)


class StoppedError(KeyboardInterrupt):
    """Error: a signal of the operating system has asked the program to stop.

    Arguments:
        number: number of the signal, e.g. ``signal.SIGINT``.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def interrupts(echo: Callable[[], None]) -> Iterator[Callable[[], int]]:
    """Open a context in which the first signal that asks to stop is recorded, and raises nothing.

    So the code in the context can finish what it does and save the run.

    Arguments:
        echo: function without arguments that is called when the first signal arrives.

    Yields:
        A function that returns the number of the signal that arrived, or 0 if none did.

    Raises:
        StoppedError: SIGINT or SIGTERM arrives after the first signal.
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
    """Open a context in which a signal that asks to stop raises `StoppedError`.

    Returns:
        A context, for a ``with`` statement, without a value.

    Raises:
        StoppedError: one of the signals in `STOPPING` arrives.
    """

    def stop(number: int) -> None:
        raise StoppedError(number)

    with _handled(stop):
        yield


@contextmanager
def _handled(handle: Callable[[int], None]) -> Iterator[None]:
    """Call a function with the number of the first signal, and of a later SIGINT or SIGTERM."""
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
