"""Checks of the ranges of settings; each error names the field and the value that it got."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["check_among", "check_finite", "check_fraction", "check_least", "check_positive"]


def check_among(section: object, name: str, words: Sequence[str]) -> None:
    """Raise ValueError unless this field is one of the words."""
    if getattr(section, name) not in words:
        raise ValueError(f"`{name}` is one of {', '.join(words)}, got {getattr(section, name)!r}")


def check_positive(section: object, *names: str) -> None:
    """Raise ValueError unless these fields of a section of settings are 1 or more, or None."""
    for name in names:
        value = getattr(section, name)
        if value is not None and not value >= 1:
            raise ValueError(f"{name} must be 1 or more, got {value}")


def check_finite(section: object, *names: str) -> None:
    """Raise ValueError unless these fields are finite numbers above 0."""
    for name in names:
        if not 0 < getattr(section, name) < math.inf:
            raise ValueError(f"{name} is a finite number > 0, got {getattr(section, name)}")


def check_fraction(section: object, *names: str) -> None:
    """Raise ValueError unless these fields are in [0, 1]."""
    for name in names:
        if not 0 <= getattr(section, name) <= 1:
            raise ValueError(f"{name} is a fraction in [0, 1], got {getattr(section, name)}")


def check_least(section: object, *names: str) -> None:
    """Raise ValueError unless these fields are 0 or more."""
    for name in names:
        if not getattr(section, name) >= 0:
            raise ValueError(f"{name} must be 0 or more, got {getattr(section, name)}")
