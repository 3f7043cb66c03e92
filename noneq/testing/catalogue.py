"""Dictionaries of the test densities, so that a test can loop over all of them.

A density is a `Target`: an energy with its exact log Z, mean and sampler.

>>> import noneq
>>> for name, make in noneq.testing.CONTINUOUS.items():
...     target = make()
...     assert target.mean.dim() == 1, name
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from noneq.testing.chains import double_wells
from noneq.testing.discrete import (
    bernoulli_rbm,
    enumerated,
    frustrated,
    ising,
    potts,
    potts_rbm,
)
from noneq.testing.exact import all_bits, all_one_hot
from noneq.testing.geometry import chambers, plateau, ring, wall
from noneq.testing.targets import (
    Target,
    banana,
    correlated,
    funnel,
    logistic,
    neal,
    parabola,
    skewed,
    student,
    two_modes,
)

__all__ = ["CONTINUOUS", "DISCRETE"]

CONTINUOUS: Mapping[str, Callable[[], Target]] = {
    "two modes": two_modes,
    "skewed": skewed,
    "correlated": correlated,
    "banana": banana,
    "funnel": funnel,
    "Neal's funnel": neal,
    "parabola": parabola,
    "logistic": logistic,
    "Student's t": student,
    "ring": ring,
    "wall": wall,
    "chambers": chambers,
    "plateau": plateau,
    "double wells": double_wells,
}
"""A dictionary of test densities on R^d: their names, and functions that make them.

Each function can be called without arguments. It returns a `noneq.testing.Target`: the energy with
its exact log Z, mean and sampler.
"""

DISCRETE: Mapping[str, Callable[[], Target]] = {
    "Ising": lambda: enumerated(ising(), all_bits(9)),
    "frustrated": lambda: enumerated(frustrated(), all_bits(3)),
    "RBM": lambda: enumerated(bernoulli_rbm(), all_bits(4)),
    "Potts": lambda: enumerated(potts(), all_one_hot(2, 3)),
    "Potts RBM": lambda: enumerated(potts_rbm(), all_one_hot(2, 3)),
}
"""A dictionary of discrete test models (bits, or one-hot sites): names, and functions.

Each function takes no arguments and returns a `noneq.testing.Target`: the energy with its exact
log Z, mean and sampler.
"""
