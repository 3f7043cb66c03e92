"""Kernels made of kernels: `Repeat` applies one several times, `Chain` several in turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from noneq.energies import Energy, Factor
from noneq.kernels.base import Info, Kernel, Observed, State, transports

__all__ = ["Chain", "Repeat"]


@dataclass(frozen=True)
class Repeat:
    """Applies a kernel several times under one model and adds up the log-weight increments.

    Arguments:
        kernel: kernel to repeat.
        times: number of applications, 1 or more.

    Raises:
        ValueError: ``times`` is below 1, or it is above 1 and the kernel is a transport (a kernel
            that carries walkers from one energy of a path to the next in one step).
    """

    kernel: Kernel
    times: int

    def __post_init__(self) -> None:
        if self.times < 1:
            raise ValueError(f"a kernel is repeated 1 or more times, got {self.times}")
        if self.times > 1 and transports(self.kernel):
            raise ValueError("a transport arrives after one step: it is not repeated")

    @property
    def fresh(self) -> bool:
        """Whether the repeated kernel needs energies evaluated under the model it is given."""
        return self.kernel.fresh

    @property
    def transports(self) -> bool:
        """Whether the repeated kernel is a transport, from another energy to the model."""
        return transports(self.kernel)

    def __call__(
        self, model: Energy, state: State, rng: torch.Generator
    ) -> tuple[State, Tensor, Info]:
        """Apply the repeated kernel ``times`` times.

        Arguments:
            model: energy that the kernel targets.
            state: N walkers (weighted samples) with their energies.
            rng: source of randomness.

        Returns:
            The new state, the sum of the log-weight increments (N,), and averaged observations.
        """
        return _compose([self.kernel] * self.times, model, state, rng)

    def adapt(self, info: Observed) -> Repeat:
        """Return a `Repeat` whose kernel has adapted its step size to ``info["accept"]``."""
        return Repeat(self.kernel.adapt(info), self.times)

    def scaled(self, by: float) -> Repeat:
        """Return a `Repeat` whose kernel has its step size multiplied by ``by``."""
        return Repeat(self.kernel.scaled(by), self.times)

    def preconditioned(self, factor: Factor) -> Repeat:
        """Return a `Repeat` whose kernel has the preconditioner ``L L^T``, L = ``factor``."""
        return Repeat(self.kernel.preconditioned(factor), self.times)


@dataclass(frozen=True)
class Chain:
    """Applies several kernels in turn under one model and adds up the log-weight increments.

    Arguments:
        kernels: kernels in the order in which they are applied, one or more. Only the first may be
            a transport, a kernel that carries walkers from one energy of a path to the next.

    Raises:
        ValueError: there are no kernels, or a transport is not the first.
    """

    kernels: tuple[Kernel, ...]

    def __post_init__(self) -> None:
        if not self.kernels:
            raise ValueError("a chain has one kernel or more")
        if any(transports(kernel) for kernel in self.kernels[1:]):
            raise ValueError(
                "a transport leads a chain: put it first, and kernels that correct it after"
            )

    @property
    def fresh(self) -> bool:
        """Whether the first kernel needs energies evaluated under the model it is given."""
        return self.kernels[0].fresh

    @property
    def transports(self) -> bool:
        """Whether the first kernel is a transport, which carries walkers to the model's energy."""
        return transports(self.kernels[0])

    def __call__(
        self, model: Energy, state: State, rng: torch.Generator
    ) -> tuple[State, Tensor, Info]:
        """Apply all kernels in turn.

        Arguments:
            model: energy that the kernels target.
            state: N walkers (weighted samples) with their energies.
            rng: source of randomness.

        Returns:
            The new state, the sum of the log-weight increments (N,), and observations: "accept" is
            the mean acceptance of the kernels, "0:accept" that of the first kernel, and so on.
        """
        return _compose(list(self.kernels), model, state, rng, own=True)

    def adapt(self, info: Observed) -> Chain:
        """Return a `Chain` in which every kernel has adapted its step size.

        Arguments:
            info: observations of a move of the chain; the entry "0:accept" is the acceptance of
                the first kernel, and so on.

        Returns:
            The new chain.
        """

        def own(i: int) -> Observed:
            mine = {k.removeprefix(f"{i}:"): v for k, v in info.items() if k.startswith(f"{i}:")}
            return {**info, **mine}

        return Chain(tuple(kernel.adapt(own(i)) for i, kernel in enumerate(self.kernels)))

    def scaled(self, by: float) -> Chain:
        """Return a `Chain` in which every kernel has its step size multiplied by ``by``."""
        return Chain(tuple(kernel.scaled(by) for kernel in self.kernels))

    def preconditioned(self, factor: Factor) -> Chain:
        """Return a `Chain` whose kernels all have the preconditioner ``L L^T``, L = ``factor``."""
        return Chain(tuple(kernel.preconditioned(factor) for kernel in self.kernels))


def _compose(
    kernels: list[Any], model: Energy, state: State, rng: torch.Generator, *, own: bool = False
) -> tuple[State, Tensor, Info]:
    """Apply kernels in turn; with ``own`` the observations of each are kept, numbered."""
    total: Tensor | None = None
    seen: dict[str, list[Tensor]] = {}
    for i, kernel in enumerate(kernels):
        state, increment, info = kernel(model, state, rng)
        total = increment if total is None else total + increment
        for key, value in info.items():
            # numbered entries come from a nested chain: its "0:accept" is not this chain's first
            if not (own and key[0].isdigit()):
                seen.setdefault(key, []).append(value)
            if own:
                seen[f"{i}:{key}"] = [value]
    assert total is not None
    return state, total, {key: _mean(values) for key, values in seen.items()}


def _mean(values: list[Tensor]) -> Tensor:
    """Average observations, some of which may be of each walker (N,) and some of all, 0-d."""
    if len({value.dim() for value in values}) > 1:
        values = [value.expand(max(v.shape for v in values)) for value in values]
    return torch.stack(values).mean(0)
