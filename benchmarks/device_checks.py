"""Is what the library computes on a device right? Estimates beside exact values, in float64.

Each check is entered in `CHECKS` by its name. Exact values are closed forms, enumeration or
quadrature; where a value has no such form it is compared with the same computation on the
processor.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

import noneq
from benchmarks.device_report import Outcome, close, near
from noneq import MLP, Gaussian, GaussianMixture, Schedule, Settings, Tilted, population
from noneq.energies import Energy, GeometricPath, Identity, path_to
from noneq.kernels import BlockGibbs, Chain, EulerMaruyama, Kernel
from noneq.likelihood import Estimate, exact_log_z
from noneq.models import TimedMLP
from noneq.models.interpolants import Linear, MixturePath, TimedEnergy, flow_likelihood
from noneq.numerics import full_precision
from noneq.training import match

__all__ = ["CHECKS", "Where", "check", "tilted", "two", "wide"]


@dataclass(frozen=True)
class Where:
    """Holds where checks run, and how long.

    Attributes:
        device: the device.
        small: whether sizes are small, to test the checks themselves.
        folder: a folder for files.
    """

    device: torch.device
    small: bool
    folder: Path

    def size(self, large: int, small: int) -> int:
        """Choose a size."""
        return small if self.small else large

    def rng(self, seed: int = 0) -> torch.Generator:
        """Make a generator on the device."""
        return torch.Generator(self.device).manual_seed(seed)

    def tensor(self, *values: object) -> Tensor:
        """Make a tensor of numbers on the device, in float64."""
        return torch.tensor(values, dtype=torch.float64, device=self.device)


Check = Callable[[Where], Outcome]
CHECKS: dict[str, Check] = {}
"""The checks by name, in their order."""


def check(name: str) -> Callable[[Check], Check]:
    """Enter a function into `CHECKS`.

    Arguments:
        name: of the check.

    Returns:
        A decorator.
    """

    def enter(work: Check) -> Check:
        CHECKS[name] = work
        return work

    return enter


# -- what they run on


def two(at: Where) -> GaussianMixture:
    """Two unequal Gaussians of two dimensions."""
    return GaussianMixture(
        at.tensor([1.2, 0.5], [-1.0, -0.8]),
        at.tensor([[0.5, 0.2], [0.2, 0.4]], [[0.3, -0.1], [-0.1, 0.5]]),
        at.tensor(0.65, 0.35),
    )


def wide(at: Where, scale: float = 1.8) -> Gaussian:
    """A wide Gaussian, off the origin."""
    return Gaussian(at.tensor(0.2, -0.3), Identity(scale))


def quadrature(energy: Energy, at: Where, *, reach: float = 12.0, points: int = 601) -> float:
    """Log Z of an energy of two dimensions, by the midpoint rule, whose error is negligible."""
    axis = torch.linspace(-reach, reach, points, dtype=torch.float64, device=at.device)
    grid = torch.cartesian_prod(axis, axis)
    with torch.no_grad(), full_precision():
        u = torch.cat([energy(x).double() for x in torch.split(grid, 2**16)])
    return float((-u).logsumexp(0)) + 2 * math.log(2 * reach / (points - 1))


def bracketed(z: Estimate, exact: float) -> Outcome:
    """Whether an exact log Z lies between both estimates, within four standard errors of each."""
    low, high = z.interval
    ok = low.value - 4 * low.stderr <= exact <= high.value + 4 * high.stderr
    shown = " to ".join(f"{one.value:.4f} ({one.stderr:.4f})" for one in (low, high))
    numbers = {"low": low, "high": high, "exact": exact, "alarms": z.alarms}
    return Outcome(ok, f"log Z {shown}, exact {exact:.4f}; {len(z.alarms)} alarms", numbers)


def bits(at: Where, n: int = 600, d: int = 10) -> Tensor:
    """Rows of bits of two kinds."""
    p = torch.where(torch.arange(n, device=at.device)[:, None] < n // 3, 0.2, 0.7)
    return (torch.rand(n, d, generator=at.rng(1), device=at.device) < p).double()


def tilted(rows: Tensor) -> Tilted:
    """A Gaussian of the rows, tilted by a network, in float64."""
    torch.manual_seed(0)
    return Tilted(Gaussian.fit(rows), MLP((2,), 32, 2).to(rows))


# -- annealing


_KERNELS: dict[str, Kernel] = {
    "ULA": noneq.ULA(0.05),
    "MALA": noneq.MALA(0.2),
    "HMC": noneq.HMC(0.3, leapfrog_steps=3),
    "HMC with momentum": noneq.HMC.obabo(0.3, adjusted=True),
}
for _name, _kernel in _KERNELS.items():

    @check(f"weights of {_name} along a path to a banana")
    def _(at: Where, kernel: Kernel = _kernel) -> Outcome:
        target = noneq.testing.banana()
        schedule = Schedule.uniform(at.size(60, 20), kernel)
        path = GeometricPath(wide(at), target.energy)
        walkers, _ = population(path, at.size(65536, 2048), schedule, rng=at.rng())
        found = near(walkers.log_z.value, target.log_z, walkers.log_z.stderr)
        means = walkers.mean(walkers.x).cpu()
        off = float((means - target.mean).abs().max())
        ok = bool(found.ok) and off < at.size(5, 30) / 100
        return Outcome(ok, f"{found.text}; ESS {walkers.ess:.2f}; means off by {off:.3f}")


@check("log_z of a Gaussian mixture, given as a function")
def _(at: Where) -> Outcome:
    mixture = two(at)
    rows = mixture.sample(400, at.rng(2))
    n, steps = at.size(2048, 256), at.size(200, 40)
    z = noneq.log_z(lambda x: mixture(x), wide(at), rows, n=n, temperatures=steps, rng=at.rng())
    return bracketed(z, mixture.log_z())


@check("log_z of an RBM by annealing, beside its enumeration")
def _(at: Where) -> Outcome:
    rows = bits(at)
    rbm = noneq.BernoulliRBM.from_data(rows, 6, at.rng())
    with torch.no_grad():
        rbm.w.add_(0.7 * torch.randn(rbm.w.shape, generator=at.rng(3), device=at.device))
    exact = exact_log_z(rbm, n=16, rng=at.rng()).value
    schedule = Schedule.uniform(at.size(200, 60), BlockGibbs())
    n = at.size(4096, 512)
    z = noneq.log_z(rbm, data=rows, n=n, temperatures=schedule, rng=at.rng())
    return bracketed(z, exact)


@check("an exact interpolant, carried by Euler-Maruyama steps and MALA")
def _(at: Where) -> Outcome:
    end = two(at)
    path = MixturePath(Linear(0.5), Gaussian(at.tensor(0.3, -0.2), Identity(1.3)), end)
    carry = Chain((EulerMaruyama(1.0), noneq.MALA(0.1)))
    schedule = Schedule.uniform(at.size(50, 20), carry)
    walkers, _ = population(path, at.size(16384, 1024), schedule, rng=at.rng())
    return near(walkers.log_z.value, end.log_z(), walkers.log_z.stderr)


@check("log-densities by the probability flow of an exact interpolant")
def _(at: Where) -> Outcome:
    end = two(at)
    path = MixturePath(Linear(), Gaussian(at.tensor(0.3, -0.2), Identity(1.3)), end)
    rows = end.sample(at.size(500, 50), at.rng())
    found = flow_likelihood(path, rows, steps=64)
    off = float((found.log_density + end(rows) + end.log_z()).abs().max())
    return close(off, 1e-3, "largest error of a log-density")


# -- training


@check("train: log Z of held-out walkers, beside quadrature")
def _(at: Where) -> Outcome:
    rows = two(at).sample(2000, at.rng(2))
    energy = tilted(rows)
    settings = Settings(walkers=512, held_out=at.size(4096, 512), renew=None, moves=4)
    records = noneq.train(energy, rows, settings, rng=at.rng())
    for record in itertools.islice(records, at.size(60, 10)):
        last = record
    exact = quadrature(energy, at)
    found = near(last.log_z_held_out.value, exact, last.log_z_held_out.stderr)
    return Outcome(found.ok, f"{found.text}; ESS {last.ess:.2f}", found.numbers)


@check("train: log_z afterwards, beside quadrature")
def _(at: Where) -> Outcome:
    rows = two(at).sample(2000, at.rng(2))
    energy, settings = tilted(rows), Settings(walkers=256, held_out=64, renew=10, moves=4)
    list(itertools.islice(noneq.train(energy, rows, settings, rng=at.rng()), at.size(40, 11)))
    n, steps = at.size(1024, 128), at.size(200, 30)
    z = noneq.log_z(energy, data=rows, n=n, temperatures=steps, rng=at.rng())
    return bracketed(z, quadrature(energy, at))


@check("train an RBM: log Z of held-out walkers, beside its enumeration")
def _(at: Where) -> Outcome:
    rows = bits(at)
    rbm = noneq.BernoulliRBM.from_data(rows, 5, at.rng())
    settings = Settings(walkers=512, held_out=at.size(4096, 512), renew=None, moves=2)
    for record in itertools.islice(
        noneq.train(rbm, rows, settings, rng=at.rng()), at.size(60, 10)
    ):
        last = record
    exact = exact_log_z(rbm, n=16, rng=at.rng()).value
    return near(last.log_z_held_out.value, exact, last.log_z_held_out.stderr)


@check("train Gaussian and Potts RBMs, CD, PCD, a part of the walkers: finite")
def _(at: Where) -> Outcome:
    numbers = two(at).sample(300, at.rng(2))
    sites = torch.stack([bits(at), 1 - bits(at)], -1)
    some = {"walkers": 64, "moves": 2, "batch": 50}
    own = Settings(held_out=16, renew=2, temperatures=10, **some)
    cases = [
        (noneq.GaussianRBM.from_data(numbers, 4, at.rng()), numbers, own),
        (noneq.PottsRBM.from_data(sites, 4, at.rng()), sites, own),
        (tilted(numbers), numbers, Settings.cd(**some)),
        (tilted(numbers), numbers, Settings.pcd(**some)),
        (tilted(numbers), numbers, Settings(held_out=16, active=20, renew=None, **some)),
    ]
    losses = [
        record.loss
        for energy, rows, how in cases
        for record in itertools.islice(noneq.train(energy, rows, how, rng=at.rng()), 4)
    ]
    return Outcome(all(map(math.isfinite, losses)), f"{len(losses)} iterations")


@check("score matching: loss, and log Z by the learned path beside quadrature")
def _(at: Where) -> Outcome:
    rows = two(at).sample(1000, at.rng(2))
    torch.manual_seed(0)
    energy = TimedEnergy.fit(rows, TimedMLP((2,), 32, 2).to(rows), 0.1).to(at.device)
    losses = [r.loss for r in itertools.islice(match(energy, rows), at.size(200, 30))]
    kernel = Chain((EulerMaruyama(1.0), noneq.MALA(0.1)))
    schedule = Schedule.uniform(at.size(60, 20), kernel)
    path = path_to(energy, energy.base)
    walkers, _ = population(path, at.size(8192, 512), schedule, rng=at.rng())
    found = near(walkers.log_z.value, quadrature(energy, at), walkers.log_z.stderr)
    half = len(losses) // 2
    early, late = sum(losses[:half]) / half, sum(losses[half:]) / (len(losses) - half)
    ok = bool(found.ok) and (at.small or late < early)
    return Outcome(ok, f"{found.text}; loss {early:.3f} -> {late:.3f}", found.numbers)
