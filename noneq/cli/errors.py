"""Errors of the command line, printed on the standard error stream."""

from __future__ import annotations

import sys
from contextlib import suppress

__all__ = ["echo_error"]


def echo_error(text: str) -> None:
    """Print text on the standard error stream, unless that is closed.

    Arguments:
        text: text of the error.
    """
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)
