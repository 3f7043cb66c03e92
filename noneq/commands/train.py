"""``noneq train``."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch

from noneq.commands.closing import close
from noneq.console import say, training_bar
from noneq.data import DataSet, load
from noneq.devices import usable
from noneq.guard import interrupts
from noneq.recipe import choose
from noneq.run import RolledBack, Run
from noneq.session import Session
from noneq.training import Record

__all__ = ["train"]

Mode = Literal["new", "overwrite", "resume"]


def train(
    source: str,
    out: Path | None,
    chosen: Mapping[str, Any],
    changes: Mapping[str, Any],
    *,
    seed: int,
    device: str,
    mode: Mode,
    every: float,
) -> int:
    """``noneq train``; returns the exit code."""
    if not source and out is None:
        raise ValueError("noneq train DATA: 'digits', or a file of rows (noneq train --help)")
    folder = out or Path("runs") / Path(source).stem
    if mode == "resume":
        run = Run(folder)
        data = run.data(source)
    else:
        data = load(source, **chosen)
        recipe = choose(data.shape, len(data.train), data.kind, discrete=data.discrete, **changes)
        run = Run.create(
            folder,
            data,
            recipe,
            seed=seed,
            device=usable(device),
            overwrite=mode == "overwrite",
            **chosen,
        )
        data = data.to(run.device)
    with run.locked():
        if mode == "resume":
            run.extend(changes)
        _introduce(run, data)
        stopped = _train(run, data, resume=mode == "resume", every=every)
        if stopped:
            return 128 + stopped
        close(run, data)
    return 0


def _introduce(run: Run, data: DataSet) -> None:
    """Every choice, before anything happens."""
    say(f"{data.source}: {data.summary()}")
    say(f"run folder {run.folder}, {run.device}, seed {run.seed}; the recipe (all are options):")
    choices = [
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in run.recipe.plain().items()
    ]
    for line in textwrap.wrap(", ".join(choices), 96):
        say(f"  {line}", style="dim")


def _train(run: Run, data: DataSet, *, resume: bool, every: float) -> int:
    """Train to the end of the budget; returns the signal that came in between, or 0."""
    if run.recipe.threads:
        torch.set_num_threads(run.recipe.threads)
    session = Session(run.recipe, data.train, run.seed)
    if resume:
        run.restore(session)
        say(f"going on at iteration {session.iteration}")
    again = f"noneq train --out {run.folder} --resume"

    def noted() -> None:
        say("\nsaving after this iteration; Ctrl-C again stops at once, at the last checkpoint")

    with interrupts(noted) as interrupted, training_bar() as show:
        for event in run.train(session, stop=interrupted, every=every):
            if isinstance(event, RolledBack):
                say(f"DIVERGED {event.reason}", style="bold red")
                say(f"  back at iteration {event.iteration}, tau multiplied by {event.caution:g}")
            else:
                show(session.progress, session.seconds, _line(event, run))
    if interrupted():
        say(f"interrupted at iteration {session.iteration}; all is saved. Go on: {again}")
        return interrupted()
    say(f"trained {session.iteration} iterations in {session.seconds:.0f} s; bracketing log Z")
    say(f"  (interrupted there: noneq logz {run.folder})", style="dim")
    return 0


def _line(record: Record, run: Run) -> str:
    """What one iteration says of itself."""
    trust, walkers = record.state.trust, record.state.walkers
    parts = [f"iteration {record.iteration}"]
    if record.nll == record.nll:
        parts.append(f"NLL ~ {record.nll:.2f}")
    parts += [f"ESS {record.ess:.2f}", f"accept {record.acceptance:.2f}"]
    if trust is not None:
        parts.append(f"tau {record.cost:.3f} of {trust.tau:.3f}")
    if run.recipe.renew:
        parts.append(f"renewals {record.iteration // run.recipe.renew}")
    parts.append(f"resampled {walkers.resampled}")
    return ", ".join(parts)
