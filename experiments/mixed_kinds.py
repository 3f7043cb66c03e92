"""A synthetic table of mixed kinds: how far is noneq's default from the true likelihood?

    python -m experiments mixed_kinds [--rows 4000] [--seeds 2] [--iterations 400]

The columns are a group of three, a height that depends on it (or not), a lognormal size, an amount
of rain that is 0 in a quarter of the rows, and Poisson visits, that depend on the group (or not).
The density of a row, where it has one, and its probability are known, so that the mean difference
of negative log-likelihoods over test rows, paired by row, is the loss of the model. The entropy is
a sum over groups and visits, and of closed forms.
"""

from __future__ import annotations

import math
import tempfile
import time
from typing import Any

import numpy as np
import pyarrow as pa
import torch
import tyro
from numpy.typing import NDArray

import noneq
from experiments.common import record, table
from noneq.data import DataSet, load
from noneq.run import choose, supervise
from noneq.run.evaluation import evaluate_run
from noneq.run.scores import score
from noneq.run.starts import choose_start

__all__ = ["main"]

SHARES = np.array([0.5, 0.3, 0.2])
HEIGHTS = {True: np.array([160.0, 175.0, 190.0]), False: np.full(3, 170.0)}
VISITS = {True: np.array([2.0, 4.0, 8.0]), False: np.full(3, 3.0)}
Array = NDArray[Any]


def drawn(rows: int, seed: int, *, dependent: bool) -> pa.Table:
    """Rows of the table."""
    rng = np.random.default_rng(seed)
    group = rng.choice(3, rows, p=SHARES)
    dry = rng.random(rows) < 0.25
    return pa.table({
        "group": np.array(["a", "b", "c"])[group],
        "height": HEIGHTS[dependent][group] + 6 * rng.normal(size=rows),
        "size": rng.lognormal(0.0, 0.8, rows),
        "rain": np.where(dry, 0.0, rng.lognormal(1.0, 0.6, rows)),
        "visits": rng.poisson(VISITS[dependent][group]),
    })  # fmt: skip


def true_log_density(values: Array, *, dependent: bool) -> Array:
    """Log-density (M,) of rows in the file's units, and probability where values have one."""
    group, height, size, rain, visits = values.T
    k = group.round().astype(int)
    mean, rate = HEIGHTS[dependent][k], VISITS[dependent][k]
    wet = np.log(0.75) + _lognormal(np.where(rain > 0, rain, 1.0), 1.0, 0.6)
    factorials = np.array([math.lgamma(v + 1) for v in visits.round()])
    return (
        np.log(SHARES[k])
        - ((height - mean) / 6) ** 2 / 2 - math.log(6 * math.sqrt(2 * math.pi))
        + _lognormal(size, 0.0, 0.8)
        + np.where(rain > 0, wet, np.log(0.25))
        + visits * np.log(rate) - rate - factorials
    )  # fmt: skip


def _lognormal(x: Array, mean: float, sd: float) -> Array:
    normal = -(((np.log(x) - mean) / sd) ** 2) / 2 - math.log(sd * math.sqrt(2 * math.pi))
    return np.asarray(normal - np.log(x))


def entropy(*, dependent: bool) -> float:
    """Entropy of a row: of groups and visits by sums, of the other columns in closed form."""
    own = math.log(2 * math.pi * math.e) / 2
    real = own + math.log(6) + own + math.log(0.8) + 0.75 * (own + math.log(0.6) + 1.0)
    real += -0.25 * math.log(0.25) - 0.75 * math.log(0.75)
    counts = np.arange(100.0)
    factorials = np.array([math.lgamma(v + 1) for v in counts])
    total = real - float((SHARES * np.log(SHARES)).sum())
    for share, rate in zip(SHARES, VISITS[dependent], strict=True):
        log_p = counts * math.log(rate) - rate - factorials
        total -= float(share * (np.exp(log_p) * log_p).sum())
    return total


def trained(
    data: DataSet, seed: int, iterations: int | None, *, dependent: bool
) -> dict[str, Any]:
    """Train by the default recipe; losses of the model and of its base on the test rows."""
    start = time.process_time()
    changes = {} if iterations is None else {"iterations": iterations}
    recipe = choose(data.shape, data.sizes[0], data.kind, discrete=data.discrete, **changes)
    plain = data
    session, data, _ = choose_start(recipe, data, seed)
    with tempfile.TemporaryDirectory() as folder:
        run = noneq.Run.create(f"{folder}/r", data, session, seed=seed)
        list(supervise(run, session))
        verdict = evaluate_run(run, data)
        found = score(run, data.test, data.draws)
    own = session.recipe.model
    values = plain.scaling.undo(plain.test[: plain.sizes[2]])
    truth = true_log_density(values.numpy(), dependent=dependent)
    units = plain.scaling.log_units(plain.test[: plain.sizes[2]])
    loss = torch.from_numpy(truth) - (found.log_density + units)
    return {
        "dependent": dependent,
        "seed": seed,
        "entropy": entropy(dependent=dependent),
        "test": float(-(found.log_density + units).mean()),
        "true": -float(truth.mean()),
        "loss": [float(loss.mean()), float(loss.std()) / math.sqrt(len(loss))],
        "loss of the base": float(loss.mean()) + verdict.gain.value,
        "model": [own.base, own.components, own.ridge],
        "columns": data.scaling.columns,
        "alarms": list(verdict.alarms),
        "within": verdict.within,
        "iterations": session.iteration,
        "seconds": time.process_time() - start,
    }


def main(rows: int = 4000, seeds: int = 2, iterations: int | None = None) -> None:
    """Train everything, print the table and record it.

    Arguments:
        rows: number of rows of each table, of which 70 % are trained on.
        seeds: number of tables of each kind.
        iterations: the longest training; default: the recipe's. The validation rows may end it
            before.
    """
    torch.set_num_threads(1)
    found, lines = [], []
    for dependent in (False, True):
        for seed in range(seeds):
            data = load(drawn(rows, seed, dependent=dependent), seed=seed)
            found.append(one := trained(data, seed, iterations, dependent=dependent))
            lines.append((
                "dependent" if dependent else "independent", str(seed),
                f"{one['entropy']:.3f}", f"{one['true']:.3f}", f"{one['test']:.3f}",
                f"{one['loss'][0]:.3f} ± {one['loss'][1]:.3f}", f"{one['loss of the base']:.3f}",
                "!" * len(one["alarms"]), f"{one['seconds']:.0f}",
            ))  # fmt: skip
            record("mixed_kinds", found)
    heads = ("columns", "seed", "entropy", "true", "noneq", "loss", "of the base", "", "s")
    table("test NLL in the file's units, nats a row", heads, lines)


if __name__ == "__main__":
    tyro.cli(main)
