"""The command line: ``noneq train``, ``sample``, ``score``, ``logz``, ``report``.

Only the parsing is here; nothing heavy is imported before a command runs.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import FlagCreatePairsOff, Positional

from noneq.cli.advice import flags
from noneq.cli.options import (
    BracketChoices,
    Choices,
    Count,
    File,
    Integers,
    Number,
    Seed,
    Steps,
    Time,
    Words,
    check_names,
    given,
    integers,
    seconds,
)
from noneq.cli.signals import StoppedError, stoppable
from noneq.data.plaintext import visible
from noneq.version import __version__

__all__ = ["main"]

ABOUT = (
    "Train energy-based models by maximum likelihood with weighted walkers, and know their "
    "normalised likelihood. First: noneq train digits"
)
_UNSAID = tyro.conf.arg(metavar="steps|ais|chains", help_behavior_hint="")
_FROM = tyro.conf.arg(name="from", metavar="state|good", help_behavior_hint="")
app = tyro.extras.SubcommandApp()


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
    seed: Seed = None,
    device: Words = "",
    save_every: float = 30.0,
    from_: Annotated[Literal["state", "good"] | None, _FROM] = None,
    bracket: BracketChoices = BracketChoices(),  # noqa: B008
    choices: Annotated[Choices, tyro.conf.OmitArgPrefixes] = Choices(),  # noqa: B008
) -> int:
    """Train an energy-based model to a normalised likelihood, and bracket it.

    Args:
        data: "digits", or a file: .npy .npz .csv .tsv .txt .parquet, IDX (MNIST's format, .gz
            or plain) or a folder of IDX files.
        out: run folder; default runs/NAME.
        resume: go on with an interrupted run; its data and choices are those it began with.
        overwrite: replace a run that is there, as soon as the new one has its first checkpoint.
        classes: keep only these labels, e.g. 2,3,6.
        subset: how many rows of each class, e.g. 800,400,200.
        binary: values above the middle of their range become 1, the others 0.
        budget: training time, e.g. 120s, 20m or 2h; bracketing the likelihood comes after it.
        iterations: training length instead of a time: the same bits every time, on a processor
            with the same number of threads.
        seed: of all randomness of the run, default 0 (the split of the data does not depend on
            it).
        device: cpu, cuda, cuda:1, ...; default: cuda where there is one.
        save_every: seconds between checkpoints.
        from_: with --resume: go on from the last checkpoint (state), or from the last good state
            before it (good), e.g. where state is damaged; default: state.
        bracket: how log Z is bracketed at the end.
        choices: what the recipe decides by the data's shape and kind unless you do.
    """
    from noneq.cli.train import train as command

    changes = {**given(choices), "bracket": given(bracket)}
    if budget and iterations:
        raise ValueError("--budget and --iterations are two lengths of one training: give one")
    if resume and overwrite:
        raise ValueError("--resume goes on with a run, --overwrite replaces it: give one")
    if from_ and not resume:
        raise ValueError(f"--from {from_} is what to go on from: give --resume, too")
    if budget:
        changes |= {"seconds": seconds(budget), "iterations": None}
    if iterations:
        changes["iterations"] = iterations
    return command(
        data,
        out,
        {"classes": integers(classes), "subset": integers(subset), "binary": binary},
        changes,
        seed=seed,
        device=device,
        mode="resume" if resume else "overwrite" if overwrite else "new",
        start=from_ or "state",
        every=save_every,
    )


@app.command
def sample(
    run: Positional[Path],
    *,
    n: Number = 64,
    out: Path = Path("samples.npz"),
    source: Annotated[Literal["steps", "ais", "chains"] | None, _UNSAID] = None,
    steps: Steps = None,
    weighted: bool = False,
    denoise: bool = False,
    moves: int = 100,
    seed: int = 0,
    device: Words = "",
) -> None:
    """Draw samples of a run's model, in the units of its data.

    Args:
        run: folder.
        n: how many.
        out: .npz with the array x (and log_w, if weighted), or .npy with x alone.
        source: ais: a fresh population annealed from the base; chains: the run's own walkers,
            carried on under its final parameters; steps: weighted walkers carried from the base
            by Euler-Maruyama. Default: steps of an interpolant, ais of any other model.
        steps: of Euler-Maruyama; default: the run's.
        weighted: walkers with their log-weights instead of a resampled set of equal weights.
        denoise: the means x - sigma^2 grad U, for models of data with noise.
        moves: of the chains.
        seed: of everything.
        device: cpu, cuda, ...; default: the run's.
    """
    from noneq.cli.sample import sample as command

    how = {"source": source, "steps": steps, "moves": moves, "seed": seed}
    command(run, n, out, weighted=weighted, denoise=denoise, device=device, **how)


@app.command
def score(
    run: Positional[Path], data: Positional[Path], *, out: File = None, device: Words = ""
) -> None:
    """Normalised log-density of every row of a file, in nats, and log Z's error.

    Args:
        run: folder.
        data: file of rows like those the run was trained on, in the same units.
        out: .npz for log_density (M,) of the rows as they are; expected (M,), its mean over the
            noise that the model was trained with (as the likelihoods of noneq train); log_z,
            log_z_stderr, alarms; log_jacobian (add it for the density in the file's units).
        device: cpu, cuda, ...; default: the run's.
    """
    from noneq.cli.score import score as command

    command(run, data, out, device)


@app.command
def logz(
    run: Positional[File] = None,
    *,
    energy: Words = "",
    weights: File = None,
    data: File = None,
    test: File = None,
    noise: float = 0.0,
    seed: Seed = None,
    device: Words = "",
    bracket: BracketChoices = BracketChoices(),  # noqa: B008
) -> int:
    """Bracket log Z of a run, or audit the energy of any library.

    noneq logz RUN, or
    noneq logz --energy pkg.module:build --weights w.safetensors --data x.npy

    Args:
        run: folder of a run.
        energy: for an audit: module:function that returns U, a torch.nn.Module (or callable)
            (B, *shape) -> (B,) with p = exp(-U) / Z. The module is imported and the function
            called, which runs their code: name none that you do not trust. The working folder is
            searched, too, after the installed packages.
        weights: of that module, a safetensors file of its state_dict.
        data: rows the model was trained on, in its own units.
        test: rows to report the likelihood of; default: the data.
        noise: standard deviation of Gaussian noise that the model's data had added.
        seed: of everything; default: the run's plus 7, for an audit 0.
        device: cpu, cuda, ...; default: the run's, for an audit cuda where there is one.
        bracket: how log Z is bracketed; default: as the run says, or as `noneq.log_z` does.
    """
    from noneq.cli import logz as command

    how = given(bracket)
    if (run is None) == (not energy):
        raise ValueError("logz takes a run folder, or --energy with --data: one of the two")
    if run is not None:
        how |= {} if seed is None else {"seed": seed}
        return command.bracket(run, how, device)
    how["seed"] = seed or 0
    command.audit(energy, weights, data, test, noise=noise, how=how, device=device)
    return 0


@app.command
def report(run: Positional[Path], *, out: File = None, device: Words = "") -> None:
    """Draw one page of figures of a run: likelihood, log Z, weights, trust region, samples.

    Args:
        run: folder.
        out: PNG file; default RUN/report.png.
        device: cpu, cuda, ...; default: the run's.
    """
    from noneq.cli.report import report as command

    command(run, out, device)


COMMANDS = {f.__name__: f for f in (train, sample, score, logz, report)}


def main(args: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code, 0 only on success."""
    words = list(sys.argv[1:] if args is None else args)
    if words == ["--version"]:
        print(__version__)
        return 0
    try:
        with stoppable():
            check_names(words, COMMANDS)
            code = app.cli(
                prog="noneq", description=ABOUT, args=words, config=(FlagCreatePairsOff,)
            )
    except KeyboardInterrupt as stop:
        _say_error("\nnoneq: interrupted")
        return 128 + (stop.number if isinstance(stop, StoppedError) else signal.SIGINT)
    except BrokenPipeError:  # as in noneq train --help | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        if os.environ.get("NONEQ_TRACEBACK"):
            raise
        _say_error(f"noneq: error: {visible(flags(_message(error)))}")
        return 1
    return code if isinstance(code, int) else 0


def _say_error(text: str) -> None:
    """Print it on stderr, if anybody reads that."""
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def _message(error: BaseException) -> str:
    """One line: what, where, what to do."""
    if isinstance(error, OSError) and error.strerror:
        told = f"{error.filename or ''}: {error.strerror}".lstrip(": ")
        if error.errno == errno.ENOSPC and "; " not in told:
            told += "; free some space and give the same command again"
        return told
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    known = isinstance(error, ValueError | OSError | RuntimeError | ImportError | ArithmeticError)
    told = " ".join(lines) if known and lines else f"{type(error).__name__}: {' '.join(lines)}"
    return told if known else f"{told} (NONEQ_TRACEBACK=1 shows where)"
