"""Whether the training of a run has come to its end, and how far it is otherwise."""

from __future__ import annotations

from typing import Literal, NamedTuple

from noneq.run import checkpoint
from noneq.run.folder import Run
from noneq.run.lock import BusyError
from noneq.run.validation import ended_early

__all__ = ["Unfinished", "unfinished"]


class Unfinished(NamedTuple):
    """A training that has not come to its end.

    Attributes:
        how: "interrupted", or "running" if another process works on the run.
        where: how far its last checkpoint is, e.g. "iteration 120 of 300".
    """

    how: Literal["interrupted", "running"]
    where: str


def unfinished(run: Run) -> Unfinished | None:
    """Find out whether the training of a run was interrupted, or still goes on.

    Arguments:
        run: run, i.e. the folder of a training.

    Returns:
        How far it is; None if it has come to its end, or if its last checkpoint cannot be read.
    """
    try:
        state = checkpoint.load(run.folder / "state")
    except (OSError, ValueError):
        return None
    budget, seconds = run.recipe.budget, state["seconds"]
    iteration = int((state["trained"] or {}).get("iteration", 0))
    done = budget.progress(iteration, seconds) >= 1
    if done or state["ended"] or ended_early(run.recipe, state):
        return None
    where = f"iteration {iteration:,}"
    if budget.iterations:
        where += f" of {budget.iterations:,}"
    else:
        where += f", after {seconds:.0f} of {budget.seconds:.0f} seconds"
    return Unfinished("running" if _busy(run) else "interrupted", where)


def _busy(run: Run) -> bool:
    """Return whether another process holds the lock of the run's folder."""
    try:
        with run.locked():
            return False
    except BusyError:
        return True
    except OSError:  # e.g. a folder that cannot be written to
        return False
