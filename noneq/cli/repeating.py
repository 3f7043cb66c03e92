"""``noneq train --config``: what a run was asked for, from its config.json, to repeat it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from noneq.run.checkpoint import load_json
from noneq.run.choosing import read_recipe
from noneq.run.recipe import Recipe

__all__ = ["Recalled", "given_rows", "recall"]


class Recalled(NamedTuple):
    """What a run was asked for.

    Attributes:
        source: name or path of its data.
        rows: choices of rows and columns, and ``digest``, that of the values.
        changes: settings that are to be changed, without the kind of model.
        asked: recipe before validation rows chose from it, with the length of the run at last.
        seed: seed of the run.
        device: device on which it was begun.
    """

    source: str
    rows: dict[str, Any]
    changes: Mapping[str, Any]
    asked: Recipe
    seed: int
    device: str


def recall(
    path: Path, changes: Mapping[str, Any], *, named: bool = False, resumed: bool = False
) -> Recalled:
    """Read what a run was asked for.

    Arguments:
        path: its config.json, or its folder.
        changes: settings that are to be changed, by name.
        named: whether data or rows are given, too, which is an error.
        resumed: whether a run is to be resumed, which is an error, too.

    Returns:
        What it was asked for.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, of another build or of another program, ``changes`` has
            another kind of model, or options contradict each other.
    """
    if resumed:
        raise ValueError("--config begins a run like another one, --resume goes on with one")
    if named:
        raise ValueError(f"--config {path} names the data and their rows: leave those out")
    config = load_json(path / "config.json" if path.is_dir() else path)
    own = config.get("data", {})
    if preset := own.get("preset"):
        raise ValueError(f"{path}: is of another program's run (preset {preset}): repeat it there")
    if "asked" not in config:
        raise ValueError(f"{path}: of an earlier build, which did not keep what was asked for")
    # the length that the run had in the end
    plain = {**config["asked"], **{k: config["recipe"][k] for k in ("budget", "bracket")}}
    asked = read_recipe(plain)
    if changes.get("model", asked.kind) != asked.kind:
        raise ValueError(f"{path}: is of a run with `model` {asked.kind}")
    rows = {key: own.get(key) for key in ("classes", "subset", "binary", "digest")}
    rows["table"] = own.get("table", {})
    others = {name: value for name, value in changes.items() if name != "model"}
    return Recalled(own["source"], rows, others, asked, config["seed"], str(config["device"]))


def given_rows(chosen: Mapping[str, Any]) -> list[str]:
    """List the choices of rows and columns that were made.

    Arguments:
        chosen: choices by name, and ``table``, a dictionary of those about columns.

    Returns:
        The names of those that were made.
    """
    every = {**chosen, **chosen.get("table", {}), "table": None}
    return [name for name, value in every.items() if value not in (None, False)]
