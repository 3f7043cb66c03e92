"""Stochastic interpolants: paths of densities from a simple base to a model, with velocity fields.

A path defines an energy U(x, t) for each time t in [0, 1], and a velocity field (the drift) that
carries samples of the base at t = 0 to the model at t = 1. The fields of a `VelocityPath` are
learned, those of an `EnergyPath` follow from a learned energy, those of a `MixturePath` are exact,
and a `RewardPath` adds a reward to the log-density of any of them. `flow_likelihood` computes the
likelihood of rows under the samples that a velocity field makes, without log Z.
"""

from noneq.models.interpolants.energy import EnergyPath, TimedEnergy
from noneq.models.interpolants.flow import FlowLikelihood, flow_likelihood
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
    "FlowLikelihood",
    "Interpolant",
    "Linear",
    "MixturePath",
    "RewardPath",
    "TimedEnergy",
    "Trigonometric",
    "VariancePreserving",
    "VelocityPath",
    "couple",
    "flow_likelihood",
]
