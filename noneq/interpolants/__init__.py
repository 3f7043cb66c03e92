"""Stochastic interpolants: paths of energies with a drift that carries walkers along."""

from noneq.interpolants.bridges import (
    Bridge,
    Interpolant,
    Linear,
    Trigonometric,
    VariancePreserving,
    couple,
)
from noneq.interpolants.drifted import DriftedPath
from noneq.interpolants.energies import EnergyPath, TimedEnergy
from noneq.interpolants.fields import VelocityPath
from noneq.interpolants.matching import Matched, match
from noneq.interpolants.mixtures import MixturePath
from noneq.interpolants.rewards import RewardPath

__all__ = [
    "Bridge", "DriftedPath", "EnergyPath", "Interpolant", "Linear", "Matched", "MixturePath",
    "RewardPath", "TimedEnergy", "Trigonometric", "VariancePreserving", "VelocityPath", "couple",
    "match",
]  # fmt: skip
