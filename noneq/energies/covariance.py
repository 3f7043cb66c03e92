"""Square roots of covariance matrices: ``C = L L^T`` as an operator L.

One object serves as the covariance of a Gaussian and as the preconditioner of a Langevin kernel.
Vectors have shape ``(N, *shape)`` and are treated as N flat rows of dimension d. Roots are kept in
``dtype``, which should be that of the vectors. Here s holds standard deviations, W is (d, r):

========== =========================== ==================== =================
factor     C                           storage              product L v
========== =========================== ==================== =================
Identity   s^2 I                       one number           O(d)
Diagonal   diag(s^2)                   d                    O(d)
LowRank    diag(s^2) + W W^T           d (r + 1)            O(d r)
Cholesky   any positive definite       2 d^2                O(d^2)
========== =========================== ==================== =================
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import linear

__all__ = ["Cholesky", "Diagonal", "Factor", "Identity", "LowRank", "local_covariance"]

CLUSTERED = 50_000  # rows that k-means sees, at most


class Factor(Protocol):
    """A factor is a square root L of a covariance ``C = L L^T``, as a linear operator.

    Vectors v are tensors (N, *shape) of N rows, each with d entries in all; L acts on every row.
    """

    def mul(self, v: Tensor) -> Tensor:
        """Return ``L v`` (N, *shape) for each row of v, with ``C = L L^T`` the covariance."""

    def t_mul(self, v: Tensor) -> Tensor:
        """Return ``L^T v`` (N, *shape) for each row of v, with ``C = L L^T`` the covariance."""

    def solve(self, v: Tensor) -> Tensor:
        """Return ``L^-1 v`` (N, *shape) for each row of v, with ``C = L L^T`` the covariance."""

    def t_solve(self, v: Tensor) -> Tensor:
        """Return ``L^-T v`` (N, *shape) for each row of v, with ``C = L L^T`` the covariance."""

    def log_det(self, dim: int) -> float:
        """Return ``log |det L|``, where ``C = L L^T`` is the covariance of ``dim`` variables.

        Arguments:
            dim: dimension of the vectors to which L is applied.

        Returns:
            The logarithm of the absolute determinant.

        Raises:
            ValueError: L is a matrix of another dimension.
        """


def _positive(scale: Tensor, what: str) -> None:
    """Raise ValueError unless all scales are positive and finite."""
    if not bool((torch.isfinite(scale) & (scale > 0)).all()):
        raise ValueError(f"{what} must be positive and finite, got {scale.min():.3g} at the least")


class Identity(nn.Module):
    """Represents the isotropic covariance ``C = s^2 I``, in any dimension.

    Arguments:
        scale: standard deviation s > 0.

    Raises:
        ValueError: s is not positive and finite.
    """

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        _positive(torch.tensor(scale, device="cpu"), "scale")
        self.scale = scale

    def mul(self, v: Tensor) -> Tensor:
        """Return ``L v = L^T v = s v`` (N, *shape) for each row of v, s the standard deviation."""
        return v if self.scale == 1.0 else v * self.scale

    t_mul = mul

    def solve(self, v: Tensor) -> Tensor:
        """Return ``L^-1 v = L^-T v = v / s`` for each row of v, s the standard deviation."""
        return v if self.scale == 1.0 else v / self.scale

    t_solve = solve

    def log_det(self, dim: int) -> float:
        """Return ``log det L = dim log s``, s the standard deviation, in dimension ``dim``."""
        return dim * math.log(self.scale)


class Diagonal(nn.Module):
    """Represents the diagonal covariance ``C = diag(s^2)``.

    Arguments:
        scale: standard deviations s (*shape), positive.
        dtype: dtype in which s is stored, that of the vectors it is applied to.

    Raises:
        ValueError: an entry of s is not positive and finite.
    """

    scale: Tensor

    def __init__(self, scale: Tensor, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        _positive(scale, "scale")
        self.register_buffer("scale", scale.detach().clone().to(dtype))

    def mul(self, v: Tensor) -> Tensor:
        """Return ``L v = L^T v = s * v`` for each row of v, s the standard deviations (*shape)."""
        return v * self.scale

    t_mul = mul

    def solve(self, v: Tensor) -> Tensor:
        """Return ``L^-1 v = L^-T v = v / s`` for each row of v, s the standard deviations."""
        return v / self.scale

    t_solve = solve

    def log_det(self, dim: int) -> float:
        """Return ``log det L = sum_i log s_i``; ValueError unless s has ``dim`` entries."""
        _same_dim(dim, self.scale.numel())
        return float(self.scale.double().log().sum())


class LowRank(nn.Module):
    """Represents the covariance ``C = diag(s^2) + W W^T`` with W of shape (d, r), r << d.

    With the thin singular value decomposition ``diag(1/s) W = Q S V^T`` the root is
    ``L = diag(s) (I + Q (sqrt(1 + S^2) - 1) Q^T)``; every product costs O(d r).

    Arguments:
        scale: standard deviations s of the diagonal part, d positive numbers.
        loadings: matrix W (d, r).
        dtype: dtype in which the root is stored, that of the vectors it is applied to.

    Attributes:
        q: left singular vectors Q (d, r).
        stretch: factors ``sqrt(1 + S^2)`` (r,).

    Raises:
        ValueError: an entry of s is not positive and finite, or W has another dimension than s.
    """

    scale: Tensor
    q: Tensor
    stretch: Tensor

    def __init__(
        self, scale: Tensor, loadings: Tensor, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        _positive(scale, "scale")
        s = scale.detach().flatten().double()
        _same_dim(loadings.shape[0], s.numel())
        q, singular, _ = torch.linalg.svd(loadings.detach().double() / s[:, None], False)
        self.register_buffer("scale", s.to(dtype))
        self.register_buffer("q", q.to(dtype).contiguous())
        self.register_buffer("stretch", (1 + singular.square()).sqrt().to(dtype))

    @property
    def loadings(self) -> Tensor:
        """Return a matrix W (d, r) of the covariance ``diag(s^2) + W W^T``.

        It is ``W_0 R`` with W_0 the matrix that was given and R an orthogonal matrix (r, r).
        """
        return self.scale[:, None] * self.q * (self.stretch.square() - 1).clamp(min=0).sqrt()

    def _stretch(self, v: Tensor, by: Tensor) -> Tensor:
        """Multiply the components of the rows of v (N, d) along Q by ``by`` (r,)."""
        return v + ((v @ self.q) * (by - 1)) @ self.q.T

    def mul(self, v: Tensor) -> Tensor:
        """Return ``L v`` (N, *shape) for each row of v, with ``C = L L^T`` the covariance."""
        return (self._stretch(v.flatten(1), self.stretch) * self.scale).view_as(v)

    def t_mul(self, v: Tensor) -> Tensor:
        """Return ``L^T v`` (N, *shape) for each row of v, with ``C = L L^T`` the covariance."""
        return self._stretch(v.flatten(1) * self.scale, self.stretch).view_as(v)

    def solve(self, v: Tensor) -> Tensor:
        """Return ``L^-1 v`` (N, *shape) for each row of v, with ``C = L L^T`` the covariance."""
        return self._stretch(v.flatten(1) / self.scale, 1 / self.stretch).view_as(v)

    def t_solve(self, v: Tensor) -> Tensor:
        """Return ``L^-T v`` (N, *shape) for each row of v, with ``C = L L^T`` the covariance."""
        return (self._stretch(v.flatten(1), 1 / self.stretch) / self.scale).view_as(v)

    def log_det(self, dim: int) -> float:
        """Return ``log det L``, half of log det C; ValueError unless C is of dimension ``dim``."""
        _same_dim(dim, self.scale.numel())
        return float(self.scale.double().log().sum() + self.stretch.double().log().sum())


class Cholesky(nn.Module):
    """Represents any covariance C by its Cholesky factor and the inverse of that factor.

    Arguments:
        covariance: matrix C (d, d), symmetric positive definite.
        dtype: dtype in which the factor is stored, that of the vectors it is applied to.

    Attributes:
        root: lower triangular matrix L (d, d).
        inverse: matrix L^-1 (d, d).

    Raises:
        ValueError: C is not a finite, symmetric and positive definite matrix.
    """

    root: Tensor
    inverse: Tensor

    def __init__(self, covariance: Tensor, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        c = covariance.detach().double()
        if c.dim() != 2 or c.shape[0] != c.shape[1]:
            raise ValueError(f"a covariance is a symmetric (d, d) matrix, got {tuple(c.shape)}")
        if not bool(torch.isfinite(c).all()):
            raise ValueError("the covariance holds NaN or infinite values")
        skew = float((c - c.T).abs().max()) / float(c.abs().max().clamp(min=1e-300))
        if skew > 1e-5:
            raise ValueError(
                f"the covariance is not symmetric (by {skew:.2g} of its largest entry)"
            )
        root, info = torch.linalg.cholesky_ex(c)
        if int(info) > 0:
            least = float(torch.linalg.eigvalsh(c)[0])
            raise ValueError(
                f"the covariance is not positive definite (least eigenvalue {least:.3g}); "
                "add a multiple of the identity, or use Gaussian.fit, which regularises"
            )
        # LAPACK returns column-major matrices, which safetensors cannot store
        self.register_buffer("root", root.to(dtype).contiguous())
        self.register_buffer("inverse", torch.linalg.inv(root).to(dtype).contiguous())

    def mul(self, v: Tensor) -> Tensor:
        """Return ``L v`` (N, *shape) for each row of v, with ``C = L L^T`` the covariance."""
        return linear(v.flatten(1), self.root).view_as(v)

    def t_mul(self, v: Tensor) -> Tensor:
        """Return ``L^T v`` (N, *shape) for each row of v, with ``C = L L^T`` the covariance."""
        return (v.flatten(1) @ self.root).view_as(v)

    def solve(self, v: Tensor) -> Tensor:
        """Return ``L^-1 v`` (N, *shape) for each row of v, with ``C = L L^T`` the covariance."""
        return linear(v.flatten(1), self.inverse).view_as(v)

    def t_solve(self, v: Tensor) -> Tensor:
        """Return ``L^-T v`` (N, *shape) for each row of v, with ``C = L L^T`` the covariance."""
        return (v.flatten(1) @ self.inverse).view_as(v)

    def log_det(self, dim: int) -> float:
        """Return ``log det L = sum_i log L_ii``; ValueError unless L is of dimension ``dim``."""
        _same_dim(dim, self.root.shape[0])
        return float(self.root.diagonal().double().log().sum())


def local_covariance(x: Tensor, clusters: int, *, noise: float = 0.0, seed: int = 0) -> Cholesky:
    """Estimate the average covariance within the clusters of data, to precondition a kernel.

    K-means finds clusters, which stand for modes, in 50,000 random rows at most. The covariance of
    rows about their centres is Ledoit and Wolf's (2004), plus ``noise^2`` on the diagonal.

    Arguments:
        x: rows (M, *shape), with d entries each.
        clusters: number of clusters, at most M.
        noise: standard deviation of Gaussian noise that will be added to the data later.
        seed: seed of k-means, and of the rows that are drawn.

    Returns:
        The square root L of the covariance ``L L^T`` (d, d), as a `Cholesky` factor.
    """
    from sklearn.cluster import KMeans
    from sklearn.covariance import ledoit_wolf

    flat = x.detach().flatten(1).double().cpu().numpy()
    if len(x) > CLUSTERED:
        flat = np.random.default_rng(seed).choice(flat, CLUSTERED, replace=False, shuffle=False)
    found = KMeans(clusters, n_init=3, random_state=seed).fit(flat)
    c = ledoit_wolf(flat - found.cluster_centers_[found.labels_], assume_centered=True)[0]
    dtype = x.dtype if x.is_floating_point() else torch.float32
    return Cholesky(torch.from_numpy(c + noise**2 * np.eye(len(c))), dtype).to(x.device)


def _same_dim(dim: int, own: int) -> None:
    """Raise ValueError unless the dimension of the vectors is that of the factor."""
    if dim != own:
        raise ValueError(f"the factor has dimension {own}, the vectors have {dim}")
