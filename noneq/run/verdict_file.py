"""The file likelihood.json: the verdict on a run, with a fingerprint of the model it belongs to.

The fingerprint is a hash of the model's parameters; the file is refused if the model has others.
JSON lacks NaN and infinity: numbers that are not finite are written as null and come back as NaN.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from noneq.energies import Energy, fingerprint
from noneq.likelihood.support import Share
from noneq.run import checkpoint
from noneq.run.differences import Difference
from noneq.run.folder import Run
from noneq.run.verdict import Mean, Verdict
from noneq.walkers import Walkers

__all__ = ["read_verdict", "save_verdict", "stored_fingerprint"]

FILE = "likelihood.json"


def save_verdict(run: Run, verdict: Verdict, walkers: Walkers) -> None:
    """Write the verdict on a run, and before it the weighted samples of its model.

    Arguments:
        run: run that was evaluated.
        verdict: its evaluation.
        walkers: weighted samples of its model.

    Raises:
        OSError: a file cannot be written.
    """
    tensors = {"x": walkers.x, "log_w": walkers.log_w, "ancestors": walkers.weights.ancestors}
    path = run.folder / "population.safetensors"
    checkpoint.save_tensors(path, tensors, mark=str(verdict.mark))
    checkpoint.save_json(run.folder / FILE, verdict.plain())


def stored_fingerprint(energy: Energy) -> int:
    """Compute a fingerprint (hash) of an energy's parameters that can be written to a JSON file.

    Arguments:
        energy: energy, such as a torch module.

    Returns:
        The fingerprint as an integer, which changes if a bit of a parameter changes.
    """
    mark = fingerprint(energy)
    assert mark is not None
    return int(mark)


def read_verdict(run: Run, energy: Energy) -> Verdict:
    """Read the evaluation of a run, i.e. log Z and the likelihoods, from likelihood.json.

    Arguments:
        run: run whose log Z has been estimated by `evaluate_run`.
        energy: the run's model, whose parameters must be those that were evaluated.

    Returns:
        The `Verdict` that `evaluate_run` stored.

    Raises:
        FileNotFoundError: log Z has not been estimated yet.
        ValueError: the file is damaged, or was written for other parameters than the model's.
    """
    path = run.folder / FILE
    again = f"`evaluate_run({run.folder})`"
    if not path.exists():
        raise FileNotFoundError(f"{path}: log Z is not known yet; {again} brackets it")
    try:
        found = checkpoint.load_json(path)
        verdict = Verdict(**{**found, **_means(found), "alarms": tuple(found["alarms"])})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: damaged ({error!r}); {again} makes it anew") from error
    if verdict.mark != stored_fingerprint(energy):
        raise ValueError(
            f"{path}: this log Z belongs to other parameters than model.safetensors; {again} "
            "brackets it anew"
        )
    return verdict


def _means(found: Mapping[str, Any]) -> dict[str, Any]:
    """Convert the fields of a verdict that are means or shares from their JSON."""

    def numbers(plain: Mapping[str, float | None], *names: str) -> Iterator[float]:
        values = (plain[name] for name in names)
        return (math.nan if value is None else value for value in values)

    def mean(plain: Mapping[str, float | None]) -> Mean:
        return Mean(*numbers(plain, "value", "stderr"))

    many = {key: {k: mean(v) for k, v in found[key].items()} for key in ("nll", "base")}
    away = found["off_support_mass"]
    share = None if away is None else Share(*numbers(away, *Share._fields))
    means = {key: mean(found[key]) for key in ("forward", "backward", "gain")}
    lost = None if found["lost"] is None else mean(found["lost"])
    more: dict[str, Any] = {}  # which runs of earlier versions do not know
    if (simplest := found.get("simplest")) is not None:
        more["simplest"] = {k: mean(v) for k, v in simplest.items()}
    if (apart := found.get("differences")) is not None:
        more["differences"] = tuple(Difference(**one) for one in apart)
    return {**means, **many, **more, "off_support_mass": share, "lost": lost}
