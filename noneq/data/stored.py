"""Rows that stay on disk: batches in random order, of a file that need not fit into memory."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noneq.data.blocks import blocks_of

__all__ = ["StoredRows"]


class StoredRows:
    """Yields batches of the rows of a file in random order, each row once in a pass.

    The file is read in blocks: pieces of about a megabyte of a memory-mapped .npy file, or the row
    groups of a parquet file. A pass takes the blocks in a random order, and shuffles the rows of
    as many blocks as have ``window`` rows together, which is what has to be in memory. Every pass
    has another order, which depends on the seed alone. `state_dict` holds the place in it, so that
    a training goes on with the very batch that would have come next.

    Arguments:
        path: .npy file of numbers (M, *shape), or .parquet file.
        batch: number of rows in a batch; the last one of a pass may be smaller.
        columns: names of the columns of a parquet file that are used; empty: all.
        window: number of rows that are shuffled together, at least; the larger, the more alike is
            the order to one of all rows, where neighbours in the file resemble each other.
        held_out: number of rows, chosen at random, that no batch contains, for validation.
        seed: seed of the order and of the rows held out.

    Attributes:
        shift, scale: what is subtracted from each value, and what it is divided by then; 0 and 1,
            or those of `standardised`.
        epoch: number of passes that have ended.
        taken: number of batches of the present pass that have been taken.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, its rows are no numbers, or an argument is out of range.

    >>> import noneq, numpy, tempfile
    >>> file = tempfile.NamedTemporaryFile(suffix=".npy")
    >>> numpy.save(file.name, numpy.random.default_rng(0).normal(5.0, 2.0, (1000, 3)))
    >>> rows = StoredRows(file.name, 100, held_out=100).standardised()
    >>> sum(len(batch) for batch in rows), rows.validation.shape
    (900, torch.Size([100, 3]))
    >>> energy = noneq.Tilted(noneq.Gaussian.fit(rows.sample(500)), noneq.MLP(3, width=8))
    >>> settings = noneq.Settings(walkers=64, held_out=None)
    >>> record = next(iter(noneq.train(energy, rows, settings)))
    """

    def __init__(
        self,
        path: str | Path,
        batch: int = 256,
        *,
        columns: Sequence[str] = (),
        window: int = 65_536,
        held_out: int = 0,
        seed: int = 0,
    ) -> None:
        self.blocks = blocks_of(Path(path), columns)
        self.path, self.batch, self.window, self.seed = Path(path), batch, window, seed
        many = int(self.blocks.starts[-1])
        if batch < 1 or window < 1 or not 0 <= held_out < many:
            raise ValueError(
                f"{path}: batch and window are 1 or more, and of its {many:,} rows fewer are held "
                f"out, got {batch}, {window} and {held_out}"
            )
        chosen = np.random.default_rng((seed, 0)).choice(many, held_out, replace=False)
        self.held: NDArray[np.int64] = np.sort(chosen)
        self.shift: Tensor | float = 0.0
        self.scale: Tensor | float = 1.0
        self.epoch = self.taken = 0

    def __len__(self) -> int:
        """Return the number of batches in a pass."""
        return -(-self.rows // self.batch)

    @property
    def rows(self) -> int:
        """Return the number of rows of a pass, without those held out."""
        return int(self.blocks.starts[-1]) - len(self.held)

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of one row."""
        return self.blocks.shape

    def __iter__(self) -> Iterator[Tensor]:
        """Yield the batches (B, *shape) that are left of the present pass, float32.

        Where the pass has ended, the next call begins another one.
        """
        windows, ends = self._windows()
        while self.taken * self.batch < self.rows:
            start = self.taken * self.batch
            stop = min(start + self.batch, self.rows)
            parts, k = [], bisect.bisect_right(ends, start) - 1
            while start < stop:
                x = self._window(k, windows[k])
                parts.append(x[start - ends[k] : stop - ends[k]])
                start, k = min(stop, ends[k + 1]), k + 1
            self.taken += 1
            yield self._scaled(torch.cat(parts))
        self.epoch, self.taken = self.epoch + 1, 0

    def state_dict(self) -> dict[str, Any]:
        """Return the place in the present pass, for `load_state_dict`."""
        return {"epoch": self.epoch, "taken": self.taken, "seed": self.seed, "batch": self.batch}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go to the place that `state_dict` returned; the next ``iter`` begins there.

        Arguments:
            saved: the dictionary.

        Raises:
            ValueError: it is that of rows with another seed or other batches.
        """
        own = {"seed": self.seed, "batch": self.batch}
        if any(saved[name] != value for name, value in own.items()):
            raise ValueError(
                f"{self.path}: this place is one among batches of {saved['batch']} rows of seed "
                f"{saved['seed']}, not of {self.batch} rows of seed {self.seed}"
            )
        self.epoch, self.taken = int(saved["epoch"]), int(saved["taken"])

    def standardised(self) -> StoredRows:
        """Return the same rows, standardised by the mean and standard deviation of each column.

        All rows but those held out are read once. A constant column becomes 0.
        """
        many, mean = 0, torch.zeros(self.shape, dtype=torch.float64, device="cpu")
        square = mean
        for k in range(len(self.blocks.starts) - 1):
            x = self._block(k).double()
            if not len(x):
                continue
            own, before = x.mean(0), mean
            many += len(x)
            mean = before + (own - before) * (len(x) / many)
            apart = (own - before).square() * (len(x) * (many - len(x)) / many)
            square = square + (x - own).square().sum(0) + apart
        sd = (square / many).sqrt()
        new = StoredRows.__new__(StoredRows)
        vars(new).update({k: v for k, v in vars(self).items() if k != "validation"})
        new.shift, new.scale = mean, torch.where(sd > 0, sd, 1.0)
        return new

    @cached_property
    def validation(self) -> Tensor:
        """The rows that are held out (held_out, *shape), scaled as the batches are."""
        return self._at(self.held)

    def sample(self, n: int) -> Tensor:
        """Return n rows (n, *shape) that are not held out, drawn at random, e.g. to fit a base.

        Arguments:
            n: number of rows; all of them if there are fewer.

        Returns:
            The rows, scaled as the batches are, in the order of the file.
        """
        rng = np.random.default_rng((self.seed, 1))
        chosen = np.sort(rng.choice(self.rows, min(n, self.rows), replace=False))
        # the k-th of the rows that are left: one more for each row held out before it
        before = self.held - np.arange(len(self.held))
        return self._at(chosen + np.searchsorted(before, chosen, side="right"))

    def _at(self, numbers: NDArray[np.int64]) -> Tensor:
        """Return the rows of given numbers, in increasing order, scaled."""
        parts = [torch.empty(0, *self.shape, device="cpu")]
        at = np.searchsorted(self.blocks.starts, numbers, side="right") - 1
        for k in np.unique(at):
            x = torch.from_numpy(self.blocks.read(int(k)))
            parts.append(x[torch.from_numpy(numbers[at == k] - self.blocks.starts[k])])
        return self._scaled(torch.cat(parts))

    def _scaled(self, x: Tensor) -> Tensor:
        return ((x - self.shift) / self.scale).float()

    def _block(self, k: int) -> Tensor:
        """Return the rows of a block, without those held out."""
        first, last = self.blocks.starts[k], self.blocks.starts[k + 1]
        x = torch.from_numpy(self.blocks.read(k))
        held = self.held[np.searchsorted(self.held, first) : np.searchsorted(self.held, last)]
        if not len(held):
            return x
        kept = torch.ones(len(x), dtype=torch.bool, device="cpu")
        kept[torch.from_numpy(held - first)] = False
        return x[kept]

    def _windows(self) -> tuple[list[list[int]], list[int]]:
        """Return the blocks of each window of this pass, and how many rows come before it."""
        rng = np.random.default_rng((self.seed, 2, self.epoch))
        held = np.searchsorted(self.held, self.blocks.starts)
        sizes = np.diff(self.blocks.starts) - np.diff(held)
        windows: list[list[int]] = []
        ends, full = [0], True
        for k in rng.permutation(len(sizes)).tolist():
            if full:
                windows.append([])
                ends.append(ends[-1])
            windows[-1].append(k)
            ends[-1] += int(sizes[k])
            full = ends[-1] - ends[-2] >= self.window
        return windows, ends

    def _window(self, number: int, blocks: Sequence[int]) -> Tensor:
        """Return the shuffled rows of a window; the last one is kept, as batches follow on it."""
        name = (self.epoch, number)
        if getattr(self, "_kept", (None,))[0] != name:
            self._kept: tuple[Any, Tensor] = (
                None,
                torch.empty(0, device="cpu"),
            )  # frees it before reading
            x = torch.cat([self._block(k) for k in blocks])
            rng = np.random.default_rng((self.seed, 3, *name))
            self._kept = name, x[torch.from_numpy(rng.permutation(len(x)))]
        return self._kept[1]
