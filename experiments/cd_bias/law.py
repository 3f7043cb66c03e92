r"""The exact law of persistent chains on a small RBM, and its linear response.

Chains of PCD-k have the law ``mu_t = mu_{t-1} P_t^k``, P_t one sweep of update t's model. With at
most 14 visible units mu is a vector over their states, and a sweep is two matrix products, one
for each layer, so that the bias ``delta_t[f] = mu_t[f] - rho_t[f]`` is known without a chain.

To first order in an update ``dU = U_t - U_{t-1}`` the model changes by ``-rho (dU - <dU>)``, so

    ``delta_t[f] = sum_{s <= t} Cov_{rho_{s-1}}(dU_s, P_s^k ... P_t^k f)``:

each update leaves a trace that the sweeps since have not yet worn away (docs/mathematics.md).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from experiments.cd_bias.course import Course, moments
from noneq.models.rbm.algebra import Algebra as Machine
from noneq.models.rbm.layers import bits

__all__ = ["Response", "Sweep", "response", "start", "states"]


class Sweep(NamedTuple):
    """One sweep of an RBM as two matrices.

    Attributes:
        up: P(h | v), (2^d, 2^m).
        down: P(v | h), transposed: (2^m, 2^d).
        rho: the model's visible law (2^d,).
        u: its free energies (2^d,).
    """

    up: Tensor
    down: Tensor
    rho: Tensor
    u: Tensor

    @classmethod
    def of(cls, machine: Machine, v: Tensor) -> Sweep:
        """Of all visible states v (2^d, d)."""
        m = Machine(machine.layer.double(), machine.w.double(), machine.c.double())
        h = bits(torch.arange(2 ** len(m.c)), len(m.c)).to(v)
        pre = m.pre(v)
        u = m.energy(v, pre)
        up = (pre @ h.T).softmax(1)
        down = (m.fields(h) @ v.T).softmax(1)
        return cls(up, down, (-u).softmax(0), u)

    def __call__(self, mu: Tensor, k: int = 1) -> Tensor:
        """``mu P^k``; also of a signed measure."""
        for _ in range(k):
            mu = (mu @ self.up) @ self.down
        return mu

    def hidden(self) -> Tensor:
        """The sweep as hidden units see it, (2^m, 2^m)."""
        return self.down @ self.up


def states(course: Course) -> Tensor:
    """All visible states (2^d, d)."""
    d = course.data.shape[1]
    return bits(torch.arange(2**d), d).double()


def start(course: Course) -> Tensor:
    """The law of chains that start at rows of the data."""
    d = course.data.shape[1]
    number = (course.data.long() << torch.arange(d)).sum(1)
    return torch.bincount(number, minlength=2**d).double() / len(number)


def mean(course: Course, t: int, v: Tensor, mu: Tensor) -> Tensor:
    """``mu[f]`` (P,), f that of update t."""
    return moments(course.place(t), v.float()[None], mu[None])[0]


class Response(NamedTuple):
    """What theory says of PCD-k at one update.

    Attributes:
        exact: ``mu[f] - rho[f]`` (P,).
        linear: to first order in the updates (P,).
        memory: sweeps in which the slowest mode of P falls by e.
    """

    exact: Tensor
    linear: Tensor
    memory: float


def response(course: Course, sweeps: tuple[int, ...]) -> dict[int, list[Response]]:
    """Exact and first-order bias of PCD-k, for each k, at the updates whose truth is known."""
    v = states(course)
    before = Sweep.of(course.machine(0), v)
    mus = [start(course)] * len(sweeps)
    deltas = [mu - before.rho for mu in mus]
    found = {}
    for t in range(1, len(course) + 1):
        now = Sweep.of(course.machine(t), v)
        change = now.u - before.u
        source = before.rho * (change - before.rho @ change)
        mus = [now(mu, k) for mu, k in zip(mus, sweeps, strict=True)]
        deltas = [now(delta + source, k) for delta, k in zip(deltas, sweeps, strict=True)]
        if t in course.truths:
            slow = torch.linalg.eigvals(now.hidden()).abs().sort().values[-2]
            memory = float(-1 / slow.log())
            found[t] = [
                Response(mean(course, t, v, mu - now.rho), mean(course, t, v, delta), memory)
                for mu, delta in zip(mus, deltas, strict=True)
            ]
        before = now
    return found
