"""Atomic replacement of the run in a folder: the folder holds the old run or the new one.

A run is the folder of a training. The files of a new run, with its first checkpoint, are written
to a subfolder ``.noneq-new``. Renaming this to ``.noneq-ready`` is the moment at which the new run
takes over; `settle` then moves the files to their places. If the process is killed before the last
one is moved, the next process that locks the folder moves the rest.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from noneq.run.atomic import make_folder, sync_folder
from noneq.run.checkpoint import sweep

__all__ = ["LOCK", "RESULTS", "check_vacant", "disk_error", "settle", "staged", "unsettled"]

NEW, READY = ".noneq-new", ".noneq-ready"
"""Names of the subfolder for the files of a new run: while they are written, and afterwards until
they are moved to their places."""
LOCK = "lock"
"""Name of the file in a run's folder that a process locks while it works on the run."""
RESULTS = (
    "metrics.jsonl", "likelihood.json", "population.safetensors", "samples.png", "report.png",
    "report.html",
)  # fmt: skip
"""Names of the files that a run's folder gets in or after training, beside config and model."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_STATES = ("state", "good")
_PART = r"\.[\w-]+\.\d+\.part\.\w+"
_FLOW = "flow.safetensors"
_FILES = ("config.json", "model.safetensors", _FLOW, *RESULTS)
_OWN = re.compile("|".join((*map(re.escape, _FILES), _PART)))
_STATE = re.compile(rf"state\.json|tensors-[0-9a-f]+\.safetensors|{_PART}")


def check_vacant(folder: Path, *, overwrite: bool = False, held: bool = False) -> None:
    """Check that a folder is empty, or holds a run to overwrite, so that a run can be made there.

    A folder with nothing but an unused lock file, or a new run whose process was killed before
    its first checkpoint, counts as empty. A run can be overwritten if noneq wrote its config.json
    and the folder holds no links and no files that noneq did not write.

    Arguments:
        folder: folder for the run, which may not exist.
        overwrite: whether a run may be overwritten.
        held: whether the caller has locked the folder, whose lock file is then in use.

    Raises:
        FileExistsError: the folder is not empty, and holds no run that may be overwritten.
    """
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder}: is a file; a run is a folder: take another (`out`)")
    there = sorted(p for p in folder.iterdir()) if folder.is_dir() else []
    there = [path for path in there if path.name != NEW and not _is_lock(path, held)]
    if not there:
        return
    if not _holds_run(folder):
        damaged = folder / "config.json" in there
        why = ": its config.json is damaged, or not noneq's" if damaged else ""
        raise FileExistsError(
            f"{folder}: is not a run and not empty ({there[0].name}, ...){why}: take another "
            "folder (`out`)"
        )
    if not overwrite:
        raise FileExistsError(
            f"{folder}: holds a run already; go on with it (`resume`), replace it "
            "(`overwrite`) or take another folder (`out`)"
        )
    if folder.is_symlink():
        raise FileExistsError(
            f"{folder}: is a link, and `overwrite` follows none: name {folder.resolve()} itself"
        )
    for path in there:
        other = _foreign(path)
        if other is not None:
            raise FileExistsError(
                f"{other}: is not the run's, and `overwrite` replaces nothing else: move it, or "
                "take another folder (`out`)"
            )


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """Open a context to write a new run, which replaces an old run when the context ends.

    The caller must hold the folder's lock. After an error in the context the folder is unchanged.

    Arguments:
        folder: folder of the run.

    Returns:
        A context whose value is the path of a temporary folder, for the files of the new run.
    """
    new = folder / NEW
    try:
        make_folder(new)
        yield new
        new.rename(folder / READY)
        sync_folder(folder)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    settle(folder)


def unsettled(folder: Path) -> bool:
    """Test whether a folder has a new run whose files are not yet moved to their places.

    Arguments:
        folder: folder of the run.

    Returns:
        True if the subfolder .noneq-ready exists, from which `settle` moves the files.
    """
    return (folder / READY).is_dir()


def settle(folder: Path) -> None:
    """Move the files of a completely written new run to their places, and delete an old run's.

    `staged` has written the files to the subfolder .noneq-ready. If the process is killed before
    all are moved, the next call moves the rest. The caller must hold the folder's lock.

    Arguments:
        folder: folder of the run; no file is moved if it has no subfolder .noneq-ready.
    """
    if unsettled(folder):
        for name in RESULTS:  # the old run's
            (folder / name).unlink(missing_ok=True)
        ready = folder / READY
        files = [path for path in ready.rglob("*") if path.is_file()]
        # files that name others follow those; config.json, which makes it a run, is the last
        for path in sorted(files, key=lambda p: (p.name == "config.json", p.suffix == ".json")):
            target = folder / path.relative_to(ready)
            make_folder(target.parent)
            path.replace(target)
        for name in _STATES:
            sweep(folder / name)
        if not _has_flow(folder):
            (folder / _FLOW).unlink(missing_ok=True)
        sync_folder(folder)
        shutil.rmtree(ready)
    shutil.rmtree(folder / NEW, ignore_errors=True)


def disk_error(error: OSError, kept: str, then: str) -> OSError:
    """Add advice to the text of the error of a file that could not be written.

    Arguments:
        error: error of the operating system.
        kept: clause for the text that says which files are intact.
        then: clause for the text that says what to do after the cause is removed.

    Returns:
        An error of the same error number, with the advice in its text.
    """
    if error.errno is None or isinstance(error, FileExistsError):
        return error
    cure = "free some space" if error.errno in _FULL else "mend that"
    return OSError(error.errno, f"{error.strerror}; {kept}: {cure}{then}", error.filename)


def _holds_run(folder: Path) -> bool:
    """Return whether noneq wrote a folder's config.json: many programs have such a file."""
    for path in (folder / READY / "config.json", folder / "config.json"):
        try:
            found = json.loads(path.read_bytes())
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(found, dict) and isinstance(found.get("noneq"), str):
            return True
    return False


def _has_flow(folder: Path) -> bool:
    """Return whether the run in a folder is in the coordinates of a flow, in a file of its own."""
    config = json.loads((folder / "config.json").read_bytes())
    return config["data"]["scaling"].get("flow") is not None


def _is_lock(path: Path, held: bool) -> bool:
    return path.name == LOCK and _is_file(path) and (held or not path.stat().st_size)


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _foreign(path: Path) -> Path | None:
    """Return an entry of a run's folder, or a path in it, if noneq did not write it; or None."""
    if path.name == READY or not os.path.lexists(path):  # another program has just removed it
        return None
    if path.name in _STATES and path.is_dir() and not path.is_symlink():
        inside = sorted(path.iterdir())
        return next((p for p in inside if not (_is_file(p) and _STATE.fullmatch(p.name))), None)
    return None if _is_file(path) and _OWN.fullmatch(path.name) else path
