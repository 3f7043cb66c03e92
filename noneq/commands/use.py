"""``noneq sample``, ``score``, ``logz RUN`` and ``report``: what a run is good for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from noneq.checkpoint import write
from noneq.commands.closing import close
from noneq.console import say, tracked
from noneq.data import rows_like
from noneq.run import Run
from noneq.sampling import denoised, draw
from noneq.verdict import score as log_density

__all__ = ["bracket", "report", "sample", "score"]


def sample(run: Path, n: int, out: Path, *, weighted: bool, denoise: bool, **how: Any) -> None:
    """``noneq sample``."""
    if out.suffix not in (".npz", ".npy"):
        raise ValueError(f"{out}: samples go to .npz (x, log_w) or .npy (x)")
    if weighted and out.suffix == ".npy":
        raise ValueError(f"{out}: weights need an .npz file")
    opened = Run(run)
    if denoise and not opened.recipe.noise:
        raise ValueError(f"{run}: was trained without noise: there is nothing to remove")
    x, log_w = draw(opened, n, weighted=weighted, track=tracked, **how)
    if denoise:
        x = denoised(opened.model()[0], x, opened.recipe.noise)
    arrays = {"x": opened.scaling.undo(x.cpu()).numpy()}
    if weighted:
        arrays["log_w"] = log_w.cpu().numpy()
    _save(out, arrays)
    kind = "weighted walkers" if weighted else "samples"
    say(f"{out}: {len(x)} {kind} of shape {tuple(x.shape[1:])}, in the data's units")


def score(run: Path, data: Path, out: Path | None) -> None:
    """``noneq score``."""
    opened = Run(run)
    x = rows_like(data, opened.shape, opened.scaling, columns=opened.config["data"]["columns"])
    found, verdict = log_density(opened, x)
    jacobian = opened.scaling.log_jacobian(x[0].numel())
    mean = float(found.mean())
    say(
        f"{data}: {len(x)} rows, NLL {-mean:.2f} nats a row (log Z ± {verdict.stderr:.2f}), "
        f"{-mean - jacobian:.2f} in the file's units"
    )
    for alarm in verdict.alarms:
        say(f"  alarm: {alarm}", style="bold")
    if out is not None:
        arrays = {
            "log_density": found.cpu().numpy(),
            "log_z": np.array(verdict.log_z),
            "log_z_stderr": np.array(verdict.stderr),
            "alarms": np.array(verdict.alarms, dtype=str),
            "log_jacobian": np.array(jacobian),
        }
        _save(out, arrays)
        say(f"{out}: {', '.join(arrays)}")


def bracket(run: Path, how: Mapping[str, Any]) -> None:
    """``noneq logz RUN``."""
    opened = Run(run)
    data = opened.data()
    if opened.recipe.threads:
        torch.set_num_threads(opened.recipe.threads)
    with opened.locked():
        close(opened, data, how)


def report(run: Path, out: Path | None) -> None:
    """``noneq report``; of a run that is not bracketed yet, what there is."""
    from noneq.pictures import draw_report

    path = out or run / "report.png"
    draw_report(Run(run), path)
    say(f"{path}: training, log Z, weights, energies and samples on one page")


def _save(path: Path, arrays: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        write(path, lambda part: np.save(part, arrays["x"]))
    else:
        write(path, lambda part: np.savez(part, **arrays))
