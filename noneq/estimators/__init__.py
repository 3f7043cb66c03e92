"""Estimators for scikit-learn; importing this folder imports it."""

from noneq.estimators.rbm import RBM

__all__ = ["RBM"]
