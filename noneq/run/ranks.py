"""How unusual log-densities are, among the rows of a file and the training rows of a run."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from noneq.run.folder import Run
from noneq.run.scores import label_scores, log_densities

__all__ = ["Ranked", "percentiles", "ranked", "ranks", "training_densities"]

MOST = 10_000  # training rows that others are compared with

Densities = NDArray[np.float64]


class Ranked(NamedTuple):
    """The log-densities of M rows, and how unusual they are.

    Attributes:
        log_density: normalised log-densities (M,), in nats of the file's units.
        rank: place of each row (M,) among these rows, as of `ranks`.
        percentile: percentage of the training rows that are less likely than each row (M,), as of
            `percentiles`, rounded to 0.01; None: the training rows could not be read.
        compared: number of training rows that the percentages are of; 0: none.
        why: why there are no percentages, in a few words.
    """

    log_density: Densities
    rank: NDArray[np.int64]
    percentile: Densities | None
    compared: int = 0
    why: str = ""


def ranked(run: Run, log_density: Densities, *, labels: bool = True) -> Ranked:
    """Rank rows by their log-densities, and compare them with the training rows of a run.

    Arguments:
        run: run under whose model the log-densities are.
        log_density: normalised log-densities (M,) in the file's units, in nats.
        labels: whether those of images are given their labels, if the model is conditional.

    Returns:
        The ranks and the percentages. There are no percentages where the data of the run are not
        in their place any more, or have changed.
    """
    own = ranks(log_density)
    try:
        reference = training_densities(run, labels=labels)
    except FileNotFoundError:
        return Ranked(log_density, own, None, why="are not in their place any more")
    except ValueError:
        return Ranked(log_density, own, None, why="have changed since")
    percentile = percentiles(log_density, reference).round(2)  # of 10,000 rows, this loses nothing
    return Ranked(log_density, own, percentile, len(reference))


def ranks(log_density: Densities) -> NDArray[np.int64]:
    """Rank rows by their log-densities.

    Arguments:
        log_density: log-densities (M,).

    Returns:
        The place of each row (M,), 1 for the least likely; rows with the same log-density have the
        same rank, the smallest of their places.

    >>> ranks(np.array([-3.0, -9.0, -3.0, -1.0])).tolist()
    [2, 1, 2, 4]
    """
    places: NDArray[np.int64] = np.searchsorted(np.sort(log_density), log_density, side="left")
    return places + 1


def percentiles(log_density: Densities, reference: Densities) -> Densities:
    """Compute which percentage of reference rows is less likely than each row.

    Arguments:
        log_density: log-densities (M,).
        reference: log-densities (N,) of the reference rows.

    Returns:
        The percentages (M,), of rows with a smaller log-density; 0.0: less likely than all, or as
        unlikely as the least likely.

    >>> percentiles(np.array([-5.0, -2.0, 0.0]), np.array([-1.0, -2.0, -3.0, -4.0])).tolist()
    [0.0, 50.0, 100.0]
    """
    below: NDArray[np.int64] = np.searchsorted(np.sort(reference), log_density, side="left")
    return 100.0 * below / len(reference)


def training_densities(run: Run, *, labels: bool = True) -> Densities:
    """Compute the log-densities of the training rows of a run, in the file's units.

    They are those of the rows as they are, without the noise that training added.

    Arguments:
        run: run whose log Z has been estimated.
        labels: whether those of images are given their labels, if the model is conditional.

    Returns:
        The log-densities (N,) in nats, of 10,000 rows drawn at random where there are more.

    Raises:
        FileNotFoundError: the data are not where they were, or log Z has not been estimated yet.
        ValueError: the data differ from those that the run is trained on.
    """
    data = run.data()
    x = data.train.view(data.draws, -1, *data.shape)
    if x.shape[1] > MOST:
        order = torch.randperm(x.shape[1], generator=torch.Generator().manual_seed(0))
        x = x[:, order[:MOST].to(x.device)]
    first, x = x[0], x.flatten(0, 1)
    if run.scaling.labels is not None and not labels:
        found = label_scores(run, run.scaling.images(x)).log_density
    else:
        found = log_densities(run, x, data.draws)
    if run.scaling.threshold is None:  # probabilities have no units
        found = found + run.scaling.log_units(first)
    densities: Densities = found.cpu().numpy()
    return densities
