"""Figures that compare a model with its data: samples beside rows, and histograms of energies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase

from noneq.data.plaintext import literal
from noneq.report.axes import (
    BLUE,
    GREEN,
    NAME,
    NORMAL,
    RED,
    Array,
    Rows,
    array,
    density,
    finish,
    limits,
    ticks,
    tiles,
)

__all__ = [
    "Energies",
    "Samples",
    "draw_energies",
    "draw_samples",
    "energies_figure",
    "samples_figure",
    "samples_size",
]

Names: TypeAlias = Sequence[str]
Span: TypeAlias = tuple[float, float]
COLUMNS = 5  # the most columns of a table that are shown
DOTS = 2000  # the most rows of a scatter plot


class Samples(NamedTuple):
    """Holds samples of a model and the data that it was trained on, to be drawn side by side.

    Attributes:
        data: training rows (M, *shape), with noise added as in training; ``shape`` is (C, H, W)
            for images.
        samples: samples of the model (N, *shape), of equal weight.
        denoised: denoised samples ``x - sigma^2 grad U(x)``, sigma the standard deviation of the
            training noise; drawn only for images. None: they are not drawn.
        columns: the names of a table's columns; empty if it has none.
    """

    data: Rows
    samples: Rows
    denoised: Rows | None = None
    columns: Names = ()


class Energies(NamedTuple):
    """Holds the energies U(x) of data rows and of weighted walkers, to be drawn as histograms.

    Attributes:
        data: energies of training rows (M,).
        walkers: energies of walkers (N,), which are weighted samples of the model.
        p: weights of the walkers (N,), which sum to 1.
        held_out: energies of rows that the model was not trained on (L,), or None.
    """

    data: Rows
    walkers: Rows
    p: Rows
    held_out: Rows | None = None


def samples_figure(
    data: Rows, samples: Rows, denoised: Rows | None = None, columns: Names = ()
) -> Figure:
    """Draw samples of a model beside the data that it was trained on.

    Images (M, C, H, W) are drawn in grids, the rows of a table as histograms and scatter plots of
    their first five columns.

    Arguments:
        data: training rows (M, *shape), where ``shape`` is the shape of one row, with noise added
            as in training; images in [-1, 1].
        samples: samples of the model (N, *shape), of equal weight.
        denoised: denoised samples ``x - sigma^2 grad U(x)``, sigma the standard deviation of the
            training noise; drawn only for images. None: they are not drawn.
        columns: the names of a table's columns; empty if it has none.

    Returns:
        The matplotlib figure.

    Raises:
        ValueError: if there are no rows, or data and samples have different shapes.
    """
    what = Samples(data, samples, denoised, columns)
    figure = Figure(figsize=samples_size(what), layout="constrained")
    draw_samples(figure, what)
    return figure


def energies_figure(data_u: Rows, walker_u: Rows, p: Rows, held_u: Rows | None = None) -> Figure:
    """Draw histograms of the energies of data rows and of weighted walkers.

    Walkers at energies below all of the data show a spurious mode: a region of low energy without
    data. The axis shows the quantiles from 0.5 % to 99.5 % with a margin; outliers beyond it are
    counted in the outermost bins.

    Arguments:
        data_u: energies of training rows (M,).
        walker_u: energies of walkers (N,), which are weighted samples of the model.
        p: weights of the walkers (N,), which sum to 1.
        held_u: energies of rows that the model was not trained on (L,), or None.

    Returns:
        The matplotlib figure.
    """
    figure = Figure(figsize=(7, 4), layout="constrained")
    draw_energies(figure, Energies(data_u, walker_u, p, held_u))
    return figure


def samples_size(what: Samples) -> tuple[float, float]:
    """Choose the size of a figure that shows samples of a model beside data.

    Arguments:
        what: samples of the model, and the data.

    Returns:
        Width and height in inches.
    """
    if what.data.ndim == 4:
        return (8.6, 4.6) if what.denoised is None else (12.6, 4.5)
    columns = min(COLUMNS, math.prod(what.data.shape[1:]))
    return {1: (7.0, 4.0), 2: (9.4, 4.9)}.get(columns, (1.2 + 1.5 * columns, 0.6 + 1.4 * columns))


def draw_samples(place: FigureBase, what: Samples) -> None:
    """Draw samples of a model beside its data on a given figure, as `samples_figure` draws them.

    Arguments:
        place: the figure or subfigure to draw on.
        what: samples of the model, and the data.

    Raises:
        ValueError: if there are no rows, or data and samples have different shapes.
    """
    if what.data.shape[1:] != what.samples.shape[1:]:
        raise ValueError(
            f"samples and data must have one shape, got {tuple(what.samples.shape[1:])} and "
            f"{tuple(what.data.shape[1:])}"
        )
    if what.data.ndim == 4:
        _draw_images(place, what)
        return
    data, model = (x.reshape(len(x), -1) for x in (array(what.data), array(what.samples)))
    width = data.shape[1]
    own = (literal(name, NAME) for name in what.columns)
    names = [*own, *(f"x{i + 1}" for i in range(len(what.columns), width))]
    spans = [limits(column, margin=0.15) for column in data.T]
    draw = {1: _draw_one, 2: _draw_two}.get(width, _draw_corner)
    draw(place, data, model, names, spans[:COLUMNS])


def draw_energies(place: FigureBase, what: Energies) -> None:
    """Draw histograms of the energies of data and of walkers (weighted samples) on a given figure.

    Arguments:
        place: the figure or subfigure to draw on.
        what: energies of data and walkers, and the weights of the walkers.
    """
    data, walkers, p = array(what.data), array(what.walkers), array(what.p)
    held = None if what.held_out is None else array(what.held_out)
    spans = [limits(data), limits(walkers, p), *([] if held is None else [limits(held)])]
    span = (min(low for low, _ in spans), max(high for _, high in spans))
    ax = place.subplots()
    density(ax, data, span, BLUE, fill=True, alpha=0.35, label="data, trained on")
    if held is not None:
        density(ax, held, span, GREEN, linewidth=1.4, label="data, held out")
    density(ax, walkers, span, RED, p=p, linewidth=1.4, label="walkers, by weight")
    ax.set(xlabel="energy U", ylabel="density")
    finish(ax, "energies: walkers left of the data are spurious")


def _draw_images(place: FigureBase, what: Samples) -> None:
    panels = {"data": what.data, "samples of the model": what.samples}
    if what.denoised is not None:
        panels = {"data, with noise": what.data, "samples of the model": what.samples}
        panels["samples, denoised"] = what.denoised
    n = min(len(x) for x in panels.values())
    for ax, (title, x) in zip(place.subplots(1, len(panels)), panels.items(), strict=True):
        ax.imshow(tiles(x[:n], scale=max(1, 16 // max(x.shape[2:]))))
        ax.set_axis_off()
        ax.set_title(title, fontsize=NORMAL)


def _draw_one(
    place: FigureBase, data: Array, model: Array, names: Names, spans: Sequence[Span]
) -> None:
    ax = place.subplots()
    _marginal(ax, data[:, 0], model[:, 0], spans[0], _labels(data, model, spans))
    ax.set(xlabel=names[0], ylabel="density")
    finish(ax, "data and samples of the model")


def _draw_two(
    place: FigureBase, data: Array, model: Array, names: Names, spans: Sequence[Span]
) -> None:
    axes = place.subplots(1, 2, sharex=True, sharey=True)
    data, model, labels = *_as_many(data, model), _labels(data, model, spans)
    for ax, x, color, label in zip(axes, (data, model), (BLUE, RED), labels, strict=True):
        _dots(ax, x, [color])
        ax.set(xlim=spans[0], ylim=spans[1], xlabel=names[0])
        finish(ax, label)
    axes[0].set_ylabel(names[1])


def _draw_corner(
    place: FigureBase, data: Array, model: Array, names: Names, spans: Sequence[Span]
) -> None:
    k, labels = len(spans), _labels(data, model, spans)
    dots = np.stack(_as_many(data, model), 1).reshape(
        -1, data.shape[1]
    )  # alternating, so that neither covers the other
    grid = place.add_gridspec(k, k)
    for i in range(k):
        for j in range(i + 1):
            ax = place.add_subplot(grid[i, j])
            if i == j:
                _marginal(ax, data[:, i], model[:, i], spans[i], labels)
            else:
                _dots(ax, dots[:, [j, i]], [BLUE, RED])
                ax.set(xlim=spans[j], ylim=spans[i])
            below, left = i == k - 1, j == 0 and i > 0
            ax.set(xlabel=names[j] if below else "", ylabel=names[i] if left else "")
            finish(ax, "", legend=False)
            ticks(ax.xaxis, 3)
            ticks(ax.yaxis, 3)
            ax.tick_params(labelbottom=below, labelleft=left, left=i != j)
            ax.spines["left"].set_visible(i != j)
    title = f"columns 1 to {k} of {data.shape[1]}" if data.shape[1] > k else None
    place.legend(
        *ax.get_legend_handles_labels(), loc="upper right", fontsize=NORMAL, title=title
    ).set_frame_on(False)


def _labels(data: Array, model: Array, spans: Sequence[Span]) -> tuple[str, str]:
    """Return the labels of data and samples: name, number of rows, and number outside the axes."""
    low, high = np.array(spans).T
    labels = []
    for name, x in (("data", data), ("samples of the model", model)):
        shown = x[:, : len(spans)]
        outside = int((~((shown >= low) & (shown <= high)).all(1)).sum())
        labels.append(f"{name}: {len(x)}" + (f", {outside} outside" if outside else ""))
    return labels[0], labels[1]


def _marginal(ax: Axes, data: Array, model: Array, span: Span, labels: tuple[str, str]) -> None:
    density(ax, data, span, BLUE, fill=True, alpha=0.35, label=labels[0])
    density(ax, model, span, RED, linewidth=1.4, label=labels[1])


def _as_many(data: Array, model: Array) -> tuple[Array, Array]:
    """Thin data and samples to the same number of rows, so that densities of dots compare."""
    n = min(len(data), len(model), DOTS)
    chosen = [np.linspace(0, len(x) - 1, n).round().astype(int) for x in (data, model)]
    return data[chosen[0]], model[chosen[1]]


def _dots(ax: Axes, x: Array, colors: list[str]) -> None:
    """Draw a scatter plot of rows (M, 2), whose colours alternate."""
    n = len(x) // len(colors)
    size, alpha = (8, 0.6) if n <= 500 else (5, 0.4)
    ax.scatter(x[:, 0], x[:, 1], s=size, c=colors * n, alpha=alpha, linewidths=0, rasterized=True)
