"""``noneq report``: the report of a training run, or a comparison of several, as an HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from noneq.cli.advice import flags
from noneq.cli.console import echo
from noneq.cli.results import keep_result
from noneq.cli.summary import echo_damage, next_commands
from noneq.run import Run

__all__ = ["report"]


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
    if path.suffix == ".png":
        from noneq.report.pictures import draw_report

        draw_report(run, path)
    else:
        from noneq.report.html import write_report

        write_report(run, path, commands=next_commands(run), words=flags)
    if run.bracketed:
        echo(f"{path}: verdict, likelihoods, training, log Z, weights, energies and samples")
    else:
        echo(
            f"{path}: training alone; noneq logz {run.folder} brackets log Z, then report it again"
        )
