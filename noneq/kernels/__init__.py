"""Transition kernels, each with the exact log-weight increment of its moves.

A kernel maps (energy, state, generator) to (new state, increment, observations), where a state
holds the positions of walkers (weighted samples) and their energies. `Kernel` is the protocol; the
others are the kernels of this package, the combinators `Repeat` and `Chain`, and the choice of a
kernel by default.
"""

from noneq.kernels.base import Info, Kernel, State, Stepped, metropolis, transports
from noneq.kernels.compose import Chain, Repeat
from noneq.kernels.default import default_kernel, with_momentum
from noneq.kernels.discrete import DiscreteLangevin, GibbsWithGradients
from noneq.kernels.gibbs import BlockGibbs
from noneq.kernels.hmc import HMC
from noneq.kernels.independence import Refreshed
from noneq.kernels.langevin import MALA, ULA
from noneq.kernels.random_walk import RandomWalk
from noneq.kernels.transport import EulerMaruyama, Flow

__all__ = [
    "HMC",
    "MALA",
    "ULA",
    "BlockGibbs",
    "Chain",
    "DiscreteLangevin",
    "EulerMaruyama",
    "Flow",
    "GibbsWithGradients",
    "Info",
    "Kernel",
    "RandomWalk",
    "Refreshed",
    "Repeat",
    "State",
    "Stepped",
    "default_kernel",
    "metropolis",
    "transports",
    "with_momentum",
]
