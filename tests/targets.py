"""Helpers of the statistical tests: generators, energies that count, and how estimates are judged.

The targets themselves are the library's, `noneq.testing`. Standard errors come from 100 islands
of 1,000 walkers (or from independent draws); they are judged at 4 of them. Nothing here is
symmetric: a symmetric target hides a wrong sign.
"""

import math

import torch
from torch import nn

from noneq import Gaussian, testing
from noneq.energies import Identity, evaluate
from noneq.kernels import State
from noneq.spaces import space_of
from noneq.testing import Grid, Potts, gaussian_rbm, ising, potts, potts_rbm
from noneq.testing import all_bits as bits
from noneq.testing import all_one_hot as one_hots
from noneq.testing import bernoulli_rbm as rbm
from noneq.testing import frustrated as triangle
from noneq.testing import random_rbm as centred

__all__ = [
    "DISCRETE",
    "TARGETS",
    "Counted",
    "Grid",
    "Net",
    "Potts",
    "assert_exact",
    "assert_within",
    "banana",
    "base",
    "bits",
    "centred",
    "correlated",
    "features",
    "gaussian_rbm",
    "on",
    "one_hots",
    "potts",
    "potts_rbm",
    "rbm",
    "seeded",
    "seen",
    "skewed",
    "start",
    "states_features",
    "tensors",
    "triangle",
    "z_scores",
]


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

    def evaluate(self, x, previous_cache=None, graph=False):
        self.rows.append(len(x))
        return evaluate(self.energy, x, previous_cache, graph=graph)


def start(model, n, shape, dtype, seed=1):
    x = torch.randn(n, *shape, generator=seeded(seed), dtype=dtype)
    return seen(model, x, {"label": torch.arange(n), "p": x.flatten(1) * 2})


def seen(model, x, aux=None):
    u, cache = evaluate(model, x)
    return State(x, u, cache, aux or {})


def tensors(state):
    return [state.x, state.u, *state.cache.values(), *state.aux.values()]


# -- targets whose moments and log Z are known by quadrature or enumeration

two_modes, skewed, correlated, banana, funnel = (
    make().energy
    for make in (
        testing.two_modes, testing.skewed, testing.correlated, testing.banana, testing.funnel,
    )
)  # fmt: skip
TARGETS = {"two modes": (two_modes, 1), "skewed": (skewed, 1), "correlated": (correlated, 2),
           "banana": (banana, 2), "funnel": (funnel, 2)}  # fmt: skip


def features(x):
    """What is compared: coordinates, their squares and product, about the mass right of 0.3."""
    parts = [x, x.square(), (4 * (x[:, :1] - 0.3)).sigmoid()]
    if x.shape[1] == 2:
        parts.append(x.prod(1, keepdim=True))
    return torch.cat(parts, 1)


def base(dim):
    mean = torch.tensor([-0.3, 0.6], dtype=torch.float64)[:dim]
    return Gaussian(mean, Identity(1.6))


DISCRETE = {"Ising": (ising, lambda: bits(9)), "triangle": (triangle, lambda: bits(3)),
            "RBM": (rbm, lambda: bits(4)), "Potts": (potts, lambda: one_hots(2, 3)),
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
