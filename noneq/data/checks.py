"""Is this a set that a density can be fitted to? One clear error for each way it is not."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["check_data", "check_rows", "is_discrete"]


def check_rows(data: Tensor, *, least: int = 1) -> None:
    """Raise unless data is (M, *shape), M >= least, finite and floating point.

    Raises:
        TypeError: not a floating-point tensor.
        ValueError: anything else, saying what, where and what to do.
    """
    if not isinstance(data, Tensor):
        raise TypeError(
            f"data must be a torch tensor, got {type(data).__name__}; {_converter(data)} converts"
        )
    if not data.is_floating_point():
        raise TypeError(f"data must be floating point, got {data.dtype}; data.float() converts")
    if data.dim() < 2:
        raise ValueError(
            f"data must have shape (rows, *shape of one row), got {tuple(data.shape)}; "
            "a single column is data[:, None]"
        )
    if len(data) < least or data[0].numel() == 0:
        few = {1: "one", 2: "two"}[least]
        raise ValueError(f"data must have {few} or more rows with values, got {tuple(data.shape)}")
    bad = ~torch.isfinite(data.flatten(1))
    if bool(bad.any()):
        rows = bad.any(1).nonzero().flatten().tolist()
        raise ValueError(
            f"data holds NaN or infinite values in {len(rows)} of {len(data)} rows "
            f"(the first: row {rows[0]}); drop or fill them"
        )


def _converter(data: object) -> str:
    frame = hasattr(data, "__arrow_c_stream__")
    return "noneq.data.read(...).x" if frame else "torch.as_tensor"


def check_data(data: Tensor, *, noise: float = 0.0) -> None:
    """Raise unless data is (M, *shape), M >= 2, finite, floating point, without constant columns.

    A column that never changes, or that others determine, has no density; noise gives it one.

    Raises:
        TypeError: not a floating-point tensor.
        ValueError: anything else, saying what, where and what to do.
    """
    check_rows(data, least=2)
    constant = (data == data[0]).flatten(1).all(0).nonzero().flatten().tolist()
    if constant and not noise > 0:
        shown = ", ".join(map(str, constant[:5])) + (", ..." if len(constant) > 5 else "")
        raise ValueError(
            f"{len(constant)} columns never change ({shown}): no density exists there; "
            "drop them, or add noise (noise=0.1)"
        )
    flat = data.flatten(1)
    if not noise > 0 and 1 < flat.shape[1] <= min(512, len(flat) - 1):
        least = float(torch.linalg.eigvalsh(torch.corrcoef(flat.double().T.cpu()))[0])
        if least < 1e-9:
            raise ValueError(
                "a column is a linear combination of others: no density exists across it; drop "
                "it, or add noise (noise=0.1)"
            )


def is_discrete(data: Tensor) -> bool:
    """Whether rows (M, *shape) have no density without noise, as far as their values show.

    True where a column never changes, where a table's column takes two values only, or where
    nearly all columns (9 of 10; an image's pixels count as one) take few: at most 256, and
    at most a quarter as many as there are to take them. Looks at about a million values.
    """
    flat = data.flatten(1)
    if bool((flat == flat[0]).all(0).any()):
        return True
    flat = flat[: max(2, 2**20 // flat.shape[1])]
    values = flat if data.dim() == 2 else flat.reshape(-1, 1)
    distinct = 1 + (values.sort(0).values.diff(dim=0) != 0).sum(0)
    if bool((distinct <= 2).any()) and len(values) >= 8:
        return True
    return float((distinct <= min(256, len(values) / 4)).float().mean()) >= 0.9
