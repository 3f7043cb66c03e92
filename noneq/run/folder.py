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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from noneq.data import DataSet, Scaling, load
from noneq.kernels import Kernel
from noneq.numerics import resolve_device
from noneq.run import checkpoint
from noneq.run.choosing import read_recipe, with_changes
from noneq.run.families import family_of
from noneq.run.lock import BusyError, locked
from noneq.run.metrics import Metrics
from noneq.run.session import Session
from noneq.run.staging import check_vacant, disk_error, staged, unsettled
from noneq.run.storing import load_model, save_model
from noneq.version import __version__

__all__ = ["Run"]

_CHANGEABLE = ("budget.", "bracket.", "model.steps", "model.eps", "model.corrections")


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
            self.recipe = read_recipe(self.config["recipe"])
            self.family = family_of(self.recipe.kind)
            self.shape: tuple[int, ...] = tuple(self.config["data"]["shape"])
            self.scaling = Scaling.from_plain(self.config["data"]["scaling"])
            self.seed, begun_on = int(self.config["seed"]), str(self.config["device"])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}: of another version of noneq ({error!r})") from error
        self.device = torch.device(resolve_device(device or begun_on))

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
        """Change the budget, the final bracket or how samples are drawn; other choices stay.

        Arguments:
            changes: as `noneq.run.choose` takes them.

        Raises ValueError for any other choice that is not what it was.
        """
        was, now = self.recipe.plain(), with_changes(self.recipe, changes).plain()
        for section in self.recipe.sections():
            for name, value in now[section].items():
                kept = not f"{section}.{name}".startswith(_CHANGEABLE)
                if value != was[section][name] and kept:
                    raise ValueError(
                        f"{self.folder}: was begun with `{name}` {was[section][name]}, and a run "
                        "keeps its choices; leave that out, or train a new run (`out`)"
                    )
        self.recipe = with_changes(self.recipe, changes)
        self.config["recipe"] = now
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
        data = load(source, **chosen, bits=self.family.binary)
        if data.digest != own["digest"]:
            raise ValueError(
                f"{source}: is not what {self.folder} was trained on ({own['source']}, with other "
                "values); name that, or train a new run (`out`)"
            )
        return data.to(self.device)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """A context in which no other process may change the run.

        Raises BusyError where another process works on it, or has changed it since it was opened.
        """
        with locked(self.folder):
            self.check_own()
            yield

    def check_own(self) -> None:
        """Raise BusyError unless the folder is still this run's: asked before each save."""
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

    def save(self, session: Session) -> None:
        """Checkpoint: the model to keep, and all that resuming needs.

        Raises BusyError where the folder has become another run's.
        """
        self.check_own()
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
        again = f"`resume({self.folder}"
        try:
            trained = checkpoint.load(self.folder / other)["trained"]
        except (OSError, ValueError, KeyError):
            return "its other checkpoint cannot be read either: train a new run"
        iteration = trained["iteration"] if trained else 0
        if other == "good":
            return f"{again} from=good)` goes on from its last good state, iteration {iteration}"
        return f"{again})` goes on from its last checkpoint, iteration {iteration}"

    def model(self) -> tuple[nn.Module, Kernel]:
        """The model to keep, and one move for its walkers.

        Raises ValueError where its file is damaged, or of another model.
        """
        path = self.folder / "model.safetensors"
        try:
            return load_model(path, self.recipe, self.shape, self.device)
        except ValueError as error:
            raise ValueError(
                f"{error}; `resume({self.folder})` writes it anew from the last checkpoint"
            ) from error


def _save(folder: Path, session: Session) -> None:
    save_model(folder / "model.safetensors", session.average, session.kernel, session.recipe)
    checkpoint.store(folder / "state", session.state_dict())
