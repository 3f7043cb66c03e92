"""What a person sees: progress, tables and words on the terminal, by rich."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, track
from rich.table import Table
from rich.text import Text

from noneq.plaintext import visible

__all__ = ["say", "show_table", "tracked", "training_bar"]

T = TypeVar("T")
console = Console(highlight=False, soft_wrap=True)


def say(text: str = "", style: str = "") -> None:
    """Print lines as they are, in a style of rich's."""
    console.print(Text("\n".join(map(visible, text.split("\n"))), style=style))


def show_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table, the first column to the left and the others to the right."""
    shown = Table(title=Text(visible(title)), title_justify="left", title_style="bold")
    for i, column in enumerate(columns):
        shown.add_column(Text(visible(column)), justify="right" if i else "left")
    for row in rows:
        shown.add_row(*(Text(visible(word)) for word in row))
    console.print(shown)


def tracked(steps: Sequence[T], what: str, /) -> Iterable[T]:
    """A sequence, with a progress bar; in a log, a line when it begins."""
    if not console.is_terminal:
        say(f"{what}: {len(steps)} steps", "dim")
        return steps
    return track(steps, what, console=console, transient=True)


@contextmanager
def training_bar() -> Iterator[Callable[[float, float, str], None]]:
    """Yields ``show(share done, seconds spent, text)``: a bar; elsewhere ten lines in all."""
    if not console.is_terminal:
        yield _lines()
        return
    columns = (BarColumn(24), TaskProgressColumn(), TextColumn("{task.fields[left]}"))
    with Progress(
        *columns, TextColumn("{task.description}", markup=False), console=console
    ) as bar:
        task = bar.add_task("", total=1.0, left="")

        def show(share: float, seconds: float, text: str) -> None:
            bar.update(
                task, completed=min(share, 1.0), description=text, left=_left(share, seconds)
            )

        yield show


def _lines() -> Callable[[float, float, str], None]:
    """For a log: a line for each tenth of the way, or each minute."""
    shown, last = -1, time.monotonic()

    def show(share: float, seconds: float, text: str) -> None:
        nonlocal shown, last
        if int(share * 10) > shown or time.monotonic() - last > 60:
            shown, last = int(share * 10), time.monotonic()
            say(f"{min(share, 1.0):4.0%}  {_left(share, seconds):>12}  {text}")

    return show


def _left(share: float, seconds: float) -> str:
    if share < 0.005:
        return ""
    left = max(0.0, seconds / share * (1 - share))
    return f"{left:.0f} s left" if left < 100 else f"{left / 60:.0f} min left"
