"""Normalised likelihoods of data, from a bracketed or an exact log Z.

`nll` is the mean negative log-likelihood with its errors. `exact_log_z` and `known_log_z` ask an
energy for its own log Z; the other functions compute mean energies and their standard errors. A
bracketed log Z is one that `noneq.log_z` estimates from below and from above.
"""

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
from noneq.spaces import context_size
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

PROBES = 64  # walkers at which the energy is compared with the one that log Z was estimated for


def exact_log_z(
    energy: Solvable, data: Tensor | None = None, *, n: int = 1024, rng: torch.Generator
) -> Estimate:
    """Compute the exact log Z of an energy that has a method for it, as an `Estimate`.

    Arguments:
        energy: energy with exact methods ``log_z()`` and ``sample(n, rng)``, e.g. a Gaussian, or
            an RBM of at most 20 hidden units.
        data: rows (M, *shape) that the model was trained on. With them the result also has the
            share of the model's probability in regions without data (``off_support_mass``).
        n: number of exact samples of the model that the result holds as walkers (samples with
            weights).
        rng: source of randomness of the samples.

    Returns:
        An estimate whose forward and backward values both are the exact log Z, with standard
        errors 0, no alarms, and the samples as walkers of equal weight.

    Raises:
        ValueError: ``energy.log_z()`` raises it, since there are too many states to sum over.
    """
    side = LogZ(energy.log_z(), 0.0)
    islands = 8 if n % 8 == 0 else 1  # for standard errors of means over the walkers
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
    """Compute the exact log Z of an energy, if it has a method for it that is cheap enough.

    Arguments:
        energy: any energy. Its attribute ``states``, if any, is the number of terms in the sum
            for log Z, e.g. over the states of the smaller layer of an RBM.
        data: rows (M, *shape) that the model was trained on, see `exact_log_z`; or None.
        n: number of exact samples of the model.
        rng: source of randomness of the samples.
        most: largest number of terms of the sum; estimating log Z by annealing evaluates the
            energy three million times by default.

    Returns:
        The estimate that `exact_log_z` returns; None if log Z is not known or too expensive.
    """
    if not isinstance(energy, Solvable) or getattr(energy, "states", 0) > most * (1 + 1e-9):
        return None
    if not all(callable(getattr(energy, name)) for name in ("log_z", "sample")):
        return None
    try:
        return exact_log_z(energy, data, n=n, rng=rng)
    except ValueError:  # the sum is too large
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
    """Compute the mean negative log-likelihood of data, ``mean U(x) + log Z``, in nats per row.

    For the standard error of ``mean U``, equal rows count as a single observation, since copies of
    a row are not independent.

    Arguments:
        energy: the model, a function ``(B, *shape) -> (B,)``.
        data: rows (M, *shape), for example of the test set.
        z: log Z of the model, from `noneq.log_z`; the larger of its two estimates is used.
        noise: standard deviation of Gaussian noise that was added to the model's training data.
            If it is above 0, noise is added to the rows here, too, and the mean is taken over
            ``draws`` draws of it.
        draws: number of draws of the noise for each row.
        rng: source of randomness of the noise; default: a generator with seed 0.

    Returns:
        The mean negative log-likelihood, with the standard errors of log Z and of ``mean U``.

    Raises:
        ValueError: ``z`` was estimated for another energy or for other parameters (the energy is
            evaluated again at samples that ``z`` holds), or the model is discrete and a row is
            not one of its states.

    >>> import noneq, torch
    >>> def energy(x):
    ...     return x.square().sum(1) / 2
    >>> rows = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
    >>> z = noneq.log_z(energy, data=rows, n=256, temperatures=50)
    >>> print(noneq.nll(energy, rows, z))
    2.90 nats ± 0.00 (log Z) ± 0.05 (rows)
    """
    check_states(energy, data, noise=noise)
    _check_owner(energy, z)
    u = mean_energy(energy, data, noise=noise, draws=draws, rng=rng)
    return NLL(float(u.mean()) + z.value, z.stderr, grouped_stderr(u, data), z.bracketed)


def _check_owner(energy: Energy, z: Estimate) -> None:
    """Raise ValueError unless ``z`` is the log Z of this energy with its present parameters."""
    x, u = z.walkers.x[:PROBES], z.walkers.state.u[:PROBES].double()
    before, again, mark = fingerprint(energy), energy_of(energy, x), fingerprint(energy)
    apart = torch.where(u == again, 0.0, (u - again).abs()).nan_to_num(math.inf, math.inf)
    if bool((apart > 1e-4 * (1 + u.abs().nan_to_num(0.0, 0.0, 0.0))).any()):
        raise ValueError(
            "this log Z belongs to other parameters or to another energy (at its walkers the two "
            f"differ by up to {float(apart.max()):.3g}): estimate it again"
        )
    if mark is None or z.mark is None or not bool(before == mark):
        return  # there is no fingerprint, or it changes at every call
    if not bool(mark == z.mark):
        raise ValueError(
            "this log Z belongs to other parameters: estimate it again (averaged parameters are "
            "a model of their own)"
        )


def grouped_stderr(values: Tensor, rows: Tensor) -> float:
    """Compute the standard error of a mean over rows, where equal rows count as one observation.

    With G groups of ``m_g`` equal rows among M it is
    ``sqrt(G / (G - 1) sum_g (m_g (mean_g - mean))^2) / M``, where mean_g is the mean over group g
    and mean that over all rows. It is the ordinary standard error if no two rows are equal.

    Arguments:
        values: values (M,), one for each row, whose mean is taken.
        rows: rows (M, *shape).

    Returns:
        The standard error; NaN if all rows are equal.
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
    """Compute the energy of every row, averaged over draws of Gaussian noise added to it.

    By default the noise is the same for every energy, so that energies of two models are compared
    under the same noise.

    Arguments:
        energy: energy U, any callable ``(B, *shape) -> (B,)``.
        data: rows (M, *shape).
        noise: standard deviation of the noise; 0: none is added.
        draws: number of draws of the noise for each row; default: `noise_draws`.
        rng: source of randomness of the noise; default: a generator with seed 0.

    Returns:
        The mean energy of each row (M,), in float64.
    """
    rng = rng or torch.Generator(data.device).manual_seed(0)
    u = torch.zeros(len(data), dtype=torch.float64, device=data.device)
    rounds = (draws or noise_draws(len(data))) if noise > 0 else 1
    for _ in range(rounds):
        noisy = add_noise(data, noise, rng, held=context_size(energy))
        u += energy_of(energy, noisy) / rounds
    return u


def noise_draws(rows: int) -> int:
    """Choose how many draws of noise to add to each row for a mean over noisy rows.

    Arguments:
        rows: number of rows.

    Returns:
        The number of draws for each row: 20 for up to 2,000 rows, fewer for more, since noise
        averages out over rows, too.
    """
    return max(1, min(20, 40_000 // rows))


@full_precision()
@torch.no_grad()
def energy_of(energy: Energy, x: Tensor, *, batch: int = 4096) -> Tensor:
    """Compute the energies of rows in batches, without gradients and in full precision.

    Arguments:
        energy: energy U, any callable ``(B, *shape) -> (B,)``.
        x: rows (M, *shape).
        batch: number of rows of a batch.

    Returns:
        Energies (M,) in float64.
    """
    with torch.autocast(x.device.type, enabled=False):
        return torch.cat([energy(x[i : i + batch]).double() for i in range(0, len(x), batch)])
