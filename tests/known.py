"""A small run whose model is known in closed form, for the tests of what is done with runs."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import torch

from noneq import Run, Session
from noneq.data import load
from noneq.run import checkpoint, choose
from noneq.run.families import family_of

SMALL = {
    "base": "full",
    "width": 2,
    "depth": 1,
    "clusters": None,
    "walkers": 64,
    "held_out": 16,
    "moves": 2,
    "renew": None,
    "batch": 32,
    "bracket": {"walkers": 64, "temperatures": 20, "equilibrate": 20},
    "iterations": 8,
    "early_stopping": False,
    "score_matching": None,
    "whiten": False,
    "refresh": False,
    "background": False,
}


def options(choices=SMALL):
    """The choices as options of the command line."""
    flat = {**choices, **{f"bracket.{k}": v for k, v in choices["bracket"].items()}}
    named = {k.replace("_", "-"): v for k, v in flat.items() if k != "bracket"}
    return [f"--{name}={'off' if value is None else value}" for name, value in named.items()]


def build(recipe, x, seed=0):
    """The energy and the move that a run begins with."""
    return family_of(recipe.kind).build(recipe, x, seed)


def rows(n=300, seed=0):
    """Two lopsided modes in two columns of different units, not symmetric about anything."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2)) @ [[1.0, 0.6], [0.0, 0.5]]
    x[: n // 4] += [3.0, -2.0]
    return rng.permutation(x) * [10.0, 0.1] + [50.0, 2.0]


def begun(folder, **changes):
    """A new run in ``folder / "r"``, its data and its session; nothing is trained."""
    path = folder / "rows.npy"
    np.save(path, rows())
    data = load(path)
    recipe = choose(data.shape, len(data.train), data.kind, **{**SMALL, **changes})
    # as the command line does: how the rows were chosen
    session = Session(recipe, data.train)
    run = Run.create(folder / "r", data, session, classes=None, subset=None, binary=False)
    return run, data, session


@torch.no_grad()
def tilt(energy, a):
    """Make the network ``f(x) = a.x``, exactly: silu(z) - silu(-z) = z.

    Of a Gaussian base of mean m and covariance C the model is then one of mean ``m - C a``.
    """
    a = torch.tensor(a)
    first, _, last = energy.net.net
    first.weight.copy_(torch.stack([a, -a]))
    first.bias.zero_()
    last.weight.copy_(torch.tensor([[1.0, -1.0]]))
    last.bias.zero_()


def exact(energy, a):
    """Mean, covariance and log Z of the tilted model, float64."""
    a = torch.tensor(a).double()
    base = energy.base
    root = base.factor.mul(torch.eye(len(a))).double()  # rows L e_i
    cov = root.T @ root
    mean = base.mean.double()
    return mean - cov @ a, cov, base.log_z() + float(a @ cov @ a / 2 - a @ mean)


def differences(a, b, at=""):
    """The places where two trees differ, tensors bit by bit."""
    if isinstance(a, torch.Tensor):
        same = [t.contiguous().flatten().view(torch.uint8) for t in (a, b)]
        return [] if torch.equal(*same) else [at]
    if isinstance(a, dict):
        return [d for k in a for d in differences(a[k], b[k], f"{at}/{k}")]
    if isinstance(a, list | tuple):
        return [d for i, v in enumerate(a) for d in differences(v, b[i], f"{at}/{i}")]
    return [] if repr(a) == repr(b) else [at]


def bits(folder):
    """What a run folder holds that must not depend on interruptions: all but clocks."""
    tree = checkpoint.load(folder / "state")
    del tree["seconds"]
    found = {}

    def walk(at, value):
        if isinstance(value, torch.Tensor):
            value = hashlib.sha256(value.contiguous().numpy().tobytes()).hexdigest()
        if isinstance(value, dict):
            for key in value:
                walk(f"{at}/{key}", value[key])
        elif isinstance(value, list | tuple):
            for i, v in enumerate(value):
                walk(f"{at}/{i}", v)
        else:
            found[at] = repr(value)

    walk("", tree)
    for name in ("model.safetensors", "likelihood.json", "population.safetensors"):
        found[name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    found["metrics"] = [{k: v for k, v in line.items() if k != "seconds"} for line in lines]
    return found
