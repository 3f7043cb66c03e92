"""What is recorded of the mixtures: tables, written into docs/results/paper_a.md, and a figure.

python -m experiments paper_a.report [--out docs/mixture.png]
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import matplotlib.pyplot as plt
import tyro
from matplotlib.axes import Axes

from experiments.common import RESULTS, table, write_table
from experiments.paper_a.mixture import (
    NUMBERS,
    TARGETS,
    THRESHOLDS,
    WAYS,
    Cell,
    everything,
    predicted_drift,
)
from experiments.paper_a.targets import PAIR
from noneq.report.axes import BLUE, GREEN, GREY, NORMAL, ORANGE, PURPLE, RED, SMALL

__all__ = ["line_of", "main", "of"]

PAGE = "paper_a.md"
HEADS = ("", "masses, mean", "worst seed", "KL", "ESS", "log Z: gradient walkers", "predicted",
         "held out, worst in se", "annealed, worst", "alarms", "s")  # fmt: skip
COLOURS = dict(zip(WAYS, (BLUE, PURPLE, GREEN, ORANGE, RED, GREY), strict=True))


def of(done: Sequence[dict[str, Any]], **fields: Any) -> list[dict[str, Any]]:
    """The trainings that differ from the default `Cell` in these fields alone, and the seed."""
    own = Cell(**fields)
    keys = ("way", "target", "resample", "walkers")
    return [one for one in done if all(one[key] == getattr(own, key) for key in keys)]


def line_of(name: str, mine: Sequence[dict[str, Any]]) -> list[str]:
    """A row of a table, over seeds."""
    masses = [fmean(v) for v in zip(*(one["masses"] for one in mine), strict=True)]
    far = max(mine, key=lambda one: one["error"])
    row = [
        f"{name} ({len(mine)})", _numbers(masses), _numbers(far["masses"]),
        f"{fmean(one['kl'] for one in mine):.3f}",
    ]  # fmt: skip
    seconds = f"{fmean(one['seconds'] for one in mine):.0f}"
    if "predicted" not in mine[0]:
        return [*row, "", "", "", "", "", "", seconds]
    held = max(abs(error / stderr) for error, stderr in (one["held out"] for one in mine))
    return [
        *row,
        f"{fmean(one['ess'] for one in mine):.2f}",
        f"{fmean(one['gradient'] for one in mine):+.3f}",
        f"{fmean(one['predicted'] for one in mine):+.3f}",
        f"{held:.1f}",
        f"{max(abs(one['annealed'][0]) for one in mine):.3f}",
        str(sum(one["annealed"][2] for one in mine)),
        seconds,
    ]


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:.3f}" for value in values)


def tables(done: Sequence[dict[str, Any]]) -> dict[str, list[list[str]]]:
    """Rows of each table, of those cells that are recorded."""
    groups = {
        "ways": [(f"{name}: {way}", of(done, way=way, target=name))
                 for name in TARGETS for way in WAYS],
        "resampling": [(f"below {r:g}", of(done, resample=r)) for r in THRESHOLDS],
        "walkers": [(f"{n:,}", of(done, walkers=n)) for n in (*NUMBERS, Cell().walkers)],
    }  # fmt: skip
    return {
        title: [line_of(name, mine) for name, mine in rows if mine]
        for title, rows in groups.items()
    }


# -- the figure ---------------------------------------------------------------------------------


def _along(ax: Axes, done: Sequence[dict[str, Any]]) -> None:
    """The mass of the smaller of two modes along the training, and PCD's, predicted."""
    for way, colour in COLOURS.items():
        for k, one in enumerate(of(done, way=way)):
            at = [point["iteration"] for point in one["curve"]]
            own = [point["masses"][0] for point in one["curve"]]
            ax.plot(at, own, color=colour, lw=0.8, alpha=0.8, label=None if k else way)
            if way == "PCD":
                law = predicted_drift(one["curve"], PAIR)
                label = None if k else "PCD, predicted"
                ax.plot(at[-len(law) :], law, "k:", lw=1.2, label=label)
    ax.axhline(0.25, color="k", ls="--", lw=0.8)
    ax.set_ylim(-0.03, 0.68)  # room for the legend
    ax.set_xlabel("iteration", fontsize=SMALL)
    ax.set_ylabel("mass of the smaller mode", fontsize=SMALL)
    ax.set_title("Two modes in 50 dimensions; truth dashed", fontsize=NORMAL)
    ax.legend(fontsize=SMALL, frameon=False, ncols=2)


def _three(ax: Axes, done: Sequence[dict[str, Any]]) -> None:
    """The learned masses of three modes, a point for each seed."""
    for k, way in enumerate(WAYS):
        mine = of(done, way=way, target="three modes, 20-d")
        for mode, marker in enumerate("osD"):
            own = [one["masses"][mode] for one in mine]
            at = [k + (seed - 2) / 12 for seed in range(len(own))]
            ax.plot(at, own, marker, color=COLOURS[way], ms=4)
    for mass in (0.1, 0.3, 0.6):
        ax.axhline(mass, color="k", ls="--", lw=0.8)
    ax.set_xticks(range(len(WAYS)), WAYS, fontsize=SMALL, rotation=20)
    ax.set_ylim(-0.03, 1.03)
    ax.set_ylabel("mass", fontsize=SMALL)
    ax.set_title("Three modes in 20 dimensions, a point a seed", fontsize=NORMAL)


def _thresholds(ax: Axes, done: Sequence[dict[str, Any]]) -> None:
    """What thresholds of resampling do to the mass."""
    for k, least in enumerate(THRESHOLDS):
        own = [one["masses"][0] for one in of(done, resample=least)]
        ax.plot([k + (seed - 2) / 15 for seed in range(len(own))], own, "o", color=BLUE, ms=4)
    ax.axhline(0.25, color="k", ls="--", lw=0.8)
    names = ["never", *(f"below {r:g}" for r in THRESHOLDS[1:])]
    ax.set_xticks(range(len(THRESHOLDS)), names, fontsize=SMALL)
    ax.set_ylabel("mass of the smaller mode", fontsize=SMALL)
    ax.set_title("Stale ULA: resampling where ESS/N is ...", fontsize=NORMAL)


def _biases(ax: Axes, done: Sequence[dict[str, Any]]) -> None:
    """The bias of log Z by the walkers of the gradient, measured and predicted."""
    at, law = [], []
    for n in sorted((*NUMBERS, Cell().walkers)):
        mine = of(done, walkers=n)
        if mine:
            ax.plot([n] * len(mine), [-one["gradient"] for one in mine], "o", color=BLUE, ms=4)
            at.append(n)
            law.append(-fmean(one["predicted"] for one in mine))
    ax.plot(at, law, "k-", lw=1.0, label="predicted")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("number of walkers N", fontsize=SMALL)
    ax.set_ylabel("log Z less its estimate, nats", fontsize=SMALL)
    ax.set_title("Walkers that feed the gradient: their log Z is low", fontsize=NORMAL)
    ax.legend(fontsize=SMALL, frameon=False)


def main(out: Path = RESULTS / "mixture.png", page: bool = True) -> None:
    """Print the tables, write them into the page, and draw the figure.

    Args:
        out: PNG file.
        page: whether to write the tables into docs/results/paper_a.md.
    """
    done = everything()
    for title, rows in tables(done).items():
        table(title, HEADS, rows)
        if page:
            write_table(PAGE, HEADS, rows, title)
    draws = [_along, _three]
    if of(done, resample=THRESHOLDS[0]):
        draws.append(_thresholds)
    if of(done, walkers=NUMBERS[0]):
        draws.append(_biases)
    rows = -(-len(draws) // 2)
    figure, axes = plt.subplots(rows, 2, figsize=(10.5, 3.75 * rows), squeeze=False)
    for ax in axes.flat[len(draws) :]:
        ax.axis("off")
    for ax, draw in zip(axes.flat, draws, strict=False):
        draw(ax, done)
        ax.tick_params(labelsize=SMALL)
    figure.tight_layout()
    figure.savefig(out, dpi=110, facecolor="white")
    plt.close(figure)
    print(out)


if __name__ == "__main__":
    tyro.cli(main)
