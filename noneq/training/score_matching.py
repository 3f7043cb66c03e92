r"""Denoising score matching as a loop: a `TimedEnergy` learned from rows, no walkers.

Vincent 2011; Song and Ermon 2019 (arXiv 1907.05600). What is minimised says nothing of the
likelihood, which `noneq.log_z` brackets afterwards.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from noneq.energies import check_energy
from noneq.energies.checks import check_fit, check_states
from noneq.models.interpolants import TimedEnergy

__all__ = ["ScoreMatchingRecord", "match"]


@dataclass(frozen=True)
class ScoreMatchingRecord:
    """What one iteration of score matching did.

    Attributes:
        iteration: counted from 1.
        seconds: since the start.
        loss: ``mean |sqrt(V) Q^T s + zeta|^2`` of the batch, before the step.
        rate: the step's learning rate.
    """

    iteration: int
    seconds: float
    loss: float
    rate: float


def match(
    energy: TimedEnergy,
    data: Tensor,
    *,
    batch: int = 512,
    optimizer: torch.optim.Optimizer | None = None,
    rng: torch.Generator | None = None,
    done: int = 0,
) -> Iterator[ScoreMatchingRecord]:
    """Minimise `TimedEnergy.score_loss` for as long as the caller iterates.

    Arguments:
        energy: whose network learns.
        data: rows (M, *shape) without their noise.
        batch: rows an iteration, drawn with replacement.
        optimizer: default Adam at learning rate 1e-3; set its rate between iterations for a
            schedule.
        rng: source of all randomness, on the data's device; default seed 0.
        done: iterations done before, of a run that is resumed; parameters, optimiser and
            generator are the caller's to restore.

    Raises:
        ValueError, TypeError: data or energy is unfit, see `noneq.energies.checks`.
        FloatingPointError: the loss is not finite.
    """
    if batch < 1:
        raise ValueError(f"a batch has 1 or more rows, got {batch}")
    (check_states if done else check_fit)(energy, data, noise=energy.noise)
    check_energy(energy, data[:16])
    rng = rng or torch.Generator(data.device).manual_seed(0)
    optimizer = optimizer or torch.optim.Adam(energy.net.parameters(), lr=1e-3)
    start = time.perf_counter()
    while True:
        which = torch.randint(len(data), (batch,), generator=rng, device=data.device)
        loss = energy.score_loss(data[which], rng)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        done, value = done + 1, float(loss.detach())
        if not math.isfinite(value):  # the parameters stay what they were
            raise FloatingPointError(f"the loss of score matching is {value} at iteration {done}")
        optimizer.step()
        rate = float(optimizer.param_groups[0]["lr"])
        yield ScoreMatchingRecord(done, time.perf_counter() - start, value, rate)
