"""``noneq score``: compute the normalised log-density of new rows under a run's model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from noneq.cli.console import echo
from noneq.cli.results import keep_result
from noneq.cli.scored import arrays_of, columns_of, mixed, tell_least_likely, tell_unusual
from noneq.data import Scaling
from noneq.data.kinds import LeftOut
from noneq.data.origin import Origin, origin_of
from noneq.data.selection import naming
from noneq.data.units import read_like, rows_of, scaled
from noneq.run import Run
from noneq.run.atomic import save_arrays, save_table
from noneq.run.differences import LARGE
from noneq.run.ranks import Ranked, ranked
from noneq.run.scores import Scores, draws_of, flow_score, label_scores
from noneq.run.scores import score as log_density

__all__ = ["score"]


def score(run: Path, data: Path, out: Path | None, device: str, *, flow: bool = False) -> None:
    """Compute log-densities of the rows of a file under a run's model, as ``noneq score`` does.

    The mean negative log-likelihood, in nats, is printed.

    Arguments:
        run: folder of the training run whose model scores the rows.
        data: file of rows, in the units of the data that the run was trained on.
        out: .npz or .csv file to write, with the log-density of each row; None: none is written.
        device: torch device; empty: the device of the run.
        flow: whether to print the likelihood by the probability flow, too.

    Raises:
        FileNotFoundError: the file of rows does not exist.
        ValueError: the rows do not fit the model, it has no probability flow, or ``out`` has
            another ending.
    """
    if out is not None and out.suffix not in (".npz", ".csv"):
        raise ValueError(f"{out}: scores go to .npz or .csv")
    opened = Run(run, device)
    if not data.exists():
        raise FileNotFoundError(f"{data}: no such file (score reads a file of rows)")
    names = opened.config["data"]["columns"]
    rows = read_like(data, opened.shape, opened.scaling, columns=names)
    draws = draws_of(opened.scaling, len(rows.values))
    with naming(data):
        origin = _origin(opened, data, len(rows.values))
    if opened.scaling.labels is not None and rows.labels is None and not flow:
        with naming(data):
            _labels(opened, data, scaled(opened.scaling, rows.values), out, origin)
        return
    with naming(data):
        x = rows_of(opened.scaling, rows, draws)
    found = log_density(opened, x, draws)
    jacobian = _log_jacobian(opened.scaling, x, draws)
    _tell(opened, data, found, jacobian)
    tell_unusual(opened, rows.values, origin)
    place = ranked(opened, found.log_density.cpu().numpy() + _or_zero(jacobian))
    tell_least_likely(opened, place, origin)
    if large := [one for one in found.verdict.differences or () if one.size > LARGE]:
        echo(
            f"  caution: samples of the model differ from its rows (worst: {large[0].among}, "
            f"{large[0].what}), so that a row which is odd in such columns may seem ordinary"
        )
    if flow:
        both = flow_score(opened, x[: len(x) // draws])
        echo(
            f"  of standardised values, by the probability flow: {both.flow}, "
            f"{len(both.flow.log_density)} rows; by log Z {both.nll:.2f}, differing by "
            f"{both.difference:+.2f} ± {both.stderr:.2f}"
        )
    if out is not None:
        _save(out, opened, found, jacobian, origin, place)


def _origin(run: Run, data: Path, rows: int) -> Origin:
    """Find where the rows stand in their file, and what identifies them."""
    left_out = [LeftOut(*one) for one in run.config["data"]["left_out"]]
    return origin_of(data, rows, left_out if run.tabular else [], run.shape[0])


def _labels(run: Run, data: Path, images: Tensor, out: Path | None, origin: Origin) -> None:
    """Print and write the most probable labels of images without labels."""
    labels, found = run.scaling.labels, label_scores(run, images)
    assert labels is not None
    verdict = found.verdict
    named = np.array(labels.classes)[found.probabilities.argmax(1).cpu().numpy()]
    density = found.log_density.cpu().numpy()
    if run.scaling.threshold is None:
        density = density + run.scaling.log_jacobian(images[0].numel())
    counts = {label: int((named == label).sum()) for label in labels.classes}
    keep_result(
        data=str(data), rows=len(images), nll=-float(density.mean()), labels=counts,
        log_z_stderr=verdict.stderr, bracketed=verdict.bracketed, alarms=list(verdict.alarms),
    )  # fmt: skip
    echo(
        f"{data}: {len(images)} images without labels, mean NLL {-density.mean():.2f} nats in the "
        f"file's units, whatever the label and without noise, ± {verdict.stderr:.2f} of log Z"
    )
    told = ", ".join(f"{label}: {count}" for label, count in counts.items())
    echo(f"  the most probable labels, and how many images have them: {told}")
    for alarm in verdict.alarms:
        echo(f"  alarm: {alarm}", "bold")
    place = ranked(run, density, labels=False)
    tell_least_likely(run, place, origin)
    if out is None:
        return
    p, own = found.probabilities.cpu().numpy(), arrays_of(origin, place)
    before = {origin.unit: own.pop(origin.unit), "label": named}
    if out.suffix == ".csv":
        each = {f"p_{label}": p[:, k] for k, label in enumerate(labels.classes)}
        columns = {**before, **each, **own}
        save_table(out, list(columns), mixed(list(columns.values())))
    else:
        columns = {**before, "probabilities": p, "classes": np.array(labels.classes), **own}
        save_arrays(out, columns)
    echo(f"{out}: {', '.join(columns)}")


def _tell(run: Run, data: Path, found: Scores, jacobian: NDArray[np.float64] | None) -> None:
    """Print the mean NLL in the file's units, and what casts doubt on it."""
    verdict, noise = found.verdict, run.recipe.train.noise
    own, units = -float(found.expected.mean()), ""
    keep_result(
        data=str(data),
        rows=len(found.expected),
        nll=own if jacobian is None else own - float(jacobian.mean()),
        nll_standardised=own,
        log_z_stderr=verdict.stderr,
        noise=noise,
        unlike=found.unlike,
        bracketed=verdict.bracketed,
        alarms=list(verdict.alarms),
    )
    if jacobian is not None and np.any(jacobian):
        what = "standardised" if run.tabular else "the model's"
        units = f" in the file's units ({own:.2f} of {what} values)"
        own -= float(jacobian.mean())
    after = f" of rows with noise {noise:g} added (column expected)" if noise else ""
    echo(
        f"{data}: {len(found.expected)} rows, mean NLL {own:.2f} nats{units}{after}, "
        f"± {verdict.stderr:.2f} of log Z"
    )
    if abs(found.unlike) > 3:
        echo(
            f"  these rows are unlike the training rows (by {found.unlike:+.1f} standard "
            f"deviations of the base's NLL): other units? {run.scaling}",
            "bold",
        )
    for alarm in verdict.alarms:
        echo(f"  alarm: {alarm}", "bold")


def _log_jacobian(scaling: Scaling, x: Tensor, draws: int) -> NDArray[np.float64] | None:
    """Return what a log-density in the file's units has in addition; None for binary rows."""
    if scaling.threshold is not None:
        return None
    return scaling.log_units(x[: len(x) // draws]).cpu().numpy()  # of probabilities it is 0


def _or_zero(jacobian: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Return what is added to log-densities for those in the file's units."""
    return np.zeros(()) if jacobian is None else jacobian


def _save(
    out: Path,
    run: Run,
    found: Scores,
    jacobian: NDArray[np.float64] | None,
    origin: Origin,
    place: Ranked,
) -> None:
    """Write log-densities, in the file's units, and what is known of each row to a file."""
    verdict, own = found.verdict, found.log_density.cpu().numpy()
    expected = {"expected": found.expected.cpu().numpy() + _or_zero(jacobian)}
    if out.suffix == ".csv":
        columns = columns_of(origin, place)
        columns |= expected if run.recipe.train.noise else {}
        if jacobian is not None:
            columns["log_density_standardised"] = own
        save_table(out, list(columns), mixed(list(columns.values())))
    else:
        columns = arrays_of(origin, place) | expected
        columns |= {
            "log_z": np.array(verdict.log_z),
            "log_z_stderr": np.array(verdict.stderr),
            "alarms": np.array(verdict.alarms, dtype=np.str_),
        }
        if jacobian is not None:
            columns["log_jacobian"] = jacobian
        save_arrays(out, columns)
    echo(f"{out}: {', '.join(columns)}")
