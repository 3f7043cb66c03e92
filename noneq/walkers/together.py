"""One call of a kernel for several populations of walkers (weighted samples)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from noneq.energies import Energy, Snapshot
from noneq.kernels import Kernel
from noneq.walkers.faults import check_space
from noneq.walkers.moves import apply_together, moved, needs_reweighting
from noneq.walkers.walkers import Walkers

__all__ = ["move_together"]


def move_together(
    populations: Sequence[Walkers],
    kernel: Kernel,
    energy: Energy | Snapshot,
    rng: torch.Generator,
) -> list[Walkers]:
    """Move several populations of walkers (weighted samples) by one call of a kernel.

    Each walker moves as by `Walkers.move`, and each population keeps its own weights. The energy
    is evaluated once for the walkers of all populations, which is faster than once for each.

    Arguments:
        populations: the populations, all in the same space; one or more.
        kernel: transition kernel.
        energy: energy that the kernel targets.
        rng: source of randomness, on the walkers' device.

    Returns:
        The populations after the move, in the same order, weighted for the energy.

    >>> import torch, noneq
    >>> rng, base = torch.Generator().manual_seed(0), noneq.Gaussian.fit(torch.randn(99, 2))
    >>> few, many = (noneq.Walkers.sample(base, n, rng) for n in (8, 64))
    >>> few, many = move_together([few, many], noneq.MALA(0.1), base, rng)
    >>> len(few), len(many)
    (8, 64)
    """
    now = Snapshot.of(energy)
    for one in populations:
        check_space(one.x, now.model, one.under)
    ready = [w.reweight(now) if needs_reweighting(w, kernel, now) else w for w in populations]
    results = apply_together(kernel, now.model, [w.state for w in ready], rng)
    return [moved(w, kernel, now, *result) for w, result in zip(ready, results, strict=True)]
