"""Five densities in the plane by score matching, PCD and weighted likelihood, beside the truth.

All three train the same network on a Gaussian base, by Adam, with as many evaluations (but for
held-out walkers and renewals of the last way) and as many trials of their speed: the learning
rate of score matching and of persistent contrastive divergence (PCD), which has no weights, no
trust region, and walkers that start at the data; and for weighted likelihood, whose walkers
start at the base, tau, the size of the trust region. The validation rows choose the speed, on a
seed of its own; then come three seeds. Z is a sum over a grid, for all three, so that none is
judged by its own log Z; that of the weighted walkers is compared with it.

    python -m experiments planar.study              an hour on one core; a killed run goes on
    python -m experiments planar.study --reduced    one density, few iterations; writes nothing
    python -m experiments planar.picture            the figure, from the record
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import torch
import tyro
from torch import Tensor, nn

from experiments.common import LIKELIHOOD_ALONE, RESULTS, record, recorded, table, write_table
from experiments.planar.sets import SETS, Planar
from noneq import Session
from noneq.likelihood.score import energy_of
from noneq.run import Recipe, choose

__all__ = ["REACH", "SIDE", "SPEEDS", "chosen", "main"]

ROWS, VALIDATION = 5_000, 2_000
ITERATIONS, MOVES, WALKERS, BATCH = 1_500, 4, 512, 512
NETWORK: dict[str, Any] = {"width": 128, "depth": 3, "weight_decay": 0.0}
SPEEDS = {
    "score matching": (3e-3, 1e-2, 3e-2),
    "PCD": (1e-3, 3e-3, 1e-2),
    "weighted": (0.005, 0.02, 0.08),
}
"""Ways of training, and the learning rates, or sizes tau, that are tried."""
TUNING = 100  # seed of the trials
REDUCED = 20  # iterations of the short form
PAGE = "planar.md"
HEADS = ("density", "trained by", "speed", "KL, mean", "worst", "masses, mean", "worst",
         "log Z, worst error", "s")  # fmt: skip
REACH, SIDE = 4.8, 384
"""The grid covers [-4.8, 4.8]^2 with 384 points along each side, eight of them in each 0.2."""


def recipe_of(way: str, speed: float, iterations: int) -> Recipe:
    """All settings of one training.

    An iteration evaluates the network 4 + 1 times at 512 walkers and once at 512 rows; one of
    score matching three times at 512 rows, so that it has twice as many.
    """
    if way == "score matching":
        changes = {
            "model": "interpolant",
            "lr": speed,
            "iterations": 2 * iterations,
            "noise": 0.02,
        }
        return choose((2,), ROWS, "table", batch=BATCH, **NETWORK, **changes)
    pcd = {"weighted": False, "start": "data", "tau": None, "renew": None, "lr": speed}
    own: dict[str, Any] = pcd if way == "PCD" else {"held_out": 128, "tau": speed}
    return choose(
        (2,), ROWS, "table", base="full", walkers=WALKERS, moves=MOVES, batch=BATCH,
        iterations=iterations, refresh=False, dropout=0.0, **LIKELIHOOD_ALONE, **NETWORK, **own,
    )  # fmt: skip


def grid() -> Tensor:
    """The middles (SIDE^2, 2) of the grid's cells."""
    middle = (torch.arange(SIDE) + 0.5) * (2 * REACH / SIDE) - REACH
    return torch.cartesian_prod(middle, middle)


def on_grid(energy: nn.Module) -> tuple[Tensor, float]:
    """Logarithm of the model's density at each point of the grid, and log Z by the sum."""
    u = energy_of(energy, grid()).double()
    log_z = float((-u).logsumexp(0)) + 2 * math.log(2 * REACH / SIDE)
    return -u - log_z, log_z


def trained(way: str, speed: float, rows: Tensor, seed: int, iterations: int) -> Session:
    """Train a model to the end, also where a running NLL would tell that it diverges."""
    session = Session(recipe_of(way, speed, iterations), rows, seed)
    session.monitor.margin = math.inf
    for _ in session:
        pass
    return session


def judged(truth: Planar, log_q: Tensor) -> dict[str, float]:
    """Divergence from the truth, and the error of the masses, of a model on the grid.

    ``kl`` is ``KL(truth || model)`` in nats; ``masses`` is half the sum of the absolute errors of
    the parts' masses, where each point belongs to the part that is likeliest there.
    """
    x, cell = grid(), (2 * REACH / SIDE) ** 2
    log_p = truth.log_density(x)
    p = log_p.exp() * cell
    inside = p > 0
    kl = float((p * (log_p - log_q))[inside].sum())
    part = truth.parts(x)
    q = torch.where(log_p > -math.inf, log_q.exp() * cell, 0.0)
    own = [torch.zeros(len(truth.masses)).double().index_add_(0, part, w) for w in (p, q)]
    shares = [one / one.sum() for one in own]
    return {"kl": kl, "masses": float((shares[0] - shares[1]).abs().sum() / 2)}


def run(way: str, name: str, speed: float, seed: int, iterations: int) -> dict[str, Any]:
    """Train and judge one model; one that diverges is infinitely far from the truth."""
    truth, began = SETS[name], time.process_time()
    rng = torch.Generator().manual_seed(1_000 + seed)
    rows, held = truth.draw(ROWS, rng), truth.draw(VALIDATION, rng)
    about = {"set": name, "way": way, "speed": speed, "seed": seed}
    nothing = {"kl": math.inf, "masses": math.nan, "validation": math.inf}
    try:
        session = trained(way, speed, rows, seed, iterations)
    except FloatingPointError as error:
        return {**about, **nothing, "failed": str(error), "seconds": time.process_time() - began}
    log_q, log_z = on_grid(session.average)
    found = about | judged(truth, log_q)
    found["validation"] = float(energy_of(session.average, held).double().mean()) + log_z
    found["seconds"] = time.process_time() - began
    if way == "weighted":
        state: Any = session.trained
        walkers = state.held_out.reweight(session.average)
        found["log_z_error"] = walkers.log_z.value - log_z
        found["log_z_stderr"] = walkers.log_z.stderr
        found["ess"] = float(walkers.ess)
    if seed == 0:  # for the picture
        state = session.trained
        walkers = getattr(state, "walkers", None)
        found["picture"] = {"log_q": log_q.float().numpy(), "rows": rows.numpy()}
        if walkers is not None:
            walkers = walkers.reweight(session.average)
            weights = walkers.p if way == "weighted" else torch.ones(len(walkers.x))
            found["picture"] |= {"x": walkers.x.numpy(), "w": weights.numpy()}
    return found


def main(reduced: bool = False, seeds: int = 3) -> None:
    """Choose each speed, train with three seeds, print, record, and write the page's table.

    Args:
        reduced: one density, one seed, 20 iterations, no record.
        seeds: models of each way and density.
    """
    torch.set_num_threads(1)
    names = ["eight Gaussians"] if reduced else list(SETS)
    done: list[dict[str, Any]] = [] if reduced else recorded("planar") or []
    for name in names:
        for way, speeds in SPEEDS.items():
            trials = [_found(done, way, name, speed, TUNING, reduced) for speed in speeds]
            best = min(trials, key=lambda trial: _number(trial["validation"]))["speed"]
            for seed in range(1 if reduced else seeds):
                _found(done, way, name, best, seed, reduced)
    columns, lines = HEADS, lines_of(done)
    table("Distance of models from the truth, mean and worst of the seeds", columns, lines)
    if not reduced:
        write_table(PAGE, columns, lines)


def _found(
    done: list[dict[str, Any]], way: str, name: str, speed: float, seed: int, reduced: bool
) -> dict[str, Any]:
    """One model's distance from the truth: what is recorded, or train it and record it."""
    key = {"set": name, "way": way, "speed": speed, "seed": seed}
    for one in done:
        if key.items() <= one.items():
            return one
    one = run(way, name, speed, seed, REDUCED if reduced else ITERATIONS)
    picture = one.pop("picture", {})
    done.append(one)
    if not reduced:
        _keep(RESULTS / "planar.npz", f"{name} | {way}", picture)
        record("planar", done)
    return one


def _keep(path: Any, name: str, arrays: dict[str, Any]) -> None:
    """Add arrays to the file of the picture."""
    found = dict(np.load(path)) if path.exists() else {}
    for key, value in arrays.items():
        kept = value
        if key == "log_q":  # a ninth of the points is enough for a picture
            kept = value.reshape(SIDE, SIDE)[1::3, 1::3].astype(np.float16)
        elif key in ("rows", "x"):
            kept = value[:2000].astype(np.float16)
        found[f"{name} | {key}"] = kept
    np.savez_compressed(path, **found)


def chosen(done: list[dict[str, Any]], name: str, way: str) -> list[dict[str, Any]]:
    """The models of a way and density at the speed that the validation rows chose."""
    mine = [one for one in done if (one["set"], one["way"]) == (name, way)]
    trials = [one for one in mine if one["seed"] == TUNING and one["speed"] in SPEEDS[way]]
    best = min(trials, key=lambda one: _number(one["validation"]))["speed"]
    return [one for one in mine if one["seed"] < TUNING and one["speed"] == best]


def lines_of(done: list[dict[str, Any]]) -> list[list[str]]:
    """Mean and worst seed of every way and density, a line for each."""
    lines = []
    for name in dict.fromkeys(one["set"] for one in done):
        for way in SPEEDS:
            mine = chosen(done, name, way)
            kl, masses = ([_number(one[key]) for one in mine] for key in ("kl", "masses"))
            errors = [abs(one["log_z_error"]) for one in mine if "log_z_error" in one]
            lines.append([
                name, way, f"{mine[0]['speed']:g}", f"{sum(kl) / len(kl):.3f}", f"{max(kl):.3f}",
                f"{sum(masses) / len(masses):.3f}", f"{max(masses):.3f}",
                f"{max(errors):.3f}" if errors else "",
                f"{sum(one['seconds'] for one in mine) / len(mine):.0f}",
            ])  # fmt: skip
    return lines


def _number(value: float | None) -> float:
    """A recorded number; infinite where a model diverged."""
    return math.inf if value is None else value


if __name__ == "__main__":
    tyro.cli(main)
