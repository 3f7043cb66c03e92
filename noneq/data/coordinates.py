"""A table in other coordinates: its columns mapped for a model, each by itself or by a flow."""

from __future__ import annotations

from dataclasses import replace

import torch

from noneq.data.dataset import DataSet
from noneq.data.margins import Margins
from noneq.data.scaling import Scaling

__all__ = ["mapped", "with_margins"]

BLOCK = 16_384  # rows that are mapped at a time


def with_margins(data: DataSet, *, apart: bool = False) -> Scaling:
    """Fit maps of the columns to normal variables to the training rows of a table.

    Arguments:
        data: rows of a table, standardised.
        apart: whether categories and the peaks of columns stay apart, as in `Margins.fit`;
            otherwise each column becomes one normal variable.

    Returns:
        The scaling of the data set with these maps.
    """
    rows = data.train[: data.sizes[0]]
    margins = Margins.fit(rows, blocks=data.scaling.blocks(rows), apart=apart)
    return replace(data.scaling, margins=margins)


def mapped(data: DataSet, scaling: Scaling | None = None, *, apart: bool = False) -> DataSet:
    """Map the columns of a table, as new coordinates of a model.

    Arguments:
        data: rows of a table, standardised.
        scaling: scaling whose margins and flow map the columns, e.g. that of an earlier training;
            None: margins are fitted to the training rows.
        apart: whether peaks stay apart where margins are fitted, as in `with_margins`.

    Returns:
        A data set of the same rows in the new coordinates, with a scaling that undoes them; the
        data set itself if ``scaling`` has neither margins nor a flow.

    >>> import numpy as np, tempfile
    >>> from noneq.data import load
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/rows.npy", np.random.default_rng(0).lognormal(size=(200, 2)))
    ...     data = load(f"{folder}/rows.npy")
    >>> float(data.train.max()) > 3.0 > float(mapped(data).train.max())
    True
    """
    scaling = scaling or with_margins(data, apart=apart)
    own = scaling.coordinates
    if own is None:
        return data
    parts = (data.train, data.validation, data.test)
    train, validation, test = (
        torch.cat([own.apply(part)[0].to(x) for part in torch.split(x, BLOCK)]) for x in parts
    )
    new = replace(data.scaling, margins=scaling.margins, flow=scaling.flow)
    return replace(data, train=train, validation=validation, test=test, scaling=new)
