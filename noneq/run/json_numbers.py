"""Conversion of NaN and infinity, which JSON lacks, to null."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

__all__ = ["without_nan"]


def without_nan(value: Any) -> Any:
    """Replace every float that is NaN or infinite by None, also inside mappings and tuples.

    Arguments:
        value: number, text, or nested mappings and tuples of numbers and texts.

    Returns:
        The converted value, for ``json.dumps``; tuples become lists.

    >>> without_nan({"nll": float("nan"), "log_z": (1.0, float("inf"))})
    {'nll': None, 'log_z': [1.0, None]}
    """
    if isinstance(value, Mapping):
        return {key: without_nan(one) for key, one in value.items()}
    if isinstance(value, tuple):
        return [without_nan(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
