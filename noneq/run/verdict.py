"""What a run came to: its bracketed likelihood, in numbers and in words.

log Z is stored with the fingerprint of the parameters it belongs to: scoring refuses any others.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from noneq.annealing import Track, untracked
from noneq.data import DataSet
from noneq.energies import Energy, fingerprint
from noneq.kernels import with_momentum
from noneq.likelihood import Estimate, log_z
from noneq.likelihood.score import grouped_stderr, known_log_z, mean_energy
from noneq.likelihood.support import Share
from noneq.run import checkpoint
from noneq.run.families.base import base_of
from noneq.run.folder import Run
from noneq.run.metrics import finite

__all__ = ["Mean", "Verdict", "evaluate_run", "read_verdict"]


@dataclass(frozen=True)
class Mean:
    """A mean over rows, in nats, with its standard error."""

    value: float
    stderr: float

    @classmethod
    def of(cls, values: Tensor, rows: Tensor | None = None) -> Mean:
        """Of values (M,), at rows (M, *shape): equal rows count as one for the error."""
        if rows is None:
            rows = torch.arange(len(values), device=values.device)[:, None]
        return cls(float(values.mean()), grouped_stderr(values, rows))

    def __str__(self) -> str:
        return f"{self.value:.2f} ± {self.stderr:.2f}"


LOST = "Training went wrong: take smaller steps (`lr`, `tau`)."


@dataclass(frozen=True)
class Verdict:
    """What is stored in likelihood.json.

    Attributes:
        mark: fingerprint of the parameters that all of it belongs to.
        log_z: the larger side, from which the likelihoods are computed.
        stderr: its standard error.
        forward, backward: log Z from forward and backward annealing, with their standard errors.
        alarms: why the bracket may be wrong; empty if none was raised.
        off_support_mass: share of the model's mass where there are no data, see
            `noneq.likelihood.support`.
        nll: mean negative log-likelihood of the train, validation and test rows.
        base: of the base, whose log Z is exact, on the same rows with the same noise.
        gain: base minus model on the test rows, paired.
        how: walkers, temperatures, equilibration and seed of the bracket.
        origin: what the base is, for people.
        regularisers: what helps such a model generalise, besides what helps all.
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
    origin: str = "Gaussian base"
    regularisers: str = "more noise (`noise`)"

    @property
    def bracketed(self) -> bool:
        """Whether no alarm rang."""
        return not self.alarms

    @property
    def interval(self) -> tuple[Mean, Mean]:
        """The interval of log Z that the two sides span: the smaller, then the larger."""
        ends = self.forward, self.backward
        return ends if self.backward.value > self.forward.value else ends[::-1]

    @property
    def within(self) -> float:
        """How far apart the sides are, their errors included, in nats."""
        gap = abs(self.backward.value - self.forward.value)
        return gap + math.hypot(self.forward.stderr, self.backward.stderr)

    @property
    def exact(self) -> bool:
        """Whether log Z has no error: a sum over all states, or that of the base itself."""
        return self.within == 0

    @property
    def memorised(self) -> Mean | None:
        """By how much train beats validation, where that is far and beyond the errors of both."""
        train, validation = self.nll["train"], self.nll["validation"]
        error = math.hypot(train.stderr, validation.stderr)
        gap = Mean(validation.value - train.value, error)
        far = gap.value > 0.1 * abs(self.gain.value) and gap.value > 3 * error
        return gap if far else None

    def summary(self) -> list[str]:
        """The verdict in words, a sentence or two each."""
        said = self._quotable() if self.bracketed else self._doubtful()
        gap = self.memorised
        if gap is not None:
            said.append(
                f"It has memorised training rows: it knows them {gap} nats better than the "
                "validation rows. More rows, more weight decay (`weight_decay`), fewer "
                f"iterations (`iterations`) or {self.regularisers} would help it generalise."
            )
        away = self.off_support_mass
        if away is not None and away.value > max(0.05, away.expected + 3 * away.stderr):
            said.append(
                f"{away.value:.0%} of its mass lies farther from the data than the data from "
                f"themselves ({away.expected:.0%} of a perfect model's): look at its samples for "
                "a spurious mode."
            )
        return said

    def _quotable(self) -> list[str]:
        # log Z's error is the same for every row: pairing does not remove it
        gain = Mean(self.gain.value, math.hypot(self.gain.stderr, self.stderr))
        better = "better" if gain.value > 0 else "WORSE"
        if abs(gain.value) > 3 * gain.stderr:
            first = (
                f"The model fits the test rows {better} than its {self.origin} by "
                f"{Mean(abs(gain.value), gain.stderr)} nats a row (paired)."
                + (f" {LOST}" if gain.value < 0 else "")
            )
        else:
            first = (
                f"The model cannot be told from its {self.origin}: the gain is {gain} nats a row. "
                "Train longer, or there is no more to learn."
            )
        known = (
            "exact: log Z is known without error."
            if self.exact
            else f"bracketed: log Z is known within {self.within:.2f} nat from both sides, and no "
            "alarm rang (a mode that neither the data nor any start of an annealing reaches would "
            "go unseen)."
        )
        return [first, f"Its likelihood is {known}"]

    def _doubtful(self) -> list[str]:
        first = "Its likelihood is NOT bracketed; the NLLs of the model are not to be quoted:"
        said = [first, *(f"  alarm: {alarm}" for alarm in self.alarms)]
        # by the side of log Z that is kinder to it
        gain = self.gain.value + self.log_z - min(self.forward.value, self.backward.value)
        error = math.hypot(self.gain.stderr, self.forward.stderr, self.backward.stderr)
        if gain < -3 * error:
            said.append(
                f"By either side it is {-gain:.4g} nats a row WORSE than its {self.origin}. {LOST}"
            )
        return said

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        away = self.off_support_mass
        own = {**asdict(self), "off_support_mass": None if away is None else away._asdict()}
        plain: dict[str, Any] = _finite(own)
        return plain


def evaluate_run(
    run: Run,
    data: DataSet,
    *,
    how: Mapping[str, Any] | None = None,
    track: Track = untracked,
) -> Verdict:
    """Bracket the run's log Z and store it, with the likelihoods of all three splits.

    Arguments:
        run: with a model.
        data: what it was trained on.
        how: walkers, temperatures, equilibrate and seed of `noneq.log_z`; default: the recipe's.
        track: shows progress, see `noneq.log_z`.
    """
    recipe = run.recipe
    how = {
        "walkers": recipe.bracket.walkers,
        "temperatures": recipe.bracket.temperatures,
        "equilibrate": recipe.bracket.equilibrate,
        "seed": run.seed + 7,
        **(how or {}),
    }
    energy, move = run.model()
    base, kernel = base_of(energy), with_momentum(move)
    rng = torch.Generator(data.train.device).manual_seed(how["seed"])
    z = known_log_z(energy, data.train, n=how["walkers"], rng=rng) or log_z(
        energy,
        data=data.train,
        n=how["walkers"],
        temperatures=run.family.annealing_schedule(
            recipe, energy, kernel, rng, how["temperatures"], track
        ),
        equilibrate=how["equilibrate"],
        noise=recipe.train.noise,
        kernel=kernel,
        rng=rng,
        track=track,
    )
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    ours, theirs = (
        {
            name: mean_energy(u, x, noise=recipe.train.noise) + constant
            for name, x in splits.items()
        }
        for u, constant in ((energy, z.value), (base, base.log_z()))
    )
    verdict = _verdict(run, energy, z, splits, ours, theirs, how)
    checkpoint.save_tensors(
        run.folder / "population.safetensors",
        {"x": z.walkers.x, "log_w": z.walkers.log_w},
        mark=str(verdict.mark),
    )
    checkpoint.save_json(run.folder / "likelihood.json", verdict.plain())
    return verdict


def _verdict(
    run: Run,
    energy: Energy,
    z: Estimate,
    splits: Mapping[str, Tensor],
    ours: Mapping[str, Tensor],
    theirs: Mapping[str, Tensor],
    how: Mapping[str, Any],
) -> Verdict:
    return Verdict(
        mark=_mark(energy),
        log_z=z.value,
        stderr=z.stderr,
        forward=Mean(*z.forward),
        backward=Mean(*z.backward),
        alarms=z.alarms,
        off_support_mass=z.off_support_mass,
        nll={name: Mean.of(values, splits[name]) for name, values in ours.items()},
        base={name: Mean.of(values, splits[name]) for name, values in theirs.items()},
        gain=Mean.of(theirs["test"] - ours["test"], splits["test"]),
        how=how,
        origin=run.family.origin,
        regularisers=run.family.regularisers,
    )


def _mark(energy: Energy) -> int:
    """The fingerprint, for a file."""
    mark = fingerprint(energy)
    assert mark is not None
    return int(mark)


def read_verdict(run: Run, energy: Energy) -> Verdict:
    """The run's likelihood.json.

    Raises:
        FileNotFoundError: the run has none yet.
        ValueError: it is damaged, or belongs to other parameters than the model's.
    """
    path = run.folder / "likelihood.json"
    again = f"noneq logz {run.folder}"
    if not path.exists():
        raise FileNotFoundError(f"{path}: log Z is not known yet; {again} brackets it")
    try:
        found = checkpoint.load_json(path)
        verdict = Verdict(**{**found, **_means(found), "alarms": tuple(found["alarms"])})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: damaged ({error!r}); {again} makes it anew") from error
    if verdict.mark != _mark(energy):
        raise ValueError(
            f"{path}: this log Z belongs to other parameters than model.safetensors; {again} "
            "brackets it anew"
        )
    return verdict


def _means(found: Mapping[str, Any]) -> dict[str, Any]:
    def numbers(plain: Mapping[str, float | None], *names: str) -> Iterator[float]:
        values = (plain[name] for name in names)
        return (math.nan if value is None else value for value in values)

    def mean(plain: Mapping[str, float | None]) -> Mean:
        return Mean(*numbers(plain, "value", "stderr"))

    many = {key: {k: mean(v) for k, v in found[key].items()} for key in ("nll", "base")}
    away = found["off_support_mass"]
    share = None if away is None else Share(*numbers(away, *Share._fields))
    means = {key: mean(found[key]) for key in ("forward", "backward", "gain")}
    return {**means, **many, "off_support_mass": share}


def _finite(plain: Any) -> Any:
    if isinstance(plain, Mapping):
        return {key: _finite(value) for key, value in plain.items()}
    return list(plain) if isinstance(plain, tuple) else finite(plain)
