"""noneq's default recipe, as ``noneq train`` runs it."""

from __future__ import annotations

import tempfile
import time
from typing import Any

import noneq
from experiments.tables.rows import spent
from noneq.data import DataSet
from noneq.likelihood.score import mean_energy
from noneq.run import choose, supervise
from noneq.run.candidates import named
from noneq.run.evaluation import evaluate_run
from noneq.run.starts import choose_start

__all__ = ["by_noneq"]


def by_noneq(data: DataSet, seed: int, **changes: Any) -> dict[str, Any]:
    """Train by the default recipe, or by one with a few changes, and bracket log Z.

    Arguments:
        data: the data set; its validation rows choose the base and end the training.
        seed: seed of the run.
        changes: settings that differ from the defaults, e.g. ``spline_flow=True``.

    Returns:
        ``rows`` and ``base rows``, the NLL of each test row by the model and by its base, and what
        the run tells about itself.
    """
    start = time.process_time()
    recipe = choose(data.shape, len(data.train), data.kind, discrete=data.discrete, **changes)
    session, data, candidates = choose_start(recipe, data, seed)
    with tempfile.TemporaryDirectory() as folder:
        run = noneq.Run.create(f"{folder}/r", data, session, seed=seed)
        list(supervise(run, session))
        trained = spent(start)
        verdict = evaluate_run(run, data)
        energy, _ = run.model()
    base: Any = energy.base
    noise, volume = recipe.train.noise, data.scaling.log_volume(data.test)
    own = session.recipe.model
    return {
        "rows": mean_energy(energy, data.test, noise=noise) + verdict.log_z - volume,
        "base rows": mean_energy(base, data.test, noise=noise) + base.log_z() - volume,
        "validation": verdict.nll["validation"].value,
        "choice": f"{data.scaling.columns} columns, base {own.base}, {own.components} components, "
        f"ridge {own.ridge}; {session.iteration} iterations; kept: {verdict.kept}",
        "flow": [f"{named(c)}: {c.nll:.3f}" for c in candidates if c.columns == "flow"],
        "networks": [f"{named(c)}: {c.nll:.3f}" for c in candidates if c.network],
        "looks": [list(look) for look in session.validation.looks] if session.validation else [],
        "alarms": list(verdict.alarms),
        "within": verdict.within,
        "noise": noise,
        "seconds": trained,
        "seconds with scores": spent(start),
    }
