"""Show what is recorded of the comparison of tables, and write it into docs/results/tables.md.

python -m experiments tables.report [--no-page]
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

import tyro
from torch import Tensor

from experiments.common import table, write_table
from experiments.tables.records import Records
from experiments.tables.sets import SETS
from experiments.tables.standing import OURS, PEERS, Results, best_peer, standing, summary

__all__ = ["lines_of", "main"]

METHODS = (*OURS, *PEERS)
HEADS = ("table", "split", *METHODS, "chosen peer", "noneq ahead")


def lines_of(results: Results, rows: Mapping[str, Tensor]) -> list[tuple[str, ...]]:
    """One line for each table and split: test NLL of each method, and how noneq stands."""
    lines = []
    for name in SETS:
        splits = sorted({int(k.split(" | ")[1]) for k in results if k.startswith(f"{name} | ")})
        for split in splits:
            found = [results.get(f"{name} | {split} | {m}") for m in METHODS]
            peer, gap = best_peer(results, name, split), standing(results, rows, name, split)
            ahead = "" if gap is None else f"{gap[0]:+.2f} ± {gap[1]:.2f}"
            lines.append((name, str(split), *map(_number, found), peer or "", ahead))
    return lines


def _number(one: Mapping[str, Any] | None) -> str:
    if one is None:
        return ""
    alarms = "!" * len(one.get("alarms", ()))
    return "-" if one["test"] is None else f"{one['test']:.2f}{alarms}"


def seconds_of(results: Results) -> tuple[str, ...]:
    """The line of processor seconds: the median and the most of each method's fits."""
    cells = []
    for method in METHODS:
        own = [one["seconds"] for key, one in results.items() if key.endswith(f" | {method}")]
        cells.append(f"{statistics.median(own):.0f} ({max(own):.0f})" if own else "")
    return ("seconds", "", *cells, "", "")


def main(page: bool = True) -> None:
    """Print the table; with ``page``, put it between the marks of docs/results/tables.md."""
    records = Records()
    results, rows = records.read(), records.rows()
    lines = lines_of(results, rows)
    table("test NLL, nats a row", HEADS, [*lines, seconds_of(results)])
    print(*summary(results, rows), sep="\n")
    if page:
        write_table("tables.md", HEADS, [*lines, seconds_of(results)])


if __name__ == "__main__":
    tyro.cli(main)
