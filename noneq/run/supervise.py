"""Training in a run's folder: checkpoints, metrics, and rollback of a training that diverges.

`supervise` trains. A rollback restores an earlier state, from which training continues with
smaller steps.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from noneq.run import checkpoint
from noneq.run.folder import Run
from noneq.run.metrics import line
from noneq.run.session import Session
from noneq.run.staging import disk_error

__all__ = ["DivergedError", "RolledBack", "supervise"]

TRIES = 3
GOOD = 100  # iterations between the states to which a run may be rolled back


class DivergedError(RuntimeError):
    """Error: training still diverges after three rollbacks.

    Each rollback restored an earlier state, from which training continued with smaller steps.
    """


class RolledBack(NamedTuple):
    """The record of a rollback: training has diverged, and continues from an earlier state.

    Attributes:
        iteration: iteration of the earlier state, from which training continues.
        backoff: factor, 1/2, 1/4 or 1/8, of the size tau of the trust region from now on; without
            a trust region it lowers the learning rate.
        reason: sentence that says at which iteration and why the training diverged.
    """

    iteration: int
    backoff: float
    reason: str


def supervise(
    run: Run,
    session: Session,
    *,
    stop: Callable[[], object] = lambda: False,
    every: float = 30.0,
) -> Iterator[Any]:
    """Train a run until its budget is spent, with checkpoints, metrics and rollbacks.

    If training diverges, the session is rolled back to the last state without signs of divergence,
    and continues with smaller steps: with half the size tau of the trust region, or, without a
    trust region, with a lower learning rate. After three rollbacks a training ends if it diverges
    again. With early stopping it keeps what the validation rows had chosen by then, the base at
    least; without it, that is an error.

    Arguments:
        run: run (a training's folder) that the caller has locked by `Run.locked`.
        session: session (the training in memory), new or restored by `Run.restore`.
        stop: function called after every iteration; once it returns true, the run is saved and
            training ends.
        every: seconds between checkpoints.

    Returns:
        An iterator, which trains as it is iterated over: it gives the session's record of each
        iteration, and a `RolledBack` after each rollback.

    Raises:
        DivergedError: training diverged again after three rollbacks, without early stopping.
        BusyError: the folder now holds another run.
        OSError: the disk is full, or the folder cannot be written any more; the last checkpoint
            is intact.
    """
    try:
        checkpoint.sweep(run.folder)
        run.metrics.trim(session.iteration, session.backoff)
        while True:
            try:
                yield from _go_on(run, session, stop, every)
                break
            except FloatingPointError as error:
                yield _roll_back(run, session, error)
        run.save(session)
    except OSError as error:
        if not run.folder.is_dir():
            raise
        again = f", then `resume({run.folder})` goes on"
        raise disk_error(error, "the last checkpoint is intact", again) from error


def _go_on(run: Run, session: Session, stop: Callable[[], object], every: float) -> Iterator[Any]:
    saved = time.monotonic()
    for record in session:
        renewal = getattr(record, "renewed", None) is not None
        if record.iteration % 10 == 1 or renewal or session.looked or session.progress >= 1:
            run.metrics.add(line(record, session))
        if record.iteration % GOOD == 0 and session.monitor.healthy:
            run.check_own()
            checkpoint.store(run.folder / "good", session.state_dict())
        if time.monotonic() - saved >= every:
            run.save(session)
            saved = time.monotonic()
        yield record
        if stop():
            return


def _roll_back(run: Run, session: Session, error: FloatingPointError) -> RolledBack:
    """Roll back to the last good state with half the speed; give up after three rollbacks."""
    iteration, before, spent = session.iteration, session.backoff, session.seconds
    backoff = before / 2
    last = backoff < 2.0**-TRIES
    run.restore(session, "good")
    session.backoff = before if last else backoff
    session.seconds = spent  # the time is spent, although the iterations are lost
    session.ended = last and session.validation is not None
    run.metrics.trim(session.iteration, before)
    back = RolledBack(session.iteration, session.backoff, f"at iteration {iteration}: {error}")
    if not last or session.ended:
        run.metrics.add({**back._asdict(), "rollback": True})
    run.save(session)
    if last and not session.ended:
        raise DivergedError(
            f"{run.folder}: diverged at iteration {iteration} after {TRIES} rollbacks, each "
            f"with half the speed ({error}). The last good state is kept. Try "
            f"{run.family.after_divergence(run.recipe)}"
        ) from error
    return back
