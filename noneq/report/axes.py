"""Building blocks of figures: robust limits, densities, grids of images, lines with gaps.

Colours are those of Okabe and Ito (2008), which people with colour blindness can tell apart. This
file does not import pyplot, choose a backend or change a setting of matplotlib.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray
from torch import Tensor

__all__ = [
    "BLUE", "GREEN", "GREY", "NAME", "NORMAL", "ORANGE", "PURPLE", "RED", "SMALL", "Array", "Rows",
    "array", "density", "finish", "histogram", "limits", "line", "mosaic", "smooth", "ticks",
    "tiles", "widened",
]  # fmt: skip

Array: TypeAlias = NDArray[np.float64]
"""The type of a NumPy array of float64 numbers."""
Rows: TypeAlias = "Tensor | NDArray[Any]"
"""The type of rows or values to draw: a tensor on any device, or a NumPy array."""
BLUE = "#0072B2"
"""The colour of data, and of the first curve of a panel, as a hexadecimal code."""
RED = "#D55E00"
"""The colour of a model's samples and walkers, and of errors, as a hexadecimal code."""
GREEN = "#009E73"
"""The colour of data and walkers that are held out from training, as a hexadecimal code."""
ORANGE = "#E69F00"
"""The colour of the markers of resampling, as a hexadecimal code."""
PURPLE = "#CC79A7"
"""The colour of curves on a second vertical axis, as a hexadecimal code."""
GREY = "0.45"
"""The colour of reference lines and notes, as a grey level from 0 (black) to 1 (white)."""
SMALL = 8.0
"""The font size of labels, ticks and legends, in points."""
NORMAL = 9.5
"""The font size of titles and text, in points."""
LINE = 0.6  # grey level of the lines between images
NAME = 40
"""The largest number of characters of a column's name that are drawn."""
SIDE = 8  # the most images along a side of a grid


# -- arithmetic
def array(x: Rows) -> Array:
    """Convert a tensor or array to a NumPy array of float64 numbers.

    Arguments:
        x: tensor on any device, or array.

    Returns:
        The array, of the same shape.

    Raises:
        ValueError: if ``x`` is empty.
    """
    values: Array = torch.as_tensor(x, device="cpu").detach().double().numpy()
    if not values.size:
        raise ValueError(f"a picture needs rows, got none (shape {values.shape})")
    return values


def tiles(images: Rows, *, scale: int = 1) -> Array:
    """Arrange the first 64 images in a nearly square grid with thin lines between them.

    Images are placed row by row. Image k has the upper left corner ``(1 + r (scale H + 1),
    1 + c (scale W + 1))`` with ``r, c = k // columns, k % columns``.

    Arguments:
        images: M images of C channels, height H and width W; (M, C, H, W), clipped to [-1, 1]. Of
            images with one or two channels the first is shown in grey, where 1 is black; of others
            the first three are shown as red, green and blue.
        scale: factor by which images are enlarged: side of the square that a pixel becomes.

    Returns:
        The picture, colours in [0, 1], (height, width, 3).
    """
    x = array(images[: SIDE**2]).transpose(0, 2, 3, 1).clip(-1, 1)
    x = x[..., :3] if x.shape[-1] >= 3 else -x[..., [0, 0, 0]]
    x = x.repeat(scale, axis=1).repeat(scale, axis=2)
    return mosaic((1 + x) / 2, line=LINE, blank=1.0)


def mosaic(images: Array, *, line: float, blank: float) -> Array:
    """Arrange up to 64 images in a nearly square grid with lines of one pixel between them.

    Arguments:
        images: M images of height H and width W, (M, H, W) or with colours (M, H, W, 3).
        line: the value of the lines.
        blank: the value of places of the grid that have no image.

    Returns:
        The grid as one image, (height, width) or (height, width, 3).
    """
    n, high, wide, *depth = images.shape
    columns = min(SIDE, math.ceil(math.sqrt(n)))
    rows = math.ceil(n / columns)
    grid = np.full((rows, high + 1, columns, wide + 1, *depth), line)
    for k in range(rows * columns):
        grid[k // columns, 1:, k % columns, 1:] = images[k] if k < n else blank
    flat = grid.reshape(rows * (high + 1), columns * (wide + 1), *depth)
    return np.pad(flat, ((0, 1), (0, 1), *[(0, 0)] * len(depth)), constant_values=line)


def histogram(x: Array, edges: Array, p: Array | None = None) -> Array:
    """Compute a weighted histogram that integrates to 1.

    Values beyond the edges count in the outermost bins, so that none is hidden.

    Arguments:
        x: values (M,); NaN is left out.
        edges: the edges of the B bins (B + 1,), increasing.
        p: weights of the values (M,), not necessarily normalised; None: equal weights.

    Returns:
        The height of each bin (B,), a probability density.
    """
    known = ~np.isnan(x)
    inside = np.clip(x[known], edges[0], edges[-1])
    heights: Array = np.histogram(
        inside, edges, weights=None if p is None else p[known], density=True
    )[0]
    return heights


def limits(
    x: Array, p: Array | None = None, *, tail: float = 0.005, far: float = 3.0, margin: float = 0.1
) -> tuple[float, float]:
    """Choose limits of an axis that show the weighted values without their outliers.

    Arguments:
        x: values (M,); those that are not finite or have weight zero are ignored.
        p: weights of the values (M,), not necessarily normalised; None: equal weights.
        tail: fraction of the total weight left out on either side.
        far: a value is an outlier if its distance from the middle 90 % exceeds this multiple of
            their width.
        margin: fraction of the range added on either side.

    Returns:
        The lower and the upper limit of the axis; 0 and 1 if no value is left.
    """
    p = np.ones(len(x)) if p is None else p
    known = np.isfinite(x) & (p > 0)
    if not known.any():
        return 0.0, 1.0
    x, p = x[known], p[known]
    order = np.argsort(x)
    x, total = x[order], np.cumsum(p[order])
    start, low, high, end = np.searchsorted(
        total, np.array([tail, 0.05, 0.95, 1 - tail]) * total[-1]
    )
    room = far * (x[high] - x[low]) or math.inf
    near = x[start : end + 1]
    near = near[(near >= x[low] - room) & (near <= x[high] + room)]
    return widened(float(near[0]), float(near[-1]), margin)


def widened(low: float, high: float, margin: float) -> tuple[float, float]:
    """Widen a range of an axis on either side; a range of length 0 is widened a little.

    Arguments:
        low: the lower end.
        high: the upper end.
        margin: fraction of the length of the range that is added on either side.

    Returns:
        The lower and the upper end of the widened range.
    """
    least = 1e-9 * max(1.0, abs(low))
    room = margin * (high - low) if high - low > least else 1e8 * least
    return low - room, high + room


def smooth(y: Array, width: int) -> Array:
    """Compute the centred running mean of a series of values, some of which may be NaN.

    Arguments:
        y: values (M,).
        width: the number of values in each mean, M or less.

    Returns:
        The means (M,), each over the values that are finite; NaN where y is not finite.
    """
    window, known = np.ones(width), np.isfinite(y)
    total = np.convolve(np.where(known, y, 0.0), window, "same")
    count = np.convolve(known, window, "same")
    return np.where(known, total / np.maximum(count, 1.0), np.nan)


# -- on axes
def density(
    ax: Axes,
    x: Array,
    span: tuple[float, float],
    color: str,
    *,
    p: Array | None = None,
    **how: Any,
) -> None:
    """Draw a weighted histogram as steps on axes of matplotlib.

    Arguments:
        ax: the axes to draw on.
        x: values (M,).
        span: the lower and upper limits of the axis and of the bins.
        color: the colour of the steps.
        p: weights of the values (M,); None: equal weights.
        **how: further arguments of matplotlib's `Axes.stairs`.
    """
    edges = np.linspace(*span, 1 + int(np.clip(2 * len(x) ** 0.4, 8, 50)))
    ax.stairs(histogram(x, edges, p), edges, color=color, **how)
    ax.set_xlim(*span)


def line(ax: Axes, x: Array, y: Array, color: str, **how: Any) -> None:
    """Draw a line with gaps where y is NaN.

    Values between two gaps also get a dot, and so does every value if there are at most 30.

    Arguments:
        ax: the axes to draw on.
        x: horizontal positions (M,).
        y: values (M,).
        color: the colour of the line.
        **how: further arguments of matplotlib's `Axes.plot`.
    """
    known = np.isfinite(y)
    if not known.any():
        return
    ax.plot(x, y, color=color, **{"linewidth": 1.3, **how})
    padded = np.pad(known, 1)
    dots = known if known.sum() <= 30 else known & ~padded[:-2] & ~padded[2:]
    ax.plot(x[dots], y[dots], ".", color=color, markersize=4, alpha=how.get("alpha"))


def ticks(axis: Axis, n: int = 5) -> None:
    """Set about n ticks with short labels, also on a logarithmic axis of few decades.

    Arguments:
        axis: the horizontal or vertical axis of axes of matplotlib.
        n: the approximate number of ticks.
    """
    low, high = sorted(axis.get_view_interval())
    if axis.get_scale() == "log":
        decades = math.log10(high / low)
        subs = (1.0,) if decades > 2.5 else (1.0, 2.0, 5.0)
        axis.set_major_locator(
            LogLocator(subs=subs, numticks=n + 2) if decades > 1 else MaxNLocator(n)
        )
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
    else:
        axis.set_major_locator(MaxNLocator(n))


def finish(ax: Axes, title: str, *, twin: Axes | None = None, legend: bool = True) -> None:
    """Set the title and the ticks of axes, and a legend between title and axes.

    Arguments:
        ax: the axes, on which the curves are drawn already.
        title: the title.
        twin: second axes with the same horizontal axis, whose lines join the legend; or None.
        legend: whether there is a legend.
    """
    handles, labels = [], []
    for one in (ax,) if twin is None else (ax, twin):
        one.tick_params(labelsize=SMALL)
        one.spines["top"].set_visible(False)
        one.xaxis.label.set_fontsize(SMALL)
        one.yaxis.label.set_fontsize(SMALL)
        ticks(one.yaxis)
        more = one.get_legend_handles_labels()
        handles += more[0]
        labels += more[1]
    ax.spines["right"].set_visible(False)
    legend = legend and bool(handles)
    ax.set_title(title, loc="left", fontsize=NORMAL, pad=18 if legend else 6)
    if legend:
        ax.legend(
            handles,
            labels,
            loc="lower left",
            bbox_to_anchor=(-0.01, 0.99),
            ncols=len(labels),
            fontsize=SMALL,
            frameon=False,
            borderpad=0.2,
            handlelength=1.1,
            handletextpad=0.4,
            columnspacing=0.9,
        )
