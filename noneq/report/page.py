"""Figure that shows a whole training run on one page.

The page has a text of results, the metrics of the training, histograms of energies, samples beside
data, and the filters of an RBM.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.figure import Figure, FigureBase, SubFigure

from noneq.data.plaintext import literal
from noneq.report.axes import NORMAL
from noneq.report.distributions import Energies, Samples, draw_energies, draw_samples, samples_size
from noneq.report.filters import Filters, draw_filters, filters_size
from noneq.report.series import Bracket, Metrics
from noneq.report.training import draw_training, training_height

__all__ = ["report_figure"]

WIDTH = 14.0  # inches


def report_figure(
    title: str,
    verdict: str,
    metrics: Metrics,
    *,
    estimate: Bracket | None = None,
    energies: Energies | None = None,
    samples: Samples | None = None,
    filters: Filters | None = None,
) -> Figure:
    """Draw one page about a training run: text, training metrics, energies, samples and filters.

    The page is 14 inches wide and as high as its parts need.

    Arguments:
        title: text at the top, for example the name of the run.
        verdict: text below the title, for example a summary of results; long lines are wrapped.
        metrics: metrics of training, one dict for each logged iteration, with the keys that
            `training_figure` lists.
        estimate: log Z and likelihoods of the trained model, a dict with the keys that
            `training_figure` lists; None: these are not known.
        energies: energies of data and of walkers (weighted samples of the model), drawn as
            histograms; None: they are left out.
        samples: samples of the model and its data, drawn side by side; None: they are left out.
        filters: weight matrix of an RBM, whose columns are drawn; None: it is left out.

    Returns:
        The matplotlib figure.

    Raises:
        ValueError: if there are no metrics.
    """
    parts: list[tuple[float, float, Callable[[FigureBase], None]]] = []  # width, height, drawing
    if samples is not None:
        wide, high = samples_size(samples)
        fits = min(wide, 9.6)
        parts.append((fits, high * fits / wide, lambda place: draw_samples(place, samples)))
    if energies is not None:
        rest = WIDTH - sum(wide for wide, _, _ in parts)
        parts.insert(0, (rest, 4.0, lambda place: draw_energies(place, energies)))
    lines = [part for one in verdict.splitlines() for part in textwrap.wrap(literal(one), 190)]
    heights = [0.65 + 0.2 * len(lines), training_height(metrics)]
    rows = [parts] if parts else []
    if filters is not None:
        wide, high = filters_size(filters)
        rows.append([(wide, high, lambda place: draw_filters(place, filters))])
    heights += [max(high for _, high, _ in row) for row in rows]
    figure = Figure(figsize=(WIDTH, sum(heights)), layout="constrained")
    top, middle, *bottom = _split(figure, heights=heights)
    top.text(0.008, 1 - 0.12 / heights[0], literal(title), va="top", fontsize=15, weight="bold")
    y = 1 - 0.48 / heights[0]
    top.text(0.008, y, "\n".join(lines), va="top", fontsize=NORMAL, linespacing=1.4)
    draw_training(middle, metrics, estimate)
    for below, row in zip(bottom, rows, strict=True):
        widths = [wide for wide, _, _ in row]
        blank = WIDTH - sum(widths)
        places = _split(below, widths=[*widths, *([blank] if blank > 1 else [])])
        for place, (_, _, draw) in zip(places, row, strict=False):
            draw(place)
    return figure


def _split(
    place: FigureBase, heights: Sequence[float] = (1.0,), widths: Sequence[float] = (1.0,)
) -> list[SubFigure]:
    """Divide a figure into subfigures below each other, or side by side."""
    grid = place.subfigures(
        len(heights), len(widths), squeeze=False, height_ratios=heights, width_ratios=widths
    )
    return list(np.ravel(grid))
