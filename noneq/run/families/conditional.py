"""The kind of model ``conditional``: an energy of images given their labels.

A row is an image and behind it its label as a one-hot vector. The base has a Gaussian for each
label, all of one covariance; it is tilted by a perceptron with an output for each label.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from noneq.energies import ConditionalGaussian, Tilted
from noneq.kernels import Kernel
from noneq.models import MLP, PerLabel
from noneq.run.families.about import About
from noneq.run.families.on_gaussian import OnGaussian, blank
from noneq.run.recipe import Bracket, Budget, ConditionalModel, Likelihood, Optimizer, Recipe

__all__ = ["ConditionalFamily"]

ITERATIONS = 1500  # with which training ends at latest


class ConditionalFamily(OnGaussian):
    """Builds models of the kind ``conditional``: energies U(x, c) of images x and labels c."""

    kind = "conditional"
    model = ConditionalModel
    labelled = True
    not_applicable = frozenset({"train.score_matching"})
    origin = "Gaussian of each label"
    remedies = "more moves (`moves`), more noise (`noise`) or a smaller network (`width`)"

    def defaults(self, data: About) -> Recipe:
        """Return the default settings of a training.

        Arguments:
            data: shape, number and kind of the rows.

        Returns:
            A `Recipe` with all settings.
        """
        return Recipe(
            self.kind,
            ConditionalModel(self.gaussian_defaults(data)["base"]),
            Likelihood(
                walkers=1024, held_out=256, moves=4, tau=0.03, renew=150, early_stopping=True,
                noise=0.15 if data.discrete else 0.0, batch=min(1024, data.rows),
            ),
            Optimizer(),
            Bracket(walkers=512, temperatures=500, equilibrate=500, cycled=False),
            Budget(iterations=ITERATIONS),
        )  # fmt: skip

    def build(self, recipe: Recipe, rows: Tensor, seed: int = 0) -> tuple[nn.Module, Kernel]:
        """Build an untrained model, whose base is fitted to the rows, and its kernel.

        Arguments:
            recipe: all settings of the training.
            rows: rows (M, d + k) of d pixels and k numbers of the label.
            seed: seed of the network's random initial parameters.

        Returns:
            The model (an energy), on the device of the rows, and the MCMC kernel that samples it.

        Raises:
            ValueError: the rows hold no labels, or the recipe has another number of them.
        """
        k = recipe.model.labels
        if k < 2:
            raise ValueError(
                f"`model` conditional takes images of two labels or more, and the recipe has {k}: "
                "give choose(..., labels=N), or take `model` network"
            )
        x, labels = rows.flatten(1)[:, :-k], rows.flatten(1)[:, -k:]
        one_hot = ((labels == 0) | (labels == 1)).all() and (labels.sum(1) == 1).all()
        if rows.dim() != 2 or not bool(one_hot):
            raise ValueError(
                f"the last {k} numbers of a row (`labels` of the recipe) are no label: load "
                "images by noneq.data.load(..., labels=True), and give choose(..., labels=N) the "
                "number of their labels"
            )
        own = recipe.model
        base = ConditionalGaussian.fit(x, labels, own.base, noise=recipe.train.noise)
        net = self.network(recipe, rows.shape[1:], seed)
        energy = Tilted(base, net).to(rows.device)
        return energy, self.kernel(recipe, base.factor)

    def _network(self, recipe: Recipe, shape: Sequence[int]) -> nn.Module:
        own = recipe.model
        net = MLP(shape[0] - own.labels, own.width, own.depth, outputs=own.labels)
        return PerLabel(net, own.labels)

    def empty(
        self, recipe: Recipe, shape: Sequence[int], tensors: Mapping[str, Tensor]
    ) -> nn.Module:
        """Build a model with arbitrary parameters, into which saved ones can be loaded.

        Arguments:
            recipe: all settings of the training.
            shape: shape (d + k,) of one row of data.
            tensors: saved parameters and buffers by name, which decide their shapes.

        Returns:
            The model, a `noneq.Tilted`.
        """
        dim, k = shape[0] - recipe.model.labels, recipe.model.labels
        inner = {name.replace("factor.factor.", "factor."): t for name, t in tensors.items()}
        factor = blank(recipe.model.base, (dim,), inner).factor
        contexts = torch.zeros_like(tensors.get("base.contexts", torch.zeros(1, k)))
        base = ConditionalGaussian(torch.zeros(dim), torch.zeros(dim, k), factor, contexts)
        return Tilted(base, self.network(recipe, shape))
