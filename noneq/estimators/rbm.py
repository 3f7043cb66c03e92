"""A restricted Boltzmann machine in scikit-learn's words."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    DensityMixin,
    TransformerMixin,
)
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from noneq.annealing import population
from noneq.energies import path_to
from noneq.estimators.arrays import Floats, Rows, are_bits, parts
from noneq.estimators.batches import Passes
from noneq.estimators.density import energies, estimate, impossible
from noneq.estimators.given import check_number, check_whole, visible_kind, weighted
from noneq.estimators.history import History
from noneq.estimators.learning import Learning, Machine
from noneq.estimators.misfit import Evidence, misfit
from noneq.likelihood import Estimate
from noneq.numerics import resolve_device
from noneq.random import draw_bits
from noneq.training import Settings

__all__ = ["RBM"]

_FOUND = ("rbm_", "log_z_", "log_z_stderr_", "alarms_")


class RBM(
    ClassNamePrefixFeaturesOutMixin,  # type: ignore[misc]
    TransformerMixin,  # type: ignore[misc]
    DensityMixin,  # type: ignore[misc]
    BaseEstimator,  # type: ignore[misc]
):
    r"""A restricted Boltzmann machine with a true likelihood, for pipelines of scikit-learn.

    ``log p(v) = -U(v) - log Z``, U the free energy of `noneq.BernoulliRBM` or, for numbers,
    `noneq.GaussianRBM`. Trained by `noneq.train` with weighted walkers and block Gibbs (Carbone,
    Hua, Coste, Vanden-Eijnden 2023, arXiv 2305.19414); takes the place of scikit-learn's
    ``BernoulliRBM``. Rows are arrays or scipy's sparse matrices.

    Arguments:
        n_components: hidden units.
        visible: "bernoulli" for values in [0, 1], which are probabilities of bits where they are
            not bits: these are drawn afresh in every pass; "gaussian" for numbers, which are
            standardised first; "auto": the former where all values of the first call allow it.
        n_iter: passes over the rows; a pass is as many batches as hold them once.
        batch_size: rows of a batch, drawn with replacement.
        learning_rate: of Adam; constant for half of the passes, then falling to 0. The trust
            region sets the length of the steps, unless ``tau`` is None.
        weight_decay: L2 penalty of the weights, ``weight_decay |W|^2 / 2``; default: 1e-3, or
            ``n_components / (36 rows)`` if that is more. Biases have normal priors, whose penalty
            is ``1 / rows``.
        tau: trust region, see `noneq.Settings`.
        n_walkers: that feed the gradient; default: eight for each row of a batch, so that they
            add little noise to that of the rows, and keep the masses of modes that do not mix.
        n_moves: Gibbs sweeps of each walker a batch.
        weighted: False for persistent contrastive divergence, in plain steps from the data.
        memory: of the weights, see `noneq.Settings`; 1: exact.
        validation_fraction: share of the rows that is set aside, at most 256 of them, and none
            of fewer than 80 or of rows that repeat each other: only rows that it has not learned
            from tell whether the model is better than independent units. 0: none.
        n_temperatures: of the annealing to log Z; default: by a pilot run.
        random_state: seed or ``numpy.random.RandomState``.
        device: of torch, e.g. "cuda".
        verbose: whether to print a line for each pass, and alarms when they ring.

    Attributes:
        rbm_: the model, with the moving average of the parameters; numbers are in units of
            ``scale_`` from ``mean_``.
        visible_: "bernoulli" or "gaussian".
        components_: (n_components, n_features) its weights.
        intercept_hidden_, intercept_visible_: its biases.
        mean_, scale_: (n_features,) what numbers are standardised by, those of all rows so far;
            0 and 1 for bits.
        n_features_in_: columns.
        log_z_, log_z_stderr_: log Z of ``rbm_`` and its standard error, which all scores have in
            common, 0 where log Z is exact; known from the first score or sample on.
        alarms_: why log Z or the machine may be wrong: sides that disagree, rows that independent
            units know better, walkers that do not have the model's means, rows that drift from
            call to call, bits that are more than certain; empty if nothing rang. Known from then
            on, too.
    """

    _training: Learning
    _stream: torch.Generator

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
        memory: float = 1.0,
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
        self.memory = memory
        self.validation_fraction = validation_fraction
        self.n_temperatures = n_temperatures
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    # -- training

    def fit(self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None) -> Self:  # noqa: ARG002
        """Train on the rows of X (M, d), from the start.

        Weights (M,) say how often a row is to be taken, only their ratios count. Raises
        ValueError for rows it cannot have, FloatingPointError where training diverges.
        """
        rows, weight = self._given(X, sample_weight, first=True)
        speeds = [min(1.0, 2 * (1 - done / self.n_iter)) for done in range(self.n_iter)]
        return self._train(rows, weight, speeds)

    def partial_fit(
        self,
        X: ArrayLike,
        y: object = None,  # noqa: ARG002
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """One pass over the rows of X (M, d).

        The first call chooses the visible units, which later rows must fit. Units of numbers,
        independent units and the rows that log Z is found by are those of all calls so far.
        """
        rows, weight = self._given(X, sample_weight, first=not hasattr(self, "_training"))
        return self._train(rows, weight, [1.0])

    def _given(
        self, X: ArrayLike, sample_weight: ArrayLike | None, *, first: bool
    ) -> tuple[Rows, NDArray[np.float64]]:
        """A call's rows to learn from, of positive weight, once the history has seen them."""
        x = self._checked(X, reset=first, least=2 if first else 1)
        x, weight = weighted(x, sample_weight)
        if first:
            self._check_parameters()
            for name in (*_FOUND, "_training"):  # what was learned before has other units
                self.__dict__.pop(name, None)
            seeds = check_random_state(self.random_state).randint(2**31 - 1, size=3)
            device = resolve_device(self.device)
            rng, self._stream = (torch.Generator(device).manual_seed(int(s)) for s in seeds[:2])
            kind = visible_kind(x, self.visible)
            history = History(self.validation_fraction, int(seeds[2]))
        else:
            kind, history = self.visible_, self._training.history
        x, weight = history.add(x, weight)
        self._follow(kind, history)
        if first:
            self._training = Learning.begin(kind, self.n_components, history, rng)
        self._training.renew(self.weight_decay)
        return x, weight

    def _check_parameters(self) -> None:
        least = {"n_components": 1, "n_iter": 1, "batch_size": 1, "n_moves": 1}
        for name, value in (least | {"n_walkers": 2, "n_temperatures": 1}).items():
            if name in least or getattr(self, name) is not None:
                check_whole(name, getattr(self, name), value)
        for name in ("learning_rate", "memory", "weight_decay", "tau"):
            if name in ("learning_rate", "memory") or getattr(self, name) is not None:
                check_number(name, getattr(self, name))
        check_number("validation_fraction", self.validation_fraction, below=1)

    def _follow(self, kind: str, history: History) -> None:
        """Take the units of all rows so far."""
        moments = history.moments
        assert moments is not None
        still = np.flatnonzero(moments.low == moments.high).tolist()
        if kind == "bernoulli":
            if len(still) == len(moments.mean) and are_bits(moments.low):
                raise ValueError("all rows are the same one: there is nothing to learn")
            self.mean_, self.scale_ = np.zeros_like(moments.mean), np.ones_like(moments.mean)
        elif still:
            raise ValueError(
                f"{len(still)} columns never change (the first: {still[0]}): no density "
                "exists there; drop them (sklearn.feature_selection.VarianceThreshold)"
            )
        else:
            self.mean_, self.scale_ = moments.mean, np.sqrt(moments.var)
        self.visible_ = kind

    def _train(self, x: Rows, weight: NDArray[np.float64], speeds: list[float]) -> Self:
        """One pass for each speed, a multiple of the learning rate."""
        for name in _FOUND:
            self.__dict__.pop(name, None)
        self._z: Estimate | None = None
        run = self._training
        if len(weight):
            batch, bits = min(self.batch_size, len(weight)), ""
            if self.visible_ == "bernoulli":
                bits = "given" if are_bits(x) else "drawn"
            passes = Passes(x, weight, self._tensor, bits, batch, run.rng)
            began, rates = time.perf_counter(), [self.learning_rate * speed for speed in speeds]
            for k, record in enumerate(run.go(passes, self._settings(batch), rates), 1):
                if self.verbose:
                    print(
                        f"[RBM] pass {k} of {len(rates)}: -log p of a batch about "
                        f"{record.nll:.4g} nats, walkers' effective sample size {record.ess:.2f}, "
                        f"{time.perf_counter() - began:.1f} s",
                        flush=True,
                    )
        self.rbm_: Machine = run.learned()
        self.components_ = self.rbm_.w.detach().T.cpu().numpy()
        self.intercept_hidden_ = self.rbm_.hidden_bias.detach().cpu().numpy()
        self.intercept_visible_ = self.rbm_.visible_bias.detach().cpu().numpy()
        return self

    def _settings(self, batch: int) -> Settings:
        n = self.n_walkers or 8 * batch
        if not self.weighted:
            return Settings.pcd(walkers=n, moves=self.n_moves, batch=batch)
        return Settings(
            walkers=n,
            held_out=None,
            moves=self.n_moves,
            tau=self.tau,
            renew=None,
            batch=batch,
            forgetting_factor=self.memory,
        )

    # -- what it says of rows

    def transform(self, X: ArrayLike) -> Floats:
        """Probabilities ``P(h_j = 1 | v)`` of the hidden units, (M, n_components)."""
        x, model = self._checked(X), self._double()
        found = [model.features(self._tensor(part, torch.float64)) for part in parts(x)]
        return self._array(torch.cat(found), x)

    def gibbs(self, v: ArrayLike) -> Floats:
        """One Gibbs sweep from rows v: hidden units given them, visible units given those."""
        x, model, swept = self._checked(v), self._double(), []
        for part in parts(x):
            rows = self._tensor(part, torch.float64)
            swept.append(model.gibbs(rows, model.evaluate(rows)[1], self._stream))
        y = self._array(torch.cat(swept), x)
        return y * self.scale_.astype(y.dtype) + self.mean_.astype(y.dtype)

    def score_samples(self, X: ArrayLike) -> NDArray[np.float64]:
        """Log-likelihoods (M,) in nats; of rows of probabilities the mean over draws of bits.

        The first call after training finds log Z: exactly where one layer has at most 20 bits,
        else by annealing from both sides, which takes a while; see ``log_z_stderr_``, ``alarms_``.
        No row of bits has a log-likelihood above 0: one that has by less than the error of log Z
        is given 0, others as they are, and an alarm.
        """
        x = self._checked(X)
        z, model, bits = self._log_z(), self._double(), self.visible_ == "bernoulli"
        drawn = bits and not are_bits(x)
        found = [
            energies(model, self._tensor(part, torch.float64), part if drawn else None)
            for part in parts(x)
        ]
        score: NDArray[np.float64] = -torch.cat(found).cpu().numpy() - z.value
        score -= np.log(self.scale_).sum()
        if bits:
            score, alarms = impossible(score, None if drawn else x, z.stderr)
            self._ring(alarms)
        return score

    def score(
        self,
        X: ArrayLike,
        y: object = None,  # noqa: ARG002
        sample_weight: ArrayLike | None = None,
    ) -> float:
        """Mean log-likelihood of the rows in nats, by weight."""
        found, weight = weighted(self.score_samples(X), sample_weight)
        return float(np.average(found, weights=weight))

    def sample(self, n_samples: int = 1) -> Floats:
        """Draw rows (n_samples, d): exactly where log Z is exact, else by annealing."""
        check_whole("n_samples", n_samples, 1)
        z, model, rng = self._log_z(), self.rbm_, self._stream
        if z.schedule is None:  # exact
            x = model.sample(n_samples, rng)
        else:  # an ordinary sample comes from four times as many weighted ones
            many = 8 * -(-max(16, 4 * n_samples) // 8)
            path = path_to(model, model.base)
            x = population(path, many, z.schedule, rng=rng)[0].equal(n_samples, rng)
        found: Floats = x.double().cpu().numpy() * self.scale_ + self.mean_
        return found

    # -- log Z, and what speaks against it

    def _log_z(self) -> Estimate:
        check_is_fitted(self, "rbm_")
        if self._z is None:
            rng = torch.Generator(self._stream.device).manual_seed(0)
            kept = self._bits(self._training.history.kept, rng)
            found = self._z = estimate(self.rbm_, kept, self.n_temperatures)
            # not properties: to show an estimator reads all of them
            self.log_z_, self.log_z_stderr_ = self._z.value, self._z.stderr
            self.alarms_: tuple[str, ...] = ()
            self._ring([*found.alarms, *self._doubts(found)])
        return self._z

    def _ring(self, alarms: list[str]) -> None:
        new = [alarm for alarm in alarms if alarm not in self.alarms_]
        self.alarms_ = (*self.alarms_, *new)
        for alarm in new if self.verbose else ():
            print(f"[RBM] alarm: {alarm}", flush=True)

    def _doubts(self, z: Estimate) -> Iterator[str]:
        """What the rows and the walkers that it has learned from say against the machine."""
        run, rng = self._training, torch.Generator(self._stream.device).manual_seed(1)
        assert run.state is not None  # fitted
        history, halves = run.history, run.history.halves()
        evidence = Evidence(
            self._bits(history.kept, rng),
            self._bits(history.held, rng),
            torch.from_numpy(history.held_weight).to(rng.device),
            halves,
            run.state.walkers,
            self.weighted and self.memory == 1,
            self.mean_,
            self.scale_,
        )
        yield from misfit(self.rbm_, z, evidence, rng)
        yield from history.drift()
        if self.visible == "auto" and self.visible_ == "gaussian" and history.bits > 0.5:
            yield (
                f"{history.bits:.0%} of the rows are made of 0 and 1, and yet, for the others' "
                "sake, visible='auto' has taken them for numbers: mend or drop those, or take "
                "visible='gaussian' if they are meant"
            )

    def _bits(self, x: Floats, rng: torch.Generator) -> Tensor:
        """Rows in the model's units; bits drawn of them where they are probabilities."""
        rows = self._tensor(x)
        return draw_bits(torch.logit(rows), rng) if self.visible_ == "bernoulli" else rows

    # -- arrays and tensors

    def _checked(self, X: ArrayLike, *, reset: bool = False, least: int = 1) -> Rows:
        if not reset:
            check_is_fitted(self, "rbm_")
        x = validate_data(
            self,
            X,
            reset=reset,
            accept_sparse="csr",
            dtype=(np.float64, np.float32),
            ensure_min_samples=least,
        )
        if getattr(self, "visible_", "") == "bernoulli" and not reset:
            visible_kind(x, "bernoulli", chosen=self.visible == "auto")
        return x

    def _tensor(self, x: Floats, dtype: torch.dtype = torch.float32) -> Tensor:
        """Rows in the model's units."""
        scaled = (x.astype(np.float64) - self.mean_) / self.scale_
        return torch.from_numpy(scaled).to(device=resolve_device(self.device), dtype=dtype)

    def _array(self, x: Tensor, like: Rows) -> Floats:
        found: Floats = x.detach().cpu().numpy().astype(like.dtype)
        return found

    def _double(self) -> Machine:
        return copy.deepcopy(self.rbm_).double()

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)

    def __sklearn_tags__(self) -> Any:
        """Float32 stays float32; sparse rows are welcome."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.input_tags.sparse = True
        return tags
