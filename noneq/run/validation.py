"""Early stopping: the validation rows choose when training ends and which parameters are kept.

Now and then a training looks at the negative log-likelihood (NLL) of the validation rows under the
averaged parameters. The base, the model before the first iteration, is a candidate, too, so that
no training ends with a model that is worse than its base on these rows.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from noneq.annealing import TooFarError, anneal, population
from noneq.energies import Solvable, path_to
from noneq.kernels import Kernel, with_momentum
from noneq.likelihood.score import energy_of, noise_draws
from noneq.numerics import full_precision
from noneq.random import add_noise
from noneq.run.recipe import Recipe
from noneq.run.shrinkage import choose_shrinkage, shrink
from noneq.spaces import context_size
from noneq.walkers import LogZ, Walkers

__all__ = ["Look", "Validation", "cost_of_a_look", "ended_early"]

STEPS, MOVES = 150, 50  # of a look: both annealings, equilibration before one
WALKERS, MORE = 128, 256  # of a look, and where samples of the base are proposed to them
ROWS = 4000  # noisy validation rows, at most
SHARE = 0.2  # of the training's evaluations that looks may take
SPACING = 8  # a look comes after an eighth more iterations than at the last one, or later
LONGEST = 12  # looks without a lower NLL, surely worse or not, before training ends
SURELY = 2.0  # standard errors by which score matching must be beaten, and a look be worse
PATIENCE = 4  # looks that are surely worse than the best, before training ends


class Look(NamedTuple):
    """The NLL of the validation rows at one moment of the training.

    Attributes:
        iteration: number of iterations done.
        nll: mean NLL of the validation rows, in nats; inf where log Z could not be estimated.
        stderr: standard error of log Z at factor 1, in nats; the rows are the same at every look.
        factor: factor of the network's energy, at most 1, under which the NLL is lowest
            (`noneq.run.shrinkage`); the NLL is that with this factor.
    """

    iteration: int
    nll: float
    stderr: float
    factor: float = 1.0


def _error(a: Look, b: Look) -> float:
    """The standard error of the difference of two looks; NaN where one has failed."""
    return math.hypot(a.stderr, b.stderr)


@dataclass
class Validation:
    """Follows the NLL of the validation rows during a training, and keeps the best parameters.

    At a look, walkers (weighted samples) are annealed from the base to the averaged model,
    which estimates log Z, and the energies of the rows are computed. A network that has
    memorised its rows is shrunk, i.e. its energy is multiplied by the factor that suits
    the rows. Looks have random numbers of their own, so that they do not change the training.
    The intervals between them grow with the number of iterations, so that they take at most a
    fifth of the evaluations, but for the one after the last iteration. Training ends early
    when as many iterations as the lowest NLL took have brought nothing lower, and ``PATIENCE``
    looks were worse by two standard errors of log Z, or ``LONGEST`` looks brought nothing lower.

    Arguments:
        rows: validation rows (M, *shape) with their noise, the same at every look.
        model: model that holds the best parameters, at first the untrained one, i.e. the base.
        interval: number of iterations between looks, at least.
        seed: seed of the random numbers of the looks.
        looks: looks so far; the first is that at the base.
        origin: number of iterations of score matching before maximum likelihood, from which on
            intervals between looks are counted.
        walkers: number of walkers of a look, for each of both annealings.
    """

    rows: Tensor
    model: nn.Module
    interval: int
    seed: int
    looks: list[Look]
    origin: int = 0
    walkers: int = WALKERS

    @classmethod
    def start(cls, recipe: Recipe, untrained: nn.Module, rows: Tensor, seed: int) -> Validation:
        """Begin to follow a training, with the untrained model as the first candidate.

        Arguments:
            recipe: all settings of the training.
            untrained: model before the first iteration, equal to its attribute ``base``.
            rows: validation rows (M, *shape), without noise.
            seed: seed of the training.

        Returns:
            A `Validation` with one look.
        """
        base, noise = untrained.base, recipe.train.noise
        assert isinstance(base, Solvable)
        rng = torch.Generator(rows.device).manual_seed(seed)
        draws = noise_draws(len(rows)) if noise > 0 else 1
        noisy = rows.repeat(draws, *[1] * (rows.dim() - 1))[:ROWS]
        noisy = add_noise(noisy, noise, rng, held=context_size(base))
        first = Look(0, float(energy_of(base, noisy).mean()) + base.log_z(), 0.0)
        interval = math.ceil(cost_of_a_look(recipe, len(noisy)) / (SHARE * _cost(recipe)))
        kept = copy.deepcopy(untrained)
        return cls(noisy, kept, interval, seed, [first], walkers=_walkers(recipe))

    def due(self, iteration: int) -> bool:
        """Return whether to look after this iteration."""
        last = self.looks[-1].iteration
        if last < self.origin:  # the model of score matching is a candidate, too
            return True
        return iteration - last >= max(self.interval, (last - self.origin) // SPACING)

    @property
    def lowest(self) -> Look:
        """The look of the lowest NLL."""
        return _lowest(self.looks)

    @property
    def best(self) -> Look:
        """The look whose parameters are kept: the last one as good as the lowest.

        As good is what is worse by a standard error of the difference of two looks at most, since
        the lowest of many uncertain numbers is low by chance, too. The error of the lowest counts
        for both, so that no look is kept for being uncertain. The base is kept only where it is
        the lowest; the model of score matching, unless another one is better by more than two
        standard errors, for which the error of the other one counts twice.
        """
        lowest = best = self.looks[0]
        for look in self.looks[1:]:
            lowest = min(lowest, look, key=lambda one: one.nll)
            good = lowest.iteration and look.nll - lowest.nll <= _error(lowest, lowest)
            matched = self.origin and 0 < best.iteration <= self.origin + 1
            if good and (not matched or best.nll - look.nll > SURELY * _error(look, look)):
                best = look
        return best

    @property
    def finished(self) -> bool:
        """Whether training should end, since the NLL has not fallen for long enough."""
        return _finished(self.looks, self.origin)

    def look(self, model: nn.Module, kernel: Kernel, walkers: Walkers, iteration: int) -> Look:
        """Look at the validation rows, and keep the model's parameters if they are the best.

        Arguments:
            model: averaged model.
            kernel: MCMC kernel of the training, which moves the walkers of the look.
            walkers: walkers of the training, near samples of the model.
            iteration: number of iterations done.

        Returns:
            The `Look`.
        """
        rng = torch.Generator(self.rows.device).manual_seed(self.seed + 1_000_003 * iteration)
        try:
            log_z, samples = _log_z(model, kernel, walkers, self.walkers, rng)
            nll = float(energy_of(model, self.rows).mean()) + log_z.value
            found = Look(iteration, nll if math.isfinite(nll) else math.inf, log_z.stderr)
            if math.isfinite(nll):
                own = choose_shrinkage(model, self.rows, samples)
                found = found._replace(nll=nll - own.gain, factor=own.factor)
        except (TooFarError, FloatingPointError):
            found = Look(iteration, math.inf, math.nan)
        self.looks.append(found)
        if self.best is found:
            self.model.load_state_dict(model.state_dict())
            shrink(self.model, found.factor)
        return found

    def progress_line(self, volume: float = 0.0) -> str:
        """Return the last look and the lowest one as text, with ``volume`` subtracted of both."""
        last, lowest = (
            f"{one.nll - volume:.2f} "
            + (f"at {one.iteration}" if one.iteration else "of the base")
            for one in (self.looks[-1], self.lowest)
        )
        return f"validation {last}" + (", the lowest" if last == lowest else f" (lowest {lowest})")

    def state_dict(self) -> dict[str, Any]:
        """Return the looks and the best parameters, for a checkpoint."""
        looks = [list(one) for one in self.looks]
        return {"looks": looks, "model": self.model.state_dict(), "origin": self.origin}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Set the looks and the best parameters from a dictionary that `state_dict` returned."""
        self.looks = _looks(saved)
        self.model.load_state_dict(saved["model"])
        self.origin = saved["origin"]


def _lowest(looks: Sequence[Look]) -> Look:
    return min(looks, key=lambda look: (look.nll, look.iteration))


def _finished(looks: Sequence[Look], origin: int) -> bool:
    """Return whether the NLL has not fallen for long enough."""
    lowest, last = _lowest(looks), looks[-1].iteration
    later = [look for look in looks if look.iteration > lowest.iteration]
    worse = sum(not look.nll - lowest.nll <= SURELY * _error(look, lowest) for look in later)
    enough = last - origin >= 2 * max(0, lowest.iteration - origin)
    return (worse >= PATIENCE or len(later) >= LONGEST) and enough


def ended_early(recipe: Recipe, state: Mapping[str, Any]) -> bool:
    """Return whether the validation rows have ended a training before its budget was spent.

    Arguments:
        recipe: all settings of the training.
        state: its last checkpoint, as `noneq.run.session.Session.state_dict` returns it.

    Returns:
        False if the training went on to its end, was interrupted, or has no early stopping.
    """
    looked, trained = state["validation"], state["trained"]
    if looked is None or trained is None:
        return False
    looks = _looks(looked)
    spent = recipe.budget.progress(looks[-1].iteration, state["seconds"])
    return _finished(looks, looked["origin"]) and spent < 1


def _looks(saved: Mapping[str, Any]) -> list[Look]:
    return [Look(int(i), *map(float, rest)) for i, *rest in saved["looks"]]


@full_precision()
def _log_z(
    model: nn.Module, kernel: Kernel, near: Walkers, n: int, rng: torch.Generator
) -> tuple[LogZ, Walkers]:
    """Estimate log Z by forward and by backward annealing.

    The larger estimate is returned, and the weighted samples of forward annealing.
    """
    base = model.base
    assert isinstance(base, Solvable)
    path = path_to(model, base)
    walkers, schedule = population(path, n, STEPS, rng=rng, kernel=with_momentum(kernel))
    forward = walkers.log_z
    chains = Walkers.at(near.equal(n, rng), model, log_z=0.0, islands=walkers.islands)
    for _ in range(MOVES):
        chains = chains.move(kernel, model, rng)
    ratio = anneal(schedule.backward(path), chains, rng).log_z
    backward = LogZ(base.log_z() - ratio.value, ratio.stderr)
    return (backward if backward.value > forward.value else forward), walkers


def _cost(recipe: Recipe) -> float:
    """Count the evaluations of an energy or of its gradient in an iteration."""
    train = recipe.train
    moved = (train.active or train.walkers) + (train.held_out or 0)
    return float(moved * (train.moves * _leaps(recipe) + 1) + train.batch)


def cost_of_a_look(recipe: Recipe, rows: int) -> float:
    """Count the evaluations of an energy or of its gradient in a look at the validation rows.

    Arguments:
        recipe: all settings of the training.
        rows: number of validation rows with their noise.

    Returns:
        The number of evaluations of single rows.
    """
    return float(_walkers(recipe) * (2 * STEPS + MOVES) * _leaps(recipe) + rows)


def _walkers(recipe: Recipe) -> int:
    return MORE if getattr(recipe.model, "refresh", False) else WALKERS


def _leaps(recipe: Recipe) -> int:
    return int(getattr(recipe.model, "leapfrog_steps", 1))
