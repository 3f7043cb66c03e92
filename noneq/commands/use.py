"""``noneq sample``, ``score``, ``logz RUN`` and ``report``: what a run is good for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from noneq.checkpoint import load_tensors, write
from noneq.commands.closing import close, denoised
from noneq.console import say, tracked
from noneq.data import add_noise, rows_like
from noneq.likelihood import energy_of
from noneq.run import Run
from noneq.sampling import draw
from noneq.verdict import Verdict, read_verdict
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
        x = denoised(opened, opened.model()[0], x)
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
    from noneq.figures import report_figure

    opened = Run(run)
    words, parts = f"not bracketed yet: noneq logz {run} does it", {}
    if (run / "likelihood.json").exists():
        verdict = read_verdict(opened, opened.model()[0])
        words = "\n".join(verdict.words())
        parts = {"estimate": _bracket_of(verdict), **_population(opened)}
    figure = report_figure(run.resolve().name, words, opened.metrics.rows(), **parts)
    path = out or run / "report.png"
    write(path, lambda part: figure.savefig(part, dpi=100))
    say(f"{path}: training, log Z, weights, energies and samples on one page")


def _population(run: Run) -> dict[str, Any]:
    """Energies and samples, as the figures want them."""
    from noneq.figures import Energies, Samples

    data, noise, (energy, _) = run.data(), run.recipe.noise, run.model()
    rng = torch.Generator(run.device).manual_seed(0)
    walkers = load_tensors(run.folder / "population.safetensors", run.device)
    train, test = (add_noise(part, noise, rng) for part in (data.train, data.test))
    p = walkers["log_w"].softmax(0)
    u, v, held_out = (energy_of(energy, x) for x in (train, walkers["x"], test))
    x = walkers["x"][torch.multinomial(p, 400, True, generator=rng)]
    clean = denoised(run, energy, x) if noise else None
    return {
        "energies": Energies(u, v, p, held_out),
        "samples": Samples(train[:400], x, clean, data.columns),
    }


def _bracket_of(verdict: Verdict) -> dict[str, Any]:
    """The verdict as the figures want it."""
    plain: dict[str, Any] = {"alarms": verdict.alarms}
    for name, side in (("lower", verdict.lower), ("upper", verdict.upper)):
        plain |= {name: side.value, f"{name}_stderr": side.stderr}
    means = {**verdict.nll, "base": verdict.base["test"]}
    plain["nll"] = {
        name: {"value": m.value, "stderr_z": verdict.stderr, "stderr_data": m.stderr}
        for name, m in means.items()
    }
    return plain


def _save(path: Path, arrays: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        write(path, lambda part: np.save(part, arrays["x"]))
    else:
        write(path, lambda part: np.savez(part, **arrays))
