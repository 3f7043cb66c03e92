r"""Solvable energies, where walkers start: Gaussians and their mixtures, fitted to data.

Their log Z, samples and gradients are closed forms.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from noneq.energies.base import Cache
from noneq.energies.covariance import Cholesky, Diagonal, Factor, LowRank

__all__ = ["Gaussian", "GaussianMixture", "local_covariance"]


class Gaussian(nn.Module):
    r"""``U(x) = |L^-1 (x - m)|^2 / 2`` with covariance ``C = L L^T``.

    ``log Z = (d/2) log 2 pi + log det L``; samples are ``m + L xi``.

    Arguments:
        mean: m of shape (*shape).
        factor: the root L of the covariance, see `noneq.energies.covariance`.
    """

    mean: Tensor

    def __init__(self, mean: Tensor, factor: Factor) -> None:
        super().__init__()
        self.register_buffer("mean", mean.detach().clone())
        self.factor = factor

    @classmethod
    def fit(
        cls,
        x: Tensor,
        kind: Literal["full", "diagonal", "low-rank"] = "full",
        *,
        rank: int = 32,
        noise: float = 0.0,
        floor: float = 1e-4,
    ) -> Gaussian:
        """Fit to the rows of x by shrunk maximum likelihood.

        ``full`` is the Ledoit-Wolf estimate (2004), ``diagonal`` the variances, ``low-rank``
        factor analysis; all of standardised columns, so that units do not matter. Every variance
        is raised by ``floor`` times itself (of a constant column: the mean variance), so
        constant, collinear or too few rows still give a proper density; ``noise`` is the standard
        deviation of Gaussian noise that the data will have added.

        Raises ValueError for fewer than two rows, non-finite values, or rows that are all equal.
        """
        flat = x.detach().flatten(1).double()
        if len(flat) < 2 or not bool(torch.isfinite(flat).all()):
            raise ValueError(
                f"a Gaussian is fitted to two or more finite rows, got {len(flat)} rows"
                f"{'' if bool(torch.isfinite(flat).all()) else ' with NaN or infinite values'}"
            )
        mean = flat.mean(0)
        variance = (flat - mean).square().mean(0)
        scale, least = _units(flat, noise, floor)
        z = (flat - mean) / scale
        dtype = x.dtype if x.is_floating_point() else torch.float32
        factor: Factor
        if kind == "full":
            from sklearn.covariance import ledoit_wolf

            c = torch.from_numpy(ledoit_wolf(z.cpu().numpy(), assume_centered=True)[0])
            factor = Cholesky(scale.cpu() * c * scale.cpu()[:, None] + least.cpu().diag(), dtype)
        elif kind == "diagonal":
            factor = Diagonal((variance + least).sqrt().view(x.shape[1:]), dtype)
        elif kind == "low-rank":
            from sklearn.decomposition import FactorAnalysis
            from sklearn.exceptions import ConvergenceWarning

            r = min(rank, flat.shape[1] - 1, len(flat) - 1)
            # constant or equal columns have an infinite likelihood, before the floor
            with np.errstate(divide="ignore", invalid="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                found = FactorAnalysis(r).fit(z.cpu().numpy())
            w = torch.from_numpy(found.components_.T) * scale.cpu()[:, None]
            own = torch.from_numpy(found.noise_variance_) * scale.cpu().square() + least.cpu()
            factor = LowRank(own.sqrt(), w, dtype)
        else:
            raise ValueError(f"kind is 'full', 'diagonal' or 'low-rank', got {kind!r}")
        return cls(mean.to(dtype).view(x.shape[1:]), factor).to(x.device)

    def forward(self, x: Tensor) -> Tensor:
        """Energies (B,)."""
        return self.factor.solve(x - self.mean).flatten(1).square().sum(1) / 2

    def evaluate(
        self,
        x: Tensor,
        previous_cache: Mapping[str, Tensor] | None = None,  # noqa: ARG002
        graph: bool = False,  # noqa: ARG002
    ) -> tuple[Tensor, Cache]:
        """Energies and gradient ``C^-1 (x - m)`` in closed form."""
        with torch.no_grad():
            z = self.factor.solve(x - self.mean)
            return z.flatten(1).square().sum(1) / 2, {"g": self.factor.t_solve(z)}

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """n exact samples (n, *shape)."""
        shape = (n, *self.mean.shape)
        xi = torch.randn(shape, generator=rng, dtype=self.mean.dtype, device=self.mean.device)
        return self.mean + self.factor.mul(xi)

    def gibbs(self, x: Tensor, cache: Cache, rng: torch.Generator) -> Tensor:  # noqa: ARG002
        """Draw all of it anew."""
        return self.sample(len(x), rng)

    def covariance(self) -> Tensor:
        """``C = L L^T`` as a matrix (d, d), float64."""
        d = self.mean.numel()
        eye = torch.eye(d, dtype=self.mean.dtype, device=self.mean.device)
        rows = self.factor.mul(eye.view(d, *self.mean.shape))  # L^T
        rows = rows.flatten(1).double()
        return rows.T @ rows

    def log_z(self) -> float:
        """``(d/2) log 2 pi + log det L``."""
        d = self.mean.numel()
        return d / 2 * math.log(2 * math.pi) + self.factor.log_det(d)


class GaussianMixture(nn.Module):
    r"""``U(x) = -log sum_k pi_k N(x; m_k, C_k)``, normalised: ``log Z = 0``.

    Arguments:
        means: (K, *shape).
        covariances: (K, d, d), positive definite.
        masses: pi, (K,), positive; normalised here.
    """

    means: Tensor
    roots: Tensor
    middle: Tensor
    whiten: Tensor
    offset: Tensor
    log_norms: Tensor
    log_masses: Tensor

    def __init__(self, means: Tensor, covariances: Tensor, masses: Tensor) -> None:
        super().__init__()
        _positive_masses(masses, len(means))
        if len(covariances) != len(means):
            raise ValueError(
                f"{len(means)} means need as many covariances, got {len(covariances)}"
            )
        factors = [Cholesky(c, means.dtype) for c in covariances]
        d = means[0].numel()
        norms = [d / 2 * math.log(2 * math.pi) + f.log_det(d) for f in factors]
        self.register_buffer("means", means.detach().clone())
        self.register_buffer("roots", torch.stack([f.root for f in factors]))
        # all K inverse roots side by side: (d, K d), and the means seen through them
        self.register_buffer("middle", means.detach().mean(0).flatten())
        inverses = torch.stack([f.inverse for f in factors])
        self.register_buffer("whiten", inverses.flatten(0, 1).T.contiguous())
        centred = (means.flatten(1) - self.middle)[..., None].to(inverses)
        offset = -(inverses @ centred).flatten()
        self.register_buffer("offset", offset)
        self.register_buffer("log_norms", torch.tensor(norms, device=means.device))
        self.register_buffer("log_masses", (masses / masses.sum()).log().to(means.dtype))
        pi = (masses / masses.sum()).to(covariances)
        self.factor = Cholesky(
            torch.tensordot(pi, covariances, 1), means.dtype
        )  # pooled: the local scale
        self.to(means.device, means.dtype)

    @classmethod
    def fit(
        cls,
        x: Tensor,
        components: int,
        *,
        noise: float = 0.0,
        floor: float = 1e-3,
        seed: int = 0,
    ) -> GaussianMixture:
        """Fit by expectation maximisation with full covariances (scikit-learn).

        Of standardised columns, so that units do not matter. Each variance is raised by ``floor``
        times the column's own (of a constant column: the mean variance) and by ``noise^2``, of
        Gaussian noise that the data will have added.
        """
        from sklearn.mixture import GaussianMixture as SklearnMixture

        flat = x.detach().flatten(1).double()
        mean, (scale, least) = flat.mean(0), _units(flat, noise, floor)
        # what all columns need at the least is there while it fits, the rest is added
        common = float((least / scale.square()).min())
        fitted = SklearnMixture(components, reg_covar=common, random_state=seed)
        fitted.fit(((flat - mean) / scale).cpu().numpy())
        means, covariances, masses = (
            torch.from_numpy(a).to(x.device)
            for a in (fitted.means_, fitted.covariances_, fitted.weights_)
        )
        covariances = covariances * scale * scale[:, None]
        covariances += (least - common * scale.square()).diag()
        dtype = x.dtype if x.is_floating_point() else torch.float32
        return cls((mean + scale * means).to(dtype).view(-1, *x.shape[1:]), covariances, masses)

    def _whitened(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Whitened residuals (B, K, d) and ``log pi_k N(x; m_k, C_k)`` (B, K), one product."""
        k = len(self.means)
        z = torch.addmm(self.offset, x.flatten(1) - self.middle, self.whiten).view(len(x), k, -1)
        return z, self.log_masses - self.log_norms - z.square().sum(-1) / 2

    def forward(self, x: Tensor) -> Tensor:
        """Energies (B,)."""
        return -self._whitened(x)[1].logsumexp(1)

    def evaluate(
        self,
        x: Tensor,
        previous_cache: Mapping[str, Tensor] | None = None,  # noqa: ARG002
        graph: bool = False,  # noqa: ARG002
    ) -> tuple[Tensor, Cache]:
        """Energies and gradient ``sum_k r_k C_k^-1 (x - m_k)``, r the responsibilities."""
        with torch.no_grad():
            z, log_p = self._whitened(x)
            u = -log_p.logsumexp(1)
            r = (log_p + u[:, None]).exp()
            z *= torch.where(r < 1e-20, 0.0, r)[..., None]  # denormal numbers are slow
            return u, {"g": (z.flatten(1) @ self.whiten.T).view_as(x)}

    def responsibilities(self, x: Tensor) -> Tensor:
        """The probability (B, K) that each row is of each component."""
        return self._whitened(x)[1].softmax(1)

    def with_masses(self, masses: Tensor) -> GaussianMixture:
        """The same components with other masses (K,), positive, normalised here."""
        _positive_masses(masses, len(self.means))
        new = copy.deepcopy(self)
        new.log_masses = (masses / masses.sum()).log().to(self.log_masses)
        return new

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """n exact samples (n, *shape)."""
        k = torch.multinomial(self.log_masses.exp(), n, replacement=True, generator=rng)
        flat = self.means.flatten(1)[k]
        xi = torch.randn(flat.shape, generator=rng, dtype=flat.dtype, device=flat.device)
        flat = flat + (self.roots[k] @ xi[..., None])[..., 0]
        return flat.view(n, *self.means.shape[1:])

    def log_z(self) -> float:
        """0: the mixture is normalised."""
        return 0.0


def local_covariance(x: Tensor, clusters: int, *, noise: float = 0.0, seed: int = 0) -> Cholesky:
    """The pooled covariance of the rows about the centres of their clusters, plus ``noise^2``.

    It is as wide as a mode is, not as the data are: a preconditioner for moves within modes.
    Clusters by k-means, the covariance by Ledoit and Wolf (2004).

    Arguments:
        x: rows (M, *shape).
        clusters: K, at most M.
        noise: standard deviation of Gaussian noise that the data will have added.
        seed: of k-means.
    """
    from sklearn.cluster import KMeans
    from sklearn.covariance import ledoit_wolf

    flat = x.detach().flatten(1).double().cpu().numpy()
    found = KMeans(clusters, n_init=3, random_state=seed).fit(flat)
    residuals = flat - found.cluster_centers_[found.labels_]
    c = torch.from_numpy(ledoit_wolf(residuals, assume_centered=True)[0])
    dtype = x.dtype if x.is_floating_point() else torch.float32
    return Cholesky(c + noise**2 * torch.eye(len(c), device=c.device), dtype).to(x.device)


def _units(flat: Tensor, noise: float, floor: float) -> tuple[Tensor, Tensor]:
    """Scales (d,) in which columns are described, and what is added to their variances (d,)."""
    variance = (flat - flat.mean(0)).square().mean(0)
    if not float(variance.mean()) + noise**2 > 0:
        raise ValueError("all rows are equal: no density has this covariance; add noise")
    constant = variance <= 1e-14 * flat.mean(0).square()
    # in units of what is to be described: a column of tiny variance is noise above all
    scale = (torch.where(constant, variance.mean(), variance) + noise**2).sqrt()
    return scale, floor * (scale.square() - noise**2) + noise**2


def _positive_masses(masses: Tensor, count: int) -> None:
    if masses.shape != (count,) or not bool((torch.isfinite(masses) & (masses > 0)).all()):
        raise ValueError(f"masses are K positive numbers, here {count}, got {masses.tolist()}")
