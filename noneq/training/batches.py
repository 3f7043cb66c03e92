"""Where a training takes its batches from: a tensor of rows, or an iterable of batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from noneq.energies.checks import check_states

__all__ = ["Batches", "Loaded", "Rows", "batches_of", "rows_of"]


class Batches(Protocol):
    """The protocol of a source of batches.

    Attributes:
        first: rows (M, *shape) by which a training is checked before it begins.
    """

    first: Tensor

    def draw(self, n: int, rng: torch.Generator) -> Tensor:
        """Return n rows (n, *shape), or a batch of the loader's own size."""


class Rows:
    """Draws batches of rows from a tensor, uniformly and with replacement.

    Arguments:
        data: rows (M, *shape), which may be changed in place between draws.
    """

    def __init__(self, data: Tensor) -> None:
        self.first = data

    def draw(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw n rows (n, *shape)."""
        at = torch.randint(len(self.first), (n,), generator=rng, device=self.first.device)
        return self.first[at]


class Loaded:
    """Takes the batches of an iterable, again from its beginning when it has ended.

    Every batch has the size that the iterable gives it. The order is the iterable's: who resumes a
    training goes on with it where it was.

    Arguments:
        source: iterable of batches, e.g. a `torch.utils.data.DataLoader`. A batch is a
            floating-point tensor of rows (B, *shape), or a tuple or list with it in front.
        energy: model that is trained; batches are moved to the device of its parameters.

    Raises:
        TypeError: a batch is no floating-point tensor.
        ValueError: there is no batch, or a batch has rows of another shape or that are not finite.
    """

    def __init__(self, source: Iterable[Any], energy: nn.Module) -> None:
        self.source, self.energy = source, energy
        self.device = next((p.device for p in energy.parameters()), torch.device("cpu"))
        self._iterator: Iterator[Any] = iter(source)
        self._kept: Tensor | None = None  # the first batch, which no training has used yet
        self._kept = self.first = self._next()

    def draw(self, n: int, rng: torch.Generator) -> Tensor:  # noqa: ARG002
        """Return the next batch, whatever n is."""
        if self._kept is not None:
            x, self._kept = self._kept, None
            return x
        x = self._next()
        if x.shape[1:] != self.first.shape[1:]:
            raise ValueError(
                f"a batch has rows of shape {tuple(x.shape[1:])}, and the first one had rows of "
                f"{tuple(self.first.shape[1:])}"
            )
        return x

    def _next(self) -> Tensor:
        x = next(self._iterator, None)
        if x is None:
            self._iterator = iter(self.source)
            x = next(self._iterator, None)
        if x is None:
            raise ValueError(
                "the batches have ended: give an iterable that begins anew, such as a DataLoader, "
                "or a generator without an end"
            )
        batch: Tensor = x[0] if isinstance(x, tuple | list) and x else x
        check_states(self.energy, batch)  # where it was loaded, before it is moved to a GPU
        return batch.to(self.device, non_blocking=True)


def batches_of(data: Tensor | Iterable[Any], energy: nn.Module) -> Batches:
    """Make the source of batches of what a training is given.

    Arguments:
        data: rows (M, *shape), or an iterable of batches that is no array, list or tuple.
        energy: model that is trained.

    Returns:
        The source.
    """
    if isinstance(data, Tensor) or not isinstance(data, Iterable):
        return Rows(data)
    if isinstance(data, np.ndarray | Sequence | Mapping):  # `check_rows` says what to do
        return Rows(data)  # type: ignore[arg-type]
    return Loaded(data, energy)


def rows_of(batches: Batches, n: int, rng: torch.Generator) -> Tensor:
    """Take rows of as many batches as it takes.

    Arguments:
        batches: source of batches.
        n: number of rows.
        rng: source of randomness of batches that are drawn.

    Returns:
        The rows (n, *shape).
    """
    parts = [batches.draw(n, rng)]
    while sum(map(len, parts)) < n:
        parts.append(batches.draw(n, rng))
    return parts[0] if len(parts[0]) == n else torch.cat(parts)[:n]
