"""Functions that draw Gaussian noise, random bits and categorical states.

Each takes the torch generator that it draws from as an argument. Modules of torch draw their first
parameters from a global generator: `seeded` sets it, and restores it afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.random.bit_generator import ISeedSequence
from numpy.typing import DTypeLike, NDArray
from torch import Tensor

from noneq.numerics import CACHED

__all__ = ["add_noise", "draw_bits", "draw_state", "normal_like", "seeded", "uniform"]


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Open a context in which torch's modules get first parameters that depend on the seed alone.

    They are made on the CPU, so that they have the same bits on any machine; torch's global
    generator is as before afterwards.

    Arguments:
        seed: seed of the parameters.

    Returns:
        A context, for a ``with`` statement, without a value.

    >>> with seeded(0):
    ...     one = torch.nn.Linear(3, 2)
    >>> with seeded(0):
    ...     two = torch.nn.Linear(3, 2)
    >>> torch.equal(one.weight, two.weight)
    True
    """
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(seed)  # the generator of the cpu alone
        yield


def add_noise(x: Tensor, noise: float, rng: torch.Generator, *, held: int = 0) -> Tensor:
    """Add Gaussian noise: ``x + noise xi``, xi standard normal, independent for every entry.

    Arguments:
        x: floating-point tensor of any shape.
        noise: standard deviation >= 0.
        rng: source of randomness, on the device of x.
        held: number of last entries along the last dimension, e.g. of a context, that stay.

    Returns:
        A new tensor of the shape of x, or x itself where ``noise`` is 0.

    Raises:
        ValueError: the standard deviation is negative or NaN.
    """
    if not noise >= 0:
        raise ValueError(f"noise is a standard deviation >= 0, got {noise}")
    if noise == 0:
        return x
    xi = torch.randn(x.shape, generator=rng, dtype=x.dtype, device=x.device)
    if held:
        xi[..., -held:] = 0
    return x + noise * xi


def normal_like(x: Tensor, rng: torch.Generator) -> Tensor:
    """Draw standard normal numbers of the shape, dtype and device of a tensor.

    Arguments:
        x: tensor, whose values are not used.
        rng: source of randomness, on the device of x.

    Returns:
        The numbers, of the shape of x.
    """
    return torch.randn(x.shape, generator=rng, dtype=x.dtype, device=x.device)


def uniform(shape: Sequence[int], rng: torch.Generator) -> Tensor:
    """Draw uniform numbers in [0, 1), float64, on the CPU.

    Arguments:
        shape: shape of the result.
        rng: source of randomness, on the CPU.

    Returns:
        The numbers, of the given shape.
    """
    return torch.rand(tuple(shape), generator=rng, dtype=torch.float64, device="cpu")


MANY = 2**14  # number of bits from which on numpy's generator is faster
UNIT = np.float32(2.0**-32 * (1 - 2.0**-24))  # keeps 32-bit integers, rounded to 2^32, below 1


def draw_bits(logits: Tensor, rng: torch.Generator) -> Tensor:
    """Draw independent bits that are 1 with probability ``sigmoid(logits)``.

    Probabilities are accurate to 2^-24; where the sigmoid rounds to 0 or 1 the bit is certain. For
    large float32 tensors on the CPU a numpy generator is seeded from rng and draws the bits, three
    times as fast as torch's generator.

    Arguments:
        logits: log-odds, of any shape.
        rng: source of randomness, on the device of the log-odds.

    Returns:
        Zeros and ones, of the shape and dtype of the log-odds.
    """
    p = logits.detach().sigmoid().contiguous()  # column-major tensors, such as a data frame's, too
    if p.numel() < MANY or p.device.type != "cpu" or p.dtype != torch.float32:
        u = torch.rand(p.shape, generator=rng, dtype=p.dtype, device=p.device)
        return p.gt_(u)  # in place: half the time of a new tensor
    # numpy documents the protocol that _Seeds follows, but its type stubs do not
    stream = np.random.SFC64(_Seeds(rng))  # type: ignore[arg-type]
    buffer = np.empty(CACHED, dtype=np.float32)
    for part in torch.split(p.view(-1), CACHED):
        uniform = buffer[: len(part)]
        words = stream.random_raw((len(part) + 1) // 2)
        np.copyto(uniform, words.view(np.uint32)[: len(part)], casting="unsafe")
        uniform *= UNIT
        part.gt_(torch.from_numpy(uniform))
    return p


class _Seeds(ISeedSequence):
    """Seeds a numpy bit generator by 64-bit words that torch's generator draws."""

    def __init__(self, rng: torch.Generator) -> None:
        self.rng = rng

    def generate_state(self, n_words: int, dtype: DTypeLike = np.uint32) -> NDArray[Any]:
        """Return n_words random words, as numpy asks for them."""
        words = torch.empty(n_words, dtype=torch.int64, device="cpu")
        words = words.random_(-(2**63), None, generator=self.rng)
        return words.numpy().view(np.uint64).astype(dtype)


def draw_state(logits: Tensor, rng: torch.Generator) -> Tensor:
    """Draw categorical states, with probabilities ``softmax(logits)`` along the last dimension.

    Arguments:
        logits: unnormalised log-probabilities (..., q) of the q states of each variable.
        rng: source of randomness, on the device of the logits.

    Returns:
        One state for each variable (...), as integers from 0 to q - 1.
    """
    # the largest logit after adding Gumbel noise
    return (logits - torch.empty_like(logits).exponential_(generator=rng).log_()).argmax(-1)
