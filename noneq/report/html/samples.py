"""The section of a report that shows samples of the model beside rows of the data."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from plotly.graph_objects import Heatmap
from scipy.stats import rankdata

from noneq.data import DataSet
from noneq.data.kinds import Column
from noneq.report.axes import Array, array, tiles
from noneq.report.distributions import Samples
from noneq.report.html.figures import blank, escaped
from noneq.report.html.page import Pairs, Part, Picture, Plot, Section, Table
from noneq.report.html.rows import WIDE, column_names, png, texts_of
from noneq.run.differences import Difference

__all__ = ["samples_section"]

MIDDLE = (0.16, 0.84)  # of a normal variable between -1 and 1 standard deviation
MEDIAN, SPREAD = 1.25, 0.96  # errors in units of the spread / sqrt(n), of a normal variable


def samples_section(
    samples: Samples, data: DataSet, effective: float, found: Sequence[Difference] | None = None
) -> Section:
    """Make the section with samples of the model beside rows of the data.

    Arguments:
        samples: samples and data, images in [-1, 1] or rows of a table in the file's units.
        data: the data set.
        effective: number of independent samples that the walkers are worth which the samples were
            drawn from.
        found: where samples differ from rows, of a table; None: they were not compared.

    Returns:
        A section with pictures of images; of a table, with the medians of all columns, their
        correlations, the largest differences, and a view of any two columns.
    """
    if data.kind == "image":
        own = {"data": samples.data, "samples of the model": samples.samples}
        if samples.denoised is not None:
            own = {"data, with noise": samples.data, "samples of the model": samples.samples}
            own["samples, denoised"] = samples.denoised
        pictures = [
            Picture(png(tiles(x)), title, f"{min(len(x), 64)} images: {title}")
            for title, x in own.items()
        ]
        good = "a stranger cannot tell which of the pictures are data."
        return Section("Samples", good, pictures, ["Samples are drawn by their weights."])
    names = column_names(data)[:WIDE]
    rows, drawn = array(samples.data)[:, :WIDE], array(samples.samples)[:, :WIDE]
    parts: list[Part] = [Pairs(names, rows, drawn, texts_of(data))]
    parts += [_differences(found)] if found else []
    parts.append(_columns(names, rows, drawn, data, effective))
    numbers = [j for j in range(len(names)) if j not in texts_of(data)]
    if len(numbers) > 2:
        named = [names[j] for j in numbers]
        parts.append(_correlations(named, rows[:, numbers], drawn[:, numbers]))
    text = [
        f"{len(drawn):,} samples, drawn by their weights, and {len(rows):,} training rows, in the "
        "file's units."
    ]
    if data.shape[0] > WIDE:
        text.append(f"The first {WIDE} of {data.shape[0]} columns are shown.")
    if found is not None and not found:
        text.append("No column and no pair of columns differs by more than chance allows.")
    good = "medians and spreads agree within three errors, and no pair shows a shape of its own."
    return Section("Samples", good, parts, text)


# -- tables
def _differences(found: Sequence[Difference]) -> Table:
    lines = [
        [one.among, one.what, *(f"{v:.1%}" for v in (one.data, one.model, one.chance))]
        for one in found
    ]
    head = ["among", "what is counted", "rows", "samples", "least clear difference"]
    return Table(head, lines, "Columns, and pairs of columns, that differ by more than chance")


def _columns(
    names: Sequence[str], rows: Array, drawn: Array, data: DataSet, effective: float
) -> Table:
    """Compare medians and spreads of all columns, which no far value changes; shares of texts."""
    texts, lines = texts_of(data), []
    cells = data.scaling.cells
    kinds: Sequence[Column] = () if cells is None else cells.columns
    many = (len(rows), min(len(drawn), effective))
    for j, name in enumerate(names):
        both = rows[:, j], drawn[:, j]
        if j in texts:
            for k, word in enumerate(texts[j]):
                shares = [float((x == k).mean()) for x in both]
                errors = [_of_share(p, n) for p, n in zip(shares, many, strict=True)]
                own = zip(shares, errors, strict=True)
                said = [f"{p:.1%} ± {e:.1%}" for p, e in own]
                lines.append([f"{name}: {word}", *said, "", "", _mark(shares, errors, 0.0)])
            continue
        medians = [float(np.median(x)) for x in both]
        spreads = [float(np.diff(np.quantile(x, MIDDLE))[0]) / 2 for x in both]
        units = [s / math.sqrt(n) for s, n in zip(spreads, many, strict=True)]
        step = kinds[j].step if kinds else 0.0
        of_medians, of_spreads = ([c * e for e in units] for c in (MEDIAN, SPREAD))
        marks = {_mark(medians, of_medians, step), _mark(spreads, of_spreads, step)}
        said = [
            *map(_with_error, medians, of_medians), *map(_with_error, spreads, of_spreads)
        ]  # fmt: skip
        lines.append([name, *said, max(marks)])
    head = ["column", "median, data", "median, model", "spread, data", "spread, model", "differs"]
    caption = (
        "Medians, and spreads: half of the width of the middle 68 %; of categories, shares. The "
        "last column says where both differ by more than three standard errors"
    )
    return Table(head, lines, caption)


def _of_share(share: float, many: float) -> float:
    """Return the standard error of a share of so many rows, which is not 0 where the share is."""
    p = (share * many + 0.5) / (many + 1)
    return math.sqrt(p * (1 - p) / many)


def _mark(values: Sequence[float], errors: Sequence[float], step: float) -> str:
    """Say whether two numbers differ by over three errors; values on a grid move in steps."""
    apart = abs(values[0] - values[1])
    return "yes" if apart > 3 * math.hypot(*errors) + step else ""


def _with_error(value: float, error: float) -> str:
    """Write a number with its error, with as many decimals as the error has two digits."""
    digits = max(0, 1 - math.floor(math.log10(error))) if error > 0 else 4
    if digits > 6:
        return f"{value:.4g} ± {error:.2g}"
    return f"{value:,.{digits}f} ± {error:,.{digits}f}" if error else f"{value:.6g} ± 0"


def _correlations(names: Sequence[str], rows: Array, drawn: Array) -> Plot:
    """Draw the rank correlations of the data below the diagonal, and the model's above it.

    Ranks, because a single sample of the background would change other correlations.
    """
    ranked = (np.apply_along_axis(rankdata, 0, x) for x in (rows, drawn))
    with np.errstate(invalid="ignore", divide="ignore"):
        own, model = (np.corrcoef(x.T) for x in ranked)
    both = np.where(np.tri(len(names), dtype=bool), own, model)
    away = float(np.nanmax(np.abs(own - model)))
    shown = [escaped(name) for name in names]
    at = list(range(len(names)))
    ticks = {"tickvals": at, "ticktext": shown, "type": "linear"}
    figure = blank("", "", yaxis_autorange="reversed")
    figure.update_layout(xaxis=ticks, yaxis=ticks)
    figure.add_trace(
        Heatmap(z=both, x=at, y=at, zmin=-1, zmax=1, colorscale="RdBu_r",
                colorbar={"title": {"text": "correlation"}, "thickness": 12})
    )  # fmt: skip
    alt = (
        "Rank correlations of the columns of numbers: below the diagonal those of the data, above "
        f"it those of the model; the largest difference is {away:.2f}."
    )
    return Plot(figure, alt)
