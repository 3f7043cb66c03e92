r"""Lead chains along a recorded course by every kind of gradient, and judge their moments.

Every sampler has the same number of rows a population. One update is: the model changes; weighted
walkers are reweighted and resampled below half; k sweeps of the new model; the moments are taken.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

import noneq
from experiments.cd_bias.course import Course, Truth, moments
from noneq.energies import ModelsPath
from noneq.models.rbm.algebra import Algebra as Machine
from noneq.models.rbm.layers import Bits
from noneq.models.rbm.path import RBMPath
from noneq.training import renew
from noneq.walkers import reductions

__all__ = ["SAMPLERS", "Judged", "Sampler", "exchanged", "judge", "ladder", "swap", "walk"]

Step = tuple[int, Tensor, Tensor]  # update, positions, log-weights
Ladder = Literal["", "temperatures", "checkpoints"]


@dataclass(frozen=True)
class Sampler:
    """How the model's side of the gradient is sampled.

    Attributes:
        name: for people.
        sweeps: k of an update.
        weighted: walkers from the base with weights; else chains from the data without.
        restart: at the data, at every update.
        renew: updates between renewals; each is annealed in as many sweeps. 0: never.
        through: renewals pass every twentieth model of the course; else they come straight from
            the base.
        ladder: replica exchange, by inverse temperature or with earlier models of the course.
        levels: of the ladder, each with an equal share of the rows.
    """

    name: str
    sweeps: int = 1
    weighted: bool = False
    restart: bool = False
    renew: int = 0
    through: bool = False
    ladder: Ladder = ""
    levels: int = 8

    @property
    def cost(self) -> int:
        """Sweeps of one row an update, renewals included."""
        return self.sweeps + (self.renew > 0)


SAMPLERS = (
    Sampler("CD-1", 1, restart=True),
    Sampler("CD-10", 10, restart=True),
    Sampler("PCD-1", 1),
    Sampler("PCD-10", 10),
    Sampler("PCD-1, temperatures", 1, ladder="temperatures"),
    Sampler("PCD-1, checkpoints", 1, ladder="checkpoints"),
    Sampler("weighted-1", 1, weighted=True),
    Sampler("weighted-10", 10, weighted=True),
    Sampler("weighted-1, renewed", 1, weighted=True, renew=60),
    Sampler("weighted-1, renewed through", 1, weighted=True, renew=60, through=True),
)


@dataclass(frozen=True)
class Judged:
    """A gradient's error at one update, in units of that of the population's rows if exact.

    ``bias2`` is unbiased, hence sometimes negative; ``stderr`` is the jackknife's.
    """

    bias2: float
    stderr: float
    variance: float


def judge(found: Tensor, truth: Truth, rows: int) -> Judged:
    """Moments (R, P) of R populations against the exact ones."""
    off = (found - truth.mean) / (truth.floor / rows) ** 0.5
    r, pairs = len(off), (off @ off.T).fill_diagonal_(0.0)
    without = (pairs.sum() - 2 * pairs.sum(1)) / ((r - 1) * (r - 2))
    stderr = ((r - 1) / r * (without - without.mean()).square().sum()).sqrt()
    bias2 = pairs.sum() / (r * (r - 1))
    return Judged(float(bias2), float(stderr), float(off.var(0).sum()))


def walk(course: Course, who: Sampler, populations: int, rows: int, seed: int = 0) -> list[Judged]:
    """Errors at the updates where the truth is known."""
    rng = torch.Generator().manual_seed(seed)
    steps = _exchange if who.ladder else _chains
    found = []
    for t, v, log_w in steps(course, who, populations, rows, rng):
        if t in course.truths:
            p = reductions.normalise(log_w.view(populations, -1))
            m = moments(course.place(t), v.view(*p.shape, -1), p)
            found.append(judge(m, course.truths[t], rows))
    return found


def _chains(
    course: Course, who: Sampler, populations: int, rows: int, rng: torch.Generator
) -> Iterator[Step]:
    n = populations * rows
    kernel = noneq.kernels.Repeat(noneq.kernels.BlockGibbs(), who.sweeps)
    rbm = course.place(0)
    if who.weighted:
        walkers = noneq.Walkers.sample(rbm.base, n, rng, islands=populations)
    else:
        walkers = noneq.Walkers.at(_rows(course.data, n, rng), rbm, islands=populations)
    for t in range(1, len(course) + 1):
        rbm = course.place(t)
        if who.restart:
            if t not in course.truths:
                continue
            walkers = noneq.Walkers.at(_rows(course.data, n, rng), rbm, islands=populations)
        walkers = walkers.reweight(rbm)
        if who.weighted:
            walkers = walkers.resample(0.5, rng)
        walkers = walkers.move(kernel, rbm, rng)
        if who.renew and t % who.renew == 0:
            target = ModelsPath(rbm.base, _models(course, t)) if who.through else rbm
            _, (walkers, _) = renew(
                target, walkers, None, noneq.kernels.BlockGibbs(), rng, who.renew
            )
        yield t, walkers.x, walkers.log_w if who.weighted else torch.zeros_like(walkers.log_w)


def _models(course: Course, t: int) -> list[noneq.BernoulliRBM]:
    """Copies of every twentieth model, the last that of update t."""
    return [copy.deepcopy(course.place(s)) for s in range(20, t + 1, 20)]


def _rows(data: Tensor, n: int, rng: torch.Generator) -> Tensor:
    return data[torch.randint(len(data), (n,), generator=rng)]


def ladder(course: Course, who: Sampler, t: int) -> list[Machine]:
    """The models of a ladder at update t: the first mixes at once, the last is the model."""
    steps = [level / (who.levels - 1) for level in range(who.levels)]
    if who.ladder == "checkpoints":
        return [course.machine(round(t * s)) for s in steps]
    base = course.rbm.base
    assert isinstance(base, noneq.energies.Bernoulli)
    path = RBMPath(base, (Bits(base.logits),), course.machine(t))
    return [path.rbm_at(s) for s in steps]


def swap(models: Sequence[Machine], v: Tensor, rng: torch.Generator, first: int) -> Tensor:
    """Exchange rows of neighbouring levels: v (L, n, d), pairs (first, first + 1), and so on.

    ``log a = U_l(v) + U_{l+1}(v') - U_l(v') - U_{l+1}(v)``: leaves the product of the models
    invariant (Swendsen and Wang 1986; with checkpoints of training: arXiv 2405.15376).
    """
    v = v.clone()
    for low in range(first, len(models) - 1, 2):
        a, b = v[low], v[low + 1]
        u = [[m.energy(x, m.pre(x)) for x in (a, b)] for m in models[low : low + 2]]
        gain = u[0][0] + u[1][1] - u[0][1] - u[1][0]
        u01 = torch.rand(gain.shape, generator=rng, dtype=gain.dtype)
        yes = (u01.log() < gain)[:, None]
        v[low], v[low + 1] = torch.where(yes, b, a), torch.where(yes, a, b)
    return v


def _exchange(
    course: Course, who: Sampler, populations: int, rows: int, rng: torch.Generator
) -> Iterator[Step]:
    n = populations * rows // who.levels
    v = _rows(course.data, who.levels * n, rng).view(who.levels, n, -1)
    for t in range(1, len(course) + 1):
        v = exchanged(course, who, t, v, rng)
        yield t, v[-1], v.new_zeros(n, dtype=torch.float64)


@torch.no_grad()
def exchanged(course: Course, who: Sampler, t: int, v: Tensor, rng: torch.Generator) -> Tensor:
    """Sweeps of all levels (L, n, d) at update t, then swaps of every other pair."""
    models = ladder(course, who, t)
    for _ in range(who.sweeps):
        v = torch.stack([m.sweep(m.pre(x), rng) for m, x in zip(models, v, strict=True)])
    return swap(models, v, rng, t % 2)
