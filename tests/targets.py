"""Targets of the kernel tests, what is known of them exactly, and how estimates are judged.

Standard errors come from 100 islands of 1,000 walkers (or from independent draws); they are judged
at 4 of them. Nothing here is symmetric: a symmetric target hides a wrong sign.
"""

import itertools
import math
from dataclasses import dataclass

import torch
from torch import nn

from noneq import BernoulliRBM, Gaussian, GaussianRBM, PottsRBM
from noneq.energies import Identity, evaluate
from noneq.kernels import State
from noneq.spaces import BINARY, ONE_HOT, space_of


def seeded(seed):
    return torch.Generator().manual_seed(seed)


class Net(nn.Module):
    """A curved, skewed energy of any shape, in any dtype."""

    def __init__(self, shape, dtype, seed=0):
        super().__init__()
        d = math.prod(shape)
        self.a = nn.Parameter(torch.randn(d, d, generator=seeded(seed)).to(dtype))
        self.rows = []
        self.register_forward_hook(lambda _, args, __: self.rows.append(len(args[0])))

    def forward(self, x):
        x = x.flatten(1)
        return x.square().sum(1) / 2 + nn.functional.softplus(x @ self.a).sum(1)


def on(space, energy):
    """The energy, of a declared space."""
    energy.space = space
    return energy


class Counted:
    """An energy that remembers how many rows it was asked for at a time."""

    def __init__(self, energy):
        self.energy, self.rows = energy, []
        self.space = space_of(energy)
        if hasattr(energy, "gibbs"):
            self.gibbs = energy.gibbs

    def __call__(self, x):
        return self.evaluate(x)[0]

    def evaluate(self, x, was=None, graph=False):
        self.rows.append(len(x))
        return evaluate(self.energy, x, was, graph=graph)


def start(model, n, shape, dtype, seed=1):
    x = torch.randn(n, *shape, generator=seeded(seed), dtype=dtype)
    return seen(model, x, {"label": torch.arange(n), "p": x.flatten(1) * 2})


def seen(model, x, aux=None):
    u, cache = evaluate(model, x)
    return State(x, u, cache, aux or {})


def tensors(state):
    return [state.x, state.u, *state.cache.values(), *state.aux.values()]


# -- continuous targets: moments and log Z by quadrature


def two_modes(x, *, left=0.7):
    a = math.log(left / 0.6) - ((x[:, 0] + 1.2) / 0.6).square() / 2
    b = math.log((1 - left) / 0.5) - ((x[:, 0] - 1.5) / 0.5).square() / 2
    return -torch.logaddexp(a, b)


def skewed(x):
    return 4 * nn.functional.softplus(x[:, 0]) - x[:, 0]  # slopes -1 and 3


def correlated(x):
    a, b = x[:, 0] - 0.7, (x[:, 1] + 0.4) / 0.6
    return (a.square() - 1.6 * a * b + b.square()) / (2 * (1 - 0.8**2))


def banana(x):
    ridge = 1.3 * (1 + x[:, 0].square()).sqrt() - 1.5  # bent, its slope bounded
    return (x[:, 0] - 0.5).square() / 2 + (x[:, 1] - ridge).square() / (2 * 0.8**2)


def funnel(x):
    neck = 0.6 * x[:, 0]  # log of the width, which differs by a factor of 11 over 4 sd
    return ((x[:, 0] - 0.4).square() / 2 + neck) + (
        (x[:, 1] - 0.5).square() * (-2 * neck).exp() / 2
    )


TARGETS = {"two modes": (two_modes, 1), "skewed": (skewed, 1), "correlated": (correlated, 2),
           "banana": (banana, 2), "funnel": (funnel, 2)}  # fmt: skip


def features(x):
    """What is compared: coordinates, their squares and product, about the mass right of 0.3."""
    parts = [x, x.square(), (4 * (x[:, :1] - 0.3)).sigmoid()]
    if x.shape[1] == 2:
        parts.append(x.prod(1, keepdim=True))
    return torch.cat(parts, 1)


@dataclass
class Grid:
    """Quadrature on a square grid (1-d: 8,001 points, 2-d: 501^2)."""

    x: torch.Tensor
    p: torch.Tensor
    log_z: float

    @classmethod
    def of(cls, energy, dim):
        axis = torch.linspace(-20, 20, 8001, dtype=torch.float64)
        x = axis[:, None]
        if dim == 2:
            axis = torch.linspace(-8, 9, 501, dtype=torch.float64)
            x = torch.cartesian_prod(axis, axis)
        log_p = -energy(x) + dim * math.log(float(axis[1] - axis[0]))
        return cls(x, log_p.softmax(0), float(log_p.logsumexp(0)))

    @classmethod
    def over(cls, energy, x):
        """Exact sums over the states x."""
        log_p = -energy(x).detach().double()
        return cls(x, log_p.softmax(0), float(log_p.logsumexp(0)))

    def mean(self, f):
        return torch.tensordot(self.p, f.to(self.p), 1)

    def sample(self, n, rng):
        """Exact up to the cell: a uniform draw inside the chosen cell of the grid."""
        i = torch.searchsorted(self.p.cumsum(0), torch.rand(n, generator=rng, dtype=self.p.dtype))
        cell = (self.x.max() - self.x.min()) / (round(len(self.x) ** (1 / self.x.shape[1])) - 1)
        jitter = torch.rand(n, self.x.shape[1], generator=rng, dtype=self.p.dtype) - 0.5
        return self.x[i.clamp(max=len(self.x) - 1)] + jitter * cell

    def draw(self, n, rng):
        """Exact draws of the states."""
        return self.x[torch.multinomial(self.p, n, replacement=True, generator=rng)]


def base(dim):
    mean = torch.tensor([-0.3, 0.6], dtype=torch.float64)[:dim]
    return Gaussian(mean, Identity(1.6))


# -- discrete targets: moments and log Z by enumeration


def bits(n):
    return torch.tensor(list(itertools.product((0.0, 1.0), repeat=n)), dtype=torch.float64)


def one_hots(sites, q):
    places = torch.tensor(list(itertools.product(range(q), repeat=sites)))
    return nn.functional.one_hot(places, q).double()


class Ising(nn.Module):
    """``-sum_{i<j} J_ij s_i s_j - sum_i b_i s_i``, s = 2 x - 1."""

    space = BINARY

    def __init__(self, couplings, fields):
        super().__init__()
        self.register_buffer("couplings", couplings.double().triu(1))
        self.register_buffer("fields", fields.double())

    def forward(self, x):
        s = 2 * x - 1
        return -((s @ self.couplings) * s).sum(1) - s @ self.fields


class Potts(nn.Module):
    """Two sites of three states: fields and a coupling of every pair of states, curved in x."""

    space = ONE_HOT

    def __init__(self, seed=3):
        super().__init__()
        draw = torch.randn(15, generator=seeded(seed), dtype=torch.float64)
        self.fields = nn.Parameter(draw[:6].view(2, 3))
        self.couplings = nn.Parameter(draw[6:].view(3, 3))

    def forward(self, x):
        pair = ((x[:, 0] @ self.couplings) * x[:, 1]).sum(1)
        return (x * self.fields).flatten(1).sum(1) + pair.exp() / 2


def ising():
    """3 x 3, open ends, unequal bonds, a field that grows."""
    couplings = torch.zeros(9, 9)
    for i in range(9):
        if i % 3 < 2:
            couplings[i, i + 1] = 0.3 + 0.02 * i
        if i < 6:
            couplings[i, i + 3] = 0.4 - 0.03 * i
    return Ising(couplings, torch.linspace(-0.2, 0.35, 9))


def triangle():
    """Every bond wants its ends to differ, which three cannot; the fields break the symmetry."""
    return Ising(
        -torch.tensor([[0, 0.9, 0.7], [0, 0, 0.5], [0, 0, 0]]), torch.arange(3) * 0.3 - 0.1
    )


def rbm(d=4, m=3, seed=7):
    """Steep weights: a small machine with unequal modes."""
    rng = seeded(seed)
    draw = [torch.randn(*s, generator=rng, dtype=torch.float64) for s in ((d, m), (d,), (m,))]
    return BernoulliRBM(1.5 * draw[0], 0.5 * draw[1], 0.5 * draw[2])


def centred(kind, *numbers, seed, scale=1.0):
    """A machine with random numbers of these shapes and offsets far from 0."""
    rng = seeded(seed)
    draw = [torch.randn(*s, generator=rng, dtype=torch.float64) * scale for s in numbers]
    mu, lam = (0.8 * torch.randn(t.shape, generator=rng, dtype=torch.float64) for t in draw[1:3])
    return kind(1.5 * draw[0], 0.5 * draw[1], 0.5 * draw[2], *draw[3:], mu=mu, lam=lam)


def potts_rbm(seed=7, m=3):
    """Two sites of three states."""
    return centred(PottsRBM, (6, m), (2, 3), (m,), seed=seed)


def gaussian_rbm(seed=9, m=3):
    """Two numbers; some of the 2^m modes are apart."""
    return centred(GaussianRBM, (2, m), (2,), (m,), (2,), seed=seed, scale=0.7)


DISCRETE = {"Ising": (ising, lambda: bits(9)), "triangle": (triangle, lambda: bits(3)),
            "RBM": (rbm, lambda: bits(4)), "Potts": (Potts, lambda: one_hots(2, 3)),
            "Potts RBM": (potts_rbm, lambda: one_hots(2, 3))}  # fmt: skip


def states_features(x):
    """The coordinates and the products of each with the first and the last."""
    x = x.flatten(1).double()
    return torch.cat([x, x[:, 1:] * x[:, :1], x[:, :-1] * x[:, -1:]], 1)


# -- the judgement


def z_scores(rows, truth):
    """Of the mean of independent rows (R, m) against the truth (m)."""
    return (rows.mean(0) - truth) / (rows.std(0) / math.sqrt(len(rows)))


def assert_within(rows, truth, label):
    z = z_scores(rows, truth)
    assert float(z.abs().max()) < 4, f"{label}: z-scores {z.tolist()}"


def assert_exact(walkers, grid, label, features=features):
    """Weighted means and Z agree with quadrature within 4 standard errors over islands.

    E w = Z / Z_start and E w (f - mean f) = 0 are exact for every N, unlike a ratio of the two.
    """
    w = walkers.log_w.exp().view(walkers.islands, -1)
    off = features(walkers.x) - grid.mean(features(grid.x))
    rows = (w[..., None] * off.view(*w.shape, -1)).mean(1)
    vary = rows.std(0) > 0  # one-hot states exclude some products
    assert_within(rows[:, vary], 0.0, f"{label}: means")
    if not math.isnan(walkers.weights.log_z_start):
        assert_within(w.mean(1), math.exp(grid.log_z - walkers.weights.log_z_start), f"{label}: Z")
