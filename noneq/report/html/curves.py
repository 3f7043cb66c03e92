"""Sections of a report about the training: each a figure of metrics over the iterations."""

from __future__ import annotations

import math

import numpy as np
from plotly.graph_objects import Scatter

from noneq.report.axes import Array
from noneq.report.html.figures import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    blank,
    curve,
    end,
    events,
    fit,
    level,
    trend,
)
from noneq.report.html.page import Plot, Section
from noneq.report.series import Metrics, Series, number, rises, series
from noneq.run.verdict import Verdict

__all__ = ["training_sections"]


def training_sections(metrics: Metrics, verdict: Verdict | None) -> list[Section]:
    """Make the sections of a report about the training of a run.

    Arguments:
        metrics: metrics of training, one dict for each logged iteration, in the units in which
            the NLL is to be shown.
        verdict: final estimates of log Z and likelihoods; None: they are not known.

    Returns:
        One section for each quantity that was recorded, with a plot.
    """
    likelihood = [row for row in metrics if "rate" not in row]
    found = []
    if any("ess" in row for row in likelihood):
        run = series(likelihood)
        found = [
            _nll(run, likelihood, verdict),
            _log_z(run, verdict),
            _weights(run),
            _trust(run),
            _moves(run),
            _energy(run),
        ]
    scores = [row for row in metrics if "rate" in row]
    if scores:
        found.insert(0, _loss(series(scores)))
    return [section for section in found if section is not None]


# -- sections
def _nll(run: Series, metrics: Metrics, verdict: Verdict | None) -> Section | None:
    looks = [(row["iteration"], number(row.get("validation_nll"))) for row in metrics]
    looks = [(i, value) for i, value in looks if math.isfinite(value)]
    if not np.isfinite(run["nll"]).any() and not looks:
        return None
    figure, low = blank("iteration", "NLL, nats a row"), [run["nll"]]
    trend(figure, run, "nll", BLUE, "batches, while training")
    if looks:
        x, y = np.array(looks, dtype=float).T
        best = int(y.argmin())
        curve(figure, x, y, GREEN, "validation rows", mode="lines+markers")
        mark = {"symbol": "star", "size": 13, "color": GREEN}
        curve(figure, x[[best]], y[[best]], GREEN, "lowest of these", mode="markers", marker=mark)
        low.append(y)
    text = "The NLL (negative log-likelihood) of the batches, by the walkers' running log Z."
    if looks:
        text += (
            " Validation rows are looked at from time to time, with a log Z of its own; looks "
            "while starts were compared, before the first of these, are not drawn."
        )
    if verdict is not None:
        end(figure, run, "test rows at the end", verdict.nll["test"], ORANGE)
        base = verdict.base["test"].value
        level(figure, base, f"test rows, {verdict.origin}")
        low.append(np.array([base, verdict.nll["test"].value]))
    fit(figure, *low)
    return Section(
        "Likelihood while training",
        "the curve falls and levels off; validation and test rows end close to the batches.",
        [Plot(figure, _told("NLL of the batches", run["nll"]))],
        [text],
    )


def _log_z(run: Series, verdict: Verdict | None) -> Section | None:
    x, held, error = run["iteration"], run["log_z_held_out"], run["log_z_held_out_stderr"]
    own = {"the walkers of the gradient": run["log_z"], "held-out walkers": held}
    if not any(np.isfinite(y).any() for y in own.values()):
        return None
    figure = blank("iteration", "log Z, nats")
    for (name, y), color in zip(own.items(), (ORANGE, GREEN), strict=True):
        if np.isfinite(y).any():
            curve(figure, x, y, color, name)
    known = np.isfinite(held) & np.isfinite(error)
    if known.sum() == 1:  # a band has no width there
        bar = {"type": "data", "array": error[known]}
        name = "± 1 standard error"
        curve(figure, x[known], held[known], GREEN, name, mode="markers", error_y=bar)
    elif known.any():
        xs, ys = np.concatenate([x[known], x[known][::-1]]), held + error
        ys = np.concatenate([ys[known], (held - error)[known][::-1]])
        figure.add_trace(
            Scatter(x=xs, y=ys, fill="toself", mode="none", fillcolor="rgba(21,154,114,.25)",
                    name="± 1 standard error", hoverinfo="skip")
        )  # fmt: skip
    if verdict is not None:
        end(figure, run, "annealed forward", verdict.forward, BLUE, symbol="triangle-up")
        end(figure, run, "annealed backward", verdict.backward, PURPLE, symbol="triangle-down")
    events(figure, run)
    return Section(
        "log Z, all ways",
        "all estimates agree within their errors, and end at the two annealed ones.",
        [Plot(figure, _told("log Z by the walkers of the gradient", run["log_z"]))],
        [
            "The walkers' weights give log Z at every iteration. Those of the gradient are off by "
            "a little, since the model has learned from them; held-out walkers are not."
        ],
    )


def _weights(run: Series) -> Section | None:
    if not np.isfinite(run["ess"]).any():
        return None
    figure = blank("iteration", "share of the walkers", yaxis_range=[0, 1.05])
    trend(figure, run, "ess", BLUE, "effective sample size")
    ancestors = run["effective_ancestors"]
    if np.isfinite(ancestors).any():
        figure.update_layout(
            yaxis2={"overlaying": "y", "side": "right", "type": "log", "automargin": True,
                    "title": {"text": "effective number of ancestors"}},
        )  # fmt: skip
        curve(figure, run["iteration"], ancestors, PURPLE, "ancestors", yaxis="y2")
    at = run["iteration"][rises(run["resampled"])]
    if len(at):
        mark = {"symbol": "line-ns", "size": 9, "line": {"width": 1, "color": ORANGE}}
        curve(figure, at, 0.02 + 0 * at, ORANGE, "resampled", mode="markers", marker=mark)
    events(figure, run)
    return Section(
        "Weights",
        "the effective sample size is nearly always above one half, and ancestors are many.",
        [Plot(figure, _told("Effective sample size", run["ess"]))],
        [
            "The effective sample size (ESS) tells how even the walkers' weights are: it is the "
            "share of the walkers that as many equally weighted ones would be worth. Where it "
            "falls below the threshold, walkers are resampled, i.e. the heavy ones are copied and "
            "the light ones dropped. Their ancestors are the different walkers, at the last "
            "renewal, that those of today are copies of, moved since: few ancestors mean few "
            "independent samples."
        ],
    )


def _trust(run: Series) -> Section | None:
    if not np.isfinite(run["cost"]).any():
        return None
    figure = blank("iteration", "cost of a step", yaxis_type="log")
    trend(figure, run, "cost", BLUE, "cost")
    curve(figure, run["iteration"], run["tau"], GREY, "allowed (tau)", line_dash="dash")
    return Section(
        "Trust region",
        "steps cost about what is allowed.",
        [Plot(figure, _told("Cost of a step", run["cost"]))],
        ["Each step of the optimiser is scaled by what it costs the walkers' weights."],
    )


def _moves(run: Series) -> Section | None:
    if not np.isfinite(run["acceptance"]).any():
        return None
    figure = blank("iteration", "share of moves accepted", yaxis_range=[0, 1.05])
    trend(figure, run, "acceptance", BLUE, "accepted")
    if np.isfinite(run["step_size"]).any() and np.nanmax(run["step_size"]) > 0:
        figure.update_layout(
            yaxis2={"overlaying": "y", "side": "right", "type": "log", "automargin": True,
                    "title": {"text": "step size"}},
        )  # fmt: skip
        curve(figure, run["iteration"], run["step_size"], PURPLE, "step size", yaxis="y2")
    faults = float(np.nanmax(run["faults"])) if np.isfinite(run["faults"]).any() else 0.0
    text = ["The step size follows the share of the walkers' moves that are accepted."]
    if faults:
        text.append(
            f"Up to {faults:.1%} of the moves of an iteration led to values that are not finite."
        )
    return Section(
        "Moves of the walkers",
        "about 0.6 are accepted (by Gibbs sampling all), and the step size does not fall away.",
        [Plot(figure, _told("Share of moves accepted", run["acceptance"]))],
        text,
    )


def _energy(run: Series) -> Section | None:
    if not np.isfinite(run["walker_energy"]).any():
        return None
    figure = blank("iteration", "mean energy U, nats")
    trend(figure, run, "data_energy", BLUE, "data")
    trend(figure, run, "walker_energy", ORANGE, "walkers, by weight")
    fit(figure, run["data_energy"], run["walker_energy"])
    return Section(
        "Energies while training",
        "the two go together; walkers far below the data have found a spurious mode.",
        [Plot(figure, _told("Mean energy of the data", run["data_energy"]))],
    )


def _loss(run: Series) -> Section | None:
    if not np.isfinite(run["loss"]).any():
        return None
    figure = blank("iteration", "loss of score matching")
    trend(figure, run, "loss", BLUE, "batches")
    fit(figure, run["loss"])
    return Section(
        "Score matching",
        "the loss falls, and levels off.",
        [Plot(figure, _told("Loss of score matching", run["loss"]))],
        ["The network learned from scores, i.e. gradients of the log-density, to begin with."],
    )


def _told(what: str, y: Array) -> str:
    """Describe a curve in a sentence, for readers who do not see it."""
    known = y[np.isfinite(y)]
    if not len(known):
        return f"{what}: not recorded."
    if len(known) == 1:
        return f"{what}: {known[0]:.4g}, a single point, as no other iteration was logged with it."
    return (
        f"{what} by iteration: {known[0]:.4g} at first, {known[-1]:.4g} at last, lowest "
        f"{known.min():.4g}, highest {known.max():.4g}."
    )
