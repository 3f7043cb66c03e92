"""Alarms: the reasons why a bracket of log Z may be wrong, each a sentence with its remedy.

An alarm is raised where the forward and the backward estimate disagree, where chains that started
from the data differ from those that started from the base, where the islands of a population
(groups that are resampled separately) disagree, where the walkers (weighted samples) descend from
few starting walkers, or where equilibrated chains are in a region that no forward walker reaches.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from noneq.energies import GaussianMixture, Mixture
from noneq.walkers import LogZ, Walkers

__all__ = ["alarms", "stranded"]

ALONE = 0.01  # share of the chains, in a region that no forward walker reaches


def alarms(
    forward: Walkers,
    backward: Walkers,
    equilibrium: Tensor,
    sides: tuple[LogZ, LogZ],
    *,
    split_starts: bool,
    remedy: str,
) -> Iterator[str]:
    """Yield alarms: sentences that say why an estimate of log Z may be wrong, and what to change.

    The estimate is a bracket: annealing samples of a base forward to the model gives a value that
    is low on average, annealing samples of the model backward to the base one that is high.

    Arguments:
        forward: walkers (weighted samples) annealed from the base to the model.
        backward: walkers annealed from the model to the base, which started as Markov chains
            equilibrated under the model.
        equilibrium: energies (N,) of the backward walkers under the model, before they were
            annealed.
        sides: the forward and the backward estimate of log Z, in nats, with standard errors.
        split_starts: whether the first half of the chains started from rows of data and the second
            half from forward walkers; the halves are then compared.
        remedy: advice to a user whose model has modes without data: what to change in training.

    Yields:
        One sentence for each alarm; nothing where no check fails.
    """
    if not all(math.isfinite(number) for side in sides for number in side):
        yield (
            "the forward or the backward estimate of log Z is not finite: the energy is +inf or "
            "NaN on the path; check the model"
        )
        return
    yield from _of_the_sides(*sides)
    if split_starts:
        yield from _of_the_starts(backward, equilibrium, remedy)
    yield from _of_the_islands(forward, "forward")
    yield from _of_the_islands(backward, "backward")
    ancestors = forward.effective_ancestors
    if ancestors < 2 * forward.islands:
        yield (
            f"the forward walkers descend from {ancestors:.0f} of {len(forward)} ancestors, i.e. "
            "nearly all are moved copies of a few: use more temperatures or walkers"
        )


def _of_the_sides(forward: LogZ, backward: LogZ) -> Iterator[str]:
    """Alarms of the two estimates: they differ, they cross, or their errors are large."""
    gap, stderr = backward.value - forward.value, math.hypot(forward.stderr, backward.stderr)
    if gap > max(0.1, min(3 * stderr, 0.3)):
        yield (
            f"the forward and the backward estimate differ by {gap:.2f} nat: log Z is between "
            "them; double the temperatures until they agree"
        )
    if -gap > max(0.1, min(4 * stderr, 0.3)):
        yield (
            f"the forward and the backward estimate cross by {-gap:.2f} nat, with a standard "
            f"error of {stderr:.2f}: one of them misses a mode; look at samples, and use more "
            "walkers, a longer equilibration or a base that covers the data"
        )
    if stderr > 0.15:
        yield (
            f"the difference of the two estimates is known only to ± {stderr:.2f} nat: too few "
            "walkers have weight at the end; use more walkers or temperatures"
        )


def _of_the_starts(backward: Walkers, equilibrium: Tensor, remedy: str) -> Iterator[str]:
    """Alarms of chains that still depend on whether they started from the data or the base."""
    u = equilibrium.double().view(backward.islands, -1).mean(1).chunk(2)
    difference, error = _compare(u[0], u[1])
    if abs(difference) > max(0.1, 4 * error):
        yield (
            "chains that started from the data have a mean energy that differs by "
            f"{difference:+.2f} ± {error:.2f} from that of chains that started from the base: "
            "they do not mix, or the model has a mode without data (spurious); equilibrate "
            f"longer, or train again with {remedy}"
        )
    z = backward.weights.log_mean_by_island.chunk(2)
    difference, error = _compare(z[0], z[1])
    if abs(difference) > max(0.1, 4 * error):
        yield (
            f"log Z from chains that started from the data differs by {-difference:+.2f} ± "
            f"{error:.2f} from log Z from chains that started from the base: they are in "
            "different modes; equilibrate longer"
        )


def _of_the_islands(walkers: Walkers, name: str) -> Iterator[str]:
    """The alarm of islands that disagree on log Z."""
    spread = float(walkers.weights.log_mean_by_island.std())
    if spread > 1:
        yield (
            f"log Z has a standard deviation of {spread:.1f} nat over the {name} islands: its "
            "standard error cannot be trusted; use more walkers or temperatures"
        )


@torch.no_grad()
def stranded(
    mixture: GaussianMixture | Mixture, chains: Walkers, sides: Sequence[Walkers]
) -> Iterator[str]:
    """Yield an alarm where equilibrated chains are in a region that no annealed sample reaches.

    Arguments:
        mixture: mixture fitted to the chains, with one component for each cluster of chains; a
            component is the region of the points to which it gives the highest density.
        chains: walkers (samples) equilibrated under the model by Markov chains.
        sides: walkers annealed forward to the model, one population for each distribution that
            annealing started from.

    Yields:
        An alarm (a sentence on why log Z may be wrong) if at least 1 % of the chains are in
        regions without forward walkers, else nothing.
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
            f"against {u[~alone].mean():.2f}, are in a region that no forward walker reaches: log "
            "Z may lack its mass; use more temperatures, or a base that covers the data"
        )


def _compare(a: Tensor, b: Tensor) -> tuple[float, float]:
    error = (a.var() / len(a) + b.var() / len(b)).sqrt()
    return float(a.mean() - b.mean()), float(error)
