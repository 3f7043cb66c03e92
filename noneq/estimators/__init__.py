"""Density estimators with scikit-learn's interface: `EnergyDensity` of tables, `RBM` of bits."""

from noneq.estimators.energy_density import EnergyDensity
from noneq.estimators.rbm import RBM

__all__ = ["RBM", "EnergyDensity"]
