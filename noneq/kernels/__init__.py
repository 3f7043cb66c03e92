"""Transition kernels, each with its exact weight."""

from noneq.kernels.base import Info, Kernel, State, transports
from noneq.kernels.building import Stepped, metropolis
from noneq.kernels.compose import Chain, Repeat
from noneq.kernels.discrete import DiscreteLangevin, GibbsWithGradients
from noneq.kernels.gibbs import BlockGibbs, Conditional
from noneq.kernels.hmc import HMC
from noneq.kernels.langevin import MALA, ULA
from noneq.kernels.sde import EulerMaruyama, Flow
from noneq.kernels.usual import default_kernel, with_momentum
from noneq.kernels.walk import RandomWalk

__all__ = [
    "HMC", "MALA", "ULA", "BlockGibbs", "Chain", "Conditional", "DiscreteLangevin",
    "EulerMaruyama", "Flow", "GibbsWithGradients", "Info", "Kernel", "RandomWalk", "Repeat",
    "State", "Stepped", "default_kernel", "metropolis", "transports", "with_momentum",
]  # fmt: skip
