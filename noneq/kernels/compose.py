"""Kernels made of kernels: one that is repeated, and several in turn."""

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
    """Applies a kernel several times under one model.

    Only the first application can meet a stale state, so one refresh serves all of them.

    Arguments:
        kernel: kernel to repeat.
        times: number of applications, 1 or more.

    Raises:
        ValueError: ``times`` is below 1, or a transport, which arrives in one step, is repeated.
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
        """Whether the repeated kernel needs a fresh state."""
        return self.kernel.fresh

    @property
    def transports(self) -> bool:
        """Whether the repeated kernel is a transport."""
        return transports(self.kernel)

    def __call__(
        self, model: Energy, state: State, rng: torch.Generator
    ) -> tuple[State, Tensor, Info]:
        """Apply the kernel ``times`` times; increments add, observations are averaged."""
        return _compose([self.kernel] * self.times, model, state, rng)

    def adapt(self, info: Observed) -> Repeat:
        """Adapt the repeated kernel."""
        return Repeat(self.kernel.adapt(info), self.times)

    def scaled(self, by: float) -> Repeat:
        """Scale the step size of the repeated kernel."""
        return Repeat(self.kernel.scaled(by), self.times)

    def preconditioned(self, factor: Factor) -> Repeat:
        """Precondition the repeated kernel."""
        return Repeat(self.kernel.preconditioned(factor), self.times)


@dataclass(frozen=True)
class Chain:
    """Applies several kernels one after the other under one model.

    Only the first kernel can meet a stale state: a later one meets a state evaluated under the
    model.

    Arguments:
        kernels: kernels in their order, one or more; only the first may be a transport.

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
        """Whether the first kernel needs a fresh state."""
        return self.kernels[0].fresh

    @property
    def transports(self) -> bool:
        """Whether the first kernel is a transport; later kernels move at its end time."""
        return transports(self.kernels[0])

    def __call__(
        self, model: Energy, state: State, rng: torch.Generator
    ) -> tuple[State, Tensor, Info]:
        """Apply all kernels in turn; increments add.

        Observations are averaged over the kernels; those of kernel i alone have the prefix
        ``"i:"``.
        """
        return _compose(list(self.kernels), model, state, rng, own=True)

    def adapt(self, info: Observed) -> Chain:
        """Adapt every kernel by its own observations."""

        def own(i: int) -> Observed:
            mine = {k.removeprefix(f"{i}:"): v for k, v in info.items() if k.startswith(f"{i}:")}
            return {**info, **mine}

        return Chain(tuple(kernel.adapt(own(i)) for i, kernel in enumerate(self.kernels)))

    def scaled(self, by: float) -> Chain:
        """Scale the step size of every kernel."""
        return Chain(tuple(kernel.scaled(by) for kernel in self.kernels))

    def preconditioned(self, factor: Factor) -> Chain:
        """Precondition every kernel."""
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
    return state, total, {key: torch.stack(values).mean() for key, values in seen.items()}
