"""The section of a report with the likelihoods, in every unit."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from noneq.data import DataSet
from noneq.report.html.page import Section, Table
from noneq.run import Run
from noneq.run.likelihoods import units_of
from noneq.run.verdict import Mean, Verdict, shown

__all__ = ["likelihoods"]


def likelihoods(run: Run, data: DataSet, verdict: Verdict) -> Section:
    """Make the section about likelihoods: in nats, in the file's units and in bits a dimension.

    Arguments:
        run: run whose log Z has been estimated.
        data: its data.
        verdict: its evaluation.

    Returns:
        The section, with one table for each unit.
    """
    doubt = "" if verdict.bracketed else " (not bracketed)"
    rows = {verdict.origin: verdict.base, f"model{doubt}": verdict.nll}
    if verdict.simplest is not None:
        rows = {"one Gaussian": verdict.simplest, **rows}
    splits = list(verdict.nll)
    columns = ["", *splits]

    def table(caption: str, change: Callable[[str, Mean], str]) -> Table:
        own = [[name, *(change(s, means[s]) for s in splits)] for name, means in rows.items()]
        return Table(columns, own, caption)

    parts = [table(f"NLL in nats a row, of {units_of(run)}", lambda _, mean: str(mean))]
    units = _units(run, data)
    if any(bool(values.any()) for values in units.values()):
        own = {split: float(values.mean()) for split, values in units.items()}
        constant = all(float(values.std()) < 1e-9 for values in units.values())
        parts.append(
            table(
                "NLL in nats a row, in the units of the file",
                lambda split, mean: (
                    str(Mean(mean.value - own[split], mean.stderr))
                    if constant  # else the error is another one
                    else f"{mean.value - own[split]:.2f}"
                ),
            )
        )
        if data.kind == "image":
            bits = math.log(2) * data.scaling.images(data.train[:1]).numel()
            parts.append(
                table(
                    "bits a dimension, in the units of the file",
                    lambda split, mean: (
                        f"{(mean.value - own[split]) / bits:.3f} ± {mean.stderr / bits:.3f}"
                    ),
                )
            )
    text = [
        "The NLL is the negative logarithm of the model's density (or probability) of a row, "
        f"averaged; ± is its standard error over the rows. log Z adds ± {shown(verdict.stderr)}, "
        "the same for all rows."
    ]
    if noise := run.recipe.train.noise:
        text.append(
            f"All are of rows with noise of standard deviation {noise:g} added, in the model's "
            f"units ({run.scaling})."
        )
    good = "the model is below its base on all rows, and test is close to train."
    return Section("Likelihoods", good, parts, text)


def _units(run: Run, data: DataSet) -> dict[str, Tensor]:
    """Compute what is added to each row's log-likelihood for the file's units; 0 for bits."""
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    if run.scaling.threshold is not None or run.family.binary:
        return {name: torch.zeros(2) for name in splits}
    sizes = zip(splits.items(), data.sizes, strict=True)
    return {name: run.scaling.log_units(x[:size]) for (name, x), size in sizes}
