"""A run: a folder that holds a training run, from its first iteration to its verdict.

====================== ========================================================================
config.json            data, recipe, seed: all that was chosen
metrics.jsonl          one line for each logged iteration
model.safetensors      the model to keep: the moving average of the parameters
state/                 what resuming needs: walkers, optimiser, random numbers, adaptation
good/                  the same, of the last good state: where a run that diverges goes back to
likelihood.json        the bracket of log Z with the mark of the parameters it belongs to, NLLs
population.safetensors the weighted walkers that the bracket came from
samples.png            samples of the model beside the data
====================== ========================================================================

Every file is replaced in one piece; nothing is ever unpickled; a checksum tells what has changed
since it was written. A run comes to be, or takes the place of another, at the moment at which its
first checkpoint is complete.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch

from noneq.data import DataSet, Scaling, load
from noneq.numerics import usable
from noneq.run import checkpoint
from noneq.run.learners import Event
from noneq.run.lock import BusyError, locked
from noneq.run.metrics import Metrics, line
from noneq.run.models import Model, Move, load_model, save_model
from noneq.run.recipe import Recipe
from noneq.run.session import Session
from noneq.run.staging import check_vacant, disk_error, staged, unsettled
from noneq.version import __version__

__all__ = ["DivergedError", "RolledBack", "Run"]

TRIES = 3
GOOD = 100  # iterations between the states that a run may go back to
_CHANGEABLE = (
    "seconds", "iterations", "z_walkers", "z_temperatures", "z_equilibrate", "z_cycled", "steps",
    "eps", "corrections", "threads",
)  # fmt: skip


class DivergedError(RuntimeError):
    """A run diverged again and again, with ever smaller tau."""


class RolledBack(NamedTuple):
    """A run diverged and went back to its last good state, with a smaller tau."""

    iteration: int
    """where it goes on"""
    caution: float
    """what tau is multiplied by from now on"""
    reason: str


class Run:
    """A run folder that exists; make one with `create`, or open one.

    Arguments:
        folder: of the run.
        device: default: the one that it was begun on.

    Raises:
        FileNotFoundError: no run is there.
        ValueError: its config.json is damaged or of a later version; no such device here.
    """

    def __init__(self, folder: str | Path, device: str = "") -> None:
        self.folder = Path(folder)
        self.metrics = Metrics(self.folder / "metrics.jsonl")
        path = self.folder / "config.json"
        if unsettled(self.folder):
            with locked(self.folder):  # which settles it
                pass
        if not path.is_file():
            raise FileNotFoundError(
                f"{self.folder}: holds no run (no config.json); noneq train makes one"
            )
        self.config: dict[str, Any] = checkpoint.load_json(path)
        try:
            self.recipe = Recipe(**self.config["recipe"])
            self.shape: tuple[int, ...] = tuple(self.config["data"]["shape"])
            self.scaling = Scaling.from_plain(self.config["data"]["scaling"])
            self.seed, begun_on = int(self.config["seed"]), str(self.config["device"])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}: of another version of noneq ({error!r})") from error
        self.device = torch.device(usable(device or begun_on))

    @classmethod
    def create(
        cls,
        folder: str | Path,
        data: DataSet,
        session: Session,
        *,
        seed: int = 0,
        device: str = "cpu",
        overwrite: bool = False,
        **about: Any,
    ) -> Run:
        """Make the folder, with the session's first checkpoint in it.

        Arguments:
            folder: to be made; its parents, too.
            data: what will be trained on.
            session: that will train, by its recipe.
            seed: of all randomness.
            device: a torch device.
            overwrite: replace a run that is there, as soon as the new one is written.
            about: more for config.json, such as how the data were chosen.

        Raises:
            FileExistsError: the folder holds a run, or something else.
            BusyError: another process is working there.
            OSError: it cannot be made or written to; what was there is as it was.
        """
        folder = Path(folder)
        config = {
            "noneq": __version__,
            "id": secrets.token_hex(8),
            "created": time.strftime("%Y-%m-%d %H:%M:%S"),
            "data": {**data.plain(), **about},
            "seed": seed,
            "device": device,
            "recipe": session.recipe.plain(),
        }
        check_vacant(folder, overwrite=overwrite)
        try:
            checkpoint.make_folder(folder)
            with locked(folder):
                check_vacant(folder, overwrite=overwrite, held=True)
                with staged(folder) as new:
                    checkpoint.save_json(new / "config.json", config)
                    _save(new, session)
                    checkpoint.store(new / "good", session.state_dict())
        except OSError as error:
            kept = "the run that is there is as it was" if overwrite else "no run was begun"
            raise disk_error(error, kept, " and give the same command again") from error
        return cls(folder)

    def extend(self, changes: Mapping[str, Any]) -> None:
        """Change the budget or the final bracket; a run keeps its other choices.

        Raises ValueError for any other choice that is not what it was.
        """
        for name, value in changes.items():
            was = getattr(self.recipe, name)
            if value != was and name not in _CHANGEABLE:
                raise ValueError(
                    f"{self.folder}: was begun with {name} {was}, and a run keeps its choices; "
                    "leave that out, or train a new run (--out)"
                )
        self.recipe = replace(self.recipe, **changes)
        self.config["recipe"] = self.recipe.plain()
        checkpoint.save_json(self.folder / "config.json", self.config)

    def data(self, source: str = "") -> DataSet:
        """The data that the run was begun with, on its device.

        Arguments:
            source: where they are now; default: where they were.

        Raises ValueError where they are not what they were.
        """
        own = self.config["data"]
        source = source or own["source"]
        chosen = {key: own[key] for key in ("classes", "subset", "binary")}
        data = load(source, **chosen, bits=self.recipe.model == "rbm")
        if data.digest != own["digest"]:
            raise ValueError(
                f"{source}: is not what {self.folder} was trained on ({own['source']}, with other "
                "values); name that, or train a new run (--out)"
            )
        return data.to(self.device)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """A context in which no other process may change the run.

        Raises BusyError where another process works on it, or has changed it since it was opened.
        """
        with locked(self.folder):
            self._check_own()
            yield

    def _check_own(self) -> None:
        """Raise BusyError unless the folder is still this run's."""
        try:
            own = checkpoint.load_json(self.folder / "config.json") == self.config
        except (OSError, ValueError):
            own = False
        if not own:
            raise BusyError(
                f"{self.folder}: was removed, replaced or changed by somebody else since this run "
                "was opened: nothing more is written there"
            )

    @property
    def bracketed(self) -> bool:
        """Whether log Z has been estimated, with alarms or without."""
        return (self.folder / "likelihood.json").exists()

    # -- training

    def train(
        self, session: Session, *, stop: Callable[[], object] = lambda: False, every: float = 30.0
    ) -> Iterator[Event | RolledBack]:
        """Train until the budget is spent or ``stop()``; checkpoints, metrics, rollback.

        Arguments:
            session: new, or restored by `restore`.
            stop: asked after every iteration; when true all is saved and the iteration ends.
            every: seconds between checkpoints.

        Raises:
            DivergedError: after three rollbacks.
            BusyError: the folder has become another run's.
            OSError: the disk is full, or the folder is not writable any more; the last checkpoint
                is intact.
        """
        try:
            checkpoint.sweep(self.folder)
            self.metrics.trim(session.iteration, session.caution)
            while True:
                try:
                    yield from self._go_on(session, stop, every)
                    break
                except FloatingPointError as error:
                    yield self._roll_back(session, error)
            self.save(session)
        except OSError as error:
            if not self.folder.is_dir():
                raise
            again = f", then noneq train --out {self.folder} --resume goes on"
            raise disk_error(error, "the last checkpoint is intact", again) from error

    def _go_on(
        self, session: Session, stop: Callable[[], object], every: float
    ) -> Iterator[Event]:
        saved = time.monotonic()
        for event in session:
            renewal = getattr(event, "renewed", None) is not None
            if event.iteration % 10 == 1 or renewal or session.progress >= 1:
                self.metrics.add(line(event, session))
            if event.iteration % GOOD == 0 and session.watch.healthy:
                self._check_own()
                checkpoint.store(self.folder / "good", session.state_dict())
            if time.monotonic() - saved >= every:
                self.save(session)
                saved = time.monotonic()
            yield event
            if stop():
                return

    def _roll_back(self, session: Session, error: FloatingPointError) -> RolledBack:
        """Go back to the last good state with half the tau; give up after three times."""
        iteration, before, spent = session.iteration, session.caution, session.seconds
        caution = before / 2
        last = caution < 2.0**-TRIES
        self.restore(session, "good")
        session.caution = before if last else caution
        session.seconds = spent  # the time is gone, whatever came of it
        self.metrics.trim(session.iteration, before)
        back = RolledBack(session.iteration, caution, f"at iteration {iteration}: {error}")
        if not last:
            self.metrics.add({**back._asdict(), "rollback": True})
        self.save(session)
        if last:
            raise DivergedError(
                f"{self.folder}: diverged at iteration {iteration} after {TRIES} rollbacks, each "
                f"with half the speed ({error}). The last good state is kept. Try {self._calmer}"
            ) from error
        return back

    @property
    def _calmer(self) -> str:
        if self.recipe.model == "interpolant":
            return (
                "a smaller learning rate (--lr), more noise (--noise) or larger batches (--batch)"
            )
        if not self.recipe.tau:  # plain steps, of the learning rate's length
            return "a trust region (--tau 0.1) or a smaller learning rate (--lr)"
        if self.recipe.model == "network":
            return "more moves (--moves), more noise (--noise) or a smaller network (--width)"
        return "more moves (--moves), more walkers (--walkers) or fewer hidden units (--hidden)"

    def save(self, session: Session) -> None:
        """Checkpoint: the model to keep, and all that resuming needs.

        Raises BusyError where the folder has become another run's.
        """
        self._check_own()
        _save(self.folder, session)

    def restore(self, session: Session, which: Literal["state", "good"] = "state") -> None:
        """Bring a session to the last checkpoint, or to the last good state.

        Raises:
            FileNotFoundError: there is none.
            ValueError: it is damaged, or belongs to another model.
        """
        begun_on = torch.device(self.config["device"])
        if self.device.type != begun_on.type:
            raise ValueError(
                f"{self.folder}: was begun on {begun_on}, whose random numbers {self.device} "
                "cannot go on with: resume it there (sample, score and logz work anywhere)"
            )
        state = self.folder / which
        try:
            tree = checkpoint.load(state)
        except (FileNotFoundError, ValueError) as error:
            raise type(error)(f"{error}; {self._way_out(which)}") from error
        try:
            session.load_state_dict(tree)
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            reason = str(error).splitlines()[-1].strip()
            raise ValueError(f"{state}: the checkpoint of another model ({reason})") from error

    def _way_out(self, which: Literal["state", "good"]) -> str:
        """Where a run goes on from whose checkpoint cannot be read."""
        other: Literal["state", "good"] = "good" if which == "state" else "state"
        again = f"noneq train --out {self.folder} --resume"
        try:
            trained = checkpoint.load(self.folder / other)["trained"]
        except (OSError, ValueError, KeyError):
            return "its other checkpoint cannot be read either: train a new run"
        iteration = trained["iteration"] if trained else 0
        if other == "good":
            return f"{again} --from good goes on from its last good state, iteration {iteration}"
        return f"{again} goes on from its last checkpoint, iteration {iteration}"

    def model(self) -> tuple[Model, Move]:
        """The model to keep, and one move for its walkers.

        Raises ValueError where its file is damaged, or of another model.
        """
        path = self.folder / "model.safetensors"
        try:
            return load_model(path, self.recipe, self.shape, self.device)
        except ValueError as error:
            again = f"noneq train --out {self.folder} --resume"
            raise ValueError(
                f"{error}; {again} writes it anew from the last checkpoint"
            ) from error


def _save(folder: Path, session: Session) -> None:
    save_model(folder / "model.safetensors", session.average, session.kernel, session.recipe)
    checkpoint.store(folder / "state", session.state_dict())
