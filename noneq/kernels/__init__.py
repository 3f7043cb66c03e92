"""Transition kernels, each with its exact weight."""

from noneq.kernels.base import Chain, Info, Kernel, Repeat, State
from noneq.kernels.langevin import MALA, ULA

__all__ = ["MALA", "ULA", "Chain", "Info", "Kernel", "Repeat", "State"]
