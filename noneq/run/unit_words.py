"""The sentence of a verdict that says which likelihoods are densities and which probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from noneq.data.cells import Cells
from noneq.data.sentences import listed
from noneq.run.verdict import Mean

__all__ = ["measures"]


def measures(about: Mapping[str, Any], cells: Cells | None, test: Mean) -> str:
    """Say which columns of a table have densities and which probabilities.

    Arguments:
        about: what config.json says of the data.
        cells: columns with their kinds; None: all are continuous.
        test: mean NLL of the test rows in the file's units.

    Returns:
        One or two sentences; empty if the data are no table of real numbers.
    """
    if about["kind"] != "table" or about["scaling"]["threshold"] is not None or about["discrete"]:
        return ""
    columns = cells.columns if cells is not None else ()
    masses = [c.called for c in columns if c.kind != "atoms" and c.discrete]
    atoms = [c.called for c in columns if c.kind == "atoms"]
    if masses and len(masses) == len(columns):
        return f"Likelihoods are probabilities of whole rows: {test} nats, in any units."
    said = []
    if masses:
        said.append(f"values of {listed(masses)} have probabilities")
    if atoms:
        said.append(f"atoms of {listed(atoms)} have probabilities")
    other = "all else has a density" if said else "A likelihood is a density"
    first = f"{other}, in standard deviations of each column; in the file's units the test NLL is "
    return f"{'; '.join([*said, first])[:1].upper()}{'; '.join([*said, first])[1:]}{test}."
