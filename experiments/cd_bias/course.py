r"""Recorded courses of machines that learn, and their exact moments by enumeration.

A course is ``theta_0 .. theta_T``. Samplers are led along it afterwards
(`experiments.cd_bias.walks`), so that all see the same models. It is learned from the exact
gradient of the likelihood of all rows, but for the digits (20 hidden units), whose walkers are
weighted and many.

The moments compared are those of the gradient in the machine's own, centred coordinates,

    ``f(v) = ((v - mu)(p - lam)^T, v, p)``,  ``p = P(h = 1 | v)``:

``E_rho[f]`` is exact as a sum over hidden states, where v given h is known in closed form.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import softplus
from torch.nn.utils import parameters_to_vector, vector_to_parameters

import noneq
from experiments.rbm.sets import SETS, Bits, far_clusters
from noneq.models.rbm.algebra import Algebra as Machine
from noneq.models.rbm.layers import bits

__all__ = ["COURSES", "Course", "Truth", "exact", "exactly", "log_z", "moments", "recorded"]

Name = Literal["fifty", "far", "bars", "far 14", "digits"]
#: hidden units
COURSES: dict[Name, int] = {"fifty": 12, "far": 8, "bars": 8, "far 14": 6, "digits": 20}
UPDATES, EVERY, RATE = 240, 20, 0.03
AT_ONCE = 2**13  # hidden states


@dataclass(frozen=True)
class Truth:
    """What is known at one update: ``E_rho[f]`` (P,), and ``tr Cov_rho(f)``, of one sample."""

    mean: Tensor
    floor: float


@dataclass(frozen=True)
class Course:
    """A machine whose parameters are set to any update of its recorded training."""

    name: str
    rbm: noneq.BernoulliRBM
    data: Tensor
    thetas: Tensor
    truths: dict[int, Truth] = field(default_factory=dict)

    def __len__(self) -> int:
        """Updates T."""
        return len(self.thetas) - 1

    def place(self, t: int) -> noneq.BernoulliRBM:
        """The machine, its parameters those of update t."""
        vector_to_parameters(self.thetas[t], self.rbm.parameters())
        return self.rbm

    @torch.no_grad()
    def machine(self, t: int) -> Machine:
        """Numbers of update t that stay what they are."""
        m = self.place(t).algebra()
        return m._replace(w=m.w.clone())


def moments(rbm: noneq.BernoulliRBM, v: Tensor, p: Tensor) -> Tensor:
    """``sum_i p_i f(v_i)`` of every population: v (R, n, d), p (R, n) -> (R, P), float64."""
    with torch.no_grad():
        h = rbm.features(v.flatten(0, 1)).view(*v.shape[:2], -1).double()
        v = v.double()
        both = ((v - rbm.mu) * p[..., None]).mT @ (h - rbm.lam)
        rest = (p[:, None] @ torch.cat([v, h], -1))[:, 0]
    return torch.cat([both.flatten(1), rest], 1)


@torch.no_grad()
def exact(rbm: noneq.BernoulliRBM) -> Tensor:
    """``E_rho[f]`` (P,) by a sum over the hidden states, float64."""
    m, units = rbm.algebra(), len(rbm.c)
    states, masses, sums = torch.arange(2**units).split(AT_ONCE), [], []
    for k in states:
        h = bits(k, units).to(m.w)
        fields = m.fields(h)
        log_p = (h @ m.c + softplus(fields).sum(1)).double()
        shift, v = log_p.max(), fields.sigmoid().double()
        p, h = (log_p - shift).exp(), h.double()
        both = ((v - rbm.mu) * p[:, None]).mT @ (h - rbm.lam)
        sums.append(torch.cat([both.flatten(), p @ v, p @ h, p.sum()[None]]))
        masses.append(shift)
    total = torch.stack(masses).softmax(0) @ torch.stack(sums)
    return total[:-1] / total[-1]


@torch.no_grad()
def log_z(rbm: noneq.BernoulliRBM) -> float:
    """By enumeration, summands in float32: half the time of ``rbm.log_z()`` with 20 units."""
    m, units = rbm.algebra(), len(rbm.c)
    parts = (bits(k, units).to(m.w) for k in torch.arange(2**units).split(AT_ONCE))
    log_p = [h @ m.c + softplus(m.fields(h)).sum(1) for h in parts]
    return float(torch.cat(log_p).double().logsumexp(0))


def known(name: Name) -> Bits:
    """The set of a course."""
    return far_clusters(bits=14) if name == "far 14" else SETS[name]()


def recorded(name: Name, *, updates: int = UPDATES) -> Course:
    """The course of that name: the same bits every time on the same machine."""
    data, rng = known(name).train, torch.Generator().manual_seed(0)
    rbm = noneq.BernoulliRBM.from_data(data, COURSES[name], rng, scale=0.05)
    optimizer = torch.optim.Adam(rbm.parameters(), lr=RATE)
    thetas = [parameters_to_vector(rbm.parameters()).detach().clone()]
    learn = _weighted if COURSES[name] > 12 else exactly
    for _ in learn(rbm, data, optimizer, updates, rng):
        thetas.append(parameters_to_vector(rbm.parameters()).detach().clone())
    course = Course(name, rbm, data, torch.stack(thetas))
    for t in range(EVERY, updates + 1, EVERY):
        course.place(t)
        x = rbm.sample(2**14, rng).view(-1, 1, data.shape[1])
        floor = float(moments(rbm, x, torch.ones(x.shape[:2], dtype=torch.float64)).var(0).sum())
        course.truths[t] = Truth(exact(rbm), floor)
    return course


def exactly(
    rbm: noneq.BernoulliRBM,
    data: Tensor,
    optimizer: torch.optim.Optimizer,
    updates: int,
    rng: torch.Generator | None = None,  # noqa: ARG001
) -> Iterator[None]:
    """Updates by the exact gradient of the likelihood of all rows."""
    states = bits(torch.arange(2 ** len(rbm.c)), len(rbm.c)).to(rbm.w)
    for _ in range(updates):
        fields = rbm.visible_bias + states @ rbm.w.T
        log_z = (states @ rbm.hidden_bias + softplus(fields).sum(1)).logsumexp(0)
        optimizer.zero_grad()
        (rbm(data).mean() + log_z).backward()
        optimizer.step()
        yield


def _weighted(
    rbm: noneq.BernoulliRBM,
    data: Tensor,
    optimizer: torch.optim.Optimizer,
    updates: int,
    rng: torch.Generator,
) -> Iterator[None]:
    settings = noneq.Settings(
        walkers=2048, held_out=None, moves=2, renew=None, tau=0.2, batch=len(data)
    )
    for found in noneq.train(rbm, data, settings, optimizer=optimizer, rng=rng):
        yield
        if found.iteration == updates:
            return
