"""One iteration of maximum-likelihood training with walkers, samples with importance weights.

It computes the gradient, resamples and moves the walkers, and does the optimiser's step.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from noneq.energies import Snapshot
from noneq.kernels import Kernel
from noneq.training.trust import Advance, TrustRegion
from noneq.walkers import Walkers, move_together

__all__ = ["Step", "step"]


class Step(NamedTuple):
    """Hold the result of one training iteration, as `step` returns it.

    Attributes:
        walkers: walkers (weighted samples of the model) after the iteration.
        u: energies (N,) of these walkers under the new parameters, with their autograd graph, from
            which the next loss is made; None if they have not been evaluated.
        data_energy: mean energy of the batch before the optimiser's step, 0-d.
        walker_energy: weighted mean energy of the walkers before the optimiser's step, 0-d.
        held_out: held-out walkers after their moves, weighted for the parameters before the step.
    """

    walkers: Walkers
    u: Tensor | None
    data_energy: Tensor
    walker_energy: Tensor
    held_out: Walkers | None = None


def step(
    energy: nn.Module,
    x: Tensor,
    walkers: Walkers,
    u: Tensor | None = None,
    *,
    kernel: Kernel | None,
    optimizer: torch.optim.Optimizer,
    rng: torch.Generator,
    trust: TrustRegion | None = None,
    ess_min: float = 0.5,
    weighted: bool = True,
    forgetting_factor: float = 1.0,
    held_out: Walkers | None = None,
) -> Step:
    """Do one iteration of training: gradient, resampling and moves of walkers, optimiser step.

    The gradient is that of ``mean U(x) - sum_i p_i U(x_i)``, with p_i the normalised weights of
    the walkers x_i, which are weighted samples of the model.

    Arguments:
        energy: model U whose parameters are trained.
        x: batch of data (B, *shape).
        walkers: walkers, as the last call returned them; at first e.g. from
            `noneq.Walkers.sample`.
        u: energies (N,) of the walkers with their autograd graph, as the last call returned them.
            None: the walkers are evaluated here.
        kernel: transition kernel that moves the walkers; None: no moves.
        optimizer: optimiser of the energy's parameters.
        rng: source of randomness.
        trust: trust region, which scales the optimiser's step so that the walkers keep most of
            their effective sample size; None leaves the step as it is.
        ess_min: effective sample size, a fraction in [0, 1], below which walkers are resampled.
        weighted: whether to use the log-weights of the walkers; False: they are ignored, as in
            contrastive divergence.
        forgetting_factor: factor in [0, 1] by which log-weights are multiplied after the gradient.
        held_out: walkers that the gradient does not use; they are resampled and moved together
            with the others if the kernel leaves the energy invariant.

    Returns:
        The walkers and their energies after the iteration, and the two terms of the loss
        ``data_energy - walker_energy``.
    """
    now = Snapshot.of(energy)
    if u is not None and walkers.under is not None and now.same(walkers.under):
        now = walkers.under  # and need not be compared again
    else:
        walkers, u = walkers.reweight(now, graph=True)
    if not weighted:
        walkers = walkers.decay(0.0)
    data_energy, walker_energy = _gradient(energy, x, walkers, u, optimizer)
    walkers = walkers.decay(forgetting_factor).resample(ess_min, rng)
    u, advance = None, None
    if kernel is not None and kernel.fresh:
        if held_out is None:
            walkers = walkers.move(kernel, now, rng)
        else:
            both = [walkers, held_out.resample(ess_min, rng)]
            walkers, held_out = move_together(both, kernel, now, rng)
    elif kernel is not None:
        advance = _stale_move(kernel, energy, rng)
    if trust is not None:
        walkers, u = trust.step(optimizer, now, walkers, advance)
    else:
        optimizer.step()
        if advance:
            walkers, u = advance(walkers)
            u = walkers.without_zero(u)
    return Step(walkers, u, data_energy, walker_energy, held_out)


def _stale_move(kernel: Kernel, energy: nn.Module, rng: torch.Generator) -> Advance:
    """Make a move to the new parameters that uses the same noise each time it is repeated."""
    noise = rng.get_state()

    def advance(walkers: Walkers) -> tuple[Walkers, Tensor]:
        rng.set_state(noise)
        return walkers.move(kernel, energy, rng, graph=True, raw=True)

    return advance


def _gradient(
    energy: nn.Module, x: Tensor, walkers: Walkers, u: Tensor, optimizer: torch.optim.Optimizer
) -> tuple[Tensor, Tensor]:
    """Compute the gradient of the loss; return its two parts without their graph."""
    with torch.autocast(x.device.type, enabled=False):
        data_energy, walker_energy = energy(x).mean(), walkers.mean(u)
    optimizer.zero_grad(set_to_none=True)
    (data_energy - walker_energy).backward()
    return data_energy.detach(), walker_energy.detach()
