"""The coordinates of a table's columns, and the base in them, chosen by the validation rows."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from noneq.annealing import Track, untracked
from noneq.data import DataSet, Scaling
from noneq.data.coordinates import mapped, with_margins
from noneq.run.bases import COLUMNS, NOISY, ROWS, choose_base, some
from noneq.run.candidates import Candidate
from noneq.run.flows import check_flow, train_flow
from noneq.run.recipe import Recipe

__all__ = ["Proposal", "propose"]


class Proposal(NamedTuple):
    """Coordinates and a base from which training may start.

    Attributes:
        recipe: all settings of the training, with the base.
        data: data set in the coordinates.
        base: the base, with its NLL of the validation rows; None if there was nothing to choose.
    """

    recipe: Recipe
    data: DataSet
    base: Candidate | None


def propose(
    recipe: Recipe, data: DataSet, seed: int = 0, *, track: Track = untracked
) -> tuple[tuple[Proposal, ...], tuple[Candidate, ...]]:
    """Choose whether columns are mapped to normal variables, and the base of the model.

    Bases are fitted to the standardised columns, and to these columns mapped to normal variables
    (`noneq.data.Margins`). The lowest mean negative log-likelihood (NLL) of the validation
    rows decides, in the units of the standardised columns for both; where values have
    probabilities (`noneq.data.kinds`) it is that of the values. Only tables of at most 100 columns
    are mapped, and only where the recipe leaves the base to be chosen. Categories, and columns
    with several peaks, are mapped in two ways: to one normal variable, or so that their peaks stay
    apart. Where the recipe has a flow, it is trained on the best of these columns, and bases are
    fitted in its coordinates, too (`noneq.run.flows`).

    Arguments:
        recipe: all settings of a training.
        data: data set with validation rows.
        seed: seed of the session.
        track: function ``(steps, label) -> steps`` that displays the progress of a loop.

    Returns:
        The coordinates and base with the lowest NLL; if that base is a mixture, and not one of a
        flow's coordinates, also those of the best single Gaussian, from which a network may learn
        more. Then all candidates with their NLL.

    Raises:
        ValueError: the recipe has a flow, which cannot be trained on such data.
        ImportError: zuko, which flows need, is not installed.
    """
    check_flow(recipe, data)
    few = _thinned(data)
    found = [_proposal(recipe, few, seed)]
    columns = data.train[0].numel()
    fixed = found[0][0].base is None or recipe.train.noise > 0
    if not fixed and not data.discrete and columns <= COLUMNS:
        found += [_proposal(recipe, mapped(few, own), seed) for own in _maps(data)]
    if getattr(recipe.model, "spline_flow", False):
        found.append(_with_flow(recipe, data, few, found, seed, track))
    best = min((own for own, _ in found), key=_nll)
    single = [_on_one_gaussian(recipe, own, candidates) for own, candidates in found]
    second = min((own for own in single if own is not None), key=_nll, default=None)
    alone = second is None or best.recipe.model.base != "mixture" or best.data.scaling.flow
    proposals = (best,) if second is None or alone else (best, second)
    whole = tuple(own._replace(data=_all_rows(data, own)) for own in proposals)
    return whole, tuple(one for _, candidates in found for one in candidates)


def _maps(data: DataSet) -> list[Scaling]:
    """Return the maps of columns with peaks together, and apart where that is another map."""
    together, apart = (with_margins(data, apart=way) for way in (False, True))
    assert together.margins is not None
    assert apart.margins is not None
    same = together.margins.plain() == apart.margins.plain() | {"apart": False}
    return [together] if same else [together, apart]


def _thinned(data: DataSet) -> DataSet:
    """Return as many rows as bases are fitted to and scored by, since no other ones are read."""
    if data.draws > 1:  # whose rows come in a certain order
        return data
    train, validation = some(data.train, ROWS), some(data.validation, NOISY)
    return replace(data, train=train, validation=validation, test=data.test[:1])


def _all_rows(data: DataSet, own: Proposal) -> DataSet:
    """Return all rows of a data set in the coordinates of a proposal."""
    return data if own.data.scaling.coordinates is None else mapped(data, own.data.scaling)


def _with_flow(
    recipe: Recipe,
    data: DataSet,
    few: DataSet,
    found: list[tuple[Proposal, tuple[Candidate, ...]]],
    seed: int,
    track: Track,
) -> tuple[Proposal, tuple[Candidate, ...]]:
    """Train a flow on the columns for which bases were found, and choose a base of its own."""
    if found[0][0].base is None:
        raise ValueError(
            "there are too few different validation rows to choose a flow: give more rows, or "
            "leave `spline_flow` out"
        )
    best = min((own for own, _ in found if own.data.scaling.margins), key=_nll, default=None)
    margins = None if best is None else best.data.scaling
    return _proposal(recipe, mapped(few, train_flow(data, margins, seed, track=track)), seed)


def _proposal(recipe: Recipe, data: DataSet, seed: int) -> tuple[Proposal, tuple[Candidate, ...]]:
    """Choose a base in given coordinates, by NLLs in the units of the standardised columns."""
    own, found = choose_base(recipe, data.train, data.validation, seed, draws=data.draws)
    if not found:
        return Proposal(own, data, None), ()
    volume = float(data.scaling.log_volume(some(data.validation, NOISY)).mean())
    tried = tuple(o._replace(nll=o.nll - volume, columns=data.scaling.columns) for o in found)
    name = (own.model.base, own.model.components, own.model.ridge)
    return Proposal(own, data, next(one for one in tried if one[:3] == name)), tried


def _on_one_gaussian(
    recipe: Recipe, own: Proposal, tried: tuple[Candidate, ...]
) -> Proposal | None:
    """Propose the best single Gaussian of the candidates in the coordinates of a proposal."""
    single = [one for one in tried if one.base != "mixture"]
    if not single:
        return None
    best = min(single, key=lambda one: one.nll)
    model = replace(recipe.model, base=best.base, components=None, ridge=best.ridge)
    return Proposal(replace(recipe, model=model), own.data, best)


def _nll(own: Proposal) -> float:
    return float("inf") if own.base is None else own.base.nll
