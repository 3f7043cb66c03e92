"""A training in memory for the estimator `EnergyDensity`: from rows of numbers to a density.

The parts are those of ``noneq train``: the validation rows choose coordinates and base, a
`noneq.Session` trains until they are content, and log Z is bracketed, i.e. estimated by forward
and by backward annealing. Where the validation rows lose by the trained model, the base is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from noneq.annealing import TooFarError, Track, untracked
from noneq.data import Scaling
from noneq.data.arrays import of_array
from noneq.data.checks import check_data
from noneq.energies import Gaussian, GaussianMixture
from noneq.kernels import Kernel, with_momentum
from noneq.likelihood import Estimate, log_z
from noneq.likelihood.score import exact_log_z, mean_energy
from noneq.run.background import finished_base, finished_model
from noneq.run.bases import fit_base
from noneq.run.candidates import Candidate
from noneq.run.choosing import choose, with_changes
from noneq.run.coordinates import propose
from noneq.run.evaluation import is_its_base
from noneq.run.families import family_of
from noneq.run.progress import show_progress
from noneq.run.recipe import Recipe
from noneq.run.session import Session
from noneq.run.starts import choose_start

__all__ = ["Learned", "Learning", "rows_to_hold"]

FEW = 30  # rows below which nothing is validated, and the base is one Gaussian
LEAST = 10  # validation rows
ENOUGH = 60  # rows below which no network is trained, unless the number of iterations is given
EACH, MOST = 4, 2000  # iterations for each row, and at most, if their number is not given
SMALL = 1000  # rows below which walkers and the bracket are small


@dataclass(frozen=True)
class Learned:
    """A density that was learned from rows.

    Attributes:
        energy: energy U in the model's units; the base itself where that was kept.
        base: Gaussian, or mixture of Gaussians, that training started from.
        scaling: map between the user's units and the model's.
        z: estimate of log Z, with weighted samples of the model.
        alarms: sentences on why log Z or the model may be wrong.
        candidates: bases that the validation rows chose from.
        recipe: all settings of the training.
        iterations: number of iterations done.
        best: number of iterations after which the kept parameters were reached; 0: the base.
    """

    energy: nn.Module
    base: Gaussian | GaussianMixture
    scaling: Scaling
    z: Estimate
    alarms: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    recipe: Recipe
    iterations: int
    best: int


def rows_to_hold(rows: int, fraction: float) -> int:
    """Choose how many rows are set aside for validation.

    Arguments:
        rows: number of rows.
        fraction: fraction of the rows that the user wants to set aside.

    Returns:
        The number, 10 or more; 0 for fewer than 30 rows, and for a fraction of 0.
    """
    if rows < FEW or fraction == 0:
        return 0
    return min(max(LEAST, round(fraction * rows)), rows - LEAST)


def _base(energy: nn.Module) -> Gaussian | GaussianMixture:
    base = energy.base
    assert isinstance(base, Gaussian | GaussianMixture)
    return base


class Learning:
    """One training: `learn` makes a density of rows.

    Arguments:
        values: rows (M, D), float64, in the user's units.
        fraction: fraction of the rows that is set aside for validation.
        settings: settings that differ from defaults, by name, as `noneq.run.choose` takes them.
        seed: seed of all randomness.
        device: device to train on.
        texts: categories of columns of texts, whose values are the numbers of these, by the index
            of the column.
        verbose: number of iterations between lines that say how training goes, beside bars for
            the progress of everything else; 0: nothing is shown.
    """

    def __init__(
        self,
        values: NDArray[np.float64],
        *,
        fraction: float = 0.1,
        settings: Mapping[str, Any] | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
        texts: Mapping[int, tuple[str, ...]] = MappingProxyType({}),
        verbose: int = 0,
    ) -> None:
        self.seed, self.verbose = seed, verbose
        self.track: Track = show_progress if verbose else untracked
        held = rows_to_hold(len(values), fraction)
        self.validated = held > 0
        self.data = of_array(values, held, seed=seed, texts=texts).to(device)
        self.recipe = self._recipe(dict(settings or {}), *values.shape)
        self.candidates: tuple[Candidate, ...] = ()
        self.alarms: list[str] = []

    def _recipe(self, settings: dict[str, Any], rows: int, columns: int) -> Recipe:
        """Choose all settings; walkers, iterations and the bracket are fewer for few rows."""
        trained = rows >= (FEW if "iterations" in settings else max(ENOUGH, columns))
        self.trained = trained and settings.get("iterations") != 0
        own: dict[str, Any] = {"iterations": min(MOST, EACH * rows)}
        bracket = {"walkers": 512, "temperatures": 400, "equilibrate": 800, "cycled": False}
        if rows < SMALL:
            own |= {"walkers": 128, "held_out": 64, "moves": 4}
            bracket |= {"walkers": 256, "temperatures": 200, "equilibrate": 200}
        data = self.data
        recipe = choose(data.shape, data.sizes[0], "table", discrete=data.discrete)
        if not self.validated:
            own |= {"early_stopping": False}
            if recipe.model.base == "chosen":
                own["base"] = "full"
        recipe = with_changes(recipe, {**own, "bracket": bracket})
        if not self.trained:
            settings.pop("iterations", None)
        return with_changes(recipe, settings)

    def learn(self) -> Learned:
        """Choose coordinates and base, train, and estimate log Z.

        Returns:
            The density.

        Raises:
            ValueError: the rows have no density, or too few differ.
        """
        check_data(self.data.train, noise=self.recipe.train.noise)
        if self.recipe.model.spline_flow and not self.validated:
            raise ValueError(
                f"`spline_flow` needs validation rows: give {FEW} rows or more and a "
                "validation_fraction above 0, or leave it out"
            )
        if self.validated and self.trained:
            session, self.data, self.candidates = choose_start(
                self.recipe, self.data, self.seed, track=self.track
            )
            self.recipe = session.recipe
        elif self.validated:
            (own, *_), self.candidates = propose(
                self.recipe, self.data, self.seed, track=self.track
            )
            self.recipe, self.data = own.recipe, own.data
        if not self.trained:
            return self._base_alone()
        if not self.validated:
            session = Session(self.recipe, self.data.train, self.seed)
        self._train(session)
        return self._evaluated(session)

    def _base_alone(self) -> Learned:
        recipe = self.recipe
        base = fit_base(recipe.model, self.data.train, noise=recipe.train.noise, seed=self.seed)
        mapped = self.data.scaling.coordinates is not None
        base = finished_base(recipe.model, base, self.data.sizes[0], mapped=mapped)
        return self._learned(base, base, self._exact(base), 0, 0)

    def _train(self, session: Session) -> None:
        """Do the iterations; one that fails ends them, and what validation chose is kept."""
        most, every = self.recipe.budget.iterations, self.verbose
        try:
            for record in session:
                if every and record.iteration % every == 0:
                    line = session.progress_line(record)
                    self._say(f"{line}; at most {most} iterations")
        except FloatingPointError as error:
            self.alarms.append(f"training ended at iteration {session.iteration}: {error}")

    def _evaluated(self, session: Session) -> Learned:
        """Bracket log Z, and keep the base if the validation rows lose by the trained model."""
        rows, energy = self.data.train[: self.data.sizes[0]], session.model
        mapped = self.data.scaling.coordinates is not None
        base = finished_base(self.recipe.model, energy, len(rows), mapped=mapped)
        looked, done = session.validation, session.iteration
        best = done if looked is None else looked.best.iteration
        if is_its_base(energy, rows):
            return self._learned(base, base, self._exact(base), done, 0)
        kernel = session.learner.trained.kernel if session.learner.trained else session.kernel
        try:
            z = self._bracket(energy, kernel)
        except (TooFarError, FloatingPointError) as error:
            self.alarms.append(f"the base is kept, as log Z of the model is not known: {error}")
            return self._learned(base, base, self._exact(base), done, 0)
        energy, z = finished_model(energy, z, base, self._rng())
        base = _base(energy)
        if self.validated and self._loss(energy, base, z) > 0:
            return self._learned(base, base, self._exact(base), done, 0)
        self.alarms += z.alarms
        return self._learned(energy, base, z, done, best)

    def _loss(self, energy: nn.Module, base: Gaussian | GaussianMixture, z: Estimate) -> float:
        """Return how many nats validation rows lose by the trained model, beside the base."""
        noise, rows = self.recipe.train.noise, self.data.validation
        own = mean_energy(energy, rows, noise=noise).mean() + z.value
        return float(own - mean_energy(base, rows, noise=noise).mean() - base.log_z())

    def _bracket(self, energy: nn.Module, kernel: Kernel) -> Estimate:
        recipe, rng = self.recipe, self._rng()
        bracket, family = recipe.bracket, family_of(recipe.kind)
        kernel = with_momentum(kernel)
        self._say("bracketing log Z")
        return log_z(
            energy,
            data=self.data.train[: self.data.sizes[0]],
            n=bracket.walkers,
            temperatures=family.annealing_schedule(recipe, energy, kernel, rng, track=self.track),
            equilibrate=bracket.equilibrate,
            noise=recipe.train.noise,
            kernel=kernel,
            rng=rng,
            track=self.track,
        )

    def _exact(self, base: Gaussian | GaussianMixture) -> Estimate:
        return exact_log_z(base, n=self.recipe.bracket.walkers, rng=self._rng())

    def _learned(
        self,
        energy: nn.Module,
        base: Gaussian | GaussianMixture,
        z: Estimate,
        iterations: int,
        best: int,
    ) -> Learned:
        own = (energy, base, self.data.scaling, z, tuple(self.alarms))
        return Learned(*own, self.candidates, self.recipe, iterations, best)

    def _rng(self) -> torch.Generator:
        return torch.Generator(self.data.train.device).manual_seed(self.seed + 7)

    def _say(self, text: str) -> None:
        if self.verbose:
            print(f"[EnergyDensity] {text}", flush=True)
