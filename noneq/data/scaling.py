"""Scaling of rows between the units of a file and those of a model: x = (value - shift) / scale.

Shift and scale depend on the kind of data: `noneq.data.standards` computes them from the training
rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from noneq.data.cells import Block, Cells
from noneq.data.flows import SplineFlow
from noneq.data.labelled import Labels
from noneq.data.maps import Chained
from noneq.data.margins import Margins
from noneq.random import uniform

__all__ = ["Scaling", "scalar"]

_BLOCK = 4096  # rows in float64 at a time


@dataclass(frozen=True, eq=False)
class Scaling:
    """Maps values from a file's units to the model's: ``x = (value - shift) / scale``.

    The model's units are those of the rows x that a model is trained on.

    Attributes:
        shift: number subtracted from the values, float64; of shape () if it is the same for all
            values of a row, else of the shape of a row.
        scale: positive number by which the shifted values are divided, float64; of shape () or of
            the shape of a row.
        threshold: for binary data, the number above which values are replaced by 1, and others by
            0, before shift and scale are applied; None: values are not replaced.
        margins: maps of the shifted and scaled columns to normal variables, which then are x;
            None: they are not mapped.
        cells: columns of a table with their kinds; repeated values are spread over intervals
            before they are shifted and scaled. None: all columns are continuous.
        flow: spline flow of the columns, mapped or not, whose coordinates then are x; None: there
            is none.
        labels: classes of images whose rows hold the label behind the pixels; None: rows have no
            labels.

    Raises:
        ValueError: if a scale is not a positive finite number.
    """

    shift: Tensor
    scale: Tensor
    threshold: float | None = None
    margins: Margins | None = None
    cells: Cells | None = None
    flow: SplineFlow | None = None
    labels: Labels | None = None

    def __post_init__(self) -> None:
        if not bool((torch.isfinite(self.scale) & (self.scale > 0)).all()):
            raise ValueError("values spread too far, or too little, for a scale to be computed")

    @property
    def coordinates(self) -> Chained | None:
        """Return the map of standardised rows y to x, by `margins` and `flow`; None: x is y."""
        maps = [one for one in (self.margins, self.flow) if one is not None]
        return Chained(maps) if maps else None

    @property
    def spreads(self) -> bool:
        """Return whether a column has repeated values, which are spread over intervals."""
        return self.cells is not None and not self.cells.trivial

    @property
    def columns(self) -> str:
        """Return what coordinates rows are in: "standardised", "mapped", "apart" or "flow".

        "apart" are mapped columns whose peaks were left apart, see `noneq.data.Margins.fit`.
        """
        if self.flow is not None:
            return "flow"
        if self.margins is None:
            return "standardised"
        return "apart" if self.margins.apart else "mapped"

    def apply(self, rows: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """Convert rows from the file's units to the model's, ``x = (value - shift) / scale``.

        Arguments:
            rows: rows (M, *shape) in the file's units, of any type of numbers.
            rng: source of randomness on the CPU, for where in its interval a repeated value goes;
                default: a generator with seed 0.

        Returns:
            The rows in the model's units, float32 (M, *shape).
        """
        rng = rng or torch.Generator("cpu").manual_seed(0)
        return torch.cat([self._apply(part.double(), rng) for part in torch.split(rows, _BLOCK)])

    def _apply(self, values: Tensor, rng: torch.Generator) -> Tensor:
        if self.threshold is not None:
            values = (values > self.threshold).double()
        elif self.cells is not None and self.spreads:
            values = self.cells.spread(values, uniform(values.shape, rng))
        shift, scale = self.shift.to(values), self.scale.to(values)
        x = (values - shift) / scale
        own = self.coordinates
        return (x if own is None else own.apply(x)[0].to(x)).float()

    def undo(self, x: Tensor) -> Tensor:
        """Convert rows from the model's units to the file's, ``value = x scale + shift``.

        Arguments:
            x: rows (M, *shape) in the model's units.

        Returns:
            The rows in the file's units, float64 (M, *shape); for binary data, 0 or 1 instead.
            Spread values are what they were, and texts the numbers of their categories, from 0;
            of rows with labels the images (M, C, H, W).
        """
        x = self.standardised(self.images(x)).to(x.device)
        values = x.double() * self.scale.to(x.device) + self.shift.to(x.device)
        if self.threshold is not None:
            return (values > 0.5).double()
        return values if self.cells is None else self.cells.collect(values)

    def images(self, x: Tensor) -> Tensor:
        """Return the images (M, C, H, W) of rows with labels; of other rows the rows."""
        return x if self.labels is None else self.labels.images(x)

    def standardised(self, x: Tensor) -> Tensor:
        """Return the standardised rows y of rows x (M, *shape), on the CPU if they were mapped."""
        own = self.coordinates
        if own is None:
            return x
        return torch.cat([own.undo(part) for part in torch.split(x, _BLOCK)])

    def blocks(self, x: Tensor) -> list[Block | None] | None:
        """List the intervals in which `noneq.data.Margins` take a column's density as constant.

        Arguments:
            x: training rows (M, D) in the model's units, without margins.

        Returns:
            For each column its intervals, or None; None if values are not spread over intervals.
        """
        if self.cells is None or not self.spreads:
            return None
        return self.cells.blocks(self.undo(x), self.shift, self.scale)

    def log_jacobian(self, dim: int) -> float:
        """Compute ``log |det dx/dvalue| = -sum log scale`` for a row of ``dim`` values, in nats.

        The log-density of a row in the file's units is that of the shifted and scaled row plus
        this number (and `log_volume`, if x is mapped). For binary rows it need not be
        added: probabilities have no units.

        Arguments:
            dim: the number of values of a row.

        Returns:
            The logarithm of the Jacobian determinant of ``x = (value - shift) / scale``, in nats.

        Raises:
            ValueError: if ``scale`` has one number for each value of a row, but not ``dim``.
        """
        if self.scale.dim() and self.scale.numel() != dim:
            raise ValueError(f"rows have {self.scale.numel()} values, not {dim}")
        total = float(self.scale.double().log().sum())
        return -total if self.scale.dim() else -dim * total

    def log_volume(self, x: Tensor) -> Tensor:
        """Compute what is added to the log-density of a row x for that of the standardised row y.

        It is ``log |det dx/dy|`` of the map by `margins` and `flow`, and the log-volume of the
        row's cell in the columns where values have probabilities (`noneq.data.cells`), in units of
        ``scale``.

        Arguments:
            x: rows (M, *shape) in the model's units.

        Returns:
            The numbers to be added (M,), float64, in nats; 0 if x is y, without cells.
        """
        own = self.coordinates
        if own is None and not self.spreads:
            return torch.zeros(len(x), dtype=torch.float64, device=x.device)
        found = []
        for part in torch.split(x, _BLOCK):
            y, volume = part.double().cpu(), torch.zeros(len(part), dtype=torch.float64)
            if own is not None:
                y = own.undo(part)
                volume = own.apply(y)[1]
            if self.cells is not None and self.threshold is None:
                volume = volume + self.cells.log_volume(y * self.scale + self.shift, self.scale)
            found.append(volume)
        return torch.cat(found).to(x.device)

    def log_units(self, x: Tensor) -> Tensor:
        """Compute what is added to a standardised row's log-likelihood for the file's units.

        Arguments:
            x: rows (M, *shape) in the model's units.

        Returns:
            `log_jacobian` (M,), float64, but over the columns in which each row has a density.
        """
        if self.cells is None:
            jacobian = self.log_jacobian(self.images(x[:1]).numel())
            return torch.full((len(x),), jacobian, dtype=torch.float64, device=x.device)
        if not any(column.atoms for column in self.cells.columns):  # it is the same for all rows
            own = self.cells.log_units(self.shift[None], self.scale)
            return own.to(x.device).expand(len(x)).clone()
        found = []
        for part in torch.split(x, _BLOCK):
            y = self.standardised(part).double().cpu()
            found.append(self.cells.log_units(y * self.scale + self.shift, self.scale))
        return torch.cat(found).to(x.device)

    def plain(self) -> dict[str, Any]:
        """Convert the scaling to numbers and lists for a JSON file.

        Returns:
            A dictionary of shift, scale and threshold, from which `from_plain` restores the
            scaling.
        """
        return {
            "shift": self.shift.tolist(),
            "scale": self.scale.tolist(),
            "threshold": self.threshold,
            "margins": None if self.margins is None else self.margins.plain(),
            "cells": None if self.cells is None else self.cells.plain(),
            "flow": None if self.flow is None else self.flow.plain(),
            "labels": None if self.labels is None else self.labels.plain(),
        }

    @classmethod
    def from_plain(
        cls, plain: Mapping[str, Any], parameters: Mapping[str, Tensor] | None = None
    ) -> Scaling:
        """Restore a scaling from the dictionary that `plain` returned, bit for bit.

        Arguments:
            plain: a dictionary returned by `plain`, also if written to JSON and read again.
            parameters: those of the flow, as its `noneq.data.flows.SplineFlow.tensors` returned
                them; without a flow they are not needed.

        Returns:
            The scaling.
        """
        shift, scale = (_number(plain[k]) for k in ("shift", "scale"))
        margins, cells = plain["margins"], plain["cells"]
        own = None if margins is None else Margins.from_plain(margins)
        spread = None if cells is None else Cells.from_plain(cells)
        sizes = plain.get("flow")
        flow = None if sizes is None else SplineFlow.from_plain(sizes, parameters or {})
        named = plain.get("labels")
        labels = None if named is None else Labels.from_plain(named)
        return cls(shift, scale, plain["threshold"], own, spread, flow, labels)

    def __str__(self) -> str:
        if self.threshold is not None:
            low, high = ((v - float(self.shift)) / float(self.scale) for v in (0, 1))
            return f"x = {high:g} where value > {self.threshold:g}, else {low:g}"
        if self.scale.dim():
            how = "" if self.margins is None else ", mapped to a normal variable"
            after = "" if self.flow is None else ", then a spline flow of all columns"
            return f"x = (value - mean) / sd{how}, column by column{after}"
        shift, scale = float(self.shift), float(self.scale)
        if (shift, scale) == (0, 1):
            return "x = value"
        if shift == scale:
            many = f"{1 / scale:g} value" if scale < 1 else f"value / {scale:g}"
            return f"x = {many} - 1"
        return f"x = (value - {shift:.4g}) / {scale:.4g}"


def _number(value: float | list[float]) -> Tensor:
    """Convert to a float64 tensor on the CPU."""
    return torch.tensor(value, dtype=torch.float64, device="cpu")


def scalar(shift: float, scale: float, threshold: float | None = None) -> Scaling:
    """Make a scaling ``x = (value - shift) / scale`` with one shift and one scale for all values.

    Arguments:
        shift: the number subtracted from every value.
        scale: the positive number by which the differences are divided.
        threshold: for binary data, the number above which a value counts as 1, and otherwise as 0,
            before shift and scale are applied; or None.

    Returns:
        The scaling.
    """
    return Scaling(_number(shift), _number(scale), threshold)
