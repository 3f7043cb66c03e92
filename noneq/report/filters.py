"""Figure of the filters of an RBM: the columns of its weight matrix, one for each hidden unit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure, FigureBase

from noneq.data.plaintext import literal
from noneq.report.axes import NAME, NORMAL, SIDE, SMALL, Rows, array, mosaic

__all__ = ["Filters", "draw_filters", "filters_figure", "filters_size"]

MOST = SIDE**2  # the most hidden units that are shown


class Filters(NamedTuple):
    """Holds the weight matrix of an RBM, whose columns are drawn as filters of the hidden units.

    Attributes:
        w: weights (d, m) between d visible and m hidden units, one column for each hidden unit.
        shape: the shape of one row of data, of d values; for (C, H, W) each column of ``w`` is
            drawn as an image, averaged over the channels C.
        columns: the names of the visible units, the columns of a table; empty if there are none.
    """

    w: Rows
    shape: tuple[int, ...]
    columns: Sequence[str] = ()


def filters_figure(w: Rows, shape: tuple[int, ...], columns: Sequence[str] = ()) -> Figure:
    """Draw the filters of an RBM: the columns of its weight matrix, one for each hidden unit.

    The 64 columns with the largest norms are drawn, as images if the data are images, else as the
    lines of one heat map. Positive weights are red, negative ones blue and zero white. All columns
    have the same colour scale, and 0.5 % of the weights lie beyond its ends.

    Arguments:
        w: weights (d, m) between d visible and m hidden units, one column for each hidden unit.
        shape: the shape of one row of data, of d values; for images (C, H, W).
        columns: the names of the visible units; empty if there are none.

    Returns:
        The matplotlib figure.

    Raises:
        ValueError: if ``w`` is not a matrix, or d is not the number of values of a row of data.
    """
    what = Filters(w, shape, columns)
    figure = Figure(figsize=filters_size(what), layout="constrained")
    draw_filters(figure, what)
    return figure


def filters_size(what: Filters) -> tuple[float, float]:
    """Choose the size of a figure of an RBM's filters, i.e. the columns of its weight matrix.

    Arguments:
        what: the weight matrix of the RBM and the shape of its data.

    Returns:
        Width and height in inches.
    """
    if len(what.shape) == 3:
        return (5.2, 5.2)
    return (9.0, 1.2 + 0.12 * min(MOST, what.w.shape[1]))


def draw_filters(place: FigureBase, what: Filters) -> None:
    """Draw the filters of an RBM, i.e. the columns of its weight matrix, on a given figure.

    Arguments:
        place: the figure or subfigure to draw on.
        what: the weight matrix of the RBM and the shape of its data.

    Raises:
        ValueError: if the weights are no matrix (d, m), or rows of data do not have d values.
    """
    w = array(what.w)
    if w.ndim != 2 or len(w) != math.prod(what.shape):
        raise ValueError(f"weights {w.shape} do not fit rows of shape {what.shape}")
    order = np.argsort(-np.square(w).sum(0))[:MOST]
    strongest = w.T[order]
    end = float(np.quantile(np.abs(strongest), 0.995)) or 1.0
    ax = place.subplots()
    if len(what.shape) == 3:
        ax.set_axis_off()
        picture = mosaic(strongest.reshape(-1, *what.shape).mean(1), line=math.nan, blank=math.nan)
    else:
        picture = strongest
        ax.set(ylabel="hidden units", xlabel="visible units")
        ax.tick_params(labelsize=SMALL)
        if what.columns and len(what.columns) <= 40:
            names = [literal(name, NAME) for name in what.columns]
            ax.set_xticks(range(len(names)), names, rotation=90)
    aspect: Literal["equal", "auto"] = "equal" if len(what.shape) == 3 else "auto"
    shown = ax.imshow(picture, cmap="RdBu_r", norm=Normalize(-end, end), aspect=aspect)
    bar = place.colorbar(shown, ax=ax, shrink=0.6, ticks=[-end, 0, end], format="%.2g")
    bar.ax.tick_params(labelsize=SMALL)
    which = "" if len(order) == w.shape[1] else f"{len(order)} strongest of the "
    title = f"weights of the {which}{w.shape[1]} hidden units"
    ax.set_title(title, loc="left", fontsize=NORMAL)
