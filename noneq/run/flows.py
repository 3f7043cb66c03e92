"""Training of a spline flow as coordinates of a table, by maximum likelihood with early stopping.

The standardised columns, these columns whitened, and columns mapped to normal variables (whitened,
too) are tried for some iterations; the one with the lowest mean negative log-likelihood (NLL) of
the validation rows goes on. The parameters are moving averages over the iterations, and those of
the lowest validation NLL are kept. A count of iterations ends the training, and never a clock.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from noneq.annealing import Track, untracked
from noneq.data import DataSet, Scaling
from noneq.data.coordinates import mapped
from noneq.data.flows import SplineFlow, require_zuko, spline_network
from noneq.run.bases import COLUMNS, NOISY, some
from noneq.run.recipe import Recipe

__all__ = ["check_flow", "train_flow"]

MANY = 2000  # rows from which networks are larger
SMALL, LARGE = (3, 64, 0.1), (5, 128, 0.01)  # transforms, width and weight decay
BATCH, RATE, LEAST, EMA, CLIP = 256, 1e-3, 0.02, 0.99, 5.0
TRIAL, LONGEST, EVERY = 200, 3000, 50  # iterations of a trial, of all, and between checks
PATIENCE, GAIN = 8, 1e-3  # checks without a gain of so many nats that end the training
RIDGES = (1e-6, 1e-4, 1e-3, 1e-2)  # added to the variances of whitened columns


def check_flow(recipe: Recipe, data: DataSet) -> None:
    """Check that a flow can be trained on data, if a recipe asks for one.

    Arguments:
        recipe: all settings of a training.
        data: data set with validation rows.

    Raises:
        ValueError: the data are no table of densities, or the recipe has noise or names a base.
        ImportError: zuko, which flows need, is not installed.
    """
    if not getattr(recipe.model, "spline_flow", False):
        return
    require_zuko()
    columns = data.train[0].numel()
    if data.kind != "table" or data.discrete:
        raise ValueError(
            "`spline_flow` is for tables of numbers, not for images or bits: leave it out"
        )
    if columns > COLUMNS:
        raise ValueError(
            f"`spline_flow` is for at most {COLUMNS} columns, and these are {columns:,}"
        )
    if recipe.train.noise > 0:
        raise ValueError(
            "`spline_flow` is for rows without noise: take `noise` 0, or no `spline_flow`"
        )
    if recipe.model.base != "chosen":
        raise ValueError(
            "`spline_flow` leaves the base to the validation rows: take `base` chosen"
        )


def train_flow(
    data: DataSet, scaling: Scaling | None = None, seed: int = 0, *, track: Track = untracked
) -> Scaling:
    """Train a spline flow on the training rows; the validation rows end this, and choose columns.

    Arguments:
        data: rows of a table, standardised.
        scaling: scaling with margins, by which columns are mapped to normal variables before one
            of the flows; None: only flows of the standardised columns are tried.
        seed: seed of the first parameters and of the batches.
        track: function ``(steps, label) -> steps`` that displays the progress of a loop.

    Returns:
        The scaling of the data set with the flow, and with the margins if it is a flow of mapped
        columns.

    Raises:
        ImportError: zuko is not installed.
    """
    few = replace(data, validation=some(data.validation, NOISY), test=data.test[:1])
    spaces = [(few, False), (few, True)]
    if scaling is not None:
        spaces.append((mapped(few, scaling), True))
    courses = [_Training(rows, seed, whiten=whiten) for rows, whiten in spaces]
    for _ in track(range(len(courses) * TRIAL // EVERY), "trying flows"):
        course = min(courses, key=lambda one: one.done)
        course.go_on(EVERY)
    best = min(courses, key=lambda one: one.best)
    for _ in track(range((LONGEST - TRIAL) // EVERY), "training a flow"):
        if not best.finished:
            best.go_on(EVERY)
    return replace(best.data.scaling, flow=best.flow())


class _Training:
    """One training of a flow, with the parameters of its lowest validation NLL."""

    def __init__(self, data: DataSet, seed: int, *, whiten: bool) -> None:
        self.data = data
        self.transforms, self.width, decay = SMALL if data.sizes[0] < MANY else LARGE
        train, validation = data.train.double().cpu(), data.validation.double().cpu()
        self.mean, self.turn = _whitening(train, validation, whiten=whiten)
        self.train, self.validation = (
            ((x - self.mean) @ self.turn).float() for x in (train, validation)
        )
        volume = float(data.scaling.log_volume(data.validation).mean())
        self.volume = volume + float(torch.linalg.slogdet(self.turn)[1])
        self.net = spline_network(train.shape[1], self.transforms, self.width, seed)
        self.average = copy.deepcopy(self.net).requires_grad_(False)
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=RATE, weight_decay=decay)
        self.rng = torch.Generator("cpu").manual_seed(seed)
        self.done, self.idle = 0, 0
        self.best, self.kept = self._nll(), copy.deepcopy(self.average.state_dict())

    @property
    def finished(self) -> bool:
        """Return whether the validation rows gain nothing more."""
        return self.idle >= PATIENCE

    def go_on(self, iterations: int) -> None:
        """Train for some iterations, and look at the validation rows."""
        for _ in range(iterations):
            self._step()
        nll = self._nll()
        self.idle = 0 if nll < self.best - GAIN else self.idle + 1
        if nll < self.best:
            self.best, self.kept = nll, copy.deepcopy(self.average.state_dict())

    def _step(self) -> None:
        """Do one iteration; the learning rate falls linearly after the trial."""
        left = (LONGEST - self.done) / max(1, LONGEST - TRIAL)
        for group in self.optimizer.param_groups:
            group["lr"] = RATE * max(LEAST, min(1.0, left))
        which = torch.randint(len(self.train), (BATCH,), generator=self.rng, device="cpu")
        self.optimizer.zero_grad(set_to_none=True)
        loss = -self.net().log_prob(self.train[which]).mean()
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), CLIP)
        self.optimizer.step()
        self.done += 1
        averages: list[Tensor] = list(self.average.parameters())
        now: list[Tensor] = list(self.net.parameters())
        with torch.no_grad():
            torch._foreach_lerp_(averages, now, 1 - min(EMA, self.done / (self.done + 10)))

    @torch.no_grad()
    def _nll(self) -> float:
        """Return the validation NLL of the standardised rows, by the averaged parameters."""
        parts = torch.split(self.validation, 1000)
        found = -torch.cat([self.average().log_prob(x) for x in parts]).double().mean()
        nll = float(found) - self.volume
        return nll if math.isfinite(nll) else math.inf

    def flow(self) -> SplineFlow:
        """Return the flow with the parameters that are kept."""
        self.average.load_state_dict(self.kept)
        sizes = {"transforms": self.transforms, "width": self.width}
        return SplineFlow(self.average, self.mean, self.turn, **sizes)


def _whitening(train: Tensor, validation: Tensor, *, whiten: bool) -> tuple[Tensor, Tensor]:
    """Return the mean and the matrix of a linear map, after which the covariance is I.

    A ridge is added to the variances along the axes of the covariance: that under which a Gaussian
    with this covariance has the lowest NLL of the validation rows. Without ``whiten`` the columns
    are what they were.
    """
    columns = train.shape[1]
    if not whiten:
        return train.new_zeros(columns), torch.eye(columns, dtype=train.dtype, device="cpu")
    mean = train.mean(0)
    values, axes = torch.linalg.eigh(torch.cov(train.T).reshape(columns, columns))
    squares = ((validation - mean) @ axes).square().mean(0)
    ridges: Sequence[Tensor] = [values.clamp(min=0) + ridge for ridge in RIDGES]
    variances = min(ridges, key=lambda v: float((v.log() + squares / v).sum()))
    return mean, axes / variances.sqrt()
