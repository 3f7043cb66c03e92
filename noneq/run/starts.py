"""Where a training starts: coordinates, base, and what a network soon learns from scores on it.

A mixture of Gaussians that fits the rows best is not always the base from which a network learns
most: on one Gaussian it may learn more. So a training is begun on both, as far as score matching
goes, or where both are as good by then, some way farther, and the validation rows choose the one
that goes on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from noneq.annealing import Track, untracked
from noneq.data import DataSet
from noneq.run.candidates import Candidate
from noneq.run.coordinates import Proposal, propose
from noneq.run.recipe import Recipe
from noneq.run.score_stage import iterations_of_scores
from noneq.run.session import Session
from noneq.run.shifts import choose_shifts

__all__ = ["Start", "choose_start"]

MANY = 100_000  # rows from which on fitting base and kernel takes long enough to be shown
TIE, FURTHER = 0.25, 3  # nats within which both go on, and looks until then, too few to end one


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

    Before, the share of training images that are moved by a pixel is chosen (`choose_shifts`).
    `noneq.run.coordinates.propose` names a mixture and one Gaussian. A training is begun on both,
    each until the first look at the validation rows after score matching; the lower mean negative
    log-likelihood (NLL) of these rows decides. Where they differ by less than 0.25 nats, both are
    trained by likelihood for three more looks first, since one gains more by it than the other.
    The training goes on as it would without the other one, to the bit. If the budget is a time,
    the mixture is taken without a trial.

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
    recipe = choose_shifts(recipe, data)
    proposals, candidates = propose(recipe, data, seed, track=track)
    if recipe.budget.iterations is None or not iterations_of_scores(recipe):
        proposals = proposals[:1]
    slow = track if len(data.train) > MANY else untracked
    begun = [_begun(own, seed) for own in slow(proposals, "fitting base and kernel")]
    if len(begun) == 1:
        return Start(begun[0], proposals[0].data, candidates)
    tried = _scored(proposals, begun, "score matching", track)
    if abs(tried[0].nll - tried[1].nll) < TIE:
        tried = _scored(proposals, begun, "likelihood", track)
    best = min(range(len(tried)), key=lambda i: tried[i].nll)
    if math.isinf(tried[best].nll):  # none got as far as a look
        return Start(_begun(proposals[0], seed), proposals[0].data, candidates)
    return Start(begun[best], proposals[best].data, (*candidates, *tried))


def _begun(own: Proposal, seed: int) -> Session:
    return Session(own.recipe, own.data.train, seed, validation=own.data.validation)


def _scored(
    proposals: Sequence[Proposal], begun: Sequence[Session], stage: str, track: Track
) -> list[Candidate]:
    """Go on with the trainings: by score matching until a first look, by likelihood until more."""
    tried = []
    for own, session in zip(proposals, begun, strict=True):
        assert own.base is not None
        on = "a mixture" if own.base.base == "mixture" else "one Gaussian"
        looks = 1 if stage == "score matching" else FURTHER
        nll = _trained(session, own.data, looks, f"{stage} on {on}", track)
        tried.append(own.base._replace(nll=nll, network=True))
    return tried


def _trained(session: Session, data: DataSet, looks: int, label: str, track: Track) -> float:
    """Train until some more looks are taken, and return the lowest NLL so far, base or model."""
    looked = session.validation
    assert looked is not None
    enough = len(looked.looks) + looks
    ahead = iterations_of_scores(session.recipe) + 1
    if session.iteration:  # the last iteration is left to the caller
        budget = session.recipe.budget.iterations
        assert budget is not None
        ahead = min(looks * looked.interval, budget - session.iteration - 1)
    try:
        for _ in zip(track(range(ahead), label), session, strict=False):
            if len(looked.looks) == enough:
                break
    except FloatingPointError:
        return math.inf
    if len(looked.looks) == 1:  # none after score matching
        return math.inf
    return looked.lowest.nll - float(data.scaling.log_volume(looked.rows).mean())
