"""Energies ``U(x)``: exactly solvable ones, energies made of other energies, and annealing paths.

The folder also holds the checks that a user's energy must pass (`check_energy`), the square roots
of covariance matrices that kernels use as preconditioners, and hashes of a model's parameters
(`fingerprint`), which show whether the model has changed.
"""

from noneq.energies.background import Foreground, with_background, without_background
from noneq.energies.base import Cache, Conditional, Drifted, Energy, Solvable, evaluate, gradient
from noneq.energies.compiled import Compiled
from noneq.energies.composed import Product, Union
from noneq.energies.composite import Boxed, Tempered, Tilted
from noneq.energies.conditional_gaussian import ConditionalGaussian, Held
from noneq.energies.conditioned import Conditioned
from noneq.energies.context import Given, log_joint, posterior, with_context
from noneq.energies.covariance import (
    Cholesky,
    Diagonal,
    Factor,
    Identity,
    LowRank,
    local_covariance,
)
from noneq.energies.determinism import check_energy
from noneq.energies.fingerprint import Snapshot, fingerprint
from noneq.energies.gaussian import Gaussian, GaussianMixture, moments
from noneq.energies.independent import Bernoulli, Categorical, Uniform
from noneq.energies.mixture import Mixture
from noneq.energies.paths import (
    GeometricPath,
    ModelsPath,
    ParameterPath,
    Path,
    PathEnergy,
    SnapshotPath,
    d_beta,
    path_to,
)

__all__ = [
    "Bernoulli",
    "Boxed",
    "Cache",
    "Categorical",
    "Cholesky",
    "Compiled",
    "Conditional",
    "ConditionalGaussian",
    "Conditioned",
    "Diagonal",
    "Drifted",
    "Energy",
    "Factor",
    "Foreground",
    "Gaussian",
    "GaussianMixture",
    "GeometricPath",
    "Given",
    "Held",
    "Identity",
    "LowRank",
    "Mixture",
    "ModelsPath",
    "ParameterPath",
    "Path",
    "PathEnergy",
    "Product",
    "Snapshot",
    "SnapshotPath",
    "Solvable",
    "Tempered",
    "Tilted",
    "Uniform",
    "Union",
    "check_energy",
    "d_beta",
    "evaluate",
    "fingerprint",
    "gradient",
    "local_covariance",
    "log_joint",
    "moments",
    "path_to",
    "posterior",
    "with_background",
    "with_context",
    "without_background",
]
