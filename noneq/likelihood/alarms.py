"""Why a bracket of log Z may be wrong: one sentence each, with what to do."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from noneq.energies import GaussianMixture, Mixture
from noneq.walkers import LogZ, Walkers

__all__ = ["alarms", "stranded"]

ALONE = 0.01  # of the chains, where no other walker is


def alarms(
    forward: Walkers,
    backward: Walkers,
    equilibrium: Tensor,
    sides: tuple[LogZ, LogZ],
    *,
    split_starts: bool,
    remedy: str,
) -> Iterator[str]:
    """What speaks against a bracket, a sentence each.

    Arguments:
        forward: walkers annealed from the base to the model.
        backward: walkers annealed from the model to the base.
        equilibrium: (N,) energies of the backward walkers when they started.
        sides: log Z by either, forward first.
        split_starts: whether the backward walkers' first half started from data, the other half
            from the base.
        remedy: with what a model is trained again that has grown a mode of its own.
    """
    if not all(math.isfinite(number) for side in sides for number in side):
        yield "a side is not finite: the energy is +inf or NaN on the path; check the model"
        return
    yield from _of_the_sides(*sides)
    if split_starts:
        yield from _of_the_starts(backward, equilibrium, remedy)
    yield from _of_the_islands(forward, "forward")
    yield from _of_the_islands(backward, "backward")
    ancestors = forward.effective_ancestors
    if ancestors < 2 * forward.islands:
        yield (
            f"the forward walkers descend from {ancestors:.0f} of {len(forward)} "
            "ancestors: use more temperatures or walkers"
        )


def _of_the_sides(forward: LogZ, backward: LogZ) -> Iterator[str]:
    """Sides that are apart, that cross by more than their errors, or whose errors are large."""
    gap, stderr = backward.value - forward.value, math.hypot(forward.stderr, backward.stderr)
    if gap > max(0.1, min(3 * stderr, 0.3)):
        yield (
            f"the sides differ by {gap:.2f} nat: the truth is between them; "
            "double the temperatures until they meet"
        )
    if -gap > max(0.1, min(4 * stderr, 0.3)):
        yield (
            f"the sides cross by {-gap:.2f} nat, with a standard error of {stderr:.2f}: one side "
            "misses a mode; look at samples, and use more walkers, a longer equilibration or a "
            "base that covers the data"
        )
    if stderr > 0.15:
        yield (
            f"the sides are known only to ± {stderr:.2f} nat: too few walkers arrive with weight; "
            "use more walkers or temperatures"
        )


def _of_the_starts(backward: Walkers, equilibrium: Tensor, remedy: str) -> Iterator[str]:
    """Chains that still tell whether they started from the data or from the base."""
    u = equilibrium.double().view(backward.islands, -1).mean(1).chunk(2)
    difference, error = _compare(u[0], u[1])
    if abs(difference) > max(0.1, 4 * error):
        yield (
            f"chains from the data have mean energy {difference:+.2f} ± {error:.2f} against "
            "chains from the base: they do not mix, or the model has a mode without data "
            f"(spurious); equilibrate longer, or train again with {remedy}"
        )
    z = backward.weights.log_mean_by_island.chunk(2)
    difference, error = _compare(z[0], z[1])
    if abs(difference) > max(0.1, 4 * error):
        yield (
            f"log Z from the data's chains is {-difference:+.2f} ± {error:.2f} against the "
            "base's chains: they start in different modes; equilibrate longer"
        )


def _of_the_islands(walkers: Walkers, name: str) -> Iterator[str]:
    """Islands that do not agree on log Z."""
    spread = float(walkers.weights.log_mean_by_island.std())
    if spread > 1:
        yield (
            f"log Z spreads by {spread:.1f} nat over the {name} islands: its standard error "
            "is not to be believed; use more walkers or temperatures"
        )


@torch.no_grad()
def stranded(
    mixture: GaussianMixture | Mixture, chains: Walkers, sides: Sequence[Walkers]
) -> Iterator[str]:
    """Whether equilibrated chains stand where no forward walker arrives.

    Arguments:
        mixture: fitted to the chains, a component for each of their clusters.
        chains: that have moved under the model.
        sides: forward walkers from every start.
    """
    own = mixture.responsibilities(chains.x).argmax(1)
    arrived = torch.zeros(len(mixture.log_masses), dtype=torch.bool, device=own.device)
    for walkers in sides:
        arrived[mixture.responsibilities(walkers.x[walkers.log_w > -math.inf]).argmax(1)] = True
    alone = ~arrived[own]
    count, u = int(alone.sum()), chains.state.u.double()
    if count >= ALONE * len(chains):
        yield (
            f"{count} of {len(chains)} equilibrated chains, of mean energy {u[alone].mean():.2f} "
            f"against {u[~alone].mean():.2f}, stand where no forward walker arrives: log Z may "
            "lack the mass there; use more temperatures, or a base that covers the data"
        )


def _compare(a: Tensor, b: Tensor) -> tuple[float, float]:
    error = (a.var() / len(a) + b.var() / len(b)).sqrt()
    return float(a.mean() - b.mean()), float(error)
