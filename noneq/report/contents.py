"""What a report of a run shows, read from the folder of the run once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from noneq.data import DataSet
from noneq.energies import Energy
from noneq.energies.denoising import denoised
from noneq.likelihood.score import energy_of
from noneq.random import add_noise
from noneq.report.distributions import Energies, Samples
from noneq.report.filters import Filters
from noneq.run import Run
from noneq.run.checkpoint import load_tensors
from noneq.run.verdict import Verdict
from noneq.run.verdict_file import read_verdict
from noneq.spaces import context_size

__all__ = ["Contents", "load_population", "metrics_of", "samples_of"]


@dataclass(frozen=True)
class Contents:
    """What a report shows of a run; without an estimate of log Z only the metrics.

    Attributes:
        run: the run.
        metrics: metrics of training; the NLLs are those of standardised rows, also where columns
            were mapped.
        data: the run's data; None if they were not needed.
        verdict: evaluation of the run.
        samples: samples of the model, drawn by weight, with rows of the data.
        population: those samples in the model's units (N, *shape).
        effective: number of independent samples that the weighted walkers are worth.
        energies: energies of data and of walkers.
        filters: weight matrix of an RBM.
    """

    run: Run
    metrics: list[dict[str, Any]]
    data: DataSet | None = None
    verdict: Verdict | None = None
    samples: Samples | None = None
    population: Tensor | None = None
    effective: float = 0.0
    energies: Energies | None = None
    filters: Filters | None = None

    @classmethod
    def of(cls, run: Run) -> Contents:
        """Read what a report of a run shows.

        Arguments:
            run: run, i.e. the folder of a training.

        Returns:
            The contents.

        Raises:
            FileNotFoundError: the data, or the stored walkers, are missing.
            ValueError: a file is damaged.
        """
        cells, metrics = run.scaling.cells, run.metrics.rows()
        mapped = run.scaling.coordinates is not None or (cells is not None and cells.repeats)
        if not (run.bracketed or mapped):
            return cls(run, metrics)
        data = run.data()
        metrics = metrics_of(run, data)
        if not run.bracketed:
            return cls(run, metrics, data)
        energy, walkers = run.model()[0], load_population(run)
        verdict, weights = read_verdict(run, energy), run.family.filters(energy)
        samples, x = samples_of(run, data, energy, walkers)
        filters = None if weights is None else Filters(weights, run.shape, data.columns)
        energies = _energies(run, data, energy, walkers)
        effective = 1 / float(walkers["log_w"].softmax(0).square().sum())
        return cls(run, metrics, data, verdict, samples, x, effective, energies, filters)


def load_population(run: Run) -> dict[str, Tensor]:
    """Load the weighted walkers that log Z of a run was estimated with.

    Arguments:
        run: run whose log Z has been estimated.

    Returns:
        Positions ``x``, ``log_w`` and ``ancestors``.

    Raises:
        FileNotFoundError: log Z has not been estimated.
        ValueError: the file is damaged.
    """
    try:
        return load_tensors(run.folder / "population.safetensors", run.device)
    except (FileNotFoundError, ValueError) as error:
        raise type(error)(f"{error}; `evaluate_run({run.folder})` makes it anew") from error


def samples_of(
    run: Run, data: DataSet, energy: Energy, walkers: Mapping[str, Tensor]
) -> tuple[Samples, Tensor]:
    """Draw samples by weight, and select data: images in the model's units, tables in the file's.

    Arguments:
        run: run whose log Z has been estimated.
        data: its data.
        energy: its model.
        walkers: weighted walkers that `load_population` returned.

    Returns:
        64 images, sorted by label if they have labels, or 1,000 rows of a table, of both; and the
        samples in the model's units.
    """
    noise = run.recipe.train.noise
    rng = torch.Generator(run.device).manual_seed(run.seed)
    table = data.kind == "table"
    n = 1000 if table else 64
    x = walkers["x"][torch.multinomial(walkers["log_w"].softmax(0), n, True, generator=rng)]
    rows = data.train[: min(n, data.sizes[0])]
    rows = add_noise(rows, noise, rng, held=context_size(energy))
    if table:
        both = data.scaling.undo(rows), data.scaling.undo(x)
        return Samples(*both, None, data.columns), x
    if run.scaling.labels is not None:
        x, rows = (own[run.scaling.labels.of(own).argsort(stable=True)] for own in (x, rows))

    def shown(own: Tensor) -> Tensor:
        return run.family.shown(run.scaling.images(own))

    clean = shown(denoised(energy, x, noise)) if noise else None
    return Samples(shown(rows), shown(x), clean), x


def metrics_of(run: Run, data: DataSet) -> list[dict[str, Any]]:
    """Read the metrics of a run, with NLLs of the standardised rows also of mapped columns.

    Arguments:
        run: the run.
        data: its data.

    Returns:
        One dictionary for each logged iteration.
    """
    volumes = {
        "nll": float(run.scaling.log_volume(data.train).mean()),
        "validation_nll": float(run.scaling.log_volume(data.validation).mean()),
    }
    return [
        {**row, **{k: row[k] - v for k, v in volumes.items() if row.get(k) is not None}}
        for row in run.metrics.rows()
    ]


def _energies(run: Run, data: DataSet, energy: Energy, walkers: Mapping[str, Tensor]) -> Energies:
    noise = run.recipe.train.noise
    rng = torch.Generator(run.device).manual_seed(run.seed)
    held = context_size(energy)
    noisy = (add_noise(x, noise, rng, held=held) for x in (data.train, data.test))
    train, test = (energy_of(energy, x) for x in noisy)
    model = energy_of(energy, walkers["x"])
    return Energies(train, model, walkers["log_w"].softmax(0), test)
