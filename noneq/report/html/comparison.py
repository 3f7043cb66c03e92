"""The comparison of several runs on the same data, row by row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import torch
from plotly.graph_objects import Scatter
from torch import Tensor

from noneq.data import DataSet
from noneq.data.plaintext import visible
from noneq.report.contents import Contents
from noneq.report.html.figures import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, blank
from noneq.report.html.page import Page, Plot, Section, Table, write_page
from noneq.report.html.run_page import headline, row_nlls
from noneq.run import Run
from noneq.run.verdict import Mean

__all__ = ["write_comparison"]

COLORS = (BLUE, ORANGE, GREEN, PURPLE, RED, GREY)


def write_comparison(runs: Sequence[Run], path: Path) -> None:
    """Compare runs that were trained on the same rows, in one HTML file.

    The difference of two runs' NLL is taken row by row, so that what both have in common cancels.
    Runs with noise of different standard deviations learn different densities, and are refused.

    Arguments:
        runs: two runs or more, whose log Z has been estimated.
        path: file to write.

    Raises:
        FileNotFoundError: log Z of a run has not been estimated.
        ValueError: the runs have other rows or other noise, or there is one run only.
        OSError: the file cannot be written.
    """
    _check(runs)
    names = _names(runs)
    contents = [Contents.of(run) for run in runs]
    nlls = [
        {name: nll for name, (nll, _) in row_nlls(run, _data(one)).items()}
        for run, one in zip(runs, contents, strict=True)
    ]
    sections = [_table(names, contents, nlls)]
    sections += [_pair(names, contents, nlls, i, j) for i, j in combinations(range(len(runs)), 2)]
    sections.append(_training(names, contents))
    verdicts = [one.verdict for one in contents]
    doubtful = [n for n, v in zip(names, verdicts, strict=True) if v is None or not v.bracketed]
    said = [f"{name}: {headline(v)[1]}" for name, v in zip(names, verdicts, strict=True)]
    if doubtful:
        head = f"Not every likelihood may be quoted: see {', '.join(doubtful)}."
    else:
        head = _best(names, contents, nlls)
    title = "Comparison of " + ", ".join(names)
    write_page(Page(title, "bad" if doubtful else "good", head, said, [], sections), path)


def _check(runs: Sequence[Run]) -> None:
    if len(runs) < 2:
        raise ValueError("a comparison takes two runs or more")
    first = runs[0]
    for run in runs:
        if not run.bracketed:
            raise FileNotFoundError(
                f"{run.folder}: log Z is not known yet; `evaluate_run({run.folder})` brackets it"
            )
        if run.config["data"]["digest"] != first.config["data"]["digest"]:
            raise ValueError(
                f"{run.folder}: was trained on other rows, or another split of them, than "
                f"{first.folder}: their likelihoods do not compare"
            )
        if run.recipe.train.noise != first.recipe.train.noise:
            raise ValueError(
                f"{run.folder}: was trained with noise {run.recipe.train.noise:g}, and "
                f"{first.folder} with {first.recipe.train.noise:g}: densities of other quantities"
            )


def _names(runs: Sequence[Run]) -> list[str]:
    """Name runs by their folders, with the folder above where two have the same name."""
    short = [run.folder.resolve().name for run in runs]
    if len(set(short)) < len(runs):
        short = ["/".join(run.folder.resolve().parts[-2:]) for run in runs]
    return [visible(name) for name in short]


def _data(contents: Contents) -> DataSet:
    assert contents.data is not None
    return contents.data


def _table(
    names: Sequence[str], contents: Sequence[Contents], nlls: Sequence[dict[str, Tensor]]
) -> Section:
    lines = []
    for name, one, nll in zip(names, contents, nlls, strict=True):
        verdict = one.verdict
        assert verdict is not None
        z = f"{verdict.log_z:.2f}, " + (
            f"within {verdict.within:.2f}" if verdict.within else "exact"
        )
        means = [str(Mean.of(values)) for values in nll.values()]
        lines.append([name, *means, z, f"{len(verdict.alarms)}"])
    head = ["run", *nlls[0], "log Z", "alarms"]
    text = ["NLL in nats a row, of standardised values, by the noise that every run has."]
    return Section("Likelihoods", "", [Table(head, lines)], text)


def _gap(contents: Sequence[Contents], nlls: Sequence[dict[str, Tensor]], i: int, j: int) -> Mean:
    """Return by how much the NLL of run j is above that of run i, row by row, with its error."""
    gap = Mean.of(nlls[j]["test"].cpu() - nlls[i]["test"].cpu())
    errors = [one.verdict.stderr for one in (contents[i], contents[j]) if one.verdict is not None]
    return Mean(gap.value, math.hypot(gap.stderr, *errors))


def _sure(gap: Mean) -> bool:
    return abs(gap.value) > 2 * gap.stderr


def _tie(gap: Mean) -> str:
    return f"No difference can be told: {gap} nats a row"


def _best(
    names: Sequence[str], contents: Sequence[Contents], nlls: Sequence[dict[str, Tensor]]
) -> str:
    """Say which run has the lowest NLL of the test rows, and whether that can be told."""
    order = sorted(range(len(names)), key=lambda i: float(nlls[i]["test"].mean()))
    gap = _gap(contents, nlls, order[0], order[1])
    if _sure(gap):
        return f"{names[order[0]]} is the best on the test rows, by {gap} nats a row."
    return f"{names[order[0]]} and {names[order[1]]} cannot be told apart on the test rows."


def _pair(
    names: Sequence[str],
    contents: Sequence[Contents],
    nlls: Sequence[dict[str, Tensor]],
    i: int,
    j: int,
) -> Section:
    a, b = nlls[i]["test"].cpu(), nlls[j]["test"].cpu()
    gap = _gap(contents, nlls, i, j)
    lower = names[i] if gap.value > 0 else names[j]
    size = Mean(abs(gap.value), gap.stderr)
    said = f"{lower} is better by {size} nats a row" if _sure(gap) else _tie(gap)
    ends = [float(torch.stack([a, b]).min()), float(torch.stack([a, b]).max())]
    figure = blank(
        f"NLL of a test row by {_plain(names[i])}, nats", f"by {_plain(names[j])}, nats"
    )
    line = {"color": GREY, "dash": "dash", "width": 1}
    figure.add_trace(Scatter(x=ends, y=ends, mode="lines", line=line, showlegend=False))
    mark = {"size": 5, "opacity": 0.5, "color": BLUE}
    own = Scatter(x=a.numpy(), y=b.numpy(), mode="markers", marker=mark, showlegend=False)
    figure.add_trace(own)
    better = float((b > a).double().mean())
    alt = f"NLL of each test row by both; {names[i]} is better on {better:.0%} of the rows."
    text = [f"{said} (paired over {len(a):,} test rows, with the errors of both log Z)."]
    return Section(f"{names[i]} and {names[j]}", "", [Plot(figure, alt)], text)


def _training(names: Sequence[str], contents: Sequence[Contents]) -> Section:
    figure = blank("seconds of training", "NLL, nats a row")
    for k, (name, one) in enumerate(zip(names, contents, strict=True)):
        color = COLORS[k % len(COLORS)]
        for key, dash in (("nll", "solid"), ("validation_nll", "dot")):
            rows = [row for row in one.metrics if row.get(key) is not None]
            if not rows:
                continue
            x, y = [row["seconds"] for row in rows], [row[key] for row in rows]
            if key == "nll":
                step = max(1, len(y) // 500)
                x, y = x[::step], y[::step]
            what = "batches" if key == "nll" else "validation rows"
            figure.add_trace(
                Scatter(x=x, y=y, name=f"{_plain(name)}, {what}", mode="lines",
                        line={"color": color, "dash": dash, "width": 1})
            )  # fmt: skip
    alt = "NLL of batches and of validation rows against the seconds of training, of all runs."
    return Section("Training", "", [Plot(figure, alt)])


def _plain(name: str) -> str:
    """Escape a name for plotly, which reads a few of HTML's tags."""
    return name.replace("&", "&amp;").replace("<", "&lt;")
