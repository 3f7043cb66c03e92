r"""Small discrete models and restricted Boltzmann machines (RBMs) whose states can be summed.

>>> import noneq
>>> target = noneq.testing.enumerated(noneq.testing.ising(), noneq.testing.all_bits(9))
>>> round(target.log_z, 4), tuple(target.mean.shape)
(7.2616, (9,))
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn

from noneq.energies import Energy
from noneq.models import BernoulliRBM, GaussianRBM, PottsRBM
from noneq.spaces import BINARY, ONE_HOT
from noneq.testing.exact import Grid
from noneq.testing.targets import Target

__all__ = [
    "Ising",
    "Potts",
    "bernoulli_rbm",
    "enumerated",
    "frustrated",
    "gaussian_rbm",
    "ising",
    "potts",
    "potts_rbm",
    "random_rbm",
]

M = TypeVar("M", BernoulliRBM, GaussianRBM, PottsRBM)


class Ising(nn.Module):
    r"""Define the Ising model of bits x with spins ``s = 2 x - 1``.

    ``U = -sum_ij J_ij s_i s_j - sum_i b_i s_i``.

    Arguments:
        couplings: couplings J (n, n); the sum is over all i and j, so give an upper triangle, or
            half of a symmetric matrix.
        fields: fields b (n,).

    >>> pair = Ising(torch.tensor([[0.0, 1.0], [0.0, 0.0]]), torch.tensor([0.0, 0.5]))
    >>> pair(torch.tensor([[1.0, 1.0], [0.0, 1.0]])).tolist()
    [-1.5, 0.5]
    """

    space = BINARY
    couplings: Tensor
    fields: Tensor

    def __init__(self, couplings: Tensor, fields: Tensor) -> None:
        super().__init__()
        self.register_buffer("couplings", couplings)
        self.register_buffer("fields", fields)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the energies (B,) of bits x (B, n)."""
        s = 2 * x - 1
        return -((s @ self.couplings.to(s)) * s).sum(1) - s @ self.fields.to(s)


class Potts(nn.Module):
    r"""Couple two sites of q states, ``U = sum_i f_i . x_i + exp(x_1 C x_2) / 2``, x one-hot.

    The coupling is not linear in x, so that a gradient gives the energies of other states only
    approximately, as kernels that follow gradients must allow for.

    Arguments:
        fields: fields f (2, q).
        couplings: couplings C (q, q).
    """

    space = ONE_HOT

    def __init__(self, fields: Tensor, couplings: Tensor) -> None:
        super().__init__()
        self.fields = nn.Parameter(fields)
        self.couplings = nn.Parameter(couplings)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the energies (B,) of one-hot sites x (B, 2, q)."""
        pair = ((x[:, 0] @ self.couplings) * x[:, 1]).sum(1)
        return (x * self.fields).flatten(1).sum(1) + pair.exp() / 2


def enumerated(energy: Energy, states: Tensor) -> Target:
    """Make a target of an energy of discrete sites by summing over all states.

    Arguments:
        energy: energy of the sites.
        states: all states (S, *shape), e.g. `noneq.testing.all_bits` or
            `noneq.testing.all_one_hot`.

    Returns:
        The target.
    """
    grid = Grid.over(energy, states)
    return Target(energy, grid.log_z, grid.mean(states), grid.draw)


def ising() -> Ising:
    """Make an Ising model of 3 x 3 bits with open ends, unequal couplings and a growing field.

    Returns:
        The model, in float64.
    """
    couplings = torch.zeros(9, 9)
    for i in range(9):
        if i % 3 < 2:
            couplings[i, i + 1] = 0.3 + 0.02 * i
        if i < 6:
            couplings[i, i + 3] = 0.4 - 0.03 * i
    return Ising(couplings.double(), torch.linspace(-0.2, 0.35, 9).double())


def frustrated() -> Ising:
    """Make an Ising model of three bits with frustrated couplings: no state satisfies all of them.

    Each coupling favours unequal bits, and a field breaks the symmetry.

    Returns:
        The model, in float64.
    """
    couplings = -torch.tensor([[0, 0.9, 0.7], [0, 0, 0.5], [0, 0, 0]])
    return Ising(couplings.double(), (torch.arange(3) * 0.3 - 0.1).double())


def potts(seed: int = 3) -> Potts:
    """Make two coupled sites of three states with random fields and couplings.

    Arguments:
        seed: seed of the fields and couplings.

    Returns:
        The model, in float64.
    """
    draw = torch.randn(15, generator=_seeded(seed), dtype=torch.float64)
    return Potts(draw[:6].view(2, 3), draw[6:].view(3, 3))


def bernoulli_rbm(d: int = 4, m: int = 3, seed: int = 7) -> BernoulliRBM:
    """Make an RBM of bits with large random weights, whose modes are unequal.

    Arguments:
        d: number of visible units.
        m: number of hidden units.
        seed: seed of the parameters.

    Returns:
        The RBM, in float64.

    >>> import noneq
    >>> rbm = bernoulli_rbm()
    >>> abs(rbm.log_z() - Grid.over(rbm, noneq.testing.all_bits(4)).log_z) < 1e-12
    True
    """
    rng = _seeded(seed)
    draw = [torch.randn(*s, generator=rng, dtype=torch.float64) for s in ((d, m), (d,), (m,))]
    return BernoulliRBM(1.5 * draw[0], 0.5 * draw[1], 0.5 * draw[2])


def random_rbm(kind: type[M], *shapes: tuple[int, ...], seed: int, scale: float = 1.0) -> M:
    """Make an RBM with random parameters, and random offsets mu and lam of its units, far from 0.

    Arguments:
        kind: class of the RBM.
        shapes: shapes of W, b, c and of further arguments of the class.
        seed: seed of all random numbers.
        scale: scale of the parameters.

    Returns:
        The RBM, in float64.
    """
    rng = _seeded(seed)
    draw = [torch.randn(*s, generator=rng, dtype=torch.float64) * scale for s in shapes]
    mu, lam = (0.8 * torch.randn(t.shape, generator=rng, dtype=torch.float64) for t in draw[1:3])
    return kind(1.5 * draw[0], 0.5 * draw[1], 0.5 * draw[2], *draw[3:], mu=mu, lam=lam)


def potts_rbm(seed: int = 7, m: int = 3) -> PottsRBM:
    """Make an RBM of two sites of three states, with offsets.

    Arguments:
        seed: seed of the parameters.
        m: number of hidden units.

    Returns:
        The RBM, in float64.
    """
    return random_rbm(PottsRBM, (6, m), (2, 3), (m,), seed=seed)


def gaussian_rbm(seed: int = 9, m: int = 3) -> GaussianRBM:
    """Make an RBM of two real numbers, with offsets; some of its 2^m modes are far apart.

    Arguments:
        seed: seed of the parameters.
        m: number of hidden units.

    Returns:
        The RBM, in float64.
    """
    return random_rbm(GaussianRBM, (2, m), (2,), (m,), (2,), seed=seed, scale=0.7)


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
