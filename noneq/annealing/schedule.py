"""Annealing schedules: the inverse temperatures and kernels with which samples follow a path.

A path is any object with a ``start`` and energies ``at(beta)``, beta in [0, 1], such as
`noneq.energies.GeometricPath`. A schedule is fixed before it is used, and is the same for forward
and backward annealing.
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
    """Holds an annealing schedule: inverse temperatures from 0 to 1 and a kernel for each.

    An inverse temperature beta is the position in [0, 1] of an energy on an annealing path.

    Attributes:
        betas: inverse temperatures, strictly increasing from 0 to 1.
        kernels: one kernel for each inverse temperature; `forward` does not use the first.

    Raises:
        ValueError: betas do not increase from 0 to 1, or the numbers of betas and kernels differ.

    >>> import torch, noneq
    >>> schedule = noneq.Schedule.uniform(4, noneq.MALA(0.1))
    >>> schedule.betas
    (0.0, 0.25, 0.5, 0.75, 1.0)
    >>> len(schedule.resized(100))
    100
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

    def __repr__(self) -> str:
        kinds = ", ".join(dict.fromkeys(type(kernel).__name__ for kernel in self.kernels))
        return f"Schedule({len(self)} steps from 0 to 1, {kinds})"

    @classmethod
    def uniform(cls, steps: int, kernel: Kernel) -> Schedule:
        """Make a schedule of equal steps of the inverse temperature beta with one kernel.

        Arguments:
            steps: number of steps from beta = 0 to beta = 1, 1 or more.
            kernel: kernel that is used at every beta.

        Returns:
            The schedule.

        Raises:
            ValueError: steps is less than 1.
        """
        if steps < 1:
            raise ValueError(f"a schedule has 1 or more steps, got {steps}")
        return cls(tuple(i / steps for i in range(steps + 1)), (kernel,) * (steps + 1))

    @classmethod
    def along(cls, betas: Sequence[float], kernel: Callable[[float], Kernel]) -> Schedule:
        """Make a schedule whose kernel at each step is a function of the mean beta of the step.

        This is for kernels with parameters that depend on time:
        ``Schedule.along(times, lambda t: EulerMaruyama(eps(t)))``.

        Arguments:
            betas: inverse temperatures or times from 0 to 1.
            kernel: function that returns the kernel of a step, given the mean of the betas at the
                two ends of the step.

        Returns:
            The schedule.
        """
        middles = [(a + b) / 2 for a, b in itertools.pairwise(betas)]
        kernels = [kernel(middle) for middle in middles]
        return cls(tuple(betas), (*kernels[:1], *kernels))

    def __len__(self) -> int:
        """Return the number of annealing steps, one less than that of inverse temperatures."""
        return len(self.betas) - 1

    def resized(self, steps: int) -> Schedule:
        """Make a schedule with another number of steps, by interpolation of beta.

        If all steps cost equal shares of the effective sample size, the new steps do so, too.

        Arguments:
            steps: number of steps of the new schedule, 1 or more.

        Returns:
            The schedule; each inverse temperature beta has the kernel of the nearest old step.
        """
        at = np.linspace(0, len(self), steps + 1)
        betas = np.interp(at, np.arange(len(self) + 1), self.betas)
        kernels = tuple(self.kernels[i] for i in np.rint(at).astype(int))
        return Schedule(tuple(betas.tolist()), kernels)

    def cycled(self, scales: tuple[float, ...] = (1.0, 0.3, 1.0, 0.1)) -> Schedule:
        """Return the schedule with the kernels' step sizes multiplied by a cycle of scales.

        A pilot run adapts the step size to the modes in which its samples are. In a much narrower
        mode steps of that size are never accepted, so that annealing would miss the mode; smaller
        steps in between are accepted.

        Arguments:
            scales: factors of the step size: ``scales[0]`` at beta = 1, ``scales[1]`` at the beta
                before, and so on, repeated in a cycle.

        Returns:
            A schedule with the same betas.

        Raises:
            ValueError: scales is empty.
        """
        if not scales:
            raise ValueError("scales is empty: a cycle has one multiple of the step or more")
        turn = [(len(self) - i) % len(scales) for i in range(len(self) + 1)]
        kernels = (k.scaled(scales[j]) for j, k in zip(turn, self.kernels, strict=True))
        return Schedule(self.betas, tuple(kernels))

    def forward(self, path: Path) -> Iterator[tuple[Energy, Kernel]]:
        """Yield the pairs of model and kernel of forward annealing, from beta > 0 to beta = 1.

        Arguments:
            path: path of energies; the start, at beta = 0, is not among the models.

        Yields:
            For each inverse temperature beta but the first, the energy ``path.at(beta)`` and the
            kernel that moves samples under it.
        """
        for beta, kernel in zip(self.betas[1:], self.kernels[1:], strict=True):
            yield path.at(beta), kernel

    def backward(self, path: Path) -> Iterator[tuple[Energy, Kernel | None]]:
        """Yield pairs of model and kernel for backward annealing, from beta = 1 to beta = 0.

        It is the time reversal of `forward`: the kernel at each beta moves samples under the model
        at that beta, before they are reweighted to the next lower beta. A transport kernel
        (`noneq.kernels.EulerMaruyama`) carries samples from a beta to the next lower one. Forward
        and backward work then satisfy Crooks' relation, also for unadjusted kernels, if each
        kernel is its own time reversal. All kernels of this package are, except
        `noneq.kernels.BlockGibbs` for a model whose ``gibbs`` method visits three or more blocks
        in one direction only.

        Arguments:
            path: path of energies, the same as in forward annealing.

        Yields:
            Pairs of energy and kernel as `noneq.anneal` takes them; the last kernel is None.

        Raises:
            ValueError: the schedule has a `noneq.kernels.Flow`, which cannot be reversed here.
        """
        model = path.at(1.0)
        for beta, kernel in zip(self.betas[-2::-1], self.kernels[:0:-1], strict=True):
            transport, moves = _parted(kernel)
            if moves is not None:
                yield model, _mirrored(moves)
            model = path.at(beta)
            if transport is not None:
                yield model, transport
        yield model, None

    @property
    def equilibration_kernel(self) -> Kernel | None:
        """The kernel that moves samples under the model at beta = 1, to equilibrate them.

        It is None if the last kernel only carries samples from one energy to the next (a
        transport).
        """
        return _parted(self.kernels[-1])[1]

    @property
    def n_backward_steps(self) -> int:
        """The number of pairs of model and kernel that `backward` yields.

        Raises:
            ValueError: the schedule has a `noneq.kernels.Flow`, which cannot be reversed.
        """
        return 1 + sum((part is not None) for k in self.kernels[1:] for part in _parted(k))


def _parted(kernel: Kernel) -> tuple[Kernel | None, Kernel | None]:
    """Split a kernel in the transport from model to model and the kernel under the last."""
    if not transports(kernel):
        return None, kernel
    if isinstance(kernel, Chain):
        transport, first = _parted(kernel.kernels[0])
        moves = kernel.kernels[1:] if first is None else (first, *kernel.kernels[1:])
        return transport, Chain(moves) if moves else None
    if isinstance(kernel, Repeat):
        return _parted(kernel.kernel)
    if not getattr(kernel, "reversible", True):
        raise ValueError(
            f"{type(kernel).__name__} has no way back by the same map, so that it cannot bracket "
            "log Z: take noneq.kernels.EulerMaruyama"
        )
    return kernel, None


def _mirrored(kernel: Kernel) -> Kernel:
    """Return the reversal: a `Chain` with its parts in reverse order; others as they are."""
    if isinstance(kernel, Chain):
        return Chain(tuple(_mirrored(part) for part in kernel.kernels[::-1]))
    if isinstance(kernel, Repeat):
        return Repeat(_mirrored(kernel.kernel), kernel.times)
    return kernel
