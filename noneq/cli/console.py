"""Output of the command line program, by rich: lines, tables and progress bars.

If the output is no terminal, or that of a notebook's cell, progress is printed as a few lines
instead of a bar. Control characters in text, such as in names of columns, are escaped.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO, Any, TypeVar, cast

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, track
from rich.table import Table
from rich.text import Text

from noneq.cli.advice import flags
from noneq.data.plaintext import visible

__all__ = ["aside", "columns", "echo", "listening", "show_table", "tracked", "training_bar"]

T = TypeVar("T")


class _Output:
    """Writes to the present sys.stdout until that fails, so that a run outlives its reader.

    After the first error, such as a broken pipe or a closed terminal, nothing more is written, and
    one message goes to stderr. Characters missing from the encoding are escaped.
    """

    def __init__(self) -> None:
        self.lost: Any = None  # the stream that can no longer be written
        self.aside = False  # whether to write to sys.stderr instead

    @property
    def stream(self) -> Any:
        """Return the present sys.stdout; None if the program was started without one."""
        own = sys.stderr if self.aside else sys.stdout
        return getattr(own, "rich_proxied_file", own)

    def write(self, text: str) -> int:
        """Write text, or nothing if the stream is lost; return the number of characters."""
        encoding = getattr(self.stream, "encoding", None) or "utf-8"
        self._do("write", text.encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def flush(self) -> None:
        """Flush the stream, unless it is lost."""
        self._do("flush")

    def _do(self, verb: str, *what: str) -> None:
        out = self.stream
        if out is None or out is self.lost:
            return
        try:
            getattr(out, verb)(*what)
        except (OSError, ValueError) as error:  # ValueError: it is closed
            self.lost = out
            with suppress(OSError, ValueError):  # so that what it still holds does no harm
                os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())
            with suppress(OSError, ValueError, AttributeError):
                sys.stderr.write(
                    f"noneq: the output is lost ({error}); the work goes on, kill -TERM "
                    f"{os.getpid()} stops it\n"
                )
                sys.stderr.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


_output = _Output()
console = Console(highlight=False, soft_wrap=True, file=cast(IO[str], _output))


@contextmanager
def aside(wanted: bool) -> Iterator[None]:
    """Open a context in which all is printed to sys.stderr, so that sys.stdout is for results.

    Arguments:
        wanted: whether to do so.

    Returns:
        A context, for a ``with`` statement, without a value.
    """
    before, _output.aside = _output.aside, wanted
    try:
        yield
    finally:
        _output.aside = before


def columns() -> int:
    """Measure the width of the terminal.

    Returns:
        The number of characters that fit on a line; 100 if the output is no terminal.
    """
    return console.width if console.is_terminal else 100


def echo(text: str = "", style: str = "") -> None:
    """Print a message on the standard output, in which `lr` in backticks becomes --lr.

    Arguments:
        text: one or more lines, without markup; a name in backticks is replaced if ``noneq`` has
            an option of this name.
        style: style of the whole text, such as "bold", as the package rich names it.
    """
    console.print(Text("\n".join(map(visible, flags(text).split("\n"))), style=style))


class _EchoHandler(logging.Handler):
    """Prints log messages of the library, such as how long a bracket will take."""

    def emit(self, record: logging.LogRecord) -> None:
        echo(record.getMessage(), "bold" if record.levelno >= logging.WARNING else "dim")


@contextmanager
def listening() -> Iterator[None]:
    """Open a context in which log messages of the logger "noneq" are printed.

    Returns:
        A context, for a ``with`` statement, without a value.
    """
    logger, handler = logging.getLogger("noneq"), _EchoHandler()
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate


def show_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table whose first column is aligned left, and all other columns right.

    Arguments:
        title: title above the table.
        columns: headings of the columns.
        rows: rows of the table, each with one text for each column.
    """
    shown = Table(title=Text(visible(title)), title_justify="left", title_style="bold")
    for i, column in enumerate(columns):
        shown.add_column(Text(visible(column)), justify="right" if i else "left")
    for row in rows:
        shown.add_row(*(Text(visible(word)) for word in row))
    console.print(shown)


def _live() -> bool:
    """Whether lines can be drawn anew: on a terminal, and not below the cell of a notebook.

    A notebook asks for colours by FORCE_COLOR, so that rich takes its output for a terminal.
    """
    return console.is_terminal and "JPY_PARENT_PID" not in os.environ


def tracked(steps: Sequence[T], what: str, /) -> Iterable[T]:
    """Show the progress of a loop: a bar on a terminal, or else one line when the loop starts.

    Arguments:
        steps: sequence to loop over.
        what: label of the bar or line, such as "moving".

    Returns:
        An iterable over the same items, which advances the bar; it can be looped over once.
    """
    if not _live():
        echo(f"{what}: {len(steps)} steps", "dim")
        return steps
    return track(steps, what, console=console, transient=True)


@contextmanager
def training_bar() -> Iterator[Callable[[float, float, str], None]]:
    """Open a context that shows the progress of training: a bar, or lines if there is no terminal.

    Yields:
        A function ``show(share, seconds, text)``, to be called after each iteration with the
        fraction of the training that is done, the seconds spent, and a line of text to show.
    """
    if not _live():
        yield _lines()
        return
    shown = (BarColumn(24), TaskProgressColumn(), TextColumn("{task.fields[left]}"))
    bar = Progress(*shown, console=console)
    task = bar.add_task("", total=1.0, left="")
    with Live(bar, console=console) as live:

        def show(share: float, seconds: float, text: str) -> None:
            bar.update(task, completed=min(share, 1.0), left=_left(share, seconds))
            # the text takes two lines in a narrow terminal
            live.update(Group(bar, Text(text, no_wrap=False, overflow="fold")))

        yield show


def _lines() -> Callable[[float, float, str], None]:
    """Return a function that prints a line for each tenth of the training, or each minute."""
    shown, last = -1, time.monotonic()

    def show(share: float, seconds: float, text: str) -> None:
        nonlocal shown, last
        if int(share * 10) > shown or time.monotonic() - last > 60:
            shown, last = int(share * 10), time.monotonic()
            echo(f"{min(share, 1.0):4.0%}  {_left(share, seconds):>12}  {text}")

    return show


def _left(share: float, seconds: float) -> str:
    if share < 0.005:
        return ""
    left = max(0.0, seconds / share * (1 - share))
    return f"{left:.0f} s left" if left < 100 else f"{left / 60:.0f} min left"
