"""Do whole trainings run on a device: sessions, checkpoints, run folders, estimators, commands?

Enters its checks into `benchmarks.device_checks.CHECKS`; sizes are those of the default recipe of
the digits, with fewer iterations.
"""

from __future__ import annotations

import itertools
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.device_checks import Where, check, two
from benchmarks.device_numbers import fingerprint
from benchmarks.device_report import Outcome
from noneq import Run, Session
from noneq.data import digits, load
from noneq.estimators import RBM, EnergyDensity
from noneq.run import Recipe, checkpoint, choose, samples, supervise
from noneq.run.evaluation import evaluate_run
from noneq.run.filling import fill
from noneq.run.scores import score
from noneq.training import ScoreMatchingRecord

__all__ = ["COMMANDS", "ROOT", "bracket", "environment"]

ROOT = Path(__file__).parents[1]
COMMANDS = "the commands train, sample, score, logz, report, and train --resume"
ALONE: dict[str, Any] = {"score_matching": None, "networks": 1, "early_stopping": False}


def bracket(at: Where) -> dict[str, int]:
    """Settings of a short bracket of log Z."""
    steps = at.size(100, 12)
    return {"walkers": at.size(512, 32), "temperatures": steps, "equilibrate": steps}


def recipe_of(at: Where, iterations: int, **changes: Any) -> Recipe:
    """The default recipe of the digits, with few iterations; small sizes where they are asked."""
    few: dict[str, Any] = {
        "width": 16, "walkers": 32, "held_out": 16, "moves": 2, "batch": 64, "temperatures": 12,
    }  # fmt: skip
    few = few if at.small else {"temperatures": 60}
    changes = {"bracket": bracket(at), **few, **changes}
    return choose((1, 8, 8), 1257, "image", discrete=True, iterations=iterations, **changes)


def rows_of(at: Where) -> Tensor:
    """The training rows of the digits as images, on the device."""
    return digits().train.view(-1, 1, 8, 8).to(at.device)


def learned(session: Session) -> tuple[int, Any]:
    """Train to the end: the hash of the parameters and the last record."""
    record: Any = None
    for one in session:
        record = one
    return fingerprint(session.energy), record


def places(tree: Any) -> set[str]:
    """The devices of all tensors of a dictionary of dictionaries."""
    if isinstance(tree, Tensor):
        return {tree.device.type}
    if isinstance(tree, dict):
        tree = list(tree.values())
    return set().union(*map(places, tree)) if isinstance(tree, list | tuple) else set()


@check("the digits' default recipe: score matching, then weighted likelihood, stopped by rows")
def _(at: Where) -> Outcome:
    data = load("digits").to(at.device)
    recipe = recipe_of(at, at.size(80, 8), renew=at.size(10, 2))
    session = Session(recipe, data.train, validation=data.validation)
    records = list(session)
    matched = sum(isinstance(r, ScoreMatchingRecord) for r in records)
    last: Any = records[-1]
    own = {p.device.type for p in session.model.parameters()}
    ok = own == {at.device.type} and 0 < matched < len(records) and math.isfinite(last.loss)
    text = f"{matched} + {len(records) - matched} iterations, NLL {last.nll:.1f}, {own}"
    return Outcome(ok, f"{text}; {session.progress_line(last)}")


def _resumed(at: Where, iterations: int, stop: int, **changes: Any) -> Outcome:
    """Train whole; and train to ``stop``, save, load and go on: the same bits?"""
    rows, recipe = rows_of(at), recipe_of(at, iterations, **changes)
    whole, _ = learned(Session(recipe, rows))
    session = Session(recipe, rows)
    list(itertools.islice(session, stop))
    folder = at.folder / "resumed"
    checkpoint.store(folder, session.state_dict())
    other = Session(recipe, rows)
    other.load_state_dict(checkpoint.load(folder))
    again, _ = learned(other)
    return Outcome(again == whole, f"hashes {whole}, {again}")


@check("resume in the likelihood gives the same bits")
def _(at: Where) -> Outcome:
    return _resumed(at, at.size(10, 6), at.size(5, 3), renew=4, **ALONE)


@check("resume in score matching gives the same bits")
def _(at: Where) -> Outcome:
    return _resumed(at, at.size(24, 8), 3, renew=4, early_stopping=False)


@check("resume of an RBM gives the same bits")
def _(at: Where) -> Outcome:
    rows = (digits().train > 0).float().to(at.device)
    own = {"walkers": at.size(1024, 32), "hidden": at.size(128, 8), "renew": 4}
    own["temperatures"] = at.size(100, 10)
    recipe = choose((64,), len(rows), "table", model="rbm", iterations=8, **own)
    whole, _ = learned(Session(recipe, rows))
    session = Session(recipe, rows)
    list(itertools.islice(session, 5))
    checkpoint.store(at.folder / "rbm", session.state_dict())
    other = Session(recipe, rows)
    other.load_state_dict(checkpoint.load(at.folder / "rbm"))
    return Outcome(learned(other)[0] == whole, f"hash {whole}")


@check("a checkpoint of the device goes on on the processor with its random numbers, and back")
def _(at: Where) -> Outcome:
    recipe = recipe_of(at, 8, renew=3, **ALONE)
    folder, cpu = at.folder / "travels", torch.device("cpu")
    found: list[str] = []
    for stop, device in ((3, at.device), (5, cpu), (8, at.device)):
        session = Session(recipe, rows_of(at).to(device))
        if found:  # the state of one device's generator is nothing to the other's
            saved = {**checkpoint.load(folder), "rng": session.rng.get_state()}
            session.load_state_dict(saved)
        list(itertools.islice(session, stop - session.iteration))
        state = session.state_dict()
        checkpoint.store(folder, state)
        found.append(f"{session.iteration} on {'/'.join(sorted(places(state['trained'])))}")
    return Outcome(session.iteration == 8, ", ".join(found))


@check("a run: folder, checkpoints, verdict, samples, scores, missing values")
def _(at: Where) -> Outcome:
    data = load("digits").to(at.device)
    recipe = recipe_of(at, at.size(24, 8), renew=4, **ALONE)
    session = Session(recipe, data.train)
    about = {"classes": None, "subset": None, "binary": False}
    run = Run.create(at.folder / "run", data, session, device=str(at.device), **about)
    list(supervise(run, session))
    verdict = evaluate_run(run, data, how=bracket(at))
    drawn = [samples.draw(run, 8, weighted=w)[0] for w in (False, True)]
    drawn += [samples.draw(run, 8, s, moves=2, weighted=True)[0] for s in ("chains", "ais")]
    gaps = data.test[:3].clone()
    gaps[:, :, :2] = math.nan
    filled = fill(run, gaps, 2).x
    scores = score(run, data.test[:50]).log_density
    tensors = [*drawn, filled, scores]
    ok = all(bool(t.isfinite().all()) and t.device.type == at.device.type for t in tensors)
    text = (
        f"log Z {verdict.log_z:.2f} ({verdict.stderr:.2f}), test {verdict.nll['test'].value:.2f}"
    )
    return Outcome(ok, f"{text} nats, {len(verdict.alarms)} alarms")


@check("a run of the device is scored on the processor: the same log-densities")
def _(at: Where) -> Outcome:
    rows = load("digits").test[:50]
    runs = [Run(at.folder / "run", device) for device in (str(at.device), "cpu")]
    here, there = (score(run, rows.to(run.device)).log_density.cpu() for run in runs)
    off = float((here - there).abs().max())
    return Outcome(off < 0.01, f"largest difference {off:.1e} nats")


@check("interpolants: a session, and samples of its run by steps")
def _(at: Where) -> Outcome:
    rows = two(at).sample(400, at.rng(2)).float()
    path = at.folder / "rows.npy"
    np.save(path, rows.cpu().numpy())
    data = load(path).to(at.device)
    own = {"width": 32, "noise": 0.1, "steps": 10, "iterations": at.size(60, 4)}
    recipe = choose((2,), 280, "table", model="interpolant", bracket=bracket(at), **own)
    session = Session(recipe, data.train)
    about = {"classes": None, "subset": None, "binary": False}
    run = Run.create(at.folder / "path", data, session, device=str(at.device), **about)
    list(supervise(run, session))
    verdict = evaluate_run(run, data)
    x, _ = samples.draw(run, 8, "steps")
    ok = bool(x.isfinite().all()) and x.device.type == at.device.type
    return Outcome(ok, f"log Z {verdict.log_z:.2f} ({verdict.stderr:.2f})")


@check("EnergyDensity(device=...): fit, score, sample, missing values")
def _(at: Where) -> Outcome:
    rows = two(at).sample(at.size(1500, 100), at.rng(2)).cpu().numpy()
    settings = {"bracket": bracket(at)}
    own = {"random_state": 0, "max_iter": at.size(60, 3), "n_walkers": at.size(512, 16)}
    model = EnergyDensity(device=str(at.device), settings=settings, **own).fit(rows)
    log_p = model.score_samples(rows[:200])
    exact = -two(at)(torch.from_numpy(rows[:200]).to(at.device)).cpu().numpy()
    drawn = model.sample(20), model.sample_conditional([[0.5, np.nan]], n_samples=3)
    ok = all(np.isfinite(a).all() for a in (log_p, *drawn))
    gap = f"mean log p {log_p.mean():.3f}, true {exact.mean():.3f}"
    return Outcome(ok, f"{model.base_name_}; {gap}; {model.n_iter_} iterations")


@check("estimators.RBM(device=...): fit, score, transform, sample")
def _(at: Where) -> Outcome:
    x = (digits().train > 0).numpy().astype(np.float32)[: at.size(1257, 150)]
    own = {"n_walkers": at.size(512, 32), "n_temperatures": at.size(100, 10)}
    model = RBM(at.size(64, 6), n_iter=1, device=str(at.device), random_state=0, **own).fit(x)
    found = model.score(x), model.transform(x[:5]), model.sample(5), model.gibbs(x[:5])
    return Outcome(all(np.isfinite(np.asarray(a)).all() for a in found), f"score {found[0]:.2f}")


# -- commands, in processes of their own


def environment() -> dict[str, str]:
    """The environment of a process that imports this copy of the package."""
    paths = [str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def _told(at: Where, *words: str) -> str:
    """What the program noneq prints, on the device; RuntimeError if it fails."""
    code = [sys.executable, "-m", "noneq", *words, "--device", str(at.device)]
    limit = 50 if at.device.type == "cuda" else 600
    how: dict[str, Any] = {"capture_output": True, "text": True, "timeout": limit}
    done = subprocess.run(code, cwd=at.folder, env=environment(), **how)
    if done.returncode:
        raise RuntimeError(f"noneq {' '.join(words)}: {done.stderr[-1500:]}{done.stdout[-500:]}")
    return done.stdout


@check(COMMANDS)
def _(at: Where) -> Outcome:
    bounds = {f"--bracket.{name}": str(value) for name, value in bracket(at).items()}
    short = [word for pair in bounds.items() for word in pair]
    few = "--classes 0,1 --subset 60,60 --width 8 --walkers 32 --held-out 16 --batch 64 --moves 1"
    np.save(at.folder / "some.npy", np.rint(8 * digits().test[:20].numpy() + 8).reshape(-1, 8, 8))
    more = [str(at.size(n, m)) for n, m in ((40, 4), (44, 6))]
    first = ["train", "digits", "--out", "made", "--iterations", more[0], *short]
    found = _told(at, *first, *(few.split() if at.small else []))
    _told(at, "score", "made", "some.npy", "--out", "scores.npz")
    if not at.small:
        _told(at, "train", "--out", "made", "--resume", "--iterations", more[1])
        _told(at, "logz", "made")
        _told(at, "sample", "made", "-n", "16", "--out", "drawn.npz")
        _told(at, "report", "made")
    lines = re.findall(r".*nats.*", found)
    return Outcome(True, lines[-1].strip() if lines else found[-200:])
