"""The kinds of models ``rbm`` and ``gaussian-rbm``: RBMs with binary or real visible units.

They are trained by maximum likelihood, with block Gibbs sampling as the MCMC kernel.
"""

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
from noneq.run.families.about import About, Size
from noneq.run.families.base import Family
from noneq.run.recipe import Bracket, Likelihood, Optimizer, RBMModel, Recipe

__all__ = ["BernoulliRBMFamily", "GaussianRBMFamily"]


class _RBMFamily(Family):
    """Builds restricted Boltzmann machines (RBMs), with binary or real visible units."""

    model = RBMModel
    not_applicable = frozenset({"bracket.cycled", "train.early_stopping"})
    origin = "independent base"
    regularisers = "fewer hidden units (`hidden`)"
    remedies = "more `moves`, more `walkers` or fewer hidden units (`hidden`)"
    rbm: ClassVar[type[RBM]]
    """the class of the model"""

    def defaults(self, data: About) -> Recipe:
        """Return the default settings of a training, with many walkers, as Gibbs sweeps are cheap.

        Arguments:
            data: shape, number and kind of the rows.

        Returns:
            A `Recipe` with all settings.
        """
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
        """Build an untrained RBM, and the MCMC kernel that samples it.

        Arguments:
            recipe: all settings of the training.
            rows: rows (M, *shape), to which, with the noise of the training added, the parameters
                of the visible units are fitted.
            seed: seed of the noise and of the random weights.

        Returns:
            The RBM, and block Gibbs sampling as its kernel.
        """
        rng = torch.Generator(rows.device).manual_seed(seed)
        noisy = add_noise(rows, recipe.train.noise, rng)
        return self.rbm.from_data(noisy, recipe.model.hidden, rng), BlockGibbs()

    def kernel(self, recipe: Recipe, factor: Factor) -> Kernel:  # noqa: ARG002
        """Return the MCMC kernel: block Gibbs sampling, which needs no preconditioner."""
        return BlockGibbs()

    def parameter_groups(self, energy: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
        """Sort the RBM's parameters into two groups: weights, and biases without weight decay.

        Returns:
            Parameter groups for a torch optimiser.
        """
        assert isinstance(energy, RBM)
        rest = [p for p in energy.parameters() if p is not energy.w]
        return parameter_groups([energy.w], rest, weight_decay=weight_decay)

    def size(self, recipe: Recipe, shape: Sequence[int]) -> Size:
        """Return the number of weights, as parameters, and of hidden units, as activations."""
        hidden = recipe.model.hidden
        return Size("hidden", math.prod(shape) * hidden, hidden)

    def filters(self, energy: nn.Module) -> Tensor | None:
        """Return the weight matrix of an RBM, to draw as pictures.

        Returns:
            The weights (visible units, hidden units).
        """
        assert isinstance(energy, RBM)
        return energy.w


class BernoulliRBMFamily(_RBMFamily):
    """Builds models of the kind ``rbm``: RBMs with binary visible units, for rows of 0 and 1."""

    kind = "rbm"
    rbm = BernoulliRBM
    not_applicable = frozenset({"bracket.cycled", "train.noise", "train.early_stopping"})
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
        """Build an RBM whose parameters are all 0, into which saved ones can be loaded.

        Arguments:
            recipe: all settings of the training, with the number of hidden units.
            shape: shape of one row of data.
            tensors: saved parameters, which are not used.

        Returns:
            The RBM.
        """
        b, c = torch.zeros(tuple(shape)), torch.zeros(recipe.model.hidden)
        return BernoulliRBM(torch.zeros(b.numel(), len(c)), b, c)

    def shown(self, rows: Tensor) -> Tensor:
        """Convert images of bits to pixel values, for pictures.

        Arguments:
            rows: images of 0 and 1, (M, C, H, W).

        Returns:
            Pixel values of the same shape: -1 (black) for a bit 0, and 1 (white) for a bit 1.
        """
        return 2 * rows - 1


class GaussianRBMFamily(_RBMFamily):
    """Builds models of the kind ``gaussian-rbm``: RBMs for rows of real numbers.

    Given the hidden units, the visible units are independent Gaussians.
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
        """Build an RBM whose parameters are all 0, into which saved ones can be loaded.

        Arguments:
            recipe: all settings of the training, with the number of hidden units.
            shape: shape of one row of data.
            tensors: saved parameters, which are not used.

        Returns:
            The RBM.
        """
        b, c = torch.zeros(tuple(shape)), torch.zeros(recipe.model.hidden)
        return GaussianRBM(torch.zeros(b.numel(), len(c)), b, c, b)
