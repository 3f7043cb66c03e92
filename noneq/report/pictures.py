"""Pictures of a training run, drawn to files.

One shows samples of the run's model beside data, another the whole run on a page.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from noneq.data import DataSet
from noneq.energies import Energy
from noneq.energies.denoising import denoised
from noneq.likelihood.score import energy_of
from noneq.random import add_noise
from noneq.report.distributions import Energies, Samples, samples_figure
from noneq.report.filters import Filters
from noneq.report.page import report_figure
from noneq.run import Run
from noneq.run.atomic import write
from noneq.run.checkpoint import load_tensors
from noneq.run.evaluation import read_verdict
from noneq.run.verdict import Verdict

__all__ = ["draw_report", "draw_samples"]


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
    figure = samples_figure(*_samples(run, data, run.model()[0], _population(run)))
    write(path, lambda part: figure.savefig(part, dpi=110))


def draw_report(run: Run, path: Path) -> None:
    """Draw one page about a run to a picture file: text, training metrics, energies and samples.

    If log Z of the run's model has not been estimated yet, only the training is drawn.

    Arguments:
        run: run, i.e. the folder of a training.
        path: the picture file to write, e.g. a .png file.
    """
    words = "log Z of this run has not been bracketed yet"
    parts: dict[str, Any] = {}
    cells = run.scaling.cells
    mapped = run.scaling.coordinates is not None or (cells is not None and cells.repeats)
    data = run.data() if run.bracketed or mapped else None
    rows = run.metrics.rows()
    if mapped and data is not None:
        rows = _of_standardised_rows(rows, float(run.scaling.log_volume(data.train).mean()))
    if run.bracketed and data is not None:
        (energy, _), walkers = run.model(), _population(run)
        verdict = read_verdict(run, energy)
        words = "\n".join(verdict.summary())
        parts = {
            "estimate": _bracket_of(verdict),
            "energies": _energies(run, data, energy, walkers),
            "samples": _samples(run, data, energy, walkers),
        }
        weights = run.family.filters(energy)
        if weights is not None:
            parts["filters"] = Filters(weights, run.shape, data.columns)
    figure = report_figure(run.folder.resolve().name, words, rows, **parts)
    write(path, lambda part: figure.savefig(part, dpi=100))


def _of_standardised_rows(rows: list[dict[str, Any]], volume: float) -> list[dict[str, Any]]:
    """Convert the NLLs of mapped columns in metrics to those of the standardised rows."""
    return [row if row.get("nll") is None else {**row, "nll": row["nll"] - volume} for row in rows]


def _population(run: Run) -> dict[str, Tensor]:
    """Load the weighted walkers that log Z was estimated with."""
    try:
        return load_tensors(run.folder / "population.safetensors", run.device)
    except (FileNotFoundError, ValueError) as error:
        raise type(error)(f"{error}; `evaluate_run({run.folder})` makes it anew") from error


def _samples(run: Run, data: DataSet, energy: Energy, walkers: Mapping[str, Tensor]) -> Samples:
    """Draw samples and select data: images in the model's units, tables in the file's."""
    noise = run.recipe.train.noise
    rng = torch.Generator(run.device).manual_seed(run.seed)
    table = data.kind == "table"
    n = 1000 if table else 64
    x = walkers["x"][torch.multinomial(walkers["log_w"].softmax(0), n, True, generator=rng)]
    rows = add_noise(data.train[: min(n, data.sizes[0])], noise, rng)
    if table:
        return Samples(data.scaling.undo(rows), data.scaling.undo(x), None, data.columns)
    rows, x = run.family.shown(rows), run.family.shown(x)
    return Samples(rows, x, denoised(energy, x, noise) if noise else None)


def _energies(run: Run, data: DataSet, energy: Energy, walkers: Mapping[str, Tensor]) -> Energies:
    noise = run.recipe.train.noise
    rng = torch.Generator(run.device).manual_seed(run.seed)
    rows = (add_noise(data.train, noise, rng), walkers["x"], add_noise(data.test, noise, rng))
    train, model, test = (energy_of(energy, x) for x in rows)
    return Energies(train, model, walkers["log_w"].softmax(0), test)


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
