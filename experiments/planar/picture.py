"""The figure of the densities in the plane: data and three models of each, with their distances.

python -m experiments planar.picture [--out experiments/results/planar.png]

It reads what `python -m experiments planar.study` recorded: models of seed 0, on the same colours
as the truth in the same row. Points are training rows, or walkers; the area of a walker is its
weight. Score matching has no walkers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import tyro
from matplotlib.axes import Axes

from experiments.common import RESULTS, recorded
from experiments.planar.sets import SETS
from experiments.planar.study import REACH, SIDE, SPEEDS, chosen, grid
from noneq.report.axes import NORMAL, SMALL

__all__ = ["main"]

SHOWN = 3.2  # the plane is shown from -3.2 to 3.2
POINTS = 400  # rows or walkers that are drawn
TITLES = {
    "score matching": "score matching",
    "PCD": "PCD (no weights)",
    "weighted": "weighted likelihood",
}


def main(out: Path = RESULTS / "planar.png") -> None:
    """Draw the figure.

    Args:
        out: PNG file.
    """
    done = recorded("planar")
    arrays = dict(np.load(RESULTS / "planar.npz"))
    figure, axes = plt.subplots(1 + len(SPEEDS), len(SETS), figsize=(10.4, 9.0))
    for (name, truth), column in zip(SETS.items(), axes.T, strict=True):
        p = truth.log_density(grid()).exp().view(SIDE, SIDE).numpy()[1::3, 1::3]
        top = float(np.quantile(p[p > 0.01 * p.max()], 0.97))
        rows = arrays[f"{name} | weighted | rows"]
        _density(column[0], p, top)
        _points(column[0], rows[:POINTS], np.ones(POINTS))
        column[0].set_title(name, fontsize=NORMAL)
        for way, ax in zip(SPEEDS, column[1:], strict=True):
            q = np.exp(arrays[f"{name} | {way} | log_q"].astype(np.float64))
            _density(ax, q, top)
            if (x := arrays.get(f"{name} | {way} | x")) is not None:
                _points(ax, x[:POINTS], arrays[f"{name} | {way} | w"][:POINTS])
            (drawn,) = (one for one in chosen(done, name, way) if one["seed"] == 0)
            kl = np.inf if drawn["kl"] is None else drawn["kl"]
            ax.set_xlabel(f"KL {kl:.2f}, masses off {drawn['masses']:.0%}", fontsize=SMALL)
    for ax, title in zip(axes[:, 0], ["truth and rows", *TITLES.values()], strict=True):
        ax.set_ylabel(title, fontsize=NORMAL)
    figure.suptitle(
        "The same network, trained in three ways on densities whose parts have unequal masses.\n"
        "The first of three seeds, with its KL to the model in nats; points are rows, or walkers "
        "of an area as their weight.",
        fontsize=NORMAL,
    )
    figure.tight_layout(rect=(0, 0, 1, 0.99))
    figure.savefig(out, dpi=110, facecolor="white")
    plt.close(figure)
    print(out)


def _density(ax: Axes, density: Any, top: float) -> None:
    """A density on the grid; x grows to the right and y upwards."""
    reach = (-REACH, REACH, -REACH, REACH)
    ax.imshow(density.T, origin="lower", extent=reach, cmap="cividis", vmin=0, vmax=top)
    ax.set(xlim=(-SHOWN, SHOWN), ylim=(-SHOWN, SHOWN), xticks=[], yticks=[])


def _points(ax: Axes, x: Any, weights: Any) -> None:
    area = 2.5 * weights / weights.mean()
    ax.scatter(*x.astype(np.float64).T, s=area, color="white", alpha=0.55, linewidths=0)


if __name__ == "__main__":
    tyro.cli(main)
