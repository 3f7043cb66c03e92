"""Estimators for scikit-learn; importing this module imports it."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from numbers import Integral, Real
from typing import Any, Literal, Self, TypeAlias
from zlib import crc32

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
from torch.optim.swa_utils import AveragedModel

from noneq.averaging import moving_average
from noneq.bracket import log_z
from noneq.devices import usable
from noneq.energies import PART
from noneq.estimate import Estimate
from noneq.kernels import BlockGibbs
from noneq.likelihood import energy_of, exact_log_z
from noneq.models import groups
from noneq.paths import path_to
from noneq.rbm import BernoulliRBM, GaussianRBM
from noneq.settings import Settings
from noneq.smc import pilot, population
from noneq.spaces import draw_bits
from noneq.training import Trained, train

__all__ = ["RBM"]

Floats: TypeAlias = NDArray[np.floating[Any]]
Machine: TypeAlias = BernoulliRBM | GaussianRBM

_FOUND = ("rbm_", "log_z_", "log_z_stderr_", "alarms_")
DRAWS = 20  # of the bits of a row of probabilities that is scored
KEPT = 1024  # training rows, where the way back of log Z starts; and samples to judge by
APART = 5.0  # standard errors between a column's mean under the model and among its walkers


@dataclass
class _Training:
    """What goes on where `RBM.partial_fit` is called again."""

    model: Machine
    average: AveragedModel
    optimizer: torch.optim.Optimizer
    rng: torch.Generator
    state: Trained | None = None


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
    ``BernoulliRBM``.

    Arguments:
        n_components: hidden units.
        visible: "bernoulli" for values in [0, 1], which are probabilities of bits where they are
            not bits: these are drawn afresh in every pass; "gaussian" for numbers, which are
            standardised first; "auto": the former where all values that `fit` sees allow it.
        n_iter: passes over the rows; a pass is as many batches as hold them once.
        batch_size: rows of a batch, drawn with replacement.
        learning_rate: of Adam; constant for half of the passes, then falling to 0. The trust
            region sets the length of the steps, unless ``tau`` is None.
        weight_decay: L2 penalty of the weights, ``weight_decay |W|^2 / 2``.
        tau: trust region, see `noneq.Settings`.
        n_walkers: that feed the gradient; default: eight for each row of a batch, so that they
            add little noise to that of the rows, and keep the masses of modes that do not mix.
        n_moves: Gibbs sweeps of each walker a batch.
        weighted: False for persistent contrastive divergence, in plain steps from the data.
        memory: of the weights, see `noneq.Settings`; 1: exact.
        n_temperatures: of the annealing to log Z; default: by a pilot run.
        random_state: seed or ``numpy.random.RandomState``.
        device: of torch, e.g. "cuda".

    Attributes:
        rbm_: the model, with the moving average of the parameters; numbers are in units of
            ``scale_`` from ``mean_``.
        visible_: "bernoulli" or "gaussian".
        components_: (n_components, n_features) its weights.
        intercept_hidden_, intercept_visible_: its biases.
        mean_, scale_: (n_features,) what numbers were standardised by; 0 and 1 for bits.
        n_features_in_: columns.
        log_z_, log_z_stderr_: log Z of ``rbm_`` and its standard error, which all scores have in
            common, 0 where log Z is exact; known from the first score or sample on.
        alarms_: why log Z or the machine may be wrong: sides that disagree, rows that independent
            units know better, walkers that do not have the model's means; empty if nothing rang.
            Known from then on, too.
    """

    def __init__(
        self,
        n_components: int = 256,
        *,
        visible: Literal["auto", "bernoulli", "gaussian"] = "auto",
        n_iter: int = 100,
        batch_size: int = 128,
        learning_rate: float = 0.03,
        weight_decay: float = 1e-3,
        tau: float | None = 0.1,
        n_walkers: int | None = None,
        n_moves: int = 4,
        weighted: bool = True,
        memory: float = 1.0,
        n_temperatures: int | None = None,
        random_state: Any = None,
        device: str = "cpu",
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
        self.n_temperatures = n_temperatures
        self.random_state = random_state
        self.device = device

    # -- training

    def fit(self, X: ArrayLike, y: object = None) -> Self:  # noqa: ARG002
        """Train on the rows of X (M, d), from the start.

        Raises ValueError for rows it cannot have, FloatingPointError where training diverges.
        """
        rows = self._begin(self._checked(X, reset=True, least=2))
        speeds = [min(1.0, 2 * (1 - done / self.n_iter)) for done in range(self.n_iter)]
        return self._train(rows, speeds)

    def partial_fit(self, X: ArrayLike, y: object = None) -> Self:  # noqa: ARG002
        """One pass over the rows of X (M, d); the first call also chooses the visible units."""
        first = not hasattr(self, "_training")
        x = self._checked(X, reset=first, least=2 if first else 1)
        rows = self._begin(x) if first else self._tensor(x)
        return self._train(rows, [1.0])

    def _check_parameters(self) -> None:
        numbers = {"n_components": 1, "n_iter": 1, "batch_size": 1, "n_moves": 1}
        optional = {"n_walkers": 2, "n_temperatures": 1}
        given = {
            name: least for name, least in optional.items() if getattr(self, name) is not None
        }
        for name, least in (numbers | given).items():
            _check_whole(name, getattr(self, name), least)
        for name in ("learning_rate", "weight_decay", "memory", "tau"):
            value = getattr(self, name)
            if name == "tau" and value is None:
                continue
            if not isinstance(value, Real) or not 0 <= float(value) < math.inf:
                raise ValueError(f"{name} must be a number, 0 or more, got {value!r}")

    def _begin(self, x: Floats) -> Tensor:
        """Choose the visible units, make the model; the rows as it has them."""
        self._check_parameters()
        for name in (*_FOUND, "_training"):  # or what was learned before would score in new units
            self.__dict__.pop(name, None)
        self.visible_ = self._kind(x)
        self.mean_, self.scale_ = np.zeros(x.shape[1]), np.ones(x.shape[1])
        if self.visible_ == "gaussian":
            self.mean_, self.scale_ = x.mean(0, np.float64), x.std(0, dtype=np.float64)
            still = np.flatnonzero(x.max(0) == x.min(0)).tolist()
            if still:
                raise ValueError(
                    f"{len(still)} columns never change (the first: {still[0]}): no density "
                    "exists there; drop them (sklearn.feature_selection.VarianceThreshold)"
                )
        rows = self._tensor(x)
        seeds = check_random_state(self.random_state).randint(2**31 - 1, size=2)
        seed, other = map(int, seeds)
        rng = torch.Generator(rows.device).manual_seed(seed)
        kind = BernoulliRBM if self.visible_ == "bernoulli" else GaussianRBM
        first = draw_bits(torch.logit(rows), rng) if self.visible_ == "bernoulli" else rows
        centred = kind.from_data(first, self.n_components, rng, scale=0.05)
        # sparse features: hidden units that are centred stay on half of the time
        model = centred.recentred(torch.zeros_like(centred.mu), torch.zeros_like(centred.lam))
        self._training = _Training(
            model,
            moving_average(model, 0.99),
            torch.optim.Adam(groups(model, self.weight_decay), lr=self.learning_rate),
            rng,
        )
        self._kept = rows[torch.randperm(len(rows), generator=rng, device=rows.device)[:KEPT]]
        self._stream = torch.Generator(rows.device).manual_seed(other)
        return rows

    def _train(self, rows: Tensor, speeds: list[float]) -> Self:
        """One pass for each speed, a multiple of the learning rate."""
        for name in _FOUND:
            self.__dict__.pop(name, None)
        self._z: Estimate | None = None
        run, batch = self._training, min(self.batch_size, len(rows))
        uncertain = self.visible_ == "bernoulli" and not _are_bits(rows)
        data = draw_bits(torch.logit(rows), run.rng) if uncertain else rows
        records = train(
            run.model,
            data,
            self._settings(batch),
            optimizer=run.optimizer,
            rng=run.rng,
            resume=run.state,
        )
        for done, speed in enumerate(speeds):
            if done and uncertain:  # every batch is taken from the rows as they are by then
                data.copy_(draw_bits(torch.logit(rows), run.rng))
            for group in run.optimizer.param_groups:
                group["initial_lr"], group["lr"] = self.learning_rate, speed * self.learning_rate
            for record in islice(records, math.ceil(len(rows) / batch)):
                run.average.update_parameters(run.model)
                run.state = record.state
        return self._settle()

    def _settings(self, batch: int) -> Settings:
        n = self.n_walkers or 8 * batch
        if not self.weighted:
            return Settings.pcd(walkers=n, moves=self.n_moves, batch=batch)
        return Settings(
            walkers=n,
            held_out=0,
            moves=self.n_moves,
            tau=self.tau,
            renew=0,
            batch=batch,
            memory=self.memory,
        )

    def _settle(self) -> Self:
        """Show what has been learned; log Z is unknown until it is asked for."""
        model = copy.deepcopy(self._training.average.module)
        assert isinstance(model, BernoulliRBM | GaussianRBM)
        self.rbm_: Machine = model
        self.components_ = self.rbm_.w.detach().T.cpu().numpy()
        self.intercept_hidden_ = self.rbm_.hidden_bias.detach().cpu().numpy()
        self.intercept_visible_ = self.rbm_.visible_bias.detach().cpu().numpy()
        return self

    # -- what it says of rows

    def transform(self, X: ArrayLike) -> Floats:
        """Probabilities ``P(h_j = 1 | v)`` of the hidden units, (M, n_components)."""
        x = self._checked(X)
        return self._array(self._double().features(self._tensor(x, torch.float64)), x)

    def gibbs(self, v: ArrayLike) -> Floats:
        """One Gibbs sweep from rows v: hidden units given them, visible units given those."""
        x = self._checked(v)
        model, rows = self._double(), self._tensor(x, torch.float64)
        y = self._array(model.gibbs(rows, model.evaluate(rows)[1], self._stream), x)
        return y * self.scale_.astype(y.dtype) + self.mean_.astype(y.dtype)

    def score_samples(self, X: ArrayLike) -> NDArray[np.float64]:
        """Log-likelihoods (M,) in nats; of rows of probabilities the mean over draws of bits.

        The first call after training finds log Z: exactly where one layer has at most 20 bits,
        else by annealing from both sides, which takes a while; see ``log_z_stderr_``, ``alarms_``.
        """
        x = self._checked(X)
        z, model, rows = self._log_z(), self._double(), self._tensor(x, torch.float64)
        if self.visible_ == "bernoulli" and not _are_bits(x):
            size = max(1, PART // (DRAWS * x.shape[1]))
            at = [slice(i, i + size) for i in range(0, len(x), size)]
            energy = torch.cat([_mean_over_bits(model, x[some], rows[some]) for some in at])
        else:
            energy = energy_of(model, rows)
        found: NDArray[np.float64] = -energy.cpu().numpy() - z.value - np.log(self.scale_).sum()
        return found

    def score(self, X: ArrayLike, y: object = None) -> float:  # noqa: ARG002
        """Mean log-likelihood of the rows in nats."""
        return float(self.score_samples(X).mean())

    def sample(self, n_samples: int = 1) -> Floats:
        """Draw rows (n_samples, d): exactly where log Z is exact, else by annealing."""
        _check_whole("n_samples", n_samples, 1)
        z, model, rng = self._log_z(), self.rbm_, self._stream
        if z.schedule is None:  # exact
            x = model.sample(n_samples, rng)
        else:  # an ordinary sample comes from four times as many weighted ones
            many = 8 * -(-max(16, 4 * n_samples) // 8)
            path = path_to(model, model.base)
            x = population(path, many, z.schedule, rng=rng)[0].equal(n_samples, rng)
        found: Floats = x.double().cpu().numpy() * self.scale_ + self.mean_
        return found

    def _log_z(self) -> Estimate:
        check_is_fitted(self, "rbm_")
        if self._z is None:
            found = self._estimate()
            self._z = replace(found, alarms=(*found.alarms, *self._doubts(found)))
            # not properties: to show an estimator reads all of them
            self.log_z_, self.log_z_stderr_ = self._z.value, self._z.stderr
            self.alarms_ = self._z.alarms
        return self._z

    def _estimate(self) -> Estimate:
        """Exact, or by annealing where there are too many states."""
        model, rng = self.rbm_, torch.Generator(self._kept.device).manual_seed(0)
        try:
            return exact_log_z(model, n=KEPT, rng=rng)
        except ValueError:
            schedule = pilot(path_to(model, model.base), BlockGibbs(), rng)
            schedule = schedule.resized(self.n_temperatures or max(50, 4 * len(schedule)))
            kept = self._bits(rng)
            return log_z(model, model.base, kept, temperatures=schedule, rng=rng)

    def _doubts(self, z: Estimate) -> Iterator[str]:
        """What the rows and the walkers that it has learned from say against the machine."""
        model, state, rng = self.rbm_, self._training.state, torch.Generator(self._kept.device)
        assert state is not None  # fitted
        kept, walkers = self._bits(rng.manual_seed(1)), state.walkers
        alone = energy_of(model.base, kept) + model.base.log_z()
        worse = float((energy_of(model, kept) - alone).mean()) + z.value
        if not worse < 0.1 + 4 * z.stderr:
            yield (
                f"the rows it has learned from are {worse:.4g} nats less likely than under "
                "independent units: training has diverged; take a smaller learning_rate or tau"
            )
        x, p = z.walkers.equal(KEPT, rng), walkers.p.to(walkers.x)
        means = torch.stack([x.mean(0), p @ walkers.x])
        # a bit that is rare may be on in nobody's sample: the larger variance
        spread = torch.maximum(x.var(0), p @ (walkers.x - means[1]).square())
        errors = ((1 / walkers.survivors + 1 / len(x)) * spread).sqrt()
        away = (means[1] - means[0]).abs() / errors.clamp(min=1 / len(x))
        if float(away.max()) > APART:
            k = int(away.argmax())
            ours, theirs = means[:, k].cpu().numpy() * self.scale_[k] + self.mean_[k]
            exact = self.weighted and self.memory == 1
            weights = "exact weights (weighted=True, memory=1)"
            calmer = "more walkers (n_walkers)" if exact else weights
            yield (
                f"column {k} has the mean {ours:.2g} under the model, but {theirs:.2g} among the "
                "walkers it has learned from: they do not mix, and have told it other masses of "
                f"its modes than it has; take {calmer} or fewer passes (n_iter)"
            )

    def _bits(self, rng: torch.Generator) -> Tensor:
        """The rows kept; bits drawn of them where they are probabilities."""
        kept = self._kept
        return draw_bits(torch.logit(kept), rng) if self.visible_ == "bernoulli" else kept

    # -- arrays and tensors

    def _checked(self, X: ArrayLike, *, reset: bool = False, least: int = 1) -> Floats:
        if not reset:
            check_is_fitted(self, "rbm_")
        x: Floats = validate_data(
            self, X, reset=reset, dtype=(np.float64, np.float32), ensure_min_samples=least
        )
        if getattr(self, "visible_", "") == "bernoulli" and not reset:
            self._kind(x, "bernoulli")
        return x

    def _kind(self, x: Floats, wanted: str | None = None) -> str:
        wanted = wanted or self.visible
        if wanted not in ("auto", "bernoulli", "gaussian"):
            raise ValueError(f"visible is 'auto', 'bernoulli' or 'gaussian', got {wanted!r}")
        inside = bool(x.min() >= 0 and x.max() <= 1)
        if wanted == "bernoulli" and not inside:
            raise ValueError(
                f"bits and their probabilities lie in [0, 1], these values from {x.min():.4g} to "
                f"{x.max():.4g}: scale them (sklearn.preprocessing.minmax_scale), make bits of "
                "them (sklearn.preprocessing.Binarizer), or take visible='gaussian' for numbers"
            )
        return wanted if wanted != "auto" else "bernoulli" if inside else "gaussian"

    def _tensor(self, x: Floats, dtype: torch.dtype = torch.float32) -> Tensor:
        """Rows in the model's units."""
        scaled = (x.astype(np.float64) - self.mean_) / self.scale_
        return torch.from_numpy(scaled).to(device=usable(self.device), dtype=dtype)

    def _array(self, x: Tensor, like: Floats) -> Floats:
        found: Floats = x.detach().cpu().numpy().astype(like.dtype)
        return found

    def _double(self) -> Machine:
        return copy.deepcopy(self.rbm_).double()

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)

    def __sklearn_tags__(self) -> Any:
        """Float32 stays float32."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _check_whole(name: str, value: Any, least: int) -> None:
    if type(value) is bool or not isinstance(value, Integral) or int(value) < least:
        raise ValueError(f"{name} must be a whole number >= {least}, got {value!r}")


def _are_bits(x: Floats | Tensor) -> bool:
    return bool(((x == 0) | (x == 1)).all())


def _mean_over_bits(model: Machine, x: Floats, rows: Tensor) -> Tensor:
    u = torch.from_numpy(np.stack([_uniform(row) for row in x])).to(rows.device)
    drawn = (u < rows[:, None]).to(rows).flatten(0, 1)
    return energy_of(model, drawn).view(-1, DRAWS).mean(1)


def _uniform(row: Floats) -> NDArray[np.float64]:
    """(DRAWS, d) uniform numbers, the same for the same row wherever it stands."""
    return np.random.default_rng(crc32(row.tobytes())).random((DRAWS, len(row)))
