"""What ends a run: its likelihood, the verdict in words, a picture, what to do next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from noneq.console import say, show_table, tracked
from noneq.data import DataSet
from noneq.run import Run
from noneq.verdict import Verdict, judge

__all__ = ["close"]


def close(run: Run, data: DataSet, how: Mapping[str, Any] | None = None) -> None:
    """Bracket log Z, draw samples.png, and say it all.

    Arguments:
        run: that has been trained, and is locked.
        data: what it was trained on, on its device.
        how: see `noneq.verdict.judge`.
    """
    from noneq.pictures import draw_samples

    verdict = judge(run, data, how=how, track=tracked)
    draw_samples(run, data, run.folder / "samples.png")
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
