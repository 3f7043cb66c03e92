"""Where a training starts: coordinates, base, and what a network soon learns from scores on it.

A mixture of Gaussians that fits the rows best is not always the base from which a network learns
most: on one Gaussian it may learn more. So a training is begun on both, as far as score matching
goes, and the validation rows choose the one that goes on.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from noneq.annealing import Track, untracked
from noneq.data import DataSet
from noneq.run.candidates import Candidate
from noneq.run.coordinates import Proposal, propose
from noneq.run.recipe import Recipe
from noneq.run.score_stage import iterations_of_scores
from noneq.run.session import Session

__all__ = ["Start", "choose_start"]

MANY = 100_000  # rows from which on fitting base and kernel takes long enough to be shown


class Start(NamedTuple):
    """A training that has been begun, and what was tried for it.

    Attributes:
        session: training in memory, new, or with score matching behind it.
        data: data set in the coordinates of the training.
        candidates: all that was scored by the validation rows, bases and networks on them.
    """

    session: Session
    data: DataSet
    candidates: tuple[Candidate, ...]


def choose_start(
    recipe: Recipe, data: DataSet, seed: int = 0, *, track: Track = untracked
) -> Start:
    """Choose the coordinates, the base, and where there are two bases the one to train on.

    `noneq.run.coordinates.propose` names a mixture and one Gaussian. A training is begun on both,
    each until the first look at the validation rows after score matching; the lower mean negative
    log-likelihood (NLL) of these rows decides. The training goes on as it would without the other
    one, to the bit. If the budget is a time, the mixture is taken without a trial.

    Arguments:
        recipe: all settings of a training.
        data: data set with validation rows.
        seed: seed of the session.
        track: function ``(steps, label) -> steps`` that displays the progress of a loop.

    Returns:
        The training, a `Start`.

    >>> import noneq, numpy as np, tempfile
    >>> from noneq.run.starts import choose_start
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/rows.npy", np.random.default_rng(0).normal(size=(200, 2)))
    ...     data = noneq.data.load(f"{folder}/rows.npy")
    >>> recipe = noneq.run.choose((2,), len(data.train), "table", iterations=2)
    >>> start = choose_start(recipe, data)
    >>> start.session.iteration, start.session.recipe.model.base
    (0, 'full')
    """
    proposals, candidates = propose(recipe, data, seed, track=track)
    if recipe.budget.iterations is None or not iterations_of_scores(recipe):
        proposals = proposals[:1]
    slow = track if len(data.train) > MANY else untracked
    begun = [_begun(own, seed) for own in slow(proposals, "fitting base and kernel")]
    if len(begun) == 1:
        return Start(begun[0], proposals[0].data, candidates)
    tried = []
    for own, session in zip(proposals, begun, strict=True):
        assert own.base is not None
        on = "a mixture" if own.base.base == "mixture" else "one Gaussian"
        nll = _after_scores(session, own.data, f"score matching on {on}", track)
        tried.append(own.base._replace(nll=nll, network=True))
    best = min(range(len(tried)), key=lambda i: tried[i].nll)
    if math.isinf(tried[best].nll):  # none got as far as a look
        return Start(_begun(proposals[0], seed), proposals[0].data, candidates)
    return Start(begun[best], proposals[best].data, (*candidates, *tried))


def _begun(own: Proposal, seed: int) -> Session:
    return Session(own.recipe, own.data.train, seed, validation=own.data.validation)


def _after_scores(session: Session, data: DataSet, label: str, track: Track) -> float:
    """Train until the first look after score matching, and return the lower NLL, base or model."""
    most = iterations_of_scores(session.recipe) + 1
    records = iter(session)
    try:
        for _ in track(range(most), label):
            next(records)
            if session.looked:
                break
    except (FloatingPointError, StopIteration):
        return math.inf
    looked = session.validation
    assert looked is not None
    return looked.lowest.nll - float(data.scaling.log_volume(looked.rows).mean())
