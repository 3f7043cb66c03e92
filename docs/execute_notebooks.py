"""Runs the notebooks of the documentation, and writes their outputs into them: make notebooks."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

__all__ = ["FOLDER", "execute", "main"]

FOLDER = Path(__file__).resolve().parent / "notebooks"


def execute(path: Path, folder: Path) -> NotebookNode:
    """Run all cells of a notebook.

    Arguments:
        path: the notebook; it is not changed.
        folder: working folder of the cells, for the files that they write.

    Returns:
        The notebook with its outputs, without times of execution and versions.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell raises an error.
    """
    notebook = nbformat.read(path, as_version=4)
    first = {"PATH": str(Path(sys.executable).parent), "PYTHONPATH": str(FOLDER.parents[1])}
    env = {k: os.pathsep.join(filter(None, (v, os.environ.get(k)))) for k, v in first.items()}
    client = NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute(env={**os.environ, **env})
    notebook.metadata.language_info = {"name": "python"}  # less the version that has run it
    for output in (one for cell in notebook.cells for one in cell.get("outputs", ())):
        for texts, key in ((output, "text"), (output.get("data", {}), "text/plain")):
            if key in texts:
                texts[key] = re.sub(r"\x1b\[[0-9;]*m", "", texts[key])  # colours
    return notebook


def main() -> None:
    """Run every notebook in an empty folder of its own, and write it back."""
    for path in sorted(FOLDER.glob("*.ipynb")):
        with tempfile.TemporaryDirectory() as folder:
            notebook = execute(path, Path(folder))
        nbformat.write(notebook, path)
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
