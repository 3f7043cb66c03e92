r"""Normalised likelihoods: log Z bracketed from both sides, and what it says of data.

Forward annealing (exact start at the base, frozen schedule) gives a log Z that is too low on
average; backward annealing, from samples of the model down to the base, one that is too high. Each
side checks the other: Grosse, Ghahramani, Adams 2015 (bidirectional Monte Carlo). Exact samples of
the model are not to be had, so backward chains start half from the data and half from resampled
forward walkers, all equilibrated under the model, and alarms ring where that was not enough. The
result is *bracketed*, not certified: a mode that neither the base nor the data reach is invisible.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from noneq.alarms import alarms
from noneq.checks import check_energy, check_states
from noneq.data import add_noise, check_rows
from noneq.energies import Energy, Solvable, fingerprint, full_precision
from noneq.estimate import NLL, Estimate
from noneq.gaussians import Gaussian
from noneq.independent import Bernoulli, Categorical
from noneq.kernels import Kernel
from noneq.paths import path_to
from noneq.schedules import Schedule
from noneq.smc import TooFarError, Track, anneal, population, untracked, with_progress
from noneq.spaces import ONE_HOT, Discrete, Real, space_of
from noneq.support import mass_away
from noneq.tails import falling
from noneq.walkers import LogZ, Walkers

__all__ = [
    "energy_of",
    "exact_log_z",
    "grouped_stderr",
    "known_log_z",
    "log_z",
    "mean_energy",
    "nll",
    "noise_draws",
]

PROBES = 64  # walkers at which a log Z knows its energy again


@full_precision()
def log_z(
    energy: Energy,
    base: Solvable | None = None,
    data: Tensor | None = None,
    *,
    n: int = 1024,
    temperatures: int | Schedule = 1000,
    equilibrate: int | None = None,
    noise: float = 0.0,
    kernel: Kernel | None = None,
    rng: torch.Generator | None = None,
    track: Track = untracked,
) -> Estimate:
    """Bracket ``log of the integral of exp(-U)`` by annealing from both sides.

    Arguments:
        energy: U, any callable ``(B, *shape) -> (B,)``.
        base: solvable start of the path; default: the energy's own ``base``, else a Gaussian
            fitted to the data and their noise (independent sites, if the energy is discrete).
        data: rows (M, *shape) that the model is meant for; backward chains start from half of
            them. Without data a mode that the base does not reach cannot be noticed.
        n: walkers on each side, a multiple of 16 (8 islands, 2 halves).
        temperatures: steps of the path, shaped by a pilot run; or a schedule used as it is.
        equilibrate: moves under the model before the backward side starts; default: as many as
            temperatures. Data are no samples of the model: where it has learned them by heart they
            sit in modes of their own, and the sides cross.
        noise: standard deviation of Gaussian noise that the model's data had added.
        kernel: one move, whose step the pilot adapts; default as in `noneq.population`.
        rng: source of randomness on the base's device; default seed 0.
        track: shows progress: ``rich.progress.track``, tqdm or any other wrapper of iterables,
            called as ``track(sequence, description)`` for the phases "forward", "equilibrating"
            and "backward".

    Raises:
        ValueError: neither base nor data; an energy that is none (`noneq.checks.check_energy`);
            walkers that an infinite Z (`noneq.tails.falling`) carries away for good. Where they
            stay, an infinite Z is the first alarm.
        TooFarError: the pilot does not arrive at the model.
        FloatingPointError: the energy is NaN or -inf where walkers are.
    """
    if n < 16 or n % 16:
        raise ValueError(f"n walkers are 8 islands in 2 halves: a multiple of 16, got {n}")
    if isinstance(temperatures, Schedule):
        _ = temperatures.turns  # which refuses a schedule that has no way back
    elif temperatures < 1:
        raise ValueError(f"temperatures must be 1 or more, got {temperatures}")
    if data is not None:
        check_states(energy, data, noise=noise)
    base = _base(energy, base, data, noise)
    rng = rng or torch.Generator(_device(base, data)).manual_seed(0)
    if data is not None:
        data = add_noise(data, noise, rng)
    probe = base.sample(16, rng) if data is None else data[:16]
    check_energy(energy, probe)
    infinite = falling(energy, probe) if isinstance(space_of(energy), Real) else None
    path = path_to(energy, base)
    end = path.at(1.0)
    try:
        forward, schedule = population(path, n, temperatures, rng=rng, kernel=kernel, track=track)
        moves = len(schedule) if equilibrate is None else equilibrate
        resting = _resting(schedule, moves)
        backward = Walkers.at(_starts(forward, data, rng), end, log_z=0.0, islands=forward.islands)
        for _ in track(range(moves), "equilibrating"):
            backward = backward.move(resting, end, rng)
        equilibrium = backward.state.u
        models = with_progress(track, "backward", schedule.turns, schedule.backward(path))
        backward = anneal(models, backward, rng)
        ratio = backward.log_z  # of the base's Z to the model's
        reach = _reach(energy, base, n, rng)
        upper = LogZ(
            base.log_z() + reach.value - ratio.value, math.hypot(ratio.stderr, reach.stderr)
        )
        lower = forward.log_z
    except (FloatingPointError, TooFarError) as error:
        if infinite is None:
            raise
        raise ValueError(infinite) from error
    remedy = getattr(energy, "remedy", "smaller tau")
    sides, halves = (lower, upper), data is not None
    rang = alarms(forward, backward, equilibrium, sides, halves=halves, remedy=remedy)
    return Estimate(
        lower,
        upper,
        tuple(([infinite] if infinite else []) + list(rang)),
        forward.ess,
        forward.survivors,
        schedule,
        forward,
        fingerprint(energy),
        None if data is None else mass_away(forward, data, rng),
    )


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
    walkers = Walkers.at(energy.sample(n, rng), energy, log_z=side.value)
    away = None if data is None else mass_away(walkers, data, rng)
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


def _resting(schedule: Schedule, moves: int) -> Kernel:
    """What moves under the model; ValueError where moves are asked for and nothing does."""
    resting = schedule.resting
    if resting is None and moves:
        raise ValueError(
            "the schedule's kernels only lead from time to time, so that nothing equilibrates the "
            "backward side: give noneq.Chain((kernel, noneq.MALA(h))) a move at each time, or, if "
            "the data are exact samples of the model, equilibrate=0"
        )
    return resting or schedule.kernels[-1]


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
    check_rows(data)
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


def _base(energy: Energy, base: Solvable | None, data: Tensor | None, noise: float) -> Solvable:
    own = getattr(energy, "base", None)
    if base is None and isinstance(own, Solvable):  # other libraries' may be anything
        base = own
    if base is None:
        if data is None:
            raise ValueError("log_z needs a base with known log Z, or data to fit one to")
        space = space_of(energy)
        if isinstance(space, Discrete):
            return (Categorical if space == ONE_HOT else Bernoulli).fit(data)
        return Gaussian.fit(data, noise=noise)
    if not isinstance(base, Solvable):
        raise ValueError(
            f"the base, a {type(base).__name__}, must have sample(n, rng) and log_z(), both exact"
        )
    if data is not None:
        shape = base.sample(1, torch.Generator(_device(base, data)).manual_seed(0)).shape[1:]
        if shape != data.shape[1:]:
            raise ValueError(
                f"the base has rows of shape {tuple(shape)}, the data {tuple(data.shape[1:])}: "
                "take a base made for them"
            )
    return base


def _reach(energy: Energy, base: Solvable, n: int, rng: torch.Generator) -> LogZ:
    """Log of the base's mass where the energy is finite: the way back ends nowhere else."""
    finite, rounds = 0, 16
    for k in range(1, rounds + 1):
        finite += int((energy_of(energy, base.sample(n, rng)) < math.inf).sum())
        if finite == k * n:  # no wall, or none that matters
            return LogZ(0.0, 0.0)
    share = max(finite, 1) / (rounds * n)
    return LogZ(math.log(share), math.sqrt((1 - share) / (share * rounds * n)))


def _device(base: Solvable, data: Tensor | None) -> torch.device:
    if data is not None:
        return data.device
    buffers = list(base.buffers()) if isinstance(base, torch.nn.Module) else []
    return buffers[0].device if buffers else torch.device("cpu")


def _starts(forward: Walkers, data: Tensor | None, rng: torch.Generator) -> Tensor:
    """Half data, half forward walkers by weight: islands of either kind."""
    n = len(forward)
    # as one island: a mode that one of them found counts for what it weighs; their order stays
    arrived = replace(forward, islands=1).resample(1.0, rng).x
    if data is None:
        return arrived
    half = arrived[::2]
    rows = torch.rand(len(data), generator=rng, device=data.device).argsort()
    rows = rows.repeat(math.ceil(n / 2 / len(rows)))[: n // 2]
    return torch.cat([data[rows].to(arrived.dtype), half])
