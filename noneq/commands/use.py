"""``noneq sample``, ``score``, ``logz RUN`` and ``report``: what a run is good for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from noneq.checkpoint import write
from noneq.commands.closing import close, say_damage
from noneq.console import say, tracked
from noneq.data import rows_like
from noneq.footprint import check_walkers
from noneq.run import Run
from noneq.sampling import denoised, gather, taken
from noneq.scores import score as log_density

__all__ = ["bracket", "report", "sample", "score"]


def sample(
    run: Path, n: int, out: Path, *, weighted: bool, denoise: bool, device: str, **how: Any
) -> None:
    """``noneq sample``; ``how`` is for `noneq.sampling.gather`."""
    if out.suffix not in (".npz", ".npy"):
        raise ValueError(f"{out}: samples go to .npz (x, log_w) or .npy (x)")
    if weighted and out.suffix == ".npy":
        raise ValueError(f"{out}: weights need an .npz file")
    opened = Run(run, device)
    if denoise and not opened.recipe.noise:
        raise ValueError(f"{run}: was trained without noise: there is nothing to remove")
    check_walkers(f"-n {n}", n, opened.shape, opened.device)
    gathered = gather(opened, n, weighted=weighted, track=tracked, **how)
    walkers = gathered.walkers
    x, log_w = taken(gathered, n, weighted=weighted)
    distinct = len(torch.unique(x.flatten(1), dim=0))
    if denoise:
        x = denoised(opened.model()[0], x, opened.recipe.noise)
    arrays = {"x": opened.scaling.undo(x.cpu()).numpy()}
    if weighted:
        arrays["log_w"] = log_w.cpu().numpy()
    _save(out, arrays)
    kind = "weighted walkers" if weighted else f"samples ({distinct} distinct)"
    say(f"{out}: {len(x)} {kind} of shape {tuple(x.shape[1:])}, in the data's units")
    say(
        f"  of {len(walkers)} weighted walkers: ESS {walkers.ess:.2f}, descended from "
        f"{walkers.survivors:.0f} of them"
    )


def score(run: Path, data: Path, out: Path | None, device: str) -> None:
    """``noneq score``."""
    opened = Run(run, device)
    if not data.exists():
        raise FileNotFoundError(f"{data}: no such file (score reads a file of rows)")
    x = rows_like(data, opened.shape, opened.scaling, columns=opened.config["data"]["columns"])
    found = log_density(opened, x)
    verdict, noise = found.verdict, opened.recipe.noise
    after = f" of rows with noise {noise:g} added, as in training" if noise else ""
    say(
        f"{data}: {len(x)} rows, mean NLL {-float(found.expected.mean()):.2f} nats{after}, "
        f"± {verdict.stderr:.2f} of log Z"
    )
    if abs(found.unlike) > 3:
        say(
            f"  these rows are unlike the training rows (by {found.unlike:+.1f} standard "
            f"deviations of the base's NLL): other units? {opened.scaling}",
            "bold",
        )
    for alarm in verdict.alarms:
        say(f"  alarm: {alarm}", "bold")
    if out is not None:
        arrays = {
            "log_density": found.log_density.cpu().numpy(),
            "expected": found.expected.cpu().numpy(),
            "log_z": np.array(verdict.log_z),
            "log_z_stderr": np.array(verdict.stderr),
            "alarms": np.array(verdict.alarms, dtype=np.str_),
        }
        if opened.scaling.threshold is None:
            arrays["log_jacobian"] = np.array(opened.scaling.log_jacobian(x[0].numel()))
        _save(out, arrays)
        say(f"{out}: {', '.join(arrays)}")


def bracket(run: Path, how: Mapping[str, Any], device: str) -> int:
    """``noneq logz RUN``; returns the exit code."""
    opened = Run(run, device)
    n = how.get("n", opened.recipe.z_walkers)
    check_walkers(f"--walkers {n}", n, opened.shape, opened.device)
    data = opened.data()
    if opened.recipe.threads:
        torch.set_num_threads(opened.recipe.threads)
    with opened.locked():
        return close(opened, data, how)


def report(run: Path, out: Path | None, device: str) -> None:
    """``noneq report``; of a run that is not bracketed yet, what there is."""
    from noneq.pictures import draw_report

    path = out or run / "report.png"
    if path.suffix != ".png":
        raise ValueError(f"{path}: a report is a .png file")
    opened = Run(run, device)
    say_damage(opened)
    draw_report(opened, path)
    say(f"{path}: training, log Z, weights, energies and samples on one page")


def _save(path: Path, arrays: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        write(path, lambda part: np.save(part, arrays["x"]))
    else:
        write(path, lambda part: np.savez(part, **arrays))
