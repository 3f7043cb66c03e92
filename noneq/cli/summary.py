"""What the program does after a training: estimate log Z, print likelihoods, draw samples."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any, NamedTuple

from noneq.annealing import TooFarError
from noneq.cli.console import echo, listening, show_table, tracked
from noneq.cli.results import keep_result
from noneq.data import DataSet
from noneq.run import Run
from noneq.run.evaluation import evaluate_run
from noneq.run.label_words import known_labels
from noneq.run.staging import disk_error
from noneq.run.unfinished import unfinished
from noneq.run.verdict import Verdict, shown
from noneq.run.verdict_file import read_verdict

__all__ = ["Command", "echo_damage", "next_commands", "summarise"]


class Command(NamedTuple):
    """A command to type next.

    Attributes:
        line: the command.
        why: what it does, in a few words.
    """

    line: str
    why: str


def summarise(run: Run, data: DataSet, how: Mapping[str, Any] | None = None) -> int:
    """Bracket log Z of a trained run, draw samples to samples.png, and print the results.

    A bracket is a pair of estimates of log Z, by forward and by backward annealing.

    Arguments:
        run: trained run, whose folder this process has locked.
        data: data set that the run was trained on, on the run's device.
        how: settings of the annealing that differ from those of the run, by name, see
            `noneq.run.evaluation.evaluate_run`.

    Returns:
        The exit code of the program: 0, or 1 if log Z could not be estimated.

    Raises:
        OSError: the results cannot be written.
    """
    again = f"noneq logz {run.folder}"
    try:
        return _evaluate(run, data, how)
    except (FloatingPointError, TooFarError) as error:
        echo(f"Its likelihood is NOT bracketed, and nothing can be said of it: {error}", "bold")
        echo(
            f"The model is kept in {run.folder}. Train again with {run.family.calmer}; or "
            f"try {again} --bracket.temperatures {4 * run.recipe.bracket.temperatures}"
        )
        return 1
    except KeyboardInterrupt:
        echo(f"interrupted; the model is kept. Bracket its likelihood: {again}")
        raise
    except OSError as error:
        then = f", then {again} brackets it"
        raise disk_error(error, "the model is kept", then) from error


def _evaluate(run: Run, data: DataSet, how: Mapping[str, Any] | None) -> int:
    from noneq.report.pictures import draw_samples

    with listening():
        verdict = evaluate_run(run, data, how=how, track=tracked)
    draw_samples(run, data, run.folder / "samples.png")
    keep_result(
        run=str(run.folder),
        bracketed=verdict.bracketed,
        within=verdict.within,
        summary=verdict.summary(),
        **verdict.plain(),
    )
    _likelihoods(verdict)
    for sentence in verdict.summary():
        echo(sentence, "" if verdict.bracketed else "bold")
    echo(f"samples: {run.folder / 'samples.png'}")
    echo("next:")
    report = Command(f"noneq report {run.folder}", "all of this and more, as a page")
    own = [report, *next_commands(run, verdict)]
    wide = max(len(command.line) for command in own)
    for command in own:
        echo(f"  {command.line:{wide}}   # {command.why}", "cyan")
    return 0


def next_commands(run: Run, verdict: Verdict | None = None) -> list[Command]:
    """List commands that are of use after a training.

    Arguments:
        run: run, whether log Z has been estimated or not.
        verdict: evaluation of the run; None: the one that is stored, if there is one.

    Returns:
        The commands, each with what it does.
    """
    folder = shlex.quote(str(run.folder))
    if verdict is None and not run.bracketed:
        what, state = "estimates log Z, and with it the likelihoods", unfinished(run)
        resume = f"noneq train --out {folder} --resume"
        if state is None:
            return [Command(f"noneq logz {folder}", what), Command(resume, "trains on")]
        if state.how == "running":
            return [Command(f"noneq logz {folder}", f"{what}, once the training has ended")]
        on = f"goes on with the training, which was interrupted at {state.where}"
        return [Command(resume, on), Command(f"noneq logz {folder}", f"{what}, as it is now")]
    verdict = verdict or read_verdict(run, run.model()[0])
    found = []
    if not verdict.bracketed:
        more = f"noneq logz {folder} --bracket.walkers {2 * verdict.how['walkers']}"
        found.append(Command(more, "a bracket twice as sharp in variance"))
    rows = "rows.csv" if run.tabular else "rows.npy"
    out = "samples.csv" if run.tabular else "samples.npz"
    sample = f"noneq sample {folder} -n 64 --out {out}"
    samples = "64 fresh samples, in the file's units"
    cells = run.scaling.cells
    if run.tabular and cells is not None and any(c.low is not None for c in cells.columns):
        sample = f"{sample} --within-range"
        samples = "64 fresh samples, each value in the range of its column"
    if labels := run.scaling.labels:
        rows, sample = "rows.npz", f"{sample} --labels {labels.classes[0]}"
        samples = "64 fresh images of one label, in the file's units"
    score = f"noneq score {folder} {rows} --out scores.csv"
    return [
        *found,
        Command(sample, samples),
        Command(score, "the log-density of every row of another file"),
    ]


def echo_damage(run: Run) -> None:
    """Print a warning if lines of metrics.jsonl of a run are damaged.

    Arguments:
        run: run, i.e. the folder of a training, whose file metrics.jsonl is read.
    """
    damage = run.metrics.damage()
    if damage:
        echo(damage, "bold")


def _likelihoods(verdict: Verdict) -> None:
    model = "model" if verdict.bracketed else "model (NOT bracketed)"
    between, simplest = "between {} and {}".format(*verdict.interval), verdict.simplest
    if verdict.labels is not None and not verdict.exact:
        between = known_labels(verdict.labels).removeprefix("log Z ")
    echo("log Z " + (f"{verdict.log_z:.2f}, exact" if verdict.exact else between))
    show_table(
        f"Nats a row, smaller is better; ± over the rows, and ± {shown(verdict.stderr)} of log Z",
        ["", *verdict.nll],
        [
            *([["One Gaussian", *map(str, simplest.values())]] if simplest else []),
            [verdict.origin[0].upper() + verdict.origin[1:], *map(str, verdict.base.values())],
            [model, *map(str, verdict.nll.values())],
        ],
    )
