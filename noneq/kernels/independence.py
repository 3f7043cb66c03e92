"""Independence proposals: walkers jump to new samples of a base, however far apart modes are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from noneq.energies import Energy, Factor, Solvable, evaluate
from noneq.kernels.base import Info, Kernel, Observed, State, metropolis, transports
from noneq.numerics import without_autocast
from noneq.spaces import context_size

__all__ = ["Refreshed"]


@dataclass(frozen=True)
class Refreshed:
    """Applies a kernel, and then proposes a new sample of a base to every walker.

    The proposal y is drawn from ``exp(-U_0(y)) / Z_0``, whatever the position x is, and accepted
    with probability ``min(1, exp[U(x) - U_0(x) - U(y) + U_0(y)])``, which leaves the model
    ``exp(-U)`` invariant; log-weights are those of the first kernel. Where base and model are a
    few nats apart, walkers soon forget where they were, and find modes of the model that no other
    walker has found. A context is proposed anew, too, with the rest of the row. Source: the
    independence sampler of Hastings 1970 and Tierney 1994.

    Arguments:
        kernel: kernel that is applied first.
        base: solvable energy U_0, from which exact samples are proposed.

    Attributes:
        h: step size of the first kernel.
        factor: square root of the preconditioner of the first kernel.

    Raises:
        ValueError: the first kernel is a transport.

    >>> import noneq
    >>> from noneq.kernels import MALA
    >>> base = noneq.GaussianMixture(
    ...     torch.tensor([[-9.0], [9.0]]), torch.ones(2, 1, 1), torch.ones(2)
    ... )
    >>> rng = torch.Generator().manual_seed(0)
    >>> kernel = Refreshed(MALA(0.5), base)
    >>> walkers = noneq.Walkers.at(torch.full((1000, 1), -9.0), base, log_z=0.0)
    >>> walkers = walkers.move(kernel, base, rng)  # no barrier keeps them where they were
    >>> 0.4 < float((walkers.x > 0).float().mean()) < 0.6
    True
    """

    kernel: Kernel
    base: Solvable

    def __post_init__(self) -> None:
        if transports(self.kernel):
            raise ValueError("a transport leads a chain: put it first, and this kernel after it")

    @property
    def fresh(self) -> bool:
        """Whether the first kernel needs energies evaluated under the model it is given."""
        return self.kernel.fresh

    @property
    def h(self) -> float:
        """The step size of the first kernel."""
        h: float = self.kernel.h  # type: ignore[attr-defined]
        return h

    @property
    def factor(self) -> Factor:
        """The square root of the preconditioner of the first kernel."""
        factor: Factor = self.kernel.factor  # type: ignore[attr-defined]
        return factor

    def __call__(
        self, model: Energy, state: State, rng: torch.Generator
    ) -> tuple[State, Tensor, Info]:
        """Apply the kernel, and make a proposal to every walker, with one more evaluation.

        Arguments:
            model: energy that the kernel targets.
            state: N walkers (weighted samples) with their energies.
            rng: source of randomness.

        Returns:
            The new state, the log-weight increments (N,) of the first kernel, and its
            observations, with "refreshed" (N,), 1.0 for walkers that accepted their proposal.
        """
        if context_size(model) != context_size(self.base):
            raise ValueError("Refreshed proposes samples of its base, which has another context")
        state, increment, info = self.kernel(model, state, rng)
        with torch.no_grad(), without_autocast(state.x):
            y = self.base.sample(len(state.x), rng).to(state.x)
            before, after = self.base(state.x), self.base(y)  # whose gradients nobody needs
        u, cache = evaluate(model, y)
        new = State(y, u, cache, state.aux)
        state, _, own = metropolis(state, new, state.u - before - u + after, rng)
        fault = torch.maximum(own["fault"], info.get("fault", own["fault"]))
        return state, increment, {**info, "refreshed": own["accept"], "fault": fault}

    def adapt(self, info: Observed) -> Self:
        """Return the kernel with the step size of the first one adapted to the acceptance."""
        return replace(self, kernel=self.kernel.adapt(info))

    def scaled(self, by: float) -> Self:
        """Return the kernel with the step size of the first one multiplied by ``by``."""
        return replace(self, kernel=self.kernel.scaled(by))

    def preconditioned(self, factor: Factor) -> Self:
        """Return the kernel with another preconditioner of the first one."""
        return replace(self, kernel=self.kernel.preconditioned(factor))
