"""What ends a run: its likelihood, the verdict in words, a picture, what to do next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from noneq.checkpoint import load_tensors, write
from noneq.console import say, show_table, tracked
from noneq.data import DataSet, add_noise
from noneq.energies import Energy, evaluate
from noneq.run import Run
from noneq.verdict import Verdict, judge

__all__ = ["close", "denoised"]


def close(run: Run, data: DataSet, how: Mapping[str, Any] | None = None) -> None:
    """Bracket log Z, draw samples.png, and say it all.

    Arguments:
        run: that has been trained, and is locked.
        data: what it was trained on, on its device.
        how: see `noneq.verdict.judge`.
    """
    verdict = judge(run, data, how=how, track=tracked)
    _draw_samples(run, data)
    _likelihoods(verdict)
    for sentence in verdict.words():
        say(sentence, style="" if verdict.bracketed else "bold")
    say(f"samples: {run.folder / 'samples.png'}")
    say("next:")
    for command in (
        f"noneq report {run.folder}",
        f"noneq sample {run.folder} -n 64 --out samples.npz",
        f"noneq score {run.folder} data.npy --out scores.npz",
    ):
        say(f"  {command}", style="cyan")


def _likelihoods(verdict: Verdict) -> None:
    model = "model" if verdict.bracketed else "model (NOT bracketed)"
    say(f"log Z between {verdict.lower} and {verdict.upper}")
    show_table(
        f"Nats a row, smaller is better; ± over the rows, and ± {verdict.stderr:.2f} of log Z",
        ["", *verdict.nll],
        [
            ["Gaussian base, exact", *map(str, verdict.base.values())],
            [model, *map(str, verdict.nll.values())],
        ],
    )


def _draw_samples(run: Run, data: DataSet) -> None:
    """samples.png: data, samples, denoised samples."""
    from noneq.figures import samples_figure

    energy, _ = run.model()
    rng = torch.Generator(run.device).manual_seed(run.seed)
    found = load_tensors(run.folder / "population.safetensors", run.device)
    x = found["x"][torch.multinomial(found["log_w"].softmax(0), 64, True, generator=rng)]
    noise = run.recipe.noise
    shown = add_noise(data.train[:64], noise, rng)
    clean = denoised(run, energy, x) if noise else None
    figure = samples_figure(shown, x, clean, data.columns)
    write(run.folder / "samples.png", lambda path: figure.savefig(path, dpi=110))


def denoised(run: Run, energy: Energy, x: Tensor) -> Tensor:
    """The mean of the data given a noisy row, ``x - sigma^2 grad U`` (Tweedie's formula)."""
    mean: Tensor = x - run.recipe.noise**2 * evaluate(energy, x)[1]["g"]
    return mean
