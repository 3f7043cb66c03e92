"""The methods of a trained RBM estimator, which compute features, likelihoods and samples."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, DensityMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from noneq.estimators.alarms import Evidence, misfit, mistaken_for_numbers
from noneq.estimators.arrays import Floats, Rows, are_bits, parts
from noneq.estimators.checks import check_whole, visible_kind, weighted
from noneq.estimators.density import draw, energies, estimate, impossible
from noneq.estimators.training import Trained, Training
from noneq.estimators.units import Units
from noneq.likelihood import Estimate

__all__ = ["Fitted"]


class Fitted(TransformerMixin, DensityMixin, BaseEstimator):  # type: ignore[misc]
    """Base class of the estimator `RBM`, with the methods that need a trained model.

    They compute features and likelihoods of rows, and draw samples. `RBM` adds the training.
    """

    rbm_: Trained
    visible: str
    visible_: str
    n_temperatures: int | None
    verbose: int
    _training: Training
    _units: Units
    _stream: torch.Generator  # of sweeps and samples
    _z: Estimate | None

    def transform(self, X: ArrayLike) -> Floats:
        """Compute the probabilities of the hidden units, ``P(h_j = 1 | v)``.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            The rows v.

        Returns
        -------
        ndarray of shape (n_samples, n_components)
            The probabilities, in the floating-point type of X.
        """
        x, model = self._checked(X), self._double()
        found = torch.cat([model.features(tensor) for tensor in self._tensors(x)])
        features: Floats = found.cpu().numpy().astype(x.dtype)
        return features

    def gibbs(self, v: ArrayLike) -> Floats:
        """Make one Gibbs sweep: draw hidden units given the rows, then new rows given those.

        Parameters
        ----------
        v : array-like or sparse matrix of shape (n_samples, n_features)
            The rows where the sweep starts.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            The rows where the sweep ends, in the floating-point type of v.
        """
        x, model = self._checked(v), self._double()
        swept = [
            model.gibbs(tensor, model.evaluate(tensor)[1], self._stream)
            for tensor in self._tensors(x)
        ]
        rows: Floats = self._units.array(torch.cat(swept)).astype(x.dtype)
        return rows

    def score_samples(self, X: ArrayLike) -> NDArray[np.float64]:
        """Compute the log-likelihood of each row in nats.

        The first call after training computes log Z: exactly if one layer has at most 20 binary
        units, else by forward and backward annealing, which takes longer. The standard error of
        log Z is then in ``log_z_stderr_``, and reasons to doubt log Z are in ``alarms_``. No row
        of bits can have a log-likelihood above 0: a value that exceeds 0 by less than the error of
        log Z is set to 0; a larger one is returned, and a sentence is added to ``alarms_``.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            The rows. Where values are probabilities of bits, the score is the mean over 20 draws
            of bits from them.

        Returns
        -------
        ndarray of shape (n_samples,)
            The log-likelihoods; for Gaussian units they are log-densities in the units of X.
        """
        x = self._checked(X)
        z, model, units = self._log_z(), self._double(), self._units
        drawn = units.bits and not are_bits(x)
        found = [
            energies(model, tensor, part if drawn else None)
            for part, tensor in zip(parts(x), self._tensors(x), strict=True)
        ]
        score: NDArray[np.float64] = -torch.cat(found).cpu().numpy() - z.value
        score -= np.log(units.scale).sum()
        if units.bits:
            score, alarms = impossible(score, None if drawn else x, z.stderr)
            self._ring(alarms)
        return score

    def score(
        self,
        X: ArrayLike,
        y: object = None,  # noqa: ARG002
        sample_weight: ArrayLike | None = None,
    ) -> float:
        """Compute the mean log-likelihood of rows in nats.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            The rows.
        y : object, default=None
            It is ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            The weights of the rows in the mean; they are equal by default.

        Returns
        -------
        float
            The mean log-likelihood of a row.
        """
        found, weight = weighted(self.score_samples(X), sample_weight)
        return float(np.average(found, weights=weight))

    def sample(self, n_samples: int = 1) -> NDArray[np.float64]:
        """Draw rows from the model: exact samples if log Z is exact, else samples by annealing.

        Parameters
        ----------
        n_samples : int, default=1
            The number of rows.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            The samples, in the units of the training rows.
        """
        check_whole("n_samples", n_samples, 1)
        z = self._log_z()
        return self._units.array(draw(self.rbm_, z, n_samples, self._stream))

    # -- log Z, and what speaks against it

    def _log_z(self) -> Estimate:
        check_is_fitted(self, "rbm_")
        if self._z is None:
            rng = torch.Generator(self._units.device).manual_seed(0)
            kept = self._units.states(self._training.history.kept, rng)
            found = self._z = estimate(self.rbm_, kept, self.n_temperatures)
            # not properties: to show an estimator reads all of them
            self.log_z_, self.log_z_stderr_ = self._z.value, self._z.stderr
            self.alarms_: tuple[str, ...] = ()
            self._ring([*found.alarms, *self._doubts(found)])
        return self._z

    def _doubts(self, z: Estimate) -> Iterator[str]:
        """Iterate over reasons to doubt the model, from its training rows and walkers."""
        history, rng = self._training.history, torch.Generator(self._units.device).manual_seed(1)
        evidence = Evidence.of(self._training, self._units, rng)
        guessed = self.visible == "auto" and not self._units.bits
        return chain(
            misfit(self.rbm_, z, evidence, rng),
            history.drift(),
            mistaken_for_numbers(history) if guessed else (),
        )

    def _ring(self, alarms: list[str]) -> None:
        new = [alarm for alarm in alarms if alarm not in self.alarms_]
        self.alarms_ = (*self.alarms_, *new)
        for alarm in new if self.verbose else ():
            print(f"[RBM] alarm: {alarm}", flush=True)

    # -- rows

    def _checked(self, X: ArrayLike) -> Rows:
        """Check rows, and return them if the model's visible units can have such values."""
        check_is_fitted(self, "rbm_")
        x = self._array(X, reset=False)
        if self._units.bits:
            visible_kind(x, "bernoulli", chosen=self.visible == "auto")
        return x

    def _array(self, X: ArrayLike, *, reset: bool, least: int = 1) -> Rows:
        """Check that rows are finite numbers, dense or csr; ``reset`` sets how many columns."""
        return validate_data(
            self,
            X,
            reset=reset,
            accept_sparse="csr",
            dtype=(np.float64, np.float32),
            ensure_min_samples=least,
        )

    def _tensors(self, x: Rows) -> Iterator[Tensor]:
        """Iterate over parts of the rows, as tensors in the model's units."""
        return (self._units.tensor(part, torch.float64) for part in parts(x))

    def _double(self) -> Trained:
        return copy.deepcopy(self.rbm_).double()

    @property
    def _n_features_out(self) -> int:
        return len(self.rbm_.c)

    def __sklearn_tags__(self) -> Any:
        """Return tags: float32 features for float32 rows, and support of sparse rows."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.input_tags.sparse = True
        return tags
