"""``noneq train``: make or resume a run (the folder of a training), train, and estimate log Z."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch

from noneq.cli.advice import is_option
from noneq.cli.console import columns, echo, tracked, training_bar
from noneq.cli.repeating import given_rows, recall
from noneq.cli.signals import interrupts
from noneq.cli.summary import echo_damage, summarise
from noneq.data import DataSet, load
from noneq.energies.checks import check_fit
from noneq.numerics import resolve_device
from noneq.run import Recipe, RolledBack, Run, Session, choose, supervise
from noneq.run.bases import NOISY, some
from noneq.run.candidates import Candidate, compared, explained
from noneq.run.choosing import applicable, with_changes
from noneq.run.events import check_tensorboard, tensorboard_events
from noneq.run.families import Family, family_of
from noneq.run.memory import check_recipe
from noneq.run.staging import check_vacant
from noneq.run.starts import choose_start
from noneq.run.validation import ended_early

__all__ = ["train"]

LARGE = 20_000_000  # bytes of a file whose reading takes so long that it is told before
Mode = Literal["new", "overwrite", "resume"]


def train(
    source: str,
    out: Path | None,
    chosen: Mapping[str, Any],
    changes: Mapping[str, Any],
    *,
    seed: int | None,
    device: str,
    mode: Mode,
    start: Literal["state", "good"],
    every: float,
    config: Path | None = None,
    events: Path | None = None,
) -> int:
    """Train a model, in a new or a resumed run, and estimate its log Z, as ``noneq train`` does.

    Arguments:
        source: name or path of the data; it may be empty if a run is resumed.
        out: folder of the training run; None: runs/NAME, named after the data.
        chosen: selection of the rows: ``classes``, ``subset`` and ``binary`` of `noneq.data.load`,
            and ``table``, a dictionary of its choices of a table's columns.
        changes: settings of the training that differ from defaults, by name, as
            `noneq.run.choose` takes them.
        seed: seed of a new run; None: 0.
        device: torch device; empty: cuda if there is one, or the device of a resumed run.
        mode: whether to make a new run, to overwrite one, or to resume one.
        start: checkpoint to resume from: ``state``, the last one, or ``good``, the last one before
            training diverged.
        every: number of seconds between checkpoints.
        config: config.json of a run whose data, settings and seed are taken, but for those that
            are given; None: there is none.
        events: folder for events of TensorBoard; None: none are written.

    Returns:
        The exit code of the program: 0 only on success.

    Raises:
        ValueError: data or settings are invalid, or differ from those of the resumed run.
    """
    asked = None
    if config is not None:
        named = bool(source or given_rows(chosen))
        before = recall(config, changes, named=named, resumed=mode == "resume")
        source, chosen, changes, asked = before.source, before.rows, before.changes, before.asked
        seed, device = before.seed if seed is None else seed, device or before.device
    if not source and (mode != "resume" or out is None):
        raise ValueError("noneq train DATA: 'digits', or a file of rows (noneq train --help)")
    if events is not None:
        check_tensorboard()
    folder = out or Path("runs") / Path(source).stem
    if mode == "resume":
        run, data = _reopened(folder, source, {**chosen, "seed": seed}, changes, device)
        session: Session | None = None
    else:
        how = {"overwrite": mode == "overwrite"}
        run, data, session = _new(folder, source, chosen, changes, asked, seed or 0, device, **how)
    with run.locked():
        if session is None:
            run.extend(changes)
            session = _session(run.recipe, data, run.seed)
            run.restore(session, start)
            if start == "good":
                run.save(session)  # replaces a damaged checkpoint
            echo(f"going on at iteration {session.iteration}")
            echo_damage(run)
        _introduce(run)
        if events is not None:
            where = events / run.folder.resolve().name
            run.metrics.mirror = tensorboard_events(where, session.iteration)
        stopped = _train(run, session, data, every)
        return 128 + stopped if stopped else summarise(run, data)


def _new(
    folder: Path,
    source: str,
    chosen: Mapping[str, Any],
    changes: Mapping[str, Any],
    asked: Recipe | None,
    seed: int,
    device: str,
    *,
    overwrite: bool,
) -> tuple[Run, DataSet, Session]:
    """Begin a new run; all of this is done before a run is replaced by one that fails."""
    check_vacant(folder, overwrite=overwrite)
    kind = changes.get("model", asked.kind if asked else "network")
    chosen = dict(chosen)
    digest = chosen.pop("digest", None)
    data = _loaded(source, chosen, family_of(kind)).to(resolve_device(device))
    if digest not in (None, data.digest):
        raise ValueError(f"{source}: has other values than the run that is repeated had")
    recipe = with_changes(asked, changes) if asked else _recipe(data, **changes)
    default = _recipe(data, model=recipe.kind)
    check_recipe(recipe, default, data.shape, data.train.device)
    session, data, bases = _begun(recipe, data, seed)
    check_fit(session.energy, data.train, noise=recipe.train.noise)
    run = Run.create(
        folder,
        data,
        session,
        seed=seed,
        device=str(data.train.device),
        overwrite=overwrite,
        bases=bases,
        asked=recipe,
        **chosen,
    )
    return run, data, session


def _reopened(
    folder: Path,
    source: str,
    chosen: Mapping[str, Any],
    changes: Mapping[str, Any],
    device: str,
) -> tuple[Run, DataSet]:
    """Open a run to resume, with its data; refuse what it has chosen already."""
    if given := given_rows(chosen):
        raise ValueError(f"--resume keeps the run's own {given[0]}: leave --{given[0]} out")
    run = Run(folder, device)
    if preset := run.config["data"].get("preset"):
        raise ValueError(
            f"{folder}: was begun by another program, with a way of training of its own (preset "
            f"{preset}): resume it there"
        )
    if run.config.get("bases") and "base" in changes:
        raise ValueError("--resume keeps the base that was chosen: leave --base out")
    try:
        data = run.data(source)
    except FileNotFoundError as error:
        how = f"noneq train FILE --out {folder} --resume"
        raise FileNotFoundError(str(error).replace("(`data`)", f"({how})")) from error
    check_recipe(with_changes(run.recipe, changes), run.recipe, data.shape, run.device)
    _describe(data)
    return run, data


def _loaded(source: str, chosen: Mapping[str, Any], family: Family) -> DataSet:
    """Read a data set, and say before what takes long to read, and after what it is."""
    path = Path(source)
    if path.is_file() and path.stat().st_size > LARGE:
        echo(f"reading {source}, {path.stat().st_size / 1e6:,.0f} MB", style="dim")
    rows = {key: value for key, value in chosen.items() if key != "table"}
    rows |= {"bits": family.binary, "labels": family.labelled}
    data = load(source, **rows, **chosen.get("table", {}))
    _describe(data)
    return data


def _recipe(data: DataSet, **changes: Any) -> Recipe:
    if data.scaling.labels is not None:
        changes = {**changes, "labels": len(data.scaling.labels.classes)}
    return choose(data.shape, data.sizes[0], data.kind, discrete=data.discrete, **changes)


def _begun(
    recipe: Recipe, data: DataSet, seed: int
) -> tuple[Session, DataSet, tuple[Candidate, ...]]:
    """Begin a new session; the validation rows choose its coordinates and its base."""
    _set_threads(recipe)
    if getattr(recipe.model, "base", "") == "chosen":
        echo("comparing bases by the validation rows", style="dim")
    try:
        return choose_start(recipe, data, seed, track=tracked)
    except KeyboardInterrupt:
        echo("interrupted before the training began: nothing is kept, and no run folder was made")
        raise


def _session(recipe: Recipe, data: DataSet, seed: int) -> Session:
    _set_threads(recipe)
    return Session(recipe, data.train, seed, validation=data.validation)


def _set_threads(recipe: Recipe) -> None:
    if recipe.budget.threads:
        torch.set_num_threads(recipe.budget.threads)


def _describe(data: DataSet) -> None:
    """Print what the data are, and the kinds of their columns."""
    echo(f"{data.source}: {data.summary()}")
    for line in textwrap.wrap(data.kinds(), columns() - 4, break_on_hyphens=False):
        echo(f"  {line}")
    kinds = data.scaling.cells.columns if data.scaling.cells else ()
    if kinds and all(column.levels for column in kinds):
        two = all(len(column.levels) == 2 for column in kinds)
        echo(
            "  all columns are categories, modelled by intervals of numbers; "
            + ("for bits, 0 and 1, " if two else "where they can be coded as bits, 0 and 1, ")
            + "`model` rbm models them as such"
        )


def _introduce(run: Run) -> None:
    """Print every choice of the recipe."""
    echo(f"run folder {run.folder}, {run.device}, seed {run.seed}; the recipe (all are options):")
    choices = [
        f"{name} {value:g}"
        if isinstance(value, float)
        else f"{name} {'off' if value is None else value}"
        for name, value in applicable(run.recipe).items()
        if is_option(name) and not (name == "seconds" and run.recipe.budget.iterations)
    ]
    for line in textwrap.wrap(", ".join(choices), columns() - 4):
        echo(f"  {line}", style="dim")
    if bases := [Candidate(**one) for one in run.config.get("bases", ())]:
        found = compared(run.recipe.model, bases, run.scaling.columns)
        for part in f"base by validation NLL: {found}".split("; "):
            for line in textwrap.wrap(part, columns() - 4, subsequent_indent="  "):
                echo(line)
        for line in textwrap.wrap(" ".join(explained(found)), columns() - 4):
            echo(f"  {line}", style="dim")
    if notes := run.family.notes(run.recipe):
        echo(notes)


def _train(run: Run, session: Session, data: DataSet, every: float) -> int:
    """Train until the budget is spent; return the signal that interrupted it, or 0."""
    train, validation = (
        float(run.scaling.log_volume(some(x, NOISY)).mean()) for x in (data.train, data.validation)
    )

    def announce() -> None:
        echo("\nsaving after this iteration; Ctrl-C again stops at once, at the last checkpoint")

    with interrupts(announce) as interrupted, training_bar() as show:
        for event in supervise(run, session, stop=interrupted, every=every):
            if isinstance(event, RolledBack):
                echo(f"DIVERGED {event.reason}", style="bold red")
                if session.ended:
                    echo("  training ends; what the validation rows have chosen is kept")
                else:
                    speed = f"speed multiplied by {event.backoff:g}"
                    echo(f"  back at iteration {event.iteration}, {speed}")
            else:
                show(
                    session.progress,
                    session.seconds,
                    session.progress_line(event, (train, validation)),
                )
    if interrupted():
        again = f"noneq train --out {run.folder} --resume"
        echo(f"interrupted at iteration {session.iteration}; all is saved. Go on: {again}")
        return interrupted()
    echo(f"trained {session.iteration} iterations in {session.seconds:.0f} s{_kept(session)}")
    return 0


def _kept(session: Session) -> str:
    """Say which parameters the validation rows chose, and whether they ended the training."""
    if session.validation is None:
        return ""
    early = ended_early(session.recipe, session.state_dict())
    ended = ", ended by the validation rows" if early else ""
    best = session.validation.best
    if not best.iteration:
        return f"{ended}; kept: the base"
    kept = f"{ended}; kept: the average at iteration {best.iteration}"
    if best.factor == 1:
        return kept
    return f"{kept}, with {best.factor:g} of the network's energy, as the validation rows chose"
