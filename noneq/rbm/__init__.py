"""Restricted Boltzmann machines of bits, numbers and one-hot sites."""

from noneq.rbm.rbms import BernoulliRBM, GaussianRBM, PottsRBM

__all__ = ["BernoulliRBM", "GaussianRBM", "PottsRBM"]
