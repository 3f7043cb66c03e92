"""What the kinds ``network`` and ``interpolant`` share: a base of Gaussians, and a network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from noneq.energies import (
    Cholesky,
    Diagonal,
    Factor,
    Gaussian,
    GaussianMixture,
    LowRank,
    local_covariance,
)
from noneq.kernels import HMC, MALA, Kernel
from noneq.models.parameters import parameter_groups
from noneq.random import seeded
from noneq.run.bases import fit_base
from noneq.run.families.about import About, Size
from noneq.run.families.base import Family
from noneq.run.recipe import Recipe

__all__ = ["Base", "OnGaussian", "blank"]

Base: TypeAlias = Gaussian | GaussianMixture
FULL = 2048  # largest dimension in which the covariance is full by default


class OnGaussian(Family):
    """Base class of the kinds of models that are made of a base of Gaussians and a network.

    The base is the energy with known log Z that training starts from. Subclasses say how base and
    network make an energy.
    """

    def name_of_base(self, recipe: Recipe) -> str:
        """Return "mixture base" or "Gaussian base", for sentences about a trained model."""
        return "mixture base" if recipe.model.base == "mixture" else self.origin

    def gaussian_defaults(self, data: About) -> dict[str, Any]:
        """Return default settings of the Gaussian base and of the preconditioner.

        Arguments:
            data: shape and number of the rows.

        Returns:
            A dictionary of ``base``, the kind of covariance, "full" in up to 2048 dimensions, and
            ``clusters``, the number of clusters for the preconditioner, or None.
        """
        small = math.prod(data.shape) <= FULL
        return {
            "base": "full" if small else "low-rank",
            "clusters": (min(15, data.rows // 80) or None) if small else None,
        }

    def network(self, recipe: Recipe, shape: Sequence[int], seed: int = 0) -> nn.Module:
        """Build the untrained network of a model.

        Arguments:
            recipe: all settings of the training.
            shape: shape of one row of data.
            seed: seed of the random parameters; torch's global generator is not changed.

        Returns:
            The network, on the CPU.
        """
        with seeded(seed):
            return self._network(recipe, shape)

    def _network(self, recipe: Recipe, shape: Sequence[int]) -> nn.Module:
        raise NotImplementedError

    def energy(self, recipe: Recipe, base: Base, net: nn.Module) -> nn.Module:
        """Make the model of a base and a network.

        Arguments:
            recipe: all settings of the training.
            base: Gaussian base, or a mixture of Gaussians.
            net: network.

        Returns:
            The model (an energy).
        """
        raise NotImplementedError

    def build(self, recipe: Recipe, rows: Tensor, seed: int = 0) -> tuple[nn.Module, Kernel]:
        """Build an untrained model, whose base is fitted to the rows, and its kernel.

        Validation rows are not known here: the base "chosen" is a full Gaussian, unless
        `noneq.run.bases.choose_base` has chosen one before. MCMC moves should be as long as a mode
        is wide, which is less than the width of the data: so the preconditioner is the pooled
        covariance of clusters of the rows.

        Arguments:
            recipe: all settings of the training.
            rows: rows (M, *shape), to which base and preconditioner are fitted.
            seed: seed of the network's random initial parameters, and of the clusters.

        Returns:
            The model (an energy), on the device of the rows, and the MCMC kernel that samples it.

        Raises:
            ValueError: there are fewer rows than clusters.
        """
        noise, clusters = recipe.train.noise, recipe.model.clusters or 0
        base = fit_base(recipe.model, rows, noise=noise, seed=seed)
        factor: Factor = base.factor
        if clusters > len(rows):
            raise ValueError(f"clusters must be at most the {len(rows)} training rows")
        if clusters > 1:
            factor = local_covariance(rows, clusters, noise=noise, seed=seed)
        net = self.network(recipe, rows.shape[1:], seed)
        energy = self.energy(recipe, base, net).to(rows.device)
        return energy, self.kernel_of(recipe, factor, energy)

    def kernel(self, recipe: Recipe, factor: Factor) -> Kernel:
        """Make the MCMC kernel that samples the model.

        Arguments:
            recipe: all settings of the training.
            factor: square root C of the preconditioner ``C C^T``.

        Returns:
            MALA for one leapfrog step, Hamiltonian Monte Carlo for more.
        """
        own = recipe.model
        if own.leapfrog_steps == 1:
            return MALA(own.step_size, factor)
        return HMC(own.step_size, factor, own.leapfrog_steps)

    def parameter_groups(self, energy: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
        """List the parameters that are trained: the network's, since the base stays fixed.

        Arguments:
            energy: model of a base and a network.
            weight_decay: coefficient of the weight decay.

        Returns:
            Parameter groups for a torch optimiser.
        """
        net = energy.net
        assert isinstance(net, nn.Module)
        return parameter_groups(net.parameters(), weight_decay=weight_decay)

    def empty(
        self, recipe: Recipe, shape: Sequence[int], tensors: Mapping[str, Tensor]
    ) -> nn.Module:
        """Build a model with arbitrary parameters, into which saved ones can be loaded.

        Arguments:
            recipe: all settings of the training.
            shape: shape of one row of data.
            tensors: saved parameters and buffers by name, which decide their shapes.

        Returns:
            The model (an energy).
        """
        base = blank(recipe.model.base, shape, tensors)
        return self.energy(recipe, base, self.network(recipe, shape))

    def size(self, recipe: Recipe, shape: Sequence[int]) -> Size:
        """Estimate the numbers of parameters and activations of a perceptron.

        Arguments:
            recipe: all settings of the training.
            shape: shape of one row of data.

        Returns:
            A `Size`, with "width" as the setting that decides these numbers.
        """
        w, depth = recipe.model.width, recipe.model.depth
        return Size("width", math.prod(shape) * w + (depth - 1) * w**2, w * depth)


def blank(kind: str, shape: Sequence[int], tensors: Mapping[str, Tensor]) -> Base:
    """Make a base of the right kind and size, into which saved tensors can be loaded.

    Arguments:
        kind: "full", "diagonal", "low-rank" or "mixture".
        shape: shape of one row of data.
        tensors: saved parameters and buffers by name.

    Returns:
        The base.
    """
    mean, dim = torch.zeros(tuple(shape)), int(torch.Size(shape).numel())
    if kind == "mixture":
        k = len(tensors["base.means"]) if "base.means" in tensors else 1
        means = mean.expand(k, *mean.shape)
        return GaussianMixture(means, torch.eye(dim).expand(k, dim, dim), torch.ones(k))
    if kind == "diagonal":
        return Gaussian(mean, Diagonal(torch.ones(tuple(shape))))
    if kind == "low-rank":
        rank = tensors["base.factor.q"].shape[1] if "base.factor.q" in tensors else 1
        return Gaussian(mean, LowRank(torch.ones(dim), torch.zeros(dim, rank)))
    return Gaussian(mean, Cholesky(torch.eye(dim)))
