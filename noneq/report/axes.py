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
    "BLUE",
    "GREEN",
    "GREY",
    "NAME",
    "NORMAL",
    "ORANGE",
    "PURPLE",
    "RED",
    "SMALL",
    "Array",
    "Rows",
    "array",
    "density",
    "finish",
    "histogram",
    "limits",
    "line",
    "mosaic",
    "smooth",
    "ticks",
    "tiles",
    "widened",
]

Array: TypeAlias = NDArray[np.float64]
Rows: TypeAlias = "Tensor | NDArray[Any]"
BLUE, RED, GREEN = "#0072B2", "#D55E00", "#009E73"
ORANGE, PURPLE, GREY = "#E69F00", "#CC79A7", "0.45"
SMALL, NORMAL = 8.0, 9.5  # points
LINE = 0.6  # grey level of the lines between images
NAME = 40  # the most characters of a column's name
SIDE = 8  # the most images along a side of a grid


# -- arithmetic
def array(x: Rows) -> Array:
    """Convert rows to a float64 array on the CPU.

    Arguments:
        x: a tensor or array.

    Returns:
        The array.

    Raises:
        ValueError: if there are no rows.
    """
    values: Array = torch.as_tensor(x, device="cpu").detach().double().numpy()
    if not values.size:
        raise ValueError(f"a picture needs rows, got none (shape {values.shape})")
    return values


def tiles(images: Rows, *, scale: int = 1) -> Array:
    """Arrange the first 64 images in a grid with thin lines between them.

    Image k is in row ``r = k // columns`` and column ``c = k % columns``, its upper left corner at
    ``(1 + r (scale H + 1), 1 + c (scale W + 1))``.

    Arguments:
        images: images (M, C, H, W), clipped to [-1, 1]. Of images with one or two channels the
            first is shown in grey, 1 as black; of others the first three are shown as colours.
        scale: side of the square that a pixel becomes.

    Returns:
        Colours in [0, 1], (height, width, 3).
    """
    x = array(images[: SIDE**2]).transpose(0, 2, 3, 1).clip(-1, 1)
    x = x[..., :3] if x.shape[-1] >= 3 else -x[..., [0, 0, 0]]
    x = x.repeat(scale, axis=1).repeat(scale, axis=2)
    return mosaic((1 + x) / 2, line=LINE, blank=1.0)


def mosaic(images: Array, *, line: float, blank: float) -> Array:
    """Arrange up to 64 arrays in a grid with lines of one pixel between them.

    Arguments:
        images: arrays (M, H, W, ...).
        line: the value of the lines.
        blank: the value of places without an array.

    Returns:
        The grid, (height, width, ...).
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
        edges: the edges of the bins (B + 1,).
        p: weights (M,); None: equal weights.

    Returns:
        The density in each bin (B,).
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
        p: weights (M,); None: equal weights.
        tail: fraction of the total weight left out on either side.
        far: a value is an outlier if its distance from the middle 90 % exceeds this multiple of
            their width.
        margin: fraction of the range added on either side.

    Returns:
        The lower and the upper limit.
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
    """Widen a range on either side by a fraction of its length; a single value gets some room.

    Arguments:
        low: the lower end.
        high: the upper end.
        margin: the fraction.

    Returns:
        The new ends.
    """
    least = 1e-9 * max(1.0, abs(low))
    room = margin * (high - low) if high - low > least else 1e8 * least
    return low - room, high + room


def smooth(y: Array, width: int) -> Array:
    """Compute the centred running mean over ``width <= len(y)`` values.

    Arguments:
        y: values (M,).
        width: the number of values in a mean.

    Returns:
        The means, NaN where y is NaN; elsewhere NaN is left out of the mean.
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
    """Draw a weighted histogram as steps.

    Arguments:
        ax: the axes.
        x: values (M,).
        span: the limits of the axis and of the bins.
        color: the colour.
        p: weights (M,); None: equal weights.
        **how: further arguments of `Axes.stairs`.
    """
    edges = np.linspace(*span, 1 + int(np.clip(2 * len(x) ** 0.4, 8, 50)))
    ax.stairs(histogram(x, edges, p), edges, color=color, **how)
    ax.set_xlim(*span)


def line(ax: Axes, x: Array, y: Array, color: str, **how: Any) -> None:
    """Draw a line with gaps where y is NaN, and dots at values without neighbours or if few.

    Arguments:
        ax: the axes.
        x: horizontal positions (M,).
        y: values (M,).
        color: the colour.
        **how: further arguments of `Axes.plot`.
    """
    known = np.isfinite(y)
    if not known.any():
        return
    ax.plot(x, y, color=color, **{"linewidth": 1.3, **how})
    padded = np.pad(known, 1)
    dots = known if known.sum() <= 30 else known & ~padded[:-2] & ~padded[2:]
    ax.plot(x[dots], y[dots], ".", color=color, markersize=4, alpha=how.get("alpha"))


def ticks(axis: Axis, n: int = 5) -> None:
    """Set about n ticks with short labels, also on logarithmic axes of few decades.

    Arguments:
        axis: the horizontal or vertical axis.
        n: the number of ticks.
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
    """Set the title and ticks of axes, with the legend between title and axes.

    Arguments:
        ax: the axes.
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
