"""What is recorded of the experiment on proportions of classes: its tables, and its figure.

python -m experiments proportions.report [--out experiments/results/proportions.png]

"above" is the NLL of test rows less that under the density which drew them, where it is known.

Errors of proportions are half the sum of the absolute differences to the truth. "Walkers" is their
mean over the second half of the training, "worst" the largest of any seed in that half.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import tyro
from matplotlib.axes import Axes

from experiments.common import RESULTS, recorded, table, write_table
from noneq.report.axes import NORMAL, SMALL

__all__ = ["TUNING", "chosen", "effects", "lines_of", "main", "show", "validation"]

TUNING = 100  # seed of the trials
PAGE = "proportions.md"
HEADS = ("training", "speed", "seeds", "walkers", "worst", "ESS", "model", "worst", "sure",
         "validation", "test", "above", "log Z within", "alarms", "failed", "s")  # fmt: skip
CLASSES, COLOURS = ("2", "3", "6"), ("#0072b2", "#d55e00", "#009e73")  # colour-blind safe


def validation(one: dict[str, Any]) -> float:
    """What a trial is chosen by: the NLL of the validation rows; infinite where it failed."""
    found = one.get("nll", {}).get("validation")  # null where it was not finite
    return math.inf if found is None or math.isnan(found) else float(found)


def chosen(done: Sequence[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """The models of a cell that are reported, at the speed that the validation rows chose."""
    trials = [one for one in done if one["name"] == name and one["seed"] == TUNING]
    if not trials:  # the speed was chosen in another study
        return [one for one in done if one["name"] == name]
    speed = min(trials, key=validation)["speed"]
    return [one for one in done if (one["name"], one["speed"]) == (name, speed)
            and one["seed"] != TUNING]  # fmt: skip


def lines_of(done: Sequence[dict[str, Any]]) -> list[list[str]]:
    """A line for each cell."""
    lines = []
    for name in dict.fromkeys(one["name"] for one in done):
        models = chosen(done, name)
        if not models:
            continue
        late = [[p for p in m["curve"] if 2 * p["iteration"] > m["curve"][-1]["iteration"]]
                for m in models if m["curve"]]  # fmt: skip
        whole = [m for m in models if "nll" in m]
        walkers = [p["error"] for points in late for p in points]
        ess = [p["ess"] for points in late for p in points]
        lines.append([
            name, f"{models[0]['speed']:g}", str(len(models)), _mean(walkers), _worst(walkers),
            _mean(ess, 2), _mean([m["error"] for m in whole]), _worst([m["error"] for m in whole]),
            _mean([m["sure"] for m in whole], 2),
            _mean([m["nll"]["validation"] for m in whole], 2),
            _mean([m["nll"]["test"] for m in whole], 2),
            _mean([m["nll"]["test"] - m["own"] for m in whole if m.get("own") is not None], 2),
            _worst([m["within"] for m in whole], 2), str(sum(len(m["alarms"]) for m in whole)),
            str(len(models) - len(whole)), _mean([m["seconds"] for m in models], 0),
        ])  # fmt: skip
    return lines


EFFECT = ("start", "steps by", "walkers", "model", "validation NLL, nats")


def effects(done: Sequence[dict[str, Any]]) -> list[list[str]]:
    """What weights change, with all else equal: differences, paired by the seed."""
    found = []
    for start in ("noise", "base", "data"):
        for how in ("learning rate", "trust region"):
            names = [f"{kind}, {how}, from {start}" for kind in ("weights", "PCD")]
            if not all(any(one["name"] == name for one in done) for name in names):
                continue
            on, off = ({one["seed"]: one for one in chosen(done, name)} for name in names)
            both = [seed for seed in on if seed in off]
            values = [[f(on[s]) - f(off[s]) for s in both] for f in (_late, _error, validation)]
            found.append([start, how, *(
                _paired(own, digits) for own, digits in zip(values, (3, 3, 2), strict=True)
            )])  # fmt: skip
    return found


def _late(one: dict[str, Any]) -> float:
    """The mean error of the walkers' proportions over the second half of a training."""
    late = [p["error"] for p in one["curve"] if 2 * p["iteration"] > one["curve"][-1]["iteration"]]
    return sum(late) / len(late) if late else math.nan


def _error(one: dict[str, Any]) -> float:
    return float(one.get("error", math.nan))


def _paired(values: Sequence[float], digits: int) -> str:
    """A mean and its standard error over the seeds."""
    values = [value for value in values if math.isfinite(value)]
    if len(values) < 2:
        return ""
    mean = sum(values) / len(values)
    spread = math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1) / len(values))
    return f"{mean:+.{digits}f} ± {spread:.{digits}f}"


def _mean(values: Sequence[float], digits: int = 3) -> str:
    return f"{sum(values) / len(values):.{digits}f}" if values else ""


def _worst(values: Sequence[float], digits: int = 3) -> str:
    return f"{max(values):.{digits}f}" if values else ""


def show(done: Sequence[dict[str, Any]]) -> None:
    """Print the table."""
    table("Errors of proportions, NLL in nats an image, means of the seeds", HEADS, lines_of(done))


def _draw(ax: Axes, models: Sequence[dict[str, Any]]) -> None:
    """Proportions of walkers along the training, a line for each class and seed."""
    for model in models:
        at = [point["iteration"] for point in model["curve"]]
        for k, colour in enumerate(COLOURS):
            ax.plot(at, [p["masses"][k] for p in model["curve"]], color=colour, lw=0.9, alpha=0.8)
            own = model["models"]
            seen = [p["iteration"] for p in own], [p["masses"][k] for p in own]
            ax.plot(*seen, "o", color=colour, ms=3)


def main(out: Path = RESULTS / "proportions.png", page: bool = True) -> None:
    """Print the tables, write them into the page, and draw the figure.

    Args:
        out: PNG file.
        page: whether to write the tables into docs/results/proportions.md.
    """
    done = recorded("proportions") or []
    show(done)
    table("Weights less PCD, paired by seed", EFFECT, effects(done))
    if page:
        write_table(PAGE, HEADS, lines_of(done))
        write_table(PAGE, EFFECT, effects(done), "effect")
    for study in ("large", "fashion", "teacher"):
        own = recorded(f"proportions_{study}") or []
        show(own)
        if page and own:
            write_table(PAGE, HEADS, lines_of(own), study)
    names = [name for name in dict.fromkeys(one["name"] for one in done) if chosen(done, name)]
    columns = 2
    figure, axes = plt.subplots(
        -(-len(names) // columns), columns, figsize=(9.6, 1.9 * -(-len(names) // columns)),
        sharex=True, sharey=True, squeeze=False,
    )  # fmt: skip
    for ax in axes.flat[len(names) :]:
        ax.axis("off")
    for name, ax in zip(names, axes.flat, strict=False):
        _draw(ax, chosen(done, name))
        for truth, colour, own in zip(np.array([4, 2, 1]) / 7, COLOURS, CLASSES, strict=True):
            ax.axhline(truth, color=colour, ls="--", lw=0.8)
            ax.text(1.0, truth, f" {own}", color=colour, fontsize=SMALL, va="center",
                    transform=ax.get_yaxis_transform())  # fmt: skip
        ax.set_title(name, fontsize=SMALL)
        ax.set_ylim(0, 1)
    figure.supxlabel("iteration", fontsize=NORMAL)
    figure.supylabel("proportion", fontsize=NORMAL)
    figure.suptitle(
        "Proportions of the classes: walkers (lines, one a seed), models (dots), truth (dashes)",
        fontsize=NORMAL,
    )
    figure.tight_layout()
    figure.savefig(out, dpi=110, facecolor="white")
    plt.close(figure)
    print(out)


if __name__ == "__main__":
    tyro.cli(main)
