"""The base of a model: the energy of known log Z that training starts from, fitted to rows.

`fit_base` fits the base that a recipe names. `choose_base` fits several bases to the training rows
and chooses the one that gives the validation rows the lowest negative log-likelihood (NLL): a
Gaussian shrunk after Ledoit and Wolf (2004), Gaussians with a ridge, or mixtures of Gaussians.
A count of operations, and never a clock, decides which of them are fitted.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from noneq.energies import Gaussian, GaussianMixture
from noneq.likelihood.score import grouped_stderr, mean_energy
from noneq.run.candidates import Candidate
from noneq.run.recipe import Recipe

__all__ = ["choose_base", "fit_base", "operations", "some"]

RIDGES = (1e-6, 1e-4, 1e-3, 1e-2, 3e-2, 1e-1)
COMPONENTS = (2, 3, 5, 8, 12, 20, 30, 50, 80)
WIDTHS = (1e-4, 1e-3, 1e-2, 3e-2, 1e-1, 3e-1)  # ridges of mixtures
WIDE = 2048  # in more dimensions no full covariances are fitted
COLUMNS = 100  # in more dimensions no mixtures are fitted
EACH = 8  # rows that a component of a mixture needs
ROWS = 8000  # rows that mixtures, and all candidates, are fitted to at most
NOISY = 4000  # validation rows that are scored at most, draws of noise included
LEAST, FEWEST = 10, 3  # fewer different validation rows, or wide ones, choose nothing
BUDGET = 5e10  # operations of all fits: at most about 10 s of one core
ITERATIONS = 25  # of expectation maximisation, as they are counted
FACTORS = 10  # factor analysis in fits of a covariance, as it is counted


def fit_base(model: Any, rows: Tensor, *, noise: float, seed: int) -> Gaussian | GaussianMixture:
    """Fit the base that the settings of a model name. A base to be chosen is a full Gaussian.

    In more than 2,048 dimensions it is a diagonal one instead.

    Arguments:
        model: settings with the field ``base``, and perhaps ``components`` and ``ridge``.
        rows: training rows (M, *shape); a mixture is fitted to 8,000 of them at most.
        noise: standard deviation of the noise that training adds to the rows.
        seed: seed of the first means of a mixture.

    Returns:
        The base.

    Raises:
        ValueError: there are fewer rows than components, or the rows have no such density.
    """
    ridge: float | None = getattr(model, "ridge", None)
    if model.base != "mixture":
        wide = rows[0].numel() > WIDE
        kind: Any = ("diagonal" if wide else "full") if model.base == "chosen" else model.base
        return Gaussian.fit(rows, kind, noise=noise, ridge=ridge)
    components: int = model.components
    if components > len(rows):
        raise ValueError(f"`components` must be at most the {len(rows)} training rows")
    from sklearn.exceptions import ConvergenceWarning

    width = {} if ridge is None else {"floor": ridge}
    with warnings.catch_warnings():  # an unfinished fit is a base, too
        warnings.simplefilter("ignore", ConvergenceWarning)
        return GaussianMixture.fit(some(rows, ROWS), components, noise=noise, seed=seed, **width)


def choose_base(
    recipe: Recipe, train: Tensor, validation: Tensor, seed: int = 0, *, draws: int = 1
) -> tuple[Recipe, tuple[Candidate, ...]]:
    """Choose the base that gives validation rows the lowest negative log-likelihood (NLL).

    The lowest mean NLL decides, but a base of more parameters must be better by more than a paired
    standard error. If fewer than 10 validation rows differ, or 3 of rows of more than 2,048
    columns, the base is a full Gaussian, shrunk after Ledoit and Wolf, or of so many columns a
    diagonal one.

    Arguments:
        recipe: all settings of a training; unless its base is "chosen", it is returned unchanged.
        train: training rows (M, *shape), of which 8,000 at most are used.
        validation: validation rows (N, *shape), of which 4,000 at most are used.
        seed: seed of the session, from which the same bases are built.
        draws: how many times both hold all of their rows, see `noneq.data.DataSet`.

    Returns:
        The recipe with the chosen base, number of components and ridge, and all candidates. With
        a mixture it has no clusters: the pooled covariance of the mixture preconditions moves.

    Raises:
        ValueError: the recipe has more clusters than there are rows.

    >>> import noneq, torch
    >>> from noneq.run.bases import choose_base
    >>> rows = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
    >>> rows[:200] += 8.0
    >>> recipe = noneq.run.choose((2,), 300, "table")
    >>> chosen, candidates = choose_base(recipe, rows[::2], rows[1::2])
    >>> chosen.model.base, chosen.model.components
    ('mixture', 2)
    >>> len({candidate.base for candidate in candidates})
    2
    """
    if getattr(recipe.model, "base", None) != "chosen":
        return recipe, ()
    if (recipe.model.clusters or 0) > len(train):
        raise ValueError(f"clusters must be at most the {len(train)} training rows")
    search = _Search(recipe, train, validation, seed, draws)
    if len(torch.unique(search.rows, dim=0)) >= (FEWEST if search.columns > WIDE else LEAST):
        search.gaussians()
        search.mixtures()
    best = search.best()
    simple = "diagonal" if search.columns > WIDE else "full"
    kind, components, ridge = best[:3] if best else (simple, None, None)
    model = replace(recipe.model, base=kind, components=components, ridge=ridge)
    if kind == "mixture":  # whose covariance preconditions the moves
        model = replace(model, clusters=None)
    return replace(recipe, model=model), tuple(candidate for candidate, _ in search.tried)


class _Search:
    """The bases that have been fitted, and the operations that this took.

    Its arguments are those of `choose_base`.
    """

    def __init__(self, own: Recipe, train: Tensor, held: Tensor, seed: int, draws: int = 1):
        self.recipe, self.seed = own, seed
        self.train, self.validation = some(train, ROWS), some(held, NOISY)
        self.different = min(len(train) // draws, ROWS)
        self.rows = self.validation.flatten(1)  # what tells rows apart, for standard errors
        if draws > 1:
            number = torch.arange(len(held), device=held.device)[:, None]
            self.rows = some(number % (len(held) // draws), NOISY)
        self.columns = train[0].numel() if len(train) else 0
        self.spent = 0.0
        self.tried: list[tuple[Candidate, Tensor]] = []

    def gaussians(self) -> None:
        """Fit one Gaussian with each ridge; in many dimensions also those of low rank.

        Of fewer rows than columns, independent columns may be all that can be learned.
        """
        few, wide = self.different < self.columns, self.columns > WIDE
        for ridge in (None, 0.1) if few else ():
            self._score("diagonal", None, ridge)
        if not wide:
            self._score("full", None, None)
        if self.columns > COLUMNS:
            for ridge in (0.1, None, 0.3) if few else (None,):
                self._score("low-rank", None, ridge)
        for ridge in () if wide else RIDGES:
            self._score("full", None, ridge)

    def mixtures(self) -> None:
        """Fit mixtures of more and more Gaussians, until two numbers in a row are worse."""
        least, worse, at = float("inf"), 0, WIDTHS.index(3e-2)
        for components in COMPONENTS:
            if self.columns > COLUMNS or components * EACH > self.different or worse == 2:
                return
            found = self._descend(components, at)
            scores = [one.nll for one in found.values()]
            worse = 0 if min(scores, default=least) < least else worse + 1
            if worse == 0:
                at, least = min(found, key=lambda i: found[i].nll), min(scores)

    def _descend(self, components: int, at: int) -> dict[int, Candidate]:
        """Fit mixtures with the ridge at a position and its neighbours, while these improve."""
        found: dict[int, Candidate] = {}
        for step in (1, -1):
            i = at if step == 1 else at - 1
            least = found[at].nll if at in found else float("inf")
            while 0 <= i < len(WIDTHS):
                one = self._score("mixture", components, WIDTHS[i])
                if one is None:
                    break
                found[i] = one
                if one.nll >= least:
                    break
                least, i = one.nll, i + step
            if found and min(found, key=lambda i: found[i].nll) > at:
                break  # larger ridges are better: smaller ones are worse
        return found

    def _score(self, base: str, components: int | None, ridge: float | None) -> Candidate | None:
        """Fit and score a base; None where the budget does not suffice, or the fit fails."""
        cost = operations(base, components or 1, len(self.train), self.columns)
        if self.spent + cost > BUDGET:
            return None
        self.spent += cost
        model = replace(self.recipe.model, base=base, components=components, ridge=ridge)
        noise = self.recipe.train.noise
        draws = max(1, min(20, NOISY // len(self.validation)))
        try:
            fitted = fit_base(model, self.train, noise=noise, seed=self.seed)
        except ValueError:
            return None
        losses = mean_energy(fitted, self.validation, noise=noise, draws=draws) + fitted.log_z()
        if not bool(torch.isfinite(losses).all()):
            return None
        score = float(losses.mean()), grouped_stderr(losses, self.rows)
        self.tried.append((Candidate(base, components, ridge, *score), losses))
        return self.tried[-1][0]

    def best(self) -> Candidate | None:
        """Choose by the lowest mean; more parameters need a paired standard error."""
        best: tuple[Candidate, Tensor] | None = None
        for own in _simplest_first(self.tried):
            if best is not None:
                gain = best[1] - own[1]
                if not float(gain.mean()) > grouped_stderr(gain, self.rows):
                    continue
            best = own
        return None if best is None else best[0]


def operations(base: str, components: int, rows: int, columns: int) -> float:
    """Count the operations of a fit: ``rows (columns + 8)^2`` for each covariance and iteration.

    Arguments:
        base: kind of base.
        components: number of Gaussians.
        rows: number of rows that it is fitted to.
        columns: number of entries of a row.

    Returns:
        The count; the 8 stands for what an iteration takes in few dimensions.
    """
    once = float(rows) * (columns + 8) ** 2
    return once * {"mixture": ITERATIONS * components, "low-rank": FACTORS}.get(base, 1)


def _simplest_first(tried: Sequence[tuple[Candidate, Tensor]]) -> list[tuple[Candidate, Tensor]]:
    """Take the best of the bases of equally many parameters, those of few parameters first."""
    best: dict[int, tuple[Candidate, Tensor]] = {}
    for one in tried:
        count = {"diagonal": -2, "low-rank": -1}.get(one[0].base, one[0].components or 0)
        if count not in best or one[0].nll < best[count][0].nll:
            best[count] = one
    return [best[count] for count in sorted(best)]


def some(rows: Tensor, most: int) -> Tensor:
    """Take at most so many rows, in their order: always the same ones, drawn at random.

    Arguments:
        rows: rows (M, *shape).
        most: largest number of rows.

    Returns:
        The rows, at most that many.
    """
    if len(rows) <= most:
        return rows
    rng = torch.Generator("cpu").manual_seed(0)
    kept = torch.randperm(len(rows), generator=rng, device="cpu")[:most].sort().values
    return rows[kept.to(rows.device)]
