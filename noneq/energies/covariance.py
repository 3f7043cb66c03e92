r"""Square roots of covariance matrices: ``C = L L^T`` as an operator L.

Roots are computed in float64 and kept in ``dtype``, that of the vectors they will meet.

One object serves twice: as the covariance of a Gaussian and as the preconditioner of a Langevin
kernel. Vectors have shape ``(N, *shape)`` and are treated as N flat rows of dimension d.

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

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

__all__ = ["Cholesky", "Diagonal", "Factor", "Identity", "LowRank"]


class Factor(Protocol):
    """A square root L of a covariance ``C = L L^T``."""

    def mul(self, v: Tensor) -> Tensor:
        """``L v`` for every row of v."""

    def t_mul(self, v: Tensor) -> Tensor:
        """``L^T v`` for every row of v."""

    def solve(self, v: Tensor) -> Tensor:
        """``L^-1 v`` for every row of v."""

    def t_solve(self, v: Tensor) -> Tensor:
        """``L^-T v`` for every row of v."""

    def log_det(self, dim: int) -> float:
        """``log |det L|`` in dimension ``dim``."""


def _positive(scale: Tensor, what: str) -> None:
    if not bool((torch.isfinite(scale) & (scale > 0)).all()):
        raise ValueError(f"{what} must be positive and finite, got {scale.min():.3g} at the least")


class Identity(nn.Module):
    """``C = s^2 I``, ``s = scale > 0``."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        _positive(torch.tensor(scale, device="cpu"), "scale")
        self.scale = scale

    def mul(self, v: Tensor) -> Tensor:
        """``s v``."""
        return v if self.scale == 1.0 else v * self.scale

    t_mul = mul

    def solve(self, v: Tensor) -> Tensor:
        """``v / s``."""
        return v if self.scale == 1.0 else v / self.scale

    t_solve = solve

    def log_det(self, dim: int) -> float:
        """``d log s``."""
        return dim * math.log(self.scale)


class Diagonal(nn.Module):
    """``C = diag(s^2)``, ``scale`` s of shape (*shape) with positive entries."""

    scale: Tensor

    def __init__(self, scale: Tensor, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        _positive(scale, "scale")
        self.register_buffer("scale", scale.detach().clone().to(dtype))

    def mul(self, v: Tensor) -> Tensor:
        """``s * v``."""
        return v * self.scale

    t_mul = mul

    def solve(self, v: Tensor) -> Tensor:
        """``v / s``."""
        return v / self.scale

    t_solve = solve

    def log_det(self, dim: int) -> float:
        """``sum_i log s_i``."""
        _same_dim(dim, self.scale.numel())
        return float(self.scale.double().log().sum())


class LowRank(nn.Module):
    r"""``C = diag(s^2) + W W^T`` with W of shape (d, r), r << d.

    With the thin SVD ``diag(1/s) W = Q S V^T`` the root is
    ``L = diag(s) (I + Q (sqrt(1 + S^2) - 1) Q^T)``; every product costs O(d r).
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
        """W (d, r), but for a rotation."""
        return self.scale[:, None] * self.q * (self.stretch.square() - 1).clamp(min=0).sqrt()

    def _stretch(self, v: Tensor, by: Tensor) -> Tensor:
        return v + ((v @ self.q) * (by - 1)) @ self.q.T

    def mul(self, v: Tensor) -> Tensor:
        """``L v``."""
        return (self._stretch(v.flatten(1), self.stretch) * self.scale).view_as(v)

    def t_mul(self, v: Tensor) -> Tensor:
        """``L^T v``."""
        return self._stretch(v.flatten(1) * self.scale, self.stretch).view_as(v)

    def solve(self, v: Tensor) -> Tensor:
        """``L^-1 v``."""
        return self._stretch(v.flatten(1) / self.scale, 1 / self.stretch).view_as(v)

    def t_solve(self, v: Tensor) -> Tensor:
        """``L^-T v``."""
        return (self._stretch(v.flatten(1), 1 / self.stretch) / self.scale).view_as(v)

    def log_det(self, dim: int) -> float:
        """``sum log s + sum log sqrt(1 + S^2)``."""
        _same_dim(dim, self.scale.numel())
        return float(self.scale.double().log().sum() + self.stretch.double().log().sum())


class Cholesky(nn.Module):
    """``C`` of shape (d, d) by its Cholesky factor and that factor's inverse.

    Raises ValueError if C is not symmetric positive definite.
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
        # LAPACK's are column by column, which safetensors does not store
        self.register_buffer("root", root.to(dtype).contiguous())
        self.register_buffer("inverse", torch.linalg.inv(root).to(dtype).contiguous())

    def mul(self, v: Tensor) -> Tensor:
        """``L v``."""
        return linear(v.flatten(1), self.root).view_as(v)

    def t_mul(self, v: Tensor) -> Tensor:
        """``L^T v``."""
        return (v.flatten(1) @ self.root).view_as(v)

    def solve(self, v: Tensor) -> Tensor:
        """``L^-1 v``."""
        return linear(v.flatten(1), self.inverse).view_as(v)

    def t_solve(self, v: Tensor) -> Tensor:
        """``L^-T v``."""
        return (v.flatten(1) @ self.inverse).view_as(v)

    def log_det(self, dim: int) -> float:
        """``sum_i log L_ii``."""
        _same_dim(dim, self.root.shape[0])
        return float(self.root.diagonal().double().log().sum())


def _same_dim(dim: int, own: int) -> None:
    if dim != own:
        raise ValueError(f"the factor has dimension {own}, the vectors have {dim}")
