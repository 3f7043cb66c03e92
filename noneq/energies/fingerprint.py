"""A hash of a model's parameters: whether an energy that was seen is still the same."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import lru_cache
from types import FunctionType

import torch
from torch import Tensor, nn

from noneq.numerics import CACHED

__all__ = ["fingerprint", "new_mark"]

_paths = itertools.count()
_INTERNAL = vars(nn.Module()).keys() - {"_parameters", "_buffers", "_modules"}
_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64, 16: torch.int64}


def fingerprint(model: object) -> Tensor | None:
    """A number that changes when any parameter or buffer of the model changes by a single bit.

    None for a callable without ``parameters()``: nothing can be known about it. The number is a
    hash of the bit patterns and their places, so that neither fused optimisers nor ``.data`` nor a
    change of signs or of order escape it; and of every tensor and float that is an attribute of a
    module, such as a temperature, or in a list, a dictionary or a closure that is one. What other
    objects hold is not seen.
    """
    own = getattr(model, "fingerprint", None)
    if own is not None:
        seen: Tensor | None = own()
        return seen
    if not isinstance(model, nn.Module):
        return None
    held = list(_held(model, set()))
    tensors = [value for value in held if isinstance(value, Tensor)]
    floats = [value for value in held if isinstance(value, float)]
    total = torch.zeros((), dtype=torch.int64, device=tensors[0].device if tensors else "cpu")
    for k, tensor in enumerate(tensors, start=1):
        bits = tensor.detach().contiguous().flatten().view(_BITS[tensor.element_size()])
        bits = bits if bits.element_size() >= 4 else bits.int()
        total = total + k * _mixed(bits, _places(len(bits), bits.dtype, bits.device)).to(total)
    return total + sum(hash((k, v)) % 2**40 for k, v in enumerate(floats))


def _held(value: object, known: set[int]) -> Iterator[Tensor | float]:
    """Tensors and floats that a module is made of, registered or not, each once."""
    if type(value) is float:
        if value == value:
            yield value
        return
    if id(value) in known:
        return
    known.add(id(value))
    if isinstance(value, Tensor):
        yield value
    for part in _parts_of(value):
        yield from _held(part, known)


def _parts_of(value: object) -> Iterable[object]:
    """What may hold tensors in a module, a container or a closure; of anything else nothing."""
    if isinstance(value, nn.Module):
        compiled = value._modules.get("_orig_mod")
        own = {key: part for key, part in vars(value).items() if key not in _INTERNAL}
        return own.values() if compiled is None else (compiled,)
    if isinstance(value, dict):
        return value.values()
    if isinstance(value, list | tuple):
        return value
    if isinstance(value, FunctionType):
        return _cells(value)
    return ()


def _cells(function: FunctionType) -> Iterator[object]:
    for cell in function.__closure__ or ():
        with suppress(ValueError):  # empty as yet
            yield cell.cell_contents


def new_mark() -> Tensor:
    """A mark like a `fingerprint`, for what never changes: no two are alike in a process."""
    return torch.tensor(-1 - next(_paths), device="cpu")  # no sum of bits is likely to be that


def _mixed(bits: Tensor, places: Tensor) -> Tensor:
    """A hash of integers and where they are, of their type."""
    if bits.device.type == "cpu" and len(bits) > CACHED:
        both = zip(torch.split(bits, CACHED), torch.split(places, CACHED), strict=True)
        return torch.stack([_mixed(*part) for part in both]).sum(dtype=bits.dtype)
    # not linear, so that no two changes cancel by design
    mixed = bits * places
    mixed.bitwise_xor_(mixed >> 15).mul_(739982445)
    return mixed.bitwise_xor_(mixed >> 12).sum(dtype=bits.dtype)


def _places(n: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return _odd(1 << n.bit_length(), dtype, device)[:n]


@lru_cache(maxsize=64)
def _odd(n: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return (2 * torch.arange(n, device=device) + 1).to(dtype)  # odd: no bit is shifted out
