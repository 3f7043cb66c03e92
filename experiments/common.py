"""What every experiment does: print a table, record its result with command, date and machine."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table

__all__ = [
    "LIKELIHOOD_ALONE",
    "RESULTS",
    "machine",
    "record",
    "recorded",
    "table",
    "write_table",
]

LIKELIHOOD_ALONE: Mapping[str, Any] = {
    "score_matching": None,
    "networks": 1,
    "early_stopping": False,
}
"""Settings of a recipe for maximum likelihood from the first iteration to the last."""

RESULTS = Path(__file__).parent / "results"
PAGES = Path(__file__).parents[1] / "docs" / "results"


def _commit() -> str:
    """The commit the numbers are made with; "+" where the package has changed since."""

    def git(*args: str) -> str:
        try:
            return subprocess.check_output(
                ["git", *args], cwd=Path(__file__).parent, text=True, stderr=subprocess.DEVNULL
            ).strip()
        except (OSError, subprocess.CalledProcessError):
            return ""

    changed = git("status", "--porcelain", "--", "../noneq")
    return git("rev-parse", "--short", "HEAD") + ("+" if changed else "")


COMMIT = _commit()  # when the program began, not when it ended


def machine() -> dict[str, str | int]:
    """Processor, cores, threads in use, versions: what a number depends on besides the code."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor() or platform.machine(),
        "cores": os.cpu_count() or 0,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def record(name: str, data: Any, results: Path | None = None) -> Path:
    """Write ``<results>/<name>.json``: data with command, commit, date and machine.

    Arguments:
        name: of the file, without its suffix.
        data: anything JSON can hold; numbers that are not finite become null.
        results: the folder of the record; None is ``experiments/results``.

    Returns:
        The file that was written.
    """
    folder = RESULTS if results is None else results
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.json"
    found = {
        "command": " ".join(["python", *sys.orig_argv[1:]]),
        "commit": COMMIT,
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": machine(),
        "data": _finite(data),
    }
    path.write_text(json.dumps(found, indent=1, allow_nan=False) + "\n")
    return path


def recorded(name: str) -> Any:
    """The data that `record` wrote last under a name; None where nothing is recorded."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text())["data"] if path.exists() else None


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table, the first column to the left and the others to the right."""
    shown = Table(title=escape(title), title_justify="left")
    for i, column in enumerate(columns):
        shown.add_column(escape(column), justify="right" if i else "left", no_wrap=not i)
    for row in rows:
        shown.add_row(*map(escape, row))
    # a table in a log file is as wide as it needs to be
    Console(width=None if sys.stdout.isatty() else 140).print(shown)


def write_table(
    page: str, columns: Sequence[str], rows: Sequence[Sequence[str]], name: str = "table"
) -> None:
    """Write a table between the marks, by its name, of a page of docs/results.

    The marks are ``<!-- table -->`` and ``<!-- end of table -->``; on a page of several tables
    each has a name of its own in place of "table".
    """
    head, *lines = ("| " + " | ".join(line) + " |" for line in (columns, *rows))
    text = "\n".join([head, "|---" * len(columns) + "|", *lines])
    start, end = f"<!-- {name} -->\n", f"\n<!-- end of {name} -->"
    before, rest = (PAGES / page).read_text(encoding="utf-8").split(start)
    after = rest.split(end)[1]
    (PAGES / page).write_text(f"{before}{start}\n{text}\n{end}{after}", encoding="utf-8")


def _finite(data: Any) -> Any:
    """Data with nan and inf, which JSON lacks, as None."""
    if isinstance(data, Mapping):
        return {str(key): _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data
