"""log Z, the likelihood that it normalises, and what to doubt of both."""

from noneq.likelihood.bennett import bennett, genealogy
from noneq.likelihood.bracket import log_z
from noneq.likelihood.estimate import NLL, Estimate
from noneq.likelihood.score import exact_log_z, nll

__all__ = ["NLL", "Estimate", "bennett", "exact_log_z", "genealogy", "log_z", "nll"]
