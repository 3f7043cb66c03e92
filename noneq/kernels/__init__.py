"""Transition kernels, each with its exact weight."""

from noneq.kernels.base import Chain, Info, Kernel, Repeat, State
from noneq.kernels.hmc import HMC
from noneq.kernels.langevin import MALA, ULA, default_kernel

__all__ = ["HMC", "MALA", "ULA", "Chain", "Info", "Kernel", "Repeat", "State", "default_kernel"]
