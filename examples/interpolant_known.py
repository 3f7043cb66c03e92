r"""Sampling of three known energies along a stochastic interpolant, with exact weights and log Z.

The energies are a mixture in two dimensions, whose drift is exact; the many-well energy of 8
double wells ``x^4 - 6 x^2 - x/2`` and 8 Gaussian coordinates; and phi^4 on 8 x 8 sites with
periodic boundaries,

    ``S = sum_x (1 - 2 l) phi^2 + l phi^4 - 2 k phi (phi_right + phi_up)``,  l = 0.022, k = 0.27,

where each sign of the magnetisation has half of the mass. For the last two, annealed walkers are
resampled, a Gaussian base is fitted to them, and a network learns the velocity field from the base
to these rows. Errors of the network are corrected by the weights. The alternative is annealing
without a drift, by as many evaluations of the energy, which needs no training.

The drift helps on the many-well energy, and does not on the lattice: docs/results/interpolants.md.

    python examples/interpolant_known.py        under three minutes on one core
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

import noneq
from noneq.models.interpolants import MixturePath, Trigonometric, VelocityPath

STEPS, WALKERS, SIDE = 40, 2048, 8
Symmetry = Callable[[Tensor, torch.Generator], Tensor]


class ManyWell(nn.Module):
    """Defines an energy of double wells on even coordinates and Gaussians on odd ones."""

    dim = 16

    def forward(self, x: Tensor) -> Tensor:
        """Compute the energies (B,) of rows."""
        wells, free = x[:, ::2], x[:, 1::2]
        square = wells.square()
        return ((square - 6) * square - wells / 2).sum(1) + free.square().sum(1) / 2

    def log_z(self) -> float:
        """Compute log Z by quadrature."""
        grid = torch.linspace(-5, 5, 20_001, dtype=torch.float64)
        one = torch.logsumexp(grid / 2 - grid**4 + 6 * grid**2, 0) + math.log(10 / 20_000)
        return self.dim // 2 * (float(one) + math.log(2 * math.pi) / 2)


class Lattice(nn.Module):
    """Defines the energy of the phi^4 lattice for rows of SIDE^2 sites."""

    dim = SIDE * SIDE

    def __init__(self, coupling: float = 0.27, quartic: float = 0.022) -> None:
        super().__init__()
        self.coupling, self.quartic = coupling, quartic

    def forward(self, x: Tensor) -> Tensor:
        """Compute the energies (B,) of rows."""
        phi = x.view(-1, SIDE, SIDE)
        near = phi.roll(1, 1) + phi.roll(1, 2)
        square = phi.square()
        site = (1 - 2 * self.quartic + self.quartic * square) * square
        return (site - 2 * self.coupling * phi * near).sum((1, 2))


def observables(x: Tensor) -> Tensor:
    """Compute ``M^2 / V`` and ``|M| / V`` of rows (B, V), with M the magnetisation: (B, 2)."""
    m = x.sum(1)
    return torch.stack([m.square(), m.abs()], 1) / x.shape[1]


def turned(x: Tensor, rng: torch.Generator) -> Tensor:
    """Apply a random symmetry of the lattice (shift, reflection, sign), which keeps the energy."""
    a, b, flip, turn, sign = torch.randint(SIDE, (5,), generator=rng).tolist()
    phi = x.view(-1, SIDE, SIDE).roll((a, b), (1, 2))
    phi = phi.flip(1) if flip % 2 else phi
    phi = phi.mT if turn % 2 else phi
    return phi.reshape(len(x), -1) * (1 if sign % 2 else -1)


def as_it_is(x: Tensor, rng: torch.Generator) -> Tensor:  # noqa: ARG001
    """Return the rows unchanged, for an energy without symmetry."""
    return x


class Whitened(nn.Module):
    """Defines a field ``L net(L^-1 x, t)`` in units of the base's covariance ``C = L L^T``."""

    def __init__(self, base: noneq.Gaussian, net: nn.Module) -> None:
        super().__init__()
        self.factor, self.net = base.factor, net

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Compute the vectors of the field, of the shape of x."""
        return self.factor.mul(self.net(self.factor.solve(x), t))


def fitted(rows: Tensor, rng: torch.Generator, symmetry: Symmetry) -> noneq.Gaussian:
    """Fit a Gaussian with mean 0 to the second moments of the rows."""
    many = torch.cat([symmetry(rows, rng) for _ in range(16)])
    moments = many.T @ many / len(many)
    return noneq.Gaussian(torch.zeros(rows.shape[1]), noneq.energies.Cholesky(moments))


def learn(
    rows: Tensor,
    base: noneq.Gaussian,
    rng: torch.Generator,
    *,
    iterations: int,
    symmetry: Symmetry = as_it_is,
    width: int = 192,
) -> Whitened:
    """Learn the velocity field from the base to the rows, both in units of the base.

    The network starts at 0, which is exact for Gaussian rows along a trigonometric interpolant.
    """
    torch.manual_seed(0)
    dim, batch = rows.shape[1], 512
    net = noneq.models.TimedMLP(dim, width, 3, field=True)
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, iterations)
    for _ in range(iterations):
        x1 = rows[torch.randint(len(rows), (batch,), generator=rng)]
        y1 = base.factor.solve(symmetry(x1, rng))
        y0 = torch.randn(y1.shape, generator=rng)
        loss = Trigonometric().draw(y0, y1, rng).velocity_loss(net)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        cosine.step()
    return Whitened(base, net)


def annealed(energy: nn.Module, dim: int, n: int, steps: int, rng: torch.Generator) -> Tensor:
    """Draw rows to learn the drift from, by annealing from a wide Gaussian and resampling."""
    wide = noneq.Gaussian(torch.zeros(dim), noneq.energies.Identity(1.5))
    path = noneq.energies.GeometricPath(wide, energy)
    walkers, _ = noneq.population(path, n, steps, rng=rng)
    return walkers.equal(n, rng)


def along(
    path: VelocityPath | MixturePath, n: int, rng: torch.Generator, *, eps: float, steps: int
) -> noneq.Walkers:
    """Carry weighted walkers along a path with a drift to its end."""
    factor = (
        path.base.factor if isinstance(path.base, noneq.Gaussian) else noneq.energies.Identity()
    )
    schedule = noneq.Schedule.uniform(steps, noneq.kernels.EulerMaruyama(eps, factor))
    start = noneq.Walkers.sample(path.start, n, rng)
    return noneq.anneal(schedule.forward(path), start, rng, ess_min=0)


def plain(
    energy: nn.Module, base: noneq.Gaussian, n: int, rng: torch.Generator, *, steps: int
) -> noneq.Walkers:
    """Anneal walkers from the same base without a drift, by as many evaluations of the energy."""
    path = noneq.energies.GeometricPath(base, energy)
    schedule = noneq.pilot(path, noneq.MALA(0.1, base.factor), rng).resized(steps)
    start = noneq.Walkers.sample(base, n, rng)
    return noneq.anneal(schedule.forward(path), start, rng, ess_min=0)


def reference(
    energy: nn.Module, rows: Tensor, rng: torch.Generator, moves: int
) -> tuple[Tensor, Tensor]:
    """Estimate means of the observables by long HMC chains, with errors over the chains."""
    walkers, total = noneq.Walkers.at(rows, energy), torch.zeros(len(rows), 2)
    kernel = noneq.HMC(0.03, leapfrog_steps=8)
    for move in range(moves + moves // 4):
        walkers = walkers.move(kernel, energy, rng)
        if move < moves // 4:  # equilibration
            kernel = kernel.adapt(walkers.info)
        else:
            total += observables(walkers.x) / moves
    return total.mean(0), total.std(0) / math.sqrt(len(rows))


def mixture() -> MixturePath:
    """Make the path from a Gaussian to a mixture of three, both normalised, so that log Z = 0."""
    start = noneq.Gaussian(torch.tensor([0.3, -0.2]), noneq.energies.Identity(1.3))
    means = torch.tensor([[2.0, 1.0], [-1.5, 0.5], [0.0, -2.0]])
    shapes = [[[0.3, 0.1], [0.1, 0.2]], [[0.1, 0.0], [0.0, 0.15]], [[0.5, -0.2], [-0.2, 0.4]]]
    end = noneq.GaussianMixture(means, torch.tensor(shapes), torch.tensor([0.5, 0.3, 0.2]))
    return MixturePath(Trigonometric(), start, end)


def print_line(name: str, walkers: noneq.Walkers, truth: str = "") -> None:
    """Print effective sample size and log Z as a line of the table."""
    z = walkers.log_z
    print(f"{name:32} {walkers.ess:7.3f} {z.value:9.3f} ± {z.stderr:.3f}  {truth}", flush=True)


def moments(name: str, means: Tensor, errors: Tensor) -> None:
    """Print means and errors as a line of the lattice's table."""
    both = [f"{a:9.3f} ± {b:.3f}" for a, b in zip(means.tolist(), errors.tolist(), strict=True)]
    print(f"{name:32} {' '.join(both)}", flush=True)


def weighted(x: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
    """Compute weighted means of the observables and standard errors; weights p (N,) sum to one."""
    f, column = observables(x).double(), p[:, None]
    mean = (column * f).sum(0)
    return mean, (column * (f - mean)).square().sum(0).sqrt()


def compare(
    energy: ManyWell | Lattice, truth: str, rng: torch.Generator, iterations: int
) -> tuple[noneq.Walkers, Tensor]:
    """Print log Z with a learned drift and by annealing; return walkers and training rows."""
    name, symmetry = type(energy).__name__, turned if isinstance(energy, Lattice) else as_it_is
    rows = annealed(energy, energy.dim, 4_096, 200, rng)
    base = fitted(rows, rng, symmetry)
    velocity = learn(rows, base, rng, iterations=iterations, symmetry=symmetry)
    path = VelocityPath(Trigonometric(), base, energy, velocity)
    guided = along(path, WALKERS, rng, eps=0.1, steps=STEPS)
    print_line(f"{name}, learned drift", guided, truth)
    print_line(f"{name}, annealed", plain(energy, base, WALKERS, rng, steps=STEPS), truth)
    return guided, rows


def main(iterations: int = 4_000) -> None:
    """Print log Z and effective sample size for each energy, and the moments of the lattice."""
    began, rng = time.process_time(), torch.Generator().manual_seed(0)
    print(f"{STEPS} steps, {WALKERS} walkers, never resampled")
    print(f"{'':32} {'ESS/N':>7} {'log Z':>9}            truth")
    print_line("mixture, exact drift", along(mixture(), WALKERS, rng, eps=0.5, steps=STEPS), "0")
    wells, lattice = ManyWell(), Lattice()
    compare(wells, f"{wells.log_z():.3f}", rng, iterations)
    guided, rows = compare(lattice, "below", rng, iterations)
    found = noneq.log_z(lattice, data=turned(rows, rng), n=512, temperatures=200, rng=rng)
    print(f"Lattice, bracket of noneq.log_z: {found.forward} to {found.backward}, {found.alarms}")
    print(f"{'':32} {'M^2 / V':>9}           {'|M| / V':>9}")
    moments("Lattice, weighted", *weighted(guided.x, guided.p))
    moments("Lattice, raw", *weighted(guided.x, torch.full_like(guided.p, 1 / len(guided))))
    moments("Lattice, HMC", *reference(lattice, turned(rows[:256], rng), rng, 600))
    print(f"{time.process_time() - began:.0f} seconds of CPU time")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*map(int, sys.argv[1:]))
