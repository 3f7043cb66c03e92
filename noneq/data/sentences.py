"""The kinds of columns in words."""

from __future__ import annotations

from collections.abc import Sequence

from noneq.data.kinds import NAME, Column, LeftOut
from noneq.data.plaintext import visible

__all__ = ["described", "listed", "sentences"]

SHOWN = 6  # categories, or atoms, in a description
KINDS = 10  # descriptions, at most


def described(column: Column) -> str:
    """Describe the kind of a column in a few words.

    Arguments:
        column: column of a table.

    Returns:
        E.g. "whole numbers, step 1", "steps of 0.1" or "category (female, male)".
    """
    if column.kind == "category":
        names = [visible(t, NAME) for t in column.texts] or [f"{v:g}" for v in column.levels]
        shown = names[:SHOWN] + [f"{len(names) - SHOWN} more"] * (len(names) > SHOWN)
        return f"category ({', '.join(shown)})"
    what = "continuous"
    if column.step and column.whole:
        what = "whole numbers" + f", step {column.step:g}" * column.counted
    elif column.step and column.counted:
        what = f"steps of {column.step:g}"
    elif column.step:
        what = "continuous, " + ("many values repeat" if column.loose else "rounded")
    if column.atoms:
        values = ", ".join(f"{v:g}" for v in column.atoms[:SHOWN])
        what += f", with atom{'s' * (len(column.atoms) > 1)} at {values}"
    return what


def sentences(columns: Sequence[Column], left_out: Sequence[LeftOut]) -> str:
    """List the kinds of all columns, columns of one description together.

    Arguments:
        columns: columns that a model is trained on.
        left_out: columns that are left out.

    Returns:
        E.g. "x, y: continuous; sex: category (female, male); left out: id (numbers the rows)".
    """
    groups: dict[str, list[str]] = {}
    for column in columns:
        groups.setdefault(described(column), []).append(column.called)
    said = [f"{listed(names)}: {what}" for what, names in groups.items()][:KINDS]
    others = sum(len(names) for names in list(groups.values())[KINDS:])
    if others:
        said.append(f"{others} more columns of other kinds")
    if left_out:
        said.append("left out: " + listed([f"{one.called} ({one.why})" for one in left_out]))
    return "; ".join(said)


def listed(names: Sequence[str], most: int = 8) -> str:
    """List names with commas between them.

    Arguments:
        names: the names.
        most: how many of them are listed.

    Returns:
        A text such as "a, b and 3 more".
    """
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
