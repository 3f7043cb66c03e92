"""Random numbers, each drawn with an explicit generator: noise, bits and states of sites."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.random.bit_generator import ISeedSequence
from numpy.typing import DTypeLike, NDArray
from torch import Tensor

from noneq.numerics import CACHED

__all__ = ["add_noise", "draw_bits", "draw_state", "normal_like"]


def add_noise(x: Tensor, noise: float, rng: torch.Generator) -> Tensor:
    """``x + noise xi``, xi standard normal; x itself where ``noise`` is 0.

    Raises ValueError unless ``noise >= 0``.
    """
    if not noise >= 0:
        raise ValueError(f"noise is a standard deviation >= 0, got {noise}")
    if noise == 0:
        return x
    xi = torch.randn(x.shape, generator=rng, dtype=x.dtype, device=x.device)
    return x + noise * xi


def normal_like(x: Tensor, rng: torch.Generator) -> Tensor:
    """Standard normal noise of x's shape, dtype and device."""
    return torch.randn(x.shape, generator=rng, dtype=x.dtype, device=x.device)


MANY = 2**14  # uniform numbers that are worth a stream of their own
UNIT = np.float32(2.0**-32 * (1 - 2.0**-24))  # of 32-bit numbers: they round to 2^32, not to 1


def draw_bits(logits: Tensor, rng: torch.Generator) -> Tensor:
    """Independent bits of the shape of ``logits``, 1 with probability ``sigmoid(logits)``.

    Probabilities are right to 2^-24, and certain where the sigmoid is 0 or 1. Many bits in float32
    on the processor come from a stream of numpy's, thrice as fast as torch's, that rng seeds.
    """
    p = logits.detach().sigmoid().contiguous()  # rows by column, too, as of a data frame
    if p.numel() < MANY or p.device.type != "cpu" or p.dtype != torch.float32:
        u = torch.rand(p.shape, generator=rng, dtype=p.dtype, device=p.device)
        return p.gt_(u)  # where it is: half the time of a new tensor
    # numpy documents the protocol of _Seeds, its types do not
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
    """What a stream of numpy's begins with: 64-bit words drawn by torch's generator."""

    def __init__(self, rng: torch.Generator) -> None:
        self.rng = rng

    def generate_state(self, n_words: int, dtype: DTypeLike = np.uint32) -> NDArray[Any]:
        words = torch.empty(n_words, dtype=torch.int64, device="cpu")
        words = words.random_(-(2**63), None, generator=self.rng)
        return words.numpy().view(np.uint64).astype(dtype)


def draw_state(logits: Tensor, rng: torch.Generator) -> Tensor:
    """The index of a state of each site, drawn from the softmax along the last dimension."""
    # the largest with Gumbel noise added
    return (logits - torch.empty_like(logits).exponential_(generator=rng).log_()).argmax(-1)
