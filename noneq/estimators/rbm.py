"""The class `RBM`: a restricted Boltzmann machine with scikit-learn's interface."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin
from sklearn.utils import check_random_state

from noneq.estimators.arrays import Rows, are_bits
from noneq.estimators.checks import check_parameters, visible_kind, weighted
from noneq.estimators.fitted import Fitted
from noneq.estimators.passes import Passes
from noneq.estimators.priors import strengths
from noneq.estimators.streams import History
from noneq.estimators.training import PassSettings, Progress, Training
from noneq.estimators.units import Units
from noneq.numerics import resolve_device
from noneq.run.recipe import Budget, Optimizer, RBMModel, Recipe

__all__ = ["RBM"]

_FOUND = ("rbm_", "log_z_", "log_z_stderr_", "alarms_")


class RBM(ClassNamePrefixFeaturesOutMixin, Fitted):  # type: ignore[misc]
    r"""A restricted Boltzmann machine with a likelihood, for pipelines of scikit-learn.

    It models ``log p(v) = -U(v) - log Z``, where U is the free energy of `noneq.BernoulliRBM` or,
    for numbers, of `noneq.GaussianRBM`. It is trained by maximum likelihood with walkers, i.e.
    weighted Markov chains, that move by block Gibbs sampling (Carbone, Hua, Coste, Vanden-Eijnden
    2023, arXiv 2305.19414). It can take the place of scikit-learn's ``BernoulliRBM``.

    Parameters
    ----------
    n_components : int, default=256
        The number of hidden units.
    visible : {"auto", "bernoulli", "gaussian"}, default="auto"
        The kind of the visible units. "bernoulli" is for values in [0, 1]: values other than 0 and
        1 are probabilities of bits, which are drawn anew in every pass. "gaussian" is for real
        numbers, which are standardised first. "auto" chooses "bernoulli" if all values of the
        first call are in [0, 1], and "gaussian" otherwise.
    n_iter : int, default=100
        The number of passes over the rows. A pass has ceil(rows / batch_size) batches.
    batch_size : int, default=128
        The number of rows of a training batch; they are drawn with replacement.
    learning_rate : float, default=0.03
        The learning rate of Adam, constant for half of the passes, then falling to 0. The length
        of a step depends on it only if ``tau`` is None: otherwise the trust region sets it.
    weight_decay : float, default=None
        The L2 penalty of the weights is ``weight_decay |W|^2 / 2``. By default it is 1e-3, or
        ``n_components / (36 rows)`` if that is more. Biases are penalised with strength
        ``1 / rows``.
    tau : float, default=0.1
        The size of the trust region: the cost in nats that an optimiser step may have, which is
        minus the logarithm of the share of the walkers' effective sample size that the step
        leaves. It is constant for half of the passes, then falls to 0. None: no trust region.
    n_walkers : int, default=None
        The number of weighted walkers, i.e. Markov chains, that estimate the model's mean in the
        gradient. By default ``8 batch_size``, so that they add little noise to that of the batch.
    n_moves : int, default=4
        The number of Gibbs sweeps of each walker in an iteration, i.e. for each batch.
    weighted : bool, default=True
        Whether walkers have weights. False is persistent contrastive divergence, with walkers that
        start at the data, and without a trust region.
    forgetting_factor : float, default=1.0
        The factor from 0 to 1 by which walkers' log-weights are multiplied in each iteration, see
        `noneq.Settings`; weights are exact at 1.
    validation_fraction : float, default=0.1
        The fraction of the rows that is set aside to test whether the model has memorised the
        others: at most 256 rows, and none if there are fewer than 80 or many repeat each other.
    n_temperatures : int, default=None
        The number of temperatures of the annealing that estimates log Z. By default a short pilot
        run chooses it.
    random_state : int, RandomState instance or None, default=None
        The seed of all randomness.
    device : str, default="cpu"
        The torch device to train on, for example "cuda".
    verbose : int, default=0
        If it is not 0, a line is printed for each pass, and alarms when they are raised.

    Attributes
    ----------
    rbm_ : noneq.BernoulliRBM or noneq.GaussianRBM
        The trained model, whose parameters are moving averages over the iterations. Its visible
        units are ``(v - mean_) / scale_``.
    visible_ : str
        The kind of the visible units, "bernoulli" or "gaussian".
    components_ : ndarray of shape (n_components, n_features)
        The weights of ``rbm_``.
    intercept_hidden_, intercept_visible_ : ndarray
        The biases (n_components,) and (n_features,) of hidden and visible units of ``rbm_``.
    mean_, scale_ : ndarray of shape (n_features,)
        The mean and standard deviation of each column over all calls; 0 and 1 for "bernoulli".
    n_features_in_ : int
        The number of columns of the training rows.
    log_z_, log_z_stderr_ : float
        log Z of ``rbm_`` and its standard error, which is 0 where log Z is exact. Both are set by
        the first call of ``score``, ``score_samples`` or ``sample``.
    alarms_ : tuple of str
        Sentences that say why log Z or the model may be wrong, e.g. forward and backward estimates
        of log Z disagree, or rows are more likely under independent units. Empty if none was
        found; set together with ``log_z_``.

    Examples
    --------
    >>> import numpy as np
    >>> from noneq.estimators import RBM
    >>> x = np.array([[0, 0, 1], [1, 1, 0]] * 50)
    >>> model = RBM(n_components=2, n_iter=20, batch_size=10, random_state=0).fit(x)
    >>> model.transform(x).shape
    (100, 2)
    >>> bool(model.score([[1, 1, 0]]) > model.score([[1, 0, 1]]))
    True
    """

    def __init__(
        self,
        n_components: int = 256,
        *,
        visible: Literal["auto", "bernoulli", "gaussian"] = "auto",
        n_iter: int = 100,
        batch_size: int = 128,
        learning_rate: float = 0.03,
        weight_decay: float | None = None,
        tau: float | None = 0.1,
        n_walkers: int | None = None,
        n_moves: int = 4,
        weighted: bool = True,
        forgetting_factor: float = 1.0,
        validation_fraction: float = 0.1,
        n_temperatures: int | None = None,
        random_state: Any = None,
        device: str = "cpu",
        verbose: int = 0,
    ) -> None:
        self.n_components = n_components
        self.visible = visible
        self.n_iter = n_iter
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.tau = tau
        self.n_walkers = n_walkers
        self.n_moves = n_moves
        self.weighted = weighted
        self.forgetting_factor = forgetting_factor
        self.validation_fraction = validation_fraction
        self.n_temperatures = n_temperatures
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    def fit(self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None) -> Self:  # noqa: ARG002
        """Train a new model on the rows of X; what earlier calls have learned is discarded.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            The rows.
        y : object, default=None
            It is ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            The relative weights of the rows in the likelihood; by default they are equal.

        Returns
        -------
        RBM
            The estimator itself.

        Raises
        ------
        ValueError
            The rows or the parameters are invalid.
        FloatingPointError
            The training diverges.
        """
        rows, weight = self._given(X, sample_weight, first=True)
        return self._train(rows, weight, self.n_iter, ends=True)

    def partial_fit(
        self,
        X: ArrayLike,
        y: object = None,  # noqa: ARG002
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Continue training for one pass over the rows of X.

        The first call chooses the kind of the visible units, which later rows must fit. The
        standardisation and the estimate of log Z use the rows of all calls so far.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            The rows.
        y : object, default=None
            It is ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            The relative weights of the rows in the likelihood; by default they are equal.

        Returns
        -------
        RBM
            The estimator itself. Errors are those of `fit`.
        """
        rows, weight = self._given(X, sample_weight, first=not hasattr(self, "_training"))
        return self._train(rows, weight, 1, ends=False)

    def _given(
        self, X: ArrayLike, sample_weight: ArrayLike | None, *, first: bool
    ) -> tuple[Rows, NDArray[np.float64]]:
        """Check the rows of a call, add them to the history, and return those to train on."""
        x = self._array(X, reset=True, least=2) if first else self._checked(X)
        x, weight = weighted(x, sample_weight)
        check_parameters(self.get_params())
        if first:
            for name in (*_FOUND, "_training"):  # what was learned before has other units
                self.__dict__.pop(name, None)
            device, kind = resolve_device(self.device), visible_kind(x, self.visible)
            seeds = check_random_state(self.random_state).randint(2**31 - 1, size=4).tolist()
            self._stream = torch.Generator(device).manual_seed(seeds[1])
            history = History(self.validation_fraction, seeds[2])
        else:
            device, kind, history = self._units.device, self.visible_, self._training.history
        x, weight = history.add(x, weight)
        assert history.moments is not None
        self._units = Units.of(kind, history.moments, device)
        self.visible_, self.mean_, self.scale_ = kind, self._units.mean, self._units.scale
        if first:
            own = (seeds[0], seeds[3])
            self._training = Training(kind, self.n_components, history, own, device)
        return x, weight

    def _train(self, x: Rows, weight: NDArray[np.float64], n: int, *, ends: bool) -> Self:
        """Train for n passes, whose speed falls if the training ends with them."""
        for name in _FOUND:
            self.__dict__.pop(name, None)
        self._z = None
        units, training = self._units, self._training
        if len(weight):
            batch, bits = min(self.batch_size, len(weight)), ""
            if units.bits:
                bits = "given" if are_bits(x) else "drawn"
            passes = Passes(x, weight, units.tensor, bits, batch, training.rng)
            recipe = self._recipe(batch, n, n * len(passes) if ends else None)
            for k, done in enumerate(training.go(passes, recipe, n), 1):
                self._tell(f"pass {k} of {n}", done)
        self.rbm_ = training.model
        self.components_ = self.rbm_.w.detach().T.cpu().numpy()
        self.intercept_hidden_ = self.rbm_.hidden_bias.detach().cpu().numpy()
        self.intercept_visible_ = self.rbm_.visible_bias.detach().cpu().numpy()
        return self

    def _recipe(self, batch: int, passes: int, iterations: int | None) -> Recipe:
        """Convert the parameters to settings of a session, without end if iterations is None."""
        training = self._training
        train = PassSettings.pcd(passes=passes)
        if self.weighted:
            plain = PassSettings(passes=passes, held_out=None, renew=None)
            train = replace(plain, tau=self.tau, forgetting_factor=self.forgetting_factor)
        walkers = self.n_walkers or 8 * batch
        train = replace(train, walkers=walkers, moves=self.n_moves, batch=batch)
        decay, _ = strengths(training.history.rows, training.hidden, self.weight_decay)
        optimizer = Optimizer(lr=self.learning_rate, weight_decay=decay)
        model, budget = RBMModel(hidden=training.hidden), Budget(math.inf, iterations)
        return Recipe(training.family.kind, model, train, optimizer, budget=budget)

    def _tell(self, what: str, done: Progress) -> None:
        if self.verbose:
            print(
                f"[RBM] {what}: -log p of a batch about {done.record.nll:.4g} nats, walkers' "
                f"effective sample size {done.record.ess:.2f}, {done.seconds:.1f} s",
                flush=True,
            )
