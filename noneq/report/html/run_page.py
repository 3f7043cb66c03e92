"""The report of one run: verdict, likelihoods, training, samples, unlikely rows and settings."""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from noneq.data import DataSet
from noneq.data.plaintext import visible
from noneq.likelihood.support import nearest
from noneq.report.contents import Contents
from noneq.report.html.curves import training_sections
from noneq.report.html.likelihoods import likelihoods
from noneq.report.html.page import Page, Section, Table, write_page
from noneq.report.html.rows import (
    energies_section,
    filters_section,
    labels_section,
    rows_shown,
)
from noneq.report.html.samples import samples_section
from noneq.run import Run
from noneq.run.candidates import Candidate, explained, named
from noneq.run.differences import told
from noneq.run.likelihoods import nll_of_splits, splits_of, units_of
from noneq.run.unfinished import unfinished
from noneq.run.verdict import Mean, Verdict
from noneq.version import __version__

__all__ = ["headline", "write_report"]

SHOWN = 12  # rows that are the least likely, or samples that are the farthest from all data
MOST = 20_000  # rows of a split that are looked at


def write_report(
    run: Run,
    path: Path,
    *,
    commands: Sequence[tuple[str, str]] = (),
    words: Callable[[str], str] = str,
) -> None:
    """Write the report of a run to one HTML file, which needs no other file and fetches nothing.

    Arguments:
        run: run, i.e. the folder of a training, whether log Z has been estimated or not.
        path: file to write.
        commands: commands that the reader may type next, each with what it does.
        words: function that replaces names of settings in backticks, in sentences of the library,
            by what the reader can type.

    Raises:
        ValueError: if the run has no metrics yet.
        OSError: the file cannot be written.
    """
    contents = Contents.of(run)
    verdict = contents.verdict
    state, head = headline(verdict)
    if verdict is None:
        if state_of := unfinished(run):
            head = f"No likelihood yet: the training {_TENSE[state_of.how]} {state_of.where}."
        said = ["The training can be looked at below. Nothing is known of the likelihoods yet."]
    else:
        said = [words(sentence).strip() for sentence in verdict.summary()]
    sections = [*_of_model(contents), *training_sections(contents.metrics, verdict)]
    if not contents.metrics:
        raise ValueError(f"{run.folder}: has no metrics: has the training begun?")
    sections.append(_settings(run))
    title = visible(run.folder.resolve().name)
    write_page(Page(title, state, head, said, commands, sections), path)


_TENSE = {"interrupted": "was interrupted at", "running": "still goes on, and has reached"}


def headline(verdict: Verdict | None) -> tuple[Any, str]:
    """Say in a few words whether the likelihoods of a run may be believed.

    Arguments:
        verdict: evaluation of the run; None: log Z has not been estimated.

    Returns:
        The state, "good", "bad" or "unknown", and the words.
    """
    if verdict is None:
        return "unknown", "No likelihood yet: log Z has not been estimated."
    if not verdict.bracketed:
        many = len(verdict.alarms)
        return "bad", f"Do not quote its likelihoods: {many} alarm{'s' * (many > 1)}."
    if verdict.kept == "base":
        return "unknown", f"Its likelihoods hold, but the model is only its {verdict.origin}."
    if not verdict.gain.value > 3 * math.hypot(verdict.gain.stderr, verdict.stderr):
        return "unknown", f"Its likelihoods hold, but it is not better than its {verdict.origin}."
    if verdict.memorised is not None:
        return "unknown", "Its likelihoods hold, but it has memorised training rows."
    if told(verdict.differences):
        return "unknown", "Its likelihoods hold, but its samples differ from the data."
    return "good", "Its likelihoods may be believed."


def _of_model(contents: Contents) -> list[Section]:
    """Make the sections about the model, in the order in which a reader asks for them."""
    run, data, verdict = contents.run, contents.data, contents.verdict
    if data is None or verdict is None or contents.samples is None or contents.energies is None:
        return []
    found = [likelihoods(run, data, verdict)]
    if verdict.labels is not None:
        found.append(labels_section(verdict))
    bases = [Candidate(**one) for one in run.config.get("bases", ())]
    if bases:
        found.append(_tried(bases))
    found.append(_samples(contents, data))
    found.append(_far(contents, data))
    found.append(_unlikely(run, data, verdict))
    found.append(energies_section(contents.energies))
    if contents.filters is not None:
        found.append(filters_section(contents.filters))
    return found


# -- sections
def _tried(bases: Sequence[Candidate]) -> Section:
    """List the best bases, and the simplest one wherever it stands."""
    order = sorted(bases, key=lambda one: one.nll)
    shown = order[:SHOWN] + [one for one in order[SHOWN:] if one[:3] == ("full", None, None)]
    rows = [[named(one), f"{Mean(one.nll, one.stderr)}"] for one in shown]
    texts = [
        "The validation rows chose the base, from which the training starts, among these: the "
        "lowest NLL, but of more Gaussians only where it is lower by more than a standard "
        "error of the difference, row by row."
    ]
    return Section(
        "What was tried",
        "",
        [Table(["base", "NLL of the validation rows, nats"], rows)],
        [*texts, *explained(" ".join(map(named, shown)))],
    )


def _samples(contents: Contents, data: DataSet) -> Section:
    """Show samples beside data, with the differences that the evaluation has found."""
    assert contents.samples is not None
    assert contents.verdict is not None
    found = contents.verdict.differences
    return samples_section(contents.samples, data, contents.effective, found)


def _far(contents: Contents, data: DataSet) -> Section:
    """Show the samples that are the farthest from all data."""
    verdict, x = contents.verdict, contents.population
    assert verdict is not None
    assert x is not None
    x = torch.unique(x, dim=0)
    distance = nearest(x, data.train[: data.sizes[0]])
    order = distance.argsort(descending=True)[:SHOWN]
    text = []
    if (away := verdict.off_support_mass) is not None:
        text.append(
            f"{away.value:.1%} ± {away.stderr:.1%} of the model's mass lies farther from the data "
            f"than 99 % of held-out data; of a perfect model it would be {away.expected:.1%}. In "
            "many dimensions a model that is slightly too wide everywhere has much mass there."
        )
    good = "the samples that are farthest from all data still look like data."
    if getattr(contents.run.recipe.model, "background", False):
        good = "all but a few of the samples that are farthest from all data look like data."
        text.append(
            "Among the samples are those of the wide background that the model has on purpose, "
            "about one in as many as there are training rows, so that odd rows are not "
            "impossible; their values can be far out of the range of a column."
        )
    about = [f"{float(d):.2f}" for d in distance[order]]
    shown = rows_shown(contents.run, data, x[order], "distance to the nearest row", about)
    return Section(
        "Mass where there are no data",
        good,
        shown,
        text,
    )


def _unlikely(run: Run, data: DataSet, verdict: Verdict) -> Section:
    """Show the rows that are the least likely by the model."""
    energy, splits = run.model()[0], splits_of(run, data, MOST)
    found = nll_of_splits(energy, verdict.log_z, splits, run.recipe.train.noise)
    nlls = torch.cat([*found.values()])
    rows = torch.cat([splits[name].x[: len(nll)] for name, nll in found.items()])
    split = [name for name, nll in found.items() for _ in range(len(nll))]
    order = nlls.argsort(descending=True)[:SHOWN]
    about = [f"{float(nlls[i]):.1f}, {split[i]}" for i in order]
    if run.scaling.labels is not None:
        labels = run.scaling.labels.of(rows[order]).tolist()
        about = [f"{said}, label {own}" for said, own in zip(about, labels, strict=True)]
    shown = rows_shown(run, data, rows[order], "NLL, nats, and split", about)
    return Section(
        "The least likely rows",
        "they are strange in a way that can be named; a mistake in the file shows here first.",
        shown,
        [
            f"Half of the {len(nlls):,} rows that were looked at have an NLL below "
            f"{float(nlls.median()):.1f} nats. NLLs are those of {units_of(run)}."
            + " noneq score gives the lines of rows in the file, and NLLs in its units."
            * run.tabular
        ],
    )


def _settings(run: Run) -> Section:
    """Show settings and versions, and how to make the run again."""
    plain = run.recipe.plain()
    own = [
        [
            name,
            "none" if value is None else f"{value:g}" if isinstance(value, float) else f"{value}",
        ]
        for section in run.recipe.sections()
        for name, value in _named(section, plain[section]).items()
    ]
    about, config = run.config["data"], run.config
    facts = [
        ["data", visible(Path(about["source"]).name)],
        ["rows: train, validation, test", ", ".join(f"{n:,}" for n in about["rows"])],
        ["sha256 of the values", about["digest"]],
        ["begun", config["created"]],
        ["seed", f"{run.seed}"],
        ["device", f"{config['device']}"],
        ["noneq, of the training", config["noneq"]],
        ["noneq, torch, numpy, Python, of this page",
         f"{__version__}, {torch.__version__}, {np.__version__}, {platform.python_version()}"],
    ]  # fmt: skip
    text = (
        "config.json in the folder of the run has all of this. On a CPU, the same settings, "
        "seed, number of iterations, number of threads and version give the same numbers."
    )
    tables = [Table(["", ""], facts, "What was trained"), Table(["", ""], own, "Settings")]
    return Section("How to make it again", "", tables, [text])


def _named(section: str, settings: dict[str, Any]) -> dict[str, Any]:
    return {f"{section}.{name}": value for name, value in settings.items()}
