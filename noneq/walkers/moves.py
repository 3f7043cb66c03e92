"""What a move of a kernel does to walkers (weighted samples), of one population or of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor

from noneq.energies import Cache, Energy, Snapshot
from noneq.kernels import Info, Kernel, State, transports
from noneq.kernels.base import apply_in_parts, each
from noneq.walkers.faults import LastMove
from noneq.walkers.graph import WithGraph
from noneq.walkers.readings import Readings

__all__ = ["apply", "apply_together", "moved", "needs_reweighting"]

W = TypeVar("W", bound=Readings)


def needs_reweighting(walkers: Readings, kernel: Kernel, now: Snapshot) -> bool:
    """Return whether walkers must be weighted for a new energy before a kernel moves them.

    A transport (a kernel that carries walkers from one energy of a path to the next) never needs
    it. Any other kernel does if it leaves the new energy invariant, or if the gradient at the
    walkers is unknown and only a method ``gradient`` of the earlier energy could compute it.

    Arguments:
        walkers: walkers (weighted samples) before the move.
        kernel: kernel of the next move.
        now: new energy, which the kernel targets.

    Returns:
        True where `Walkers.reweight` has to come first.
    """
    if transports(kernel):
        return False
    models = (now.model, None if walkers.under is None else walkers.under.model)
    lacks = "g" not in walkers.state.cache and any(hasattr(model, "gradient") for model in models)
    return kernel.fresh or lacks


def apply(
    kernel: Kernel, energy: Energy, state: State, rng: torch.Generator, *, graph: bool
) -> tuple[State, Tensor, Info]:
    """Move the walkers of a state by a kernel, with or without the autograd graph of the energies.

    Arguments:
        kernel: transition kernel.
        energy: energy that the kernel targets.
        state: positions and energies of N walkers (weighted samples).
        rng: source of randomness.
        graph: whether the new energies keep their graph to the parameters; without it, large
            populations are moved in parts to save memory.

    Returns:
        The new state, whose energies alone keep the graph, the increments of the log-weights (N,)
        and observations of the kernel, such as the acceptance.
    """
    if not graph:
        return apply_in_parts(kernel, energy, state, rng)
    state, increment, info = kernel(WithGraph(energy), state, rng)
    return state, increment.detach(), {key: value.detach() for key, value in info.items()}


def apply_together(
    kernel: Kernel, energy: Energy, states: Sequence[State], rng: torch.Generator
) -> list[tuple[State, Tensor, Info]]:
    """Move the walkers of several states by one call of a kernel, which needs fewer evaluations.

    Arguments:
        kernel: transition kernel.
        energy: energy that the kernel targets.
        states: positions and energies of populations of walkers (weighted samples); tensors that
            some of their caches lack are left out of all.
        rng: source of randomness.

    Returns:
        For each state a tuple of the new state, the increments of the log-weights, one for each of
        its walkers, and the observations.
    """
    caches = _shared([one.cache for one in states])
    aux = _shared([one.aux for one in states])
    cut = [State(s.x, s.u, c, a) for s, c, a in zip(states, caches, aux, strict=True)]
    whole = each(lambda *parts: torch.cat(parts), cut[0], *cut[1:])
    new, increment, info = apply_in_parts(kernel, energy, whole, rng)
    sizes = [len(one.x) for one in states]

    def split(t: Tensor) -> Sequence[Tensor]:
        return torch.split(t, sizes) if t.dim() else [t] * len(sizes)

    def split_all(held: dict[str, Tensor]) -> list[dict[str, Tensor]]:
        parts = {key: split(value) for key, value in held.items()}
        return [{key: part[i] for key, part in parts.items()} for i in range(len(sizes))]

    ends = map(State, split(new.x), split(new.u), split_all(new.cache), split_all(new.aux))
    return list(zip(ends, split(increment), split_all(info), strict=True))


def _shared(caches: Sequence[Cache]) -> list[Cache]:
    """Leave out of each cache what another one lacks."""
    keys = [key for key in caches[0] if all(key in cache for cache in caches)]
    return [{key: cache[key] for key in keys} for cache in caches]


def moved(
    walkers: W, kernel: Kernel, now: Snapshot, state: State, increment: Tensor, info: Info
) -> W:
    """Return walkers (weighted samples) after a move, given what the kernel returned.

    Arguments:
        walkers: the walkers before the move.
        kernel: kernel that moved them.
        now: energy that the kernel targets.
        state: new state that the kernel returned.
        increment: increments of the log-weights (N,).
        info: observations of the kernel, which are averaged over the walkers.

    Returns:
        The walkers at the new positions, with new weights.
    """
    # no kernel that leaves the energy invariant leads to an energy of +inf; that a transport does
    # is a fault
    zero = None if kernel.fresh or transports(kernel) else state.u.isposinf()
    after: W = replace(
        walkers,  # type: ignore[type-var]
        state=state,
        weights=walkers.weights.add(increment, zero=zero),
        info={key: value.mean() for key, value in info.items()},
        under=walkers.under if kernel.fresh else now,
        last_move=LastMove(kernel, increment, walkers.state.u, state.u),
    )
    return after
