r"""Schedules: the temperatures and kernels that walkers follow on a path (`noneq.energies.paths`).

A path is any object with a ``start`` and energies ``at(beta)``; `noneq.energies.GeometricPath` is
one. A schedule is frozen before it is used, and the same forward and backward.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from noneq.energies import Energy, Path
from noneq.kernels import Chain, Kernel, Repeat, transports

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

    @classmethod
    def along(cls, betas: Sequence[float], kernel: Callable[[float], Kernel]) -> Schedule:
        """Betas from 0 to 1, and for each step the kernel that belongs to its middle.

        For what depends on time: ``Schedule.along(times, lambda t: EulerMaruyama(eps(t)))``.
        """
        middles = [(a + b) / 2 for a, b in itertools.pairwise(betas)]
        kernels = [kernel(middle) for middle in middles]
        return cls(tuple(betas), (*kernels[:1], *kernels))

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
        start. A transport (`noneq.kernels.EulerMaruyama`) leads down the step that it led up. Work
        is then distributed as Crooks' relation says, with unadjusted kernels, too, if each kernel
        is its own mirror image. All here are, but for `noneq.kernels.BlockGibbs` with a ``gibbs``
        that sweeps one way over three blocks or more.

        Raises ValueError for `noneq.kernels.Flow`, which has no way back.
        """
        model = path.at(1.0)
        for beta, kernel in zip(self.betas[-2::-1], self.kernels[:0:-1], strict=True):
            leads, moves = _parted(kernel)
            if moves is not None:
                yield model, _mirrored(moves)
            model = path.at(beta)
            if leads is not None:
                yield model, leads
        yield model, None

    @property
    def equilibration_kernel(self) -> Kernel | None:
        """What moves under the model at beta = 1; None where kernels only lead there."""
        return _parted(self.kernels[-1])[1]

    @property
    def n_backward_steps(self) -> int:
        """How many pairs `backward` yields; ValueError where there is no way back."""
        return 1 + sum((part is not None) for k in self.kernels[1:] for part in _parted(k))


def _parted(kernel: Kernel) -> tuple[Kernel | None, Kernel | None]:
    """What of a kernel leads from model to model, and what moves under the last of them."""
    if not transports(kernel):
        return None, kernel
    if isinstance(kernel, Chain):
        leads, first = _parted(kernel.kernels[0])
        moves = kernel.kernels[1:] if first is None else (first, *kernel.kernels[1:])
        return leads, Chain(moves) if moves else None
    if isinstance(kernel, Repeat):
        return _parted(kernel.kernel)
    if not getattr(kernel, "reversible", True):
        raise ValueError(
            f"{type(kernel).__name__} has no way back by the same map, so that it cannot bracket "
            "log Z: take noneq.kernels.EulerMaruyama"
        )
    return kernel, None


def _mirrored(kernel: Kernel) -> Kernel:
    """The reversal: the parts of a `Chain` in reverse order; every other kernel is its own."""
    if isinstance(kernel, Chain):
        return Chain(tuple(_mirrored(part) for part in kernel.kernels[::-1]))
    if isinstance(kernel, Repeat):
        return Repeat(_mirrored(kernel.kernel), kernel.times)
    return kernel
