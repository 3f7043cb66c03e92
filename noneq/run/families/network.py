"""The kind of model ``network``: a base of Gaussians tilted by a network, or by several.

Its energy is the sum of the energy of a Gaussian, or of a mixture of Gaussians, and of a network
that is trained by maximum likelihood, at first by score matching where the recipe says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from noneq.energies import Factor, Foreground, Tilted, moments
from noneq.kernels import Kernel, Refreshed
from noneq.models import MLP, Averaged, ConvNet, InnerProduct, ResNet, Whitened, single_networks
from noneq.run.bases import BUDGET, operations
from noneq.run.families.about import About, Size
from noneq.run.families.base import base_of
from noneq.run.families.on_gaussian import FULL, Base, OnGaussian, blank
from noneq.run.learners import Learner, TrainingContext
from noneq.run.pretraining import PretrainedLearner
from noneq.run.recipe import Bracket, Budget, Likelihood, NetworkModel, Optimizer, Recipe
from noneq.run.score_stage import iterations_of_scores

__all__ = ["PERCEPTRONS", "NetworkFamily"]

PERCEPTRONS = ("mlp", "inner-product")  # kinds of networks that learn from scores by default
SCORED = (*PERCEPTRONS, "resnet")  # and those that can
FEW = 1000  # rows of a table below which network and steps are small
SCORES, ITERATIONS = 3000, 3900  # of score matching, and all with which training ends at latest


class NetworkFamily(OnGaussian):
    """Builds models of the kind ``network``: the energy of a base of Gaussians plus a network."""

    kind = "network"
    model = NetworkModel
    remedies = "more moves (`moves`), more noise (`noise`) or a smaller network (`width`)"

    def defaults(self, data: About) -> Recipe:
        """Return the default settings of a training.

        Arguments:
            data: shape, number and kind of the rows.

        Returns:
            A `Recipe` with all settings; the network is a perceptron, or for images of 16 x 16
            pixels or more a convolutional network.
        """
        own = self.gaussian_defaults(data)
        train: dict[str, Any] = {"held_out": 128, "early_stopping": True}
        train["batch"] = min(1024, data.rows)
        if data.discrete:
            train["noise"] = 0.15 if data.kind == "image" else 0.1
        if data.kind == "table":
            return self._of_tables(data, own, train)
        train["longest"] = 0.1
        if min(data.shape[1:]) < 16:
            own |= {"net": "inner-product", "networks": 2, "dropout": 0.1}
            return self._small(own, train | {"tau": 0.015}, (SCORES, ITERATIONS), 4500)
        own |= {"net": "convnet", "width": 8, "depth": 3, "leapfrog_steps": 4, "step_size": 0.05,
                "shifted": "chosen"}  # fmt: skip
        train |= {
            "walkers": 192, "held_out": 64, "moves": 1, "tau": 0.05, "renew": None,
            "batch": min(128, data.rows), "early_stopping": False,
        }  # fmt: skip
        return Recipe(
            self.kind,
            NetworkModel(**own),
            Likelihood(**train),
            Optimizer(),
            Bracket(walkers=320, temperatures=800, equilibrate=500, cycled=False),
            Budget(seconds=540.0, threads=None),
        )

    def _of_tables(self, data: About, own: dict[str, Any], train: dict[str, Any]) -> Recipe:
        """Return settings for a table: few rows have smaller networks, steps, more dropout."""
        # of many columns only where a choice among bases of low rank can be afforded
        cost = 3 * operations("low-rank", 1, data.rows, math.prod(data.shape))
        if own["base"] == "full" or cost <= BUDGET:
            own["base"] = "chosen"
        if math.prod(data.shape) > FULL:
            return self._small(own, train | {"tau": 0.2}, (None, ITERATIONS), 4500)
        own, train = (
            own | {"whiten": True, "refresh": True, "background": True},
            train | {"tau": 0.01},
        )
        if data.rows < FEW:
            own |= {"width": 128, "dropout": 0.2}
            return self._small(own, train, (1500, 2700), 1000)
        own["dropout"] = 0.05
        return self._small(own, train | {"moves": 4}, (2000, 2900), 1000)

    def _small(
        self,
        own: dict[str, Any],
        train: dict[str, Any],
        iterations: tuple[int | None, int],
        equilibrate: int,
    ) -> Recipe:
        """Return settings of a perceptron, with iterations of score matching and of all."""
        scores, most = iterations
        return Recipe(
            self.kind,
            NetworkModel(**own),
            Likelihood(**train, score_matching=scores),
            bracket=Bracket(walkers=512, temperatures=1000, equilibrate=equilibrate),
            budget=Budget(iterations=most),
        )

    def reconciled(self, recipe: Recipe, given: Set[str]) -> Recipe:
        """Leave score matching out where it cannot begin a training, unless the user asks for it.

        Arguments:
            recipe: all settings of a training.
            given: names of the settings that the user has given.

        Returns:
            The recipe, without score matching, and with one network, if the network is
            convolutional, or the walkers start at the data.
        """
        recipe = super().reconciled(recipe, given)
        model, how = recipe.model, recipe.train
        impossible = model.net not in PERCEPTRONS or how.start == "data" or how.restart
        if how.score_matching and impossible and "score_matching" not in given:
            if "networks" not in given:
                model = replace(model, networks=1)
            return replace(recipe, model=model, train=replace(how, score_matching=None))
        return recipe

    def learner(self, context: TrainingContext) -> Learner:
        """Make the object that does the training iterations.

        Arguments:
            context: model, data, settings and optimiser of the training.

        Returns:
            One of weighted maximum likelihood, which begins with score matching where the recipe
            says so.
        """
        if iterations_of_scores(context.recipe):
            return PretrainedLearner(context)
        return super().learner(context)

    def build(self, recipe: Recipe, rows: Tensor, seed: int = 0) -> tuple[nn.Module, Kernel]:
        """Build an untrained model, as `OnGaussian.build` does, and check the recipe.

        Arguments:
            recipe: all settings of the training.
            rows: rows (M, *shape), to which base and preconditioner are fitted.
            seed: seed of the networks' random initial parameters, and of the clusters.

        Returns:
            The model (an energy), on the device of the rows, and the MCMC kernel that samples it.

        Raises:
            ValueError: there are fewer rows than clusters, or score matching cannot learn such a
                model.
        """
        if recipe.train.score_matching and recipe.model.net not in SCORED:
            raise ValueError(
                f"`score_matching` is for `net` mlp, inner-product or resnet, got "
                f"{recipe.model.net}: take `score_matching` None"
            )
        if recipe.train.score_matching and (recipe.train.start == "data" or recipe.train.restart):
            raise ValueError(
                "`score_matching` hands over walkers of its own, and none from the data (`start`, "
                "`restart`): take `score_matching` None"
            )
        return super().build(recipe, rows, seed)

    def kernel_of(self, recipe: Recipe, factor: Factor, energy: nn.Module) -> Kernel:
        """Make the MCMC kernel that samples one model.

        Arguments:
            recipe: all settings of the training.
            factor: square root C of the preconditioner ``C C^T``.
            energy: model, with its base.

        Returns:
            The kernel of `OnGaussian.kernel`, within `noneq.kernels.Refreshed` where the recipe
            has samples of the base proposed.
        """
        kernel = self.kernel(recipe, factor)
        return Refreshed(kernel, base_of(energy)) if recipe.model.refresh else kernel

    def _network(self, recipe: Recipe, shape: Sequence[int]) -> nn.Module:
        nets = [self._single(recipe, shape) for _ in range(recipe.model.networks)]
        return nets[0] if len(nets) == 1 else Averaged(nets)

    def _single(self, recipe: Recipe, shape: Sequence[int]) -> nn.Module:
        own = recipe.model
        if own.net == "mlp":
            return MLP(shape, own.width, own.depth)
        if own.net == "inner-product":
            return InnerProduct(shape, own.width, own.depth)
        if own.net == "convnet":
            net: nn.Module = ConvNet(shape, own.width, own.depth)
        else:
            net = ResNet(shape, own.width, stages=own.depth)
        # half the time of a small convolution on a processor
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return net

    def energy(self, recipe: Recipe, base: Base, net: nn.Module) -> nn.Module:
        """Make the model of a base and a network.

        Arguments:
            recipe: all settings of the training.
            base: Gaussian, or mixture of Gaussians, with energy U_base.
            net: network f.

        Returns:
            The energy ``U_base(x) + f(x)``, where f is the network, a `noneq.Tilted`.
        """
        if recipe.model.whiten:
            net = Whitened.of(net, *moments(base))
        elif recipe.model.net == "inner-product":
            mean, covariance = moments(base)
            for own in single_networks(net):
                own.centred(mean, covariance)
        return Tilted(base, net)

    def empty(
        self, recipe: Recipe, shape: Sequence[int], tensors: Mapping[str, Tensor]
    ) -> nn.Module:
        """Build a model with arbitrary parameters, into which saved ones can be loaded.

        Arguments:
            recipe: all settings of the training.
            shape: shape of one row of data.
            tensors: saved parameters and buffers by name, which decide their shapes.

        Returns:
            The model, a `noneq.Tilted`; with a background if one was saved.
        """
        if "net.shift" not in tensors:
            return super().empty(recipe, shape, tensors)
        base = blank("mixture", shape, tensors)
        plain: Any = self.energy(recipe, base, self.network(recipe, shape))
        return Foreground.model(plain.net, base)  # type: ignore[arg-type]

    def size(self, recipe: Recipe, shape: Sequence[int]) -> Size:
        """Estimate the numbers of parameters and activations of the network.

        Arguments:
            recipe: all settings of the training.
            shape: shape of one row of data.

        Returns:
            A `Size`, with "width" as the setting that decides these numbers.
        """
        own = recipe.model
        if own.net in PERCEPTRONS:
            one, k = super().size(recipe, shape), own.networks
            last = math.prod(shape) * own.width if own.net == "inner-product" else 0
            return Size(one.choice, k * (one.parameters + last), k * one.activations)
        convolutions = 32 if own.net == "convnet" else 36  # width^2 each, of its first stage
        return Size("width", convolutions * own.width**2, math.prod(shape[1:]) * own.width)
