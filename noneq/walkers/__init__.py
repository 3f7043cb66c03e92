"""Walkers: positions with log-weights, and the three things that happen to them."""

from noneq.walkers.resampling import Resampler, multinomial, residual, stratified, systematic
from noneq.walkers.walkers import Walkers
from noneq.walkers.weights import LogZ, Weights

__all__ = [
    "LogZ",
    "Resampler",
    "Walkers",
    "Weights",
    "multinomial",
    "residual",
    "stratified",
    "systematic",
]
