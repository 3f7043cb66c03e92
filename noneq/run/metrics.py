"""metrics.jsonl: one line for each logged iteration, and how a run goes on with it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from noneq.run.checkpoint import write
from noneq.run.session import Session

__all__ = ["Metrics", "finite", "line"]


class Metrics:
    """The file, which may not be there yet.

    Arguments:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def rows(self) -> list[dict[str, Any]]:
        """What it holds, damaged lines left out."""
        return self.read()[0]

    def read(self) -> tuple[list[dict[str, Any]], list[int]]:
        """What it holds, and the numbers of its damaged lines, which are left out.

        A last line that was cut short, by a kill in the middle of it, is none of them.
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
        """What to say of damaged lines; nothing where there are none."""
        damaged = self.read()[1]
        if not damaged:
            return ""
        lines = ", ".join(map(str, damaged[:5])) + (", ..." if len(damaged) > 5 else "")
        return f"{self.path}: {len(damaged)} damaged, left out: line {lines}"

    def add(self, row: Mapping[str, Any]) -> None:
        """Append a line; numbers that JSON lacks become null."""
        text = json.dumps({key: finite(value) for key, value in row.items()})
        with self.path.open("a", encoding="utf-8") as file:
            file.write(text + "\n")

    def trim(self, iteration: int, backoff: float = 0.0) -> None:
        """Forget what was logged after the checkpoint that a run goes on from.

        Arguments:
            iteration: of the checkpoint.
            backoff: of the checkpoint; a rollback to a smaller one came after it.
        """
        kept = [
            row
            for row in self.rows()
            if row["iteration"] <= iteration and row.get("backoff", backoff) >= backoff
        ]
        write(self.path, "".join(json.dumps(row) + "\n" for row in kept).encode())


def _row(text: bytes) -> dict[str, Any] | None:
    """What a line says, None if it is damaged."""
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
    """One line of metrics.jsonl."""
    return {
        "iteration": record.iteration,
        "seconds": round(session.seconds, 3),
        "loss": record.loss,
        **session.learner.metrics(record),
    }


def finite(value: Any) -> Any:
    """Itself, or None for a number that JSON lacks."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
