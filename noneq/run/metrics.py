"""metrics.jsonl: one line for each logged iteration, and how a run goes on with it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from noneq.run.checkpoint import write
from noneq.run.learners import Event
from noneq.run.session import Session
from noneq.training import Matched

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

    def trim(self, iteration: int, caution: float = 0.0) -> None:
        """Forget what was logged after the checkpoint that a run goes on from.

        Arguments:
            iteration: of the checkpoint.
            caution: of the checkpoint; a rollback to a smaller one came after it.
        """
        kept = [
            row
            for row in self.rows()
            if row["iteration"] <= iteration and row.get("caution", caution) >= caution
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
        and isinstance(row.get("caution", 0.0), float)
    )
    return row if fine else None


def line(record: Event, session: Session) -> dict[str, Any]:
    """One line of metrics.jsonl."""
    always = {
        "iteration": record.iteration,
        "seconds": round(session.seconds, 3),
        "loss": record.loss,
    }
    if isinstance(record, Matched):
        return {**always, "rate": record.rate}
    state = record.state
    return {
        **always,
        "data_energy": record.data_energy,
        "walker_energy": record.data_energy - record.loss,
        "nll": record.nll,
        "ess": record.ess,
        "survivors": state.walkers.effective_ancestors,
        "resampled": state.walkers.weights.resampled,
        "acceptance": record.acceptance,
        "step_size": getattr(state.kernel, "h", math.nan),
        "faults": record.faults,
        "log_z": record.log_z.value,
        "log_z_held_out": record.log_z_held_out.value,
        "log_z_held_out_stderr": record.log_z_held_out.stderr,
        "scale": record.scale,
        "cost": record.cost,
        "tau": state.trust.tau if state.trust else math.nan,
        "redone": state.trust.redone if state.trust else 0,
        "renewed": record.renewed,
    }


def finite(value: Any) -> Any:
    """Itself, or None for a number that JSON lacks."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
