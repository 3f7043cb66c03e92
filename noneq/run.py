"""A run: a folder that holds a training run, from its first iteration to its verdict.

====================== ========================================================================
config.json            data, recipe, seed: all that was chosen
metrics.jsonl          one line for each logged iteration
model.safetensors      the model to keep: the moving average of the parameters
state/                 what resuming needs: walkers, optimiser, random numbers, adaptation
likelihood.json        the bracket of log Z with the mark of the parameters it belongs to, NLLs
population.safetensors the weighted walkers that the bracket came from
samples.png            samples of the model beside the data
====================== ========================================================================

Every file is replaced in one piece; nothing is ever unpickled.
"""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import torch
from filelock import FileLock, Timeout

from noneq import checkpoint
from noneq.data import DataSet, Scaling
from noneq.energies import Tilted
from noneq.kernels import MALA
from noneq.models import load_model, save_model
from noneq.recipe import Recipe
from noneq.session import Session
from noneq.training import Record
from noneq.version import __version__

__all__ = ["BusyError", "DivergedError", "RolledBack", "Run", "finite", "interrupts"]

TRIES = 3
_CHANGEABLE = ("seconds", "iterations", "z_walkers", "z_temperatures", "z_equilibrate", "threads")
_FILES = ("config.json", "metrics.jsonl", "model.safetensors", "likelihood.json")
_MORE = ("population.safetensors", "samples.png", "report.png")


class BusyError(RuntimeError):
    """Another process works in the run's folder."""


class DivergedError(RuntimeError):
    """A run diverged again and again, with ever smaller tau."""


class RolledBack(NamedTuple):
    """A run diverged and went back to its last checkpoint, with a smaller tau."""

    iteration: int
    """where it goes on"""
    caution: float
    """what tau is multiplied by from now on"""
    reason: str


class Run:
    """A run folder that exists; make one with `create`, or open one.

    Arguments:
        folder: of the run.

    Raises:
        FileNotFoundError: no run is there.
        ValueError: its config.json is damaged or of a later version.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        path = self.folder / "config.json"
        if not path.is_file():
            raise FileNotFoundError(
                f"{self.folder}: holds no run (no config.json); noneq train makes one"
            )
        try:
            self.config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            self.recipe = Recipe(**self.config["recipe"])
            self.shape: tuple[int, ...] = tuple(self.config["data"]["shape"])
            self.scaling = Scaling.from_plain(self.config["data"]["scaling"])
            self.seed, self.device = int(self.config["seed"]), torch.device(self.config["device"])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path}: damaged, or of another version of noneq ({error!r})"
            ) from error

    @classmethod
    def create(
        cls,
        folder: str | Path,
        data: DataSet,
        recipe: Recipe,
        *,
        seed: int = 0,
        device: str = "cpu",
        overwrite: bool = False,
        **about: Any,
    ) -> Run:
        """Make the folder and write its config.json.

        Arguments:
            folder: to be made; its parents, too.
            data: what will be trained on.
            recipe: every choice.
            seed: of all randomness.
            device: a torch device.
            overwrite: replace a run that is there.
            about: more for config.json, such as how the data were chosen.

        Raises:
            FileExistsError: the folder holds a run, or something else.
            OSError: it cannot be made or written to.
        """
        folder = Path(folder)
        there = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []
        if "config.json" in there and not overwrite:
            raise FileExistsError(
                f"{folder}: holds a run already; go on with it (--resume), replace it "
                "(--overwrite) or take another folder (--out)"
            )
        if there and not {"config.json", "lock"} & set(there):
            raise FileExistsError(
                f"{folder}: is not a run and not empty ({there[0]}, ...): take another (--out)"
            )
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            for path in (*map(folder.joinpath, _FILES + _MORE), *folder.glob("state/*")):
                path.unlink(missing_ok=True)
            config = {
                "noneq": __version__,
                "created": time.strftime("%Y-%m-%d %H:%M:%S"),
                "data": {**data.plain(), **about},
                "seed": seed,
                "device": device,
                "recipe": recipe.plain(),
            }
            checkpoint.save_json(folder / "config.json", config)
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

    def locked(self) -> Any:
        """A context in which no other process may change the run; raises `BusyError`."""
        return _locked(self.folder)

    # -- training

    def train(
        self, session: Session, *, stop: Callable[[], object] = lambda: False, every: float = 30.0
    ) -> Iterator[Record | RolledBack]:
        """Train until the budget is spent or ``stop()``; checkpoints, metrics, rollback.

        Arguments:
            session: new, or restored by `restore`.
            stop: asked after every iteration; when true all is saved and the iteration ends.
            every: seconds between checkpoints.

        Raises:
            DivergedError: after three rollbacks.
            OSError: the disk is full, or the folder is not writable any more; the last checkpoint
                is intact.
        """
        self._trim_metrics(session.iteration)
        if not session.iteration:
            self.save(session)
        while True:
            try:
                yield from self._go_on(session, stop, every)
                break
            except FloatingPointError as error:
                yield self._roll_back(session, error)
        self.save(session)

    def _go_on(
        self, session: Session, stop: Callable[[], object], every: float
    ) -> Iterator[Record]:
        saved = time.monotonic()
        for record in session:
            if record.iteration % 10 == 1 or record.renewed is not None or session.progress >= 1:
                self._log(_metrics(record, session))
            if time.monotonic() - saved >= every and session.watch.healthy:
                self.save(session)
                saved = time.monotonic()
            yield record
            if stop():
                return

    def _roll_back(self, session: Session, error: FloatingPointError) -> RolledBack:
        """Go back to the last checkpoint with half the tau; give up after three times."""
        iteration, caution = session.iteration, session.caution / 2
        if caution < 2.0**-TRIES:
            raise DivergedError(
                f"{self.folder}: diverged at iteration {iteration} after {TRIES} rollbacks, each "
                f"with half the tau ({error}). The last good state is kept. Try more moves "
                "(--moves), more noise (--noise) or a smaller network (--width)"
            ) from error
        spent = session.seconds  # the time is gone, whatever came of it
        self.restore(session)
        session.caution, session.seconds = caution, spent
        self._trim_metrics(session.iteration)
        back = RolledBack(session.iteration, caution, f"at iteration {iteration}: {error}")
        self._log({**back._asdict(), "rollback": True})
        self.save(session)
        return back

    def save(self, session: Session) -> None:
        """Checkpoint: the model to keep, and all that resuming needs."""
        save_model(self.folder / "model.safetensors", session.average, session.kernel)
        checkpoint.store(self.folder / "state", session.state_dict())

    def restore(self, session: Session) -> None:
        """Bring a session to the last checkpoint.

        Raises:
            FileNotFoundError: there is none.
            ValueError: it is damaged, or belongs to another model.
        """
        state = self.folder / "state"
        tree = checkpoint.load(state, self.device)
        try:
            session.load_state_dict(tree)
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            reason = str(error).splitlines()[-1].strip()
            raise ValueError(f"{state}: the checkpoint of another model ({reason})") from error

    def model(self) -> tuple[Tilted, MALA]:
        """The model to keep, and one move for its walkers."""
        return load_model(self.folder / "model.safetensors", self.recipe, self.shape, self.device)

    # -- metrics

    def metrics(self) -> list[dict[str, Any]]:
        """What metrics.jsonl holds; a last line that was cut short is left out."""
        path = self.folder / "metrics.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        found = []
        for line in lines:
            try:
                found.append(json.loads(line))
            except json.JSONDecodeError:
                break
        return found

    def _log(self, row: Mapping[str, Any]) -> None:
        with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({key: finite(value) for key, value in row.items()}) + "\n")

    def _trim_metrics(self, iteration: int) -> None:
        """Forget what was logged after the checkpoint that the run goes on from."""
        kept = [row for row in self.metrics() if row["iteration"] <= iteration]
        text = "".join(json.dumps(row) + "\n" for row in kept)
        checkpoint.write(self.folder / "metrics.jsonl", text.encode())


def _metrics(record: Record, session: Session) -> dict[str, Any]:
    """One line of metrics.jsonl."""
    state = record.state
    return {
        "iteration": record.iteration,
        "seconds": round(session.seconds, 3),
        "loss": record.loss,
        "data_energy": record.data_energy,
        "walker_energy": record.data_energy - record.loss,
        "nll": record.nll,
        "ess": record.ess,
        "survivors": state.walkers.survivors,
        "resampled": state.walkers.resampled,
        "acceptance": record.acceptance,
        "step_size": getattr(state.kernel, "h", math.nan),
        "faults": record.faults,
        "log_z": record.log_z.value,
        "log_z_held_out": record.log_z_held_out.value,
        "log_z_held_out_stderr": record.log_z_held_out.stderr,
        "scale": record.scale,
        "cost": record.cost,
        "tau": state.trust.tau if state.trust else math.nan,
        "redone": state.trust.redone if state.trust else 0,
        "renewed": record.renewed,
    }


def finite(value: Any) -> Any:
    """Itself, or None for a number that JSON lacks."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    lock = FileLock(folder / "lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise BusyError(
            f"{folder}: another process is working on this run; wait for it, or stop it"
        ) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def interrupts(say: Callable[[], None]) -> Iterator[Callable[[], int]]:
    """Note Ctrl-C and SIGTERM instead of dying, so that the run can be saved.

    Yields a function that tells the number of the signal that came, 0 if none did; ``say`` is
    called when the first does. A second one is a KeyboardInterrupt.
    """
    seen: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        if seen:
            raise KeyboardInterrupt
        seen.append(number)
        say()

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: seen[0] if seen else 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
