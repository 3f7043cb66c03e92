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
    from noneq.checks import check_energy
    from noneq.covariance import Cholesky, Diagonal, Identity, LowRank
    from noneq.energies import GeometricPath, Tempered, Tilted, evaluate
    from noneq.estimate import NLL, Estimate
    from noneq.gaussians import Gaussian, GaussianMixture
    from noneq.kernels import HMC, MALA, ULA, Chain, Repeat, State
    from noneq.likelihood import log_z, nll
    from noneq.nets import MLP, ConvNet, ResNet
    from noneq.recipe import Recipe
    from noneq.renewal import renew
    from noneq.run import Run
    from noneq.schedules import Schedule
    from noneq.session import Session
    from noneq.settings import Settings
    from noneq.smc import anneal, pilot, population
    from noneq.training import Record, Trained, step, train
    from noneq.trust import TrustRegion
    from noneq.walkers import LogZ, Walkers
    from noneq.work import bennett, lineages

_HOME = {
    "checks": ("check_energy",),
    "covariance": ("Cholesky", "Diagonal", "Identity", "LowRank"),
    "energies": ("GeometricPath", "Tempered", "Tilted", "evaluate"),
    "estimate": ("NLL", "Estimate"),
    "gaussians": ("Gaussian", "GaussianMixture"),
    "kernels": ("HMC", "MALA", "ULA", "Chain", "Repeat", "State"),
    "likelihood": ("log_z", "nll"),
    "nets": ("MLP", "ConvNet", "ResNet"),
    "recipe": ("Recipe",),
    "renewal": ("renew",),
    "run": ("Run",),
    "session": ("Session",),
    "settings": ("Settings",),
    "schedules": ("Schedule",),
    "smc": ("anneal", "pilot", "population"),
    "training": ("Record", "Trained", "step", "train"),
    "trust": ("TrustRegion",),
    "walkers": ("LogZ", "Walkers"),
    "work": ("bennett", "lineages"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "HMC", "MALA", "MLP", "NLL", "ULA", "Chain", "Cholesky", "ConvNet", "Diagonal", "Estimate",
    "Gaussian", "GaussianMixture", "GeometricPath", "Identity", "LogZ", "LowRank", "Recipe",
    "Record", "Repeat", "ResNet", "Run", "Schedule", "Session", "Settings", "State", "Tempered",
    "Tilted", "Trained", "TrustRegion", "Walkers", "anneal", "bennett", "check_energy",
    "evaluate", "lineages", "log_z", "nll", "pilot", "population", "renew", "step", "train",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: ``import noneq`` alone costs nothing."""
    if name in _MODULE_OF:
        value = getattr(importlib.import_module(f"noneq.{_MODULE_OF[name]}"), name)
        globals()[name] = value
        return value
    if name in {*_HOME, "data", "weights"}:
        return importlib.import_module(f"noneq.{name}")
    raise AttributeError(f"module 'noneq' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
