"""Restricted Boltzmann machines, their hidden units summed out."""

from noneq.models.rbm.base import RBM
from noneq.models.rbm.machines import BernoulliRBM, GaussianRBM, PottsRBM

__all__ = ["RBM", "BernoulliRBM", "GaussianRBM", "PottsRBM"]
