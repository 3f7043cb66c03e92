"""The negative log-likelihood of every row of a run's data, as its verdict takes the mean of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from noneq.data import DataSet
from noneq.data.repeats import observations
from noneq.energies import Energy
from noneq.likelihood.score import mean_energy
from noneq.run.folder import Run

__all__ = ["Split", "nll_of_splits", "splits_of", "units_of"]


class Split(NamedTuple):
    """Holds the rows of a split with their draws, and what belongs to each row.

    Attributes:
        x: rows (draws M, *shape) in the model's units.
        volume: what is added to their log-densities (draws M,), see `noneq.data.Scaling`.
        observations: what tells independent rows apart (M, ...).
        units: what is added to a row's log-likelihood for the file's units (M,).
    """

    x: Tensor
    volume: Tensor
    observations: Tensor
    units: Tensor


def splits_of(run: Run, data: DataSet, most: int | None = None) -> dict[str, Split]:
    """Prepare the splits of a data set.

    Arguments:
        run: run that was trained on the data.
        data: its data.
        most: number of rows of a split that are taken at most, the first ones; None: all.

    Returns:
        "train", "validation" and "test" rows.
    """
    found = {}
    parts = {"train": data.train, "validation": data.validation, "test": data.test}
    for (name, every), size in zip(parts.items(), data.sizes, strict=True):
        x, n = every, min(size, most or size)
        if n < size:
            x = every.view(-1, size, *every.shape[1:])[:, :n].flatten(0, 1)
        own = x[:n]
        if run.scaling.cells is not None:
            own = torch.from_numpy(observations(run.scaling.undo(own).cpu().numpy()))[:, None]
        units = run.scaling.log_units(x[:n])
        found[name] = Split(x, run.scaling.log_volume(x), own.to(x.device), units)
    return found


def nll_of_splits(
    energy: Energy, log_z: float, splits: Mapping[str, Split], noise: float
) -> dict[str, Tensor]:
    """Compute the NLL of every row of each split, averaged over draws of noise and of cells.

    It is that of the standardised rows, whether or not their columns were mapped. Noise is the
    same for every energy, so that models can be compared row by row.

    Arguments:
        energy: the energy.
        log_z: its log Z in nats.
        splits: rows that `splits_of` returned.
        noise: standard deviation of the noise that is added to the rows.

    Returns:
        The NLLs (M,) of each split by its name, in nats.
    """
    return {
        name: _mean(mean_energy(energy, own.x, noise=noise) + log_z - own.volume, own)
        for name, own in splits.items()
    }


def _mean(values: Tensor, own: Split) -> Tensor:
    """Average the values (draws M,) of each row over its draws."""
    return values.view(-1, len(own.units)).mean(0) if len(values) > len(own.units) else values


def units_of(run: Run) -> str:
    """Say which values the likelihoods of a run are of.

    Arguments:
        run: the run.

    Returns:
        "bits", "standardised values", "images" or "images given their labels".
    """
    if run.scaling.threshold is not None or run.family.binary:
        return "bits"
    if run.scaling.labels is not None:
        return "images given their labels"
    return "standardised values" if run.tabular else "images"
