r"""Three synthetic tables of known density: is the likelihood that is reported the model's own?

    python -m experiments tables.known [--rows 3000] [--seeds 2]

All have no symmetry. ``ring``: a ring in the plane, of gamma distributed radius, two thirds of
its mass around one angle. ``curve``: a lognormal column, and two columns that follow it along
curves, with a spread that changes. ``bananas``: three clusters of weights .6, .3 and .1, each bent
in its own way, in four columns, and a column of categories that hang on the cluster.

Each is trained on by the default of ``noneq train``. Its log Z, which comes from annealing, is
compared with that of the same model by quadrature (in the plane and in space) and by importance
sampling; its test NLL with the true one of the same rows. A difference of log Z is that of every
NLL. What is recorded already is not done again, so that a run that was killed goes on.
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
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

import noneq
from experiments.common import COMMIT, record, recorded, table
from experiments.tables.exact import by_importance, by_quadrature, proposal
from noneq.data import DataSet, load
from noneq.run import choose, supervise
from noneq.run.evaluation import evaluate_run
from noneq.run.folder import Run
from noneq.run.scores import score
from noneq.run.starts import choose_start

__all__ = ["TABLES", "main"]

Array = NDArray[Any]
NAME = "tables_known"  # of the record
CELLS = {2: (400, 3), 3: (80, 6)}  # of quadrature, along a side, and parts of a cell
DRAWS = 2_000_000  # of importance sampling
SAMPLES = 4000  # of the model, for the box and the proposal

# -- ring: radius, and angles of two von Mises distributions
SHAPE, RATE = 60.0, 30.0
ANGLES, SHARP, MASSES = np.array([0.5, 3.5]), np.array([2.0, 6.0]), np.array([0.67, 0.33])


def ring(rows: int, rng: np.random.Generator) -> dict[str, Array]:
    """Rows of the ring."""
    k = rng.choice(2, rows, p=MASSES)
    r, angle = rng.gamma(SHAPE, 1 / RATE, rows), rng.vonmises(ANGLES[k], SHARP[k])
    return {"x": r * np.cos(angle), "y": r * np.sin(angle)}


def of_ring(values: Array) -> Array:
    """Log-density of rows of the ring."""
    x, y = values.T
    r, angle = np.hypot(x, y), np.arctan2(y, x)
    around = np.exp(SHARP * np.cos(angle[:, None] - ANGLES)) / (2 * np.pi * np.i0(SHARP))
    radius = SHAPE * math.log(RATE) - math.lgamma(SHAPE) + (SHAPE - 1) * np.log(r) - RATE * r
    return np.asarray(radius + np.log(around @ MASSES) - np.log(r))


# -- curve: a lognormal column, and what follows it
def curve(rows: int, rng: np.random.Generator) -> dict[str, Array]:
    """Rows of the curve."""
    a = 0.7 * rng.normal(size=rows)
    b = a**2 - 0.5 * a + 0.3 * rng.normal(size=rows)
    c = np.sin(2 * b) + 0.3 * np.exp(0.4 * a) * rng.normal(size=rows)
    return {"size": np.exp(a), "b": b, "c": c}


def of_curve(values: Array) -> Array:
    """Log-density of rows of the curve."""
    size, b, c = values.T
    a = np.log(size)
    middle, spread = a**2 - 0.5 * a, 0.3 * np.exp(0.4 * a)
    own = _normal(a, 0.0, 0.7) - a + _normal(b, middle, 0.3) + _normal(c, np.sin(2 * b), spread)
    return np.asarray(own)


# -- bananas: u normal with sds S of its cluster, then x_2 += C u_1^2, x_4 += C u_3, all + M
WEIGHTS = np.array([0.6, 0.3, 0.1])
S = np.array([[1.0, 0.3, 0.6, 0.4], [0.5, 0.25, 1.0, 0.3], [0.4, 0.4, 0.3, 0.2]])
C = np.array([0.7, -1.5, 2.0])
M = np.array([[0.0, 0.0, 0.0, 0.0], [3.0, 1.0, -2.0, 1.0], [-2.5, 2.5, 2.0, -1.5]])
GROUPS = np.array([[0.8, 0.15, 0.05], [0.1, 0.7, 0.2], [0.05, 0.05, 0.9]])  # P(group | cluster)


def bananas(rows: int, rng: np.random.Generator) -> dict[str, Array]:
    """Rows of the bananas."""
    k = rng.choice(3, rows, p=WEIGHTS)
    u = S[k] * rng.normal(size=(rows, 4))
    u[:, 1] += C[k] * u[:, 0] ** 2
    u[:, 3] += C[k] * u[:, 2]
    group = (rng.random(rows)[:, None] > GROUPS[k].cumsum(1)).sum(1)
    columns = dict(zip("abcd", (u + M[k]).T, strict=True))
    return {**columns, "group": np.array(["p", "q", "r"])[group]}


def of_bananas(values: Array) -> Array:
    """Log-density of rows of the bananas, with the probability of their groups."""
    found = []
    for k in range(3):
        u = values[:, :4] - M[k]
        u[:, 1] -= C[k] * u[:, 0] ** 2
        u[:, 3] -= C[k] * u[:, 2]
        p = GROUPS[k][values[:, 4].round().astype(int)]
        found.append(_normal(u, 0.0, S[k]).sum(1) + np.log(WEIGHTS[k] * p))
    return np.asarray(np.logaddexp.reduce(found))


def _normal(x: Array, mean: Array | float, sd: Array | float) -> Array:
    return np.asarray(-(((x - mean) / sd) ** 2) / 2 - np.log(sd * math.sqrt(2 * math.pi)))


Draw = Callable[[int, np.random.Generator], dict[str, Array]]
TABLES: dict[str, tuple[Draw, Callable[[Array], Array]]] = {
    "ring": (ring, of_ring),
    "curve": (curve, of_curve),
    "bananas": (bananas, of_bananas),
}
"""How rows of each table are drawn, and their log-density (M,) from values (M, D)."""


def trained(name: str, rows: int, seed: int) -> dict[str, Any]:
    """Train by the default, and compare what is reported with what is true.

    Returns:
        Numbers of a row of the table, by name.
    """
    draw, log_density = TABLES[name]
    plain = load(pa.table(draw(rows, np.random.default_rng(seed))), seed=seed)
    start = time.process_time()
    recipe = choose(plain.shape, plain.sizes[0], plain.kind, discrete=plain.discrete)
    session, data, _ = choose_start(recipe, plain, seed)
    with tempfile.TemporaryDirectory() as folder:
        run = noneq.Run.create(f"{folder}/r", data, session, seed=seed)
        list(supervise(run, session))
        trained_at = time.process_time()
        verdict = evaluate_run(run, data)
        seconds = time.process_time() - start
        own = -(score(run, data.test, data.draws).log_density + _units(plain))
        compared = _compared(run, data, seed)
    values = plain.scaling.undo(plain.test[: plain.sizes[2]]).numpy()
    truth = -torch.from_numpy(log_density(values))
    gap = own.cpu() - truth
    model = session.recipe.model
    return {
        "test": float(own.mean()),
        "true": float(truth.mean()),
        "above the true one": [float(gap.mean()), float(gap.std()) / math.sqrt(len(gap))],
        "base above it": float(gap.mean()) + verdict.gain.value,
        "kept": verdict.kept,
        "model": [model.base, model.components, data.scaling.margins is not None],
        "log Z": verdict.log_z,
        "stderr": verdict.stderr,
        "within": verdict.within,
        "forward": [verdict.forward.value, verdict.forward.stderr],
        "backward": [verdict.backward.value, verdict.backward.stderr],
        **compared,
        "alarms": list(verdict.alarms),
        "iterations": session.iteration,
        "seconds": seconds,
        "seconds of the bracket": seconds - (trained_at - start),
    }


def _units(plain: DataSet) -> Tensor:
    return plain.scaling.log_units(plain.test[: plain.sizes[2]])


def _compared(run: Run, data: DataSet, seed: int) -> dict[str, Any]:
    """Compute log Z of the model by other ways."""
    energy, _ = run.model()
    # the energy that is kept may be its base, without an attribute of this name
    base: Any = getattr(energy, "base", energy)
    rng = torch.Generator().manual_seed(seed + 100)
    drawn = torch.cat([_population(run, rng), data.train[:SAMPLES]])
    sampled = by_importance(energy, proposal(base, drawn, 12, seed), DRAWS, rng)
    found: dict[str, Any] = {"importance": [sampled.log_z, sampled.error, sampled.ess]}
    if data.shape[0] in CELLS:
        around = torch.cat([drawn, base.sample(SAMPLES, rng)])
        summed = by_quadrature(energy, around, *CELLS[data.shape[0]])
        found["quadrature"] = [summed.log_z, summed.error]
    return found


def _off(one: dict[str, Any]) -> dict[str, Any]:
    """Return a result with the exact log Z of the smaller error, and how far the reported is."""
    log_z, error = min(
        (one[how][:2] for how in ("quadrature", "importance") if how in one), key=lambda z: z[1]
    )
    off = one["log Z"] - log_z
    return {**one, "exact": [log_z, error], "off": off,
            "off in errors": off / math.hypot(one["stderr"], error)}  # fmt: skip


def _population(run: Run, rng: torch.Generator) -> Tensor:
    """Draw samples of the model from the walkers that the estimate of log Z has stored."""
    stored = load_file(str(run.folder / "population.safetensors"))
    p = (stored["log_w"] - stored["log_w"].max()).exp()
    chosen = torch.multinomial(p, SAMPLES, replacement=True, generator=rng)
    return stored["x"][chosen]


def main(rows: int = 3000, seeds: int = 2, tables: tuple[str, ...] = tuple(TABLES)) -> None:
    """Train on what is not recorded yet, print the table and record it.

    Arguments:
        rows: number of rows of each table, of which 70 % are trained on.
        seeds: number of tables of each kind, each with a run of its own seed.
        tables: names of the tables.
    """
    torch.set_num_threads(1)
    found: dict[str, Any] = recorded(NAME) or {}
    for seed in range(seeds):
        for name in tables:
            key = f"{name} | {seed}"
            if key not in found:
                found[key] = _off({**trained(name, rows, seed), "commit": COMMIT})
                record(NAME, dict(sorted(found.items())))
                print(key, found[key]["off in errors"], flush=True)
    heads = ("table", "true NLL", "noneq", "its log Z", "within", "by quadrature or draws",
             "ESS of draws", "off", "in errors", "alarms", "s")  # fmt: skip
    table("test NLL in the file's units and log Z, nats", heads, [
        (
            key, f"{one['true']:.3f}", f"{one['test']:.3f}",
            f"{one['log Z']:.5f} ± {one['stderr']:.5f}", f"{one['within']:.5f}",
            "{:.5f} ± {:.5f}".format(*one["exact"]),
            f"{one['importance'][2]:.2f}", f"{one['off']:+.5f}", f"{one['off in errors']:+.1f}",
            f"{len(one['alarms'])}", f"{one['seconds']:.0f}",
        )
        for key, one in sorted(found.items())
    ])  # fmt: skip


if __name__ == "__main__":
    tyro.cli(main)
