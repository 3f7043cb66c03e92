"""A progress bar around a loop, on a terminal or in a notebook."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from importlib import import_module
from itertools import islice
from typing import TypeVar

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from noneq.training import Record

__all__ = ["show_progress"]

T = TypeVar("T")

SECONDS = 0.1  # between two updates in a notebook


def show_progress(
    steps: Iterable[T], description: str = "", /, *, total: int | None = None
) -> Iterator[T]:
    """Show the progress of a loop as a bar, on a terminal or in a notebook.

    Around `noneq.train` the numbers of the last record are shown, too. Functions with an argument
    ``track``, such as `noneq.log_z`, take this function for it. A notebook needs no package for
    it besides IPython, which every notebook has.

    Arguments:
        steps: what is looped over.
        description: name of the loop, shown before the bar.
        total: number of steps, after which the loop ends; default: ``len(steps)`` or, where this
            is unknown, as many as there are.

    Yields:
        Each step in turn.

    >>> import noneq, torch
    >>> data, settings = torch.randn(256, 2), noneq.Settings(walkers=64, held_out=None)
    >>> energy = noneq.Tilted(noneq.Gaussian.fit(data), noneq.MLP(2, width=16))
    >>> for record in show_progress(noneq.train(energy, data, settings), "training", total=3):
    ...     nll = record.nll  # doctest: +ELLIPSIS
    training ... 3/3 ... NLL ...
    """
    if total is None and isinstance(steps, Sized):
        total = len(steps)
    title = TextColumn("{task.description}", markup=False)
    numbers = TextColumn("{task.fields[numbers]}", markup=False)
    bar = Progress(title, BarColumn(24), MofNCompleteColumn(), TimeRemainingColumn(), numbers)
    task = bar.add_task(description, total=total, numbers="")
    with _shown(bar) as refresh:
        for step in islice(steps, total):
            known = step._known if isinstance(step, Record) else {}
            text = ", ".join(f"{name} {value}" for name, value in known.items())
            bar.update(task, advance=1, numbers=text)
            refresh()
            yield step


@contextmanager
def _shown(bar: Progress) -> Iterator[Callable[[], None]]:
    """Open a context in which the bar is shown, with a function that shows it anew."""
    if not bar.console.is_jupyter:
        with bar:  # which shows itself anew
            yield lambda: None
        return
    # rich would need ipywidgets here, and shows nothing without them
    handle = import_module("IPython.display").display(bar, display_id=True)
    last = time.monotonic()

    def refresh() -> None:
        nonlocal last
        if time.monotonic() - last > SECONDS:
            handle.update(bar)
            last = time.monotonic()

    try:
        yield refresh
    finally:
        handle.update(bar)
