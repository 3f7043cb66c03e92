"""Two settings for images of 3 x 32 x 32 pixels, a published one and one of this library's own.

`paper` is that of Carbone, Hua, Coste and Vanden-Eijnden 2023 (arXiv 2305.19414) as far as it is
exact: 4,096 walkers, of which 256 are moved and weighted in an iteration, batches of 256, Adam at
1e-4, noise of 0.03 in the data, a clipped drift, 600 epochs. What the article leaves open is taken
from its published program: a network of four
convolutions, 60 Langevin moves with noise of 0.01, a drift of at most 0.3 in each coordinate, a
learning rate that falls linearly to 0, no momentum, resampling below 64 of 4,096. Three things
differ, since the weights would not be exact otherwise: the weight is that of the clipped step and
of its noise; no pixel is held back at the walls of [-1, 1]; and the model has a Gaussian base,
with known log Z, at which walkers start. The square of the energy is not penalised.

`ours` is a residual network on a Gaussian base that learns by score matching first, and then by
weighted maximum likelihood with Hamiltonian Monte Carlo, a trust region and held-out walkers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from noneq import ULA
from noneq.data import DataSet
from noneq.energies import Factor, Identity
from noneq.kernels import Kernel
from noneq.run import Recipe, choose
from noneq.run.families import Family
from noneq.run.families.network import NetworkFamily
from noneq.run.learners import Learner, LikelihoodLearner, TrainingContext
from noneq.run.recipe import Optimizer
from noneq.training.rates import set_learning_rate

__all__ = ["PRESETS", "SHAPE", "Preset", "recipe_of", "rows_of"]

SHAPE = (3, 32, 32)
NOISE = 0.03  # in the data, whose pixels go from -1 to 1
MOVED = 0.01  # standard deviation of the noise of a Langevin move
DRIFT = 0.3  # largest drift of a coordinate in a move
EPOCHS = 600
REDUCED = {"width": 4, "walkers": 32, "batch": 16, "iterations": 5}


class _LinearRate(LikelihoodLearner):
    """Maximum likelihood at a learning rate that falls linearly to 0."""

    def set_rate(self, progress: float, backoff: float) -> None:
        rate = self.context.recipe.optimizer.lr * max(0.0, 1 - progress) * backoff
        set_learning_rate(self.context.optimizer, rate)


class _Clipped(NetworkFamily):
    """The kind "network" with Langevin moves of a clipped drift, and Adam without momentum."""

    def kernel(self, recipe: Recipe, factor: Factor) -> Kernel:  # noqa: ARG002
        h = recipe.model.step_size
        return ULA(h, Identity(), clip=DRIFT / h)

    def optimizer(self, energy: nn.Module, choices: Optimizer) -> torch.optim.Optimizer:
        groups = self.parameter_groups(energy, choices.weight_decay)
        return torch.optim.Adam(groups, lr=choices.lr, betas=(0.0, 0.999))

    def learner(self, context: TrainingContext) -> Learner:
        return _LinearRate(context)


@dataclass(frozen=True)
class Preset:
    """A setting.

    Attributes:
        family: what builds model, kernel, optimiser and learner.
        changes: settings that differ from the defaults for images.
        reduced: settings of the short form, beside `REDUCED`.
        epochs: how often every row is in a batch, if there is no number of iterations.
        validated: whether validation rows are kept apart; otherwise they are trained on, too.
    """

    family: Family
    changes: dict[str, Any]
    reduced: dict[str, Any]
    epochs: float | None = None
    validated: bool = True


PRESETS = {
    "paper": Preset(
        _Clipped(),
        {
            "net": "convnet", "width": 64, "depth": 3, "base": "diagonal", "leapfrog_steps": 1,
            "step_size": MOVED**2 / 2, "walkers": 4096, "active": 256, "held_out": None,
            "moves": 60, "tau": None, "renew": None, "batch": 256, "noise": NOISE,
            "ess_min": 64 / 4096, "lr": 1e-4, "weight_decay": 0.0,
        },
        {"active": 8, "moves": 2},
        epochs=EPOCHS,
        validated=False,
    ),
    "ours": Preset(
        NetworkFamily(),
        {
            "net": "resnet", "width": 64, "depth": 2, "base": "low-rank", "leapfrog_steps": 4,
            "walkers": 512, "held_out": 128, "moves": 1, "tau": 0.05, "batch": 256,
            "noise": NOISE, "ema": 0.999, "dropout": 0.1, "score_matching": 50_000,
            "iterations": 150_000,
        },
        # of a diagonal Gaussian the eigenvectors are known
        {"held_out": 8, "base": "diagonal", "leapfrog_steps": 1, "score_matching": 2},
    ),
}  # fmt: skip
"""The settings by name."""


def recipe_of(preset: str, rows: int, *, reduced: bool = False, **changes: Any) -> Recipe:
    """All settings of a training.

    Arguments:
        preset: its name in `PRESETS`.
        rows: number of rows that are trained on.
        reduced: whether to take the short form, seconds on a processor.
        changes: further settings by name.

    Returns:
        The recipe.
    """
    own = PRESETS[preset]
    given = {**own.changes, **(REDUCED | own.reduced if reduced else {}), **changes}
    if own.epochs is not None:
        given = {"iterations": round(own.epochs * rows / given["batch"]), **given}
    return choose(SHAPE, rows, "image", discrete=True, **given)


def rows_of(preset: str, data: DataSet) -> Tensor:
    """The rows that a preset trains on."""
    if PRESETS[preset].validated:
        return data.train
    return torch.cat([data.train, data.validation])
