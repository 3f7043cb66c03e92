"""The kinds ``rbm`` and ``gaussian-rbm``: RBMs of binary and of real rows, with block Gibbs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from noneq.energies import Factor
from noneq.kernels import BlockGibbs, Kernel
from noneq.models import BernoulliRBM, GaussianRBM
from noneq.models.parameters import parameter_groups
from noneq.models.rbm import RBM
from noneq.random import add_noise
from noneq.run.families.base import About, Family, Size
from noneq.run.recipe import Bracket, Likelihood, Optimizer, RBMModel, Recipe

__all__ = ["BernoulliRBMFamily", "GaussianRBMFamily"]


class _RBMFamily(Family):
    """The common part of both kinds of RBM."""

    model = RBMModel
    not_applicable = frozenset({"bracket.cycled"})
    origin = "independent base"
    regularisers = "fewer hidden units (`hidden`)"
    remedies = "more `moves`, more `walkers` or fewer hidden units (`hidden`)"
    rbm: ClassVar[type[RBM]]
    """the class of the model"""

    def defaults(self, data: About) -> Recipe:
        """Return the default settings, with many walkers, since Gibbs sweeps are cheap."""
        train: dict[str, Any] = {
            "walkers": 1024, "held_out": 256, "moves": 4, "renew": 1000,
            "batch": min(512, data.rows),
        }  # fmt: skip
        return Recipe(
            self.kind,
            RBMModel(hidden=max(8, min(500, 2 * math.prod(data.shape), data.rows // 10))),
            Likelihood(**{**train, **self._train(data)}),
            Optimizer(lr=1e-2, weight_decay=0.1),
            Bracket(walkers=512, temperatures=5000, equilibrate=1000, cycled=False),
        )

    def _train(self, data: About) -> Mapping[str, Any]:
        raise NotImplementedError

    def build(self, recipe: Recipe, rows: Tensor, seed: int = 0) -> tuple[nn.Module, Kernel]:
        """Build an untrained RBM whose visible units are fitted to noisy rows, and block Gibbs."""
        rng = torch.Generator(rows.device).manual_seed(seed)
        noisy = add_noise(rows, recipe.train.noise, rng)
        return self.rbm.from_data(noisy, recipe.model.hidden, rng), BlockGibbs()

    def kernel(self, recipe: Recipe, factor: Factor) -> Kernel:  # noqa: ARG002
        """Return the MCMC kernel: block Gibbs, which needs no preconditioner."""
        return BlockGibbs()

    def parameter_groups(self, energy: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
        """Return two parameter groups: weights with weight decay, and biases without it."""
        assert isinstance(energy, RBM)
        rest = [p for p in energy.parameters() if p is not energy.w]
        return parameter_groups([energy.w], rest, weight_decay=weight_decay)

    def size(self, recipe: Recipe, shape: Sequence[int]) -> Size:
        """Return the number of weights, and the number of hidden units as activations."""
        hidden = recipe.model.hidden
        return Size("hidden", math.prod(shape) * hidden, hidden)

    def filters(self, energy: nn.Module) -> Tensor | None:
        """Return the weights (visible, hidden) of an RBM, to draw as pictures."""
        assert isinstance(energy, RBM)
        return energy.w


class BernoulliRBMFamily(_RBMFamily):
    """Builds models of the kind ``rbm``: an RBM with binary visible units, for rows of bits."""

    kind = "rbm"
    rbm = BernoulliRBM
    not_applicable = frozenset({"bracket.cycled", "train.noise"})
    binary = True

    def _train(self, data: About) -> Mapping[str, Any]:
        # images have many modes, between which chains mix slowly
        return {"moves": 1, "forgetting_factor": 0.9} if data.kind == "image" else {}

    def empty(
        self,
        recipe: Recipe,
        shape: Sequence[int],
        tensors: Mapping[str, Tensor],  # noqa: ARG002
    ) -> nn.Module:
        """Return an RBM whose parameters are 0, to load the tensors of a file into."""
        b, c = torch.zeros(tuple(shape)), torch.zeros(recipe.model.hidden)
        return BernoulliRBM(torch.zeros(b.numel(), len(c)), b, c)

    def shown(self, rows: Tensor) -> Tensor:
        """Convert rows of bits to pixel values: 0 becomes -1, black; 1 stays 1, white."""
        return 2 * rows - 1


class GaussianRBMFamily(_RBMFamily):
    """Builds models of the kind ``gaussian-rbm``: an RBM for rows of real numbers.

    Given the hidden units, the visible units are Gaussian.
    """

    kind = "gaussian-rbm"
    rbm = GaussianRBM

    def _train(self, data: About) -> Mapping[str, Any]:
        return {"noise": 0.1 if data.discrete else 0.0}

    def empty(
        self,
        recipe: Recipe,
        shape: Sequence[int],
        tensors: Mapping[str, Tensor],  # noqa: ARG002
    ) -> nn.Module:
        """Return an RBM whose parameters are 0, to load the tensors of a file into."""
        b, c = torch.zeros(tuple(shape)), torch.zeros(recipe.model.hidden)
        return GaussianRBM(torch.zeros(b.numel(), len(c)), b, c, b)
