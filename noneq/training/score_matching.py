"""Denoising score matching: learn an energy that depends on time from data, without any sampling.

Sources: Vincent 2011; Song and Ermon 2019 (arXiv 1907.05600). The loss is not a likelihood;
`noneq.log_z` estimates log Z, and with it the likelihood, afterwards.
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
    """Record what was observed in one iteration of denoising score matching.

    Attributes:
        iteration: number of the iteration, from 1.
        seconds: time since the start of training.
        loss: denoising score-matching loss of the batch before the optimiser's step, see
            `noneq.models.interpolants.TimedEnergy.score_loss`.
        rate: learning rate of the optimiser's step.
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
    """Train an energy U(x, t) by denoising score matching for as long as the caller iterates.

    Arguments:
        energy: energy that depends on the time t, whose network is trained.
        data: rows (M, *shape) without noise.
        batch: number of rows in an iteration, drawn with replacement.
        optimizer: optimiser of the network; default Adam at learning rate 1e-3. The learning rate
            may be set between iterations.
        rng: source of all randomness, on the data's device; default seed 0.
        done: number of iterations that an interrupted run has done, if it is resumed; the caller
            restores the parameters, the optimiser and the generator.

    Yields:
        A record with the loss of the batch, after each iteration.

    Raises:
        TypeError: data are not a floating-point tensor.
        ValueError: data cannot be fitted, or the energy fails `noneq.energies.check_energy`.
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
