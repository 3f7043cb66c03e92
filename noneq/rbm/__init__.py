"""Restricted Boltzmann machines of bits, numbers and one-hot sites."""

from noneq.rbm.rbm import RBM
from noneq.rbm.rbms import BernoulliRBM, GaussianRBM, PottsRBM

__all__ = ["RBM", "BernoulliRBM", "GaussianRBM", "PottsRBM"]
