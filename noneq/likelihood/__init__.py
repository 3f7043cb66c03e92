"""Estimates of log Z, the normalised likelihoods of data that follow, and checks of both.

`log_z` brackets the normalising constant of an energy by forward and backward annealing and
raises an alarm where the estimates cannot be trusted; `nll` scores data with it; `bennett` and
`genealogy` are estimators of log Z from walkers that are already annealed.
"""

from noneq.likelihood.bennett import bennett, genealogy
from noneq.likelihood.bracket import log_z
from noneq.likelihood.estimate import NLL, Estimate
from noneq.likelihood.score import exact_log_z, nll

__all__ = ["NLL", "Estimate", "bennett", "exact_log_z", "genealogy", "log_z", "nll"]
