"""Every kernel there is, for the tests that hold for all of them."""

import math

import pytest
import torch
from targets import seeded

from noneq import HMC, MALA, ULA
from noneq.energies import Cholesky, Diagonal, Identity, LowRank
from noneq.kernels import (
    BlockGibbs,
    Chain,
    DiscreteLangevin,
    GibbsWithGradients,
    RandomWalk,
    Repeat,
)

KERNELS = {  # name: (step size, factor) -> kernel, and how many moves it makes
    "ULA stale": (lambda h, f: ULA(h, f), 1),
    "ULA fresh": (lambda h, f: ULA(h, f, refresh=True), 1),
    "ULA clipped": (lambda h, f: ULA(h, f, clip=2.0), 1),
    "MALA": (lambda h, f: MALA(h, f), 1),
    "Repeat ULA": (lambda h, f: Repeat(ULA(h, f), 3), 3),
    "Repeat MALA": (lambda h, f: Repeat(MALA(h, f), 3), 3),
    "Chain MALA ULA": (lambda h, f: Chain((MALA(h, f), ULA(h / 2, f))), 2),
    "HMC": (lambda h, f: HMC(h / 4, f, 2), 2),
    "Chain HMC ULA": (lambda h, f: Chain((HMC(h, f, 3), ULA(h, f))), 4),
    "Chain ULA MALA": (lambda h, f: Chain((ULA(h, f), MALA(2 * h, f), MALA(h, f))), 3),
    "HMC reflecting": (lambda h, f: HMC(h / 4, f, 2, reflect=True), 2),
    "HMC unadjusted": (lambda h, f: HMC(h / 4, f, 2, adjusted=False), 2),
    "OBABO": (lambda h, f: HMC.obabo(h, f, friction=0.7), 1),
    "GHMC": (lambda h, f: HMC.obabo(h, f, friction=0.7, adjusted=True), 1),
    "Chain OBABO GHMC": (
        lambda h, f: Chain((HMC.obabo(h, f), HMC.obabo(h / 2, f, adjusted=True))),
        2,
    ),
    "RandomWalk": (lambda h, f: RandomWalk(h, f), 1),
}
EXACT = ("MALA", "Repeat MALA", "HMC", "HMC reflecting", "GHMC", "RandomWalk")
every_kernel = pytest.mark.parametrize("name", KERNELS)

DISCRETE_KERNELS = {  # name: step size -> kernel
    "GibbsWithGradients": lambda h: GibbsWithGradients(),
    "DiscreteLangevin": lambda h: DiscreteLangevin(h),
    "DiscreteLangevin unadjusted": lambda h: DiscreteLangevin(h, adjusted=False),
    "Repeat unadjusted": lambda h: Repeat(DiscreteLangevin(h, adjusted=False), 2),
    "Chain": lambda h: Chain((DiscreteLangevin(h), GibbsWithGradients())),
    "BlockGibbs": lambda h: BlockGibbs(),
}
DISCRETE_EXACT = ("GibbsWithGradients", "DiscreteLangevin", "Chain", "BlockGibbs")
every_discrete_kernel = pytest.mark.parametrize("name", DISCRETE_KERNELS)


def factors(shape, dtype=torch.float64):
    """One preconditioner of each kind, none of them symmetric in the coordinates."""
    d = math.prod(shape)
    a = torch.randn(d, d, generator=seeded(5)) * 0.6
    scale = 0.5 + torch.rand(shape, generator=seeded(6))
    loadings = torch.randn(d, min(d, 2), generator=seeded(7)) * 0.7
    return {
        "identity": Identity(0.8),
        "diagonal": Diagonal(scale),
        "cholesky": Cholesky(a @ a.T / d + 0.3 * torch.eye(d)).to(dtype),
        "low-rank": LowRank(scale, loadings).to(dtype),
    }
