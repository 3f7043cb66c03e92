r"""Small discrete models and restricted Boltzmann machines (RBMs) with an exact log Z.

The states of each discrete model are few enough to be summed over, which `enumerated` does.

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
    r"""Define the energy of the Ising model on bits x in {0, 1}^n, with spins ``s = 2 x - 1``.

    ``U(x) = -sum_ij J_ij s_i s_j - sum_i b_i s_i``, where i and j run over all n spins.

    Arguments:
        couplings: couplings J (n, n). A pair of spins has the coupling ``J_ij + J_ji``, so that an
            upper triangular matrix counts each pair once.
        fields: external fields b (n,).

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
        """Compute the energies of states.

        Arguments:
            x: bits (B, n).

        Returns:
            Energies (B,).
        """
        s = 2 * x - 1
        return -((s @ self.couplings.to(s)) * s).sum(1) - s @ self.fields.to(s)


class Potts(nn.Module):
    r"""Define the energy of two coupled sites of q states each, x_1 and x_2 in one-hot encoding.

    ``U(x) = f_1 . x_1 + f_2 . x_2 + exp(x_1^T C x_2) / 2``. U is not linear in x_1, so that the
    gradient of U predicts the energies of other states only approximately. This model tests
    whether an MCMC kernel for discrete states that proposes by gradients corrects for this.

    Arguments:
        fields: energies f (2, q) of the states of both sites.
        couplings: matrix C (q, q), by which the states of the two sites interact.
    """

    space = ONE_HOT

    def __init__(self, fields: Tensor, couplings: Tensor) -> None:
        super().__init__()
        self.fields = nn.Parameter(fields)
        self.couplings = nn.Parameter(couplings)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the energies of states.

        Arguments:
            x: states of both sites (B, 2, q), one-hot.

        Returns:
            Energies (B,).
        """
        pair = ((x[:, 0] @ self.couplings) * x[:, 1]).sum(1)
        return (x * self.fields).flatten(1).sum(1) + pair.exp() / 2


def enumerated(energy: Energy, states: Tensor) -> Target:
    """Compute log Z and the mean of a discrete model by summing over all of its states.

    Arguments:
        energy: energy U of the model, a function (S, *shape) -> (S,).
        states: all S states, each of shape ``shape``, in one tensor (S, *shape), e.g. from
            `noneq.testing.all_bits` or `noneq.testing.all_one_hot`.

    Returns:
        A `Target`: the energy, with its exact log Z, mean (*shape) and sampler.
    """
    grid = Grid.over(energy, states)
    return Target(energy, grid.log_z, grid.mean(states), grid.draw)


def ising() -> Ising:
    """Make an Ising model on a lattice of 3 x 3 bits with open boundaries.

    Couplings of neighbours are positive and unequal, and the external field grows from -0.2 at the
    first bit to 0.35 at the last.

    Returns:
        The energy, a function of bits (B, 9), with parameters in float64.
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

    Each coupling favours unequal bits, and a field breaks the symmetry of 0 and 1.

    Returns:
        The energy, a function of bits (B, 3), with parameters in float64.
    """
    couplings = -torch.tensor([[0, 0.9, 0.7], [0, 0, 0.5], [0, 0, 0]])
    return Ising(couplings.double(), (torch.arange(3) * 0.3 - 0.1).double())


def potts(seed: int = 3) -> Potts:
    """Make a `Potts` model of two coupled sites of three states, with random parameters.

    Arguments:
        seed: seed of the fields and couplings, which are standard normal numbers.

    Returns:
        The energy, a function of one-hot states (B, 2, 3), with parameters in float64.
    """
    draw = torch.randn(15, generator=_seeded(seed), dtype=torch.float64)
    return Potts(draw[:6].view(2, 3), draw[6:].view(3, 3))


def bernoulli_rbm(d: int = 4, m: int = 3, seed: int = 7) -> BernoulliRBM:
    """Make an RBM of bits with large random weights, so that it has several unequal modes.

    Weights are normal numbers of standard deviation 1.5, biases of 0.5.

    Arguments:
        d: number of visible units.
        m: number of hidden units.
        seed: seed of the random parameters.

    Returns:
        The RBM, whose free energy is a function of bits (B, d), with parameters in float64.

    >>> import noneq
    >>> rbm = bernoulli_rbm()
    >>> abs(rbm.log_z() - Grid.over(rbm, noneq.testing.all_bits(4)).log_z) < 1e-12
    True
    """
    rng = _seeded(seed)
    draw = [torch.randn(*s, generator=rng, dtype=torch.float64) for s in ((d, m), (d,), (m,))]
    return BernoulliRBM(1.5 * draw[0], 0.5 * draw[1], 0.5 * draw[2])


def random_rbm(kind: type[M], *shapes: tuple[int, ...], seed: int, scale: float = 1.0) -> M:
    """Make an RBM with random weights, biases and offsets, all of them normal numbers.

    The offsets mu and lam are subtracted from the visible units v and the hidden units h, so that
    the coupling is ``(v - mu)^T W (h - lam)``. Standard deviations are ``1.5 scale`` for weights,
    ``0.5 scale`` for biases, ``scale`` for further arguments and 0.8 for offsets.

    Arguments:
        kind: class of the RBM.
        shapes: shapes of the weights W, the visible biases b, the hidden biases c, and of further
            arguments of the class, e.g. of the log-variances of a `noneq.GaussianRBM`.
        seed: seed of all random numbers.
        scale: factor of the standard deviations of all parameters but the offsets.

    Returns:
        The RBM, an object of the class ``kind``, in float64.
    """
    rng = _seeded(seed)
    draw = [torch.randn(*s, generator=rng, dtype=torch.float64) * scale for s in shapes]
    mu, lam = (0.8 * torch.randn(t.shape, generator=rng, dtype=torch.float64) for t in draw[1:3])
    return kind(1.5 * draw[0], 0.5 * draw[1], 0.5 * draw[2], *draw[3:], mu=mu, lam=lam)


def potts_rbm(seed: int = 7, m: int = 3) -> PottsRBM:
    """Make an RBM whose visible units are two sites of three states, with random parameters.

    Arguments:
        seed: seed of the random parameters, see `random_rbm`.
        m: number of hidden units.

    Returns:
        The RBM, whose free energy is a function of one-hot states (B, 2, 3), in float64.
    """
    return random_rbm(PottsRBM, (6, m), (2, 3), (m,), seed=seed)


def gaussian_rbm(seed: int = 9, m: int = 3) -> GaussianRBM:
    """Make an RBM whose visible units are two real numbers, with random parameters.

    Its density is a mixture of 2^m Gaussians, some of them far apart.

    Arguments:
        seed: seed of the random parameters, see `random_rbm`.
        m: number of hidden units.

    Returns:
        The RBM, whose free energy is a function of rows (B, 2), in float64.
    """
    return random_rbm(GaussianRBM, (2, m), (2,), (m,), (2,), seed=seed, scale=0.7)


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
