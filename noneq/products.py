r"""The matrix product that Boltzmann machines spend their time on, by the engine of one's choice.

=========== ===================================================================================
engine      what multiplies
=========== ===================================================================================
`torch`     ``torch.addmm``, the default: MKL in most builds, the fastest on Intel's processors
`openblas`  numpy's BLAS on the same memory: where MKL is slow, as on other makers' processors
`onednn`    torch's oneDNN in float32, where the build has it: the same case
=========== ===================================================================================

Engines differ in rounding, so that none is chosen by a stopwatch behind one's back: ``python -m
benchmarks.rbm_sweep --parts engines`` tells which is the fastest here, and `use`, or the
environment variable NONEQ_PRODUCTS, chooses it. A product that needs a graph, is not on the
processor or is in a precision that the engine lacks is torch's. Threads: torch's and oneDNN's are
set by ``torch.set_num_threads``, OpenBLAS's by OPENBLAS_NUM_THREADS before the process starts.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["ENGINES", "product", "use"]


def _torch(x: Tensor, w: Tensor, bias: Tensor, scale: float) -> Tensor:
    return torch.addmm(bias, x, w, alpha=scale)


def _openblas(x: Tensor, w: Tensor, bias: Tensor, scale: float) -> Tensor:
    xw = torch.from_numpy(x.detach().numpy() @ w.detach().numpy())
    return (xw if scale == 1 else xw.mul_(scale)).add_(bias)


def _onednn(x: Tensor, w: Tensor, bias: Tensor, scale: float) -> Tensor:
    linear = torch.ops.mkldnn._linear_pointwise  # not every build has it: `use` has looked
    xw: Tensor = linear(x.detach(), w.detach().T, None, "none", [], "")
    return (xw if scale == 1 else xw.mul_(scale)).add_(bias)


Engine = Callable[[Tensor, Tensor, Tensor, float], Tensor]
_KNOWN: dict[str, tuple[Engine, tuple[torch.dtype, ...]]] = {
    "torch": (_torch, ()),
    "openblas": (_openblas, (torch.float32, torch.float64)),
    "onednn": (_onednn, (torch.float32,)),
}
ENGINES = tuple(_KNOWN)


def use(engine: str) -> None:
    """Choose what multiplies from now on, in the whole process.

    Arguments:
        engine: one of `ENGINES`.

    Raises ValueError for an unknown engine, RuntimeError for one that this torch is built without.
    """
    global _engine, _dtypes
    if engine not in _KNOWN:
        raise ValueError(f"{engine!r} multiplies no matrices: take one of {', '.join(ENGINES)}")
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
use(os.environ.get("NONEQ_PRODUCTS", "torch"))
