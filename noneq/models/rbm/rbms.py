"""Restricted Boltzmann machines (RBMs) of bits, real numbers and one-hot sites.

=============== ================ ====================================== ==============
class           v                A(v; b)                                f(v)
=============== ================ ====================================== ==============
`BernoulliRBM`  bits             ``-b.v``                               ``v``
`GaussianRBM`   real numbers     ``sum_i (v_i - b_i)^2 / (2 s_i^2)``    ``v / s^2``
`PottsRBM`      one-hot sites    ``-b.v``                               ``v``
=============== ================ ====================================== ==============

Here A is the energy of the visible units v without hidden units h, b are biases, s^2 variances,
and ``-f(v).W h`` couples v to h by weights W; `noneq.models.rbm.base` has the whole formula.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from noneq.data import check_data, check_rows
from noneq.energies import Bernoulli, Categorical, Diagonal, Gaussian, Identity, Solvable
from noneq.models.rbm.base import RBM
from noneq.models.rbm.layers import Bits, Layer, Normals, Sites
from noneq.spaces import BINARY, ONE_HOT, REAL, check_inside

__all__ = ["BernoulliRBM", "GaussianRBM", "PottsRBM"]


class _Discrete(RBM):
    """Base class of RBMs of bits or one-hot sites; the logits of their base are visible biases."""

    alone: type[Bernoulli | Categorical]

    def __init__(
        self,
        w: Tensor,
        b: Tensor,
        c: Tensor,
        *,
        mu: Tensor | None = None,
        lam: Tensor | None = None,
    ) -> None:
        super().__init__(w, b, c, mu=mu, lam=lam)
        self.base: Solvable = self.alone(b)

    @classmethod
    def independent_start(cls, data: Tensor) -> Solvable:
        """Fit independent visible units to the means of data, smoothed so that none is 0 or 1.

        Arguments:
            data: rows (M, *shape) of states of this RBM.

        Returns:
            The energy of the independent units, with exact samples and log Z.

        Raises:
            TypeError: data are not a floating-point tensor.
            ValueError: a row is not a state of this RBM, or all rows are the same.
        """
        check_rows(data)
        check_inside(cls.space, data)
        if len(data) > 1 and bool((data == data[0]).all()):
            raise ValueError(f"all {len(data)} rows are the same one: there is nothing to learn")
        return cls.alone.fit(data)

    @staticmethod
    def _first(base: Any, xi: Tensor, c: Tensor) -> tuple[Tensor, ...]:
        return xi, base.logits, c

    def _units(self, base: Solvable) -> Layer | None:
        return self._layer(base.logits) if isinstance(base, self.alone) else None


class BernoulliRBM(_Discrete):
    """Model bits by a restricted Boltzmann machine (RBM); a call returns the free energy U(v).

    For visible bits v it is ``U(v) = -b'.v - sum_j softplus(c'_j + (v W)_j)``, ``b' = b - W lam``,
    ``c' = c - mu W``. The offsets mu and lam centre the units, which helps the optimiser and does
    not change what an RBM can represent. Sources: Smolensky 1986; Hinton 2002; offsets: Montavon
    and Mueller 2012, Melchior, Fischer, Wiskott 2016.

    Arguments:
        w: weights W (d, m).
        b: visible biases (*shape), d numbers.
        c: hidden biases (m,).
        mu: offsets (*shape) of the visible units; default 0.
        lam: offsets (m,) of the hidden units; default 0.

    Attributes:
        base: energy of independent bits, at which walkers (weighted samples) start; by default
            bits with the log-odds b.

    >>> import torch, noneq
    >>> data = (torch.rand(100, 6) < 0.3).float()
    >>> rbm = noneq.BernoulliRBM.from_data(data, 4)
    >>> tuple(rbm(data).shape), tuple(rbm.sample(10, torch.Generator()).shape)
    ((100,), (10, 6))
    >>> abs(rbm.log_z() - rbm.base.log_z() - 4 * torch.tensor(2.0).log()) < 0.1  # W is small
    tensor(True)
    """

    space = BINARY
    alone = Bernoulli

    def _layer(self, centre: Tensor) -> Layer:
        return Bits(centre.flatten())


class PottsRBM(_Discrete):
    """Model sites of q states by a restricted Boltzmann machine; a call returns the free energy.

    For v one-hot at every site it is
    ``U(v) = -sum_ia b'_ia v_ia - sum_j softplus(c'_j + sum_ia v_ia W_iaj)``, with sites i, states
    a, hidden units j, and W flattened over sites and states; ``b' = b - W lam``,
    ``c' = c - mu W``. The offsets mu and lam centre the units, as in `BernoulliRBM`.

    Arguments:
        w: weights W (L q, m), rows in the order of ``v.flatten(1)``.
        b: visible biases (L, q) of L sites, or of another shape (*sites, q).
        c: hidden biases (m,).
        mu: offsets (L, q) of the visible units; default 0.
        lam: offsets (m,) of the hidden units; default 0.

    Attributes:
        base: energy of independent sites, at which walkers (weighted samples) start; by default
            sites with the logits b.

    >>> import torch, noneq
    >>> data = torch.nn.functional.one_hot(torch.randint(3, (100, 4)), 3).float()
    >>> rbm = noneq.PottsRBM.from_data(data, 5)
    >>> tuple(rbm(data).shape), tuple(rbm.sample(10, torch.Generator()).shape)
    ((100,), (10, 4, 3))
    """

    space = ONE_HOT
    alone = Categorical

    def _layer(self, centre: Tensor) -> Layer:
        return Sites(centre.flatten(), centre.shape[-1])


class GaussianRBM(RBM):
    """Model real numbers by a restricted Boltzmann machine; a call returns the free energy U(v).

    For visible numbers v with variances ``s^2 = exp(log_var)``, which are learned, too, it is
    ``U(v) = sum_i (v_i - b'_i)^2 / (2 s_i^2) - sum_j softplus(c'_j + sum_i v_i W_ij / s_i^2)``,
    ``b' = b - W lam``, ``c' = c - (mu / s^2) W``: given the hidden units h, v is normal with mean
    ``b' + W h`` and variances s^2. Z is always finite. Source: Cho, Ilin, Raiko 2011. The offsets
    mu and lam centre the units, as in `BernoulliRBM`.

    Arguments:
        w: weights W (d, m).
        b: visible biases (*shape), d numbers, in the data's units.
        c: hidden biases (m,).
        log_var: logarithms of the variances s^2 of v given h (*shape).
        mu: offsets (*shape) of the visible units; default 0.
        lam: offsets (m,) of the hidden units; default 0.

    Attributes:
        base: energy of independent normal numbers, at which walkers (weighted samples) start; by
            default with means b and variances s^2.

    >>> import torch, noneq
    >>> data = torch.randn(100, 6)
    >>> rbm = noneq.GaussianRBM.from_data(data, 4)
    >>> tuple(rbm(data).shape), tuple(rbm.sample(10, torch.Generator()).shape)
    ((100,), (10, 6))
    """

    space = REAL

    def __init__(
        self,
        w: Tensor,
        b: Tensor,
        c: Tensor,
        log_var: Tensor,
        *,
        mu: Tensor | None = None,
        lam: Tensor | None = None,
    ) -> None:
        super().__init__(w, b, c, mu=mu, lam=lam)
        if log_var.shape != b.shape:
            raise ValueError(
                f"log_var has the shape of the biases, {tuple(b.shape)}, got "
                f"{tuple(log_var.shape)}"
            )
        self.log_var = nn.Parameter(log_var.detach().clone())
        self.base: Solvable = Gaussian(b, Diagonal((log_var / 2).exp(), b.dtype))

    @classmethod
    def independent_start(cls, data: Tensor) -> Gaussian:
        """Fit independent normal numbers to the means and variances of data.

        Arguments:
            data: rows (M, *shape).

        Returns:
            The Gaussian with diagonal covariance, an energy with exact samples and log Z.

        Raises:
            TypeError: data are not a floating-point tensor.
            ValueError: rows have no density, e.g. because a column never changes.
        """
        check_data(data)
        return Gaussian.fit(data, "diagonal")

    @staticmethod
    def _first(base: Any, xi: Tensor, c: Tensor) -> tuple[Tensor, ...]:
        scale = base.factor.scale
        return xi * scale.flatten()[:, None], base.mean, c, 2 * scale.log()

    def _own(self) -> tuple[Tensor, ...]:
        return *super()._own(), self.log_var

    def _layer(self, centre: Tensor) -> Layer:
        precision = self._scale()
        return Normals(centre.flatten() * precision, precision)

    def _scale(self) -> Tensor:
        return (-self.log_var).exp().flatten()

    def _units(self, base: Solvable) -> Layer | None:
        if not (isinstance(base, Gaussian) and isinstance(base.factor, Diagonal | Identity)):
            return None
        scale = torch.as_tensor(base.factor.scale, device=base.mean.device).to(base.mean)
        scale = scale.expand_as(base.mean).flatten()
        return Normals(base.mean.flatten() * scale**-2, scale**-2)
