"""Train on CIFAR-10 in a run's folder, which is resumed where it was killed, and draw samples.

    python -m experiments cifar10.train cifar-10-batches-bin --preset ours --device cuda
    python -m experiments cifar10.train cifar-10-batches-bin --preset paper --device cuda --fid
    python -m experiments cifar10.train cifar-10-batches-bin --reduced

The folder is that of `noneq train`, and `noneq report` and `noneq logz` read it. A run of the
preset `paper` is resumed by this program only, which knows its kernel. The network's evaluations
are counted (`experiments.cifar10.cost`), and written to evaluation.json with what was made.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import tyro
from torch import Tensor, nn

from experiments.cifar10.cost import evaluations
from experiments.cifar10.fid import MissingError, frechet_inception_distance
from experiments.cifar10.presets import PRESETS, SHAPE, recipe_of, rows_of
from noneq import Run, Session
from noneq.data import DataSet, load
from noneq.numerics import resolve_device
from noneq.random import add_noise
from noneq.report.distributions import samples_figure
from noneq.run import RolledBack, supervise
from noneq.run.checkpoint import save_json
from noneq.training import TrainState

__all__ = ["Training", "begin", "main", "resume", "samples_of"]

SHOWN, SAID = 64, 100  # samples of a picture; iterations between lines
KINDS = {"classes": None, "subset": None, "binary": False}  # all rows, as they are


@dataclass(frozen=True)
class Training:
    """A run's folder, what is trained in it, and the data."""

    run: Run
    session: Session
    data: DataSet
    preset: str


def begin(
    source: Path, preset: str, out: Path, *, device: str = "cpu", seed: int = 0,
    reduced: bool = False, **changes: Any,
) -> Training:  # fmt: skip
    """Make the folder of a new run.

    Arguments:
        source: folder of CIFAR's binary files.
        preset: name of the setting.
        out: folder to make.
        device: torch device.
        seed: seed of all randomness.
        reduced: whether to take the short form.
        changes: further settings by name.

    Raises:
        ValueError: the images are not of 3 x 32 x 32 pixels.
    """
    data = _loaded(source).to(device)
    rows = rows_of(preset, data)
    recipe = recipe_of(preset, len(rows), reduced=reduced, **changes)
    session = Session(recipe, rows, seed, family=PRESETS[preset].family)
    about = {**KINDS, "preset": preset}
    run = Run.create(out, data, session, seed=seed, device=device, **about)
    return Training(run, session, data, preset)


def resume(out: Path, source: Path) -> Training:
    """Open the folder of a run, at its last checkpoint.

    Raises:
        FileNotFoundError: there is no run.
        ValueError: the data are others, or it is a run of another program.
    """
    run = Run(out)
    preset = run.config["data"].get("preset")
    if preset not in PRESETS:
        raise ValueError(f"{out}: is no run of this program; `noneq train --resume` goes on there")
    data = run.data(str(source))
    family = PRESETS[preset].family
    session = Session(run.recipe, rows_of(preset, data), run.seed, family=family)
    run.restore(session)
    return Training(run, session, data, preset)


def main(
    source: tyro.conf.Positional[Path],
    preset: Literal["paper", "ours"] = "ours",
    out: Path | None = None,
    device: str = "",
    seed: int = 0,
    every: float = 600.0,
    reduced: bool = False,
    fid: bool = False,
) -> None:
    """Train, or go on where a run was killed; then draw samples and count.

    Args:
        source: folder of CIFAR's binary files, cifar-10-batches-bin.
        preset: setting, see experiments/cifar10/presets.py.
        out: folder of the run; default: runs/cifar10_PRESET. A run that is there goes on.
        device: torch device; default: cuda if there is one.
        seed: seed of all randomness.
        every: seconds between checkpoints.
        reduced: a tiny network and five iterations.
        fid: whether to compute the Frechet inception distance from the test images.
    """
    out = out or Path("runs") / f"cifar10_{preset}{'_reduced' * reduced}"
    if (out / "config.json").exists():
        own = resume(out, source)
        print(f"{out}: preset {own.preset}, going on at iteration {own.session.iteration}")
    else:
        where = str(resolve_device(device))
        own = begin(source, preset, out, device=where, seed=seed, reduced=reduced)
        print(f"{out}: preset {preset}, new, on {where}")
    train(own, every)
    finish(own, fid=fid)


def train(own: Training, every: float) -> None:
    """Train to the end of the budget, with checkpoints."""
    with own.run.locked():
        for record in supervise(own.run, own.session, every=every):
            if isinstance(record, RolledBack):
                print(f"rolled back to iteration {record.iteration}: {record.reason}")
            elif record.iteration % SAID == 0:
                done = f"{counted(own.session):.2e} rows evaluated"
                print(f"{own.session.progress_line(record)}, {done}", flush=True)


def counted(session: Session) -> int:
    """Rows that the network has evaluated in the iterations so far."""
    state = session.trained
    trust = state.trust if isinstance(state, TrainState) else None
    return evaluations(session.recipe, session.iteration, trust.redone if trust else 0)


def samples_of(session: Session, n: int, seed: int = 0) -> Tensor:
    """Draw samples (n, *shape) of the trained energy, of equal weight, from its walkers.

    They are drawn by weight, all in turn, and some twice where weights differ.
    """
    state = session.trained
    assert isinstance(state, TrainState)
    rng = torch.Generator(session.data.device).manual_seed(seed)
    walkers = state.walkers.reweight(session.energy).resample(1.0, rng)
    order = torch.randperm(len(walkers), generator=rng, device=session.data.device)
    return walkers.x[order.repeat(-(-n // len(order)))[:n]]


def finish(own: Training, *, fid: bool) -> dict[str, Any]:
    """Draw samples, count evaluations, compute the distance if it is asked for; write them."""
    session, folder = own.session, own.run.folder
    rng = torch.Generator(session.data.device).manual_seed(1)
    noise = session.recipe.train.noise
    shown = add_noise(session.data[:SHOWN], noise, rng)
    figure = samples_figure(shown, samples_of(session, min(SHOWN, session.recipe.train.walkers)))
    figure.savefig(folder / "samples.png", dpi=110)
    found: dict[str, Any] = {
        "iterations": session.iteration,
        "seconds": session.seconds,
        "evaluations": counted(session),
        "parameters": sum(p.numel() for p in _net(session).parameters()),
    }
    print(f"{folder / 'samples.png'}: samples; {found['evaluations']:,} rows evaluated")
    if fid:
        samples = samples_of(session, session.recipe.train.walkers)
        try:
            distance = frechet_inception_distance(own.data.test, samples)
        except MissingError as error:
            print(error, file=sys.stderr)
        else:
            found |= {"fid": distance, "fid_samples": len(samples)}
            print(f"Frechet inception distance of {len(samples):,} samples: {distance:.1f}")
    save_json(folder / "evaluation.json", found)
    return found


def _net(session: Session) -> nn.Module:
    net = session.energy.net
    assert isinstance(net, nn.Module)
    return net


def _loaded(source: Path) -> DataSet:
    data = load(source)
    if data.shape != SHAPE:
        raise ValueError(f"{source}: images of shape {data.shape}, and CIFAR's have {SHAPE}")
    return data


if __name__ == "__main__":
    tyro.cli(main)
