"""Stochastic interpolants: paths of energies with a drift that carries walkers from end to end.

`VelocityPath` has learned fields, `EnergyPath` a learned energy, `MixturePath` exact fields;
`RewardPath` tilts any of them by a reward.
"""

from noneq.models.interpolants.energy import EnergyPath, TimedEnergy
from noneq.models.interpolants.mixture import MixturePath
from noneq.models.interpolants.path import DriftedPath
from noneq.models.interpolants.reward import RewardPath
from noneq.models.interpolants.schedules import (
    Bridge,
    Interpolant,
    Linear,
    Trigonometric,
    VariancePreserving,
    couple,
)
from noneq.models.interpolants.velocity import VelocityPath

__all__ = [
    "Bridge",
    "DriftedPath",
    "EnergyPath",
    "Interpolant",
    "Linear",
    "MixturePath",
    "RewardPath",
    "TimedEnergy",
    "Trigonometric",
    "VariancePreserving",
    "VelocityPath",
    "couple",
]
