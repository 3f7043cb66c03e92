"""Errors in one line, for the command line."""

from __future__ import annotations

import errno
import sys
from contextlib import suppress

__all__ = ["message_of", "say_error"]


def say_error(text: str) -> None:
    """Print text on stderr, unless that is closed.

    Arguments:
        text: one or more lines.
    """
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def message_of(error: BaseException) -> str:
    """Convert an error to a message of one line.

    Arguments:
        error: any exception.

    Returns:
        Its message, with its type and advice if the error is none that the program foresees.
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
