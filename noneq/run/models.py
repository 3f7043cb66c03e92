"""From a recipe to an energy and the kernel that moves its walkers; to a file and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from noneq.annealing import Schedule, Track, pilot, tuned, untracked
from noneq.energies import (
    Cholesky,
    Diagonal,
    Factor,
    Gaussian,
    Identity,
    LowRank,
    Tilted,
    local_covariance,
    path_to,
)
from noneq.kernels import HMC, MALA, BlockGibbs, Chain, EulerMaruyama, Kernel, Repeat
from noneq.models import MLP, BernoulliRBM, ConvNet, GaussianRBM, ResNet, TimedMLP
from noneq.models.interpolants import TimedEnergy
from noneq.random import add_noise
from noneq.run.checkpoint import load_tensors, save_tensors
from noneq.run.recipe import MACHINES, Recipe

__all__ = [
    "Model",
    "Move",
    "at_step",
    "build",
    "groups",
    "ladder",
    "load_model",
    "network",
    "save_model",
    "transport",
]

Model: TypeAlias = Tilted | TimedEnergy | BernoulliRBM | GaussianRBM
Move: TypeAlias = MALA | HMC | BlockGibbs
_OWN = "preconditioner."


def build(recipe: Recipe, train: Tensor, seed: int = 0) -> tuple[Model, Move]:
    """The energy before the first update, on the data's device, and one move for its walkers.

    A network's moves are as long as a mode is wide, not as the data are: the preconditioner is the
    pooled covariance of clusters. A machine's are block Gibbs.

    Arguments:
        recipe: the choices.
        train: rows (M, *shape) that the base and the preconditioner are fitted to.
        seed: of the network's first parameters and of the clusters.

    Raises ValueError for an interpolant of binary rows.
    """
    if recipe.model in MACHINES:
        rng = torch.Generator(train.device).manual_seed(seed)
        if recipe.model == "rbm":
            return BernoulliRBM.from_data(train, recipe.hidden, rng), BlockGibbs()
        rows = add_noise(train, recipe.noise, rng)
        return GaussianRBM.from_data(rows, recipe.hidden, rng), BlockGibbs()
    if recipe.model == "interpolant":
        _refuse_bits(train)
    base = Gaussian.fit(train, recipe.base, noise=recipe.noise)
    factor: Factor = base.factor
    if recipe.clusters > len(train):
        raise ValueError(f"clusters must be at most the {len(train)} training rows")
    if recipe.clusters > 1:
        factor = local_covariance(train, recipe.clusters, noise=recipe.noise, seed=seed)
    net = network(recipe, train.shape[1:], seed)
    energy = _energy(recipe, base, net).to(train.device)
    return energy, _kernel(recipe, factor)


def _energy(recipe: Recipe, base: Gaussian, net: nn.Module) -> Tilted | TimedEnergy:
    if recipe.model == "interpolant":
        return TimedEnergy(base, net, recipe.noise)
    return Tilted(base, net)


def _refuse_bits(rows: Tensor) -> None:
    flat = rows.flatten(1)
    least, most = flat.aminmax(dim=0)
    if len(flat) > 2 and bool(((flat == least) | (flat == most)).all()):
        raise ValueError(
            "the rows are binary, no column has more than two values: --model interpolant is for "
            "numbers; take --model rbm, or --model network, which adds noise"
        )


def groups(energy: Model, decay: float) -> list[dict[str, Any]]:
    """The parameters as an optimiser takes them; a machine's biases are free of weight decay."""
    if isinstance(energy, Tilted | TimedEnergy):
        return [{"params": list(energy.net.parameters()), "weight_decay": decay}]
    rest = [p for p in energy.parameters() if p is not energy.w]
    return [{"params": [energy.w], "weight_decay": decay}, {"params": rest, "weight_decay": 0.0}]


def network(recipe: Recipe, shape: Sequence[int], seed: int = 0) -> nn.Module:
    """The recipe's network for rows of that shape; torch's global generator stays as it was."""
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):  # the same bits on any device
        torch.default_generator.manual_seed(seed)  # of the cpu alone
        if recipe.model == "interpolant":
            return TimedMLP(shape, recipe.width, recipe.depth)
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
    if recipe.model in MACHINES:
        return BlockGibbs()
    if recipe.leaps == 1:
        return MALA(recipe.step_size, factor)
    return HMC(recipe.step_size, factor, recipe.leaps)


def at_step(kernel: Move, h: float) -> Move:
    """The kernel with that step size, if it has one."""
    return kernel if isinstance(kernel, BlockGibbs) else replace(kernel, h=h)


def ladder(
    recipe: Recipe,
    energy: Model,
    kernel: Kernel,
    rng: torch.Generator,
    temperatures: int = 0,
    track: Track = untracked,
) -> int | Schedule:
    """The annealing of log Z and of samples, as `noneq.log_z` takes it.

    Arguments:
        recipe: whether steps are cycled, and how many temperatures.
        energy: the model.
        kernel: one move.
        rng: of the pilot run.
        temperatures: default: the recipe's.
        track: shows the pilot's progress.
    """
    steps = temperatures or recipe.z_temperatures
    if recipe.z_cycled:
        return steps
    return pilot(path_to(energy, energy.base), kernel, rng, track=track).resized(steps)


def transport(
    recipe: Recipe, energy: Model, kernel: Kernel, rng: torch.Generator, steps: int = 0
) -> Schedule:
    """Euler-Maruyama in equal steps, corrected by moves that follow their acceptance.

    Arguments:
        recipe: diffusivity and number of corrections.
        energy: of an interpolant.
        kernel: one correction.
        rng: of the walkers thrown away.
        steps: default: the recipe's.
    """
    steps = steps or recipe.steps
    assert isinstance(energy, TimedEnergy)
    carry = EulerMaruyama(recipe.eps, energy.base.factor)
    if not recipe.corrections:
        return Schedule.uniform(steps, carry)
    corrected = Chain((carry, Repeat(kernel, recipe.corrections)))
    path = path_to(energy, energy.base)
    return tuned(path, Schedule.uniform(steps, corrected), rng)


def save_model(path: Path, energy: Model, kernel: Move, recipe: Recipe) -> None:
    """Write the energy's parameters and buffers, and its walkers' preconditioner."""
    tensors = dict(energy.state_dict())
    if recipe.clusters > 1:  # else the preconditioner is the base's own, or there is none
        factor = getattr(kernel, "factor", None)
        assert isinstance(factor, Cholesky)
        tensors |= {_OWN + name: t for name, t in factor.state_dict().items()}
    save_tensors(path, tensors, format="noneq")


def load_model(
    path: Path, recipe: Recipe, shape: Sequence[int], device: torch.device | str = "cpu"
) -> tuple[Model, Move]:
    """What `save_model` wrote.

    Raises:
        FileNotFoundError: no such file.
        ValueError: damaged, or the parameters of another model.
    """
    tensors = load_tensors(path)
    own = {name[len(_OWN) :]: t for name, t in tensors.items() if name.startswith(_OWN)}
    rest = {name: t for name, t in tensors.items() if not name.startswith(_OWN)}
    with torch.device("cpu"):
        energy = _empty(recipe, shape, rest)
    try:
        energy.load_state_dict(rest)
        factor: Factor = getattr(energy.base, "factor", None) or Identity()
        if recipe.clusters > 1:
            pooled = Cholesky(torch.eye(len(own["root"]), device="cpu"))
            pooled.load_state_dict(own)
            factor = pooled.to(device)
    except (RuntimeError, KeyError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise ValueError(f"{path}: the parameters of another model ({reason})") from error
    return energy.to(device), _kernel(recipe, factor)


def _empty(recipe: Recipe, shape: Sequence[int], tensors: dict[str, Tensor]) -> Model:
    """A model of the right kind and shape, to be filled."""
    b, c = torch.zeros(tuple(shape)), torch.zeros(recipe.hidden)
    if recipe.model == "rbm":
        return BernoulliRBM(torch.zeros(b.numel(), recipe.hidden), b, c)
    if recipe.model == "gaussian-rbm":
        return GaussianRBM(torch.zeros(b.numel(), recipe.hidden), b, c, b)
    base = Gaussian(b, _blank(recipe.base, shape, tensors))
    return _energy(recipe, base, network(recipe, shape))


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
