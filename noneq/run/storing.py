"""Functions that write a run's last checkpoint, and write and read its model and its scaling.

The file model.safetensors holds the model's parameters, and the preconditioner of its MCMC kernel;
flow.safetensors the parameters of a spline flow, if rows are in its coordinates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from noneq.data import Scaling
from noneq.energies import Cholesky, Factor, Identity
from noneq.kernels import Kernel
from noneq.run.checkpoint import load_tensors, save_tensors, store
from noneq.run.families import family_of
from noneq.run.recipe import Recipe
from noneq.run.session import Session

__all__ = [
    "load_model",
    "load_scaling",
    "save_model",
    "save_scaling",
    "save_session",
]

_OWN = "preconditioner."
_FLOW = "flow.safetensors"


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


def save_scaling(folder: Path, scaling: Scaling) -> None:
    """Write what of a run's scaling is not in config.json, the parameters of a spline flow.

    Arguments:
        folder: folder of the run.
        scaling: scaling of the run; without a flow nothing is written.
    """
    if scaling.flow is not None:
        save_tensors(folder / _FLOW, scaling.flow.tensors(), format="noneq")


def load_scaling(folder: Path, config: Mapping[str, Any]) -> Scaling:
    """Read the scaling of a run, bit for bit.

    Arguments:
        folder: folder of the run.
        config: content of its config.json.

    Returns:
        The scaling.

    Raises:
        FileNotFoundError: the file of the flow's parameters is missing.
        ValueError: config.json is of another version of noneq, or the file of the flow's
            parameters is damaged or of another flow.
        ImportError: zuko, which flows need, is not installed.
    """
    path, tensors = folder / _FLOW, None
    try:
        plain = config["data"]["scaling"]
        has_flow = plain.get("flow") is not None
    except (KeyError, AttributeError) as error:
        why = f"of another version of noneq ({error!r})"
        raise ValueError(f"{folder / 'config.json'}: {why}") from error
    if has_flow:
        tensors = load_tensors(path)
    try:
        return Scaling.from_plain(plain, tensors)
    except (ValueError, KeyError, TypeError) as error:
        if tensors is not None:
            raise ValueError(f"{path}: {error}") from error
        why = f"of another version of noneq ({error!r})"
        raise ValueError(f"{folder / 'config.json'}: {why}") from error


def _has_clusters(recipe: Recipe) -> bool:
    """Return whether the preconditioner is a pooled covariance of clusters, not the base's."""
    return (getattr(recipe.model, "clusters", None) or 0) > 1
