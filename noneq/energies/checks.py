"""Checks of data against an energy, and of the numerical precision of energies."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from noneq.data import check_data, check_rows
from noneq.energies.base import Energy
from noneq.spaces import Discrete, Space, WithContext, check_inside, context_size, space_of

__all__ = ["check_context", "check_fit", "check_states", "resolution"]

#: rows that `check_fit` has passed, so that a training checks them once: number of the changes in
#: place until then, space of the model, noise
_PASSED = WeakTensorKeyDictionary()
COARSE = 0.03  # nats: the spacing of float32 numbers near half a million


def resolution(u: Tensor) -> str | None:
    """Report energies that are too large for their floating-point precision.

    Importance weights are exponentials of differences of energies, so that rounding by about a
    tenth of a nat spoils them. A float32 number near half a million is rounded by 0.03.

    Arguments:
        u: energies (B,).

    Returns:
        A message with a remedy if the largest energy is rounded by 0.03 nat or more, else None.
    """
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
    """Check that an energy can be fitted to the rows of a data set.

    Rows of continuous variables, without a context, must pass `noneq.data.check_data`. Rows of
    discrete variables must be states of the model, e.g. bits; their columns may be constant. Rows
    that have passed are not looked at again until they are changed in place by torch: what NumPy
    writes into shared memory is not noticed.

    Arguments:
        model: energy.
        data: rows (M, *shape).
        noise: standard deviation of Gaussian noise that will be added to the rows.

    Raises:
        TypeError: data are not a floating-point tensor.
        ValueError: the rows cannot be fitted for any other reason.
    """
    if _has_passed(model, data, noise):
        return
    space = space_of(model)
    if isinstance(space, Discrete):
        check_rows(data, least=2)
        check_states(model, data, noise=noise)
    elif isinstance(space, WithContext):  # the columns of one-hot labels depend on each other
        check_rows(data, least=2)
        check_data(data[:, : -space.size], noise=noise)
    else:
        check_data(data, noise=noise)
    if not data.is_inference():
        _PASSED[data] = (data._version, space_of(model), noise)


def check_context(model: Energy, data: Tensor | None = None) -> None:
    """Check that an energy has the context of its base, and that rows hold one.

    Arguments:
        model: energy, with a base as its attribute ``base`` or without.
        data: rows that are to be learned; None: none.

    Raises:
        ValueError: the energy does not declare the context that its base has, or the rows have
            another number of coordinates than samples of the base.
    """
    base = getattr(model, "base", None)
    if base is not None and context_size(base) != context_size(model):
        raise ValueError(
            f"{type(model).__name__} and its base have contexts of {context_size(model)} and "
            f"{context_size(base)} coordinates: give the energy an attribute space = base.space"
        )
    if data is not None and base is not None and context_size(base):
        wide = base.sample(1, torch.Generator(data.device).manual_seed(0)).shape[1:]
        if data.shape[1:] != wide:
            raise ValueError(
                f"rows hold x and behind it its context, {wide[0]} numbers, got rows of shape "
                f"{tuple(data.shape[1:])}: noneq.energies.with_context(x, context) joins them"
            )


def check_states(model: Energy, data: Tensor, *, noise: float = 0.0) -> None:
    """Check that data are rows (M, *shape) and, for a discrete model, states of the model.

    The formula of a discrete energy also has values between the states (e.g. between the bits 0
    and 1), but these are not the logarithms of any probability.

    Arguments:
        model: energy.
        data: rows (M, *shape).
        noise: standard deviation of Gaussian noise that will be added; 0 for a discrete model.

    Raises:
        TypeError: data are not a floating-point tensor.
        ValueError: the rows are no states of the model, or noise would be added to states.
    """
    if _has_passed(model, data, noise):
        return
    check_rows(data)
    space = space_of(model)
    if isinstance(space, Discrete):
        check_inside(space, data)
        if noise > 0:
            raise ValueError(
                f"discrete rows cannot have noise added, got noise={noise}: leave it 0"
            )


def _has_passed(model: Energy, data: Tensor, noise: float) -> bool:
    """Return whether these very rows have passed `check_fit` for the same space and noise."""
    if not isinstance(data, Tensor) or data not in _PASSED:
        return False
    found: tuple[int, Space, float] = _PASSED[data]
    version, space, added = found
    return bool(version == data._version and space is space_of(model) and added == noise)
