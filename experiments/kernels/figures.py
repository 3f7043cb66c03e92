"""The figures of docs/kernel_study.md, drawn from the record.

python -m experiments kernels.figures    draws them again from
experiments/results/kernel_study.json
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.common import RESULTS
from noneq.report.axes import BLUE, GREEN, GREY, NORMAL, ORANGE, PURPLE, RED, SMALL, ticks

DOCS = Path(__file__).parents[2] / "docs"
STYLES = {  # color, line
    "ULA, Algorithm 1": (BLUE, "-"),
    "MALA": (RED, "-"),
    "HMC, 4 leaps": (GREEN, "-"),
    "HMC, 8 leaps": (GREEN, "--"),
    "unadjusted HMC, 4 leaps": (GREEN, ":"),
    "OBABO, 9 parts": (PURPLE, "-"),
    "GHMC": (ORANGE, "-"),
    "random walk": (GREY, "-"),
    "block Gibbs": (RED, "--"),
    "block Gibbs, 4 parts": (RED, ":"),
    "Gibbs with gradients": (GREEN, "-."),
    "discrete Langevin": (ORANGE, "--"),
    "unadjusted DL": (BLUE, "--"),
    "unadjusted DL, 9 parts": (BLUE, ":"),
}
UNADJUSTED = {"ULA": BLUE, "unadjusted HMC, 4 leaps": GREEN, "OBABO": PURPLE}
TITLES = {"mixture": "mixture, 50-d", "rbm": "RBM, 12 bits", "digits": "digits, 64-d"}
Walk = dict[str, Any]


def draw(data: dict[str, Any], folder: Path = DOCS) -> None:
    """Both figures."""
    for name, figure in {"steps": steps(data), "rest": rest(data)}.items():
        FigureCanvasAgg(figure)
        figure.savefig(folder / f"kernel_study_{name}.png", dpi=110)


def steps(data: dict[str, Any]) -> Figure:
    """Four measures against the step size on three paths."""
    figure = Figure(figsize=(14.5, 9.5), layout="constrained")
    axes = figure.subplots(3, 5, sharex="row", width_ratios=[1, 1, 1, 1, 0.65])

    def work(w: Walk) -> float | None:
        return w["work"]

    def log_z(w: Walk) -> float | None:
        if w["log_z_variance"] is None:
            return None
        return w["log_z_error"] ** 2 + w["log_z_variance"]

    def gradient(w: Walk) -> float | None:
        e = w["weighted"]
        return None if e is None or e["variance"] is None else e["bias2"] + e["variance"]

    def bias(w: Walk) -> float | None:
        e = w["unweighted"]
        return None if e is None or e["bias2"] is None else max(e["bias2"], e["stderr"])

    columns: list[tuple[str, str, Callable[[Walk], float | None]]] = [
        ("dissipated work [nats]", "plain", work),
        ("MSE of an island's log Z [nats²]", "resampled", log_z),
        ("MSE of the gradient / exact samples", "resampled", gradient),
        ("without weights: bias² / exact samples", "plain", bias),
    ]
    for row, (name, title) in zip(axes, TITLES.items(), strict=True):
        for ax, (label, mode, value) in zip(row, columns, strict=False):
            curves(ax, data[mode][name], value)
            if name == "mixture":
                ax.set_title(label, loc="left", fontsize=NORMAL)
        row[0].set_ylabel(title, fontsize=NORMAL)
        names = sorted({w["kernel"] for w in data["plain"][name]}, key=_order)
        handles = dict(zip(*row[0].get_legend_handles_labels()[::-1], strict=True))
        shown = [n for n in names if n in handles]
        row[-1].axis("off")
        row[-1].legend([handles[n] for n in shown], shown, fontsize=SMALL, loc="center left")
    for ax in axes[-1][:-1]:
        ax.set_xlabel("step size h", fontsize=SMALL)
    return figure


def _order(name: str) -> int:
    return list(STYLES).index(name) if name in STYLES else 99


def curves(ax: Axes, walks: list[Walk], value: Callable[[Walk], float | None]) -> None:
    """A line for each kernel; one without a step size is a level."""
    every = []
    for name, (color, line) in STYLES.items():
        mine = [(w["h"], value(w)) for w in walks if w["kernel"] == name]
        known = [(h, v) for h, v in mine if v is not None and math.isfinite(v) and v > 0]
        every += [v for _, v in known]
        if len(mine) == 1 and known:
            ax.axhline(known[0][1], color=color, linestyle=line, label=name, linewidth=1.4)
        elif known:
            h, v = zip(*known, strict=True)
            ax.plot(h, v, line, color=color, label=name, linewidth=1.4, marker=".", markersize=4)
    ax.set_xscale("log")
    ax.set_yscale("log")
    low = min(every)
    ax.set_ylim(low / 1.4, min(1.4 * max(every), 60 * low))  # what leaves it has failed
    dress(ax)


def dress(ax: Axes) -> None:
    """Small labels, a light grid."""
    ax.tick_params(labelsize=SMALL, which="both")
    for axis in (ax.xaxis, ax.yaxis):
        if axis.get_scale() == "log":
            ticks(axis)
    ax.grid(alpha=0.25)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


def rest(data: dict[str, Any]) -> Figure:
    """The effective sample size on the way, noise at fixed parameters, resampling, evaluations."""
    figure = Figure(figsize=(13, 7.5), layout="constrained")
    axes = figure.subplots(2, 3)
    for ax, (name, title) in zip(axes[0], TITLES.items(), strict=True):
        decay(ax, data["plain"][name], data["resampled"][name])
        ax.set_title(f"{title}: ESS, never resampled", loc="left", fontsize=NORMAL)
        ax.set_xlabel("share of the path", fontsize=SMALL)
    noise(axes[1][0], data["noise"])
    thresholds(axes[1][1], data["thresholds"])
    evaluations(axes[1][2], data["budgets"])
    return figure


def decay(ax: Axes, plain: list[Walk], resampled: list[Walk]) -> None:
    """Each kernel at the step that serves the weighted gradient best."""
    for name, (color, line) in STYLES.items():
        known = [w for w in resampled if w["kernel"] == name and w["weighted"]]
        known = [w for w in known if w["weighted"]["variance"] is not None]
        if not known:
            continue
        best = min(known, key=lambda w: w["weighted"]["bias2"] + w["weighted"]["variance"])
        ess = next(w["ess"] for w in plain if w["kernel"] == name and w["h"] == best["h"])
        at = [(i + 1) / len(ess) for i in range(len(ess))]
        ax.plot(at, ess, line, color=color, linewidth=1.4, label=name)
    ax.set_yscale("log")
    ax.set_ylim(2e-4, 1.2)
    dress(ax)
    ax.legend(fontsize=6.5, framealpha=0.85, loc="lower left", ncols=2)


def noise(ax: Axes, found: dict[str, list[Walk]]) -> None:
    """CV^2 after 64 evaluations on the Gaussian, with theory, and on the skewed target."""
    late = max(r["evaluations"] for r in found["Gaussian"])
    for target, marker in {"Gaussian": "o", "skewed": "s"}.items():
        for name, color in UNADJUSTED.items():
            rows = [r for r in found[target] if r["kernel"] == name and r["evaluations"] == late]
            style = {"color": color, "markersize": 4, "linewidth": 1.2}
            h, v = [r["h"] for r in rows], [r["variance"] for r in rows]
            fill = color if target == "Gaussian" else "white"
            ax.plot(h, v, marker, mfc=fill, label=f"{target}: {name}", **style)
    h = sorted({r["h"] for r in found["Gaussian"]})
    ax.plot(h, [12.5 * s**2 for s in h], "-", color="black", linewidth=1, label="d h² / 4")
    scale = next(
        r["variance"] for r in found["skewed"] if r["evaluations"] == late and r["h"] == h[1]
    )
    ax.plot(h, [scale * (s / h[1]) ** 3 for s in h], "--", color="black", lw=1, label="∝ n h³")
    ax.set_xscale("log")
    ax.set_yscale("log")
    dress(ax)
    ax.set_title(f"fixed parameters: Var log w, {late} evaluations", loc="left", fontsize=NORMAL)
    ax.set_xlabel("step size h", fontsize=SMALL)
    ax.legend(fontsize=6.5, framealpha=0.85, loc="upper left")


def thresholds(ax: Axes, rows: list[Walk]) -> None:
    """MSE of an island's log Z over the threshold, a dot for each scheme."""
    colors = {"systematic": BLUE, "stratified": GREEN, "residual": ORANGE, "multinomial": RED}
    groups = list(dict.fromkeys((r["path"], r["kernel"]) for r in rows))
    at = sorted({r["threshold"] for r in rows})
    names = []
    for g, (path, kernel) in enumerate(groups):
        for r in (r for r in rows if (r["path"], r["kernel"]) == (path, kernel)):
            mse = r["log_z_error"] ** 2 + r["log_z_variance"]
            shift = 0.15 * (list(colors).index(r["scheme"]) - 1.5) if r["scheme"] in colors else 0
            x = g * (len(at) + 1) + at.index(r["threshold"]) + shift
            ax.plot(x, mse, ".", color=colors.get(r["scheme"], "black"), markersize=7)
        names += [(g * (len(at) + 1) + i, f"{t:g}".replace("0.", ".")) for i, t in enumerate(at)]
        middle = g * (len(at) + 1) + (len(at) - 1) / 2
        ax.text(
            middle, 1.02, f"{path}\n{kernel}".replace(", Algorithm 1", ""), fontsize=6.5,
            ha="center", va="top", transform=ax.get_xaxis_transform(),
        )  # fmt: skip
    for scheme, color in colors.items():
        ax.plot([], [], ".", color=color, label=scheme)
    ax.set_xticks([x for x, _ in names], [t for _, t in names])
    ax.set_yscale("log")
    low, high = ax.get_ylim()
    ax.set_ylim(low / 4, high * 4)
    dress(ax)
    ax.tick_params(axis="x", labelsize=6.5)
    ax.set_title("resampling: MSE of log Z", loc="left", fontsize=NORMAL, pad=14)
    ax.set_xlabel("threshold", fontsize=SMALL)
    ax.legend(fontsize=6.5, framealpha=0.85, ncols=4, loc="lower center")


def evaluations(ax: Axes, rows: list[Walk]) -> None:
    """MSE of the gradient times evaluations, over evaluations."""
    lines = {"mixture": "-", "rbm": "--", "digits": ":"}
    colors = {"MALA": RED, "HMC, 4 leaps": GREEN, "block Gibbs": BLUE, "discrete Langevin": ORANGE}
    for path, kernel in dict.fromkeys((r["path"], r["kernel"]) for r in rows):
        mine = [r for r in rows if (r["path"], r["kernel"]) == (path, kernel)]
        ax.plot(
            [r["evaluations"] for r in mine],
            [r["gradient"] * r["evaluations"] for r in mine],
            lines[path], color=colors[kernel], marker=".", lw=1.4, label=f"{path}, {kernel}",
        )  # fmt: skip
    ax.set_xscale("log")
    ax.set_yscale("log")
    dress(ax)
    ax.set_title("gradient: MSE x evaluations", loc="left", fontsize=NORMAL)
    ax.set_xlabel("evaluations an update", fontsize=SMALL)
    ax.legend(fontsize=6.5, framealpha=0.85)


if __name__ == "__main__":
    draw(json.loads((RESULTS / "kernel_study.json").read_text())["data"])
