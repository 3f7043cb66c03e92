"""The coordinates of a table's columns, and the base in them, chosen by the validation rows."""

from __future__ import annotations

from noneq.data import DataSet
from noneq.data.coordinates import mapped
from noneq.run.bases import COLUMNS, NOISY, choose_base, some
from noneq.run.candidates import Candidate
from noneq.run.recipe import Recipe

__all__ = ["choose_coordinates"]


def choose_coordinates(
    recipe: Recipe, data: DataSet, seed: int = 0
) -> tuple[Recipe, DataSet, tuple[Candidate, ...]]:
    """Choose whether columns are mapped to normal variables, and the base of the model.

    Bases are fitted to the standardised columns, and to these columns mapped to normal variables
    (`noneq.data.Margins`). The lowest mean negative log-likelihood (NLL) of the validation
    rows decides, in the units of the standardised columns for both; where values have
    probabilities (`noneq.data.kinds`) it is that of the values. Only tables of at most 100 columns
    are mapped, and only where the recipe leaves the base to be chosen. Categories are mapped in
    two ways, to adjacent intervals of a normal variable or each to a peak of its own.

    Arguments:
        recipe: all settings of a training.
        data: data set with validation rows.
        seed: seed of the session.

    Returns:
        The recipe with the chosen base, the data set in the chosen coordinates, and all candidates
        with their NLL.
    """
    plain, candidates = _candidates(recipe, data, seed)
    columns = data.train[0].numel()
    if not candidates or recipe.train.noise > 0 or data.discrete or columns > COLUMNS:
        return plain, data, candidates
    new, other = data, plain
    others: tuple[Candidate, ...] = ()
    for apart in (False, True) if _has_categories(data) else (False,):
        tried = mapped(data, apart=apart)
        own, found = _candidates(recipe, tried, seed)
        if found and (not others or _nll(own, found) < _nll(other, others)):
            new, other, others = tried, own, found
    others = tuple(one._replace(margins=True) for one in others)
    if others and _nll(other, others) < _nll(plain, candidates):
        return other, new, (*candidates, *others)
    return plain, data, (*candidates, *others)


def _has_categories(data: DataSet) -> bool:
    cells = data.scaling.cells
    return cells is not None and any(column.levels for column in cells.columns)


def _candidates(recipe: Recipe, data: DataSet, seed: int) -> tuple[Recipe, tuple[Candidate, ...]]:
    """Choose a base, with the NLL of all candidates in the units of the standardised columns."""
    own, found = choose_base(recipe, data.train, data.validation, seed, draws=data.draws)
    if not found:
        return own, ()
    volume = float(data.scaling.log_volume(some(data.validation, NOISY)).mean())
    return own, tuple(one._replace(nll=one.nll - volume) for one in found)


def _nll(recipe: Recipe, candidates: tuple[Candidate, ...]) -> float:
    """Return the NLL of the candidate that a recipe names."""
    own = (recipe.model.base, recipe.model.components, recipe.model.ridge)
    return next(one.nll for one in candidates if one[:3] == own)
