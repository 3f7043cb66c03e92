"""The methods of a trained `EnergyDensity`: log-densities, samples, and ranks of anomalies."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from noneq.annealing import complete, population
from noneq.energies import Conditioned, path_to
from noneq.estimators.checks import check_whole, complete_rows, weighted
from noneq.estimators.frames import Frames
from noneq.estimators.learning import Learned
from noneq.estimators.spreading import conditions, places, states
from noneq.likelihood.score import energy_of
from noneq.run.background import plain_model, with_walkers_of_background
from noneq.run.families.base import base_of

__all__ = ["TrainedDensity"]

PART = 2**16  # rows at a time


class TrainedDensity(DensityMixin, BaseEstimator):  # type: ignore[misc]
    """Base class of the estimator `EnergyDensity`, with the methods that need a trained model.

    They compute log-densities, draw samples and rank anomalies. `EnergyDensity` adds the training.
    """

    energy_: nn.Module
    anomaly_threshold_: float
    verbose: int
    _learned: Learned
    _frames: Frames | None  # of the rows of fit
    _fitted_scores: NDArray[np.float64]  # of the rows of fit, in increasing order

    def score_samples(self, X: ArrayLike) -> NDArray[np.float64]:
        """Compute the log-density of each row, normalised, in the units of X and in nats.

        In columns where values have probabilities (``kinds_``) it is a log-probability: the mean
        over eight draws of such values from their intervals, a lower bound (`noneq.data.cells`),
        and the same for a row whatever rows are beside it. Its error is that of log Z,
        ``log_z_stderr_``, the same for all rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        ndarray of shape (n_samples,)
            The log-densities.
        """
        return self._scores(self._checked(X))

    def score(
        self,
        X: ArrayLike,
        y: object = None,  # noqa: ARG002
        sample_weight: ArrayLike | None = None,
    ) -> float:
        """Compute the mean log-density of rows in nats, as ``GaussianMixture`` of scikit-learn.

        ``KernelDensity`` of scikit-learn returns the sum instead.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows.
        y : object, default=None
            It is ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            The weights of the rows in the mean; they are equal by default.

        Returns
        -------
        float
            The mean log-density of a row.
        """
        found, weight = weighted(self.score_samples(X), sample_weight)
        return float(np.average(found, weights=weight))

    def sample(self, n_samples: int = 1, random_state: Any = None) -> Any:
        """Draw rows from the model.

        They are exact samples where the base was kept; otherwise they come from the weighted
        samples that gave log Z, as long as none is taken twice, and else are annealed anew.

        Parameters
        ----------
        n_samples : int, default=1
            The number of rows.
        random_state : int, RandomState instance or None, default=None
            The seed of the samples.

        Returns
        -------
        ndarray or DataFrame of shape (n_samples, n_features)
            The samples, in the units of the training rows; a DataFrame with the names and types
            of their columns if they were one of pandas.
        """
        check_is_fitted(self, "energy_")
        check_whole("n_samples", n_samples, 1)
        learned, rng = self._learned, self._rng(random_state)
        walkers = learned.z.walkers
        if learned.energy is learned.base:
            x = learned.base.sample(n_samples, rng)
        elif n_samples * float(walkers.p.max()) <= 1:
            x = walkers.equal(n_samples, rng)
        else:  # an ordinary sample comes from four times as many weighted ones
            assert learned.z.schedule is not None
            plain, many = plain_model(learned.energy), 8 * -(-max(16, 4 * n_samples) // 8)
            path = path_to(plain, base_of(plain))
            walkers, _ = population(path, many, learned.z.schedule, rng=rng)
            x = with_walkers_of_background(walkers, learned.energy, rng).equal(n_samples, rng)
        rows = self._undone(x)
        return rows if self._frames is None else self._frames.frame(rows, learned.scaling.cells)

    def sample_conditional(
        self, X: ArrayLike, n_samples: int = 1, random_state: Any = None
    ) -> NDArray[Any]:
        """Fill in missing values: draw them from the model, given the other values of their row.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            The rows, with NaN where a value is missing (None, too, in a column of texts).
        n_samples : int, default=1
            The number of samples of each row.
        random_state : int, RandomState instance or None, default=None
            The seed of the samples.

        Returns
        -------
        ndarray of shape (n_rows, n_samples, n_features)
            The completed rows, in which the given values are as they are in X; of the type
            object where the columns hold texts. The samples of a row have equal weights.
        """
        check_is_fitted(self, "energy_")
        check_whole("n_samples", n_samples, 1)
        values = self._checked(X, missing=True)
        learned, rng = self._learned, self._rng(random_state)
        rows = torch.tensor(values, device="cpu")
        x = conditions(learned.scaling, rows, rng).to(learned.z.walkers.x)
        if learned.energy is learned.base:
            filled = Conditioned(learned.base, x).sample(n_samples, rng)
        else:
            annealed = complete(learned.energy, learned.base, x, n_samples, rng=rng)
            filled, ess = annealed.x, annealed.effective_ancestors
            if self.verbose:
                print(
                    "[EnergyDensity] a row's walkers descend from a share of "
                    f"{float(ess.median()):.2f} of them (lowest {float(ess.min()):.2f})",
                    flush=True,
                )
        found = self._undone(filled.flatten(0, 1)).reshape(len(values), n_samples, -1)
        given = values[:, None]
        completed: NDArray[np.float64] = np.where(np.isnan(given), found, given)
        return completed if self._frames is None else self._frames.decoded(completed)

    # -- anomalies

    def anomaly_threshold(self, quantile: float) -> float:
        """Return the log-density below which a share ``quantile`` of the training rows lies.

        Parameters
        ----------
        quantile : float
            The share, from 0 to 1, of the rows that ``fit`` was given.

        Returns
        -------
        float
            The log-density in nats.
        """
        check_is_fitted(self, "energy_")
        if not 0 <= quantile <= 1:
            raise ValueError(f"quantile must be a number from 0 to 1, got {quantile!r}")
        return float(np.quantile(self._fitted_scores, quantile))

    def anomaly_rank(self, X: ArrayLike) -> NDArray[np.float64]:
        """Compute the share of the training rows whose log-density is lower than that of a row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        ndarray of shape (n_samples,)
            The shares, from 0 for the most unusual rows to 1 for the most typical ones.
        """
        found = np.searchsorted(self._ranked(), self.score_samples(X), side="left")
        shares: NDArray[np.float64] = found / len(self._fitted_scores)
        return shares

    def decision_function(self, X: ArrayLike) -> NDArray[np.float64]:
        """Compute by how much the log-density of each row exceeds ``anomaly_threshold_``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        ndarray of shape (n_samples,)
            The differences in nats, negative for anomalies.
        """
        found: NDArray[np.float64] = self.score_samples(X) - self.anomaly_threshold_
        return found

    def predict(self, X: ArrayLike) -> NDArray[np.int64]:
        """Tell anomalies, rows whose log-density is below ``anomaly_threshold_``, from others.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        ndarray of shape (n_samples,)
            -1 for anomalies and 1 for other rows, as outlier detectors of scikit-learn return.
        """
        return np.where(self.decision_function(X) < 0, -1, 1)

    # -- rows

    def _ranked(self) -> NDArray[np.float64]:
        check_is_fitted(self, "energy_")
        return self._fitted_scores

    def _checked(self, X: ArrayLike, *, missing: bool = False) -> NDArray[np.float64]:
        """Check that rows are numbers, finite or NaN if values may be missing."""
        check_is_fitted(self, "energy_")
        return complete_rows(self, X, self._frames, missing=missing, reset=False)

    def _scores(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        learned, energy = self._learned, copy.deepcopy(self.energy_).double()
        known = learned.scaling.log_jacobian(values.shape[1]) - learned.z.value
        found = []
        for start in range(0, len(values), PART):
            rows = torch.tensor(values[start : start + PART], device="cpu")
            each = []
            for u in places(learned.scaling, values.shape[1]):
                x, volume = states(learned.scaling, rows, u)
                energies = energy_of(energy, x.to(learned.z.walkers.x.device))
                each.append(volume - energies.cpu() + known)
            found.append(torch.stack(each).mean(0))
        scores: NDArray[np.float64] = torch.cat(found).numpy()
        return scores

    def _undone(self, x: Tensor) -> NDArray[np.float64]:
        rows: NDArray[np.float64] = self._learned.scaling.undo(x).cpu().numpy()
        return rows

    def _rng(self, random_state: Any) -> torch.Generator:
        seed = int(check_random_state(random_state).randint(2**31 - 1))
        return torch.Generator(self._learned.z.walkers.x.device).manual_seed(seed)
