"""Figure of forward and backward work that checks Crooks' fluctuation relation.

The work W of an annealed walker (a weighted sample) is minus its log-weight. The densities P_F and
P_B of forward and of backward work satisfy ``P_F(W) / P_B(-W) = e^{W - dF}``, with
the difference dF of free energies (Crooks 1999), if the weights are right.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from noneq.report.axes import BLUE, GREY, RED, Array, Rows, array, finish, histogram, limits

__all__ = ["crooks_figure"]

LEAST = 5  # the fewest walkers of each direction in a bin whose log ratio is drawn


class Weighted(Protocol):
    """Describes walkers with log-weights, on which the work ``-log_w`` was done."""

    @property
    def log_w(self) -> Tensor:
        """Return the log-weights (N,)."""


def crooks_figure(
    forward_work: Rows | Weighted,
    backward_work: Rows | Weighted,
    log_ratio: float | None = None,
) -> Figure:
    """Draw histograms of the work of forward and of backward annealing, and their log ratio.

    The work of a walker, i.e. of an annealed sample, is ``W = -log w``, where w is its weight. P_F
    is the density of W in forward annealing, from energy U_0 to U_1, and P_B the density of W in
    backward annealing, from U_1 to U_0; Z_0 and Z_1 are the normalising constants. If walkers
    started in equilibrium and the backward annealing reverses the forward one, then
    ``log P_F(W) / P_B(-W) = W - dF`` with ``dF = -log(Z_1 / Z_0)`` (Crooks 1999, Phys. Rev. E 60,
    2721): the histograms of W forward and of -W backward cross at ``W = dF``, and the log ratio is
    a line of slope 1. A smaller slope shows that walkers did not start in equilibrium, or that the
    energy or the kernel is wrong. Histograms that do not overlap show that more temperatures are
    needed.

    Arguments:
        forward_work: the work (n_F,), in nats, of walkers annealed forward, without resampling; or
            an object with their log-weights ``log_w``, such as a `noneq.Walkers`. Work of +inf
            (weight zero) is counted in the legend.
        backward_work: the work (n_B,), in nats, of walkers annealed backward, without resampling;
            or an object with their log-weights ``log_w``.
        log_ratio: an estimate of ``log(Z_1 / Z_0)`` to mark in the figure, for example the value
            that `noneq.likelihood.bennett` returns; None: no estimate is marked.

    Returns:
        The matplotlib figure.

    Raises:
        ValueError: if no forward or no backward work is finite, or if work is NaN or -inf.
    """
    there, back = _work(forward_work, "forward"), -_work(backward_work, "backward")
    ends = [limits(there[np.isfinite(there)]), limits(back[np.isfinite(back)])]
    span = (min(low for low, _ in ends), max(high for _, high in ends))
    edges = np.linspace(*span, 1 + int(np.clip(2 * min(len(there), len(back)) ** 0.4, 8, 50)))
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for x, color, label in ((there, BLUE, "W, forward"), (back, RED, "-W, backward")):
        n_zero = int(np.isinf(x).sum())
        name = f"{label}: {len(x)}" + (f", {n_zero} of weight zero" if n_zero else "")
        heights = histogram(x[np.isfinite(x)], edges) * (1 - n_zero / len(x))
        left.stairs(heights, edges, color=color, fill=True, alpha=0.35, label=name)
    left.set_ylabel("density")
    if log_ratio is not None:
        label = f"dF = {-log_ratio:.2f}"
        left.axvline(-log_ratio, color=GREY, linewidth=1, linestyle="--", label=label)
    _log_ratio(right, there, back, edges, log_ratio)
    for ax, title in ((left, "work: the two cross at dF"), (right, "log ratio: slope 1")):
        ax.set_xlabel("work W")
        finish(ax, title)
    left.set_xlim(*span)
    return figure


def _work(work: Rows | Weighted, name: str) -> Array:
    x = array(-work.log_w if hasattr(work, "log_w") else work)
    if not np.isfinite(x).any() or not (x > -math.inf).all():
        raise ValueError(
            f"the {name} work must be numbers or +inf, some of them finite: it is -log w of "
            "walkers, and a NaN or -inf is a fault of the energy or the kernel"
        )
    return x


def _log_ratio(ax: Axes, there: Array, back: Array, edges: Array, log_ratio: float | None) -> None:
    """Draw the log ratio of the densities in bins with walkers of both directions."""
    # values beyond the ends are left out: in the outermost bins they would distort the density
    f, b = np.histogram(there, edges)[0], np.histogram(back, edges)[0]
    known = (f >= LEAST) & (b >= LEAST)
    x = ((edges[1:] + edges[:-1]) / 2)[known]
    if not len(x):
        ax.text(0.5, 0.5, "no overlap", transform=ax.transAxes, color=GREY, ha="center")
        return
    y = np.log(f[known] / len(there)) - np.log(b[known] / len(back))
    error = np.sqrt(1 / f[known] + 1 / b[known])
    label = "log P_F(W) / P_B(-W) ± 1 s.e."
    ax.errorbar(x, y, error, fmt="o", color="0.2", markersize=3, linewidth=1, label=label)
    if log_ratio is not None:
        ends = np.array(ax.get_xlim())
        ax.plot(ends, ends + log_ratio, "--", color=GREY, linewidth=1, label="W - dF")
