r"""What figures are made of: robust limits, densities, grids of images, lines with gaps.

Colours are Okabe's and Ito's (2008), which the colour-blind tell apart. Nothing here imports
pyplot, chooses a backend or changes a setting of matplotlib.
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
LINE = 0.6  # grey between images
NAME = 40  # characters of a column's name
SIDE = 8  # images along a side of a grid


# -- arithmetic
def array(x: Rows) -> Array:
    """Rows as float64 on the CPU; ValueError if there are none."""
    values: Array = torch.as_tensor(x, device="cpu").detach().double().numpy()
    if not values.size:
        raise ValueError(f"a picture needs rows, got none (shape {values.shape})")
    return values


def tiles(images: Rows, *, scale: int = 1) -> Array:
    """The first 64 images (M, C, H, W) in a grid of colours in [0, 1], parted by a thin line.

    Pixels become squares of side ``scale``. Image k is in row ``r = k // columns`` and column
    ``c = k % columns``, its upper left corner at ``(1 + r (scale H + 1), 1 + c (scale W + 1))``.
    Values are clipped to [-1, 1]; grey images are ink on paper, 1 is black.
    """
    x = array(images[: SIDE**2]).transpose(0, 2, 3, 1).clip(-1, 1)
    x = x[..., :3] if x.shape[-1] >= 3 else -x[..., [0, 0, 0]]
    x = x.repeat(scale, axis=1).repeat(scale, axis=2)
    return mosaic((1 + x) / 2, line=LINE, blank=1.0)


def mosaic(images: Array, *, line: float, blank: float) -> Array:
    """Up to 64 images (M, H, W, ...) in a grid, lines between; ``blank`` where there is none."""
    n, high, wide, *depth = images.shape
    columns = min(SIDE, math.ceil(math.sqrt(n)))
    rows = math.ceil(n / columns)
    grid = np.full((rows, high + 1, columns, wide + 1, *depth), line)
    for k in range(rows * columns):
        grid[k // columns, 1:, k % columns, 1:] = images[k] if k < n else blank
    flat = grid.reshape(rows * (high + 1), columns * (wide + 1), *depth)
    return np.pad(flat, ((0, 1), (0, 1), *[(0, 0)] * len(depth)), constant_values=line)


def histogram(x: Array, edges: Array, p: Array | None = None) -> Array:
    """Density of values by weight p over bins; it integrates to 1.

    What lies outside counts in the outermost bins, so that nothing hides; NaN is left out.
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
    """Of an axis: where values of weight p are, so that a few wild ones do not squeeze the rest.

    Arguments:
        x: values (M,); those that are not finite, or without weight, do not count.
        p: weights (M,); None: equal.
        tail: share of the values left out on either side.
        far: values are wild further from the middle 90 % than this many times its width.
        margin: added on either side, a share of the range.
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
    """A range with a margin on either side, a share of it; a single value gets some room."""
    least = 1e-9 * max(1.0, abs(low))
    room = margin * (high - low) if high - low > least else 1e8 * least
    return low - room, high + room


def smooth(y: Array, width: int) -> Array:
    """Centred running mean over ``width <= len(y)`` values; a gap (NaN) stays a gap."""
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
    """A histogram as steps, ``how`` it is drawn as `Axes.stairs` takes it."""
    edges = np.linspace(*span, 1 + int(np.clip(2 * len(x) ** 0.4, 8, 50)))
    ax.stairs(histogram(x, edges, p), edges, color=color, **how)
    ax.set_xlim(*span)


def line(ax: Axes, x: Array, y: Array, color: str, **how: Any) -> None:
    """A line with gaps where y is NaN; what stands alone between gaps, or is sparse, is dotted."""
    known = np.isfinite(y)
    if not known.any():
        return
    ax.plot(x, y, color=color, **{"linewidth": 1.3, **how})
    padded = np.pad(known, 1)
    dots = known if known.sum() <= 30 else known & ~padded[:-2] & ~padded[2:]
    ax.plot(x[dots], y[dots], ".", color=color, markersize=4, alpha=how.get("alpha"))


def ticks(axis: Axis, n: int = 5) -> None:
    """About n ticks with short labels, on logarithmic axes, too, however few decades they span."""
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
    """Title, ticks, and a legend between title and axes, where it covers nothing."""
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
