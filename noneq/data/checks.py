"""Checks that a probability density can be fitted to rows of data; each error names the reason.

`check_rows` looks at shape, type and finiteness, `check_data` also at constant and linearly
dependent columns, and `is_discrete` guesses whether values are discrete, so that noise is needed.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["check_data", "check_rows", "is_discrete"]


def check_rows(data: Tensor, *, least: int = 1) -> None:
    """Raise an error unless the data are rows (M, *shape) of finite floating-point numbers.

    Arguments:
        data: the rows (M, *shape).
        least: the smallest accepted number M of rows, 1 or 2.

    Raises:
        TypeError: if the data are not a floating-point tensor.
        ValueError: if the tensor has fewer than two dimensions or fewer than ``least`` rows, or
            holds NaN or infinite values.
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
    """Raise an error unless a probability density can be fitted to the rows (M, *shape), M >= 2.

    The values must be finite floating-point numbers. Rows with a column that is constant, or a
    linear combination of other columns, have no density, unless noise is added to them.

    >>> x = torch.tensor([[0.0, 1.0], [1.0, 1.0]])
    >>> check_data(x)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: 1 columns never change (1): no density exists there; ...
    >>> check_data(x, noise=0.1)

    Arguments:
        data: the rows (M, *shape).
        noise: standard deviation of the Gaussian noise that training will add to the rows; if it
            is above 0, constant and linearly dependent columns are accepted.

    Raises:
        TypeError: if the data are not a floating-point tensor.
        ValueError: if there are fewer than two rows, NaN or infinite values, or, without noise,
            columns that are constant or linearly dependent.
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
    """Tell whether the rows (M, *shape) look discrete, so that a density needs added noise.

    Rows look discrete if a column is constant, if a column takes only two values, or if at least
    90 % of the columns take few distinct values: at most 256, and at most a quarter of the number
    of rows. Images (C, H, W) look discrete if a pixel is constant, or if the values of all pixels,
    taken as one column, fulfil the other conditions. Only about the first million values are
    examined.

    >>> is_discrete(torch.arange(100.0)[:, None]), is_discrete(torch.arange(100.0)[:, None] % 4)
    (False, True)

    Arguments:
        data: the rows (M, *shape).

    Returns:
        True if the rows look discrete, else False.
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
