"""Pilot runs, which find temperatures, step sizes and preconditioners on walkers of their own.

Walkers (weighted samples) whose weights come from a schedule that was adapted to the same walkers
give a biased Z. The walkers of a pilot run are therefore discarded, and the schedule that it
returns is not changed any more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import torch

from noneq.annealing.schedule import Schedule
from noneq.annealing.smc import TooFarError, Track, _start, anneal, untracked
from noneq.energies import Path, d_beta
from noneq.kernels import Kernel, transports
from noneq.kernels.preconditioner import Learned, Precondition
from noneq.walkers import Walkers

__all__ = ["adapt_steps", "pilot"]

PILOT = 200  # temperatures from which on the pilot is of its full size


def _pilot_size(n: int, temperatures: int) -> dict[str, Any]:
    """Size a pilot by its purpose: fewer walkers, longer steps, a shorter warmup for short runs.

    A step that costs the share c of the effective sample size is as long as the root of c.
    """
    lost = min(0.2, 0.005 * max(1.0, (PILOT / temperatures) ** 2))
    return {"n": min(128, n), "cess": 1 - lost, "warmup": min(50, temperatures)}


def pilot(
    path: Path,
    kernel: Kernel,
    rng: torch.Generator,
    *,
    n: int = 128,
    cess: float = 0.995,
    warmup: int = 50,
    most: int = 2000,
    precondition: Precondition = "keep",
    track: Track = untracked,
    name: str = "forward",
) -> Schedule:
    """Find an annealing schedule by a pilot run, on n samples that are then discarded.

    Each next inverse temperature beta is found by bisection so that the step leaves the fraction
    ``cess`` of the effective sample size, and the step size is adapted after each move by the
    kernel's method ``adapt``. On a path that is linear in beta, such as the geometric path, the
    bisection needs no further evaluations. On any other path the energy is evaluated at each
    trial, about six times for each beta; on the path from independent units to an RBM this costs
    no matrix product.

    Arguments:
        path: path that is annealed along, whose start has exact log Z and samples.
        kernel: kernel that moves the samples.
        rng: source of randomness.
        n: number of samples of the pilot run.
        cess: share of the effective sample size that one step leaves, in (0, 1).
        warmup: number of moves at beta = 0 before annealing, to find the step size there.
        most: largest number of steps.
        precondition: "keep" the kernel's preconditioner, or learn a "diagonal" or a "full" one
            from the covariance of the samples every few steps; to learn a full one costs O(d^3)
            time, and d^2 numbers are kept each time.
        track: function that shows progress, called as ``track(sequence, f"{name}: pilot")``.
        name: name of the annealing run in the progress display.

    Returns:
        The schedule: betas from 0 to 1, and a kernel for each.

    Raises:
        ValueError: cess or precondition is out of range.
        TooFarError: beta = 1 is not reached in ``most`` steps.

    >>> import torch, noneq
    >>> rng, target = torch.Generator().manual_seed(0), noneq.testing.banana()
    >>> base = noneq.Gaussian(torch.zeros(2), noneq.energies.Identity(1.6))
    >>> path = noneq.energies.GeometricPath(base, target.energy)
    >>> schedule = noneq.pilot(path, noneq.MALA(0.3), rng)
    >>> schedule.betas[0], schedule.betas[-1]
    (0.0, 1.0)
    """
    if not 0 < cess < 1:
        raise ValueError(f"cess is a fraction in (0, 1), got {cess}")
    if precondition not in get_args(Precondition):
        raise ValueError(f"precondition is one of {get_args(Precondition)}, got {precondition!r}")
    base = _start(path)
    walkers = Walkers.sample(base, n, rng, islands=1)
    shape = _Shape(precondition, max(1, round(-0.05 / math.log(cess))))
    kernel = shape.given(kernel, walkers)
    for _ in range(warmup):
        walkers = walkers.move(kernel, base, rng)
        kernel = shape.given(kernel.adapt(walkers.info), walkers)
    walkers = walkers.reweight(path.at(0.0))
    betas, kernels = [0.0], [kernel]
    progress = iter(track(range(100), f"{name}: pilot"))
    shown = 0
    while betas[-1] < 1:
        if len(betas) > most:
            raise TooFarError(
                f"{most} temperatures reached only beta = {betas[-1]:.3g}: the model is too far "
                "from its base; fit a closer base, or take a better kernel"
            )
        betas.append(_next_beta(path, walkers, betas, cess, kernel, rng))
        walkers = anneal([(path.at(betas[-1]), kernel)], walkers, rng, ess_min=0.5)
        kernel = shape.given(kernel.adapt(walkers.info), walkers)
        kernels.append(kernel)
        ahead = int(101 * betas[-1] ** 0.25)  # the first steps are the shortest
        for _ in zip(range(ahead - shown), progress, strict=False):
            shown += 1
    return Schedule(tuple(betas), tuple(kernels))


def adapt_steps(
    path: Path, schedule: Schedule, rng: torch.Generator, *, n: int = 128, warmup: int = 20
) -> Schedule:
    """Adapt the step sizes of a schedule by annealing n samples, which are then discarded.

    The inverse temperatures (betas) stay as they are; `pilot` finds betas, too.

    Arguments:
        path: path that is annealed along, whose start has exact log Z and samples.
        schedule: schedule whose betas are kept, and whose last kernel is adapted at every beta.
        rng: source of randomness.
        n: number of samples that are annealed.
        warmup: number of moves at beta = 0 before annealing, to find the step size there.

    Returns:
        A schedule with the same betas and a kernel of adapted step size for each.
    """
    kernel, models = schedule.kernels[-1], [path.at(beta) for beta in schedule.betas]
    walkers = Walkers.sample(_start(path), n, rng, islands=1).reweight(models[0])
    kernels = []
    for model in [models[0]] * warmup + models:
        walkers = anneal([(model, kernel)], walkers, rng, ess_min=0.5)
        kernel = kernel.adapt(walkers.info)
        kernels.append(kernel)
    return Schedule(schedule.betas, tuple(kernels[warmup:]))


@dataclass
class _Shape:
    """Precondition kernels by the walkers' covariance, anew every few temperatures."""

    kind: Precondition
    every: int
    learned: Learned | None = None
    calls: int = 0

    def given(self, kernel: Kernel, walkers: Walkers) -> Kernel:
        if self.kind == "keep":
            return kernel
        self.calls += 1
        if (self.calls - 1) % self.every:
            return kernel
        x, p = walkers.x, walkers.p
        if self.learned is None:
            self.learned = Learned.at(x, p, full=self.kind == "full")
        else:
            self.learned = self.learned.follow(x, p)
        return kernel.preconditioned(self.learned.factor(x.dtype))


def _next_beta(
    path: Path,
    walkers: Walkers,
    betas: Sequence[float],
    cess: float,
    kernel: Kernel,
    rng: torch.Generator,
) -> float:
    beta, noise = betas[-1], rng.get_state()
    derivative = None
    if getattr(path, "linear", False):  # one derivative gives the weights at any beta
        derivative = d_beta(path.at(beta), walkers.x, walkers.state.cache)
    if derivative is not None:
        change = -derivative.double()

        def to_there(to: float) -> float:
            return float(walkers.weights.conditional_ess((to - beta) * change))

        return _bisect(beta, to_there, cess)

    def left(to: float) -> float:
        if transports(kernel):  # it is the move that costs
            rng.set_state(noise)
            tried = walkers.move(kernel, path.at(to), rng)
        else:
            tried = walkers.reweight(path.at(to))
        return float(walkers.weights.conditional_ess(tried.log_w - walkers.log_w))

    # not from 1 downwards: the end of a path may resemble its start although the way is long
    reach = 2 * (beta - betas[-2]) if len(betas) > 1 else 1 / 64
    return _bisect(beta, left, cess, reach=reach, halvings=5)


def _bisect(
    beta: float,
    left: Callable[[float], float],
    cess: float,
    *,
    reach: float = 1.0,
    halvings: int = 40,
) -> float:
    """Find the largest beta with ``left(beta) >= cess``, or a little less.

    The first trial is ``reach`` further, doubled as long as that is not far enough.
    """
    low, high = beta, min(1.0, beta + reach)
    while left(high) >= cess:
        if high == 1.0:
            return 1.0
        low, high = high, min(1.0, beta + 2 * (high - beta))
    for k in range(40):
        if k >= halvings and low > beta:
            break
        middle = (low + high) / 2
        low, high = (middle, high) if left(middle) >= cess else (low, middle)
    # a hard wall costs its share at any step, however small
    return min(1.0, max(low, beta + 1e-6))
