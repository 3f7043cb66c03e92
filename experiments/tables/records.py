"""The record of the comparison, which grows by one result at a time, so that it can be resumed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from experiments.common import COMMIT, RESULTS, record

__all__ = ["Records", "paired"]

NAME = "tables"


class Records:
    """Results by table, split and method, in a folder.

    ``tables.json`` has what one reads; ``tables_rows.npz`` has the NLL of every test row, for
    differences that are paired by row. Both are read again before each is written, so that another
    process that adds other results is not undone.

    Arguments:
        folder: where the files are.
    """

    def __init__(self, folder: Path = RESULTS) -> None:
        self.folder = folder

    def read(self) -> dict[str, dict[str, Any]]:
        """All results, each by ``"table | split | method"``."""
        path = self.folder / f"{NAME}.json"
        if not path.exists():
            return {}
        found: dict[str, dict[str, Any]] = json.loads(path.read_text())["data"]
        return {key: value for key, value in found.items() if key.count(" | ") == 2}

    def rows(self) -> dict[str, Tensor]:
        """The NLL of each test row, by the same keys."""
        path = self.folder / f"{NAME}_rows.npz"
        if not path.exists():
            return {}
        with np.load(path) as found:
            return {key: torch.from_numpy(found[key]).double() for key in found.files}

    def add(self, key: str, result: dict[str, Any]) -> None:
        """Write a result; its tensors go to the file of the rows, and their means stay."""
        rows, kept = self.rows(), {}
        for name, value in result.items():
            if isinstance(value, Tensor):
                own = "test" if name == "rows" else name.removesuffix(" rows")
                kept[own] = float(value.mean())
                rows[key if name == "rows" else f"{key} | {own}"] = value
            else:
                kept[name] = value
        path = self.folder / f"{NAME}_rows.npz"
        spare = path.with_name(f"{NAME}_rows.new.npz")
        np.savez_compressed(spare, **{k: v.numpy().astype(np.float32) for k, v in rows.items()})
        spare.replace(path)
        everything = self.read()
        everything[key] = {**kept, "commit": COMMIT}
        record(NAME, dict(sorted(everything.items())), self.folder)


def paired(first: Tensor, second: Tensor) -> tuple[float, float]:
    """Mean of ``second - first`` over rows and its standard error: how far the first is ahead."""
    gap = second.double() - first.double()
    return float(gap.mean()), float(gap.std() / len(gap) ** 0.5)
