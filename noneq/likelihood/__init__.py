"""Estimates of log Z, normalised likelihoods of data computed with it, and checks of both.

`log_z` brackets the log of an energy's normalising constant between estimates by forward and by
backward annealing, with alarms (sentences) that say why these may be wrong; `nll` computes the
likelihood of data with it; `bennett` and `genealogy` estimate log Z from walkers (weighted
samples) that are already annealed.
"""

from noneq.likelihood.bennett import bennett, genealogy
from noneq.likelihood.bracket import log_z
from noneq.likelihood.estimate import NLL, Estimate
from noneq.likelihood.score import exact_log_z, nll

__all__ = ["NLL", "Estimate", "bennett", "exact_log_z", "genealogy", "log_z", "nll"]
