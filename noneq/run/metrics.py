"""The file metrics.jsonl of a training run, which has a line of JSON for each logged iteration.

Damaged lines are left out when the file is read. When a run is resumed from a checkpoint, the
lines that were logged after this checkpoint are removed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from noneq.run.atomic import write
from noneq.run.json_numbers import without_nan
from noneq.run.session import Session

__all__ = ["Metrics", "line"]


class Metrics:
    """Reads and writes metrics.jsonl of a run: one line of JSON for each logged iteration.

    Arguments:
        path: path of the file, which may not exist yet.

    Attributes:
        mirror: function that is called with each line that is added, e.g. to show it elsewhere.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.mirror: Callable[[Mapping[str, Any]], None] | None = None

    def rows(self) -> list[dict[str, Any]]:
        """Read all lines of the file except damaged ones.

        Returns:
            One dictionary of metrics by name for each line; an empty list if there is no file.
        """
        return self.read()[0]

    def read(self) -> tuple[list[dict[str, Any]], list[int]]:
        """Read all lines of the file, and find damaged ones.

        A last line that was cut short, because its process was killed, does not count as damaged.

        Returns:
            One dictionary of metrics for each undamaged line, and the numbers of damaged lines,
            counted from 1.
        """
        lines = self.path.read_bytes().split(b"\n") if self.path.exists() else [b""]
        rows, damaged = [], []
        for number, text in enumerate(lines, 1):
            row = _row(text)
            if row is not None:
                rows.append(row)
            elif number < len(lines):
                damaged.append(number)
        return rows, damaged

    def damage(self) -> str:
        """Return a warning that names the damaged lines, or an empty text where there are none."""
        damaged = self.read()[1]
        if not damaged:
            return ""
        lines = ", ".join(map(str, damaged[:5])) + (", ..." if len(damaged) > 5 else "")
        return f"{self.path}: {len(damaged)} damaged, left out: line {lines}"

    def add(self, row: Mapping[str, Any]) -> None:
        """Append a line to the file; NaN and infinity, which JSON lacks, become null.

        Arguments:
            row: metrics of one iteration by name, as `noneq.run.metrics.line` makes them.
        """
        text = json.dumps(without_nan(row))
        with self.path.open("a", encoding="utf-8") as file:
            file.write(text + "\n")
        if self.mirror is not None:
            self.mirror(row)

    def trim(self, iteration: int, backoff: float = 0.0) -> None:
        """Remove the lines that were logged after the checkpoint from which a run is resumed.

        Arguments:
            iteration: iteration of the checkpoint.
            backoff: factor of the step size at the checkpoint, which every rollback halves; lines
                with a smaller ``backoff`` were logged later and are removed.
        """
        kept = [
            row
            for row in self.rows()
            if row["iteration"] <= iteration and row.get("backoff", backoff) >= backoff
        ]
        write(self.path, "".join(json.dumps(row) + "\n" for row in kept).encode())


def _row(text: bytes) -> dict[str, Any] | None:
    """Convert a line to a dictionary; None if the line is damaged."""
    try:
        row = json.loads(text)
    except (ValueError, RecursionError):
        return None
    fine = (
        isinstance(row, dict)
        and type(row.get("iteration")) is int
        and isinstance(row.get("backoff", 0.0), float)
    )
    return row if fine else None


def line(record: Any, session: Session) -> dict[str, Any]:
    """Collect the metrics of one training iteration, for a line of metrics.jsonl.

    Arguments:
        record: record of the iteration, which iterating over the session yielded.
        session: session (one training in memory) that did the iteration.

    Returns:
        A dictionary of ``iteration``, ``seconds`` of training so far, ``loss``, and metrics that
        depend on the way of training, e.g. ``nll`` (in nats) and ``ess`` (effective sample size)
        for maximum likelihood.
    """
    return {
        "iteration": record.iteration,
        "seconds": round(session.seconds, 3),
        "loss": record.loss,
        **session.learner.metrics(record),
        **session.validation_metrics(),
    }
