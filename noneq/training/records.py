"""What maximum-likelihood training yields after each iteration: observations and its state."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from noneq.kernels import Info, Kernel
from noneq.training.settings import Settings
from noneq.training.trust import TrustRegion
from noneq.walkers import LogZ, Walkers, Weights
from noneq.walkers.notebook import html_table

__all__ = ["Record", "Scalars", "TrainState", "read_scalars"]


@dataclass(frozen=True)
class TrainState:
    """Hold the state of training from which `noneq.train` can resume.

    Parameters, optimiser and random generator are not part of it; the caller saves them.

    Attributes:
        iteration: number of iterations done.
        walkers: walkers (weighted samples of the model) that the gradient is computed from.
        held_out: further walkers that follow the model but are not used in the gradient, so that
            log Z estimated from them is unbiased; or None.
        kernel: kernel of one move, with its adapted step size.
        trust: trust region that scales the optimiser's steps, whose attribute ``tau`` (the cost of
            a step) may be set between iterations; None if steps are not scaled.
    """

    iteration: int
    walkers: Walkers
    held_out: Walkers | None
    kernel: Kernel
    trust: TrustRegion | None

    def __repr__(self) -> str:
        more = "" if self.held_out is None else f", {len(self.held_out)} held out"
        return f"TrainState(iteration {self.iteration}, {self.walkers}{more})"


@dataclass(frozen=True)
class Record:
    """Record what was observed in one training iteration.

    Walkers are weighted samples that follow the model. Gradient walkers are those that the
    gradient is computed from. Held-out walkers follow the model in the same way but are not used
    in the gradient.

    Attributes:
        iteration: number of the iteration, from 1.
        seconds: time since the start of training.
        loss: mean energy of the batch minus the weighted mean energy of the gradient walkers; it
            has the gradient of the negative log-likelihood, but not the value.
        data_energy: mean energy of the batch before the optimiser's step.
        nll: negative log-likelihood (nats) of the batch before the optimiser's step, with log Z
            estimated from the held-out walkers, or without these from the gradient walkers; NaN
            where log Z is unknown. Bounds on log Z come from `noneq.log_z` after training.
        ess: effective sample size of the gradient walkers, a fraction in [0, 1]; NaN if the
            setting ``active`` moves only some of them in an iteration, since their weights are
            then for different energies.
        acceptance: mean acceptance of the kernel's moves; NaN for unadjusted kernels.
        faults: share of moves that were rejected because the energy of the proposal was NaN or
            -inf, which no energy should be.
        log_z: log Z (nats) and its standard error from the gradient walkers, biased low because
            the model learns from them; NaN where it is unknown, e.g. for walkers without weights,
            with a forgetting factor (which multiplies log-weights) below 1, or with ``active``
            set.
        log_z_held_out: log Z (nats) and its standard error from the held-out walkers; NaN without
            held-out walkers.
        scale: factor by which the trust region multiplied the optimiser's step.
        cost: cost of the optimiser's step in nats, minus the logarithm of the share of the
            walkers' effective sample size that the step leaves; NaN without a trust region.
        renewed: whether walkers were replaced by newly annealed ones in this iteration; False if
            the new ones were refused or annealing failed; None if none were annealed.
        state: state of training, to resume or to sample from.
    """

    iteration: int
    seconds: float
    loss: float
    data_energy: float
    nll: float
    ess: float
    acceptance: float
    faults: float
    log_z: LogZ
    log_z_held_out: LogZ
    scale: float
    cost: float
    renewed: bool | None
    state: TrainState

    @property
    def _known(self) -> dict[str, str]:
        """Numbers that tell how training goes, by name; those that are NaN are left out."""
        held_out = not math.isnan(self.log_z_held_out.value)
        z = self.log_z_held_out if held_out else self.log_z
        numbers = {"NLL": self.nll, "ESS": self.ess, "accept": self.acceptance}
        known = {name: f"{x:.2f}" for name, x in numbers.items() if not math.isnan(x)}
        if not math.isnan(z.value):
            error = "" if math.isnan(z.stderr) else f" ± {z.stderr:.2f}"
            known["log Z"] = f"{z.value:.2f}{error}"
        return known

    def __repr__(self) -> str:
        own = ", ".join(f"{name} {value}" for name, value in self._known.items())
        return f"Record(iteration {self.iteration}, {own}, {self.seconds:.1f} s)"

    def _repr_html_(self) -> str:
        """Return the numbers of the iteration as HTML, which a notebook shows."""
        rows = {**self._known, "seconds": f"{self.seconds:.1f}"}
        if not math.isnan(self.cost):
            rows["cost of the step"] = f"{self.cost:.3f} nats"
        if self.faults:
            rows["faults"] = f"{self.faults:.1%} of the moves"
        return html_table(f"Iteration {self.iteration}", rows)


def _log_z(state: TrainState, settings: Settings) -> tuple[LogZ, LogZ]:
    """Return log Z of the gradient walkers and of the held-out ones at the present."""
    unknown = LogZ(math.nan, math.nan)
    current = settings.weighted and settings.active is None and not settings.restart
    held = state.held_out
    return state.walkers.log_z if current else unknown, held.log_z if held else unknown


class Scalars(NamedTuple):
    """Hold the observations of one training iteration, as Python numbers.

    Attributes:
        data_energy: mean energy of the batch before the optimiser's step.
        loss: ``data_energy`` minus the weighted mean energy of the walkers (samples of the model).
        info: observations of the walkers' last move, e.g. ``{"accept": mean acceptance}``.
    """

    data_energy: float
    loss: float
    info: dict[str, float]


def read_scalars(
    data_energy: Tensor, walker_energy: Tensor, info: Info, *, weights: Weights
) -> Scalars:
    """Copy the observations of one training iteration from the device to Python numbers.

    There is one transfer only, which also computes and keeps the summary of the weights.

    Arguments:
        data_energy: mean energy of the batch, 0-d.
        walker_energy: weighted mean energy of the walkers (samples of the model), 0-d.
        info: observations of the walkers' last move, 0-d tensors.
        weights: weights of the walkers, whose summary (e.g. effective sample size) is read, too.

    Returns:
        The observations; ``loss`` is ``data_energy - walker_energy``.
    """
    scalars = (data_energy, walker_energy, *info.values())
    energy, subtracted, *others = weights.read_with(*scalars)
    return Scalars(energy, energy - subtracted, dict(zip(info, others, strict=True)))


def _record(
    state: TrainState,
    settings: Settings,
    observed: Scalars,
    before: tuple[LogZ, LogZ],
    renewed: bool | None,
    start: float,
) -> Record:
    walkers, trust = state.walkers, state.trust
    log_z, log_z_held_out = _log_z(state, settings)
    known = before[0].value if math.isnan(before[1].value) else before[1].value
    return Record(
        iteration=state.iteration,
        seconds=time.perf_counter() - start,
        loss=observed.loss,
        data_energy=observed.data_energy,
        nll=observed.data_energy + known,
        ess=math.nan if settings.active else walkers.ess,
        acceptance=observed.info.get("accept", math.nan),
        faults=observed.info.get("fault", 0.0),
        log_z=log_z,
        log_z_held_out=log_z_held_out,
        scale=1.0 if trust is None else trust.scale,
        cost=math.nan if trust is None else trust.cost,
        renewed=renewed,
        state=state,
    )
