"""Models that can be trained: neural networks as energies, and restricted Boltzmann machines.

Stochastic interpolants are in `noneq.models.interpolants`.
"""

from noneq.models.combined import (
    Averaged,
    PerLabel,
    Whitened,
    linear_output,
    scale_outputs,
    single_networks,
)
from noneq.models.convolutions import ConvNet, ResNet, TimedResNet
from noneq.models.inner import InnerProduct, TimedInnerProduct
from noneq.models.networks import MLP, TimedMLP
from noneq.models.rbm.rbms import BernoulliRBM, GaussianRBM, PottsRBM

__all__ = [
    "MLP", "Averaged", "BernoulliRBM", "ConvNet", "GaussianRBM", "InnerProduct", "PerLabel",
    "PottsRBM", "ResNet", "TimedInnerProduct", "TimedMLP", "TimedResNet", "Whitened",
    "linear_output", "scale_outputs", "single_networks",
]  # fmt: skip
