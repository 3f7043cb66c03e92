"""From a recipe to an energy and the kernel that moves its walkers; to a file and back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor, nn

from noneq.checkpoint import load_tensors, save_tensors
from noneq.covariance import Cholesky, Diagonal, Factor, LowRank
from noneq.energies import Tilted
from noneq.gaussians import Gaussian, local_covariance
from noneq.kernels import HMC, MALA
from noneq.nets import MLP, ConvNet, ResNet
from noneq.paths import path_to
from noneq.recipe import Recipe
from noneq.schedules import Schedule
from noneq.smc import pilot

__all__ = ["Move", "build", "ladder", "load_model", "network", "save_model"]

Move: TypeAlias = MALA | HMC
_OWN = "preconditioner."


def build(recipe: Recipe, train: Tensor, seed: int = 0) -> tuple[Tilted, Move]:
    """The energy before the first update, on the data's device, and one move for its walkers.

    Moves are as long as a mode is wide, not as the data are: the preconditioner is the pooled
    covariance of clusters.

    Arguments:
        recipe: the choices.
        train: rows (M, *shape) that the base and the preconditioner are fitted to.
        seed: of the network's first parameters and of the clusters.
    """
    base = Gaussian.fit(train, recipe.base, noise=recipe.noise)
    factor: Factor = base.factor
    if recipe.clusters > len(train):
        raise ValueError(f"clusters must be at most the {len(train)} training rows")
    if recipe.clusters > 1:
        factor = local_covariance(train, recipe.clusters, noise=recipe.noise, seed=seed)
    energy = Tilted(base, network(recipe, train.shape[1:], seed)).to(train.device)
    return energy, _kernel(recipe, factor)


def network(recipe: Recipe, shape: Sequence[int], seed: int = 0) -> nn.Module:
    """The recipe's network for rows of that shape; torch's global generator stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # of the cpu alone
        if recipe.net == "mlp":
            return MLP(shape, recipe.width, recipe.depth)
        if recipe.net == "convnet":
            net: nn.Module = ConvNet(shape, recipe.width, recipe.depth)
        else:
            net = ResNet(shape, recipe.width, stages=recipe.depth)
        # half the time of a small convolution on a processor
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return net


def _kernel(recipe: Recipe, factor: Factor) -> Move:
    if recipe.leaps == 1:
        return MALA(recipe.step_size, factor)
    return HMC(recipe.step_size, factor, recipe.leaps)


def ladder(
    recipe: Recipe, energy: Tilted, kernel: Move, rng: torch.Generator, temperatures: int = 0
) -> int | Schedule:
    """The annealing of log Z and of samples, as `noneq.log_z` takes it.

    Arguments:
        recipe: whether steps are cycled, and how many temperatures.
        energy: the model.
        kernel: one move.
        rng: of the pilot run.
        temperatures: default: the recipe's.
    """
    steps = temperatures or recipe.z_temperatures
    if recipe.z_cycled:
        return steps
    return pilot(path_to(energy, energy.base), kernel, rng).resized(steps)


def save_model(path: Path, energy: Tilted, kernel: Move, recipe: Recipe) -> None:
    """Write the energy's parameters and buffers, and its walkers' preconditioner."""
    tensors = dict(energy.state_dict())
    factor = kernel.factor
    if recipe.clusters > 1:  # else it is the base's own
        assert isinstance(factor, Cholesky)
        tensors |= {_OWN + name: t for name, t in factor.state_dict().items()}
    save_tensors(path, tensors, format="noneq")


def load_model(
    path: Path, recipe: Recipe, shape: Sequence[int], device: torch.device | str = "cpu"
) -> tuple[Tilted, Move]:
    """What `save_model` wrote.

    Raises:
        FileNotFoundError: no such file.
        ValueError: damaged, or the parameters of another model.
    """
    tensors = load_tensors(path)
    own = {name[len(_OWN) :]: t for name, t in tensors.items() if name.startswith(_OWN)}
    rest = {name: t for name, t in tensors.items() if not name.startswith(_OWN)}
    base = Gaussian(torch.zeros(tuple(shape)), _blank(recipe.base, shape, rest))
    energy = Tilted(base, network(recipe, shape))
    try:
        energy.load_state_dict(rest)
        factor: Factor = base.factor
        if recipe.clusters > 1:
            pooled = Cholesky(torch.eye(len(own["root"])))
            pooled.load_state_dict(own)
            factor = pooled.to(device)
    except (RuntimeError, KeyError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise ValueError(f"{path}: the parameters of another model ({reason})") from error
    return energy.to(device), _kernel(recipe, factor)


def _blank(
    kind: str, shape: Sequence[int], tensors: dict[str, Tensor]
) -> Cholesky | Diagonal | LowRank:
    """A factor of the right kind and size, to be filled."""
    dim = int(torch.Size(shape).numel())
    if kind == "diagonal":
        return Diagonal(torch.ones(tuple(shape)))
    if kind == "low-rank":
        rank = tensors["base.factor.q"].shape[1] if "base.factor.q" in tensors else 1
        return LowRank(torch.ones(dim), torch.zeros(dim, rank))
    return Cholesky(torch.eye(dim))
