"""Annealing of walkers (weighted samples) from one energy to another along a path of energies.

A `Schedule` holds inverse temperatures and kernels, `pilot` finds one, `anneal` follows it, and
`population` does both, with walkers drawn from a solvable energy.
"""

from noneq.annealing.conditional import Completed, complete, conditional_schedule
from noneq.annealing.pilot import adapt_steps, pilot
from noneq.annealing.population import population
from noneq.annealing.schedule import Schedule
from noneq.annealing.smc import TooFarError, Track, anneal, untracked

__all__ = [
    "Completed",
    "Schedule",
    "TooFarError",
    "Track",
    "adapt_steps",
    "anneal",
    "complete",
    "conditional_schedule",
    "pilot",
    "population",
    "untracked",
]
