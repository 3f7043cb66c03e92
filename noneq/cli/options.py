"""The command line's kinds of options, and what to say to a name that is none."""

from __future__ import annotations

import difflib
import inspect
import re
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field, fields, make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import docstring_parser
from tyro.conf import arg

from noneq.run import Recipe

__all__ = [
    "Count",
    "File",
    "Integers",
    "Number",
    "Seed",
    "Time",
    "Words",
    "check_names",
    "integers",
    "seconds",
]

Number = Annotated[int, arg(aliases=["-n"])]
# options that may be left out say nothing of their defaults
Words = Annotated[str, arg(metavar="TEXT", help_behavior_hint="")]
Integers = Annotated[str, arg(metavar="INT,INT,...", help_behavior_hint="")]
Time = Annotated[str, arg(metavar="TIME", help_behavior_hint="")]
Count = Annotated[int, arg(metavar="INT", help_behavior_hint="")]
Seed = Annotated[int | None, arg(metavar="INT", help_behavior_hint="")]
File = Annotated[Path | None, arg(metavar="PATH", help_behavior_hint="")]


def _choices() -> Any:
    """`Recipe` as options, each of which may be left to the recipe."""
    help_of = {
        p.arg_name: (p.description or "").replace("\n", " ")
        for p in docstring_parser.parse(Recipe.__doc__ or "").params
    }
    hints = typing.get_type_hints(Recipe)
    own = []
    for f in fields(Recipe):
        if f.name in ("seconds", "iterations"):  # --budget, --iterations
            continue
        literal = typing.get_args(hints[f.name])
        shown = "|".join(literal) if literal else hints[f.name].__name__.upper()
        option = arg(help=help_of[f.name], metavar=shown, help_behavior_hint="")
        own.append((f.name, Annotated[hints[f.name] | None, option], field(default=None)))
    made = make_dataclass("Choices", own, frozen=True)
    made.__doc__ = "What the recipe decides by the data's shape and kind unless you do."
    return made


if TYPE_CHECKING:
    Choices = Recipe
else:
    Choices = _choices()


def seconds(text: str) -> float:
    """Of a time like 120s, 20m or 2h; raises ValueError."""
    found = re.fullmatch(r"(\d+(?:\.\d*)?)\s*([smh]?)", text.strip())
    if not found or not float(found[1]):
        raise ValueError(f"--budget {text}: a time like 120s, 20m or 2h is meant")
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]


def integers(text: str) -> tuple[int, ...] | None:
    """Of a list like 2,3,6; None of nothing; raises ValueError."""
    if not text:
        return None
    try:
        return tuple(int(word) for word in text.replace(" ", ",").split(",") if word)
    except ValueError:
        raise ValueError(
            f"{text}: integers with commas between them are meant, as 2,3,6"
        ) from None


def check_names(given: Sequence[str], commands: Mapping[str, Callable[..., Any]]) -> None:
    """A word that is no command or option, told with the nearest that is one."""
    if not given or given[0].startswith("-"):
        return
    if given[0] not in commands:
        raise ValueError(f"no command {given[0]}{_nearest(given[0], commands)}")
    own = inspect.signature(commands[given[0]]).parameters
    names = {*own, "help"} | ({f.name for f in fields(Choices)} if "choices" in own else set())
    words = (name.rstrip("_").replace("_", "-") for name in names - {"choices"})
    options = ["-h", "-n", *("--" + word for word in words)]
    for word in given[1:]:
        name = word.partition("=")[0].replace("_", "-")
        if name.startswith("--") and name not in options:
            raise ValueError(f"noneq {given[0]} has no option {name}{_nearest(name, options)}")


def _nearest(word: str, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(word, list(known), 1, 0.5)
    return f"; did you mean {found[0]}?" if found else "; noneq --help tells"
