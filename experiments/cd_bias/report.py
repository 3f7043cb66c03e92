"""Tables and figures of the bias study, from what is recorded."""

from __future__ import annotations

import contextlib
import io
import json
import math
import re
from pathlib import Path
from statistics import mean
from typing import Any

import matplotlib.pyplot as plt

from experiments.common import RESULTS, table

__all__ = ["report"]

DOCS = Path(__file__).parents[2] / "docs"
Data = dict[str, Any]
COLOURS = {
    "CD-1": "tab:gray",
    "CD-10": "silver",
    "PCD-1": "tab:red",
    "PCD-10": "tab:orange",
    "PCD-1, temperatures": "tab:purple",
    "PCD-1, checkpoints": "tab:green",
    "weighted-1": "tab:blue",
    "weighted-10": "navy",
    "weighted-1, renewed": "tab:cyan",
    "weighted-1, renewed through": "tab:olive",
}
KINDS = {"weights": "tab:blue", "fading": "tab:cyan", "exact": "black"}  # by first words


def found(part: str) -> Data | None:
    """A part's record, if there is one."""
    path = RESULTS / f"rbm_bias_{part}.json"
    return json.loads(path.read_text())["data"] if path.exists() else None


def report() -> None:
    """Print all tables, write them to rbm_bias.txt, draw the figures."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        if data := found("gradient"):
            gradients(data)
            draw_gradients(data)
        for part, title in (
            (
                "training",
                "Equal chains and sweeps: nats a fresh row lost (digits: the NLL itself)",
            ),
            ("remedy", "Where modes do not mix"),
        ):
            if data := found(part):
                runs(data, title)
                draw_runs(data, part)
    print(text.getvalue())
    (RESULTS / "rbm_bias.txt").write_text(text.getvalue())


def gradients(data: Data) -> None:
    """Mean over the course, in units of the error of as many exact samples."""
    rows, budget = [], 10
    for row in data["samplers"]:
        bias2, stderr, variance = (
            [e[key] for e in row["errors"]] for key in ("bias2", "stderr", "variance")
        )
        b, v = mean(bias2), mean(variance)
        rows.append(
            [
                row["course"],
                row["name"],
                str(row["cost"]),
                f"{b:.2f}({mean(stderr):.2f})",
                f"{max(bias2):.2f}",
                f"{v:.1f}",
                f"{b + v:.1f}",
                f"{b + v * row['cost'] / budget:.2f}",
                f"{data['rows'] / b:.0f}" if b > 3 * mean(stderr) else "none seen",
            ]
        )
    columns = [
        "course",
        "sampler",
        "sweeps",
        "bias²",
        "largest",
        "variance",
        "error, equal rows",
        "equal sweeps",
        "rows as noisy as bias",
    ]
    table("Gradient along the course, 1 = the error of 64 exact samples", columns, rows)
    law = [
        [f"PCD-{p['sweeps']}", str(t), f"{e:.2f}", f"{lin:.2f}", measured, f"{memory:.0f}"]
        for p in data["law"]
        for t, e, lin, memory, measured in zip(
            p["updates"],
            p["exact"],
            p["linear"],
            p["memory"],
            _measured(data, p["sweeps"]),
            strict=True,
        )
    ]
    columns = ["chains", "update", "exact law", "linear response", "measured", "memory, sweeps"]
    table("PCD's drift predicted (bias², far clusters of 14 bits)", columns, law[1::2])


def _measured(data: Data, sweeps: int) -> list[str]:
    row = _law_row(data, sweeps)
    return [f"{e['bias2']:.2f}({e['stderr']:.2f})" for e in row["errors"]]


def _law_row(data: Data, sweeps: int) -> Data:
    name = f"PCD-{sweeps}"
    rows = data["samplers"]
    return next(r for r in rows if r["course"] == "far 14" and r["name"] == name)


def draw_gradients(data: Data) -> None:
    """Bias along each course; predicted over measured."""
    names = list(dict.fromkeys(r["course"] for r in data["samplers"]))
    figure, axes = plt.subplots(2, 3, figsize=(13, 7), layout="constrained")
    for axis, name in zip(axes.flat, names, strict=False):
        for row in (r for r in data["samplers"] if r["course"] == name):
            bias2 = [e["bias2"] for e in row["errors"]]
            axis.plot(row["updates"], bias2, label=row["name"], color=COLOURS[row["name"]])
        axis.set_yscale("symlog", linthresh=0.1)
        axis.axhline(1, color="black", lw=0.5, ls=":")
        axis.set_title(name)
        axis.set_xlabel("update")
    axes.flat[0].set_ylabel("bias², 1 = noise of 64 exact samples")
    axes.flat[0].legend(fontsize=7, ncol=2)
    axis = axes.flat[5]
    for p, colour in zip(data["law"], ("tab:red", "tab:orange"), strict=True):
        name = f"PCD-{p['sweeps']}"
        axis.plot(p["updates"], p["exact"], color=colour, label=f"{name}, exact law")
        axis.plot(p["updates"], p["linear"], color=colour, ls="--", label="linear response")
        errors = _law_row(data, p["sweeps"])["errors"]
        axis.errorbar(
            p["updates"],
            [e["bias2"] for e in errors],
            [e["stderr"] for e in errors],
            fmt="o",
            ms=4,
            color=colour,
            label="measured",
        )
    axis.set_title("far 14: predicted and measured")
    axis.set_xlabel("update")
    axis.legend(fontsize=7)
    figure.savefig(DOCS / "rbm_bias_gradient.png", dpi=90)
    plt.close(figure)


def chosen(data: Data) -> dict[tuple[str, str], list[Data]]:
    """By set and cell: of the first seed's trials the best by validation, and the other seeds."""
    groups: dict[tuple[str, str], dict[int, Data]] = {}
    for r in data["runs"]:
        own = groups.setdefault((r["set"], r["cell"]), {})
        now = own.get(r["seed"])
        if now is None or _held(r) < _held(now):
            own[r["seed"]] = r
    return {key: list(own.values()) for key, own in groups.items()}


def _held(r: Data) -> float:
    return math.inf if r["validation"] is None else r["validation"]


def runs(data: Data, title: str) -> None:
    """One line for each set and cell."""
    rows = [
        [
            f"{name}: {cell}",
            f"{mean(r['fresh'] for r in own):.3f}",
            f"{max(r['fresh'] for r in own):.3f}",
            " ".join(f"{r['fresh']:.3f}" for r in own),
            " ".join("-" if r["last"] is None else f"{r['last']:.2f}" for r in own),
            f"{own[0]['trial']:g}",
            " ".join(str(r["stopped"]) for r in own),
            " ".join("" if r["mass"] is None else f"{r['mass']:.2f}" for r in own),
        ]
        for (name, cell), own in chosen(data).items()
    ]
    columns = ["set", "mean", "worst", "seeds", "held out, at the end", "trial", "stopped", "mass"]
    table(title, columns, rows)


def draw_runs(data: Data, part: str) -> None:
    """A dot for each seed."""
    groups = chosen(data)
    names = list(dict.fromkeys(name for name, _ in groups))
    cells = list(dict.fromkeys(cell for _, cell in groups))[::-1]
    figure, axes = plt.subplots(
        1, len(names), figsize=(4 + 3 * len(names), 0.32 * len(cells) + 1.2),
        sharey=True, layout="constrained",
    )  # fmt: skip
    for axis, name in zip(axes, names, strict=True):
        for y, cell in enumerate(cells):
            fresh = [r["fresh"] for r in groups.get((name, cell), [])]
            colour = KINDS.get(re.split("[ ,]", cell)[0], "tab:red")
            axis.plot(fresh, [y] * len(fresh), "o", color=colour)
        if name != "digits":
            axis.set_xscale("log")
        axis.set_title(name)
        axis.grid(alpha=0.3)
        axis.set_xlabel("NLL, nats" if name == "digits" else "nats lost a row")
    axes[0].set_yticks(range(len(cells)), cells)
    figure.savefig(DOCS / f"rbm_bias_{part}.png", dpi=90)
    plt.close(figure)
