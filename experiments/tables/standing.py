"""How noneq stands among its peers, by differences of test rows: over cells, and over tables."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from experiments.tables.records import paired

__all__ = ["OURS", "PEERS", "Results", "best_peer", "own_choice", "standing", "summary"]

OURS = ("noneq", "noneq, flow")
"""Columns of noneq: the default, and the default with a flow's coordinates tried."""
PEERS = (
    "Gaussian mixture", "kernel density", "vine copula", "spline flow", "flow matching",
    "diffusion",
)  # fmt: skip
"""Columns of the peers."""
Results = Mapping[str, Mapping[str, Any]]
"""The type of what is recorded, by "table | split | method"."""
Gap = tuple[float, float]  # by how much noneq is ahead, and the error of that


def best_peer(results: Results, name: str, split: int) -> str | None:
    """The peer with the lowest validation NLL on a split; None where no peer is recorded."""
    return _best(results, name, split, PEERS)


def own_choice(results: Results, name: str, split: int) -> str | None:
    """The column of noneq with the lowest validation NLL; None where neither is recorded."""
    return _best(results, name, split, OURS)


def _best(results: Results, name: str, split: int, methods: tuple[str, ...]) -> str | None:
    found = {m: results.get(f"{name} | {split} | {m}") for m in methods}
    values = {m: one["validation"] for m, one in found.items() if one is not None}
    known = {m: v for m, v in values.items() if v is not None and math.isfinite(v)}
    return min(known, key=lambda m: known[m]) if known else None


def standing(
    results: Results, rows: Mapping[str, Tensor], name: str, split: int, own: str | None = "noneq"
) -> Gap | None:
    """By how much a column of noneq is ahead of the chosen peer, and the error, paired by row."""
    peer, ours = best_peer(results, name, split), rows.get(f"{name} | {split} | {own}")
    if peer is None or ours is None:
        return None
    return paired(ours, rows[f"{name} | {split} | {peer}"])


def summary(results: Results, rows: Mapping[str, Tensor]) -> list[str]:
    """Sentences of how noneq stands: by its default, by the better of its columns, and alarms."""
    cells = [(k.split(" | ")[0], int(k.split(" | ")[1])) for k in results if k.endswith("| noneq")]
    default = dict.fromkeys(cells, "noneq")
    better = {cell: own_choice(results, *cell) or "noneq" for cell in cells}
    ours = {
        key: one for key, one in results.items() if key.endswith(tuple(f"| {m}" for m in OURS))
    }
    losses = [paired(rows[f"{key} | base"], rows[key]) for key in ours]
    within = [one["within"] for one in ours.values() if one["within"] is not None]
    return [
        f"the default: {_told(results, rows, default)}",
        f"the better of default and flow by validation: {_told(results, rows, better)}",
        f"{len(ours)} runs of both: {sum(bool(one['alarms']) for one in ours.values())} with an "
        f"alarm, {sum(g > 2 * e for g, e in losses)} above their base by 2 errors, log Z known "
        f"within {max(within):.2f} or better",
    ]


def _told(
    results: Results, rows: Mapping[str, Tensor], chosen: Mapping[tuple[str, int], str]
) -> str:
    gaps: dict[str, list[Gap]] = {}
    lowest = 0
    for (name, split), own in chosen.items():
        if (gap := standing(results, rows, name, split, own)) is not None:
            gaps.setdefault(name, []).append(gap)
        tests = [_test(results.get(f"{name} | {split} | {m}")) for m in (own, *PEERS)]
        lowest += tests[0] < min(tests[1:])
    cells = [gap for some in gaps.values() for gap in some]
    tables = {name: _mean(some) for name, some in gaps.items()}
    return (
        f"lowest of all methods in {lowest} of {len(chosen)} cells; ahead of the chosen peer by 2 "
        f"errors in {sum(g > 2 * e for g, e in cells)}, behind in "
        f"{sum(g < -2 * e for g, e in cells)}; over the splits of a table ahead on "
        f"{sum(g > 0 for g, _ in tables.values())} of {len(tables)}, by 2 errors on "
        f"{_named(tables, 1)}; behind by 2 errors on {_named(tables, -1)}"
    )


def _test(one: Mapping[str, Any] | None) -> float:
    return math.inf if one is None or one["test"] is None else float(one["test"])


def _mean(gaps: list[Gap]) -> Gap:
    errors = math.hypot(*(error for _, error in gaps))
    return statistics.mean(gap for gap, _ in gaps), errors / len(gaps)


def _named(tables: Mapping[str, Gap], sign: int) -> str:
    found = [f"{n} ({g:+.2f} ± {e:.2f})" for n, (g, e) in tables.items() if sign * g > 2 * e]
    return f"{len(found)} ({', '.join(found)})" if found else "none"
