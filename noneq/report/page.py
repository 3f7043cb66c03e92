"""Figure that shows a whole run on one page: verdict, training, energies, samples, filters."""

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
    """Draw a run on one page, 14 inches wide: its verdict, its training and what it learned.

    Arguments:
        title: the name of the run.
        verdict: lines of text below the title; long lines are wrapped.
        metrics: logged metrics, one dict for each iteration, see `training_figure`.
        estimate: log Z and likelihoods of the trained model, see `training_figure`; or None.
        energies: energies of data and walkers; None leaves them out.
        samples: samples and data; None leaves them out.
        filters: weights of an RBM; None leaves them out.

    Returns:
        The figure.

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
