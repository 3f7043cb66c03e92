"""``noneq report``: the report of a training run, or a comparison of several, as an HTML file."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from noneq.cli.advice import flags
from noneq.cli.console import echo
from noneq.cli.results import keep_result
from noneq.cli.summary import echo_damage, next_commands
from noneq.run import Run
from noneq.run.unfinished import unfinished

__all__ = ["report"]

ALL = "verdict, likelihoods, training, log Z, weights, energies and samples"


def report(runs: Sequence[Path], out: Path | None, device: str, data: Path | None = None) -> None:
    """Write the report of a run, or a comparison of several, as ``noneq report`` does.

    Arguments:
        runs: folders of training runs.
        out: .html file to write, or of one run a .png file; None: report.html in the folder of
            the run, or comparison.html in the working folder.
        device: torch device; empty: the device of each run.
        data: file of the runs' rows; None: where each run read them.

    Raises:
        ValueError: ``out`` has another ending, or the runs cannot be compared.
    """
    path = out or (runs[0] / "report.html" if len(runs) == 1 else Path("comparison.html"))
    if path.suffix != ".html" and (path.suffix != ".png" or len(runs) > 1):
        raise ValueError(f"{path}: a report is an .html file, or of one run a .png file")
    opened = [Run(run, device, source=str(data or "")) for run in runs]
    for run in opened:
        echo_damage(run)
    keep_result(out=str(path), runs=[str(run.folder) for run in opened])
    if len(opened) > 1:
        from noneq.report.html import write_comparison

        write_comparison(opened, path)
        echo(f"{path}: {len(opened)} runs, compared row by row")
        return
    (run,) = opened
    ends = _unbracketed(run)
    if ends:
        echo(ends, "bold")
    if path.suffix == ".png":
        from noneq.report.pictures import draw_report

        draw_report(run, path)
    else:
        from noneq.report.html import write_report

        write_report(run, path, commands=next_commands(run), words=flags)
    contents = "the training alone" if ends else ALL
    echo(f"{path}: {contents}")


def _unbracketed(run: Run) -> str:
    """Say why a run has no likelihoods yet, and what to type; empty: it has them."""
    if run.bracketed:
        return ""
    folder = shlex.quote(str(run.folder))
    state = unfinished(run)
    if state is None:
        return f"{run.folder}: log Z is not bracketed; noneq logz {folder} does so"
    if state.how == "running":
        return f"{run.folder}: is still being trained, at {state.where}; log Z is not bracketed"
    return (
        f"{run.folder}: its training was interrupted at {state.where}, and log Z is not "
        f"bracketed: noneq train --out {folder} --resume goes on with it"
    )
