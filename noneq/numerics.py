"""Numerical resources: devices, memory, precision, and the libraries that multiply matrices.

The weight matrix of a restricted Boltzmann machine (RBM) is multiplied by one of these backends:

=========== ===================================================================================
backend     library
=========== ===================================================================================
`torch`     ``torch.addmm``, the default: MKL in most builds, the fastest on Intel processors
`openblas`  numpy's BLAS, without a copy: for processors on which MKL is slow, such as AMD's
`onednn`    oneDNN of torch, float32 only, where the build has it: for the same processors
=========== ===================================================================================

Backends differ in rounding, so the library never chooses one by itself:
``python -m benchmarks.rbm_sweep --parts engines`` measures which is the fastest here, and
`set_matmul_backend` or the environment variable NONEQ_PRODUCTS selects it. A product that needs a
graph, is not on the CPU, or is in a precision that the backend lacks is always torch's. The number
of threads of torch and of oneDNN is set by ``torch.set_num_threads``, that of OpenBLAS by the
environment variable OPENBLAS_NUM_THREADS before the process starts.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path

import torch
from torch import Tensor

__all__ = [
    "MATMUL_BACKENDS",
    "check_fits",
    "full_precision",
    "memory",
    "parts",
    "product",
    "resolve_device",
    "set_matmul_backend",
    "without_autocast",
]


def _torch(x: Tensor, w: Tensor, bias: Tensor, scale: float) -> Tensor:
    """Return ``bias + scale x w`` by torch."""
    return torch.addmm(bias, x, w, alpha=scale)


def _openblas(x: Tensor, w: Tensor, bias: Tensor, scale: float) -> Tensor:
    """Return ``bias + scale x w`` by numpy's BLAS."""
    xw = torch.from_numpy(x.detach().numpy() @ w.detach().numpy())
    return (xw if scale == 1 else xw.mul_(scale)).add_(bias)


def _onednn(x: Tensor, w: Tensor, bias: Tensor, scale: float) -> Tensor:
    """Return ``bias + scale x w`` by oneDNN."""
    linear = torch.ops.mkldnn._linear_pointwise  # not in every build: checked when it is selected
    xw: Tensor = linear(x.detach(), w.detach().T, None, "none", [], "")
    return (xw if scale == 1 else xw.mul_(scale)).add_(bias)


Engine = Callable[[Tensor, Tensor, Tensor, float], Tensor]
_KNOWN: dict[str, tuple[Engine, tuple[torch.dtype, ...]]] = {
    "torch": (_torch, ()),
    "openblas": (_openblas, (torch.float32, torch.float64)),
    "onednn": (_onednn, (torch.float32,)),
}
MATMUL_BACKENDS = tuple(_KNOWN)
"""Names of the libraries that can multiply the matrices of restricted Boltzmann machines.

`set_matmul_backend` selects one: "torch", "openblas" (numpy's BLAS) or "onednn".
"""


def set_matmul_backend(engine: str) -> None:
    """Select the library that multiplies the matrices of RBMs, for the whole process.

    The libraries differ in speed and rounding only. Products on a GPU, in a precision that the
    library lacks or with an autograd graph are computed by torch in any case.

    Arguments:
        engine: name of the library: "torch" (the default), "openblas" (numpy's BLAS) or "onednn".

    Raises:
        ValueError: the name is unknown.
        RuntimeError: "onednn" is asked for, and this build of torch lacks it.
    """
    global _engine, _dtypes
    if engine not in _KNOWN:
        raise ValueError(
            f"{engine!r} multiplies no matrices: take one of {', '.join(MATMUL_BACKENDS)}"
        )
    if engine == "onednn" and not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        raise RuntimeError("this torch is built without oneDNN: take torch or openblas")
    _engine, _dtypes = _KNOWN[engine]


def product(x: Tensor, w: Tensor, bias: Tensor, *, scale: float = 1.0) -> Tensor:
    """Compute ``bias + scale x w`` by the library that `set_matmul_backend` has selected.

    Arguments:
        x: matrix (B, n).
        w: matrix (n, m) of the dtype of x; it may be a transposed view.
        bias: vector (m,), added to every row, or matrix (B, m).
        scale: number by which the matrix product ``x w`` is multiplied.

    Returns:
        A new matrix (B, m).
    """
    fits = x.dtype in _dtypes and x.dtype == w.dtype and x.device.type == "cpu"
    graph = torch.is_grad_enabled() and any(t.requires_grad for t in (x, w, bias))
    return (_engine if fits and not graph else _torch)(x, w, bias, scale)


_engine, _dtypes = _KNOWN["torch"]
set_matmul_backend(os.environ.get("NONEQ_PRODUCTS", "torch"))
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def resolve_device(name: str = "") -> str:
    """Choose a torch device by name and check that it can be used.

    Arguments:
        name: device such as "cpu" or "cuda:0"; the empty string stands for "cuda" where there is
            such a device, else for "cpu".

    Returns:
        The name of the device, e.g. "cuda".

    Raises:
        ValueError: the device cannot be used, or lacks float64, which log-weights need.
    """
    chosen = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.zeros(1, device=chosen, dtype=torch.float64)
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"`device` {chosen}: cannot be used here ({reason}); take another `device`, e.g. cpu"
        ) from error
    return chosen


def memory(device: torch.device | str = "cpu") -> int:
    """Return how many bytes of memory a device has.

    For a GPU this is all of its memory, in use or not. For the CPU it is the memory that is
    available now, or the memory limit of the container where that is smaller.

    Arguments:
        device: torch device; by default the CPU.

    Returns:
        The memory in bytes; 2^63 if it cannot be found.
    """
    device = torch.device(device)
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    found = []
    with suppress(AttributeError, ValueError, OSError):  # not available on Windows
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for path in _LIMITS:
        with suppress(OSError, ValueError):  # "max": no limit
            found.append(int(Path(path).read_text(encoding="ascii")))
    with suppress(OSError, StopIteration):  # exists on Linux only
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next(line.split() for line in lines if line.startswith("MemAvailable:"))
        found.append(1024 * int(free[1]))
    return min(found, default=2**63)


def check_fits(need: int, what: str, remedy: str, device: torch.device | str = "cpu") -> None:
    """Raise ValueError where a device has less memory than is needed.

    The message is ``f"{what} 12 GB of memory, and there are 8: {remedy}"``, for example.

    Arguments:
        need: number of bytes that are needed.
        what: first words of the error message, e.g. "the data need".
        remedy: last words of the error message, advice to the user.
        device: torch device; by default the CPU.

    Raises:
        ValueError: the device has less memory than ``need``.
    """
    there = memory(device)
    if need > there:
        name = str(torch.device(device))
        has = "there are" if name == "cpu" else f"{name} has"
        raise ValueError(
            f"{what} {_gigabytes(need)} GB of memory, and {has} {_gigabytes(there)}: {remedy}"
        )


def _gigabytes(size: int) -> str:
    """Return a size in bytes as text in GB."""
    found = size / 10**9
    return f"{found:,.0f}" if found >= 100 else f"{found:.3g}"


PART = 2**22  # numbers that are worked on at a time: 16 MiB of float32


def without_autocast(x: Tensor) -> AbstractContextManager[object]:
    """Make a context manager within which torch's automatic mixed precision (autocast) is off.

    Arguments:
        x: tensor on the device for which autocast is switched off.

    Returns:
        The context manager; it does nothing where autocast is off already.
    """
    if not torch.is_autocast_enabled(x.device.type):
        return nullcontext()
    return torch.autocast(x.device.type, enabled=False)


@contextmanager
def full_precision() -> Iterator[None]:
    """Switch TensorFloat-32 off within a ``with`` block (a context manager).

    TensorFloat-32 rounds the factors of matrix products and convolutions on a GPU to ten bits of
    mantissa, and is torch's default for convolutions; log Z is a sum of small differences of
    energies, which need all bits. The setting applies to the whole process, and is restored at the
    end of the block.

    Yields:
        None, once.
    """
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    places: tuple[object, ...] = (matmul, cudnn)
    key: str = "allow_tf32"
    off: object = False
    if hasattr(cudnn, "conv"):  # torch 2.9 and later
        places, key, off = (matmul, cudnn.conv, cudnn.rnn), "fp32_precision", "ieee"
    were = [getattr(place, key) for place in places]
    try:
        for place in places:
            setattr(place, key, off)
        yield
    finally:
        for place, was in zip(places, were, strict=True):
            setattr(place, key, was)


def parts(x: Tensor) -> list[slice]:
    """Split the rows of a tensor into parts of at most 2^22 numbers, to bound working memory.

    Arguments:
        x: tensor (N, ...).

    Returns:
        Slices of the first dimension, which cover all rows in order; each has one row or more.
    """
    n, rows = len(x), max(1, PART // max(1, math.prod(x.shape[1:])))
    return [slice(i, min(i + rows, n)) for i in range(0, n, rows)]


CACHED = 2**16  # numbers: a buffer of this size stays in a core's cache
