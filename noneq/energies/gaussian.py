"""Gaussians and Gaussian mixtures fitted to data: energies of known log Z and exact samples."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from noneq.energies.base import Cache
from noneq.energies.covariance import Cholesky, Diagonal, Factor
from noneq.energies.fitting import full, low_rank, units

__all__ = ["Gaussian", "GaussianMixture", "moments"]


class Gaussian(nn.Module):
    """Represents a Gaussian, ``U(x) = |L^-1 (x - m)|^2 / 2``, with covariance ``C = L L^T``.

    ``log Z = (d/2) log 2 pi + log det L``; samples are ``m + L xi``, xi standard normal.

    Arguments:
        mean: mean m (*shape).
        factor: square root L of the covariance, e.g. `Identity`, `Diagonal` or `Cholesky`.

    >>> x = torch.randn(500, 3)
    >>> base = Gaussian.fit(x)
    >>> base(x).shape, base.sample(10, torch.Generator()).shape
    (torch.Size([500]), torch.Size([10, 3]))
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
        ridge: float | None = None,
    ) -> Gaussian:
        """Fit a Gaussian to rows by regularised maximum likelihood on standardised columns.

        ``noise^2`` and ``floor`` times the variance of the column (for a constant column: the mean
        variance) are added to each variance: collinear or few rows still give a proper density.

        Arguments:
            x: rows (M, *shape), M >= 2.
            kind: "full" covariance (Ledoit and Wolf 2004), "diagonal" or "low-rank" (`LowRank`).
            rank: number of factors of a low-rank covariance.
            noise: standard deviation of Gaussian noise that will be added to the data later.
            floor: relative increase of the variances.
            ridge: relative increase of the variances in place of ``floor`` and, for a full
                covariance, of the shrinkage by Ledoit and Wolf; None: those.

        Returns:
            The Gaussian.

        Raises:
            ValueError: fewer than two rows, a non-finite value, or rows that are all equal.
        """
        flat = x.detach().flatten(1).double()
        if len(flat) < 2 or not bool(torch.isfinite(flat).all()):
            raise ValueError(
                f"a Gaussian is fitted to two or more finite rows, got {len(flat)} rows"
                f"{'' if bool(torch.isfinite(flat).all()) else ' with NaN or infinite values'}"
            )
        dtype = x.dtype if x.is_floating_point() else torch.float32
        added = units(flat, noise, floor if ridge is None else ridge)
        factor: Factor
        if kind == "full":
            factor = full(flat, added, dtype, shrunk=ridge is None)
        elif kind == "diagonal":
            variance = (flat - flat.mean(0)).square().mean(0)
            factor = Diagonal((variance + added.least).sqrt().view(x.shape[1:]), dtype)
        elif kind == "low-rank":
            factor = low_rank(flat, added, dtype, rank)
        else:
            raise ValueError(f"kind is 'full', 'diagonal' or 'low-rank', got {kind!r}")
        mean = flat.mean(0)
        return cls(mean.to(dtype).view(x.shape[1:]), factor).to(x.device)

    def forward(self, x: Tensor) -> Tensor:
        """Return the energies ``|L^-1 (x - m)|^2 / 2`` (B,) of the rows of x (B, *shape)."""
        return self.factor.solve(x - self.mean).flatten(1).square().sum(1) / 2

    def evaluate(
        self,
        x: Tensor,
        previous_cache: Mapping[str, Tensor] | None = None,  # noqa: ARG002
        graph: bool = False,  # noqa: ARG002
    ) -> tuple[Tensor, Cache]:
        """Return the energies (B,) and a cache, the gradient ``{"g": C^-1 (x - m)}`` (B, *shape).

        Only the argument x is used; the others are those of every energy's ``evaluate``.
        """
        with torch.no_grad():
            z = self.factor.solve(x - self.mean)
            return z.flatten(1).square().sum(1) / 2, {"g": self.factor.t_solve(z)}

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw n exact, independent samples (n, *shape) of the Gaussian, by the generator rng."""
        shape = (n, *self.mean.shape)
        xi = torch.randn(shape, generator=rng, dtype=self.mean.dtype, device=self.mean.device)
        return self.mean + self.factor.mul(xi)

    def gibbs(self, x: Tensor, cache: Cache, rng: torch.Generator) -> Tensor:  # noqa: ARG002
        """Draw as many samples as x has rows (B, *shape): a Gibbs sweep of one block."""
        return self.sample(len(x), rng)

    def covariance(self) -> Tensor:
        """Return the covariance ``C = L L^T`` as a matrix (d, d) in float64, d the dimension."""
        d = self.mean.numel()
        eye = torch.eye(d, dtype=self.mean.dtype, device=self.mean.device)
        rows = self.factor.mul(eye.view(d, *self.mean.shape))  # L^T
        rows = rows.flatten(1).double()
        return rows.T @ rows

    def log_z(self) -> float:
        """Return ``log Z = (d/2) log 2 pi + log det L`` in nats, d the dimension."""
        d = self.mean.numel()
        return d / 2 * math.log(2 * math.pi) + self.factor.log_det(d)


class GaussianMixture(nn.Module):
    """Mixes Gaussians: ``U(x) = -log sum_k pi_k N(x; m_k, C_k)``, normalised, so ``log Z = 0``.

    Arguments:
        means: means m_k (K, *shape).
        covariances: covariances C_k (K, d, d), positive definite.
        masses: probabilities pi (K,) of the components, positive; normalised here.

    Attributes:
        roots, log_norms: Cholesky factors L_k (K, d, d), and ``log det(2 pi C_k) / 2`` (K,).
        log_masses: logarithms of pi (K,).
        middle, whiten, offset: mean m (d,) of all m_k, the matrices L_k^-T side by side (d, K d),
            and ``L_k^-1 (m - m_k)`` (K d,), to compute all ``L_k^-1 (x - m_k)`` by one product.
        factor: square root of ``sum_k pi_k C_k``, the mean covariance of a component.

    Raises:
        ValueError: the numbers of components differ, or masses or covariances are not positive.

    >>> mixture = GaussianMixture(torch.tensor([[0.0], [5.0]]), torch.ones(2, 1, 1), torch.ones(2))
    >>> mixture.responsibilities(torch.tensor([[2.5]]))  # half way between the means
    tensor([[0.5000, 0.5000]])
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
        self.register_buffer("middle", means.detach().mean(0).flatten())
        inverses = torch.stack([f.inverse for f in factors])
        self.register_buffer("whiten", inverses.flatten(0, 1).T.contiguous())
        centred = (means.flatten(1) - self.middle)[..., None].to(inverses)
        self.register_buffer("offset", -(inverses @ centred).flatten())
        self.register_buffer("log_norms", torch.tensor(norms, device=means.device))
        self.register_buffer("log_masses", (masses / masses.sum()).log().to(means.dtype))
        pi = (masses / masses.sum()).to(covariances)
        self.factor: Factor = Cholesky(torch.tensordot(pi, covariances, 1), means.dtype)
        self.to(means.device, means.dtype)

    @classmethod
    def fit(
        cls, x: Tensor, components: int, *, noise: float = 0.0, floor: float = 1e-3, seed: int = 0
    ) -> GaussianMixture:
        """Return the mixture of Gaussians fitted to rows by expectation maximisation (EM).

        ``noise^2`` and ``floor`` times the variance of the column (for a constant column: the mean
        variance) are added to each variance. Columns are standardised for the fit.

        Arguments:
            x: rows (M, *shape).
            components: number K of components, each with a full covariance.
            noise: standard deviation of Gaussian noise that will be added to the data later.
            floor: relative increase of the variances.
            seed: seed of the initialisation by scikit-learn.
        """
        from sklearn.mixture import GaussianMixture as SklearnMixture

        flat = x.detach().flatten(1).double()
        mean, (scale, least) = flat.mean(0), units(flat, noise, floor)
        # the least that all columns need is added during the fit, the rest afterwards
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
        """Return ``L_k^-1 (x - m_k)`` (B, K, d) and ``log pi_k N(x; m_k, C_k)`` (B, K)."""
        z = torch.addmm(self.offset, x.flatten(1) - self.middle, self.whiten)
        z = z.view(len(x), len(self.means), len(self.middle))
        return z, self.log_masses - self.log_norms - z.square().sum(-1) / 2

    def forward(self, x: Tensor) -> Tensor:
        """Return the energies ``-log sum_k pi_k N(x; m_k, C_k)`` (B,) of rows x (B, *shape)."""
        return -self._whitened(x)[1].logsumexp(1)

    def evaluate(
        self,
        x: Tensor,
        previous_cache: Mapping[str, Tensor] | None = None,  # noqa: ARG002
        graph: bool = False,  # noqa: ARG002
    ) -> tuple[Tensor, Cache]:
        """Return the energies (B,) and a cache ``{"g": dU/dx}``, the gradient (B, *shape).

        The gradient is ``sum_k P(k | x) C_k^-1 (x - m_k)``. Only the argument x is used.
        """
        with torch.no_grad():
            z, log_p = self._whitened(x)
            u = -log_p.logsumexp(1)
            r = (log_p + u[:, None]).exp()
            z *= torch.where(r < 1e-20, 0.0, r)[..., None]  # denormal numbers are slow
            return u, {"g": (z.flatten(1) @ self.whiten.T).view_as(x)}

    def responsibilities(self, x: Tensor) -> Tensor:
        """Return the posterior probabilities ``P(k | x)`` (B, K) of components given rows x."""
        return self._whitened(x)[1].softmax(1)

    def log_responsibilities(self, x: Tensor) -> Tensor:
        """Return ``log P(k | x)`` (B, K), the logarithms of the responsibilities."""
        return self._whitened(x)[1].log_softmax(1)

    def with_masses(self, masses: Tensor) -> GaussianMixture:
        """Return a mixture of the same Gaussians with these masses (K,), divided by their sum."""
        _positive_masses(masses, len(self.means))
        new = copy.deepcopy(self)
        new.log_masses = (masses / masses.sum()).log().to(self.log_masses)
        return new

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw n exact, independent samples (n, *shape) of the mixture, by the generator rng."""
        k = torch.multinomial(self.log_masses.exp(), n, replacement=True, generator=rng)
        flat = self.means.flatten(1)[k]
        xi = torch.randn(flat.shape, generator=rng, dtype=flat.dtype, device=flat.device)
        flat = flat + (self.roots[k] @ xi[..., None])[..., 0]
        return flat.view(n, *self.means.shape[1:])

    def log_z(self) -> float:
        """Return 0.0, the log Z of the mixture, which is normalised."""
        return 0.0


def moments(base: Gaussian | GaussianMixture) -> tuple[Tensor, Tensor]:
    """Compute the mean and the covariance of a Gaussian, or of a mixture of Gaussians.

    Arguments:
        base: the density, for positions of d numbers.

    Returns:
        The mean (*shape), and the covariance (d, d) in float64.
    """
    if isinstance(base, Gaussian):
        return base.mean, base.covariance().double()
    pi, means, roots = base.log_masses.double().softmax(0), base.means.double(), base.roots
    mean = torch.tensordot(pi, means, 1)
    away = (means - mean).flatten(1)
    each = roots.double() @ roots.double().mT + away[:, :, None] * away[:, None]
    return mean.to(base.means), torch.tensordot(pi, each, 1)


def _positive_masses(masses: Tensor, count: int) -> None:
    """Raise ValueError unless masses are ``count`` positive numbers."""
    if masses.shape != (count,) or not bool((torch.isfinite(masses) & (masses > 0)).all()):
        raise ValueError(f"masses are K positive numbers, here {count}, got {masses.tolist()}")
