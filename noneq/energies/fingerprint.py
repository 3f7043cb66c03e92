"""Fingerprints: hashes of a model's parameters, which show whether an energy has changed."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from types import FunctionType

import torch
from torch import Tensor, nn

from noneq.energies.base import Energy
from noneq.numerics import CACHED

__all__ = ["Snapshot", "fingerprint", "unique_mark"]

SMALL = 2**17  # numbers: tensors up to this size are hashed together
_paths = itertools.count()
_INTERNAL = vars(nn.Module()).keys() - {"_parameters", "_buffers", "_modules"}
_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64, 16: torch.int64}


def fingerprint(model: object) -> Tensor | None:
    """Hash a model's parameters to one number, which changes when a bit of a parameter changes.

    The hash covers the bit patterns and the order of all parameters and buffers, so that in-place
    writes by fused optimisers or through ``.data`` are seen. It also covers every tensor and float
    that is an attribute of a module, such as a temperature, directly or in a list, a dictionary or
    a closure. The contents of other objects are not covered.

    Arguments:
        model: energy; the method ``fingerprint()`` of the energy is used where it has one.

    Returns:
        A 0-d integer tensor; None for an energy that is no module and has no such method.
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
    found = _hash(tensors)
    return found + sum(hash((k, v)) % 2**40 for k, v in enumerate(floats)) if floats else found


@dataclass(frozen=True)
class Snapshot:
    """Records an energy together with the hash of the parameters that it had at one moment.

    Two snapshots show whether the parameters have changed between them (`same_parameters`). The
    parameters are not copied: the model itself goes on changing.

    Attributes:
        model: energy.
        fingerprint: hash of the parameters at that moment, by the function `fingerprint`; None if
            they cannot be hashed.
    """

    model: Energy
    fingerprint: Tensor | None

    @classmethod
    def of(cls, energy: Energy | Snapshot) -> Snapshot:
        """Make a snapshot of an energy with its present parameters.

        Arguments:
            energy: energy, or a snapshot.

        Returns:
            The snapshot; if ``energy`` is one already, that one unchanged.
        """
        return energy if isinstance(energy, Snapshot) else cls(energy, fingerprint(energy))

    def same_parameters(self, other: Snapshot | None) -> bool:
        """Return whether this snapshot and another have the same hash of the parameters.

        Arguments:
            other: another snapshot, or None.

        Returns:
            True for equal hashes; False for different ones, or where either of them is None.
        """
        if self is other:
            return True
        if other is None or self.fingerprint is None or other.fingerprint is None:
            return False
        return self.fingerprint is other.fingerprint or bool(self.fingerprint == other.fingerprint)

    def same(self, other: Snapshot | None) -> bool:
        """Return whether another snapshot has the same model object and the same parameters.

        Arguments:
            other: another snapshot, or None.

        Returns:
            True if the object and the hash of its parameters are the same; False if not, or if
            unknown.
        """
        return other is not None and self.model is other.model and self.same_parameters(other)


def _held(value: object, known: set[int]) -> Iterator[Tensor | float]:
    """Yield the tensors and floats that a module holds, registered or not, each once."""
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
    """Return what may hold tensors in a module, a container or a closure."""
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
    """Yield the values that a closure has captured."""
    for cell in function.__closure__ or ():
        with suppress(ValueError):  # a cell may be empty
            yield cell.cell_contents


def unique_mark() -> Tensor:
    """Make a fingerprint, a number in place of a hash, that no other object of this process has.

    Objects that never change use it instead of hashing their parameters, for example an annealing
    path between two energies with fixed parameters.

    Returns:
        A 0-d integer tensor, negative.
    """
    return torch.tensor(-1 - next(_paths), device="cpu")  # no sum of bits is likely to be that


@torch.no_grad()
def _hash(tensors: Sequence[Tensor]) -> Tensor:
    """Add up hashes of all tensors, each times its number; small ones are hashed as one."""
    small: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    hashes = []
    for k, tensor in enumerate(tensors, start=1):
        flat = tensor if tensor.dim() == 1 else tensor.reshape(-1)
        if len(flat) <= SMALL and not flat.is_complex():
            small.setdefault((flat.dtype, flat.device), []).append(flat)
        else:
            hashes.append((k, _mixed(_bits(flat.contiguous()))))
    hashes += [(k, _mixed(_bits(torch.cat(one)))) for k, one in enumerate(small.values(), 1)]
    if not hashes:
        return torch.zeros((), dtype=torch.int64, device="cpu")
    first = hashes[0][1].device
    terms = [one if k == 1 else k * one.to(first) for k, one in hashes]
    return sum(terms[1:], start=terms[0])


def _bits(flat: Tensor) -> Tensor:
    """Return the bit patterns of a 1-d tensor as integers of 32 or 64 bits."""
    bits = flat.view(_BITS[flat.element_size()])
    return bits if bits.element_size() >= 4 else bits.int()


def _mixed(bits: Tensor) -> Tensor:
    """Hash a tensor of integers and their places to one integer of 64 bits."""
    places = _places(len(bits), bits.dtype, bits.device)
    if bits.device.type == "cpu" and len(bits) > 2 * CACHED:
        both = zip(torch.split(bits, CACHED), torch.split(places, CACHED), strict=True)
        return torch.stack([_mix(*part).sum() for part in both]).sum()
    return _mix(bits, places).sum()


def _mix(bits: Tensor, places: Tensor) -> Tensor:
    """Hash integers one by one, not linearly, so that no two changes cancel by design."""
    mixed = bits * places
    mixed.bitwise_xor_(mixed >> 15).mul_(739982445)
    return mixed.bitwise_xor_(mixed >> 12)


@lru_cache(maxsize=64)
def _places(n: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return odd multipliers of n places, one for each."""
    return _odd(1 << n.bit_length(), dtype, device)[:n]


@lru_cache(maxsize=64)
def _odd(n: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the first n odd numbers."""
    return (2 * torch.arange(n, device=device) + 1).to(dtype)  # odd: no bit is shifted out
