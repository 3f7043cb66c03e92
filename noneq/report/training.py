"""Figure of the training of a run: panels of its metrics over the iterations.

Training by maximum likelihood has six panels, score matching three. Final estimates are drawn on
a strip at the right of the panels of the likelihood and of log Z.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase
from matplotlib.ticker import MaxNLocator

from noneq.report.axes import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    RED,
    SMALL,
    Array,
    finish,
    limits,
    line,
    smooth,
    widened,
)
from noneq.report.series import Bracket, Metrics, Series, number, rises, series

__all__ = ["draw_training", "training_figure", "training_height"]

Panel: TypeAlias = Callable[[Axes, Series, Bracket], Axes | None]
"""A function that draws on axes and returns their twin, or None."""


def training_figure(metrics: Metrics, estimate: Bracket | None = None) -> Figure:
    """Draw the metrics of a training run by iteration, and the final likelihoods and log Z.

    Arguments:
        metrics: one dict for each logged iteration, with the numbers of a `noneq.training.Record`,
            such as ``iteration``, ``nll`` and ``ess``, and with ``walker_energy`` (mean energy of
            the walkers, i.e. weighted samples), ``log_z_held_out_stderr``, ``effective_ancestors``
            (effective number of ancestors of the walkers), ``resampled`` (number of resamplings
            since walkers were last annealed anew), ``step_size`` (of the kernel), ``tau`` (cost in
            effective sample size that an optimiser step may have) and ``rollback`` (True if the
            run went back to an earlier state). For score matching: ``iteration``, ``loss`` and
            ``rate`` (learning rate). Missing, null and infinite values are gaps in the curves.
        estimate: final estimates of the trained model, a dict of ``forward``, ``forward_stderr``,
            ``backward`` and ``backward_stderr`` (log Z by forward and by backward annealing),
            ``alarms`` (reasons to distrust log Z) and ``nll`` (negative log-likelihoods: for each
            of train, validation, test and base a dict of ``value``, ``stderr_z`` and
            ``stderr_data``, or None). None: there are no estimates yet.

    Returns:
        The matplotlib figure.

    Raises:
        ValueError: if there are no metrics.
    """
    figure = Figure(figsize=(14, training_height(metrics)), layout="constrained")
    draw_training(figure, metrics, estimate)
    return figure


def draw_training(place: FigureBase, metrics: Metrics, estimate: Bracket | None = None) -> None:
    """Draw the metrics of a training run on a given figure, as `training_figure` draws them.

    Arguments:
        place: the figure or subfigure to draw on.
        metrics: metrics of training, one dict for each logged iteration.
        estimate: final estimates of log Z and likelihoods, see `training_figure`; or None.

    Raises:
        ValueError: if there are no metrics.
    """
    run, panels = series(_shown(metrics)), _panels(metrics)
    wide = (3, 1, 1) if panels is MATCHING else (1, 1, 1)  # final estimates are narrow
    axes = place.subplots(len(panels) // 3, 3, sharex=True, squeeze=False, width_ratios=wide)
    for ax, (draw, title, keys) in zip(axes.flat, panels, strict=True):
        ax.set_autoscaley_on(False)
        known = not keys or any(np.isfinite(run[key]).any() for key in keys)
        twin = draw(ax, run, estimate or {}) if known else None
        finish(ax, title, twin=twin)
        if not ax.lines and not ax.child_axes:
            ax.text(0.5, 0.5, "not recorded", transform=ax.transAxes, color=GREY, ha="center")
            ax.set_yticks([])
    first, last = run["iteration"].min(), run["iteration"].max()
    room = 0.02 * (last - first) or 1.0
    axes[0, 0].set_xlim(first - room, last + room)
    axes[0, 0].xaxis.set_major_locator(MaxNLocator(5, integer=True))
    for ax in axes[-1] if panels is PANELS else axes[-1][:1]:
        ax.set_xlabel("iteration", fontsize=SMALL)
    for ax in axes[-1][1:] if panels is MATCHING else ():
        ax.tick_params(axis="x", length=0, labelbottom=False)


def training_height(metrics: Metrics) -> float:
    """Choose the height of a figure of training metrics that is 14 inches wide.

    Arguments:
        metrics: metrics of training, one dict for each logged iteration.

    Returns:
        The height in inches.
    """
    return 3.5 * (len(_panels(metrics)) // 3)


def _panels(metrics: Metrics) -> Sequence[tuple[Panel, str, tuple[str, ...]]]:
    return MATCHING if any("rate" in row for row in _shown(metrics)) else PANELS


def _shown(metrics: Metrics) -> Metrics:
    """Leave the iterations of score matching out where maximum likelihood follows them."""
    likelihood = [row for row in metrics if "rate" not in row]
    return likelihood if any("ess" in row for row in likelihood) else metrics


# -- panels
def _nll(ax: Axes, run: Series, estimate: Bracket) -> Axes | None:
    known = {name: x for name, x in (estimate.get("nll") or {}).items() if x}
    base = number(known.pop("base", {}).get("value"))
    ends = {
        name: (number(x["value"]), math.hypot(x.get("stderr_z") or 0, x.get("stderr_data") or 0))
        for name, x in known.items()
    }
    _trend(ax, run, "nll", BLUE, "running, of batches")
    if math.isfinite(base):
        ax.axhline(base, color=GREY, linewidth=1, linestyle="--", label="base alone")
    _ends(ax, "final", ends, estimate)
    _fit(ax, run["nll"], also=[base, *_reach(ends)])
    return None


def _log_z(ax: Axes, run: Series, estimate: Bracket) -> Axes | None:
    x, held, stderr = run["iteration"], run["log_z_held_out"], run["log_z_held_out_stderr"]
    if np.isfinite(run["log_z"]).any():
        line(ax, x, run["log_z"], RED, label="gradient walkers")
    if np.isfinite(held).any():
        line(ax, x, held, GREEN, label="held out ± 1 s.e.")
    ax.fill_between(x, held - stderr, held + stderr, color=GREEN, alpha=0.25, linewidth=0)
    _renewals(ax, run, labelled=False)  # the panel of the effective sample size has the labels
    ends = {
        name: (number(estimate.get(name)), number(estimate.get(f"{name}_stderr")))
        for name in ("forward", "backward")
    }
    _ends(ax, "AIS", ends, estimate)
    _fit(ax, run["log_z"], held, also=_reach(ends))
    return None


def _ess(ax: Axes, run: Series, estimate: Bracket) -> Axes | None:  # noqa: ARG001
    x = run["iteration"]
    _trend(ax, run, "ess", BLUE, "ESS")
    ax.axhline(0.5, color=GREY, linewidth=0.8, linestyle=":")
    _marks(ax, x[rises(run["resampled"])], 0.015, "|", ORANGE, label="resampled")
    _renewals(ax, run)
    ax.set_ylim(0, 1.05)
    return _twin(ax, x, run["effective_ancestors"], "ancestors left")


def _acceptance(ax: Axes, run: Series, estimate: Bracket) -> Axes | None:  # noqa: ARG001
    _trend(ax, run, "acceptance", BLUE, "acceptance")
    if np.nansum(run["faults"]) > 0:
        line(ax, run["iteration"], run["faults"], RED, label="faults")
    ax.axhline(0.6, color=GREY, linewidth=0.8, linestyle=":")
    ax.set_ylim(0, 1.05)
    return _twin(ax, run["iteration"], _running(run["step_size"]), "step size")


def _trust(ax: Axes, run: Series, estimate: Bracket) -> Axes | None:  # noqa: ARG001
    _trend(ax, run, "cost", BLUE, "cost")
    line(ax, run["iteration"], run["tau"], "0.2", linestyle="--", label="tau, allowed")
    _fit(ax, run["cost"], run["tau"], log=True)
    return _twin(ax, run["iteration"], _running(run["scale"]), "scale of the step")


def _energies(ax: Axes, run: Series, estimate: Bracket) -> Axes | None:  # noqa: ARG001
    _trend(ax, run, "data_energy", BLUE, "data")
    _trend(ax, run, "walker_energy", RED, "walkers, by weight")
    _fit(ax, run["data_energy"], run["walker_energy"])
    return None


def _loss(ax: Axes, run: Series, estimate: Bracket) -> Axes | None:  # noqa: ARG001
    _trend(ax, run, "loss", BLUE, "of batches")
    _renewals(ax, run)
    _fit(ax, run["loss"], log=True)
    return _twin(ax, run["iteration"], run["rate"], "learning rate")


#: for each panel of maximum likelihood: function, title, metrics of which one is needed
PANELS: tuple[tuple[Panel, str, tuple[str, ...]], ...] = (
    (_nll, "NLL, nats a row: falls, and test stays near train", ()),
    (_ess, "ESS: how even weights are; 1 is best, below 0.5 resamples", ("ess",)),
    (
        _acceptance,
        "moves: accepted 0.6 of the time (Gibbs: always)",
        ("acceptance", "step_size"),
    ),
    (_log_z, "log Z: lines stay together and end at the bracket", ()),
    (_trust, "trust region: steps cost about tau", ("cost",)),
    (_energies, "mean energy: walkers are not far below data", ("data_energy", "walker_energy")),
)
#: the panels of score matching
MATCHING: tuple[tuple[Panel, str, tuple[str, ...]], ...] = (
    (_loss, "score matching: the loss falls, and levels off", ("loss",)),
    (_nll, "NLL, nats a row", ()),
    (_log_z, "log Z: both directions agree", ()),
)


# -- parts of panels
def _trend(ax: Axes, run: Series, key: str, color: str, label: str) -> None:
    """Draw values as a thin line, and their running mean over 2 % of the run."""
    if not np.isfinite(run[key]).any():
        return
    line(ax, run["iteration"], run[key], color, linewidth=0.5, alpha=0.4)
    line(ax, run["iteration"], _running(run[key]), color, label=label)


def _running(y: Array) -> Array:
    return smooth(y, 1 + len(y) // 50)


def _twin(ax: Axes, x: Array, y: Array, label: str) -> Axes | None:
    """Draw positive values on a second, logarithmic axis; return it, or None without values."""
    y = np.where(y > 0, y, np.nan)
    if not np.isfinite(y).any():
        return None
    twin = ax.twinx()
    twin.set_autoscaley_on(False)
    line(twin, x, y, PURPLE, linewidth=0.8, label=label)
    _fit(twin, y, log=True)
    twin.tick_params(axis="y", which="both", colors=PURPLE)
    twin.spines["right"].set_color(PURPLE)
    return twin


def _fit(ax: Axes, *lines: Array, also: Iterable[float] = (), log: bool = False) -> None:
    """Set limits that show all values but outliers, and the values of ``also`` in any case."""
    y = np.concatenate(lines)
    if log:
        ax.set_yscale("log")
        y = np.log10(y, where=y > 0, out=np.full(len(y), np.nan))
    more = np.array([value for value in also if math.isfinite(value)])
    ends = limits(y, tail=0.0, far=1.0, margin=0.0) if np.isfinite(y).any() else ()
    reach = np.append(more, ends)
    if len(reach):
        low, high = widened(float(reach.min()), float(reach.max()), 0.05)
        ax.set_ylim(*((10**low, 10**high) if log else (low, high)))


def _reach(ends: Mapping[str, tuple[float, float]]) -> list[float]:
    return [v + sign * np.nan_to_num(error) for v, error in ends.values() for sign in (-1, 1)]


def _ends(
    ax: Axes, title: str, ends: Mapping[str, tuple[float, float]], estimate: Bracket
) -> None:
    """Draw final values with errors on a strip at the right; hollow if an alarm was raised."""
    known = {name: end for name, end in ends.items() if math.isfinite(end[0])}
    if not known:
        return
    strip = ax.inset_axes((1.02, 0.0, 0.055 * len(known), 1.0), sharey=ax)
    fill = "white" if estimate.get("alarms") else "0.2"
    how: dict[str, Any] = {"color": "0.2", "markersize": 4, "linewidth": 1}
    for i, (value, error) in enumerate(known.values()):
        strip.errorbar(i, value, np.nan_to_num(error), fmt="o", markerfacecolor=fill, **how)
    strip.set_xlim(-0.7, len(known) - 0.3)
    strip.set_xticks(range(len(known)), list(known), rotation=90, fontsize=SMALL)
    strip.tick_params(left=False, labelleft=False, length=0)
    strip.set_title(title, fontsize=SMALL, pad=4)
    strip.set_facecolor("0.95")
    strip.spines[:].set_visible(False)


def _renewals(ax: Axes, run: Series, *, labelled: bool = True) -> None:
    """Draw a marker for every renewal, refused renewal and rollback."""
    for event, value, marker, color, face, label in (
        ("renewed", 1, "v", "0.2", "0.2", "renewed"),
        ("renewed", 0, "v", "0.2", "white", "refused"),
        ("rollback", 1, "X", RED, RED, "rolled back"),
    ):
        how = {"markerfacecolor": face, "label": label if labelled else None}
        _marks(ax, run["iteration"][run[event] == value], 0.985, marker, color, **how)


def _marks(ax: Axes, x: Array, height: float, marker: str, color: str, **how: Any) -> None:
    """Draw markers of events at a height between 0 and 1 of the axes."""
    if len(x):
        y = np.full(len(x), height)
        where = ax.get_xaxis_transform()
        how = {"markersize": 5, "markeredgewidth": 0.8, **how}
        ax.plot(x, y, linestyle="", marker=marker, color=color, transform=where, **how)
