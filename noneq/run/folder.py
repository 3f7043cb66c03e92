"""The folder of a training run, with its settings, checkpoints, model and evaluation.

====================== ========================================================================
config.json            data, seed, all settings of the training (the recipe, also before validation
                       rows chose from it), and candidate bases
metrics.jsonl          one line for each logged iteration
flow.safetensors       the parameters of a spline flow, if rows are in its coordinates
model.safetensors      the trained model, whose parameters are moving averages
state/                 the last checkpoint: weighted samples, optimiser, random numbers
good/                  an earlier checkpoint, for the rollback of a training that diverges
likelihood.json        log Z by forward and backward annealing, likelihoods, hash of the model
population.safetensors the weighted samples of the model from the forward annealing
samples.png            samples of the model beside the data
====================== ========================================================================

Every file is replaced in one piece, nothing is unpickled, and checksums detect changed files. A
run exists, or replaces another, as soon as its first checkpoint is complete.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from noneq.data import DataSet, load
from noneq.data.coordinates import mapped
from noneq.kernels import Kernel
from noneq.numerics import resolve_device
from noneq.run import checkpoint
from noneq.run.atomic import make_folder
from noneq.run.candidates import Candidate
from noneq.run.choosing import extended, read_recipe
from noneq.run.families import family_of
from noneq.run.lock import BusyError, locked
from noneq.run.metrics import Metrics
from noneq.run.recipe import Recipe
from noneq.run.session import Session
from noneq.run.staging import check_vacant, disk_error, staged, unsettled
from noneq.run.storing import load_model, load_scaling, save_scaling, save_session
from noneq.version import __version__

__all__ = ["Run"]


class Run:
    """A training run: a folder with settings, checkpoints and a model, which `create` makes.

    Arguments:
        folder: folder of an existing run.
        device: torch device; default: the device on which the run was begun.
        source: name or path of the data; default: the source in config.json.

    Attributes:
        metrics: object that reads and writes metrics.jsonl, the metrics of logged iterations.
        config, recipe: content of config.json, and the settings of the training (recipe) in it.
        family: object that builds models of the run's kind, a `noneq.run.families.Family`.
        shape, seed: shape of one row of data, and seed of all randomness.
        scaling: map between the model's units and the units of the data's file.

    Raises:
        FileNotFoundError: the folder holds no run, or a file of it is missing.
        ValueError: a file is damaged or of another version, or there is no such device.

    >>> import tempfile, noneq
    >>> data = noneq.data.load("digits")
    >>> recipe = noneq.run.choose(data.shape, len(data.train), data.kind, width=8, clusters=None)
    >>> folder = tempfile.mkdtemp() + "/digits"
    >>> run = noneq.Run.create(folder, data, noneq.Session(recipe, data.train))
    >>> noneq.Run(folder).recipe == recipe
    True
    """

    def __init__(self, folder: str | Path, device: str = "", *, source: str = "") -> None:
        self.folder, self.source = Path(folder), source
        self.metrics = Metrics(self.folder / "metrics.jsonl")
        path = self.folder / "config.json"
        if unsettled(self.folder):
            with locked(self.folder):  # which settles it
                pass
        if not path.is_file():
            why = "holds no run (no config.json); `Run.create` makes one"
            raise FileNotFoundError(f"{self.folder}: {why}")
        self.config: dict[str, Any] = checkpoint.load_json(path)
        try:
            self.recipe = read_recipe(self.config["recipe"])
            self.family = family_of(self.recipe.kind)
            self.shape: tuple[int, ...] = tuple(self.config["data"]["shape"])
            self.seed, begun_on = int(self.config["seed"]), str(self.config["device"])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}: of another version of noneq ({error!r})") from error
        self.scaling = load_scaling(self.folder, self.config)
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
        bases: Sequence[Candidate] = (),
        asked: Recipe | None = None,
        **about: Any,
    ) -> Run:
        """Make the folder of a new run, and write the first checkpoint of a session to it.

        Arguments:
            folder: folder to make, with its parents.
            data: data set that the session trains on.
            session: new `Session`, i.e. the training in memory.
            seed: seed of the session, recorded in config.json.
            device: torch device of the session, recorded in config.json.
            overwrite: whether to replace a run in the folder, once the new one is written.
            bases: candidates of `choose_base`, recorded in config.json.
            asked: the recipe before validation rows chose from it; None: nothing was chosen.
            about: the arguments ``classes``, ``subset`` and ``binary`` that loaded the data, and
                ``table``, a dictionary of those about columns.

        Returns:
            The new `Run`, on the device on which the session trains.

        Raises:
            FileExistsError: the folder is not empty, and not a run to overwrite.
            BusyError: another process is working in the folder.
            OSError: the folder cannot be made or written to; its content is unchanged.
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
            "asked": (asked or session.recipe).plain(),
            "bases": [one._asdict() for one in bases],
        }
        check_vacant(folder, overwrite=overwrite)
        try:
            make_folder(folder)
            with locked(folder):
                check_vacant(folder, overwrite=overwrite, held=True)
                with staged(folder) as new:
                    checkpoint.save_json(new / "config.json", config)
                    save_scaling(new, data.scaling)
                    save_session(new, session)
                    checkpoint.store(new / "good", session.state_dict())
        except OSError as error:
            kept = "the run that is there is as it was" if overwrite else "no run was begun"
            raise disk_error(error, kept, " and give the same command again") from error
        return cls(folder)

    def extend(self, changes: Mapping[str, Any]) -> None:
        """Change settings of the training time, the estimate of log Z or the sampling.

        Arguments:
            changes: new values of settings by name, as `noneq.run.choose` takes them.

        Raises:
            ValueError: a change to another setting, which is fixed once training has begun.
        """
        self.recipe = extended(self.recipe, changes, self.folder)
        self.config["recipe"] = self.recipe.plain()
        checkpoint.save_json(self.folder / "config.json", self.config)

    def data(self, source: str = "") -> DataSet:
        """Load the data set that the run is trained on, to the run's device.

        Arguments:
            source: name or path of the data; default: that of the run, else that in config.json.

        Returns:
            The data set, in the model's units.

        Raises:
            FileNotFoundError: they are not where they were.
            ValueError: the data differ from those that the run is trained on.
        """
        own = self.config["data"]
        source = source or self.source or own["source"]
        chosen = {key: own[key] for key in ("classes", "subset", "binary")}
        chosen |= {"bits": self.family.binary, "labels": self.family.labelled}
        try:
            data = load(source, **chosen, **own.get("table", {}))
        except FileNotFoundError as error:
            if source != own["source"]:
                raise
            why = f"not there any more, and {self.folder} was trained on it"
            raise FileNotFoundError(f"{source}: {why}; name its place (`data`)") from error
        if data.digest != own["digest"]:
            raise ValueError(
                f"{source}: is not what {self.folder} was trained on ({own['source']}, with other "
                "values); name that, or train a new run (`out`)"
            )
        return mapped(data, self.scaling).to(self.device)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock of the run's folder.

        Returns:
            A context in which no other process may change the run.

        Raises:
            BusyError: another process works on the run, or has changed it since it was opened.
        """
        with locked(self.folder):
            self.check_own()
            yield

    def check_own(self) -> None:
        """Raise a `BusyError` if the folder no longer holds this run; `save` checks this, too."""
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
    def tabular(self) -> bool:
        """Return whether the data are a table, and no images."""
        return len(self.shape) == 1 and self.scaling.labels is None

    @property
    def bracketed(self) -> bool:
        """Return whether log Z has been estimated, i.e. likelihood.json exists."""
        return (self.folder / "likelihood.json").exists()

    def save(self, session: Session) -> None:
        """Write a checkpoint of a session, i.e. the training in memory, and the present model.

        Raises:
            BusyError: the folder no longer holds this run.
        """
        self.check_own()
        save_session(self.folder, session)

    def restore(self, session: Session, which: Literal["state", "good"] = "state") -> None:
        """Load a checkpoint into a session, i.e. a training in memory, to resume training.

        Arguments:
            session: session made with the settings, the data and the seed of the run.
            which: ``state``: the last checkpoint; ``good``: the last without signs of divergence.

        Raises:
            FileNotFoundError: there is no checkpoint.
            ValueError: the checkpoint is damaged, or is of another model or kind of device.
        """
        begun_on = torch.device(self.config["device"])
        if self.device.type != begun_on.type:
            raise ValueError(
                f"{self.folder}: was begun on {begun_on}, whose random numbers {self.device} "
                "cannot continue: resume it there (sample, score and logz work anywhere)"
            )
        state = self.folder / which
        try:
            tree = checkpoint.load(state)
        except (FileNotFoundError, ValueError) as error:
            raise type(error)(f"{error}; {checkpoint.way_out(self.folder, which)}") from error
        try:
            session.load_state_dict(tree)
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            reason = str(error).splitlines()[-1].strip()
            raise ValueError(f"{state}: the checkpoint of another model ({reason})") from error

    def model(self) -> tuple[nn.Module, Kernel]:
        """Load the trained model, with averaged parameters, from model.safetensors.

        Returns:
            The model (an energy), and the MCMC kernel that samples it.

        Raises:
            ValueError: the file is damaged, or has the parameters of another model.
        """
        path = self.folder / "model.safetensors"
        try:
            return load_model(path, self.recipe, self.shape, self.device)
        except ValueError as error:
            raise ValueError(
                f"{error}; `resume({self.folder})` writes it anew from the last checkpoint"
            ) from error
