"""What is trained: networks, restricted Boltzmann machines and interpolants."""

from noneq.models.networks import MLP, ConvNet, ResNet, TimedMLP
from noneq.models.rbm.machines import BernoulliRBM, GaussianRBM, PottsRBM

__all__ = ["MLP", "BernoulliRBM", "ConvNet", "GaussianRBM", "PottsRBM", "ResNet", "TimedMLP"]
