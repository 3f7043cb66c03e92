"""The command line program ``noneq``: it runs a command, and prints errors as one line.

Nothing heavy is imported before a command runs.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

from tyro.conf import FlagCreatePairsOff

from noneq.cli.advice import flags
from noneq.cli.commands import COMMANDS, app
from noneq.cli.console import aside
from noneq.cli.errors import message_of, say_error
from noneq.cli.options import check_names
from noneq.cli.results import take_results
from noneq.cli.signals import StoppedError, stoppable
from noneq.data.plaintext import visible
from noneq.version import __version__

__all__ = ["main"]

ABOUT = (
    "Train energy-based models by maximum likelihood with weighted walkers, and bracket their "
    "log Z, so that likelihoods are normalised. To begin: noneq train digits. With --json "
    "a command prints what it found as one line of JSON, and all else to stderr."
)


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line program ``noneq``; errors are printed as one line.

    Arguments:
        args: words of the command line after the program's name; None: those in sys.argv.

    Returns:
        The exit code of the program, 0 only on success.
    """
    words = list(sys.argv[1:] if args is None else args)
    if words in (["--version"], ["-V"]):
        print(__version__)
        return 0
    words = [_boolean(word, words[i - 1] if i else "") for i, word in enumerate(words)]
    as_json = words[:1] != ["--json"] and "--json" in words
    words = [word for word in words if not (as_json and word == "--json")]
    take_results()  # of a command that failed before in this process
    try:
        with stoppable(), aside(as_json):
            check_names(words, COMMANDS)
            code = app.cli(
                prog="noneq", description=ABOUT, args=words, config=(FlagCreatePairsOff,)
            )
        if as_json:
            print(take_results())
    except KeyboardInterrupt as stop:
        say_error("\nnoneq: interrupted")
        return 128 + (stop.number if isinstance(stop, StoppedError) else signal.SIGINT)
    except BrokenPipeError:  # as in noneq train --help | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        if os.environ.get("NONEQ_TRACEBACK"):
            raise
        say_error(f"noneq: error: {visible(flags(message_of(error)))}")
        return 1
    return code if isinstance(code, int) else 0


def _boolean(word: str, before: str) -> str:
    """Return True or False for true or false as the value of an option, else the word."""
    name, equals, value = word.rpartition("=")
    if value in ("true", "false") and (name if equals else before).startswith("--"):
        return f"{name}{equals}{value.capitalize()}"
    return word
