"""Weighted walkers: samples with log-weights, and the three operations that change them.

`Walkers` pairs positions with `Weights`; the operations are `Walkers.reweight` to another energy,
`Walkers.move` by a kernel, and `Walkers.resample`. Four resampling schemes are here, too.
"""

from noneq.walkers.resampling import Resampler, multinomial, residual, stratified, systematic
from noneq.walkers.together import move_together
from noneq.walkers.walkers import Walkers
from noneq.walkers.weights import LogZ, Weights

__all__ = [
    "LogZ",
    "Resampler",
    "Walkers",
    "Weights",
    "move_together",
    "multinomial",
    "residual",
    "stratified",
    "systematic",
]
