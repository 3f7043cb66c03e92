"""The section of a report that shows samples of the model beside rows of the data."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from plotly.graph_objects import Heatmap
from scipy.stats import rankdata

from noneq.data import DataSet
from noneq.report.axes import Array, array, tiles
from noneq.report.distributions import Samples
from noneq.report.html.figures import blank, escaped
from noneq.report.html.page import Pairs, Part, Picture, Plot, Section, Table
from noneq.report.html.rows import WIDE, column_names, png, texts_of
from noneq.run.differences import Difference

__all__ = ["samples_section"]


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
        A section with pictures of images; of a table, with the means of all columns, their
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
        text.append(
            "In no column, and in no group of rows by another column, is a difference of shares "
            "surely more than chance."
        )
    good = "means and spreads agree within three errors, and no pair shows a shape of its own."
    return Section("Samples", good, parts, text)


# -- tables
def _differences(found: Sequence[Difference]) -> Table:
    lines = [
        [
            one.among, one.what, f"{one.data:.1%}", f"{one.model:.1%}",
            f"{one.model - one.data:+.1%} ± {one.stderr:.1%}",
        ]
        for one in found
    ]  # fmt: skip
    head = ["among", "what is counted", "rows", "samples", "difference"]
    return Table(head, lines, "Columns, and pairs of columns, that differ by more than chance")


def _columns(
    names: Sequence[str], rows: Array, drawn: Array, data: DataSet, effective: float
) -> Table:
    """Compare means and spreads of all columns, which no far sample changes; shares of texts."""
    texts, lines = texts_of(data), []
    many = (len(rows), min(len(drawn), effective))
    for j, name in enumerate(names):
        both = rows[:, j], drawn[:, j]
        if j in texts:
            for k, word in enumerate(texts[j]):
                shares = [float((x == k).mean()) for x in both]
                errors = [_of_share(p, n) for p, n in zip(shares, many, strict=True)]
                own = zip(shares, errors, strict=True)
                said = [f"{p:.1%} ± {e:.1%}" for p, e in own]
                lines.append([f"{name}: {word}", *said, "", "", _mark(shares, errors, "share")])
            continue
        ends = both[0].min(), both[0].max()
        inside = [x.clip(*ends) for x in both]
        means, spreads = [float(x.mean()) for x in inside], [float(x.std()) for x in inside]
        of_means = [s / math.sqrt(n) for s, n in zip(spreads, many, strict=True)]
        of_spreads = [_of_spread(x, n) for x, n in zip(inside, many, strict=True)]
        said = [*map(_with_error, means, of_means), *map(_with_error, spreads, of_spreads)]
        marks = [_mark(means, of_means, "mean"), _mark(spreads, of_spreads, "spread")]
        lines.append([name, *said, ", ".join(filter(None, marks))])
    head = ["column", "mean, data", "mean, model", "spread, data", "spread, model", "differ"]
    caption = (
        "Means and standard deviations, where samples beyond the smallest or largest value of the "
        "rows count as that value; of categories, shares. The last column names those of data and "
        "model that differ by more than three standard errors"
    )
    return Table(head, lines, caption)


def _of_share(share: float, many: float) -> float:
    """Return the standard error of a share of so many rows, which is not 0 where the share is."""
    p = (share * many + 0.5) / (many + 1)
    return math.sqrt(p * (1 - p) / many)


def _of_spread(x: Array, many: float) -> float:
    """Return the standard error of the standard deviation of so many values."""
    variance = float(x.var())
    fourth = float(((x - x.mean()) ** 4).mean())
    return math.sqrt(max(fourth - variance**2, 0.0) / many / (4 * variance)) if variance else 0.0


def _mark(values: Sequence[float], errors: Sequence[float], what: str) -> str:
    """Return the name of two numbers if they differ by over three errors."""
    return what if abs(values[0] - values[1]) > 3 * math.hypot(*errors) else ""


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
