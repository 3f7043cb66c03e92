"""The comparison of several runs on the same data, row by row."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

from plotly.graph_objects import Scatter
from torch import Tensor

from noneq.data.plaintext import visible
from noneq.report.contents import metrics_of
from noneq.report.html.differences import check_comparable
from noneq.report.html.figures import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, blank, escaped
from noneq.report.html.page import Page, Plot, Section, Table, check_replaceable, write_page
from noneq.report.html.run_page import headline
from noneq.run import Run
from noneq.run.choosing import applicable
from noneq.run.likelihoods import nll_of_splits, splits_of, units_of
from noneq.run.verdict import Mean, Verdict, shown
from noneq.run.verdict_file import read_verdict

__all__ = ["place_of_comparison", "write_comparison"]

COLORS = (BLUE, ORANGE, GREEN, PURPLE, RED, GREY)
MOST = 100_000  # test rows that are compared
LONGEST = 150  # bytes of the name of a page, without its ending


@dataclass(frozen=True)
class _Compared:
    """One of the runs: its verdict, and the NLL of each test row."""

    name: str
    run: Run
    verdict: Verdict
    nll: Tensor
    observations: Tensor
    metrics: list[dict[str, Any]]

    @classmethod
    def of(cls, run: Run, name: str) -> _Compared:
        data, energy = run.data(), run.model()[0]
        verdict = read_verdict(run, energy)
        test = {"test": splits_of(run, data, MOST)["test"]}
        nll = nll_of_splits(energy, verdict.log_z, test, run.recipe.train.noise)["test"]
        own = test["test"].observations.cpu()
        return cls(name, run, verdict, nll.cpu(), own, metrics_of(run, data))


def write_comparison(runs: Sequence[Run], path: Path) -> None:
    """Compare runs that were trained on the same rows, in one HTML file.

    The difference of two runs' NLL is taken row by row, under the same noise, so that what both
    have in common cancels. Runs whose likelihoods are of different quantities are refused.

    Arguments:
        runs: two runs or more, whose log Z has been estimated.
        path: file to write.

    Raises:
        FileNotFoundError: log Z of a run has not been estimated.
        ValueError: the runs have other rows, other kinds of columns or other noise, a run is
            given twice, or there is one run only.
        FileExistsError: there is a file at the path that is no comparison of these runs.
        OSError: the file cannot be written.
    """
    check_comparable(runs)
    mark = _mark(runs)
    check_replaceable(path, mark)
    own = [_Compared.of(run, name) for run, name in zip(runs, _names(runs), strict=True)]
    sections = [_table(own), *(_pair(*two) for two in combinations(own, 2)), _training(own)]
    said = [f"{one.name}: {headline(one.verdict)[1]}" for one in own]
    state, head = _headline(own)
    title = "Comparison of " + ", ".join(one.name for one in own)
    write_page(Page(title, state, head, said, [], sections, mark), path)


def place_of_comparison(runs: Sequence[Run]) -> Path:
    """Choose where the comparison of runs is written unless the user names a file.

    Arguments:
        runs: two runs or more.

    Returns:
        A file beside the folder of the first run, e.g. runs/comparison_a_b.html.
    """
    folder = runs[0].folder
    if folder.name in ("", ".."):
        folder = folder.resolve()
    name = "_".join(["comparison", *(re.sub(r"[^\w.+-]+", "-", one) for one in _names(runs))])
    return folder.parent / (name.encode()[:LONGEST].decode(errors="ignore") + ".html")


def _mark(runs: Sequence[Run]) -> str:
    """Say which runs a page compares, by their folders below the one that holds all of them."""
    parts = [run.folder.resolve().parts for run in runs]
    above = next(k for k in range(len(parts[0]) + 1) if len({own[: k + 1] for own in parts}) > 1)
    names = ["/".join(own[above:]) or "." for own in parts]
    return "comparison of " + ", ".join(sorted(map(visible, names)))


def _names(runs: Sequence[Run]) -> list[str]:
    """Name runs by their folders, with as many folders above as tell them apart."""
    parts = [run.folder.resolve().parts for run in runs]
    for many in range(1, max(map(len, parts)) + 1):
        names = [visible("/".join(own[-many:])) for own in parts]
        if len(set(names)) == len(names):
            return names
    return [f"{name}, {k}" for k, name in enumerate(names, 1)]


def _table(own: Sequence[_Compared]) -> Section:
    lines = []
    for one in own:
        verdict = one.verdict
        within = f", within {shown(verdict.within)}" if verdict.within else ", exact"
        means = map(str, verdict.nll.values())
        lines.append(
            [one.name, *means, f"{shown(verdict.log_z)}{within}", f"{len(verdict.alarms)}"]
        )
    head = ["run", *own[0].verdict.nll, "log Z", "alarms"]
    noise = own[0].run.recipe.train.noise
    noisy = f", with noise of standard deviation {noise:g}" if noise else ""
    text = [f"NLL in nats a row, of {units_of(own[0].run)}{noisy}."]
    parts = [Table(head, lines)]
    if len({one.run.recipe.kind for one in own}) == 1 and (settings := _settings(own)):
        names = ["setting", *(one.name for one in own)]
        parts.append(Table(names, settings, "Settings that differ"))
    return Section("Likelihoods", "", parts, text)


def _settings(own: Sequence[_Compared]) -> list[list[str]]:
    """List the settings in which runs of one kind of model differ."""
    every = [applicable(one.run.recipe) for one in own]
    return [
        [name, *("off" if plain[name] is None else f"{plain[name]}" for plain in every)]
        for name in every[0]
        if len({str(plain[name]) for plain in every}) > 1
    ]


def _gap(a: _Compared, b: _Compared) -> Mean:
    """Return by how much the NLL of b is above that of a, row by row, with its error."""
    gap = Mean.of(b.nll - a.nll, a.observations)
    return Mean(gap.value, math.hypot(gap.stderr, a.verdict.stderr, b.verdict.stderr))


def _sure(gap: Mean) -> bool:
    return abs(gap.value) > 3 * gap.stderr


def _headline(own: Sequence[_Compared]) -> tuple[Literal["good", "bad", "unknown"], str]:
    """Say which run has the lowest NLL of the test rows, and which are better than their bases.

    Returns:
        The state, "bad" if likelihoods are in doubt, "good" if the lowest is better than its base,
        else "unknown"; and the words.
    """
    doubtful = [one.name for one in own if not one.verdict.bracketed]
    if doubtful:
        return "bad", f"Not every likelihood may be quoted: see {', '.join(doubtful)}."
    first, second, *_ = sorted(own, key=lambda one: float(one.nll.mean()))
    gap, poor = _gap(first, second), _no_better(own)
    if _sure(gap):
        said = f"{first.name} has the lowest NLL of the test rows, by {gap} nats a row"
        said += f" ({second.name} is next)" if len(own) > 2 else ""
    else:
        said = f"{first.name} and {second.name} cannot be told apart on the test rows"
        said += " (the two lowest NLLs)" if len(own) > 2 else ""
    return "good" if _beats_base(first.verdict) else "unknown", f"{said}{poor}."


def _beats_base(verdict: Verdict) -> bool:
    """Return whether a model is better on the test rows than the base that it began from."""
    sure = verdict.gain.value > 3 * math.hypot(verdict.gain.stderr, verdict.stderr)
    return verdict.kept == "model" and sure


def _no_better(own: Sequence[_Compared]) -> str:
    """Name the runs that are not better than their bases; empty: there are none."""
    poor = [one.name for one in own if not _beats_base(one.verdict)]
    if not poor:
        return ""
    if len(poor) == len(own):
        return f"; {'neither' if len(own) == 2 else 'none'} is better than its base"
    are = "is" if len(poor) == 1 else "are"
    their = "its base" if len(poor) == 1 else "their bases"
    return f"; {' and '.join(poor)} {are} not better than {their}"


def _pair(a: _Compared, b: _Compared) -> Section:
    gap = _gap(a, b)
    lower = a.name if gap.value > 0 else b.name
    size = Mean(abs(gap.value), gap.stderr)
    said = f"{lower} has the lower NLL, by {size} nats a row"
    if not _sure(gap):
        said = f"No difference can be told: {gap} nats a row"
    ends = [float(min(a.nll.min(), b.nll.min())), float(max(a.nll.max(), b.nll.max()))]
    figure = blank(f"NLL of a test row by {escaped(a.name)}, nats", f"by {escaped(b.name)}, nats")
    line = {"color": GREY, "dash": "dash", "width": 1}
    figure.add_trace(Scatter(x=ends, y=ends, mode="lines", line=line, showlegend=False))
    mark = {"size": 5, "opacity": 0.5, "color": BLUE}
    x, y = a.nll[:5000].numpy(), b.nll[:5000].numpy()
    figure.add_trace(Scatter(x=x, y=y, mode="markers", marker=mark, showlegend=False))
    better = float((b.nll > a.nll).double().mean())
    alt = f"NLL of each test row by both; {a.name} has the lower one on {better:.0%} of them."
    text = [f"{said} (paired over {len(a.nll):,} test rows, with the errors of both log Z)."]
    return Section(f"{a.name} and {b.name}", "", [Plot(figure, alt)], text)


def _training(own: Sequence[_Compared]) -> Section:
    figure = blank("seconds of training", "NLL, nats a row")
    for k, one in enumerate(own):
        for key, dash, what in (
            ("nll", "solid", "batches"),
            ("validation_nll", "dot", "validation rows"),
        ):
            rows = [row for row in one.metrics if row.get(key) is not None]
            rows = rows[:: max(1, len(rows) // 500)]
            if rows:
                x, y = [row["seconds"] for row in rows], [row[key] for row in rows]
                line = {"color": COLORS[k % len(COLORS)], "dash": dash, "width": 1}
                name = f"{escaped(one.name)}, {what}"
                mode = "lines" if len(rows) > 1 else "markers"  # a point has no line
                figure.add_trace(Scatter(x=x, y=y, name=name, mode=mode, line=line))
    alt = "NLL of batches and of validation rows against the seconds of training, of all runs."
    return Section("Training", "", [Plot(figure, alt)])
