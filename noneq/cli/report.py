"""``noneq report``: draw the figures of a training run on one page, as a .png file."""

from __future__ import annotations

from pathlib import Path

from noneq.cli.console import echo
from noneq.cli.summary import echo_damage
from noneq.run import Run

__all__ = ["report"]


def report(run: Path, out: Path | None, device: str) -> None:
    """Draw the figures of a training run on one page, as the command ``noneq report`` does.

    Arguments:
        run: folder of the training run, whether log Z has been estimated or not.
        out: .png file to write; None: report.png in the folder of the run.
        device: torch device; empty: the device of the run.

    Raises:
        ValueError: ``out`` is not a .png file.
    """
    from noneq.report.pictures import draw_report

    path = out or run / "report.png"
    if path.suffix != ".png":
        raise ValueError(f"{path}: a report is a .png file")
    opened = Run(run, device)
    echo_damage(opened)
    draw_report(opened, path)
    if opened.bracketed:
        echo(f"{path}: training, log Z, weights, energies and samples on one page")
    else:
        echo(f"{path}: training alone; noneq logz {run} brackets log Z, then report it again")
