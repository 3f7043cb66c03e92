"""What a command has found, in numbers, which ``--json`` prints."""

from __future__ import annotations

import json
from typing import Any

from noneq.run.json_numbers import without_nan

__all__ = ["keep_result", "take_results"]

_kept: dict[str, Any] = {}


def keep_result(**values: Any) -> None:
    """Keep numbers, texts and lists of a result until the command ends.

    Arguments:
        values: the result, by name.
    """
    _kept.update(values)


def take_results() -> str:
    """Return what was kept as one line of JSON, and forget it.

    Returns:
        The line; numbers that are not finite are null.
    """
    line = json.dumps(without_nan(_kept))
    _kept.clear()
    return line
