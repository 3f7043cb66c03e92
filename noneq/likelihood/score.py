r"""Normalised likelihoods of data, by a bracketed log Z or a known one."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from noneq.energies import Energy, Solvable, fingerprint
from noneq.energies.checks import check_states
from noneq.likelihood.estimate import NLL, Estimate
from noneq.likelihood.support import off_support_mass
from noneq.numerics import full_precision
from noneq.random import add_noise
from noneq.walkers import LogZ, Walkers

__all__ = [
    "energy_of",
    "exact_log_z",
    "grouped_stderr",
    "known_log_z",
    "mean_energy",
    "nll",
    "noise_draws",
]

PROBES = 64  # walkers at which a log Z knows its energy again


def exact_log_z(
    energy: Solvable, data: Tensor | None = None, *, n: int = 1024, rng: torch.Generator
) -> Estimate:
    """What `log_z` comes to for an energy that knows its own log Z and samples: no bracket.

    Arguments:
        energy: e.g. a machine of at most 20 hidden units.
        data: rows (M, *shape) that the model is meant for.
        n: samples.
        rng: their source.

    Raises what ``energy.log_z()`` raises: ValueError of a machine with too many states.
    """
    side = LogZ(energy.log_z(), 0.0)
    islands = 8 if n % 8 == 0 else 1  # for the error of what is asked of them
    walkers = Walkers.at(energy.sample(n, rng), energy, log_z=side.value, islands=islands)
    away = None if data is None else off_support_mass(walkers, data, rng)
    mark = fingerprint(energy)
    return Estimate(side, side, (), 1.0, float(n), None, walkers, mark, away)


def known_log_z(
    energy: Energy,
    data: Tensor | None = None,
    *,
    n: int = 1024,
    rng: torch.Generator,
    most: float = 2**20,
) -> Estimate | None:
    """`exact_log_z` where the energy has one that is worth its time, else None.

    Arguments:
        energy: anything. A machine's log Z is a sum over the ``states`` of its smaller layer.
        data: rows (M, *shape) that the model is meant for.
        n: samples.
        rng: their source.
        most: terms of a sum that are worth it: a bracket of the default size evaluates the energy
            three million times.
    """
    if not isinstance(energy, Solvable) or getattr(energy, "states", 0) > most * (1 + 1e-9):
        return None
    if not all(callable(getattr(energy, name)) for name in ("log_z", "sample")):
        return None
    try:
        return exact_log_z(energy, data, n=n, rng=rng)
    except ValueError:  # as a sum too large to be taken is
        return None


def nll(
    energy: Energy,
    data: Tensor,
    z: Estimate,
    *,
    noise: float = 0.0,
    draws: int = 20,
    rng: torch.Generator | None = None,
) -> NLL:
    """Mean negative log-likelihood of data, ``mean U(x) + log Z``, in nats per row.

    Arguments:
        energy: the model that ``z`` belongs to.
        data: rows (M, *shape).
        z: its `log_z`; the larger side is used.
        noise: standard deviation of Gaussian noise that the model's data had added; the mean is
            then taken over ``draws`` draws of it.
        draws: noise draws.
        rng: source of the noise; default seed 0.

    Equal rows count as one for the standard error of the mean: copies tell nothing new.

    Raises ValueError for a log Z of other parameters or of another energy, which is asked again at
    walkers that ``z`` holds, and for rows that are none of the states of a discrete energy.
    """
    check_states(energy, data, noise=noise)
    _check_owner(energy, z)
    u = mean_energy(energy, data, noise=noise, draws=draws, rng=rng)
    return NLL(float(u.mean()) + z.value, z.stderr, grouped_stderr(u, data), z.bracketed)


def _check_owner(energy: Energy, z: Estimate) -> None:
    """Raise ValueError unless the log Z is that of this energy, as it is now."""
    x, u = z.walkers.x[:PROBES], z.walkers.state.u[:PROBES].double()
    before, again, mark = fingerprint(energy), energy_of(energy, x), fingerprint(energy)
    apart = torch.where(u == again, 0.0, (u - again).abs()).nan_to_num(math.inf, math.inf)
    if bool((apart > 1e-4 * (1 + u.abs().nan_to_num(0.0, 0.0, 0.0))).any()):
        raise ValueError(
            "this log Z belongs to other parameters or to another energy (at its walkers the two "
            f"differ by up to {float(apart.max()):.3g}): estimate it again"
        )
    if mark is None or z.mark is None or not bool(before == mark):
        return  # nothing is known, or an attribute changes at every call
    if not bool(mark == z.mark):
        raise ValueError(
            "this log Z belongs to other parameters: estimate it again (averaged parameters are "
            "a model of their own)"
        )


def grouped_stderr(values: Tensor, rows: Tensor) -> float:
    """Standard error of the mean of values (M,), where equal rows (M, *shape) are one draw.

    Of G groups of ``m_g`` equal rows, ``sqrt(G / (G - 1) sum_g (m_g (mean_g - mean))^2) / M``, the
    usual one where no two rows are equal; NaN for one group.
    """
    _, group = torch.unique(rows.flatten(1), dim=0, return_inverse=True)
    apart = values.double() - values.double().mean()
    sums = apart.new_zeros(int(group.max()) + 1).index_add_(0, group, apart)
    g = len(sums)
    return math.sqrt(g / (g - 1) * float(sums.square().sum())) / len(rows) if g > 1 else math.nan


def mean_energy(
    energy: Energy,
    data: Tensor,
    *,
    noise: float = 0.0,
    draws: int | None = None,
    rng: torch.Generator | None = None,
) -> Tensor:
    """U of every row (M,) in float64, the mean over draws of the noise, as in `nll`.

    The same draws for every energy, unless ``rng`` says otherwise: differences are paired. By
    default `noise_draws` of them.
    """
    rng = rng or torch.Generator(data.device).manual_seed(0)
    u = torch.zeros(len(data), dtype=torch.float64, device=data.device)
    rounds = (draws or noise_draws(len(data))) if noise > 0 else 1
    for _ in range(rounds):
        u += energy_of(energy, add_noise(data, noise, rng)) / rounds
    return u


def noise_draws(rows: int) -> int:
    """20, fewer where the rows are so many that they average the noise out."""
    return max(1, min(20, 40_000 // rows))


@full_precision()
@torch.no_grad()
def energy_of(energy: Energy, x: Tensor, *, batch: int = 4096) -> Tensor:
    """U at the rows of x, (M,) in float64, a batch at a time."""
    with torch.autocast(x.device.type, enabled=False):
        return torch.cat([energy(x[i : i + batch]).double() for i in range(0, len(x), batch)])
