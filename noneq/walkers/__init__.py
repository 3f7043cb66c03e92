"""Walkers: positions with log-weights, and the three things that happen to them."""

from noneq.walkers.resampling import Resampler, multinomial, residual, stratified, systematic
from noneq.walkers.walkers import LogZ, Walkers

__all__ = ["LogZ", "Resampler", "Walkers", "multinomial", "residual", "stratified", "systematic"]
