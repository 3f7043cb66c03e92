"""Restricted Boltzmann machines (RBMs) as energies of their visible units."""

from noneq.models.rbm.base import RBM
from noneq.models.rbm.rbms import BernoulliRBM, GaussianRBM, PottsRBM

__all__ = ["RBM", "BernoulliRBM", "GaussianRBM", "PottsRBM"]
