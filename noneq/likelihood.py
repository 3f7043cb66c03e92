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
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from noneq.checks import check_energy
from noneq.data import add_noise, check_rows
from noneq.energies import Energy, GeometricPath, Solvable, fingerprint, full_precision
from noneq.gaussians import Gaussian
from noneq.kernels import Kernel, default_kernel
from noneq.smc import Schedule, anneal, pilot
from noneq.walkers import LogZ, Walkers
from noneq.weights import log_mean_exp

__all__ = ["NLL", "Estimate", "log_z", "nll"]


@dataclass(frozen=True)
class Estimate:
    """A bracketed log Z.

    Attributes:
        lower: from forward annealing, too low on average.
        upper: from backward annealing, too high on average.
        alarms: why the bracket may be wrong, each with what to do; empty if nothing rang.
        ess: effective sample size of the forward walkers, a fraction.
        survivors: effective number of forward founders that still have descendants.
        schedule: the temperatures used, e.g. to use again.
        walkers: the forward walkers, a weighted sample of the model.
        mark: fingerprint of the parameters it belongs to; None for a plain function.
    """

    lower: LogZ
    upper: LogZ
    alarms: tuple[str, ...]
    ess: float
    survivors: float
    schedule: Schedule
    walkers: Walkers
    mark: Tensor | None = None

    @property
    def value(self) -> float:
        """The larger side: the likelihoods that follow are not optimistic."""
        return max(self.lower.value, self.upper.value)

    @property
    def stderr(self) -> float:
        """Standard error of `value`."""
        return max(self.lower, self.upper, key=lambda side: side.value).stderr

    @property
    def gap(self) -> float:
        """``upper - lower``; negative where the sides cross."""
        return self.upper.value - self.lower.value

    @property
    def bracketed(self) -> bool:
        """Whether no alarm rang."""
        return not self.alarms

    def __str__(self) -> str:
        low, high = self.lower, self.upper
        text = (
            f"log Z between {low.value:.2f} ± {low.stderr:.2f} and "
            f"{high.value:.2f} ± {high.stderr:.2f}"
        )
        if self.bracketed:
            apart = abs(self.gap) + math.hypot(low.stderr, high.stderr)
            return f"{text}: bracketed within {apart:.2f} nat"
        return "\n".join([f"{text}: NOT bracketed", *(f"  alarm: {a}" for a in self.alarms)])


@dataclass(frozen=True)
class NLL:
    """A mean negative log-likelihood in nats per row, with its two errors.

    Attributes:
        value: ``mean U + log Z``.
        stderr_z: standard error of log Z, common to every set scored with it.
        stderr_data: standard error of the mean over the rows.
        bracketed: whether log Z was bracketed without an alarm.
    """

    value: float
    stderr_z: float
    stderr_data: float
    bracketed: bool

    def __str__(self) -> str:
        sure = "" if self.bracketed else " (log Z is NOT bracketed: see its alarms)"
        return (
            f"{self.value:.2f} nats ± {self.stderr_z:.2f} (log Z) ± {self.stderr_data:.2f} "
            f"(rows){sure}"
        )


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
) -> Estimate:
    """Bracket ``log of the integral of exp(-U)`` by annealing from both sides.

    Arguments:
        energy: U, any callable ``(B, *shape) -> (B,)``.
        base: solvable start of the path; default: the energy's own ``base``, else a Gaussian
            fitted to the data.
        data: rows (M, *shape) that the model is meant for; backward chains start from half of
            them. Without data a mode that the base does not reach cannot be noticed.
        n: walkers on each side, a multiple of 16 (8 islands, 2 halves).
        temperatures: steps of the path, shaped by a pilot run; or a schedule used as it is.
        equilibrate: moves under the model before the backward side starts; default: as many as
            temperatures. Data are no samples of the model: where it has learned them by heart they
            sit in modes of their own, and the sides cross.
        noise: standard deviation of Gaussian noise that the model's data had added.
        kernel: one move, whose step the pilot adapts; default MALA preconditioned by the base's
            covariance.
        rng: source of randomness on the base's device; default seed 0.

    Raises:
        ValueError: neither base nor data; an energy that is none (`noneq.checks.check_energy`).
    """
    if n < 16 or n % 16:
        raise ValueError(f"n walkers are 8 islands in 2 halves: a multiple of 16, got {n}")
    if not isinstance(temperatures, Schedule) and temperatures < 1:
        raise ValueError(f"temperatures must be 1 or more, got {temperatures}")
    if data is not None:
        check_rows(data)
    base = _base(energy, base, data)
    rng = rng or torch.Generator(_device(base, data)).manual_seed(0)
    if data is not None:
        data = add_noise(data, noise, rng)
    probe = base.sample(16, rng) if data is None else data[:16]
    check_energy(energy, probe)
    path = GeometricPath(base, energy)
    schedule = temperatures
    if not isinstance(schedule, Schedule):
        found = pilot(path, kernel or default_kernel(base, probe), rng)
        schedule = found.resized(schedule).cycled()

    end = path.at(1.0)
    forward = anneal(schedule.forward(path), Walkers.sample(base, n, rng), rng)
    backward = Walkers.at(_starts(forward, data, rng), end, log_z=0.0, islands=forward.islands)
    for _ in range(len(schedule) if equilibrate is None else equilibrate):
        backward = backward.move(schedule.kernels[-1], end, rng)
    equilibrium = backward.state.u
    backward = anneal(schedule.backward(path), backward, rng)
    ratio = backward.log_z  # of the base's Z to the model's
    lower, upper = forward.log_z, LogZ(base.log_z() - ratio.value, ratio.stderr)
    alarms = _alarms(forward, backward, equilibrium, (lower, upper), halves=data is not None)
    return Estimate(
        lower,
        upper,
        tuple(alarms),
        forward.ess,
        forward.survivors,
        schedule,
        forward,
        fingerprint(energy),
    )


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
    """
    mark = fingerprint(energy)
    if mark is not None and z.mark is not None and not bool(mark == z.mark):
        raise ValueError(
            "this log Z belongs to other parameters: estimate it again (averaged parameters are "
            "a model of their own)"
        )
    check_rows(data)
    rng = rng or torch.Generator(data.device).manual_seed(0)
    u = torch.zeros(len(data), dtype=torch.float64, device=data.device)
    rounds = draws if noise > 0 else 1
    for _ in range(rounds):
        u += energy_of(energy, add_noise(data, noise, rng)) / rounds
    stderr = float(u.std()) / math.sqrt(len(u)) if len(u) > 1 else math.nan
    return NLL(float(u.mean()) + z.value, z.stderr, stderr, z.bracketed)


@full_precision()
@torch.no_grad()
def energy_of(energy: Energy, x: Tensor, *, batch: int = 4096) -> Tensor:
    """U at the rows of x, (M,) in float64, a batch at a time."""
    with torch.autocast(x.device.type, enabled=False):
        return torch.cat([energy(x[i : i + batch]).double() for i in range(0, len(x), batch)])


def _base(energy: Energy, base: Solvable | None, data: Tensor | None) -> Solvable:
    base = base or getattr(energy, "base", None)
    if base is None:
        if data is None:
            raise ValueError("log_z needs a base with known log Z, or data to fit a Gaussian to")
        return Gaussian.fit(data)
    if not isinstance(base, Solvable):
        raise ValueError(
            f"the base, a {type(base).__name__}, must have sample(n, rng) and log_z(), both exact"
        )
    return base


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


def _alarms(
    forward: Walkers,
    backward: Walkers,
    equilibrium: Tensor,
    sides: tuple[LogZ, LogZ],
    *,
    halves: bool,
) -> Iterator[str]:
    lower, upper = sides
    gap, stderr = upper.value - lower.value, math.hypot(lower.stderr, upper.stderr)
    if not math.isfinite(gap + stderr):
        yield "a side is not finite: the energy is +inf or NaN on the path; check the model"
        return
    if gap > max(0.1, 3 * stderr):
        yield (
            f"the sides differ by {gap:.2f} nat: the truth is between them; "
            "double the temperatures until they meet"
        )
    if -gap > max(0.1, min(4 * stderr, 0.3)):
        yield (
            f"the sides cross by {-gap:.2f} nat, with a standard error of {stderr:.2f}: one side "
            "misses a mode; look at samples, and use more walkers, a longer equilibration or a "
            "base that covers the data"
        )
    if stderr > 0.15:
        yield (
            f"the sides are known only to ± {stderr:.2f} nat: too few walkers arrive with weight; "
            "use more walkers or temperatures"
        )
    if halves:
        u = equilibrium.double().view(backward.islands, -1).mean(1).chunk(2)
        difference, error = _compare(u[0], u[1])
        if abs(difference) > max(0.1, 4 * error):
            yield (
                f"chains from the data have mean energy {difference:+.2f} ± {error:.2f} against "
                "chains from the base: they do not mix, or the model has a mode without data "
                "(spurious); equilibrate longer, or train again with smaller tau"
            )
        z = log_mean_exp(backward.log_w.view(backward.islands, -1)).chunk(2)
        difference, error = _compare(z[0], z[1])
        if abs(difference) > max(0.1, 4 * error):
            yield (
                f"log Z from the data's chains is {-difference:+.2f} ± {error:.2f} against the "
                "base's chains: they start in different modes; equilibrate longer"
            )
    for walkers, name in ((forward, "forward"), (backward, "backward")):
        spread = float(log_mean_exp(walkers.log_w.view(walkers.islands, -1)).std())
        if spread > 1:
            yield (
                f"log Z spreads by {spread:.1f} nat over the {name} islands: its standard error "
                "is not to be believed; use more walkers or temperatures"
            )
    if forward.survivors < 2 * forward.islands:
        yield (
            f"the forward walkers descend from {forward.survivors:.0f} of {len(forward)} "
            "founders: use more temperatures or walkers"
        )


def _compare(a: Tensor, b: Tensor) -> tuple[float, float]:
    error = (a.var() / len(a) + b.var() / len(b)).sqrt()
    return float(a.mean() - b.mean()), float(error)
