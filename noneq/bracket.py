r"""log Z bracketed from both sides, with alarms where that was not enough.

Forward annealing (exact start, frozen schedule) gives a log Z that is too low on average; backward
annealing, from samples of the model down to where the others started, one that is too high: each
side checks the other (Grosse, Ghahramani, Adams 2015, bidirectional Monte Carlo). Exact samples of
the model are not to be had, so backward chains start half from the data and half from resampled
forward walkers, all equilibrated under the model.

A start that does not reach a mode gives a log Z without its mass. So walkers are annealed from
the base, from the clusters of the equilibrated chains and from a wider base (`noneq.starts`); each
is a lower bound on average, the best of them is the forward side, and the way back leads to its
start. The result is *bracketed*, not certified: what neither data nor a start reach is invisible.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from noneq.alarms import alarms, stranded
from noneq.checks import check_energy, check_states, resolution, unsteady
from noneq.data import add_noise
from noneq.energies import Energy, Solvable, evaluate, fingerprint, full_precision
from noneq.estimate import Estimate
from noneq.gaussians import Gaussian, GaussianMixture
from noneq.independent import Bernoulli, Categorical
from noneq.kernels import Kernel
from noneq.likelihood import energy_of, known_log_z
from noneq.mixture import Mixture
from noneq.paths import Path, path_to
from noneq.schedules import Schedule
from noneq.smc import TooFarError, Track, anneal, population, untracked, with_progress
from noneq.spaces import ONE_HOT, Discrete, space_of
from noneq.starts import fitted_mixture, reweighted, wider
from noneq.support import mass_away
from noneq.tails import Tails, tails
from noneq.walkers import LogZ, Walkers

__all__ = ["log_z"]

MORE = 0.75  # of the temperatures, for annealing from another start
OFTEN = 1024  # calls that show an energy which is random once in a hundred
OVERHEAD = 1e-3  # seconds a move takes on a processor besides its evaluation
logger = logging.getLogger("noneq")


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
    extra_starts: bool = True,
) -> Estimate:
    """Bracket ``log of the integral of exp(-U)`` by annealing from both sides.

    An energy that knows its own log Z and samples (a small Boltzmann machine, a Gaussian) is asked
    for them instead (`noneq.likelihood.known_log_z`), unless a schedule is given. How long the
    bracket will take is logged by the logger "noneq" (``logging.basicConfig(level="INFO")``).

    Arguments:
        energy: U, any callable ``(B, *shape) -> (B,)``.
        base: solvable start of the path; default: the energy's own ``base``, else a Gaussian
            fitted to the data and their noise (independent sites, if the energy is discrete).
        data: rows (M, *shape) that the model is meant for; backward chains start from half of
            them. Without data a mode that no start reaches cannot be noticed.
        n: walkers on each side, a multiple of 16 (8 islands, 2 halves).
        temperatures: steps of the path, shaped by a pilot run; or a schedule used as it is.
        equilibrate: moves under the model before the backward side starts; default: as many as
            temperatures. Data are no samples of the model: where it has learned them by heart they
            sit in modes of their own, and the sides cross.
        noise: standard deviation of Gaussian noise that the model's data had added.
        kernel: one move, whose step the pilot adapts; default as in `noneq.population`.
        rng: source of randomness on the base's device; default seed 0.
        track: shows progress: ``rich.progress.track``, tqdm or any other wrapper of iterables,
            called as ``track(sequence, description)`` for each phase: "forward", "equilibrating",
            "forward from the clusters", "forward from far out" and "backward"; the pilot of a
            forward phase is called "forward: pilot" and so on.
        extra_starts: anneal from the clusters of the chains and from a wider base, too, with three
            quarters of the temperatures: half as many evaluations again. Without them modes that
            are rare in the data and heavy in the model go unseen.

    Raises:
        ValueError: neither base nor data; an energy that is none (`noneq.checks.check_energy`);
            walkers that an infinite Z (`noneq.tails`) carries away for good. Where they stay, an
            infinite Z is the first alarm.
        TooFarError: the pilot does not arrive at the model.
        FloatingPointError: the energy is NaN or -inf where walkers are.

    >>> import noneq
    >>> def banana(x):
    ...     return x[:, 0] ** 2 / 2 + (x[:, 1] - x[:, 0] ** 2) ** 2 / 2
    >>> base = noneq.Gaussian(torch.tensor([0.0, 1.0]), noneq.Identity(1.5))
    >>> z = noneq.log_z(banana, base, n=256, temperatures=100)
    >>> abs(z.value - math.log(2 * math.pi)) < 0.1
    True
    """
    scheduled = isinstance(temperatures, Schedule)
    _check_size(n, temperatures)
    if data is not None:
        check_states(energy, data, noise=noise)
    base = _base(energy, base, data, noise)
    rng = rng or torch.Generator(_device(base, data)).manual_seed(0)
    data = data if data is None else add_noise(data, noise, rng)
    rows = base.sample(512, torch.Generator(rng.device).manual_seed(0)) if data is None else data
    check_energy(energy, rows[:16])
    known = None if scheduled else known_log_z(energy, data, n=n, rng=rng)
    if known is not None:
        return known
    far = tails(energy, rows[:512])
    if far.alarm:
        logger.warning(far.alarm)  # at once: what follows may take long
    how = _How(n, temperatures, equilibrate, extra_starts, kernel, rng, track)
    _say_how_long(energy, rows, how)
    try:
        return _bracket(energy, base, data, far, how)
    except (FloatingPointError, TooFarError) as error:
        if far.alarm is None:
            raise
        raise ValueError(far.alarm) from error


def _check_size(n: int, temperatures: int | Schedule) -> None:
    if n < 16 or n % 16:
        raise ValueError(f"n walkers are 8 islands in 2 halves: a multiple of 16, got {n}")
    if isinstance(temperatures, Schedule):
        _ = temperatures.turns  # which refuses a schedule that has no way back
    elif temperatures < 1:
        raise ValueError(f"temperatures must be 1 or more, got {temperatures}")


@dataclass(frozen=True)
class _How:
    """What all phases of a bracket share: arguments of `log_z`."""

    n: int
    temperatures: int | Schedule
    equilibrate: int | None
    extra_starts: bool
    kernel: Kernel | None
    rng: torch.Generator
    track: Track

    @property
    def steps(self) -> int:
        """Of the first way."""
        own = self.temperatures
        return len(own) if isinstance(own, Schedule) else own

    @property
    def more_steps(self) -> int:
        """Of the ways from other starts."""
        return max(1, round(MORE * self.steps)) if self.extra_starts else 0

    @property
    def moves(self) -> int:
        """Under the model, before the way back."""
        return self.steps if self.equilibrate is None else self.equilibrate


class _Forward(NamedTuple):
    """Walkers annealed from a start to the model, and what they followed."""

    walkers: Walkers
    schedule: Schedule
    path: Path
    fitted: bool
    """whether it started at a mixture fitted to the model's own chains"""

    @classmethod
    def along(
        cls,
        path: Path,
        temperatures: int | Schedule,
        how: _How,
        name: str = "forward",
        *,
        fitted: bool = False,
    ) -> _Forward:
        """Anneal walkers along a path."""
        walkers, schedule = population(
            path, how.n, temperatures, rng=how.rng, kernel=how.kernel, track=how.track, name=name
        )
        return cls(walkers, schedule, path, fitted)

    @property
    def log_z(self) -> LogZ:
        return self.walkers.log_z


def _bracket(
    energy: Energy,
    base: Solvable,
    data: Tensor | None,
    far: Tails,
    how: _How,
) -> Estimate:
    first = _Forward.along(path_to(energy, base), how.temperatures, how)
    chains = _equilibrated(first, data, how)
    sides = [first, *(_more(energy, base, chains.x, how) if how.extra_starts else ())]
    forward = _best(sides)
    backward, upper = _backward(energy, forward, chains, how)
    lower = forward.log_z
    rang = list(
        alarms(
            forward.walkers,
            backward,
            chains.state.u,
            (lower, upper),
            halves=data is not None,
            remedy=getattr(energy, "remedy", "smaller tau"),
        )
    )
    arrived = [side.walkers for side in sides]
    for start in (side.path.start for side in sides if side.fitted):
        assert isinstance(start, GaussianMixture | Mixture)
        rang += stranded(start, chains, arrived)
    # asked again once it has been asked often, where the walkers are
    x, u = forward.walkers.x, energy_of(energy, forward.walkers.x).to(chains.state.u.dtype)
    first_of_all = (far.alarm, unsteady(energy, x, u, calls=OFTEN), resolution(u))
    return Estimate(
        lower,
        upper,
        (*(alarm for alarm in first_of_all if alarm), *rang),
        forward.walkers.ess,
        forward.walkers.survivors,
        first.schedule,
        forward.walkers,
        fingerprint(energy),
        None if data is None else mass_away(forward.walkers, data, how.rng),
    )


def _best(sides: Sequence[_Forward]) -> _Forward:
    """The side that is not behind another by 0.1 nat and two errors of the difference.

    Each is a lower bound on average, so that the highest is the best; a lead within the errors
    would only add their noise. Of those that nobody leads the first, if it is the most precise;
    else the one that is fitted to the chains, if it is as precise as a bracket must be, since its
    way back fits them; else the most precise.
    """

    def leads(a: LogZ, b: LogZ) -> bool:
        return a.value - b.value > max(0.1, 2 * math.hypot(a.stderr, b.stderr))

    first = [one for one in sides if not any(leads(other.log_z, one.log_z) for other in sides)]
    sharpest = min(first, key=lambda side: side.log_z.stderr)
    fitted = [side for side in first if side.fitted and side.log_z.stderr < 0.1]
    return sharpest if sharpest is sides[0] or not fitted else fitted[0]


def _equilibrated(forward: _Forward, data: Tensor | None, how: _How) -> Walkers:
    """Chains that have moved under the model, from data and from forward walkers."""
    resting, end = _resting(forward.schedule, how.moves), forward.path.at(1.0)
    starts = _starts(forward.walkers, data, how.rng)
    chains = Walkers.at(starts, end, log_z=0.0, islands=forward.walkers.islands)
    for _ in how.track(range(how.moves), "equilibrating"):
        chains = chains.move(resting, end, how.rng)
    return chains


def _more(energy: Energy, base: Solvable, chains: Tensor, how: _How) -> list[_Forward]:
    """Annealing from the chains' clusters and from a wider base, where they arrive."""
    found = []
    starts = {"the clusters": fitted_mixture(energy, chains), "far out": wider(base, how.rng)}
    for name, start in starts.items():
        if start is None:
            continue
        # one that does not arrive says nothing
        with suppress(TooFarError, FloatingPointError):
            path, fitted = path_to(energy, start), name == "the clusters"
            name = f"forward from {name}"
            side = _Forward.along(path, how.more_steps, how, name, fitted=fitted)
            if math.isfinite(side.log_z.value):
                found.append(side)
    return found


def _backward(
    energy: Energy, forward: _Forward, chains: Walkers, how: _How
) -> tuple[Walkers, LogZ]:
    """Walkers annealed from chains of the model down to where the others start; log Z by them."""
    schedule, path, start = forward.schedule, forward.path, forward.path.start
    assert isinstance(start, Solvable)
    uncertain = 0.0
    if forward.fitted:
        assert isinstance(start, GaussianMixture | Mixture)
        start, uncertain = reweighted(start, forward.walkers, chains.x)
        path = path_to(energy, start)
    models = with_progress(how.track, "backward", schedule.turns, schedule.backward(path))
    walkers = anneal(models, chains, how.rng)
    ratio = walkers.log_z  # of the start's Z to the model's
    reach = _reach(energy, start, len(chains), how.rng)
    value = start.log_z() + reach.value - ratio.value
    return walkers, LogZ(value, math.hypot(ratio.stderr, reach.stderr, uncertain))


def _say_how_long(energy: Energy, rows: Tensor, how: _How) -> None:
    """Log an estimate by the time that an evaluation takes."""
    calls = 2 * how.steps + how.moves + 2 * how.more_steps
    x = rows[torch.arange(how.n, device=rows.device) % len(rows)]
    evaluate(energy, x)
    start = time.perf_counter()
    evaluate(energy, x)
    seconds = calls * (time.perf_counter() - start + OVERHEAD)
    text = f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
    logger.info("bracketing log Z: %d walkers, %d evaluations each, about %s", how.n, calls, text)


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
