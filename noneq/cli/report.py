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
            the run, or of several comparison_A_B.html beside the folder of the first.
        device: torch device; empty: the device of each run.
        data: file of the runs' rows; None: where each run read them.

    Raises:
        ValueError: ``out`` has another ending, or the runs cannot be compared.
        FileExistsError: ``out`` is there already, and is no page of the same kind.
    """
    if out is not None and out.suffix != ".html" and (out.suffix != ".png" or len(runs) > 1):
        raise ValueError(f"{out}: a report is an .html file, or of one run a .png file")
    opened = [Run(run, device, source=str(data or "")) for run in runs]
    for run in opened:
        echo_damage(run)
    if len(opened) > 1:
        _compared(opened, out)
        return
    (run,) = opened
    path = out or run.folder / "report.html"
    keep_result(out=str(path), runs=[str(run.folder)])
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


def _compared(runs: Sequence[Run], out: Path | None) -> None:
    """Write the comparison of several runs, and print where it is."""
    from noneq.report.html import place_of_comparison, write_comparison

    path = out or place_of_comparison(runs)
    write_comparison(runs, path)
    keep_result(out=str(path), runs=[str(run.folder) for run in runs])
    echo(f"{path}: {len(runs)} runs, compared row by row")


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
