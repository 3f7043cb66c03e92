"""Conversion of the names of settings in the library's messages to command line options.

The library's errors and advice name settings in backticks, as in: a smaller `lr`. Only here such a
name becomes ``--lr``, and a call such as `resume(folder)` the command that does the same.
"""

from __future__ import annotations

import errno
import re
from dataclasses import fields

from noneq.cli.options import BracketChoices, Choices

__all__ = ["flags", "message"]

#: options other than the choices of a recipe
_OTHERS = (
    "out", "resume", "overwrite", "from", "device", "source", "steps", "moves", "binary",
    "iterations", "budget", "weighted", "denoise", "given", "count", "flow",
    "columns", "drop", "categories", "continuous", "grid", "missing",
)  # fmt: skip
_NAMES = {
    *_OTHERS, *(f.name for f in fields(Choices)),
    *(f"bracket.{f.name}" for f in fields(BracketChoices)),
}  # fmt: skip


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


def message(error: BaseException) -> str:
    """Convert an error to a message of one line.

    Arguments:
        error: error that a command has raised.

    Returns:
        The message; of an unexpected kind of error with the name of its class.
    """
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename or ''}: {error.strerror}".lstrip(": ")
        if error.errno == errno.ENOSPC and "; " not in text:
            text += "; free some space and give the same command again"
        return text
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    known = isinstance(error, ValueError | OSError | RuntimeError | ImportError | ArithmeticError)
    text = " ".join(lines) if known and lines else f"{type(error).__name__}: {' '.join(lines)}"
    return text if known else f"{text} (NONEQ_TRACEBACK=1 shows where)"
