"""Conversion of the names of settings in the library's messages to command line options.

The library's errors and advice name settings in backticks, as in: a smaller `lr`. Only here such a
name becomes ``--lr``, and a call such as `resume(folder)` the command that does the same.
"""

from __future__ import annotations

import re
from dataclasses import fields

from noneq.cli.options import BracketChoices, Choices

__all__ = ["flags", "is_option"]

#: options other than the choices of a recipe
_OTHERS = (
    "out", "resume", "overwrite", "from", "device", "source", "steps", "moves", "binary",
    "iterations", "budget", "weighted", "denoise", "given", "count", "spline_flow", "within_range",
    "columns", "drop", "categories", "continuous", "grid", "missing", "data", "labels",
)  # fmt: skip
_NAMES = {
    *_OTHERS, *(f.name for f in fields(Choices)),
    *(f"bracket.{f.name}" for f in fields(BracketChoices)),
}  # fmt: skip


def is_option(name: str) -> bool:
    """Return whether a setting of a recipe is an option of ``noneq train``, or its kind of model.

    Arguments:
        name: name of the setting, e.g. "tau" or "bracket.walkers".

    Returns:
        True if it is.
    """
    return name == "model" or name in _NAMES - {"labels"}


def flags(text: str) -> str:
    """Replace each name in backticks in a message by ``--name`` if ``noneq`` has this option.

    >>> flags("`noise` 0: take more, or `lr` smaller; `other` stays")
    '--noise 0: take more, or --lr smaller; `other` stays'

    Arguments:
        text: message of the library, e.g. "take a smaller `lr`".

    Returns:
        The message for the command line, e.g. "take a smaller --lr".
    """
    text = re.sub(r"`resume\((.+?)( from=good)?\)`", _resume, text)
    text = re.sub(r"`evaluate_run\((.+?)\)`", r"noneq logz \1", text)
    text = text.replace("`Run.create`", "noneq train")
    return re.sub(r"`([a-z_.]+)`", lambda found: _flag(found[1], found[0]), text)


def _resume(found: re.Match[str]) -> str:
    """Return the command that continues a run."""
    return f"noneq train --out {found[1]} --resume" + (" --from good" if found[2] else "")


def _flag(name: str, otherwise: str) -> str:
    return "--" + name.replace("_", "-") if name in _NAMES else otherwise
