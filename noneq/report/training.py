"""How training went: small pictures over its iterations."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

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

__all__ = ["Bracket", "Metrics", "draw_training", "training_figure", "training_height"]

#: a dict for each logged iteration
Metrics: TypeAlias = Sequence[Mapping[str, Any]]
#: log Z and likelihoods of the trained model
Bracket: TypeAlias = Mapping[str, Any]
#: metrics as columns, NaN where there is a gap
Run: TypeAlias = Mapping[str, Array]
#: draws on axes; returns their twin, or None
Panel: TypeAlias = Callable[[Axes, Run, Bracket], Axes | None]
KEYS = (
    "iteration", "nll", "ess", "survivors", "resampled", "renewed", "rollback", "acceptance",
    "step_size", "faults", "log_z", "log_z_held_out", "log_z_held_out_stderr", "cost", "tau",
    "scale", "data_energy", "walker_energy", "loss", "rate",
)  # fmt: skip


def training_figure(metrics: Metrics, estimate: Bracket | None = None) -> Figure:
    """Panels over the iterations of a run, six or, of score matching, three; and what it came to.

    Arguments:
        metrics: for each logged iteration the numbers of its `noneq.training.Record`, besides
            ``walker_energy``, ``log_z_held_out_stderr``, ``survivors``, ``resampled`` (how often
            since the last renewal), ``step_size``, ``tau`` (the cost allowed to the step) and
            ``rollback``; of score matching ``loss`` and ``rate``. What is missing, null or not
            finite is a gap.
        estimate: of the trained model: ``forward``, ``forward_stderr``, ``backward``,
            ``backward_stderr``, ``alarms``, and ``nll``: for each of train, validation, test and
            base a dict of ``value``, ``stderr_z`` and ``stderr_data``, or None.

    Raises:
        ValueError: no metrics.
    """
    figure = Figure(figsize=(14, training_height(metrics)), layout="constrained")
    draw_training(figure, metrics, estimate)
    return figure


def draw_training(place: FigureBase, metrics: Metrics, estimate: Bracket | None = None) -> None:
    """Draw `training_figure` on a figure or a part of one."""
    run, panels = _columns(metrics), _panels(metrics)
    wide = (3, 1, 1) if panels is MATCHING else (1, 1, 1)  # what it came to is a strip
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
    """Inches that the panels want at a width of 14."""
    return 3.5 * (len(_panels(metrics)) // 3)


def _panels(metrics: Metrics) -> Sequence[tuple[Panel, str, tuple[str, ...]]]:
    return MATCHING if any("rate" in row for row in metrics) else PANELS


def _columns(metrics: Metrics) -> Run:
    """An empty row parts the lines where a run went back."""
    if not metrics:
        raise ValueError("a picture of training needs metrics, got none: has the run begun?")
    rows: list[Mapping[str, Any]] = []
    for row in metrics:
        if rows and row["iteration"] <= rows[-1]["iteration"]:
            rows.append({"iteration": row["iteration"]})
        rows.append(row)
    return {key: np.array([_number(row.get(key)) for row in rows]) for key in KEYS}


def _number(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan
    return number if math.isfinite(number) else math.nan


# -- panels
def _nll(ax: Axes, run: Run, estimate: Bracket) -> Axes | None:
    known = {name: x for name, x in (estimate.get("nll") or {}).items() if x}
    base = _number(known.pop("base", {}).get("value"))
    ends = {
        name: (_number(x["value"]), math.hypot(x.get("stderr_z") or 0, x.get("stderr_data") or 0))
        for name, x in known.items()
    }
    _trend(ax, run, "nll", BLUE, "running, of batches")
    if math.isfinite(base):
        ax.axhline(base, color=GREY, linewidth=1, linestyle="--", label="base alone")
    _ends(ax, "final", ends, estimate)
    _fit(ax, run["nll"], also=[base, *_reach(ends)])
    return None


def _log_z(ax: Axes, run: Run, estimate: Bracket) -> Axes | None:
    x, held, stderr = run["iteration"], run["log_z_held_out"], run["log_z_held_out_stderr"]
    if np.isfinite(run["log_z"]).any():
        line(ax, x, run["log_z"], RED, label="gradient walkers")
    if np.isfinite(held).any():
        line(ax, x, held, GREEN, label="held out ± 1 s.e.")
    ax.fill_between(x, held - stderr, held + stderr, color=GREEN, alpha=0.25, linewidth=0)
    _renewals(ax, run, told=False)  # the panel of the effective sample size tells
    sides = {
        side: (_number(estimate.get(side)), _number(estimate.get(f"{side}_stderr")))
        for side in ("forward", "backward")
    }
    _ends(ax, "AIS", sides, estimate)
    _fit(ax, run["log_z"], held, also=_reach(sides))
    return None


def _ess(ax: Axes, run: Run, estimate: Bracket) -> Axes | None:  # noqa: ARG001
    x = run["iteration"]
    _trend(ax, run, "ess", BLUE, "ESS")
    ax.axhline(0.5, color=GREY, linewidth=0.8, linestyle=":")
    _marks(ax, x[_risen(run["resampled"])], 0.015, "|", ORANGE, label="resampled")
    _renewals(ax, run)
    ax.set_ylim(0, 1.05)
    return _twin(ax, x, run["survivors"], "founders left")


def _acceptance(ax: Axes, run: Run, estimate: Bracket) -> Axes | None:  # noqa: ARG001
    _trend(ax, run, "acceptance", BLUE, "acceptance")
    if np.nansum(run["faults"]) > 0:
        line(ax, run["iteration"], run["faults"], RED, label="faults")
    ax.axhline(0.6, color=GREY, linewidth=0.8, linestyle=":")
    ax.set_ylim(0, 1.05)
    return _twin(ax, run["iteration"], _running(run["step_size"]), "step size")


def _trust(ax: Axes, run: Run, estimate: Bracket) -> Axes | None:  # noqa: ARG001
    _trend(ax, run, "cost", BLUE, "cost")
    line(ax, run["iteration"], run["tau"], "0.2", linestyle="--", label="tau, allowed")
    _fit(ax, run["cost"], run["tau"], log=True)
    return _twin(ax, run["iteration"], _running(run["scale"]), "scale of the step")


def _energies(ax: Axes, run: Run, estimate: Bracket) -> Axes | None:  # noqa: ARG001
    _trend(ax, run, "data_energy", BLUE, "data")
    _trend(ax, run, "walker_energy", RED, "walkers, by weight")
    _fit(ax, run["data_energy"], run["walker_energy"])
    return None


def _loss(ax: Axes, run: Run, estimate: Bracket) -> Axes | None:  # noqa: ARG001
    _trend(ax, run, "loss", BLUE, "of batches")
    _renewals(ax, run)
    _fit(ax, run["loss"], log=True)
    return _twin(ax, run["iteration"], run["rate"], "learning rate")


#: a drawing, its title, and metrics of which it needs one
PANELS: tuple[tuple[Panel, str, tuple[str, ...]], ...] = (
    (_nll, "NLL, nats a row: falls, and test stays near train", ()),
    (_ess, "ESS: near 1 is good; below 0.5 resamples", ("ess",)),
    (
        _acceptance,
        "moves: accepted 0.6 of the time (Gibbs: always)",
        ("acceptance", "step_size"),
    ),
    (_log_z, "log Z: lines stay together and end at the bracket", ()),
    (_trust, "trust region: steps cost about tau", ("cost",)),
    (_energies, "mean energy: walkers are not far below data", ("data_energy", "walker_energy")),
)
#: of score matching
MATCHING: tuple[tuple[Panel, str, tuple[str, ...]], ...] = (
    (_loss, "score matching: the loss falls, and levels off", ("loss",)),
    (_nll, "NLL, nats a row", ()),
    (_log_z, "log Z: sides agree", ()),
)


# -- what panels are made of
def _trend(ax: Axes, run: Run, key: str, color: str, label: str) -> None:
    """The values, thin, below their running mean over a fiftieth of the run; if there are any."""
    if not np.isfinite(run[key]).any():
        return
    line(ax, run["iteration"], run[key], color, linewidth=0.5, alpha=0.4)
    line(ax, run["iteration"], _running(run[key]), color, label=label)


def _running(y: Array) -> Array:
    return smooth(y, 1 + len(y) // 50)


def _twin(ax: Axes, x: Array, y: Array, label: str) -> Axes | None:
    """A second axis on the right, logarithmic, in its line's colour; None if there is nothing."""
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
    """Limits that show all values but wild ones, and those of ``also`` in any case."""
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
    """Final values with their errors on a strip at the right; hollow if an alarm rang."""
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


def _risen(count: Array) -> NDArray[np.intp]:
    """Where a count that may fall back to 0 is more than it was, or has begun again."""
    known = np.flatnonzero(np.isfinite(count))
    step = np.diff(count[known], prepend=0.0)
    return known[(step > 0) | ((step < 0) & (count[known] > 0))]


def _renewals(ax: Axes, run: Run, *, told: bool = True) -> None:
    for event, value, marker, color, face, label in (
        ("renewed", 1, "v", "0.2", "0.2", "renewed"),
        ("renewed", 0, "v", "0.2", "white", "refused"),
        ("rollback", 1, "X", RED, RED, "rolled back"),
    ):
        how = {"markerfacecolor": face, "label": label if told else None}
        _marks(ax, run["iteration"][run[event] == value], 0.985, marker, color, **how)


def _marks(ax: Axes, x: Array, height: float, marker: str, color: str, **how: Any) -> None:
    """Events at a height between 0 and 1 of the axes."""
    if len(x):
        y = np.full(len(x), height)
        where = ax.get_xaxis_transform()
        how = {"markersize": 5, "markeredgewidth": 0.8, **how}
        ax.plot(x, y, linestyle="", marker=marker, color=color, transform=where, **how)
