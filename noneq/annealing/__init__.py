"""From one energy to another: schedules, pilot runs and annealed populations."""

from noneq.annealing.pilot import adapt_steps, pilot
from noneq.annealing.population import population
from noneq.annealing.schedule import Schedule
from noneq.annealing.smc import TooFarError, Track, anneal, untracked

__all__ = [
    "Schedule",
    "TooFarError",
    "Track",
    "adapt_steps",
    "anneal",
    "pilot",
    "population",
    "untracked",
]
