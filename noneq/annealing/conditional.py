"""Samples of some coordinates of a model given the others, by annealing weighted walkers.

Of a row x the coordinates x_o are given and x_m are missing. Walkers (weighted samples) start at
exact samples of x_m given x_o under a base of Gaussians (`noneq.energies.Conditioned`) and are
annealed to ``exp(-U(x_o, x_m))``, where U is the model's energy, as a function of x_m alone. Their
mean weight gives the integral over x_m,

    ``log int exp(-U(x_o, x_m)) dx_m = log Z_0 + log p_0(x_o) + log mean_i w_i``,

with the base's Z_0 and density p_0, and this less log Z of the model is ``log p(x_o)``. Many rows
are annealed at once: the walkers of a row are neighbours, resampled among each other only.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from noneq.annealing.pilot import _bisect
from noneq.annealing.schedule import Schedule
from noneq.annealing.smc import TooFarError, Track, anneal, untracked
from noneq.energies import Conditioned, Energy, GeometricPath, Solvable, d_beta
from noneq.kernels import HMC
from noneq.numerics import PART, full_precision
from noneq.walkers import Walkers, reductions, systematic

__all__ = ["Completed", "complete", "conditional_schedule"]

GROUPS = 4  # of walkers of a row, resampled separately: their spread gives a standard error
CESS = 0.9  # share of the effective sample size that a step leaves to nine rows of ten
ROWS, EACH, WARMUP, MOST = 64, 32, 20, 500  # of the pilot: rows, walkers of each, moves, steps
LEAST = 16  # temperatures


@dataclass(frozen=True)
class Completed:
    """Rows whose missing coordinates are filled in by samples of a model, given the others.

    Attributes:
        x: completed rows (R, count, *shape), of equal weight; given coordinates are unchanged.
        log_z: ``log int exp(-U(x_o, x_m)) dx_m`` (R,), float64, in nats; less the model's log Z it
            is ``log p(x_o)``, the log-density of the given coordinates.
        stderr: standard errors of ``log_z`` (R,).
        ess: effective sample sizes (R,) of the walkers of each row, as fractions in (0, 1].
        effective_ancestors: effective numbers (R,) of the walkers at the start of annealing, from
            which the walkers of a row descend, as fractions in (0, 1]; at most about ``ess``.
    """

    x: Tensor
    log_z: Tensor
    stderr: Tensor
    ess: Tensor
    effective_ancestors: Tensor


@full_precision()
def complete(
    energy: Energy,
    base: Solvable,
    x: Tensor,
    count: int = 1,
    *,
    rng: torch.Generator,
    n: int = 64,
    schedule: Schedule | None = None,
    track: Track = untracked,
) -> Completed:
    """Fill in the missing coordinates of rows by samples of a model, given the other coordinates.

    Arguments:
        energy: energy U of the model, a function of rows of real numbers.
        base: Gaussian, or mixture of Gaussians, near the model; e.g. the one that its training
            started from.
        x: rows (R, *shape), with NaN where a coordinate is missing.
        count: number of samples of each row.
        rng: source of randomness.
        n: number of walkers (weighted samples) of each row, a multiple of 4; at least ``count`` of
            them are annealed.
        schedule: annealing schedule; None: that of a pilot run, `conditional_schedule`.
        track: function ``(steps, label) -> steps`` that displays the progress of a loop.

    Returns:
        The completed rows, with the log-density of what was given, as `Completed`.

    Raises:
        ValueError: the base is not made of Gaussians, or a number is out of range.
        TooFarError: the pilot run does not reach the model.
        FloatingPointError: the energy is NaN or -inf at a walker.

    >>> import noneq
    >>> rng, mean = torch.Generator().manual_seed(0), torch.tensor([1.0, -1.0])
    >>> base = noneq.Gaussian(torch.zeros(2), noneq.energies.Identity(2.0))
    >>> model = noneq.Gaussian(mean, noneq.energies.Identity())
    >>> found = complete(model, base, torch.tensor([[1.0, math.nan]] * 50), rng=rng)
    >>> bool((found.x[:, 0, 0] == 1).all()), abs(float(found.x[:, 0, 1].mean()) + 1) < 0.6
    (True, True)
    >>> abs(float(found.log_z.mean()) - math.log(2 * math.pi) / 2) < 0.1  # of a normal variable
    True
    """
    if count < 1:
        raise ValueError(f"one sample of a row or more, not {count}")
    n = GROUPS * max(2, -(-max(n, count) // GROUPS))
    flat = x.flatten(1)
    if schedule is None:
        schedule = conditional_schedule(energy, base, x, rng)
    path, parts = GeometricPath(base, energy), list(_parts(base, flat, n))
    steps, found = iter(track(range(len(parts) * len(schedule)), "missing values")), []
    for at in parts:
        given = Conditioned(base, x[at])
        walkers = _start(given, base, n, rng)
        factor = given.factor()
        pairs = zip(schedule.forward(path), steps, strict=False)
        models = ((model, kernel.preconditioned(factor)) for (model, kernel), _ in pairs)
        found.append(_taken(anneal(models, walkers, rng), given, base, count, rng))
    next(steps, None)  # so that the bar is closed
    return Completed(*(torch.cat(part) for part in zip(*found, strict=True)))


def conditional_schedule(
    energy: Energy, base: Solvable, x: Tensor, rng: torch.Generator
) -> Schedule:
    """Find temperatures and step sizes for `complete`, by a pilot run that is then discarded.

    Each step leaves 0.9 of the effective sample size or more to nine rows of ten.

    Arguments:
        energy: energy U of the model.
        base: Gaussian, or mixture of Gaussians.
        x: rows (R, *shape) with NaN where a coordinate is missing, of which 64 are used at most.
        rng: source of randomness.

    Returns:
        The schedule, of twice as many temperatures as the pilot run took and of 16 or more.

    Raises:
        TooFarError: the pilot run does not reach the model in 500 steps.
    """
    chosen = torch.randperm(len(x), generator=rng, device=x.device)[:ROWS]
    given, path = Conditioned(base, x[chosen]), GeometricPath(base, energy)
    walkers = _start(given, base, EACH, rng)
    missing = max(1, int(given.missing.sum(1).max()))
    kernel = HMC.obabo(0.5 * missing ** (-1 / 3), given.factor(), adjusted=True)
    for _ in range(WARMUP):
        walkers = walkers.move(kernel, path.at(0.0), rng)
        kernel = kernel.adapt(walkers.info)
    betas, kernels = [0.0], [kernel]
    while betas[-1] < 1:
        if len(betas) > MOST:
            raise TooFarError(
                f"{MOST} temperatures reached only beta = {betas[-1]:.3g} of the conditional "
                "distributions: the model is too far from its base"
            )
        model = path.at(betas[-1])
        walkers = walkers.reweight(model)
        change = d_beta(model, walkers.x, walkers.state.cache)
        assert change is not None  # a geometric path is linear
        log_w, slope = (t.double().view(len(chosen), -1) for t in (walkers.log_w, -change))
        beta = betas[-1]

        def left(to: float) -> float:
            cess = reductions.conditional_ess(log_w, (to - beta) * slope)  # noqa: B023
            return float(cess.quantile(0.1))

        betas.append(_bisect(beta, left, CESS))
        walkers = anneal([(path.at(betas[-1]), kernel)], walkers, rng, ess_min=0.5)
        kernel = kernel.adapt(walkers.info)
        kernels.append(kernel)
    found = Schedule(tuple(betas), tuple(kernels))
    return found.resized(max(LEAST, 2 * len(found)))


def _start(given: Conditioned, base: Solvable, n: int, rng: torch.Generator) -> Walkers:
    """Draw n walkers for each row, weighted for the base; log Z is the change since the start."""
    x = given.sample(n, rng).flatten(0, 1)
    return Walkers.at(x, base, log_z=0.0, islands=GROUPS * len(given.x))


def _parts(base: Solvable, x: Tensor, n: int) -> Iterator[slice]:
    """Cut rows into parts whose walkers are moved by one call of a kernel, and fit into memory."""
    d = x.shape[1]
    components = len(getattr(base, "means", (None,)))
    size = max(1, min(PART // (n * d), 2 * PART // (components * d * d)))
    for i in range(0, len(x), size):
        yield slice(i, min(i + size, len(x)))


def _taken(
    walkers: Walkers, given: Conditioned, base: Solvable, count: int, rng: torch.Generator
) -> tuple[Tensor, ...]:
    """Draw samples of every row by weight, and compute the other fields of `Completed`."""
    walkers.weights.check()
    log_w = walkers.log_w.view(len(given.x), -1)
    by_group = walkers.weights.log_mean_by_island.view(len(given.x), GROUPS)
    few = math.sqrt((GROUPS - 1) / (GROUPS - 3))
    p = reductions.normalise(log_w)
    index = systematic(p, rng, count)
    shuffled = torch.rand(index.shape, generator=rng, device=index.device).argsort(1)
    index = index.gather(1, shuffled)
    x = walkers.x.view(*log_w.shape, *walkers.x.shape[1:])
    rows = torch.arange(len(x), device=index.device)[:, None]
    log_z = base.log_z() + given.log_density + reductions.log_mean_exp(log_w)
    mass = p.new_zeros(p.numel()).index_add(0, walkers.weights.ancestors, p.flatten())
    ancestors = 1 / (p.shape[1] * mass.view_as(p).square().sum(1))
    stderr = few * reductions.jackknife(by_group)
    return x[rows, index], log_z, stderr, reductions.ess(log_w), ancestors
