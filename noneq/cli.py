"""The command line: ``noneq train``, ``sample``, ``score``, ``logz``, ``report``.

Only the parsing is here; nothing heavy is imported before a command runs.
"""

from __future__ import annotations

import errno
import os
import re
import sys
import typing
from collections.abc import Sequence
from dataclasses import asdict, field, fields, make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import docstring_parser
import tyro
from tyro.conf import FlagCreatePairsOff, Positional, arg

from noneq.recipe import Recipe
from noneq.version import __version__

__all__ = ["main"]

ABOUT = (
    "Train energy-based models by maximum likelihood with weighted walkers, and know their "
    "normalised likelihood. First: noneq train digits"
)
app = tyro.extras.SubcommandApp()
Number = Annotated[int, arg(aliases=["-n"])]


# options that may be left out say nothing of their defaults
Words = Annotated[str, arg(metavar="TEXT", help_behavior_hint="")]
Integers = Annotated[str, arg(metavar="INT,INT,...", help_behavior_hint="")]
Time = Annotated[str, arg(metavar="TIME", help_behavior_hint="")]
Count = Annotated[int, arg(metavar="INT", help_behavior_hint="")]
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


@app.command
def train(
    data: Positional[Words] = "",
    *,
    out: File = None,
    resume: bool = False,
    overwrite: bool = False,
    classes: Integers = "",
    subset: Integers = "",
    binary: bool = False,
    budget: Time = "",
    iterations: Count = 0,
    seed: int = 0,
    device: Words = "",
    save_every: float = 30.0,
    choices: Annotated[Choices, tyro.conf.OmitArgPrefixes] = Choices(),  # noqa: B008
) -> int:
    """Train an energy-based model to a normalised likelihood, and bracket it.

    Args:
        data: "digits", or a file: .npy .npz .csv .tsv .txt .parquet, IDX (MNIST's format, .gz
            or plain) or a folder of IDX files.
        out: run folder; default runs/NAME.
        resume: go on with an interrupted run; its data and choices are those it began with.
        overwrite: replace a run that is there.
        classes: keep only these labels, e.g. 2,3,6.
        subset: how many rows of each class, e.g. 800,400,200.
        binary: values above the middle of their range become 1, the others 0.
        budget: training time, e.g. 120s, 20m or 2h; bracketing the likelihood comes after it.
        iterations: training length instead of a time; the same bits every time.
        seed: of all randomness of the run (the split of the data does not depend on it).
        device: cpu, cuda, cuda:1, ...; default: cuda where there is one.
        save_every: seconds between checkpoints.
        choices: what the recipe decides by the data's shape and kind unless you do.
    """
    from noneq.commands import train as command

    changes = {key: value for key, value in asdict(choices).items() if value is not None}
    if budget:
        changes["seconds"] = _seconds(budget)
    if iterations:
        changes["iterations"] = iterations
    return command(
        data,
        out,
        {"classes": _integers(classes), "subset": _integers(subset), "binary": binary},
        changes,
        seed=seed,
        device=device,
        mode="resume" if resume else "overwrite" if overwrite else "new",
        every=save_every,
    )


@app.command
def sample(
    run: Positional[Path],
    *,
    n: Number = 64,
    out: Path = Path("samples.npz"),
    source: Literal["ais", "chains"] = "ais",
    weighted: bool = False,
    denoise: bool = False,
    moves: int = 100,
    seed: int = 0,
) -> None:
    """Draw samples of a run's model, in the units of its data.

    Args:
        run: folder.
        n: how many.
        out: .npz with the array x (and log_w, if weighted), or .npy with x alone.
        source: ais: a fresh population annealed from the base; chains: the run's own walkers,
            carried on under its final parameters.
        weighted: walkers with their log-weights instead of a resampled set of equal weights.
        denoise: the means x - sigma^2 grad U, for models of data with noise.
        moves: of the chains.
        seed: of everything.
    """
    from noneq.commands import sample as command

    command(run, n, out, source=source, weighted=weighted, denoise=denoise, moves=moves, seed=seed)


@app.command
def score(run: Positional[Path], data: Positional[Path], *, out: File = None) -> None:
    """Normalised log-density of every row of a file, in nats, and log Z's error.

    Args:
        run: folder.
        data: file of rows like those the run was trained on, in the same units.
        out: .npz for log_density (M,), log_z, log_z_stderr, alarms and log_jacobian (add it for
            the density in the file's units).
    """
    from noneq.commands import score as command

    command(run, data, out)


@app.command
def logz(
    run: Positional[File] = None,
    *,
    energy: Words = "",
    weights: File = None,
    data: File = None,
    test: File = None,
    noise: float = 0.0,
    walkers: Count = 0,
    temperatures: Count = 0,
    equilibrate: Count = 0,
    seed: int = 7,
    device: Words = "",
) -> None:
    """Bracket log Z of a run, or audit the energy of any library.

    noneq logz RUN, or
    noneq logz --energy pkg.module:build --weights w.safetensors --data x.npy

    Args:
        run: folder of a run.
        energy: for an audit: module:function that returns U, a torch.nn.Module (or callable)
            (B, *shape) -> (B,) with p = exp(-U) / Z; the working folder is searched, too.
        weights: of that module, a safetensors file of its state_dict.
        data: rows the model was trained on, in its own units.
        test: rows to report the likelihood of; default: the data.
        noise: standard deviation of Gaussian noise that the model's data had added.
        walkers: on each side, a multiple of 16; default 1024, or the run's.
        temperatures: of the annealing; default 1000, or the run's.
        equilibrate: moves under the model before the backward side; default: the temperatures,
            or the run's.
        seed: of everything.
        device: of an audit; default: cuda where there is one.
    """
    from noneq import commands

    own = {"n": walkers, "temperatures": temperatures, "equilibrate": equilibrate, "seed": seed}
    how = {key: value for key, value in own.items() if value}
    if run is not None and not energy:
        commands.bracket(run, how)
    elif energy and run is None:
        commands.audit(energy, weights, data, test, noise=noise, how=how, device=device)
    else:
        raise ValueError("logz takes a run folder, or --energy with --data: one of the two")


@app.command
def report(run: Positional[Path], *, out: File = None) -> None:
    """Draw one page of figures of a run: likelihood, log Z, weights, trust region, samples.

    Args:
        run: folder.
        out: PNG file; default RUN/report.png.
    """
    from noneq.commands import report as command

    command(run, out)


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d*)?)\s*([smh]?)", text.strip())
    if not found or not float(found[1]):
        raise ValueError(f"--budget {text}: a time like 120s, 20m or 2h is meant")
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]


def _integers(text: str) -> tuple[int, ...] | None:
    if not text:
        return None
    try:
        return tuple(int(word) for word in text.replace(" ", ",").split(",") if word)
    except ValueError:
        raise ValueError(
            f"{text}: integers with commas between them are meant, as 2,3,6"
        ) from None


def main(args: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code, 0 only on success."""
    given = list(sys.argv[1:] if args is None else args)
    if given == ["--version"]:
        print(__version__)
        return 0
    try:
        code = app.cli(prog="noneq", description=ABOUT, args=given, config=(FlagCreatePairsOff,))
    except KeyboardInterrupt:
        print("\nnoneq: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # as in noneq train --help | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (ValueError, TypeError, OSError, ImportError, ArithmeticError, RuntimeError) as error:
        if os.environ.get("NONEQ_TRACEBACK"):
            raise
        print(f"noneq: error: {_message(error)}", file=sys.stderr)
        return 1
    return code if isinstance(code, int) else 0


def _message(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        told = f"{error.filename or ''}: {error.strerror}".lstrip(": ")
        if error.errno == errno.ENOSPC:
            told += "; free some, then go on from the last checkpoint, which is intact (--resume)"
        return told
    return str(error) or type(error).__name__
