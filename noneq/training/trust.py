"""The trust region, which limits how far one optimiser step may change the model.

It is measured on walkers, samples of the model with normalised weights p_i. A step that changes
their energies by dU_i, and so their weights, leaves the fraction

    ``CESS = (sum_i p_i e^{-dU_i})^2 / sum_i p_i e^{-2 dU_i}``

of their effective sample size, for small steps about ``exp(-Var_p dU)``. The trust region scales
every step so that ``-log CESS`` is about ``tau``: the walkers set the length of a step, not the
learning rate. Multiplying the step by lambda equals a learning rate multiplied by lambda for SGD
and Adam.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeAlias

import torch
from torch import Tensor

from noneq.energies import Energy, Snapshot
from noneq.walkers import Walkers

__all__ = ["Advance", "TrustRegion"]

Advance: TypeAlias = Callable[[Walkers], tuple[Walkers, Tensor]]
"""A function that carries walkers (weighted samples) to the energy after an optimiser step.

It reweights or moves them, and returns the walkers and their new energies (N,), with the autograd
graph from the energies to the parameters.
"""

#: optimisers whose next step depends on where the last one ended, not only on its gradient
_REFUSED = ("LBFGS", "Rprop", "Lookahead", "ScheduleFree")


class TrustRegion:
    """Scale optimiser steps so that each costs the walkers about tau of effective sample size.

    Walkers are samples of the model with normalised weights p. A step that changes their energies
    by d leaves the fraction ``CESS = (sum_i p_i e^{-d_i})^2 / sum_i p_i e^{-2 d_i}`` of the
    effective sample size; the cost of the step is ``-log CESS`` (nats). The scale of a step is
    predicted from the last steps. A step that costs more than ``2 tau`` is shortened, and the
    walkers are evaluated again.

    Arguments:
        tau: allowed cost of one step in nats, > 0. Larger learns faster; smaller keeps the walkers
            closer to the model.
        longest: largest length of a step relative to the norm of the parameters theta,
            ``|step| <= longest max(|theta|, 1)``, whatever the cost: the walkers do not show what
            a long step does to the energy where there are none, e.g. a spurious mode. ``inf``: no
            limit.
        smoothing: weight of earlier steps in the prediction of the scale, in [0, 1).

    Attributes:
        scale: factor by which the last step was multiplied.
        cost: cost ``-log CESS`` of the last step, in nats.
        redone: number of evaluations of all walkers beyond one per step, since the start.
        steps: number of steps since the start.

    If the learning rate lr is lowered the steps become shorter: the allowed cost is
    ``tau (lr / top)^2``, where top is the largest learning rate so far or ``initial_lr`` (set by
    torch's schedulers), whichever is larger.

    >>> import torch, noneq
    >>> rng, base = torch.Generator().manual_seed(0), noneq.Gaussian.fit(torch.randn(99, 2))
    >>> energy = noneq.Tilted(base, noneq.MLP(2, width=16))
    >>> trust, adam = noneq.TrustRegion(tau=0.1), torch.optim.Adam(energy.parameters())
    >>> walkers = noneq.Walkers.sample(base, 64, rng)
    >>> energy(walkers.x[:8]).mean().backward()
    >>> walkers, u = trust.step(adam, energy, walkers)
    >>> trust.cost <= 0.2, tuple(u.shape)
    (True, (64,))
    """

    def __init__(self, tau: float = 0.1, *, longest: float = 0.02, smoothing: float = 0.8) -> None:
        if not tau > 0:
            raise ValueError(f"tau must be positive, got {tau}")
        if not longest > 0 or not 0 <= smoothing < 1:
            raise ValueError(
                f"longest > 0 and 0 <= smoothing < 1 are needed, got {longest}, {smoothing}"
            )
        self.tau = tau
        self.longest = longest
        self.smoothing = smoothing
        self.scale = 1.0
        self.cost = 0.0
        self.redone = 0
        self.steps = 0
        self._top = 0.0  # learning rate
        self._length: float | None = None  # sqrt(cost) of a step of scale and lr 1, predicted

    def step(
        self,
        optimizer: torch.optim.Optimizer,
        energy: Energy | Snapshot,
        walkers: Walkers,
        advance: Advance | None = None,
    ) -> tuple[Walkers, Tensor]:
        """Do ``optimizer.step()``, scaled so that it costs about ``tau`` of effective sample size.

        If the step changes the energies of walkers of normalised weights p by d, the cost is
        ``-log[(sum_i p_i e^{-d_i})^2 / sum_i p_i e^{-2 d_i}]`` nats; tau is the attribute of that
        name.

        Arguments:
            optimizer: optimiser; the gradients have been computed before.
            energy: model before the step, or a `noneq.energies.Snapshot` of it (which notes its
                parameters).
            walkers: weighted samples whose effective sample size measures the cost of the step;
                they are first reweighted to the energy if they are weighted for another.
            advance: function that carries the walkers to the new parameters, e.g. by unadjusted
                Langevin moves; default: the walkers stay and are reweighted.

        Returns:
            The walkers, weighted for the new parameters, and the energies of the walkers (N,) with
            their autograd graph for the next loss.

        Raises:
            ValueError: the steps of this optimiser cannot be scaled.
            FloatingPointError: no step, however short, leaves finite weights.
        """
        _check_optimizer(optimizer)
        if advance is None:
            model = energy.model if isinstance(energy, Snapshot) else energy
            walkers = walkers.reweight(energy)

            def advance(w: Walkers) -> tuple[Walkers, Tensor]:
                # the parameters have just changed: there is nothing to compare with
                return replace(w, under=None).reweight(model, graph=True, raw=True)

        lr = self._rate(optimizer)
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        with torch.no_grad():
            old = list(torch._foreach_mul(parameters, 1.0))
        optimizer.step()
        if lr == 0:
            moved, u = advance(walkers)
            return moved, moved.without_zero(u)
        tau = self.tau * (lr / self._top) ** 2
        with torch.no_grad():
            full = list(torch._foreach_sub(parameters, old))
        guess = 1.0 if self._length is None else math.sqrt(tau) / (self._length * lr)
        limit, scale = self._limit(old, full), math.nan
        for attempt in range(20):
            # the limit and the cost are read together with the numbers of the new weights
            _place(parameters, old, full, scale if attempt else limit.clamp(max=guess))
            moved, u = advance(walkers)
            cess = walkers.weights.conditional_ess(moved.log_w - walkers.log_w)
            left, longest = moved.weights.read_with(cess, limit)
            scale = scale if attempt else min(guess, longest)
            cost = -math.log(max(left, 1e-300))
            if math.isfinite(cost) and cost <= 2 * tau:
                break
            self.redone += 1
            shrink = math.sqrt(tau / cost) if math.isfinite(cost) else 0.1
            scale *= max(0.1, 0.9 * shrink)
        else:
            _place(parameters, old, None, 0.0)
            raise FloatingPointError(_too_expensive(tau, cost))
        self._learn(scale, cost, lr)
        return moved, moved.without_zero(u)

    def state_dict(self) -> dict[str, float | int | None]:
        """Return a dictionary of all attributes, numbers and None, to be saved in a checkpoint."""
        return dict(vars(self))

    def load_state_dict(self, saved: Mapping[str, float | int | None]) -> None:
        """Set all attributes to those that `state_dict` returned earlier.

        Arguments:
            saved: the dictionary.
        """
        vars(self).update(saved)

    def _rate(self, optimizer: torch.optim.Optimizer) -> float:
        """Return the largest learning rate of the groups, and keep the largest so far."""
        rates = [(g["lr"], g.get("initial_lr", 0.0)) for g in optimizer.param_groups]
        lr = max(float(now) for now, _ in rates)
        self._top = max(self._top, lr, *(float(initial) for _, initial in rates))
        return lr

    def _limit(self, old: list[Tensor], full: list[Tensor]) -> Tensor:
        """Compute the largest scale, a 0-d tensor."""
        lengths = torch.stack(torch._foreach_norm([*old, *full]))
        theta, step = torch.linalg.vector_norm(lengths.view(2, -1), dim=1)
        limit: Tensor = self.longest * theta.clamp(min=1.0) / step
        return limit

    def _learn(self, scale: float, cost: float, lr: float) -> None:
        length = math.sqrt(max(cost, 1e-12)) / (scale * lr)
        if self._length is None or length > self._length:
            self._length = length  # at once when steps become longer, slowly when shorter
        else:
            self._length = self.smoothing * self._length + (1 - self.smoothing) * length
        self.scale, self.cost = scale, cost
        self.steps += 1


def _check_optimizer(optimizer: torch.optim.Optimizer) -> None:
    """Raise ValueError for an optimiser whose steps cannot be scaled."""
    name = type(optimizer).__name__
    if any(refused in name for refused in _REFUSED):
        raise ValueError(
            f"a trust region scales steps, which {name} does not allow; use SGD, Adam or kin"
        )


def _too_expensive(tau: float, cost: float) -> str:
    """Word the error for a step that cannot be made short enough."""
    return (
        "no step of the model along its gradient, however short, costs less than 2 tau = "
        f"{2 * tau:.2g} (the last: {cost:.2g}); its parameters are as they were before. "
        "If that is NaN the model has diverged: lower tau, or go back to a checkpoint. If "
        "the walkers move by an unadjusted kernel it may be that kernel's own noise: take "
        "a smaller step size h"
    )


@torch.no_grad()
def _place(
    parameters: list[Tensor], old: list[Tensor], full: list[Tensor] | None, scale: float | Tensor
) -> None:
    """Set the parameters to ``old + scale full``, or to ``old``."""
    if full is not None:
        old = list(torch._foreach_add(torch._foreach_mul(full, scale), old))
    torch._foreach_copy_(parameters, old)
