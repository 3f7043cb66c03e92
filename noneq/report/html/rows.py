"""Sections of a report that show single rows, energies, labels and filters."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure as Drawing
from matplotlib.image import imsave
from plotly.graph_objects import Scatter
from torch import Tensor

from noneq.data import DataSet
from noneq.data.kinds import Column
from noneq.data.plaintext import visible
from noneq.report.axes import NAME, Rows, array, histogram, limits, tiles
from noneq.report.distributions import Energies
from noneq.report.filters import Filters, filters_figure
from noneq.report.html.figures import BLUE, GREEN, ORANGE, blank
from noneq.report.html.page import Part, Picture, Plot, Section, Table
from noneq.run import Run
from noneq.run.verdict import Verdict

__all__ = [
    "WIDE", "column_names", "energies_section", "filters_section", "labels_section", "png",
    "rows_shown", "texts_of",
]  # fmt: skip

WIDE = 60  # columns of a table that are shown


def rows_shown(
    run: Run, data: DataSet, x: Tensor, title: str, about: Sequence[str]
) -> Sequence[Part]:
    """Show single rows: as pictures, or as lines of a table in the file's units.

    Arguments:
        run: run whose data they resemble.
        data: data set of the run.
        x: rows (M, *shape) in the model's units.
        title: what is said about each row.
        about: one text for each row.

    Returns:
        A picture of each image, or one table.
    """
    if data.kind == "image":
        images = run.family.shown(run.scaling.images(x))
        return [
            Picture(png(tiles(images[k : k + 1])), said, f"an image: {title} {said}", small=True)
            for k, said in enumerate(about)
        ]
    values = data.scaling.undo(x).cpu().numpy()[:, :WIDE]
    names, texts = column_names(data)[:WIDE], texts_of(data)
    rows = [
        [said, *(_cell(v, texts.get(j)) for j, v in enumerate(row))]
        for said, row in zip(about, values, strict=True)
    ]
    return [Table([title, *names], rows)]


def energies_section(energies: Energies) -> Section:
    """Make the section with histograms of the energies of data and of walkers.

    Arguments:
        energies: the energies.

    Returns:
        The section, with a plot.
    """
    held = None if energies.held_out is None else array(energies.held_out)
    data, walkers, p = array(energies.data), array(energies.walkers), array(energies.p)
    spans = [limits(data), limits(walkers, p)] + ([] if held is None else [limits(held)])
    edges = np.linspace(min(a for a, _ in spans), max(b for _, b in spans), 51)
    figure = blank("energy U, nats", "density, 1 / nats")
    own: dict[str, tuple[Any, Any, str]] = {"training rows": (data, None, BLUE)}
    if held is not None:
        own["test rows"] = (held, None, GREEN)
    own["walkers, by weight"] = (walkers, p, ORANGE)
    for name, (x, weights, color) in own.items():
        heights = histogram(x, edges, weights)
        figure.add_trace(
            Scatter(x=edges, y=np.append(heights, heights[-1]), name=name, line_shape="hv",
                    line_color=color, fill="tozeroy" if name == "training rows" else "none")
        )  # fmt: skip
    means = f"mean {data.mean():.4g} of training rows and {(p * walkers).sum():.4g} of walkers"
    return Section(
        "Energies of data and of walkers",
        "the curves lie over each other; walkers far to the left have found a spurious mode.",
        [Plot(figure, f"Histograms of energies: {means}.")],
    )


def labels_section(verdict: Verdict) -> Section:
    """Make the section with what is known of each label of a model that is conditional on labels.

    Arguments:
        verdict: evaluation of the run.

    Returns:
        The section, with a table.
    """
    labels = verdict.labels
    assert labels is not None
    columns = ["label", "training images", "test images", "NLL of test images, nats",
               "labels found", "log Z, nats", "known within, nats", "alarms"]  # fmt: skip
    rows = [
        [
            str(one["label"]), f"{one['train']:,}", f"{one['test']:,}",
            f"{one['nll']:.2f}" if one["test"] else "",
            f"{one['found']:.1%}" if one["test"] else "",
            " and ".join(f"{value:.2f} ± {error:.2f}" for value, error in one["log_z"]),
            f"{one['within']:.2f}", str(one["alarms"]),
        ]
        for one in labels["each"]
    ]  # fmt: skip
    text = (
        f"By Bayes' theorem the model finds the labels of {labels['found']:.1%} of the test "
        f"images, its {verdict.origin} those of {labels['found_by_base']:.1%}. log Z is that "
        "before the estimates became part of the model: the more alike, the better the training. "
        "(After a further noneq logz it is what was left of it.)"
    )
    good = "log Z of every label is known within tenths of a nat, without an alarm."
    return Section("Labels", good, [Table(columns, rows)], [text])


def filters_section(filters: Filters) -> Section:
    """Make the section with the filters of an RBM.

    Arguments:
        filters: weight matrix of the RBM.

    Returns:
        The section, with a picture.
    """
    drawn = png_of(filters_figure(*filters))
    alt = "weights of each hidden unit, as an image or as a line"
    good = "filters differ from each other, and most are not noise."
    return Section("Filters of the hidden units", good, [Picture(drawn, "largest first", alt)])


def column_names(data: DataSet) -> list[str]:
    """List the names of a table's columns, fit for print.

    Arguments:
        data: a table.

    Returns:
        The names; x1, x2, ... where the columns have none.
    """
    own = [visible(name, NAME) for name in data.columns]
    return own or [f"x{i + 1}" for i in range(data.shape[0])]


def png(colours: Rows) -> bytes:
    """Write a picture to the bytes of a PNG file.

    Arguments:
        colours: picture (height, width, 3) of colours in [0, 1].

    Returns:
        The content of the file.
    """
    file = io.BytesIO()
    imsave(file, array(colours).clip(0, 1), format="png")
    return file.getvalue()


def png_of(figure: Drawing) -> bytes:
    """Draw a figure of matplotlib to the bytes of a PNG file."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=100)
    return file.getvalue()


# -- tables
def texts_of(data: DataSet) -> dict[int, Sequence[str]]:
    """List the texts of the categories of a table.

    Arguments:
        data: a table.

    Returns:
        The texts, fit for print, by the number of their column from 0.
    """
    columns: Sequence[Column] = () if data.scaling.cells is None else data.scaling.cells.columns
    return {j: [visible(t, NAME) for t in c.texts] for j, c in enumerate(columns) if c.texts}


def _cell(value: float, texts: Sequence[str] | None) -> str:
    return f"{value:.6g}" if texts is None else texts[int(value)]
