"""Functions that write a run's last checkpoint, and write and read its model.

The file model.safetensors holds the model's parameters, and the preconditioner of its MCMC kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from noneq.energies import Cholesky, Factor, Identity
from noneq.kernels import Kernel
from noneq.run.checkpoint import load_tensors, save_tensors, store
from noneq.run.families import family_of
from noneq.run.recipe import Recipe
from noneq.run.session import Session

__all__ = ["load_model", "save_model", "save_session"]

_OWN = "preconditioner."


def save_session(folder: Path, session: Session) -> None:
    """Write a checkpoint of a session, i.e. the training in memory, and its present model.

    Arguments:
        folder: folder of the run.
        session: session to write.
    """
    save_model(folder / "model.safetensors", session.model, session.kernel, session.recipe)
    store(folder / "state", session.state_dict())


def save_model(path: Path, energy: nn.Module, kernel: Kernel, recipe: Recipe) -> None:
    """Write a model's parameters and buffers, and the preconditioner of its MCMC kernel.

    Arguments:
        path: path of the file.
        energy: model to write.
        kernel: MCMC kernel that samples the model; it may have a preconditioner.
        recipe: all settings of the training.
    """
    tensors = dict(energy.state_dict())
    if _has_clusters(recipe):  # else the preconditioner is the base's own, or there is none
        factor = getattr(kernel, "factor", None)
        assert isinstance(factor, Cholesky)
        tensors |= {_OWN + name: t for name, t in factor.state_dict().items()}
    save_tensors(path, tensors, format="noneq")


def load_model(
    path: Path, recipe: Recipe, shape: Sequence[int], device: torch.device | str = "cpu"
) -> tuple[nn.Module, Kernel]:
    """Read a model and its MCMC kernel from a file that `save_model` wrote.

    Arguments:
        path: path of the file.
        recipe: all settings of the training.
        shape: shape of one row of data.
        device: torch device of the model.

    Returns:
        The model (an energy), and the MCMC kernel that samples it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or has the parameters of another model.
    """
    tensors, family = load_tensors(path), family_of(recipe.kind)
    own = {name[len(_OWN) :]: t for name, t in tensors.items() if name.startswith(_OWN)}
    rest = {name: t for name, t in tensors.items() if not name.startswith(_OWN)}
    with torch.device("cpu"):
        energy = family.empty(recipe, shape, rest)
    try:
        energy.load_state_dict(rest)
        factor: Factor = getattr(energy.base, "factor", None) or Identity()
        if _has_clusters(recipe):
            pooled = Cholesky(torch.eye(len(own["root"]), device="cpu"))
            pooled.load_state_dict(own)
            factor = pooled.to(device)
    except (RuntimeError, KeyError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise ValueError(f"{path}: the parameters of another model ({reason})") from error
    return energy.to(device), family.kernel_of(recipe, factor, energy)


def _has_clusters(recipe: Recipe) -> bool:
    """Return whether the preconditioner is a pooled covariance of clusters, not the base's."""
    return (getattr(recipe.model, "clusters", None) or 0) > 1
