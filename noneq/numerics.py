"""How numbers are worked on: devices, memory, precision, and what multiplies matrices.

=========== ===================================================================================
engine      what multiplies the matrices of a restricted Boltzmann machine
=========== ===================================================================================
`torch`     ``torch.addmm``, the default: MKL in most builds, the fastest on Intel's processors
`openblas`  numpy's BLAS on the same memory: where MKL is slow, as on other makers' processors
`onednn`    torch's oneDNN in float32, where the build has it: the same case
=========== ===================================================================================

Engines differ in rounding, so that none is chosen by a stopwatch behind one's back: ``python -m
benchmarks.rbm_sweep --parts engines`` tells which is the fastest here, and `set_matmul_backend`,
or the environment variable NONEQ_PRODUCTS, chooses it. A product that needs a graph, is not on the
processor or is in a precision that the engine lacks is torch's. Threads: torch's and oneDNN's are
set by ``torch.set_num_threads``, OpenBLAS's by OPENBLAS_NUM_THREADS before the process starts.
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
    return torch.addmm(bias, x, w, alpha=scale)


def _openblas(x: Tensor, w: Tensor, bias: Tensor, scale: float) -> Tensor:
    xw = torch.from_numpy(x.detach().numpy() @ w.detach().numpy())
    return (xw if scale == 1 else xw.mul_(scale)).add_(bias)


def _onednn(x: Tensor, w: Tensor, bias: Tensor, scale: float) -> Tensor:
    linear = torch.ops.mkldnn._linear_pointwise  # not every build has it: it has been looked for
    xw: Tensor = linear(x.detach(), w.detach().T, None, "none", [], "")
    return (xw if scale == 1 else xw.mul_(scale)).add_(bias)


Engine = Callable[[Tensor, Tensor, Tensor, float], Tensor]
_KNOWN: dict[str, tuple[Engine, tuple[torch.dtype, ...]]] = {
    "torch": (_torch, ()),
    "openblas": (_openblas, (torch.float32, torch.float64)),
    "onednn": (_onednn, (torch.float32,)),
}
MATMUL_BACKENDS = tuple(_KNOWN)


def set_matmul_backend(engine: str) -> None:
    """Choose what multiplies from now on, in the whole process.

    Arguments:
        engine: one of `MATMUL_BACKENDS`.

    Raises ValueError for an unknown engine, RuntimeError for one that this torch is built without.
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
    """``bias + scale x w``, in new memory.

    Arguments:
        x: (B, n).
        w: (n, m), of x's precision; a transposed view is as good as any.
        bias: (m,) or (B, m).
        scale: a number.
    """
    fits = x.dtype in _dtypes and x.dtype == w.dtype and x.device.type == "cpu"
    graph = torch.is_grad_enabled() and any(t.requires_grad for t in (x, w, bias))
    return (_engine if fits and not graph else _torch)(x, w, bias, scale)


_engine, _dtypes = _KNOWN["torch"]
set_matmul_backend(os.environ.get("NONEQ_PRODUCTS", "torch"))
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def resolve_device(name: str = "") -> str:
    """The device of that name; by default cuda where there is one, else cpu.

    Raises ValueError where it cannot be used, or lacks float64, which log-weights need.
    """
    chosen = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.zeros(1, device=chosen, dtype=torch.float64)
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"`device` {chosen}: cannot be used here ({reason})") from error
    return chosen


def memory(device: torch.device | str = "cpu") -> int:
    """Bytes of memory that a device has to give; of the cpu at most what a container lets it."""
    device = torch.device(device)
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    found = []
    with suppress(AttributeError, ValueError, OSError):  # no such question on Windows
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for path in _LIMITS:
        with suppress(OSError, ValueError):  # "max": no limit
            found.append(int(Path(path).read_text(encoding="ascii")))
    with suppress(OSError, StopIteration):  # of Linux
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next(line.split() for line in lines if line.startswith("MemAvailable:"))
        found.append(1024 * int(free[1]))
    return min(found, default=2**63)


def check_fits(need: int, what: str, remedy: str, device: torch.device | str = "cpu") -> None:
    """Raise ValueError where a device has less memory than is needed.

    Arguments:
        need: bytes.
        what: that needs them, with its verb.
        remedy: what to do.
        device: by default the processor.
    """
    there = memory(device)
    if need > there:
        name = str(torch.device(device))
        has = "there are" if name == "cpu" else f"{name} has"
        raise ValueError(
            f"{what} {_gigabytes(need)} GB of memory, and {has} {_gigabytes(there)}: {remedy}"
        )


def _gigabytes(size: int) -> str:
    found = size / 10**9
    return f"{found:,.0f}" if found >= 100 else f"{found:.3g}"


PART = 2**22  # numbers: 16 MiB of float32


def without_autocast(x: Tensor) -> AbstractContextManager[object]:
    """A context in which operations on x keep its precision."""
    if not torch.is_autocast_enabled(x.device.type):
        return nullcontext()
    return torch.autocast(x.device.type, enabled=False)


@contextmanager
def full_precision() -> Iterator[None]:
    """TensorFloat-32 off meanwhile: log Z is a sum of small differences of energies.

    Its ten bits are torch's default for convolutions on a GPU. The switches are the process's.
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
    """Slices of the rows of x that hold ``PART`` numbers each: what is worked on at a time."""
    n, rows = len(x), max(1, PART // max(1, math.prod(x.shape[1:])))
    return [slice(i, min(i + rows, n)) for i in range(0, n, rows)]


CACHED = 2**16  # numbers at a time: a buffer that stays in a core's cache
