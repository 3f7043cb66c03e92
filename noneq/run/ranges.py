"""Checks of the types and ranges of settings; each error names the field and what it got."""

from __future__ import annotations

import math
import typing
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from types import NoneType
from typing import Any

__all__ = [
    "check_among",
    "check_finite",
    "check_fraction",
    "check_least",
    "check_positive",
    "check_types",
]

KINDS: Mapping[type, tuple[type, str]] = {
    int: (Integral, "a whole number"),
    float: (Real, "a number"),
    bool: (bool, "True or False"),
}


def check_types(section: type, values: Mapping[str, Any]) -> None:
    """Raise ValueError for a value of another type than its field of a section of settings has.

    Fields of words are checked by `check_among`.

    Arguments:
        section: dataclass of settings, whose annotations say the types.
        values: new values by the name of the field.

    Returns:
        Nothing.

    Raises:
        ValueError: a value is no whole number, number or truth value where one is needed.

    >>> from noneq.run.recipe import Budget
    >>> check_types(Budget, {"iterations": None, "seconds": 60})
    >>> check_types(Budget, {"iterations": 2.5})
    Traceback (most recent call last):
    ValueError: `iterations` must be a whole number, or None, got 2.5
    """
    hints = typing.get_type_hints(section)
    for name, value in values.items():
        allowed = typing.get_args(hints[name]) or (hints[name],)
        own = [KINDS[one] for one in allowed if one in KINDS]
        if not own or (value is None and NoneType in allowed):
            continue
        kind, words = own[0]
        if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
            empty = ", or None" if NoneType in allowed else ""
            raise ValueError(f"`{name}` must be {words}{empty}, got {value!r}")


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
