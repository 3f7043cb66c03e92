"""Kernels made of kernels: one repeated, several in turn."""

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
    """A kernel applied ``times`` times under one model.

    Only the first application can meet a stale state, so a fresh kernel is refreshed once.
    """

    kernel: Kernel
    times: int

    def __post_init__(self) -> None:
        if self.times < 1:
            raise ValueError(f"a kernel is repeated 1 or more times, got {self.times}")
        if self.times > 1 and transports(self.kernel):
            raise ValueError("a transport is there after one step: it is not repeated")

    @property
    def fresh(self) -> bool:
        """As the kernel's."""
        return self.kernel.fresh

    @property
    def transports(self) -> bool:
        """As the kernel."""
        return transports(self.kernel)

    def __call__(
        self, model: Energy, state: State, rng: torch.Generator
    ) -> tuple[State, Tensor, Info]:
        """Apply the kernel; increments add, observations are averaged."""
        return _compose([self.kernel] * self.times, model, state, rng)

    def adapt(self, info: Observed) -> Repeat:
        """Tune the repeated kernel."""
        return Repeat(self.kernel.adapt(info), self.times)

    def scaled(self, by: float) -> Repeat:
        """Scale the repeated kernel."""
        return Repeat(self.kernel.scaled(by), self.times)

    def preconditioned(self, factor: Factor) -> Repeat:
        """Precondition the repeated kernel."""
        return Repeat(self.kernel.preconditioned(factor), self.times)


@dataclass(frozen=True)
class Chain:
    """Several kernels, one after the other, under one model.

    Fresh if the first is; a later kernel always meets a state evaluated under the model.
    """

    kernels: tuple[Kernel, ...]

    def __post_init__(self) -> None:
        if not self.kernels:
            raise ValueError("a chain has one kernel or more")
        if any(transports(kernel) for kernel in self.kernels[1:]):
            raise ValueError("a transport leads a chain: put it first, and what corrects it after")

    @property
    def fresh(self) -> bool:
        """As the first kernel's."""
        return self.kernels[0].fresh

    @property
    def transports(self) -> bool:
        """As the first kernel; those after it move at the time it has led to."""
        return transports(self.kernels[0])

    def __call__(
        self, model: Energy, state: State, rng: torch.Generator
    ) -> tuple[State, Tensor, Info]:
        """Apply all; increments add, observations are averaged, ``"0:accept"`` is the first's."""
        return _compose(list(self.kernels), model, state, rng, own=True)

    def adapt(self, info: Observed) -> Chain:
        """Tune every kernel by what it observed itself."""

        def own(i: int) -> Observed:
            mine = {k.removeprefix(f"{i}:"): v for k, v in info.items() if k.startswith(f"{i}:")}
            return {**info, **mine}

        return Chain(tuple(kernel.adapt(own(i)) for i, kernel in enumerate(self.kernels)))

    def scaled(self, by: float) -> Chain:
        """Scale every kernel."""
        return Chain(tuple(kernel.scaled(by) for kernel in self.kernels))

    def preconditioned(self, factor: Factor) -> Chain:
        """Precondition every kernel."""
        return Chain(tuple(kernel.preconditioned(factor) for kernel in self.kernels))


def _compose(
    kernels: list[Any], model: Energy, state: State, rng: torch.Generator, *, own: bool = False
) -> tuple[State, Tensor, Info]:
    total: Tensor | None = None
    seen: dict[str, list[Tensor]] = {}
    for i, kernel in enumerate(kernels):
        state, increment, info = kernel(model, state, rng)
        total = increment if total is None else total + increment
        for key, value in info.items():
            # what a chain within has numbered is its own: "0:accept" is not this chain's first
            if not (own and key[0].isdigit()):
                seen.setdefault(key, []).append(value)
            if own:
                seen[f"{i}:{key}"] = [value]
    assert total is not None
    return state, total, {key: torch.stack(values).mean() for key, values in seen.items()}
