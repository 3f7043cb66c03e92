"""Likelihoods of small tables: noneq's default beside a Gaussian mixture and a kernel density.

    python -m experiments tables [--splits 3]

The tables are scikit-learn's own. Every method has the same rows, split at random (the seed of the
split is the seed of the training), and the same noise where the values of a table are discrete.
Each chooses on the validation rows: noneq its base, the end of the training and whether there is
anything to learn beyond the base; the mixture its number of components and its ridge; the kernel
density its bandwidth. The test rows are read once. Differences are paired by row.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import torch
import tyro
from sklearn import datasets
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity
from torch import Tensor

import noneq
from experiments.common import record, table
from noneq.data import DataSet, load
from noneq.likelihood.score import grouped_stderr, mean_energy, noise_draws
from noneq.random import add_noise
from noneq.run import choose, supervise
from noneq.run.coordinates import choose_coordinates
from noneq.run.evaluation import evaluate_run

__all__ = ["main"]

TABLES: dict[str, Callable[[], Any]] = {
    "wine": datasets.load_wine,
    "breast cancer": datasets.load_breast_cancer,
    "diabetes": datasets.load_diabetes,
}
COMPONENTS = (1, 2, 3, 5, 8, 12, 20)
RIDGES = (1e-6, 1e-3, 1e-2, 3e-2, 1e-1, 0.3)
BANDWIDTHS = np.geomspace(0.05, 2.0, 25)


def loaded(name: str, seed: int) -> DataSet:
    """The rows of a table, split at random."""
    found = TABLES[name]()
    columns = dict(zip(map(str, found.feature_names), found.data.T, strict=True))
    return load(pa.table(columns), seed=seed)


def by_noneq(data: DataSet, seed: int) -> dict[str, Any]:
    """NLL of each test row by noneq's default recipe, and by the base that it chose."""
    start = time.process_time()
    recipe = choose(data.shape, len(data.train), data.kind, discrete=data.discrete)
    recipe, data, _ = choose_coordinates(recipe, data, seed)
    session = noneq.Session(recipe, data.train, seed, validation=data.validation)
    with tempfile.TemporaryDirectory() as folder:
        run = noneq.Run.create(f"{folder}/r", data, session, seed=seed)
        list(supervise(run, session))
        trained = time.process_time() - start
        verdict = evaluate_run(run, data)
        energy, _ = run.model()
    base: Any = energy.base
    noise, volume = recipe.train.noise, data.scaling.log_volume(data.test)
    return {
        "test": mean_energy(energy, data.test, noise=noise) + verdict.log_z - volume,
        "base": mean_energy(base, data.test, noise=noise) + base.log_z() - volume,
        "margins": data.scaling.margins is not None,
        "validation": verdict.nll["validation"].value,
        "alarms": list(verdict.alarms),
        "within": verdict.within,
        "kept": verdict.kept,
        "model": [recipe.model.base, recipe.model.components, recipe.model.ridge],
        "iterations": session.iteration,
        "noise": noise,
        "seconds": trained,
        "seconds with log Z": time.process_time() - start,
    }


def by_peers(data: DataSet, noise: float) -> dict[str, dict[str, Any]]:
    """The same by a Gaussian mixture and by a kernel density of scikit-learn."""
    draws = noise_draws(len(data.train)) if noise else 1
    rng = torch.Generator().manual_seed(1)
    rows = add_noise(data.train.repeat(draws, 1), noise, rng).double().numpy()

    def scored(model: Any, x: Tensor) -> Tensor:
        return mean_energy(
            lambda y: -torch.from_numpy(model.score_samples(y.double().numpy())), x, noise=noise
        )

    def best(models: list[Callable[[], Any]]) -> dict[str, Any]:
        start, kept = time.process_time(), None
        for make in models:
            try:
                fitted = make().fit(rows)
                nll = float(scored(fitted, data.validation).mean())
            except ValueError:
                continue
            if kept is None or nll < kept[0]:
                kept = nll, fitted
        assert kept is not None
        return {
            "validation": kept[0],
            "test": scored(kept[1], data.test),
            "model": str(kept[1]),
            "seconds": time.process_time() - start,
        }

    mixtures = [
        lambda k=k, r=r: GaussianMixture(k, reg_covar=r, random_state=0, max_iter=60)
        for k in COMPONENTS
        for r in RIDGES
        if 8 * k <= len(data.train)
    ]
    kernels = [lambda b=b: KernelDensity(bandwidth=b) for b in BANDWIDTHS]
    return {"Gaussian mixture": best(mixtures), "kernel density": best(kernels)}


def main(splits: int = 3) -> None:
    """Train everything, print the table and record it.

    Arguments:
        splits: number of random splits of each table.
    """
    lines, found = [], {}
    for name in TABLES:
        own: list[dict[str, Any]] = []
        for seed in range(splits):
            data = loaded(name, seed)
            ours = by_noneq(data, seed)
            methods = {"noneq": ours, **by_peers(data, ours["noise"])}
            peer = min(list(methods)[1:], key=lambda m: methods[m]["validation"])
            gap = ours["test"] - methods[peer]["test"]
            own.append(
                {
                    **{m: _plain(values) for m, values in methods.items()},
                    "peer": peer,
                    "ahead": [-float(gap.mean()), grouped_stderr(gap, data.test)],
                }
            )
            lines.append(_line(name, seed, own[-1]))
            record("tables", {**found, name: own})
        found[name] = own
    heads = ("table", "split", "noneq", "its base", "mixture", "kernel", "ahead", "within", "s")
    table("test NLL, nats a row", heads, lines)


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {
        key: float(value.mean()) if isinstance(value, Tensor) else value
        for key, value in values.items()
    }


def _line(name: str, seed: int, one: dict[str, Any]) -> tuple[str, ...]:
    ours, (gain, error) = one["noneq"], one["ahead"]
    marks = "!" * len(ours["alarms"])
    numbers = (
        ours["test"], ours["base"], one["Gaussian mixture"]["test"], one["kernel density"]["test"],
    )  # fmt: skip
    assert math.isfinite(gain)
    return (
        name, str(seed), *(f"{x:.2f}" for x in numbers), f"{gain:+.2f} ± {error:.2f}",
        f"{ours['within']:.2f}{marks}", f"{ours['seconds']:.0f}",
    )  # fmt: skip


if __name__ == "__main__":
    tyro.cli(main)
