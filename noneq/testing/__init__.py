"""A test that every MCMC kernel must pass, and test densities with known log Z, mean and samples.

`check_kernel` tests a kernel. The densities are smooth (`banana`), of difficult shape (`ring`),
discrete (`ising`) or of coupled sites (`double_wells`). The dictionaries `CONTINUOUS` and
`DISCRETE` have a function that makes a density for each name.
"""

from noneq.testing.catalogue import CONTINUOUS, DISCRETE
from noneq.testing.chains import Lattice, double_wells
from noneq.testing.discrete import (
    Ising,
    Potts,
    bernoulli_rbm,
    enumerated,
    frustrated,
    gaussian_rbm,
    ising,
    potts,
    potts_rbm,
    random_rbm,
)
from noneq.testing.exact import Grid, all_bits, all_one_hot
from noneq.testing.geometry import chambers, plateau, ring, wall
from noneq.testing.kernels import check_kernel
from noneq.testing.targets import (
    Target,
    banana,
    correlated,
    funnel,
    logistic,
    mixture,
    neal,
    parabola,
    skewed,
    student,
    two_modes,
)
from noneq.testing.unsolved import Unsolved

__all__ = [
    "CONTINUOUS",
    "DISCRETE",
    "Grid",
    "Ising",
    "Lattice",
    "Potts",
    "Target",
    "Unsolved",
    "all_bits",
    "all_one_hot",
    "banana",
    "bernoulli_rbm",
    "chambers",
    "check_kernel",
    "correlated",
    "double_wells",
    "enumerated",
    "frustrated",
    "funnel",
    "gaussian_rbm",
    "ising",
    "logistic",
    "mixture",
    "neal",
    "parabola",
    "plateau",
    "potts",
    "potts_rbm",
    "random_rbm",
    "ring",
    "skewed",
    "student",
    "two_modes",
    "wall",
]
