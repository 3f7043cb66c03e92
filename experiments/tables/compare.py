"""Fit noneq and its peers to the tables, and record the likelihood of the test rows of each.

    python -m experiments tables.compare [--methods noneq] [--tables wine iris] [--again]

Every method has the same rows (`experiments.tables.sets`), split 70 / 10 / 20 at random, in the
same standardised units, and under the same draws of noise where there is noise. Each chooses on
the validation rows, and the test rows are read once. What is recorded already is not done again
without ``--again``, so that a run that was killed goes on. The results are shown by
``python -m experiments tables.report``.
"""

from __future__ import annotations

import gc
import math
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
import tyro

from experiments.tables import classical, fields, neural
from experiments.tables.ours import by_noneq
from experiments.tables.records import Records
from experiments.tables.rows import Fitted, Rows, rows_of, scored, spent
from experiments.tables.sets import SETS, loaded, splits_of
from noneq.data import DataSet

__all__ = ["FLOW", "PEERS", "main"]

PEERS: dict[str, Callable[[Rows], Fitted]] = {
    "Gaussian mixture": classical.gaussian_mixture,
    "kernel density": classical.kernel_density,
    "vine copula": classical.vine_copula,
    "spline flow": neural.spline_flow,
    "flow matching": fields.flow_matching,
    "diffusion": fields.diffusion,
}
FLOW = "noneq, flow"  # noneq with a spline flow as coordinates, which is not its default
NOISE = 0.15  # of the digits


def by_peer(method: str, data: DataSet, seconds: float, seed: int) -> dict[str, Any]:
    """Fit a peer; the test rows are read once, in the end.

    Arguments:
        method: a key of `PEERS`.
        data: the data set.
        seconds: processor time that the fit may take.
        seed: seed of the fit.

    Returns:
        ``rows``, the NLL of each test row, the validation NLL, the choice, and processor times.
    """
    rows = rows_of(data, noise=NOISE if data.kind == "image" else 0.0, seconds=seconds, seed=seed)
    start = time.process_time()
    fitted = PEERS[method](rows)
    trained = spent(start)
    validation = scored(fitted.nll, rows.validation, rows.noise)
    return {
        "rows": scored(fitted.nll, rows.test, rows.noise),
        "validation": float(validation.mean()),
        "choice": fitted.choice,
        "seconds": trained,
        "seconds with scores": spent(start),
    }


def main(
    methods: tuple[str, ...] = ("noneq", *PEERS),
    tables: tuple[str, ...] = tuple(SETS),
    splits: int = 5,
    large: int = 1,
    seconds: float = 120.0,
    again: bool = False,
) -> None:
    """Fit what is not recorded yet, the first split of every table first.

    Arguments:
        methods: noneq, "noneq, flow" (`FLOW`), and names of peers.
        tables: names of tables.
        splits: number of splits of tables of at most 1,000 rows.
        large: number of splits of larger tables.
        seconds: processor time that a peer's fit may take.
        again: fit again what is recorded.
    """
    torch.set_num_threads(1)
    records = Records()
    for split in range(splits):
        for name in tables:
            wanted = [f"{name} | {split} | {method}" for method in methods]
            if not again and all(key in records.read() for key in wanted):
                continue
            data = loaded(name, split)
            if split >= splits_of(name, data, large):
                continue
            for key, method in zip(wanted, methods, strict=True):
                if again or key not in records.read():
                    records.add(key, _result(method, data, seconds, split))
                    one = records.read()[key]
                    test = math.inf if one["test"] is None else one["test"]
                    told = f"{test:.3f}, {one['seconds']:.0f} s, {one['choice']}"
                    print(f"{key}: {told}", flush=True)
                    gc.collect()


def _result(method: str, data: DataSet, seconds: float, seed: int) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if method in ("noneq", FLOW):
            return by_noneq(data, seed, **({"spline_flow": True} if method == FLOW else {}))
        return by_peer(method, data, seconds, seed)


if __name__ == "__main__":
    tyro.cli(main)
