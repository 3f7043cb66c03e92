"""Peers without a network: Gaussian mixtures, kernel densities, and vine copulas.

Each is fitted several times; the NLL of the validation rows chooses.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import cauchy
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import Tensor

from experiments.tables.rows import Fitted, Rows, Score, Whitener, noisy, scored, spent

__all__ = ["gaussian_mixture", "kernel_density", "vine_copula"]

COMPONENTS = (1, 2, 3, 5, 8, 12, 20, 30, 50, 80)
COVARIANCES = ("full", "tied", "diag")
RIDGES = (1e-6, 1e-4, 1e-3, 1e-2, 3e-2, 1e-1, 0.3)
BANDWIDTHS = np.geomspace(0.03, 2.0, 40)
PATIENCE = 2  # larger mixtures in a row that do not lower the validation NLL

Array = NDArray[np.float64]


def gaussian_mixture(rows: Rows) -> Fitted:
    """scikit-learn's mixture: components, kind of covariance and ridge by validation.

    The ridges of a larger mixture are the best one of the mixture before and its neighbours. Noise
    is not drawn: its variance is added to every covariance, as the ridge is.
    """
    x, start = rows.train.numpy(), time.process_time()
    best: tuple[float, Any] = (math.inf, None)
    for kind in COVARIANCES:
        ridges, worse, own = list(RIDGES), 0, math.inf
        for k in COMPONENTS:
            late = spent(start) > rows.seconds * (COVARIANCES.index(kind) + 2) / 4
            if 8 * k > len(rows.train) or worse == PATIENCE or (late and own < math.inf):
                break
            tried = [_mixture(x, rows, k, kind, ridge) for ridge in ridges]
            nll, model = min(tried, key=lambda one: one[0])
            worse, own = (0, nll) if nll < own else (worse + 1, own)
            best = min(best, (nll, model), key=lambda one: one[0])
            if model is not None:
                at = RIDGES.index(model.ridge)
                ridges = list(RIDGES[max(0, at - 1) : at + 2])
    model = best[1]
    assert model is not None
    words = f"{model.n_components} components, {model.covariance_type}, ridge {model.ridge:g}"
    return Fitted(_sklearn(model), words)


def _mixture(x: Array, rows: Rows, k: int, kind: str, ridge: float) -> tuple[float, Any]:
    """The validation NLL of one mixture, and the mixture; infinite where it has no fit."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        try:
            model = GaussianMixture(
                k, covariance_type=kind, reg_covar=rows.noise**2 + ridge, random_state=rows.seed,
                max_iter=60,
            ).fit(x)  # fmt: skip
        except ValueError:  # a covariance is singular
            return math.inf, None
    model.ridge = ridge
    return float(scored(_sklearn(model), rows.validation, rows.noise).mean()), model


def _sklearn(model: Any) -> Score:
    return lambda y: -torch.from_numpy(model.score_samples(y.numpy()))


def kernel_density(rows: Rows) -> Fitted:
    """Gaussian kernels at the training rows, isotropic or shaped as the covariance of the rows.

    The validation rows choose the bandwidth, out of 40, and the shape. The density is that of
    scikit-learn's KernelDensity; distances are computed once for all bandwidths.
    """
    whitener, found = Whitener(rows.train, rows.validation), []
    for shaped in (False, True):
        change = whitener.apply if shaped else (lambda x: x)
        volume = whitener.log_volume if shaped else 0.0
        for h, nll in zip(BANDWIDTHS, _by_bandwidth(rows, change), strict=True):
            found.append((nll - volume, float(h), shaped, change, volume))
    _, h, shaped, change, volume = min(found, key=lambda one: one[0])
    centres = change(rows.train)

    def nll(x: Tensor) -> Tensor:
        return _kernels(_squares(change(x), centres), h, centres.shape[1]) - volume

    return Fitted(nll, f"bandwidth {h:.2g}, {'covariance' if shaped else 'isotropic'}")


def _squares(x: Tensor, centres: Tensor) -> Tensor:
    return torch.cdist(x, centres).square()


def _kernels(squares: Tensor, h: float, dim: int) -> Tensor:
    log_norm = math.log(squares.shape[1]) + dim * (math.log(h) + math.log(2 * math.pi) / 2)
    return log_norm - (-squares / (2 * h * h)).logsumexp(1)


def _by_bandwidth(rows: Rows, change: Callable[[Tensor], Tensor]) -> list[float]:
    """Mean validation NLL at each bandwidth."""
    centres, found = change(rows.train), []

    def keep(x: Tensor) -> Tensor:
        squares = _squares(change(x), centres)
        found.append(torch.stack([_kernels(squares, h, centres.shape[1]) for h in BANDWIDTHS]))
        return found[-1][0]

    scored(keep, rows.validation[:1000], rows.noise, draws=4)
    return torch.cat(found, 1).mean(1).tolist()


def vine_copula(rows: Rows) -> Fitted:
    """A vine copula of pyvinecopulib, with kernel margins.

    A margin is a local-likelihood kernel density (Kde1d), and, with a weight of 1 / (M + 2), a
    Cauchy distribution, so that no row far out has density 0. The families of the pairs are
    nonparametric with one of three bandwidths, those with a closed form of Kendall's tau, or all,
    after AIC or BIC; all families only on as many rows as the time allows.
    """
    import pyvinecopulib as pv

    x, start = noisy(rows, 5000).numpy(), time.process_time()
    margins = [_Margin(np.ascontiguousarray(column)) for column in x.T]
    u, best, unit = _uniform(margins, x), None, 0.0
    nothing = pv.BicopFamily.indep
    plans: list[tuple[str, dict[str, Any], float]] = [
        (f"nonparametric x {m:g}", {"family_set": [nothing, pv.BicopFamily.tll],
                                    "nonparametric_mult": m}, 1.0) for m in (1.0, 0.6, 1.7)
    ]  # fmt: skip
    itau = {"family_set": [nothing, *pv.families.itau], "parametric_method": "itau"}
    plans += [("inversion of tau", itau, 4.0), ("all families, AIC", {}, 40.0)]
    plans += [("all families, BIC", {"selection_criterion": "bic"}, 40.0)]
    for words, controls, cost in plans:
        left = rows.seconds - spent(start)
        share = min(1.0, left / (2 * cost * unit)) if unit else 1.0  # of the rows
        if share * len(x) < 500 and share < 1:
            continue
        begun, some = time.process_time(), u[: max(2, int(share * len(u)))]
        asked = pv.FitControlsVinecop(num_threads=1, **controls)
        vine = pv.Vinecop.from_data(np.asfortranarray(some), asked)
        unit = unit or max(spent(begun), 1e-3)
        nll = _vine(margins, vine)
        value = float(scored(nll, rows.validation, rows.noise, draws=4).mean())
        if best is None or value < best[0]:
            best = value, nll, words + (f", {len(some)} rows" if share < 1 else "")
    assert best is not None
    return Fitted(best[1], best[2])


class _Margin:
    """The distribution of one column: Kde1d, and a little of a Cauchy distribution."""

    def __init__(self, column: Array) -> None:
        from pyvinecopulib.core import Kde1d

        self.kernel = Kde1d()
        self.kernel.fit(column)
        self.tail = 1 / (len(column) + 2)
        centre = float(np.median(column))
        spread = float(np.percentile(np.abs(column - centre), 68)) + 1e-3
        self.cauchy = cauchy(centre, 2 * spread)

    def share(self, x: Array) -> Array:
        own: Array = (1 - self.tail) * self.kernel.cdf(x) + self.tail * self.cauchy.cdf(x)
        return np.clip(own, 1e-10, 1 - 1e-10)

    def log_density(self, x: Array) -> Array:
        own: Array = (1 - self.tail) * self.kernel.pdf(x) + self.tail * self.cauchy.pdf(x)
        return np.log(own)


def _uniform(margins: Sequence[_Margin], x: Array) -> Array:
    columns = (np.ascontiguousarray(column) for column in x.T)
    return np.asfortranarray([m.share(c) for m, c in zip(margins, columns, strict=True)]).T


def _vine(margins: Sequence[_Margin], vine: Any) -> Score:
    def nll(y: Tensor) -> Tensor:
        x = y.numpy()
        columns = (np.ascontiguousarray(column) for column in x.T)
        own = sum(m.log_density(c) for m, c in zip(margins, columns, strict=True))
        pairs = np.log(np.maximum(vine.pdf(np.asfortranarray(_uniform(margins, x))), 1e-300))
        return -torch.from_numpy(own + pairs)

    return nll
