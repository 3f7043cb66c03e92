"""Checkpoints of nested dicts of tensors and numbers, which no interruption can damage.

A folder holds ``state.json``, with everything but the tensors, and one safetensors file with the
tensors, which the JSON names. The tensors are written first, under a new name; replacing the JSON
is the one moment at which the new checkpoint takes over. Only what the JSON does not name is ever
deleted. Nothing is ever unpickled, and a checksum in each file detects changes.
"""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_bytes
from safetensors.torch import save
from torch import Tensor

from noneq.run.atomic import make_folder, sync_folder, write
from noneq.run.checksums import BLANK, KEY, add_checksum, check_checksum

__all__ = [
    "load", "load_json", "load_tensors",  "moved",  "save_json",
    "save_tensors", "store", "sweep", "way_out",
]  # fmt: skip

FORMAT = 8


def store(folder: Path, tree: Mapping[str, Any]) -> None:
    """Write a checkpoint to a folder, in place of an older one.

    If this is interrupted, the folder holds either the old checkpoint or the new one.

    Arguments:
        folder: folder of the checkpoint, made if it does not exist.
        tree: nested dicts, lists and tuples of tensors, numbers, texts and None.

    Raises:
        OSError: the disk is full, or the folder cannot be written; the old checkpoint is intact.
        TypeError: the tree holds a value of another type.
    """
    tensors: dict[str, Tensor] = {}
    plain = _plain(tree, tensors, "")
    make_folder(folder)
    name = f"tensors-{secrets.token_hex(4)}.safetensors"
    try:
        save_tensors(folder / name, tensors)
        save_json(folder / "state.json", {"format": FORMAT, "tensors": name, "tree": plain})
    finally:
        sweep(folder)


def sweep(folder: Path) -> None:
    """Delete files that interrupted writes left in a checkpoint's folder.

    These are partly written files, and files of tensors that state.json does not name.

    Arguments:
        folder: folder of the checkpoint.
    """
    with suppress(OSError):
        for part in folder.glob(".*.part.*"):
            part.unlink(missing_ok=True)
    try:
        kept = load_json(folder / "state.json")["tensors"]
    except FileNotFoundError:
        kept = None
    except (OSError, ValueError, KeyError):  # it is unknown which tensors it names
        return
    with suppress(OSError):
        sync_folder(folder)  # the old tensors are needed until the new checkpoint is final
        for tensors in folder.glob("tensors-*.safetensors"):
            if tensors.name != kept:
                tensors.unlink(missing_ok=True)


def load(folder: Path) -> dict[str, Any]:
    """Read the checkpoint in a folder.

    Arguments:
        folder: folder to which `store` wrote the checkpoint.

    Returns:
        The nested dictionary that `store` wrote, bit for bit, with all tensors on the cpu.

    Raises:
        FileNotFoundError: there is no checkpoint, or its tensors are missing.
        ValueError: the checkpoint is damaged, or of another format.
    """
    path = folder / "state.json"
    try:
        found = load_json(path)
    except FileNotFoundError:
        raise FileNotFoundError(f"{folder}: holds no checkpoint (state.json)") from None
    if found.get("format") != FORMAT:
        raise ValueError(
            f"{path}: written by another version of noneq (format {found.get('format')}, this one "
            f"reads {FORMAT}): take that version"
        )
    try:
        name, plain = Path(found["tensors"]).name, found["tree"]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}: damaged ({error!r})") from error
    if not (folder / name).is_file():
        raise FileNotFoundError(f"{path}: damaged: its tensors, {name}, are missing")
    tree = _tree(plain, load_tensors(folder / name))
    if not isinstance(tree, dict):
        raise ValueError(f"{path}: damaged: holds no tree")
    return tree


def moved(tree: Any, device: torch.device | str) -> Any:
    """Move the tensors in nested dicts, lists and tuples to a device.

    Arguments:
        tree: nested dicts, lists and tuples of tensors and other values.
        device: torch device.

    Returns:
        A copy of ``tree`` whose tensors are on the device; other values are unchanged.
    """
    if isinstance(tree, Tensor):
        return tree.to(device)
    if isinstance(tree, Mapping):
        return {key: moved(value, device) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(moved(value, device) for value in tree)
    return tree


def save_tensors(path: Path, tensors: Mapping[str, Tensor], **about: str) -> None:
    """Write named tensors to a safetensors file, with a checksum in its header.

    Arguments:
        path: path of the file.
        tensors: tensors by name.
        about: further texts for the header, by name.
    """
    own = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    content = save(own)
    n = 8 + int.from_bytes(content[:8], "little")
    # safetensors would write the metadata in a random order
    header = {"__metadata__": {KEY: BLANK, **about}, **json.loads(content[8:n])}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    head = len(text).to_bytes(8, "little") + text
    write(path, add_checksum(head, memoryview(content)[n:]))


def load_tensors(
    path: Path, device: torch.device | str = "cpu", *, own: bool = True
) -> dict[str, Tensor]:
    """Read a safetensors file.

    Arguments:
        path: path of the file.
        device: device of the tensors.
        own: whether noneq wrote the file, so that a missing checksum is an error.

    Returns:
        The tensors by name.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or no safetensors file, e.g. a pickle.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        check_checksum(path, required=own)
        found = load_bytes(path.read_bytes())  # its own reader of files wants names in UTF-8
    except (SafetensorError, ValueError) as error:
        with path.open("rb") as file:
            head = file.read(2)
        if head == b"PK" or head[:1] == b"\x80":  # torch.save's archive; a bare pickle
            raise ValueError(
                f"{path}: is a pickle, which could run any code and is never loaded; convert it "
                "where you trust it: safetensors.torch.save_file(model.state_dict(), path)"
            ) from error
        size = path.stat().st_size
        raise ValueError(
            f"{path}: damaged or cut short ({size:,} bytes; {error}); restore it from a copy"
        ) from error
    # copied: tensors in the file's bytes are not aligned, and products then round differently
    return {name: t.clone().to(device) for name, t in found.items()}


def save_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file with a checksum; an interruption leaves the old or the new file.

    Arguments:
        path: path of the file.
        value: object to write: nested mappings and lists of texts, finite numbers and None.
    """
    text = json.dumps({KEY: BLANK, **value}, indent=1, allow_nan=False) + "\n"
    write(path, add_checksum(text.encode()))


def load_json(path: Path) -> dict[str, Any]:
    """Read a JSON object that `save_json` wrote.

    Arguments:
        path: path of the file.

    Returns:
        The object as a dictionary, without the checksum.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a byte of the file has changed, or noneq did not write it.
    """
    try:
        check_checksum(path)
        found = json.loads(path.read_bytes())
        del found[KEY]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(
            f"{path}: damaged ({error}); restore it from a copy, or, if you have edited it, let "
            f'its first line say "{KEY}": ""'
        ) from error
    assert isinstance(found, dict)
    return found


def _plain(value: Any, tensors: dict[str, Tensor], at: str) -> Any:
    """Convert a tree to JSON; add its tensors to ``tensors``, named by their place in the tree."""
    if isinstance(value, Tensor):
        while at in tensors:  # a key "a/b" beside a key "b" under "a"
            at += "'"
        tensors[at] = value
        return {"$tensor": at}
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": repr(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        items = [[key, _plain(v, tensors, f"{at}/{key}")] for key, v in value.items()]
        easy = all(isinstance(key, str) and not key.startswith("$") for key in value)
        return dict(items) if easy else {"$dict": items}
    if isinstance(value, list | tuple):
        rows = [_plain(v, tensors, f"{at}/{i}") for i, v in enumerate(value)]
        return rows if isinstance(value, list) else {"$tuple": rows}
    raise TypeError(f"a checkpoint holds tensors, numbers and text, not {type(value).__name__}")


def _tree(plain: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Convert JSON that `_plain` made, and the tensors that it names, back to a tree."""
    if isinstance(plain, list):
        return [_tree(v, tensors) for v in plain]
    if not isinstance(plain, dict):
        return plain
    match plain:
        case {"$tensor": at}:
            if at not in tensors:
                raise ValueError(f"the checkpoint lacks its tensor {at}: it is damaged")
            return tensors[at]
        case {"$float": text}:
            return float(text)
        case {"$tuple": rows}:
            return tuple(_tree(v, tensors) for v in rows)
        case {"$dict": items}:
            return {key: _tree(v, tensors) for key, v in items}
    return {key: _tree(v, tensors) for key, v in plain.items()}


def way_out(folder: Path, which: Literal["state", "good"]) -> str:
    """Word advice on how to continue a run whose checkpoint cannot be read.

    Arguments:
        folder: folder of the run.
        which: the checkpoint that cannot be read.

    Returns:
        A clause: the other checkpoint to go on from, or that a new run must be trained.
    """
    other: Literal["state", "good"] = "good" if which == "state" else "state"
    again = f"`resume({folder}"
    try:
        trained = load(folder / other)["trained"]
    except (OSError, ValueError, KeyError):
        return "its other checkpoint cannot be read either: train a new run"
    iteration = trained["iteration"] if trained else 0
    if other == "good":
        return f"{again} from=good)` goes on from its last good state, iteration {iteration}"
    return f"{again})` goes on from its last checkpoint, iteration {iteration}"
