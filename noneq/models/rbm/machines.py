r"""Restricted Boltzmann machines of bits, numbers and one-hot sites: what each does differently.

=============== ================ ====================================== ==============
class           v                A(v; b)                                f(v)
=============== ================ ====================================== ==============
`BernoulliRBM`  bits             ``-b.v``                               ``v``
`GaussianRBM`   numbers          ``sum_i (v_i - b_i)^2 / (2 s_i^2)``    ``v / s^2``
`PottsRBM`      one-hot sites    ``-b.v``                               ``v``
=============== ================ ====================================== ==============
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
    """Of bits or one-hot sites: the base has logits where the machine has visible biases."""

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
        """Visible units with the data's smoothed means, alone: log Z and samples are exact.

        Raises ValueError or TypeError for rows that are not of the machine's space, or all alike
        (all zeros, say).
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
    r"""A restricted Boltzmann machine of bits; `forward` is the free energy.

    ``U(v) = -b'.v - sum_j softplus(c'_j + (v W)_j)``, ``b' = b - W lam``, ``c' = c - mu W``.
    Sources: Smolensky 1986; Hinton 2002; offsets: Montavon and Mueller 2012, Melchior, Fischer,
    Wiskott 2016.

    Arguments:
        w: W (d, m).
        b: (*shape) of d numbers, visible biases.
        c: (m,) hidden biases.
        mu, lam: offsets (*shape), (m,); default 0.

    Attributes:
        base: where walkers start; default: the visible units alone, of the biases b.
    """

    space = BINARY
    alone = Bernoulli

    def _layer(self, centre: Tensor) -> Layer:
        return Bits(centre.flatten())


class PottsRBM(_Discrete):
    r"""A restricted Boltzmann machine of sites with q states; `forward` is the free energy.

    ``U(v) = -sum_ia b'_ia v_ia - sum_j softplus(c'_j + sum_ia v_ia W_iaj)``, v one-hot at every
    site i; else as `BernoulliRBM`.

    Arguments:
        w: W (L q, m), rows in the order of ``v.flatten(1)``.
        b: (L, q) visible biases, or of any other shape (*sites, q).
        c: (m,) hidden biases.
        mu, lam: offsets (L, q), (m,); default 0.

    Attributes:
        base: where walkers start; default: the visible units alone, of the biases b.
    """

    space = ONE_HOT
    alone = Categorical

    def _layer(self, centre: Tensor) -> Layer:
        return Sites(centre.flatten(), centre.shape[-1])


class GaussianRBM(RBM):
    r"""A restricted Boltzmann machine of numbers with learned variances ``s^2 = exp(log_var)``.

    ``U(v) = sum_i (v_i - b'_i)^2 / (2 s_i^2) - sum_j softplus(c'_j + sum_i v_i W_ij / s_i^2)``,
    ``b' = b - W lam``, ``c' = c - (mu / s^2) W``: given h, v is normal with mean ``b' + W h`` and
    variance s^2. Z is always finite. Source: Cho, Ilin, Raiko 2011; offsets as of `BernoulliRBM`.

    Arguments:
        w: W (d, m).
        b: (*shape) of d numbers, visible biases, in the data's units.
        c: (m,) hidden biases.
        log_var: (*shape) logarithms of the variances given h.
        mu, lam: offsets (*shape), (m,); default 0.

    Attributes:
        base: where walkers start; default: the visible units alone.
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
        """Numbers with the data's means and variances, alone: log Z and samples are exact.

        Raises ValueError or TypeError for rows without a density: a column that never changes.
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
