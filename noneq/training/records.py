"""What training yields in each iteration: its state, and what was observed."""

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
    """Where a run stands, besides parameters, optimiser and generator: enough to go on.

    Attributes:
        iteration: iterations done.
        walkers: those that feed the gradient.
        held_out: those that do not, or None.
        kernel: as adapted so far (one move).
        trust: the trust region with its memory, or None. Set its ``tau`` between iterations for
            a schedule.
    """

    iteration: int
    walkers: Walkers
    held_out: Walkers | None
    kernel: Kernel
    trust: TrustRegion | None


@dataclass(frozen=True)
class Record:
    """What one iteration did.

    Attributes:
        iteration: counted from 1.
        seconds: since the start.
        loss: ``mean U(batch) - weighted mean U(walkers)``; not a likelihood.
        data_energy: ``mean U(batch)``, before the step.
        nll: of the batch before the step, by the held-out walkers' log Z or else the others':
            a running estimate, to be replaced by a bracket; NaN where neither is known.
        ess: effective sample size of the gradient walkers, a fraction; NaN if only some are
            active, whose weights belong to the energies they last saw.
        acceptance: of the moves; NaN for unadjusted kernels.
        faults: share of the moves rejected because the energy was NaN or -inf there; not 0: look
            at the energy where its walkers go.
        log_z: from the gradient walkers: biased low as they train; NaN where their weights decay.
        log_z_held_out: from the held-out walkers; NaN without.
        scale: of the optimiser step (trust region).
        cost: ``-log`` of the effective sample size the step left.
        renewed: None, or whether the renewal tried here was accepted.
        state: to go on from, or to sample from.
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
    """Of the gradient walkers and the held-out ones, under the present parameters."""
    unknown = LogZ(math.nan, math.nan)
    current = settings.weighted and settings.active is None and not settings.restart
    held = state.held_out
    return state.walkers.log_z if current else unknown, held.log_z if held else unknown


class Scalars(NamedTuple):
    """What an iteration has seen, as numbers of the host."""

    data_energy: float
    loss: float
    info: dict[str, float]
    """of the walkers' moves"""


def read_scalars(
    data_energy: Tensor, walker_energy: Tensor, info: Info, *, weights: Weights
) -> Scalars:
    """Read the scalars of an iteration from the device, with the weights' summary, all at once."""
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
