"""Types of the command line's options, and errors for options that do not exist.

The settings of a training (the fields of a recipe's dataclasses) become options. The description
of a setting in its dataclass is the help of the option.
"""

from __future__ import annotations

import difflib
import inspect
import re
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, field, fields, make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, TypeVar

import docstring_parser
from tyro.conf import arg

from noneq.run.recipe import (
    Bracket,
    Budget,
    ConditionalModel,
    InterpolantModel,
    Likelihood,
    NetworkModel,
    Optimizer,
    RBMModel,
    Recipe,
    ScoreMatching,
)

__all__ = [
    "BracketChoices",
    "Choices",
    "Data",
    "File",
    "Flag",
    "Folder",
    "Integers",
    "Names",
    "Number",
    "Seed",
    "Steps",
    "Time",
    "Words",
    "check_names",
    "described",
    "given",
]

Number = Annotated[int, arg(aliases=["-n"])]
"""The type of an option that is an integer and has the short name -n."""
Data = Annotated[Path, arg(metavar="DATA", help_behavior_hint="")]
"""The type of an argument that is the path of a file of data rows."""
Folder = Annotated[Path, arg(metavar="RUN", help_behavior_hint="")]
"""The type of an argument that is the path of a run, i.e. of the folder of a training."""
# options that may be left out say nothing of their defaults, which their help describes
Flag = Annotated[bool, arg(help_behavior_hint="")]
"""The type of an option without a value, which is off by default."""
Words = Annotated[str, arg(metavar="TEXT", help_behavior_hint="")]
"""The type of an option that is a text."""
Integers = Annotated[str, arg(metavar="INT,INT,...", help_behavior_hint="")]
"""The type of an option that is a list of integers, such as 2,3,6: a text."""
Names = Annotated[str, arg(metavar="NAME,NAME,...", help_behavior_hint="")]
"""The type of an option that is a list of names of columns: a text."""
Time = Annotated[str, arg(metavar="TIME", help_behavior_hint="")]
"""The type of an option that is a time, such as 20m: a text."""
Steps = Annotated[int | None, arg(metavar="INT", help_behavior_hint="")]
"""The type of an option that is a number of steps; None if it is not given."""
Seed = Annotated[int | None, arg(metavar="INT", help_behavior_hint="")]
"""The type of an option that is a seed; None if it is not given."""
File = Annotated[Path | None, arg(metavar="PATH", help_behavior_hint="")]
"""The type of an option that is the path of a file or folder; None if it is not given."""


#: the section of a recipe for each kind of model, and the sections whose fields are options
KINDS = {
    "network": NetworkModel,
    "rbm": RBMModel,
    "gaussian-rbm": RBMModel,
    "interpolant": InterpolantModel,
    "conditional": ConditionalModel,
}
SECTIONS = (*dict.fromkeys(KINDS.values()), Likelihood, ScoreMatching, Optimizer, Budget)
#: fields that have other options (the first three), that the data decide, or that only Python
#: users choose
_ELSEWHERE = {"seconds", "iterations", "spline_flow", "labels", "active", "restart"}


def _options(title: str, about: str, sections: Sequence[type]) -> Any:
    """Make a dataclass of options, all optional, from the fields of some sections of a recipe."""
    own: dict[str, tuple[str, Any, Any]] = {}
    for section in sections:
        lines = [docstring_parser.parse(c.__doc__ or "").params for c in section.__mro__[::-1]]
        help_of = {p.arg_name: _help(p.description or "") for ps in lines for p in ps}
        hints = typing.get_type_hints(section)
        for f in fields(section):
            if f.name not in {*own, *_ELSEWHERE}:
                how, kind = _shown(hints[f.name])
                option = arg(help=help_of[f.name], metavar=how, help_behavior_hint="")
                own[f.name] = (f.name, Annotated[kind, option], field(default=None))
    if title == "Choices":
        option = arg(
            help="kind of model: a base of Gaussians plus a network (network), a restricted "
            "Boltzmann machine of bits (rbm) or of real numbers (gaussian-rbm), an energy learned "
            "by denoising score matching (interpolant), or one of images given their labels "
            "(conditional).",
            metavar="|".join(KINDS), help_behavior_hint="",
        )  # fmt: skip
        own = {"model": ("model", Annotated[str | None, option], field(default=None)), **own}
    made = make_dataclass(title, own.values(), frozen=True)
    made.__doc__ = about
    return made


def _help(text: str) -> str:
    """Convert a field's description to an option's: without backticks, and None called off."""
    text = text.replace("\n", " ").replace(". None: ", "; off: ").replace("None: ", "off: ")
    return re.sub(r"`+", "", text)


def _shown(hint: Any) -> tuple[str, Any]:
    """Return how an option's value is shown, and its type; what may be None can be "off"."""
    parts = typing.get_args(hint)
    if type(None) in parts:
        kind = next(part for part in parts if part is not type(None))
        return f"{kind.__name__.upper()}|off", Literal["off"] | kind | None
    words = [part for part in parts if typing.get_origin(part) is Literal]
    if words:  # a number, or one of some words
        numbers = [part.__name__.upper() for part in parts if part not in words]
        named = [word for part in words for word in typing.get_args(part)]
        return "|".join([*numbers, *named]), hint | None
    return "|".join(parts) if parts else hint.__name__.upper(), hint | None


if TYPE_CHECKING:
    Choices: TypeAlias = Recipe
    """A dataclass with a field for each setting of a training; None if the option is not given."""
    BracketChoices: TypeAlias = Bracket
    """A dataclass of the settings of forward and backward annealing; None if not given."""
else:
    Choices = _options("Choices", "Settings of a training; each is optional.", SECTIONS)
    BracketChoices = _options(
        "BracketChoices", "Settings of the estimates of log Z; each is optional.", [Bracket]
    )


F = TypeVar("F", bound=Callable[..., Any])


def described(command: F) -> F:
    """Join the lines of each option's description in the docstring of a command's function.

    The help shows the line breaks of a docstring, which do not suit the width of a terminal.

    Arguments:
        command: function of a command, with a section Args in its docstring.

    Returns:
        The same function, with a changed docstring.
    """
    command.__doc__ = re.sub(r"\n {8}", " ", inspect.cleandoc(command.__doc__ or ""))
    return command


def given(choices: Any) -> dict[str, Any]:
    """Collect the options that were given on the command line.

    Arguments:
        choices: object of a dataclass with a field for each option, None where the option was not
            given.

    Returns:
        A dictionary of the values of options that were given, by name; "off" becomes None.
    """
    chosen = {key: value for key, value in asdict(choices).items() if value is not None}
    return {key: None if value == "off" else value for key, value in chosen.items()}


def check_names(words: Sequence[str], commands: Mapping[str, Callable[..., Any]]) -> None:
    """Check that the command and the options of a command line exist.

    Arguments:
        words: words of the command line after the program's name.
        commands: functions of the commands by name.

    Raises:
        ValueError: a command or option does not exist; the message suggests the nearest name.
    """
    if not words or words[0].startswith("-"):
        return
    if words[0] not in commands:
        raise ValueError(f"no command {words[0]}{_nearest(words[0], commands)}")
    own = inspect.signature(commands[words[0]]).parameters
    names = {*own, "help"} - {"recipe", "bracket"}
    names |= {f.name for f in fields(Choices)} if "recipe" in own else set()
    names |= {f"bracket.{f.name}" for f in fields(BracketChoices)} if "bracket" in own else set()
    options = ["-h", "-n", *("--" + name.rstrip("_").replace("_", "-") for name in names)]
    for word in words[1:]:
        name = word.partition("=")[0].replace("_", "-")
        if name.startswith("--") and name not in options:
            raise ValueError(f"noneq {words[0]} has no option {name}{_nearest(name, options)}")


def _nearest(word: str, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(word, list(known), 1, 0.5)
    return f"; did you mean {found[0]}?" if found else "; see noneq --help"
