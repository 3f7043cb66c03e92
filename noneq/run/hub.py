"""A trained model as a folder that can be shared, e.g. on the Hugging Face Hub.

`SharedModel` has the three verbs of the package huggingface_hub: ``save_pretrained``,
``from_pretrained`` and ``push_to_hub``. What is shared is the model with its scaling, its verdict
and weighted samples, and a model card with the likelihoods and how they were obtained; the rows
that it was trained on are not. It needs the extra noneq[hub].
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from huggingface_hub import ModelCard, ModelHubMixin, snapshot_download
from numpy.typing import NDArray
from torch import nn

from noneq.data.files import Frame
from noneq.data.selection import naming
from noneq.data.units import Like, arranged, rows_like, rows_of
from noneq.run.atomic import write
from noneq.run.checkpoint import save_json
from noneq.run.folder import Run
from noneq.run.likelihoods import units_of
from noneq.run.samples import draw
from noneq.run.scores import draws_of, score
from noneq.run.verdict import Verdict
from noneq.run.verdict_file import read_verdict
from noneq.version import __version__

__all__ = ["SharedModel"]

FILES = ("model.safetensors", "likelihood.json", "population.safetensors")


class SharedModel(ModelHubMixin, library_name="noneq", tags=["energy-based-model", "density"]):
    """A trained model with its normalised density, to be shared and loaded.

    Arguments:
        run: run, i.e. the folder of a training, whose log Z has been estimated.

    Attributes:
        run: the run.
        energy: the model U(x) in its own units, a torch module.
        verdict: log Z, likelihoods and alarms.

    Raises:
        FileNotFoundError: log Z of the run has not been estimated.
        ValueError: a file of the run is damaged.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.energy: nn.Module = run.model()[0]
        self.verdict: Verdict = read_verdict(run, self.energy)

    def score(
        self,
        rows: str | Path | Frame | NDArray[Any],
        labels: Sequence[int] | NDArray[np.int64] | None = None,
    ) -> NDArray[np.float64]:
        """Compute the normalised log-densities of rows, in nats, in the units of the data.

        Values that repeat have log-probabilities. Noise that the model was trained with is
        averaged over.

        Arguments:
            rows: path of a file, table in memory, or array (M, *shape), like the training rows;
                in an array texts are the numbers of their categories, as in `sample`.
            labels: labels (M,) of images in an array, for a model that is conditional on them.

        Returns:
            The log-densities (M,).

        Raises:
            ValueError: the rows do not fit the model.
        """
        scaling, own = self.run.scaling, self.run.config["data"]
        draws = draws_of(scaling)
        if isinstance(rows, np.ndarray):
            with naming("rows"):
                own_rows, shape = arranged(rows), self._shape
                if own_rows.shape[1:] != shape:
                    raise ValueError(
                        f"one row has the shape {own_rows.shape[1:]}, and the model's {shape}"
                    )
                if scaling.labels is not None and labels is None:
                    raise ValueError("the model is one of images given their labels: give labels")
                own_labels = None if labels is None else np.asarray(labels)
                x = rows_of(scaling, Like(own_rows, own_labels), draws)
        else:
            how = {"columns": own["columns"], "draws": draws}
            x = rows_like(rows, self.run.shape, scaling, **how)
        found = score(self.run, x, draws).expected.cpu()
        if scaling.threshold is not None:
            return found.numpy()
        return (found + scaling.log_units(x[: len(found)])).numpy()

    @property
    def _shape(self) -> tuple[int, ...]:
        labels = self.run.scaling.labels
        return self.run.shape if labels is None else labels.shape

    def sample(self, n: int, *, label: int | None = None, seed: int = 0) -> NDArray[np.float64]:
        """Draw samples of the model, in the units of its data.

        Arguments:
            n: number of samples.
            label: label of all samples, of a model that is conditional on labels; None: labels
                are drawn in the proportions of the training rows, and not returned.
            seed: seed of all randomness.

        Returns:
            The samples (n, *shape); texts are the numbers of their categories, from 0.
        """
        x, _ = draw(self.run, n, label=label, seed=seed)
        return self.run.scaling.undo(x.cpu()).numpy()

    def save_pretrained(self, save_directory: str | Path, **how: Any) -> str | None:
        """Write the model, its verdict and its card to a folder.

        Arguments:
            save_directory: the folder, which is made.
            how: arguments of the base class, e.g. ``push_to_hub=True`` and ``repo_id``.

        Returns:
            The address of the model if it was pushed to the hub, else None.

        Raises:
            ValueError: the folder is that of the run.
        """
        if Path(save_directory).resolve() == self.run.folder.resolve():
            raise ValueError(f"{save_directory}: is the run's own folder; take another one")
        done: str | None = super().save_pretrained(save_directory, **how)
        return done

    def _save_pretrained(self, save_directory: Path) -> None:
        """Write the files of the model, without the path of its data."""
        config = {**self.run.config, "data": {**self.run.config["data"]}}
        config["data"]["source"] = Path(config["data"]["source"]).name
        config["device"] = "cpu"
        save_json(save_directory / "config.json", config)
        flow = self.run.folder / "flow.safetensors"
        for name in (*FILES, *([flow.name] if flow.exists() else [])):
            shutil.copyfile(self.run.folder / name, save_directory / name)
        write(save_directory / "README.md", str(self.generate_model_card()).encode())

    @classmethod
    def _from_pretrained(
        cls,
        *,
        model_id: str,
        revision: str | None,
        cache_dir: str | Path | None,
        force_download: bool,
        local_files_only: bool,
        token: str | bool | None,
        device: str = "",
        **others: Any,
    ) -> SharedModel:
        """Open a local folder, or download one."""
        if others:
            raise TypeError(f"from_pretrained takes device, and not {', '.join(others)}")
        folder = Path(model_id)
        if not folder.is_dir():
            folder = Path(
                snapshot_download(
                    model_id,
                    revision=revision,
                    cache_dir=cache_dir,
                    force_download=force_download,
                    local_files_only=local_files_only,
                    token=token,
                )
            )
        return cls(Run(folder, device))

    def generate_model_card(self, *_: Any, **__: Any) -> ModelCard:
        """Write the model card: verdict, likelihoods, how log Z was obtained, how to load it.

        Returns:
            The card.
        """
        own, verdict = self.run.config["data"], self.verdict
        rows = {verdict.origin: verdict.base, "model": verdict.nll}
        lines = [
            f"| {name} | " + " | ".join(str(mean) for mean in means.values()) + " |"
            for name, means in rows.items()
        ]
        how = ", ".join(f"{name} {value}" for name, value in verdict.how.items())
        log_z = (
            f"{verdict.log_z:.2f}, exact"
            if verdict.exact
            else f"{verdict.forward} forward, {verdict.backward} backward, by annealing from a "
            f"base of known log Z to the model and back ({how})"
        )
        sizes = " / ".join(f"{n:,}" for n in own["rows"])
        labels = self.run.scaling.labels
        named = "" if labels is None else f"; labels {labels}"
        use = 'model.score("rows.csv"), model.sample(5)'
        if labels is not None:
            use = (
                f'model.score("images_and_labels.npz"), model.sample(5, label={labels.classes[0]})'
            )
        noise = self.run.recipe.train.noise
        noisy = (
            f", with noise of standard deviation {noise:g} in the model's units" if noise else ""
        )
        text = _CARD.format(
            name=self.run.folder.resolve().name,
            verdict="\n".join(f"- {sentence.strip()}" for sentence in verdict.summary()),
            splits=" | ".join(verdict.nll),
            bars="---|" * len(verdict.nll),
            likelihoods="\n".join(lines),
            noise=noisy,
            log_z=log_z,
            units=units_of(self.run),
            data=f"{sizes} rows (train / validation / test) of shape {self._shape}",
            columns=f"; columns {', '.join(own['columns'])}" if own["columns"] else named,
            use=use,
            scaling=self.run.scaling,
            kind=self.run.recipe.kind,
            trained=self.run.config["noneq"],
            version=__version__,
        )
        return ModelCard(text)


_CARD = """---
library_name: noneq
tags:
- energy-based-model
- density
---

# {name}

An energy-based model (`{kind}`) with a normalised density, trained by noneq {trained} and
shared by noneq {version}.

## May its likelihoods be believed?

{verdict}

## Likelihoods

Negative log-likelihoods in nats a row, of {units}{noise}:

| | {splits} |
|---|{bars}
{likelihoods}

log Z in nats: {log_z}.

## Data

{data}{columns}; scaled as {scaling}. The rows are not part of this folder.

## Use

```python
from noneq.run.hub import SharedModel

model = SharedModel.from_pretrained("FOLDER OR NAME")
print(model.verdict.bracketed, {use})
```
"""
