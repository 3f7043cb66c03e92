"""The class `EnergyDensity`: a density estimator of tables with scikit-learn's interface."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state

from noneq.estimators.checks import check_whole, complete_rows
from noneq.estimators.densities import TrainedDensity
from noneq.estimators.frames import Frames
from noneq.estimators.learning import Learning
from noneq.numerics import resolve_device
from noneq.run.candidates import Candidate, named

__all__ = ["EnergyDensity"]


class EnergyDensity(TrainedDensity):
    r"""A normalised density of tables of numbers: a base of Gaussians, tilted by a network.

    The log-density is ``log p(x) = -U(x) - log Z``. Validation rows, which are set aside, choose
    whether columns are mapped to normal variables, and the base, among Gaussians and mixtures. A
    network that is added to the energy of the base is trained by maximum likelihood with weighted
    walkers (Carbone, Hua, Coste, Vanden-Eijnden 2023, arXiv 2305.19414) for as long as the
    validation rows gain; where they gain nothing, the base is the model. Z is estimated from both
    sides, and ``alarms_`` says where the estimate may be wrong.

    Columns have kinds, as for ``noneq train`` (`noneq.data.kinds`): integers and other values that
    repeat have no density, and are spread over intervals. Where ``kinds_`` says "grid", "category"
    or "atoms", such values have probabilities, so that ``score_samples`` is a log-probability in
    these columns and a log-density in others; samples are values of these kinds again. Texts of
    a DataFrame of pandas are categories; ``sample`` then returns a DataFrame, too.

    Rows have no weights in ``fit``: a training with weights would not be the same as one with
    repeated rows, since copies of a row are kept on one side of the split and batches are drawn at
    random.

    Parameters
    ----------
    max_iter : int, default=None
        The largest number of iterations; validation rows end the training earlier. By default it
        is four times the number of rows, and 2,000 at most; with fewer than 60 rows, or fewer
        rows than columns, it is 0, i.e. the base alone is fitted. With fewer than 30 rows nothing
        can be validated, and the base is one Gaussian, shrunk after Ledoit and Wolf, in any case.
    validation_fraction : float, default=0.1
        The fraction of the rows that is set aside for validation, 10 rows or more. If it is 0,
        the base is one Gaussian, and the training ends after ``max_iter`` iterations.
    contamination : float, default=0.05
        The share of the rows of ``fit`` that ``predict`` takes for anomalies, from 0 to 1.
    n_walkers : int, default=None
        The number of walkers, i.e. weighted samples of the model, that estimate the gradient; by
        default 128, or 512 from 1,000 rows on.
    tau : float, default=None
        The cost in nats to which the trust region scales each step; by default 0.01, or 0.2 of
        more than 2,048 columns.
    noise : float, default=None
        The standard deviation of the noise that is added to standardised rows in training; by
        default 0.
    settings : dict, default=None
        Other settings of the training by name, as `noneq.run.choose` takes them, e.g.
        ``{"width": 128, "bracket": {"temperatures": 1000}}``.
    random_state : int, RandomState instance or None, default=None
        The seed of the split and of all other randomness of ``fit``.
    device : str, default="cpu"
        The torch device to train on, for example "cuda".
    verbose : int, default=0
        The number of iterations after which each time a line is printed, beside bars for the
        progress of everything else; 0: nothing is shown.

    Attributes
    ----------
    energy_ : torch.nn.Module
        The energy U, a function of standardised and perhaps mapped rows.
    base_ : noneq.Gaussian or noneq.GaussianMixture
        The base; ``energy_ is base_`` where the validation rows gain nothing by a network.
    base_name_ : str
        The base in words, e.g. "mixture of 5, ridge 0.01".
    log_z_, log_z_stderr_ : float
        log Z of ``energy_`` and its standard error, 0 where it is exact.
    alarms_ : tuple of str
        Sentences that say why log Z or the model may be wrong; empty if there are none.
    n_iter_, best_iter_ : int
        The number of iterations done, and that after which the parameters are kept; 0: the base.
    kinds_ : tuple of str
        The kind of each column: "continuous", "rounded", "grid", "atoms" or "category".
    anomaly_threshold_ : float
        The log-density below which ``predict`` takes rows for anomalies.
    n_features_in_ : int
        The number of columns of the training rows.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        The names of the columns, if ``fit`` was given a frame with names.

    Examples
    --------
    >>> import numpy as np
    >>> from noneq.estimators import EnergyDensity
    >>> x = np.random.default_rng(0).normal(size=(50, 2)) @ [[1.0, 0.8], [0.0, 0.6]]
    >>> model = EnergyDensity(random_state=0).fit(x)
    >>> model.score_samples([[0.0, 0.0]]) > model.score_samples([[2.0, -2.0]])
    array([ True])
    >>> model.predict([[2.0, -2.0]])  # an anomaly
    array([-1])
    >>> model.sample_conditional([[1.0, np.nan]], n_samples=3, random_state=0).shape
    (1, 3, 2)
    """

    def __init__(
        self,
        *,
        max_iter: int | None = None,
        validation_fraction: float = 0.1,
        contamination: float = 0.05,
        n_walkers: int | None = None,
        tau: float | None = None,
        noise: float | None = None,
        settings: Mapping[str, Any] | None = None,
        random_state: Any = None,
        device: str = "cpu",
        verbose: int = 0,
    ) -> None:
        self.max_iter = max_iter
        self.validation_fraction = validation_fraction
        self.contamination = contamination
        self.n_walkers = n_walkers
        self.tau = tau
        self.noise = noise
        self.settings = settings
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    def fit(self, X: ArrayLike, y: object = None) -> Self:  # noqa: ARG002
        """Learn the density of rows; what was learned before is discarded.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows, 2 or more, of finite numbers; in a DataFrame of pandas, columns may also
            hold texts or be of the type "category". No column may be constant.
        y : object, default=None
            It is ignored.

        Returns
        -------
        EnergyDensity
            The estimator itself.

        Raises
        ------
        ValueError
            The rows or the parameters are invalid, or the rows have no density.
        """
        frames = Frames.of(X)
        x = complete_rows(self, X, frames, ensure_min_samples=2)
        changes = self._changes()
        self._check_columns(x)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        learning = Learning(
            x,
            fraction=float(self.validation_fraction),
            settings=changes,
            seed=seed,
            device=resolve_device(self.device),
            texts=frames.texts if frames is not None else {},
            verbose=int(self.verbose),
        )
        learned = self._learned = learning.learn()
        self._frames = frames
        self.energy_, self.base_ = learned.energy, learned.base
        model, scaling = learned.recipe.model, learned.scaling
        chosen = Candidate(model.base, model.components, model.ridge, np.nan, np.nan)
        self.base_name_ = named(chosen._replace(columns=scaling.columns))
        self.log_z_, self.log_z_stderr_ = learned.z.value, learned.z.stderr
        self.alarms_ = learned.alarms
        cells = learned.scaling.cells
        self.kinds_ = ("continuous",) * x.shape[1]
        if cells is not None:
            self.kinds_ = tuple(column.kind for column in cells.columns)
        self.n_iter_, self.best_iter_ = learned.iterations, learned.best
        self._fitted_scores = np.sort(self._scores(x))
        self.anomaly_threshold_ = float(np.quantile(self._fitted_scores, self.contamination))
        for alarm in learned.alarms if self.verbose else ():
            print(f"[EnergyDensity] alarm: {alarm}", flush=True)
        return self

    def _changes(self) -> dict[str, Any]:
        """Check the parameters, and collect the settings that differ from defaults."""
        for name, least in (("max_iter", 0), ("n_walkers", 16)):
            if getattr(self, name) is not None:
                check_whole(name, getattr(self, name), least)
        check_whole("verbose", int(self.verbose), 0)
        for name in ("validation_fraction", "contamination"):
            value: Any = getattr(self, name)
            if not isinstance(value, Real) or not 0 <= float(value) < 1:
                raise ValueError(f"{name} must be a number, 0 or more and below 1, got {value!r}")
        given = {
            "iterations": self.max_iter,
            "walkers": self.n_walkers,
            "tau": self.tau,
            "noise": self.noise,
        }
        own = {name: value for name, value in given.items() if value is not None}
        return {**own, **(self.settings or {})}

    def _check_columns(self, x: NDArray[np.float64]) -> None:
        """Raise ValueError for constant columns, across which there is no density."""
        constant = np.flatnonzero((x == x[0]).all(0))
        if len(constant) == x.shape[1]:
            raise ValueError(f"all {len(x):,} rows are equal: there is no density to learn")
        if len(constant):
            names = getattr(self, "feature_names_in_", None)
            called = [str(i) if names is None else repr(str(names[i])) for i in constant]
            rest = ", ..." if len(called) > 5 else ""
            raise ValueError(
                f"column {', '.join(called[:5])}{rest} is constant, so that the rows have no "
                "density: drop it (sklearn.feature_selection.VarianceThreshold)"
            )
