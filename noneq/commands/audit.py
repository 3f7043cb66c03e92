"""``noneq logz --energy``: the likelihood of anybody's model."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from noneq.checkpoint import load_tensors
from noneq.console import say, tracked
from noneq.data import read
from noneq.devices import usable
from noneq.energies import Energy
from noneq.likelihood import log_z, nll

__all__ = ["audit"]


def audit(
    name: str,
    weights: Path | None,
    data: Path | None,
    test: Path | None,
    *,
    noise: float,
    how: Mapping[str, Any],
    device: str,
) -> None:
    """``noneq logz --energy``."""
    if data is None:
        raise ValueError("an audit needs --data: rows that the model was trained on")
    where = usable(device)
    energy = _built(name, weights)
    if isinstance(energy, torch.nn.Module):
        energy = energy.to(where).eval()
    x = read(data).x.to(where)
    rng = torch.Generator(where).manual_seed(how["seed"])
    settings = {key: value for key, value in how.items() if key != "seed"}
    z = log_z(energy, data=x, noise=noise, rng=rng, track=tracked, **settings)
    say(str(z))
    rows = x if test is None else read(test).x.to(where)
    say(f"NLL of {test or data}: {nll(energy, rows, z, noise=noise)}")


def _built(name: str, weights: Path | None) -> Energy:
    """The energy that ``module:function`` returns, with its weights."""
    module, colon, function = name.partition(":")
    if not colon:
        raise ValueError(f"--energy {name}: module:function is meant, as models:build")
    sys.path.insert(0, str(Path.cwd()))
    try:
        made = getattr(importlib.import_module(module), function)
    except ModuleNotFoundError as error:
        raise ValueError(f"--energy {name}: {error} (the working folder is searched)") from error
    except AttributeError:
        raise ValueError(f"--energy {name}: module {module} has no {function}") from None
    energy: Energy = made if isinstance(made, torch.nn.Module) else made()
    if weights is None:
        return energy
    if not isinstance(energy, torch.nn.Module):
        raise ValueError(
            f"--weights are for a torch.nn.Module; {name} gave {type(energy).__name__}"
        )
    try:
        energy.load_state_dict(load_tensors(weights))
    except RuntimeError as error:
        reason = "; ".join(line.strip() for line in str(error).splitlines()[1:3])
        raise ValueError(f"{weights}: does not fit {name}: {reason}") from error
    return energy
