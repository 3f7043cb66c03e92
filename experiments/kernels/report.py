"""What the kernel study found: as values, as tables and for a file.

python -m experiments kernels.report    prints the tables of experiments/results/kernel_study.json
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from experiments.common import RESULTS, table
from experiments.kernels.noise import Noise, slope
from experiments.kernels.walks import CONTINUOUS, DISCRETE, Contender, Error, Outcome


@dataclass(frozen=True)
class Resampled:
    """One threshold and scheme; variances over islands of log Z and of the gradient."""

    path: str
    kernel: str
    threshold: float
    scheme: str
    log_z_error: float
    log_z_variance: float
    gradient: float
    times: int


@dataclass(frozen=True)
class Budget:
    """Errors of one island at so many evaluations an update."""

    path: str
    kernel: str
    evaluations: int
    log_z_mse: float
    gradient: float


@dataclass(frozen=True)
class Study:
    """All that was found; ``n`` walkers on each island of a path."""

    n: dict[str, int]
    truths: dict[str, list[dict[str, object]]]
    plain: dict[str, list[Outcome]]
    resampled: dict[str, list[Outcome]]
    factors: list[Outcome]
    noise: dict[str, list[Noise]]
    thresholds: list[Resampled]
    budgets: list[Budget]
    seconds: float


def named(name: str) -> Contender:
    """The kernel of that name."""
    return next(c for c in (*CONTINUOUS, *DISCRETE) if c.name == name)


def best(outcomes: Iterable[Outcome], name: str) -> Outcome:
    """The step with the smallest error of the weighted gradient."""

    def error(o: Outcome) -> float:
        return o.weighted.mse if o.weighted and math.isfinite(o.weighted.mse) else math.inf

    return min((o for o in outcomes if o.kernel == name), key=error)


COLUMNS = ["kernel at its best step", "h", "accept", "steps ok", "work", "ESS", "log Z bias"]
COLUMNS += ["variance", "grad bias²", "variance", "PCD bias²"]


def report(study: Study) -> None:
    """Print every table."""
    for name, within in study.resampled.items():
        rows = [
            row(study.plain[name], within, kernel)
            for kernel in dict.fromkeys(o.kernel for o in within)
        ]
        table(f"{name}: gradients in units of {study.n[name]} exact samples", COLUMNS, rows)
    factors = [
        [
            f"{o.kernel}, {o.factor}",
            f"{o.h:.4f}",
            f"{o.accept:.2f}",
            *_gradient(o),
            f"{o.log_z_error:+.2f}",
        ]
        for o in study.factors
    ]
    columns = ["digits: kernel, preconditioner", "h", "accepted", "bias²", "variance", "log Z"]
    table("Preconditioners, every step; resampled below half", columns, factors)
    for target, noise in study.noise.items():
        cells = [
            [
                r.kernel,
                f"{r.h:.4f}",
                str(r.evaluations),
                f"{r.cv2:.4g}({r.stderr:.2g})",
                "" if math.isnan(r.theory) else f"{r.theory:.4g}",
                f"{r.variance:.3g}",
            ]
            for r in noise
        ]
        columns = ["kernel", "h", "evaluations", "CV²", "theory", "variance of log w"]
        table(f"Noise at fixed parameters: {target}", columns, cells)
    for name in dict.fromkeys(r.kernel for r in study.noise["skewed"]):
        print(f"skewed, {name}: variance grows as h^{slope(study.noise['skewed'], name):.2f}")
    cells = [
        [
            f"{r.path}, {r.kernel}",
            f"{r.threshold:g}",
            r.scheme,
            f"{r.log_z_error:+.3f}",
            f"{r.log_z_variance:.4f}",
            f"{r.gradient:.2f}",
            str(r.times),
        ]
        for r in study.thresholds
    ]
    columns = ["kernel", "threshold", "scheme", "log Z, bias", "variance", "gradient", "times"]
    table("Resampling", columns, cells)
    cells = [
        [
            f"{b.path}, {b.kernel}",
            str(b.evaluations),
            f"{b.log_z_mse:.4f}",
            f"{b.log_z_mse * b.evaluations:.3f}",
            f"{b.gradient:.2f}",
            f"{b.gradient * b.evaluations:.1f}",
        ]
        for b in study.budgets
    ]
    columns = ["kernel", "evaluations", "MSE of log Z", "times evaluations"]
    columns += ["MSE of the gradient", "times evaluations"]
    table("Evaluations an update", columns, cells)
    print(f"{study.seconds:.0f} s")


def row(without: list[Outcome], within: list[Outcome], kernel: str) -> list[str]:
    """One kernel at the step that serves the weighted gradient best."""
    o = best(within, kernel)
    if o.failed:
        return [kernel, "", "", "", o.failed, *[""] * 6]
    same = next(w for w in without if w.kernel == kernel and w.h == o.h)
    mine = [w for w in within if w.kernel == kernel]
    assert o.weighted is not None
    good = sum(w.weighted is not None and w.weighted.mse < 1.5 * o.weighted.mse for w in mine)
    return [
        kernel,
        f"{o.h:.4f}" if named(kernel).steps else "",
        "" if math.isnan(o.accept) else f"{o.accept:.2f}",
        f"{good} of {len(mine)}",
        f"{same.work:.2f}({same.work_stderr:.2f})",
        f"{same.ess[-1]:.3f}" if same.ess else "",
        f"{o.log_z_error:+.3f}",
        f"{o.log_z_variance:.3f}",
        *_gradient(o),
        f"{same.unweighted.bias2:.2f}({same.unweighted.stderr:.2f})" if same.unweighted else "",
    ]


def _gradient(o: Outcome) -> tuple[str, str]:
    if o.weighted is None:
        return o.failed, ""
    return f"{o.weighted.bias2:.2f}({o.weighted.stderr:.2f})", f"{o.weighted.variance:.2f}"


def plain(study: Study) -> dict[str, object]:
    """For a file: numbers to five digits."""
    found: dict[str, object] = _short(asdict(study))
    return found


def load(data: dict[str, Any]) -> Study:
    """The study that was recorded."""

    def walks(rows: list[dict[str, Any]]) -> list[Outcome]:
        errors = ("weighted", "unweighted")
        return [
            Outcome(**{**_known(r), **{e: r[e] and Error(**_known(r[e])) for e in errors}})
            for r in rows
        ]

    return Study(
        data["n"],
        data["truths"],
        {name: walks(rows) for name, rows in data["plain"].items()},
        {name: walks(rows) for name, rows in data["resampled"].items()},
        walks(data["factors"]),
        {name: [Noise(**_known(r)) for r in rows] for name, rows in data["noise"].items()},
        [Resampled(**_known(r)) for r in data["thresholds"]],
        [Budget(**_known(r)) for r in data["budgets"]],
        data["seconds"],
    )


def _known(row: dict[str, Any]) -> dict[str, Any]:
    """What was not a number is none in a file."""
    return {key: math.nan if value is None else value for key, value in row.items()}


def _short(data: object) -> object:
    if isinstance(data, dict):
        return {key: _short(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_short(value) for value in data]
    return float(f"{data:.5g}") if isinstance(data, float) else data


if __name__ == "__main__":
    report(load(json.loads((RESULTS / "kernel_study.json").read_text())["data"]))
