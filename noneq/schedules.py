r"""Schedules: the temperatures and kernels that walkers follow on a path (`noneq.paths`).

A path is any object with a ``start`` and energies ``at(beta)``; `noneq.GeometricPath` is one. A
schedule is frozen before it is used, and the same forward and backward.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from noneq.energies import Energy
from noneq.kernels import Chain, Kernel, Repeat
from noneq.paths import Path

__all__ = ["Schedule"]


@dataclass(frozen=True)
class Schedule:
    """Inverse temperatures from 0 to 1 and the kernel to use at each: frozen before it is used.

    Attributes:
        betas: strictly increasing, first 0, last 1.
        kernels: one for each beta.
    """

    betas: tuple[float, ...]
    kernels: tuple[Kernel, ...]

    def __post_init__(self) -> None:
        b = np.asarray(self.betas)
        if len(b) < 2 or b[0] != 0 or b[-1] != 1:
            raise ValueError(
                f"a schedule leads from beta = 0 to beta = 1, got {len(b)} betas"
                + (f" from {b[0]:g} to {b[-1]:g}" if len(b) else "")
            )
        back = np.flatnonzero(~(np.diff(b) > 0))
        if len(back):
            i = int(back[0])
            raise ValueError(
                f"betas increase strictly from 0 to 1, got {b[i + 1]:g} after {b[i]:g} "
                f"(number {i + 1}); leave out what repeats or turns back"
            )
        if len(self.kernels) != len(b):
            raise ValueError(f"{len(b)} betas need as many kernels, got {len(self.kernels)}")

    @classmethod
    def uniform(cls, steps: int, kernel: Kernel) -> Schedule:
        """``steps`` equal steps of beta with one kernel."""
        if steps < 1:
            raise ValueError(f"a schedule has 1 or more steps, got {steps}")
        return cls(tuple(i / steps for i in range(steps + 1)), (kernel,) * (steps + 1))

    def __len__(self) -> int:
        """The number of steps: evaluations of the energy for each walker."""
        return len(self.betas) - 1

    def resized(self, steps: int) -> Schedule:
        """The same shape with another number of steps, by interpolation.

        Steps that cost equal shares of the effective sample size still do.
        """
        at = np.linspace(0, len(self), steps + 1)
        betas = np.interp(at, np.arange(len(self) + 1), self.betas)
        kernels = tuple(self.kernels[i] for i in np.rint(at).astype(int))
        return Schedule(tuple(betas.tolist()), kernels)

    def cycled(self, scales: tuple[float, ...] = (1.0, 0.3, 1.0, 0.1)) -> Schedule:
        """The same temperatures, the kernels' steps multiplied by ``scales`` in turn.

        A pilot tunes the step to where its walkers are, and such a step is never accepted in a
        mode that is much sharper: the annealed walkers pass it by. The turns are counted back from
        beta = 1, which keeps ``scales[0]``.
        """
        if not scales:
            raise ValueError("scales is empty: a cycle has one multiple of the step or more")
        turn = [(len(self) - i) % len(scales) for i in range(len(self) + 1)]
        kernels = (k.scaled(scales[j]) for j, k in zip(turn, self.kernels, strict=True))
        return Schedule(self.betas, tuple(kernels))

    def forward(self, path: Path) -> Iterator[tuple[Energy, Kernel]]:
        """The models after beta = 0 up to 1, each with its kernel."""
        for beta, kernel in zip(self.betas[1:], self.kernels[1:], strict=True):
            yield path.at(beta), kernel

    def backward(self, path: Path) -> Iterator[tuple[Energy, Kernel | None]]:
        """The mirror image: the models from beta = 1 down, each with its kernel, and the start.

        Every kernel moves under its own model before the walkers leave that; none moves under the
        start. Work is then distributed as Crooks' relation says, with unadjusted kernels, too, if
        each kernel is its own mirror image. All here are, but for `noneq.BlockGibbs` with a
        ``gibbs`` that sweeps one way over three blocks or more.
        """
        for beta, kernel in zip(self.betas[:0:-1], self.kernels[:0:-1], strict=True):
            yield path.at(beta), _mirrored(kernel)
        yield path.at(0.0), None


def _mirrored(kernel: Kernel) -> Kernel:
    """The reversal: the parts of a `Chain` in reverse order; every other kernel is its own."""
    if isinstance(kernel, Chain):
        return Chain(tuple(_mirrored(part) for part in kernel.kernels[::-1]))
    if isinstance(kernel, Repeat):
        return Repeat(_mirrored(kernel.kernel), kernel.times)
    return kernel
