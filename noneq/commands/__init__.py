"""What each command does, and what it says about it."""

from noneq.commands.audit import audit
from noneq.commands.train import train
from noneq.commands.use import bracket, report, sample, score

__all__ = ["audit", "bracket", "report", "sample", "score", "train"]
