"""Hostile models of bits and sites: phases, valleys, patterns, RBMs with far clusters.

Their sums are exact: powers of a transfer matrix, enumeration, or counting where all units of a
layer are alike. Rows are exact samples, of which one phase is then made rare.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from noneq import BernoulliRBM, GaussianRBM
from noneq.spaces import BINARY
from noneq.testing import Ising, Lattice

from .targets import Case, Veiled, seeded

ROWS = 1000


def thinned(x: Tensor, phase: Tensor, shares: list[float], rows: int = ROWS) -> Tensor:
    """Rows of which each phase holds that share."""
    return torch.cat([x[phase == k][: round(rows * s)] for k, s in enumerate(shares)])


@lru_cache
def lattice_sums(side: int, coupling: float, field: tuple[float, ...], n: int, seed: int):
    """log Z and n exact samples (n, L, L)."""
    return Lattice(side, coupling, field).exact(n, seeded(seed))


def lattice(side, coupling, field, shares, seed):
    """One phase of a cold lattice is rare in the rows."""
    log_z, states = lattice_sums(side, coupling, tuple(field), 20 * ROWS, 200 + seed)
    model = Lattice(side, coupling, field)
    counts = torch.stack([(states == k).sum((1, 2)) for k in range(model.q)], 1)
    return Case(model, None, thinned(model.rows(states), counts.argmax(1), shares), log_z)


def ising(side, beta, field, rare, seed):
    """``beta sum s s'`` with spins +-1: equal neighbours gain 2 beta, but for a constant."""
    case = lattice(side, 2 * beta, [0.0, field], [rare, 1 - rare], seed)
    bonds = 2 * side**2 * beta
    model = case.energy

    class Shifted:
        space = BINARY

        def __call__(self, x: Tensor) -> Tensor:
            return model(x) + bonds

    return case._replace(energy=Shifted(), log_z=case.log_z - bonds)


def all_bits(n: int) -> Tensor:
    return (torch.arange(2**n)[:, None] >> torch.arange(n) & 1).float()


def spin_glass(seed, n=20, beta=3.0):
    """Gaussian couplings at low temperature, rows of one of the valleys."""
    couplings = torch.randn(n, n, generator=seeded(1)) / math.sqrt(n)
    couplings = beta * (couplings + couplings.T) / math.sqrt(2)
    couplings.fill_diagonal_(0.0)
    model = Ising(couplings / 2, 0.15 * torch.randn(n, generator=seeded(2)))
    x = all_bits(n)
    log_p = -model(x).double()
    ground = x[log_p.argmax()]
    valley = (x != ground).sum(1) <= n // 4
    p = log_p.softmax(0) * valley
    drawn = torch.multinomial(p.float(), ROWS, replacement=True, generator=seeded(300 + seed))
    return Case(model, None, x[drawn], float(log_p.logsumexp(0)))


def hopfield(seed, n=18, beta=1.6):
    """Three patterns; rows of the last two are rare."""
    patterns = (torch.rand(3, n, generator=seeded(5)) > 0.5).float() * 2 - 1
    strength = torch.tensor([1.0, 1.04, 1.08])
    couplings = beta * torch.einsum("k,ki,kj->ij", strength, patterns, patterns) / n
    couplings.fill_diagonal_(0.0)
    model = Ising(couplings / 2, 0.25 * patterns.mean(0))
    x = all_bits(n)
    log_p = -model(x).double()
    overlap = (2 * x - 1) @ patterns.T
    drawn = torch.multinomial(log_p.softmax(0).float(), 40 * ROWS, True, generator=seeded(seed))
    signed = torch.cat([overlap, -overlap], 1)[drawn].argmax(1)
    data = thinned(x[drawn], signed, [0.5, 0.02, 0.02, 0.46, 0.0, 0.0])
    return Case(model, None, data, float(log_p.logsumexp(0)))


def log_choose(n: int, k: Tensor) -> Tensor:
    n = torch.tensor(float(n), dtype=torch.float64)
    return torch.lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1)


def some(count: Tensor, n: int, rng: torch.Generator) -> Tensor:
    """Rows (B, n) with as many ones, anywhere."""
    order = torch.rand(len(count), n, generator=rng).argsort(1).argsort(1)
    return (order < count[:, None]).float()


def bernoulli_rbm(seed, rare, d=40, m=30, w=0.2, heavy=0.6):
    """All visible units alike, all hidden units alike: two phases; the lit one is rare."""
    k = torch.arange(d + 1, dtype=torch.float64)

    def log_p(b: float) -> Tensor:
        c = -w * d / 2
        return log_choose(d, k) + b * k + m * torch.nn.functional.softplus(c + w * k)

    low, high = -10.0, 10.0  # the visible bias at which the lit phase holds ``heavy``
    for _ in range(60):
        b = (low + high) / 2
        lit = float(log_p(b).softmax(0)[d // 2 :].sum())
        low, high = (b, high) if lit < heavy else (low, b)
    machine = BernoulliRBM(
        torch.full((d, m), w), torch.full((d,), b), torch.full((m,), -w * d / 2)
    )
    rng = seeded(400 + seed)
    log_k = log_p(b)
    count = torch.multinomial(log_k.softmax(0).float(), 40 * ROWS, True, generator=rng)
    x = some(count, d, rng)
    data = thinned(x, (count >= d // 2).long(), [1 - rare, rare])
    machine.base = BernoulliRBM.independent_start(data)
    return Case(Veiled(machine), None, data, float(log_k.logsumexp(0)))


def gaussian_machine(seed, rare, d=6, m=30, apart=10.0, heavy=0.6):
    """All hidden units alike: modes along a line, of which the two ends hold all mass."""
    j = torch.arange(m + 1, dtype=torch.float64)
    w = apart / m / math.sqrt(d)  # each hidden unit that is on moves v by w in all coordinates

    # log of the integral over v given j units on: j c + d/2 log 2 pi + d (j w)^2 / 2
    def log_p(c: float) -> Tensor:
        return log_choose(m, j) + j * c + d * (j * w).square() / 2

    low, high = -10.0, 10.0
    for _ in range(60):
        c = (low + high) / 2
        lit = float(log_p(c).softmax(0)[m // 2 :].sum())
        low, high = (c, high) if lit < heavy else (low, c)
    machine = GaussianRBM(
        torch.full((d, m), w), torch.zeros(d), torch.full((m,), c), torch.zeros(d)
    )
    rng = seeded(500 + seed)
    log_j = log_p(c)
    on = torch.multinomial(log_j.softmax(0).float(), 40 * ROWS, True, generator=rng)
    x = on[:, None] * w + torch.randn(len(on), d, generator=rng)
    data = thinned(x, (on >= m // 2).long(), [1 - rare, rare])
    machine.base = GaussianRBM.independent_start(data)
    log_z = float(log_j.logsumexp(0)) + d / 2 * math.log(2 * math.pi)
    return Case(Veiled(machine), None, data, log_z)


CASES: dict[str, Callable[[int], Case]] = {
    "ising-8x8": lambda s: ising(8, 0.6, 0.0, 0.03, s),
    "ising-6x6-field": lambda s: ising(6, 0.6, -0.03, 0.03, s),
    "ising-8x8-one-percent": lambda s: ising(8, 0.5, -0.02, 0.01, s),
    "potts-5x5-q3": lambda s: lattice(5, 1.4, [0.0, 0.0, 0.0], [0.97, 0.02, 0.01], s),
    "potts-5x5-field": lambda s: lattice(5, 1.3, [0.0, 0.03, 0.0], [0.49, 0.02, 0.49], s),
    "spin-glass-20": spin_glass,
    "hopfield-18": hopfield,
    "rbm-far": lambda s: bernoulli_rbm(s, 0.02),
    "rbm-far-heavy": lambda s: bernoulli_rbm(s, 0.02, d=60, m=40, w=0.15, heavy=0.9),
    "gaussian-rbm-far": lambda s: gaussian_machine(s, 0.02),
}

BENIGN: dict[str, Callable[[int], Case]] = {
    "ising-warm": lambda s: ising(6, 0.3, 0.05, 0.5, s)._replace(
        data=lattice_rows(6, 0.6, (0.0, 0.05), s)
    ),
    "ising-two-phases": lambda s: ising(6, 0.55, 0.0, 0.5, s),
    "potts-warm": lambda s: lattice(4, 0.6, [0.0, 0.1, 0.2], [0.3, 0.3, 0.4], s)._replace(
        data=one_hot(lattice_states(4, 0.6, (0.0, 0.1, 0.2), s).flatten(1), 3).float()
    ),
    "rbm-two-clusters": lambda s: bernoulli_rbm(s, 0.6),
}


def lattice_states(side: int, coupling: float, field: tuple[float, ...], seed: int) -> Tensor:
    return lattice_sums(side, coupling, field, 20 * ROWS, 200 + seed)[1][:ROWS]


def lattice_rows(side: int, coupling: float, field: tuple[float, ...], seed: int) -> Tensor:
    return lattice_states(side, coupling, field, seed).flatten(1).float()
