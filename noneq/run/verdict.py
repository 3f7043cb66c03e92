"""The verdict on a run: log Z and likelihoods after training, in numbers and in sentences.

`noneq.run.evaluation` makes the verdict, writes it to likelihood.json and reads it from there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from noneq.likelihood.score import grouped_stderr
from noneq.likelihood.support import Share
from noneq.run.differences import Difference, told
from noneq.run.json_numbers import without_nan
from noneq.run.label_words import found_labels, known_labels

__all__ = ["Mean", "Verdict", "shown"]


def shown(value: float, stderr: float | None = None) -> str:
    """Write a number with two decimals, or with up to four if its error is smaller than that.

    Arguments:
        value: the number.
        stderr: its standard error; None: the number is an error itself.

    Returns:
        The number in decimals, e.g. "0.04", or "0.012" with a standard error of 0.003.
    """
    error = abs(value) if stderr is None else stderr
    small = 0 < error < 0.01
    digits = min(4, -math.floor(math.log10(error))) if small else 2
    return f"{round(value, digits) or 0.0:.{digits}f}"  # without the sign of -0.00


@dataclass(frozen=True)
class Mean:
    """A mean with its standard error, in nats.

    Attributes:
        value: the mean, in nats.
        stderr: standard error of the mean, in nats.
    """

    value: float
    stderr: float

    @classmethod
    def of(cls, values: Tensor, rows: Tensor | None = None) -> Mean:
        """Compute the mean of a quantity over M rows of data, and the standard error of the mean.

        Arguments:
            values: values (M,) of the quantity, one for each row, in nats.
            rows: the rows (M, *shape), where ``shape`` is the shape of one row; equal rows count
                as one row in the standard error. None: all rows are different.

        Returns:
            The mean with its standard error.
        """
        if rows is None:
            rows = torch.arange(len(values), device=values.device)[:, None]
        return cls(float(values.mean()), grouped_stderr(values, rows))

    def __str__(self) -> str:
        return f"{shown(self.value, self.stderr)} ± {shown(self.stderr)}"

    @property
    def precise(self) -> str:
        """Return the mean as text, with two digits of its error if that is below 0.1."""
        digits = 3 if 0.01 <= self.stderr < 0.1 else 0
        return f"{self.value:.3f} ± {self.stderr:.3f}" if digits else str(self)


LOST = "Training went wrong: take smaller steps (`lr`, `tau`)."


@dataclass(frozen=True)
class Verdict:
    """The evaluation of a trained run: its bracket of log Z and its likelihoods, in nats.

    The bracket is a pair of estimates of log Z, by forward and by backward annealing. The file
    likelihood.json holds the evaluation.

    Attributes:
        mark: fingerprint (hash) of the model's parameters, an integer.
        log_z: the larger estimate of log Z, from which the likelihoods are computed.
        stderr: standard error of ``log_z``.
        forward, backward: log Z from forward and backward annealing, with their standard errors.
        alarms: sentences that say why the bracket may be wrong; empty if none was raised.
        off_support_mass: fraction of the model's probability where there are no data, with the
            fraction expected of a perfect model, see `noneq.likelihood.support`; None if it was
            not estimated.
        nll: mean negative log-likelihoods (NLL) of "train", "validation" and "test" rows, in nats
            a row.
        base: mean NLL of the same rows, with the same noise, under the base, i.e. the energy with
            known log Z that training started from.
        gain: mean over the test rows of the base's NLL minus the model's, in nats a row.
        how: settings of the annealing by name: numbers of walkers (weighted samples), temperatures
            and equilibration moves, and seed.
        kept: "base" if the model that was kept is its base, e.g. because training did not lower
            the NLL of the validation rows; else "model".
        lost: how much higher the NLL of the validation rows was after training than the base's,
            where the model was set back to its base for this reason; else None.
        origin: name of the kind of base, e.g. "Gaussian base", for the sentences of `summary`.
        regularisers: settings that reduce overfitting of this kind of model, for `summary`.
        units: sentence of `noneq.run.unit_words.measures`, about units; empty for images.
        ended_early: whether the validation rows ended the training before its budget was spent.
        labels: what `noneq.run.by_label.results_by_label` knows of each label; None: the images
            have none.
        simplest: mean NLL of the same rows under one Gaussian of the standardised columns of a
            table; None where that is the base, or the data are no table of numbers.
        differences: where the samples differ from the rows of a table by more than chance, the
            largest difference first; None for images.
    """

    mark: int
    log_z: float
    stderr: float
    forward: Mean
    backward: Mean
    alarms: tuple[str, ...]
    off_support_mass: Share | None
    nll: Mapping[str, Mean]
    base: Mapping[str, Mean]
    gain: Mean
    how: Mapping[str, Any]
    kept: Literal["model", "base"] = "model"
    lost: Mean | None = None
    origin: str = "Gaussian base"
    regularisers: str = "more noise (`noise`)"
    units: str = ""
    ended_early: bool = False
    labels: Mapping[str, Any] | None = None
    simplest: Mapping[str, Mean] | None = None
    differences: tuple[Difference, ...] | None = None

    @property
    def bracketed(self) -> bool:
        """Return True if no alarm was raised, i.e. no test casts doubt on log Z's estimates."""
        return not self.alarms

    @property
    def interval(self) -> tuple[Mean, Mean]:
        """Return the estimates of log Z by forward and backward annealing, the smaller first."""
        ends = self.forward, self.backward
        return ends if self.backward.value > self.forward.value else ends[::-1]

    @property
    def within(self) -> float:
        """Return how far log Z is known, in nats: ``|a - b| + sqrt(s_a^2 + s_b^2)``.

        a and b are the estimates of log Z by forward and backward annealing, s_a and s_b are
        their standard errors.
        """
        gap = abs(self.backward.value - self.forward.value)
        return gap + math.hypot(self.forward.stderr, self.backward.stderr)

    @property
    def exact(self) -> bool:
        """Return whether log Z has no error, e.g. because it is a sum over all states."""
        return self.within == 0

    @property
    def memorised(self) -> Mean | None:
        """Return the mean NLL of validation rows minus that of training rows, in nats a row.

        The result is None, i.e. there is no sign of overfitting, unless that part of the
        difference which the base does not have exceeds three standard errors and a tenth of
        ``gain``, the model's advantage over the energy that training started from.
        """
        train, validation = self.nll["train"], self.nll["validation"]
        error = math.hypot(train.stderr, validation.stderr)
        gap = Mean(validation.value - train.value, error)
        own = gap.value - max(0.0, self._gap_of_base)
        far = own > 0.1 * abs(self.gain.value) and own > 3 * error
        return gap if far else None

    @property
    def _gap_of_base(self) -> float:
        """How much lower the base's NLL of training rows is than that of validation rows."""
        return self.base["validation"].value - self.base["train"].value

    def summary(self) -> list[str]:
        """Describe in sentences whether log Z can be trusted, and what the model has learned.

        Returns:
            Lines of text, each of a sentence or two, for a terminal.
        """
        said = self._quotable() if self.bracketed else self._doubtful()
        gap = self.memorised
        if gap is not None and self.kept == "model":
            said.append(
                f"It has memorised training rows: their NLL is {gap} nats lower than that of the "
                f"validation rows ({self._gap_of_base:.2f} of this is its {self.origin}'s). More "
                "rows, more weight decay (`weight_decay`), fewer "
                f"iterations (`iterations`) or {self.regularisers} would help it generalise."
            )
        if self.units:
            said.append(self.units)
        if self.labels is not None:
            said.append(found_labels(self.labels, self.origin, sure=self.bracketed))
        away = self.off_support_mass
        if away is not None and away.value > max(0.05, away.expected + 3 * away.stderr):
            said.append(
                f"{away.value:.0%} of its mass lies farther from the data than nearly all data "
                f"lie from each other, while a perfect model has {away.expected:.0%} there: look "
                "at its samples for a spurious mode."
            )
        if apart := told(self.differences):
            said.append(apart)
        return said

    def _quotable(self) -> list[str]:
        # log Z's error is the same for every row: pairing does not remove it
        gain = Mean(self.gain.value, math.hypot(self.gain.stderr, self.stderr))
        better = "better" if gain.value > 0 else "WORSE"
        if self.kept == "base":
            first = f"The model is its {self.origin}"
            first += (
                ", and nothing was learned beyond it."
                if self.lost is None
                else f": training on raised the NLL of the validation rows by {self.lost} nats a "
                "row, so that the base was kept."
            )
        elif abs(gain.value) > 3 * gain.stderr:
            first = (
                f"The model fits the test rows {better} than its {self.origin} by "
                f"{Mean(abs(gain.value), gain.stderr).precise} nats a row (paired)."
                + (f" {LOST}" if gain.value < 0 else "")
            )
        else:
            longer = (
                "The validation rows ended the training, so that a longer one is of no use."
                if self.ended_early
                else "The validation rows had not yet ended the training: a longer one "
                "(`iterations`) may gain more."
            )
            how = "gains" if gain.value > 0 else "loses"
            size = Mean(abs(gain.value), gain.stderr).precise
            first = (
                f"The model cannot be distinguished from its {self.origin} by the test rows: it "
                f"{how} {size} nats a row (paired), which is less than three standard errors. "
                f"{longer}"
            )
        within = f"log Z is known within {shown(self.within)} nat"
        if self.labels is not None and not self.exact:
            within = known_labels(self.labels)
        known = (
            "exact: log Z is known without error."
            if self.exact
            else f"bracketed: {within} by forward and backward annealing, and no alarm was raised "
            "(a mode that neither the data nor any start of an annealing reaches would go unseen)."
        )
        return [first, f"Its likelihood is {known}"]

    def _doubtful(self) -> list[str]:
        first = "Its likelihood is NOT bracketed: do not quote the NLLs of the model."
        said = [first, *(f"  alarm: {alarm}" for alarm in self.alarms)]
        # by the estimate of log Z that is more favourable to the model
        gain = self.gain.value + self.log_z - min(self.forward.value, self.backward.value)
        error = math.hypot(self.gain.stderr, self.forward.stderr, self.backward.stderr)
        if gain < -3 * error:
            said.append(
                f"Even by the more favourable estimate of log Z it is {-gain:.4g} nats a row "
                f"WORSE than its {self.origin}. {LOST}"
            )
        return said

    def plain(self) -> dict[str, Any]:
        """Convert the evaluation to a dictionary for JSON.

        Returns:
            The attributes by name; numbers that are not finite become None.
        """
        away = self.off_support_mass
        own = {**asdict(self), "off_support_mass": None if away is None else away._asdict()}
        plain: dict[str, Any] = without_nan(own)
        return plain
