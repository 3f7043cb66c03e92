r"""Models of neighbours on a ring or a torus, whose log Z follows from a transfer matrix.

With T(s, s') the factor of ``exp(-U)`` that couples neighbouring sites in the states s and s', a
ring of L sites has ``Z = trace T^L``, and exact samples can be drawn one site after the other.
Source: Kramers and Wannier 1941.

>>> import torch, noneq
>>> lattice = noneq.testing.Lattice(3, 0.5, [0.0, 0.2])
>>> log_z, states = lattice.exact(4, torch.Generator().manual_seed(0))
>>> summed = noneq.testing.Grid.over(lattice, noneq.testing.all_bits(9)).log_z
>>> abs(log_z - summed) < 1e-9, tuple(lattice.rows(states).shape)
(True, (4, 9))
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from noneq.spaces import BINARY, ONE_HOT, Space
from noneq.testing.targets import Target

__all__ = ["Lattice", "double_wells"]


def _powers(transfer: Tensor, sites: int) -> list[Tensor]:
    """Compute the powers 0 ... sites of the transfer matrix."""
    powers = [torch.eye(len(transfer), dtype=torch.float64)]
    for _ in range(sites):
        powers.append(powers[-1] @ transfer)
    return powers


def _walks(transfer: Tensor, powers: list[Tensor], n: int, rng: torch.Generator) -> Tensor:
    """Draw n closed walks (n, sites) by the weight of their steps: exact samples of a ring."""
    first = torch.multinomial(powers[-1].diagonal(), n, replacement=True, generator=rng)
    states = [first]
    for left in range(len(powers) - 2, 0, -1):
        p = transfer[states[-1]] * powers[left][:, first].T
        states.append(torch.multinomial(p, 1, generator=rng)[:, 0])
    return torch.stack(states, 1)


def double_wells(
    sites: int = 4, tilt: float = 0.05, barrier: float = 3.0, spring: float = 1.0
) -> Target:
    r"""Make a ring of coupled double wells, with two modes: all x_i near 1, or all near -1.

    ``U = sum_i barrier (x_i^2 - 1)^2 - tilt x_i + spring (x_i - x_{i+1})^2 / 2``, where the last
    site is a neighbour of the first. Log Z is computed by a transfer matrix on 261 points of
    [-2.6, 2.6] for each x_i, and samples lie on these points.

    Arguments:
        sites: number d of sites of the ring, the dimension of x.
        tilt: slope of the energy, by which x_i near 1 is more probable than near -1.
        barrier: energy of the barrier between the two wells of one site.
        spring: strength of the coupling of neighbouring sites.

    Returns:
        A `Target`: energy (B, d) -> (B,), with its exact log Z, mean (d,) and sampler.
    """

    def well(y: Tensor) -> Tensor:
        return barrier * (y.square() - 1).square() - tilt * y

    def energy(x: Tensor) -> Tensor:
        return well(x).sum(1) + spring * (x - x.roll(1, 1)).square().sum(1) / 2

    axis = torch.linspace(-2.6, 2.6, 261, dtype=torch.float64)
    half = -well(axis) / 2
    step = half[:, None] + half - spring * (axis[:, None] - axis).square() / 2
    transfer = step.exp() * (axis[1] - axis[0])
    powers = _powers(transfer, sites)

    def sample(n: int, rng: torch.Generator) -> Tensor:
        return axis[_walks(transfer, powers, n, rng)]

    mass = powers[-1].diagonal()
    mean = float((mass * axis).sum() / mass.sum())
    log_z = float(mass.sum().log())
    return Target(energy, log_z, torch.full((sites,), mean, dtype=torch.float64), sample)


class Lattice:
    r"""Define the energy of the Potts model on a square lattice with periodic boundaries.

    ``U = -coupling (number of equal neighbours) - sum_i field[s_i]`` for states s_i = 0 ... q - 1
    on L x L sites. With q = 2 it is the Ising model, ``coupling = 2 beta``. The energy is a
    function of B states at once: bits (B, L^2) if q = 2, else one-hot vectors (B, L^2, q).

    Arguments:
        side: side L of the lattice, at most about 8 for q = 2 or 5 for q = 3, since `exact`
            lists q^L states.
        coupling: energy by which each pair of equal neighbours lowers U.
        field: q numbers; a site in state s lowers U by ``field[s]``. Their number decides q.

    Attributes:
        q: number of states of a site.
        space: space of the states that the energy takes, `noneq.spaces.BINARY` or ``ONE_HOT``.
    """

    def __init__(self, side: int, coupling: float, field: Sequence[float]) -> None:
        self.side, self.coupling, self.q = side, coupling, len(field)
        self.field = torch.tensor(field, dtype=torch.float64)
        self.space: Space = BINARY if self.q == 2 else ONE_HOT

    def __call__(self, x: Tensor) -> Tensor:
        """Compute the energies U of states.

        Arguments:
            x: states of all sites: bits (B, L^2), or one-hot vectors (B, L^2, q) if q > 2.

        Returns:
            Energies (B,).
        """
        if self.q == 2:
            x = torch.stack([1 - x, x], -1)
        s = x.view(len(x), self.side, self.side, self.q)
        equal = (s * s.roll(1, 1)).sum((1, 2, 3)) + (s * s.roll(1, 2)).sum((1, 2, 3))
        return -self.coupling * equal - (s.sum((1, 2)) * self.field.to(s)).sum(1)

    def rows(self, states: Tensor) -> Tensor:
        """Convert states from integers on the lattice to the encoding that the energy takes.

        Arguments:
            states: states of all sites (B, L, L), integers 0 ... q - 1.

        Returns:
            Bits (B, L^2) if q = 2, else one-hot vectors (B, L^2, q), float32.
        """
        if self.q == 2:
            return states.flatten(1).float()
        return one_hot(states.flatten(1), self.q).float()

    def exact(self, n: int, rng: torch.Generator) -> tuple[float, Tensor]:
        """Compute the exact log Z and draw exact independent samples, by a transfer matrix.

        The matrix (q^L, q^L) couples the states of two neighbouring lines of L sites.

        Arguments:
            n: number of samples.
            rng: source of randomness.

        Returns:
            log Z, and samples (n, L, L) as integers 0 ... q - 1, which `rows` converts to the
            encoding that the energy takes.
        """
        lines = torch.cartesian_prod(*[torch.arange(self.q)] * self.side).view(-1, self.side)
        own = self.coupling * (lines == lines.roll(1, 1)).sum(1).double()
        own = own + self.field[lines].sum(1)
        hot = one_hot(lines, self.q).flatten(1).double()
        transfer = own[:, None] / 2 + own / 2 + self.coupling * (hot @ hot.T)
        shift = float(transfer.max())
        transfer = (transfer - shift).exp()
        powers = _powers(transfer, self.side)
        log_z = float(powers[-1].diagonal().sum().log()) + self.side * shift
        return log_z, lines[_walks(transfer, powers, n, rng)]
