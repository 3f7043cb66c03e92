"""A bracket of log Z from forward and backward annealing, with alarms where it may be wrong.

Forward annealing (from exact samples of a base, by a schedule that does not depend on them) gives
a log Z that is too low on average; backward annealing, from samples of the model to the base, one
that is too high: each estimate checks the other (Grosse, Ghahramani, Adams 2015, bidirectional
Monte Carlo). Exact samples of the model are not available, so half of the Markov chains for
backward annealing start from the data and half from resampled forward samples, and all are
equilibrated under the model.

A start that does not reach a mode gives a log Z that lacks the mass of this mode. So samples are
annealed from the base, from a mixture fitted to the clusters of the equilibrated chains and from a
wider base (`noneq.likelihood.starts`). Each log Z is a lower bound on average; the best of them is
the forward estimate, and backward annealing ends at its start. The result is called *bracketed*,
not certified: a mode that neither the data nor any start reaches is invisible.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress

import torch
from torch import Tensor

from noneq.annealing import Schedule, TooFarError, Track, untracked
from noneq.energies import (
    Bernoulli,
    Categorical,
    Energy,
    Gaussian,
    GaussianMixture,
    Mixture,
    Solvable,
    check_energy,
    evaluate,
    fingerprint,
    path_to,
)
from noneq.energies.checks import check_context, check_states, resolution
from noneq.energies.determinism import unsteady
from noneq.kernels import Kernel, transports
from noneq.likelihood.alarms import alarms, stranded
from noneq.likelihood.backward import backward_side, equilibrated
from noneq.likelihood.estimate import Estimate
from noneq.likelihood.forward import Forward, Plan, best_of, more_sides
from noneq.likelihood.integrability import Tails, tails
from noneq.likelihood.score import known_log_z
from noneq.likelihood.support import off_support_mass
from noneq.numerics import full_precision
from noneq.random import add_noise
from noneq.spaces import ONE_HOT, Discrete, context_size, space_of
from noneq.walkers import Walkers

__all__ = ["log_z"]

OFTEN = 1024  # calls that reveal an energy which gives another value once in a hundred calls
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
    """Bracket ``log Z = log of the integral of exp(-U)`` by forward and backward annealing.

    Walkers (weighted samples) annealed forward, from a base with known log Z to the model, give an
    estimate that is too low on average; chains equilibrated under the model and annealed backward
    to the base give one that is too high. Where both may be wrong, alarms (sentences) say why. An
    energy with an exact log Z and exact samples (a small RBM, a Gaussian) is not annealed: the
    exact value is returned, unless ``temperatures`` is a schedule. The expected duration is logged
    by the logger "noneq" (``logging.basicConfig(level="INFO")`` shows it).

    Arguments:
        energy: the energy U of the model, any callable ``(B, *shape) -> (B,)``.
        base: energy at which forward annealing starts, with exact ``log_z()`` and ``sample(n,
            rng)``; default: the attribute ``base`` of the energy, else a Gaussian fitted to the
            data with noise (for a discrete energy: independent sites).
        data: training rows (M, *shape), without noise; half of the chains for backward
            annealing start from them, the others from forward walkers. Without data, a mode that
            no forward walker reaches cannot be noticed.
        n: number of forward walkers, and of chains for backward annealing; a multiple of 16.
        temperatures: number of annealing steps, placed by a pilot run (an annealing of a few
            samples that are then discarded); or an annealing schedule, used as it is.
        equilibrate: number of moves under the model before backward annealing starts; default:
            the number of annealing steps. Data are not samples of the model: without these moves
            the backward estimate is no upper bound.
        noise: standard deviation of the Gaussian noise that the model was trained with; it is
            added to ``data`` here.
        kernel: transition kernel of one move, whose step size the pilot run adapts; default as in
            `noneq.population`.
        rng: source of randomness, on the device of the base; default: seed 0.
        track: progress display: `noneq.run.show_progress`, tqdm or another wrapper of iterables,
            called as ``track(sequence, description)`` for each phase: "forward", "equilibrating",
            "forward from the clusters", "forward from far out" and "backward"; the pilot run of a
            forward phase is called "forward: pilot" and so on.
        extra_starts: whether to anneal forward from two more distributions: a mixture fitted to
            clusters of the equilibrated chains, and a wider base. They take three quarters of the
            temperatures each, and make the evaluations about 1.5 times as many. Without them,
            modes that are rare in the data but likely in the model can be missed.

    Returns:
        Both estimates of log Z with standard errors, and alarms. Without alarms, log Z is called
        bracketed.

    Raises:
        ValueError: neither base nor data are given; the energy depends on a context, which must be
            given (`noneq.energies.Given`), or is not a deterministic function of each row
            (`noneq.energies.check_energy`); or Z is infinite (`noneq.likelihood.integrability`)
            and annealing fails. If annealing succeeds, an infinite Z is reported by the first
            alarm instead.
        TooFarError: the pilot run does not reach the model.
        FloatingPointError: the energy is NaN or -inf at a walker.

    >>> import math, noneq, torch
    >>> def banana(x):
    ...     return x[:, 0] ** 2 / 2 + (x[:, 1] - x[:, 0] ** 2) ** 2 / 2
    >>> base = noneq.Gaussian(torch.tensor([0.0, 1.0]), noneq.energies.Identity(1.5))
    >>> z = noneq.log_z(banana, base, n=256, temperatures=100)
    >>> abs(z.value - math.log(2 * math.pi)) < 0.1
    True
    """
    scheduled = isinstance(temperatures, Schedule)
    _check_size(n, temperatures)
    check_context(energy)
    if context_size(energy) and not isinstance(energy, Solvable):
        raise ValueError(
            "this energy depends on a context, and each has a log Z: bracket one after the other, "
            "noneq.log_z(noneq.energies.Given(energy, context))"
        )
    if data is not None:
        check_states(energy, data, noise=noise)
    base = _base(energy, base, data, noise)
    rng = rng or torch.Generator(_device(base, data)).manual_seed(0)
    data = data if data is None else add_noise(data, noise, rng, held=context_size(energy))
    rows = base.sample(512, torch.Generator(rng.device).manual_seed(0)) if data is None else data
    check_energy(energy, rows[:16])
    known = None if scheduled else known_log_z(energy, data, n=n, rng=rng)
    if known is not None:
        return known
    far = tails(energy, rows[:512])
    if far.alarm:
        logger.warning(far.alarm)  # at once: what follows may take long
    plan = Plan(n, temperatures, equilibrate, extra_starts, kernel, rng, track)
    _say_how_long(energy, rows, plan)
    try:
        return _bracket(energy, base, data, far, plan)
    except (FloatingPointError, TooFarError) as error:
        if far.alarm is None:
            raise
        raise ValueError(far.alarm) from error


def _check_size(n: int, temperatures: int | Schedule) -> None:
    """Raise ValueError for walkers in no equal halves, or a schedule that has no mirror image."""
    if n < 16 or n % 16:
        raise ValueError(f"the number of walkers is a multiple of 16, got {n}")
    if isinstance(temperatures, Schedule):
        _ = temperatures.n_backward_steps  # raises for a schedule that has no mirror image
    elif temperatures < 1:
        raise ValueError(f"temperatures must be 1 or more, got {temperatures}")


def _bracket(
    energy: Energy, base: Solvable, data: Tensor | None, far: Tails, plan: Plan
) -> Estimate:
    """Both estimates and their alarms, as the top of the file describes."""
    first = Forward.along(path_to(energy, base), plan.temperatures, plan)
    chains, positions = equilibrated(first, data, plan)
    others = more_sides(energy, base, positions, plan) if plan.extra_starts else []
    sides = [first, *others]
    forward = best_of(sides)
    backward, backward_log_z = backward_side(energy, forward, chains, plan)
    found = alarms(
        forward.walkers,
        backward,
        chains.state.u,
        (forward.log_z, backward_log_z),
        split_starts=data is not None,
        remedy=getattr(energy, "remedy", "smaller tau"),
    )
    return Estimate(
        forward.log_z,
        backward_log_z,
        (*_of_the_energy(energy, far, forward.walkers), *found, *_of_the_chains(chains, sides)),
        forward.walkers.ess,
        forward.walkers.effective_ancestors,
        first.schedule,
        forward.walkers,
        fingerprint(energy),
        None if data is None else off_support_mass(forward.walkers, data, plan.rng),
    )


def _of_the_energy(energy: Energy, far: Tails, walkers: Walkers) -> Iterator[str]:
    """Alarms of an energy without a finite integral, that is random, or of too few digits."""
    if far.alarm:
        yield far.alarm
    # asked again once it has been asked often, where the walkers have arrived
    alarm = unsteady(energy, walkers.x, walkers.state.u, calls=OFTEN)
    if alarm:
        yield alarm
    alarm = resolution(walkers.state.u)
    if alarm:
        yield alarm


def _of_the_chains(chains: Walkers, sides: Sequence[Forward]) -> Iterator[str]:
    """Alarms of equilibrated chains in regions that no forward walker has reached."""
    arrived = [side.walkers for side in sides]
    for side in sides:
        if side.fitted:
            start = side.path.start
            assert isinstance(start, GaussianMixture | Mixture)
            yield from stranded(start, chains, arrived)


def _say_how_long(energy: Energy, rows: Tensor, plan: Plan) -> None:
    """Log the expected duration of the bracket, by the time that a move of all walkers takes."""
    calls = 2 * plan.steps + plan.moves + 2 * plan.more_steps
    x = rows[torch.arange(plan.n, device=rows.device) % len(rows)]
    seconds = calls * _of_a_move(energy, x, plan.kernel)
    text = f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
    logger.info("bracketing log Z: %d walkers, %d evaluations each, about %s", plan.n, calls, text)


def _of_a_move(energy: Energy, x: Tensor, kernel: Kernel | None) -> float:
    """Measure the seconds of a move; where that cannot be, of an evaluation and what is beside."""
    if kernel is not None and not transports(kernel):
        rng = torch.Generator(x.device).manual_seed(0)
        with suppress(FloatingPointError):
            walkers = Walkers.at(x, energy, log_z=0.0).move(kernel, energy, rng)
            start = time.perf_counter()
            walkers.move(kernel, energy, rng)
            return time.perf_counter() - start
    evaluate(energy, x)
    start = time.perf_counter()
    evaluate(energy, x)
    return time.perf_counter() - start + OVERHEAD


def _base(energy: Energy, base: Solvable | None, data: Tensor | None, noise: float) -> Solvable:
    """The given base, else the base of the energy, else one that is fitted to the data."""
    own = getattr(energy, "base", None)
    if base is None and isinstance(own, Solvable):  # other libraries' may be anything
        base = own
    if base is None and data is None and isinstance(energy, Solvable):
        return energy  # whose log Z needs no estimate
    if base is None:
        if data is None:
            inside = getattr(getattr(energy, "module", None), "base", None)
            hint = "" if inside is None else "; this energy's is `energy.module.base`"
            raise ValueError(f"log_z needs a base with known log Z, or data to fit one to{hint}")
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


def _device(base: Solvable, data: Tensor | None) -> torch.device:
    if data is not None:
        return data.device
    buffers = list(base.buffers()) if isinstance(base, torch.nn.Module) else []
    return buffers[0].device if buffers else torch.device("cpu")
