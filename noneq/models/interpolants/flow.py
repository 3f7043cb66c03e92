"""The likelihood of rows by the probability flow: the ODE ``dx/dt = b(x, t)`` of a path's drift.

The ODE carries the base's density rho_0 at t = 0 to a density rho_1 at t = 1. Along its solution
that ends at the row ``x = x_1``,

    ``log rho_1(x) = log rho_0(x_0) - integral over t from 0 to 1 of div b(x_t, t)``.

If b is the velocity field of a path of densities that follow U(x, t), then rho_1 is
``exp(-U(x, 1)) / Z_1``. If b was learned, rho_1 is the density of the samples that the ODE makes,
and differs from that of U by what was learned wrong. No log Z is needed. The drift of
`VariancePreserving` is bounded near t = 1: if the base's mean is not 0, rho_1 is not quite that of
the exact drift (0.04 nat in a test). Sources: Chen and others
2018 (arXiv 1806.07366); Grathwohl and others 2018 (arXiv 1810.01367), for the estimated trace;
Song and others 2020 (arXiv 2011.13456), for the name.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from noneq.likelihood.score import grouped_stderr
from noneq.models.interpolants.path import DriftedPath
from noneq.numerics import full_precision
from noneq.spaces import Real

__all__ = ["FlowLikelihood", "flow_likelihood"]

EXACT = 100  # numbers in a row up to which the divergence is exact by default
PROBES = 10  # random vectors for the divergence of longer rows


@dataclass(frozen=True)
class FlowLikelihood:
    """Holds log-densities of rows by the probability flow, in nats and float64, with their errors.

    Attributes:
        log_density: log-densities ``log rho_1(x)`` (M,) of the rows.
        change: changes (M,) of the log-densities when the number of time steps was doubled, from
            half as many. They are about 15 times the errors of the log-densities by the finite
            number of steps if these are small, and more than these errors, as a rule, if not.
        trace_stderr: standard errors (M,) of the log-densities by the random vectors that estimate
            the divergence; 0 if the divergence is exact, NaN if there was one vector only.
        stderr: standard error of the mean log-density, due to the finite number of rows; equal
            rows count as one observation. It includes the error by the random vectors.
    """

    log_density: Tensor
    change: Tensor
    trace_stderr: Tensor
    stderr: float

    @property
    def nll(self) -> float:
        """The mean negative log-likelihood of the rows, in nats per row."""
        return -float(self.log_density.mean())

    @property
    def error(self) -> float:
        """The change, 0 or more, of the mean log-density when the time steps were doubled.

        It is a cautious estimate of the error by the finite number of steps.
        """
        return abs(float(self.change.mean()))

    def __str__(self) -> str:
        return f"{self.nll:.2f} nats ± {self.error:.2g} (time steps) ± {self.stderr:.2f} (rows)"


@full_precision()
def flow_likelihood(
    path: DriftedPath,
    x: Tensor,
    *,
    steps: int = 64,
    probes: int | None = None,
    batch: int = 1024,
    rng: torch.Generator | None = None,
) -> FlowLikelihood:
    """Compute the log-densities of rows by the probability flow, the ODE of a path's drift.

    The ODE ``dx/dt = b(x, t)`` is solved backward from each row at t = 1 to the base at t = 0, by
    the classical Runge-Kutta method of order 4 with ``steps`` steps of equal length, and the
    divergence of b is integrated along the solution by Simpson's rule. All is done again with half
    as many steps. Errors fall with the fourth power of the step, so that the two log-densities
    differ by 15 times the error of the finer one, if that is small.

    The cost is ``6 steps`` evaluations of the drift, and about ``1.5 steps`` divergences, each of
    which is an evaluation with d backward passes for rows of d numbers, or one for each random
    vector. With random vectors v, whose entries are 1 or -1 (Hutchinson 1989), the divergence is
    the mean of ``v . (db/dx) v``. Each row has its own vectors, which are the same at all times,
    and the log-density is unbiased.

    Arguments:
        path: path with a drift (velocity field), e.g. an `EnergyPath`, `VelocityPath` or
            `MixturePath`.
        x: rows (M, *shape) at t = 1. If a model was trained with noise added to its data, add it
            to the rows, too: `noneq.random.add_noise`.
        steps: number of time steps, a multiple of 4.
        probes: number of random vectors for each divergence; 0: it is exact. Default: 0 for rows
            of at most 100 numbers, 10 for longer ones.
        batch: number of rows that are carried together, which bounds the memory.
        rng: source of the random vectors, on the device of x; default: a generator with seed 0.

    Returns:
        The log-densities of all rows, and their errors, as `FlowLikelihood`.

    Raises:
        ValueError: an argument is out of its range, or the path's positions are not those of R^n.
        FloatingPointError: the solution from a row is not finite.

    >>> import noneq, torch
    >>> from noneq.models.interpolants import MixturePath, Trigonometric, flow_likelihood
    >>> base, end = (noneq.Gaussian(torch.zeros(2), noneq.energies.Identity(s)) for s in (1, 0.5))
    >>> rows = end.sample(200, torch.Generator().manual_seed(0))
    >>> found = flow_likelihood(MixturePath(Trigonometric(), base, end), rows)
    >>> exact = -end(rows) - end.log_z()
    >>> bool((found.log_density - exact).abs().max() < 1e-4)
    True
    """
    if steps < 4 or steps % 4:
        raise ValueError(f"`steps` must be a positive multiple of 4, got {steps}")
    if batch < 1:
        raise ValueError(f"`batch` must be 1 or more, got {batch}")
    if not len(x):
        raise ValueError("there are no rows, of which a likelihood could be computed")
    size = math.prod(x.shape[1:])
    probes = (0 if size <= EXACT else PROBES) if probes is None else probes
    if probes < 0:
        raise ValueError(f"`probes` must be 0 or more, got {probes}")
    if not isinstance(path.space, Real):
        raise ValueError(
            f"the ODE carries rows of R^n, and this path's positions are {path.space}"
        )
    rng = rng or torch.Generator(x.device).manual_seed(0)
    x, found = x.detach(), []
    for rows in torch.split(x, batch):
        vectors = _signs(rows, probes, rng) if probes else None
        fine, coarse = (_log_density(path, rows, n, vectors) for n in (steps, steps // 2))
        found.append((fine.mean(0), (fine - coarse).mean(0), _stderr(fine, probes)))
    density, change, trace = (torch.cat(part) for part in zip(*found, strict=True))
    if not bool(density.isfinite().all()):
        raise FloatingPointError(
            f"the ODE of the velocity field leads {int((~density.isfinite()).sum())} of {len(x)} "
            "rows to positions or densities that are not finite: are they rows of this model, in "
            "its units? If so, take more `steps`"
        )
    return FlowLikelihood(density, change, trace, grouped_stderr(density, x))


def _log_density(path: DriftedPath, x: Tensor, steps: int, vectors: Tensor | None) -> Tensor:
    """Compute log-densities (K, B) of rows (B, *shape) for each of K vectors (K, B, *shape)."""
    with torch.autocast(x.device.type, enabled=False), torch.no_grad():
        integral: Tensor | float = 0.0
        for k in range(steps, -1, -1):
            # Simpson's rule: 1, 4, 2, ..., 2, 4, 1 thirds of a step
            weight = (1 if k in (0, steps) else 4 if k % 2 else 2) / (3 * steps)
            integral = integral + weight * _divergence(path, x, k / steps, vectors)
            if k:
                x = _step(path, x, k / steps, (k - 1) / steps)
        return -path.base(x).double() - path.base.log_z() - integral


def _step(path: DriftedPath, x: Tensor, t: float, end: float) -> Tensor:
    """Make one step of the classical Runge-Kutta method, from time t to time ``end``."""
    h, middle = end - t, (t + end) / 2
    first = path.drift(x, t)
    second = path.drift(x + h / 2 * first, middle)
    third = path.drift(x + h / 2 * second, middle)
    last = path.drift(x + h * third, end)
    return (x + h / 6 * (first + 2 * second + 2 * third + last)).detach()


def _divergence(path: DriftedPath, x: Tensor, t: float, vectors: Tensor | None) -> Tensor:
    """Compute ``div b`` (1, B), or its estimate by each of K vectors (K, B), in float64."""
    with torch.enable_grad():
        leaf = x.detach().requires_grad_(True)
        b = path.drift(leaf, t)
        if vectors is not None:
            return torch.stack(
                [(v * _pulled(b, leaf, v)).flatten(1).double().sum(1) for v in vectors]
            )
        total = torch.zeros(1, len(x), dtype=torch.float64, device=x.device)
        for i, column in enumerate(b.flatten(1).unbind(1)):
            total += _pulled(column, leaf, torch.ones_like(column)).flatten(1)[:, i]
        return total


def _pulled(b: Tensor, x: Tensor, v: Tensor) -> Tensor:
    """Return the product of v with the derivatives of b with respect to x, as autograd does."""
    if not b.requires_grad:
        return torch.zeros_like(x)
    return torch.autograd.grad(b, x, v, retain_graph=True, materialize_grads=True)[0]


def _signs(x: Tensor, probes: int, rng: torch.Generator) -> Tensor:
    """Draw vectors (probes, B, *shape) of entries 1 and -1, each with probability 1/2."""
    u = torch.rand((probes, *x.shape), generator=rng, dtype=x.dtype, device=x.device)
    return torch.where(u < 0.5, 1.0, -1.0).to(x)


def _stderr(densities: Tensor, probes: int) -> Tensor:
    """Compute standard errors (B,) of the means over the vectors' log-densities (K, B)."""
    if not probes:
        return torch.zeros_like(densities[0])
    return densities.std(0) / math.sqrt(probes) if probes > 1 else densities[0] * math.nan
