"""Restricted Boltzmann machines with scikit-learn's interface."""

from noneq.estimators.rbm import RBM

__all__ = ["RBM"]
