"""Maximum-likelihood energy-based models with weighted walkers and a known normalising constant.

>>> import torch, noneq
>>> base = noneq.Gaussian(torch.zeros(2), noneq.Identity())
>>> noneq.Walkers.sample(base, 64, torch.Generator()).ess
1.0
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from noneq.version import __version__ as __version__

if TYPE_CHECKING:
    from noneq.bracket import log_z
    from noneq.checks import check_energy
    from noneq.contract import check_kernel
    from noneq.covariance import Cholesky, Diagonal, Identity, LowRank
    from noneq.energies import GeometricPath, Tempered, Tilted, evaluate
    from noneq.estimate import NLL, Estimate
    from noneq.gaussians import Gaussian, GaussianMixture
    from noneq.independent import Bernoulli, Boxed, Categorical, Uniform
    from noneq.kernels import (
        HMC,
        MALA,
        ULA,
        BlockGibbs,
        Chain,
        DiscreteLangevin,
        EulerMaruyama,
        Flow,
        GibbsWithGradients,
        RandomWalk,
        Repeat,
        State,
        Stepped,
        metropolis,
    )
    from noneq.likelihood import nll
    from noneq.nets import MLP, ConvNet, ResNet, TimedMLP
    from noneq.paths import ParameterPath, Through
    from noneq.rbm import BernoulliRBM, GaussianRBM, PottsRBM
    from noneq.recipe import Recipe
    from noneq.renewal import renew
    from noneq.run import Run
    from noneq.schedules import Schedule
    from noneq.session import Session
    from noneq.settings import Settings
    from noneq.smc import anneal, pilot, population
    from noneq.spaces import BINARY, ONE_HOT, Box
    from noneq.training import Record, Trained, step, train
    from noneq.trust import TrustRegion
    from noneq.walkers import LogZ, Walkers
    from noneq.work import bennett, lineages

# fmt: off
_HOME = {
    "checks": ("check_energy",),
    "contract": ("check_kernel",),
    "covariance": ("Cholesky", "Diagonal", "Identity", "LowRank"),
    "energies": ("GeometricPath", "Tempered", "Tilted", "evaluate"),
    "estimate": ("NLL", "Estimate"),
    "gaussians": ("Gaussian", "GaussianMixture"),
    "independent": ("Bernoulli", "Boxed", "Categorical", "Uniform"),
    "kernels": (
        "HMC", "MALA", "ULA", "BlockGibbs", "Chain", "DiscreteLangevin", "EulerMaruyama", "Flow",
        "GibbsWithGradients", "RandomWalk", "Repeat", "State", "Stepped", "metropolis",
    ),
    "bracket": ("log_z",),
    "likelihood": ("nll",),
    "nets": ("MLP", "ConvNet", "ResNet", "TimedMLP"),
    "paths": ("ParameterPath", "Through"),
    "rbm": ("BernoulliRBM", "GaussianRBM", "PottsRBM"),
    "recipe": ("Recipe",),
    "renewal": ("renew",),
    "run": ("Run",),
    "session": ("Session",),
    "settings": ("Settings",),
    "schedules": ("Schedule",),
    "smc": ("anneal", "pilot", "population"),
    "spaces": ("BINARY", "ONE_HOT", "Box"),
    "training": ("Record", "Trained", "step", "train"),
    "trust": ("TrustRegion",),
    "walkers": ("LogZ", "Walkers"),
    "work": ("bennett", "lineages"),
}
# fmt: on
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "BINARY", "HMC", "MALA", "MLP", "NLL", "ONE_HOT", "ULA", "Bernoulli", "BernoulliRBM",
    "BlockGibbs", "Box", "Boxed", "Categorical", "Chain", "Cholesky", "ConvNet", "Diagonal",
    "DiscreteLangevin", "Estimate", "EulerMaruyama", "Flow", "Gaussian", "GaussianMixture",
    "GaussianRBM", "GeometricPath", "GibbsWithGradients", "Identity", "LogZ", "LowRank",
    "ParameterPath", "PottsRBM", "RandomWalk", "Recipe", "Record", "Repeat", "ResNet", "Run",
    "Schedule", "Session", "Settings", "State", "Stepped", "Tempered", "Through", "Tilted",
    "TimedMLP", "Trained", "TrustRegion", "Uniform", "Walkers", "anneal", "bennett",
    "check_energy", "check_kernel", "evaluate", "lineages", "log_z", "metropolis", "nll", "pilot",
    "population", "renew", "step", "train",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: ``import noneq`` alone costs nothing."""
    if name in _MODULE_OF:
        value = getattr(importlib.import_module(f"noneq.{_MODULE_OF[name]}"), name)
        globals()[name] = value
        return value
    if name in {*_HOME, "data", "estimators", "interpolants", "weights"}:
        return importlib.import_module(f"noneq.{name}")
    raise AttributeError(f"module 'noneq' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
