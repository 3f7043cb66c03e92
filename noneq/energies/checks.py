"""Are these rows ones that an energy can be fitted to, and are its numbers precise enough?"""

from __future__ import annotations

import torch
from torch import Tensor

from noneq.data import check_data, check_rows
from noneq.energies.base import Energy
from noneq.spaces import Discrete, check_inside, space_of

__all__ = ["check_fit", "check_states", "resolution"]

COARSE = 0.03  # nats: a float32 of half a million


def resolution(u: Tensor) -> str | None:
    """What to say of energies u (B,) too large for their precision, a tenth of a nat or so."""
    finite = u[torch.isfinite(u)]
    if not len(finite):
        return None
    largest = float(finite.abs().max())
    step = largest * torch.finfo(u.dtype).eps / 2
    if step < COARSE:
        return None
    return (
        f"energies reach {largest:.2g}, where {str(u.dtype).removeprefix('torch.')} tells no less "
        f"than {step:.2g} nat apart: use float64 (model.double(), data.double()), or subtract a "
        "constant from the energy"
    )


def check_fit(model: Energy, data: Tensor, *, noise: float = 0.0) -> None:
    """Raise unless the energy can be fitted to rows data (M, *shape).

    On R^n and in boxes as `noneq.data.check_data` says. Discrete rows must be states of the model;
    columns may be constant, since probabilities need no spread.

    Raises:
        TypeError: not a floating-point tensor.
        ValueError: anything else.
    """
    if not isinstance(space_of(model), Discrete):
        check_data(data, noise=noise)
        return
    check_rows(data, least=2)
    check_states(model, data, noise=noise)


def check_states(model: Energy, data: Tensor, *, noise: float = 0.0) -> None:
    """Raise unless data are rows (M, *shape), and of a discrete model its states, without noise.

    Its formula gives numbers between them, too, which belong to no probability.

    Raises:
        TypeError: not a floating-point tensor.
        ValueError: anything else.
    """
    check_rows(data)
    space = space_of(model)
    if isinstance(space, Discrete):
        check_inside(space, data)
        if noise > 0:
            raise ValueError(
                f"discrete rows cannot have noise added, got noise={noise}: leave it 0"
            )
