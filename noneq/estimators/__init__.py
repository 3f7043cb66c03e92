"""Restricted Boltzmann machines (RBMs) with scikit-learn's interface: the class `RBM`."""

from noneq.estimators.rbm import RBM

__all__ = ["RBM"]
