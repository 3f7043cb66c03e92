"""What training yields in each iteration: a record of what was observed, and the state."""

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

__all__ = ["Record", "Scalars", "TrainState", "read_scalars"]


@dataclass(frozen=True)
class TrainState:
    """Hold the state of training, to resume with parameters, optimiser and generator.

    Attributes:
        iteration: number of iterations done.
        walkers: walkers that the gradient is computed from.
        held_out: walkers that the gradient never sees, for an unbiased log Z; None without.
        kernel: kernel of one move, with its adapted step size.
        trust: trust region; None for plain steps. Its ``tau`` may be set between iterations.
    """

    iteration: int
    walkers: Walkers
    held_out: Walkers | None
    kernel: Kernel
    trust: TrustRegion | None


@dataclass(frozen=True)
class Record:
    """Record what was observed in one training iteration.

    Gradient walkers are those that the gradient is computed from. Held-out walkers follow the
    model in the same way, but the gradient never sees them.

    Attributes:
        iteration: number of the iteration, from 1.
        seconds: time since the start of training.
        loss: ``mean U(batch) - weighted mean U(walkers)``, which is not a likelihood.
        data_energy: ``mean U(batch)`` before the step.
        nll: negative log-likelihood (nats) of the batch before the step, with log Z of the
            held-out walkers, else of the gradient walkers: a running estimate, to be replaced by a
            bracket; NaN where log Z is unknown.
        ess: effective sample size of the gradient walkers, a fraction; NaN if only some of them
            move in an iteration (``active`` of the settings), since their weights are then for
            different energies.
        acceptance: acceptance of the moves; NaN for unadjusted kernels.
        faults: share of moves rejected because the energy was NaN or -inf there; if it is not 0,
            look at the energy at those positions.
        log_z: log Z from the gradient walkers, biased low because the model learns from them; NaN
            where they have no weights, weights with a forgetting factor below 1, or ``active`` is
            set.
        log_z_held_out: log Z from the held-out walkers; NaN without them.
        scale: factor of the optimiser's step that the trust region chose.
        cost: ``-log CESS`` of the optimiser's step, CESS its conditional effective sample size.
        renewed: whether walkers were replaced by newly annealed ones; False if these were refused
            or annealing failed; None if no walkers were annealed in this iteration.
        state: state to resume or to sample from.
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


def _log_z(state: TrainState, settings: Settings) -> tuple[LogZ, LogZ]:
    """Return log Z of the gradient walkers and of the held-out ones at the present."""
    unknown = LogZ(math.nan, math.nan)
    current = settings.weighted and settings.active is None and not settings.restart
    held = state.held_out
    return state.walkers.log_z if current else unknown, held.log_z if held else unknown


class Scalars(NamedTuple):
    """Hold the observations of one iteration, as numbers on the host.

    Attributes:
        data_energy: ``mean U(batch)`` before the step.
        loss: ``data_energy`` less the weighted mean of U at the walkers.
        info: what the walkers' kernel observed.
    """

    data_energy: float
    loss: float
    info: dict[str, float]


def read_scalars(
    data_energy: Tensor, walker_energy: Tensor, info: Info, *, weights: Weights
) -> Scalars:
    """Read the scalars of an iteration and the summary of weights from the device in one transfer.

    Arguments:
        data_energy: mean energy of the batch, 0-d.
        walker_energy: weighted mean energy of the walkers, 0-d.
        info: what the walkers' kernel observed, 0-d tensors.
        weights: weights whose summary is read, too.

    Returns:
        The scalars as Python numbers.
    """
    scalars = (data_energy, data_energy - walker_energy, *info.values())
    energy, loss, *others = weights.read_with(*scalars)
    return Scalars(energy, loss, dict(zip(info, others, strict=True)))


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
