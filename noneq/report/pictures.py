"""Pictures of a training run, drawn to files.

One shows samples of the run's model beside data, another the whole run on a page.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from noneq.data import DataSet
from noneq.report.contents import Contents, load_population, samples_of
from noneq.report.distributions import samples_figure
from noneq.report.page import report_figure
from noneq.run import Run
from noneq.run.atomic import write
from noneq.run.verdict import Verdict

__all__ = ["draw_report", "draw_samples"]

MARK = "noneq report"  # in the file of a page, by which it is known later


def draw_samples(run: Run, data: DataSet, path: Path) -> None:
    """Draw samples of a run's model beside the run's data, to a picture file.

    The samples are drawn by weight from the weighted samples with which forward annealing has
    estimated log Z. If the data are images and the model was trained with noise, denoised samples
    are drawn, too.

    Arguments:
        run: run, i.e. the folder of a training, whose log Z has been estimated.
        data: the data set that the model was trained on.
        path: the picture file to write, e.g. a .png file.

    Raises:
        FileNotFoundError: if the run's log Z has not been estimated yet.
    """
    samples, _ = samples_of(run, data, run.model()[0], load_population(run))
    figure = samples_figure(*samples)
    write(path, lambda part: figure.savefig(part, dpi=110))


def draw_report(run: Run, path: Path) -> None:
    """Draw one page about a run to a picture file: text, training metrics, energies and samples.

    If log Z of the run's model has not been estimated yet, only the training is drawn.

    Arguments:
        run: run, i.e. the folder of a training.
        path: the picture file to write, e.g. a .png file.

    Raises:
        FileExistsError: there is a .png file that was not drawn by this function.
    """
    png = path.suffix == ".png"
    if png and path.is_file() and b"Software\0" + MARK.encode() not in path.read_bytes()[:1000]:
        raise FileExistsError(
            f"{path}: is there already, and was not drawn by noneq report, which would replace "
            "it: name another file (`out`)"
        )
    about = {"Software": MARK} if png else None
    contents = Contents.of(run)
    words = "log Z of this run has not been bracketed yet"
    parts: dict[str, Any] = {}
    if contents.verdict is not None:
        words = "\n".join(contents.verdict.summary())
        parts = {
            "estimate": _bracket_of(contents.verdict),
            "energies": contents.energies,
            "samples": contents.samples,
            "filters": contents.filters,
        }
    title = run.folder.resolve().name
    figure = report_figure(title, words, contents.metrics, **parts)
    write(path, lambda part: figure.savefig(part, dpi=100, metadata=about))


def _bracket_of(verdict: Verdict) -> dict[str, Any]:
    """Convert the verdict to the dict that `training_figure` takes as ``estimate``."""
    plain: dict[str, Any] = {"alarms": verdict.alarms}
    for name, side in (("forward", verdict.forward), ("backward", verdict.backward)):
        plain |= {name: side.value, f"{name}_stderr": side.stderr}
    means = {**verdict.nll, "base": verdict.base["test"]}
    plain["nll"] = {
        name: {"value": m.value, "stderr_z": verdict.stderr, "stderr_data": m.stderr}
        for name, m in means.items()
    }
    return plain
