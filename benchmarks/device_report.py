"""Checks and measurements that are done one after another: a failure of one hides no other.

Each has a name, a limit of time and a result; all that has happened so far is in a JSON file after
each of them, so that a program that is ended at its limit of time has not run in vain.
"""

from __future__ import annotations

import json
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Literal

__all__ = ["Entry", "Outcome", "Report", "Status", "close", "near", "time_limit"]

Status = Literal["ok", "FAILED", "error", "skipped"]


@dataclass(frozen=True)
class Outcome:
    """What a check found.

    Attributes:
        ok: whether it found what theory, or the processor, says; None: it only measures.
        text: the numbers in words.
        numbers: the numbers by name, for the record.
    """

    ok: bool | None
    text: str
    numbers: dict[str, Any] = field(default_factory=dict)


def near(value: float, exact: float, stderr: float, *, what: str = "log Z") -> Outcome:
    """Compare an estimate with an exact value: within four standard errors.

    Arguments:
        value: the estimate.
        exact: the exact value.
        stderr: standard error of the estimate.
        what: its name.

    Returns:
        The outcome.
    """
    ok = abs(value - exact) <= 4 * stderr
    text = f"{what} {value:.4f}, exact {exact:.4f}, standard error {stderr:.4f}"
    return Outcome(ok, text, {"value": value, "exact": exact, "stderr": stderr})


def close(value: float, bound: float, what: str) -> Outcome:
    """Compare a difference that should vanish with a bound for rounding.

    Arguments:
        value: largest difference.
        bound: largest value that rounding explains.
        what: its name.

    Returns:
        The outcome.
    """
    return Outcome(value <= bound, f"{what} {value:.2e}, bound {bound:.0e}", {"value": value})


@dataclass
class Entry:
    """One line of the report, as the record has it."""

    part: str
    name: str
    status: Status
    text: str
    seconds: float
    numbers: dict[str, Any]
    traceback: str = ""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """A context that is left by a `TimeoutError` after some seconds, between two Python steps.

    Arguments:
        seconds: the limit.

    Returns:
        A context, for a ``with`` statement, without a value.
    """

    def end(_: int, __: FrameType | None) -> None:
        raise TimeoutError(f"not done after {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Report:
    """Does checks, prints a line of each at once, and keeps the record.

    Arguments:
        out: JSON file of the record.
        seconds: time for all of them; what comes later is skipped.
        head: what the record says first, e.g. the machine.

    Attributes:
        entries: what was found so far.
    """

    def __init__(self, out: Path, seconds: float, head: dict[str, Any]) -> None:
        self.out, self.head = out, head
        self.end = time.monotonic() + seconds
        self.entries: list[Entry] = []
        out.parent.mkdir(parents=True, exist_ok=True)

    @property
    def left(self) -> float:
        """Return the seconds that are left."""
        return self.end - time.monotonic()

    def check(self, part: str, name: str, work: Callable[[], Outcome], limit: float) -> Entry:
        """Do one check, whatever it raises.

        Arguments:
            part: group of checks.
            name: of this one.
            work: function that does it.
            limit: seconds that it may take.

        Returns:
            The entry of the record.
        """
        start = time.monotonic()
        if self.left < 1:
            return self._enter(Entry(part, name, "skipped", "no time is left", 0.0, {}))
        try:
            with time_limit(min(limit, self.left)):
                found = work()
            status: Status = "FAILED" if found.ok is False else "ok"
            entry = Entry(part, name, status, found.text, 0.0, found.numbers)
        except Exception as error:  # a fault of one check must not hide the others
            text = f"{type(error).__name__}: {str(error).strip()}"
            entry = Entry(part, name, "error", text[:2000], 0.0, {}, traceback.format_exc())
        entry.seconds = time.monotonic() - start
        return self._enter(entry)

    def _enter(self, entry: Entry) -> Entry:
        self.entries.append(entry)
        text = " ".join(entry.text.split())
        line = f"{entry.status:7} {entry.part}: {entry.name} [{entry.seconds:.1f} s] {text[:300]}"
        print(line, flush=True)
        for at in entry.traceback.splitlines()[-7:-1]:  # where it was raised
            print(f"        {at}", flush=True)
        self.save()
        return entry

    def save(self) -> None:
        """Write the record."""
        plain = {**self.head, "entries": [asdict(entry) for entry in self.entries]}
        text = json.dumps(plain, indent=1, default=str)
        self.out.write_text(text + "\n", encoding="utf-8")

    def counts(self) -> dict[Status, int]:
        """Count the entries of each status."""
        every = [entry.status for entry in self.entries]
        return {status: every.count(status) for status in ("ok", "FAILED", "error", "skipped")}
