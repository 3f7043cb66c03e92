"""Can an energy-based model be trained to a normalised likelihood on real images, in two minutes?

Scikit-learn's digits: 1,257 rows to train on, 180 to choose by, 360 read once; x = pixel / 8 - 1
plus Gaussian noise of sd 0.15, afresh in every batch. Likelihoods are means over 20 noise draws,
the same for every model, so that differences are paired.

    python -m experiments digits table    three seeds and the baselines
    python -m experiments digits ablate   weights x trust region x start x renewal
    python -m experiments digits rates    the same trust region over learning rates 1e-4 to 1e-2
"""

from __future__ import annotations

import itertools
import math
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Literal

import torch
import tyro
from torch import Tensor

import noneq
from experiments.baselines import baselines, mean_error, noisy, per_row
from experiments.common import LIKELIHOOD_ALONE, record, table
from noneq import Recipe, Session
from noneq.data import digits
from noneq.kernels import with_momentum
from noneq.likelihood.score import energy_of
from noneq.run import choose


@dataclass(frozen=True)
class Cell:
    """One way to train; the factors of the ablation come first, all else is the recipe's."""

    weighted: bool = True
    trusted: bool = True
    start: Literal["base", "data"] = "base"
    renewed: bool = True
    seed: int = 0
    seconds: float = 120.0
    iterations: int = 0  # instead of seconds: every cell gets the same evaluations
    tau: float = 0.2
    lr: float = 3e-3
    renew: int = 500

    @property
    def recipe(self) -> Recipe:
        """Every choice of the cell's training."""
        return choose(
            (1, 8, 8),
            len(digits().train),
            "image",
            discrete=True,
            **LIKELIHOOD_ALONE,
            weighted=self.weighted,
            start=self.start,
            tau=self.tau if self.trusted else None,
            lr=self.lr,
            renew=self.renew if self.renewed else None,
            seconds=self.seconds,
            iterations=self.iterations or None,
        )

    @property
    def name(self) -> str:
        """For people."""
        on = {True: "on", False: "off"}
        return (
            f"weights {on[self.weighted]}, trust {on[self.trusted]}, start {self.start}, "
            f"renewal {on[self.renewed]}"
        )


@dataclass(frozen=True)
class Result:
    """What came of a cell; likelihoods in nats per image."""

    cell: Cell
    iterations: int
    seconds: float
    redone: float
    forward: float
    backward: float
    stderr: float
    alarms: tuple[str, ...]
    train: float
    validation: float
    test: list[float]
    failed: str = ""

    @property
    def nll(self) -> float:
        """Mean over the test images."""
        return sum(self.test) / len(self.test) if self.test else math.nan


def fit(cell: Cell) -> tuple[Session, noneq.training.Record]:
    """Train by the recipe that the command line uses; returns the last record, too."""
    torch.set_num_threads(cell.recipe.budget.threads)
    session = Session(cell.recipe, digits().train, cell.seed)
    last = None
    for last in session:  # noqa: B007 - the last one is what is wanted
        pass
    assert last is not None
    return session, last


def judge(cell: Cell) -> Result:
    """Train a cell and bracket its likelihood; a run that diverges is a result, too."""
    data = digits()
    try:
        session, last = fit(cell)
        # a cell of the ablation is judged to a tenth of a nat, a headline to a few hundredths
        z = bracket(session, *((600, 512) if cell.iterations else (1500, 1024)))
    except (FloatingPointError, RuntimeError) as error:
        return Result(cell, 0, 0, 0, *[math.nan] * 3, (), math.nan, math.nan, [], str(error))

    def score(x: Tensor) -> Tensor:
        return energy_of(session.average, x) + z.value

    trust = last.state.trust
    return Result(
        cell,
        last.iteration,
        session.seconds,
        trust.redone / trust.steps if trust else 0.0,
        z.forward.value,
        z.backward.value,
        z.stderr,
        z.alarms,
        float(score(noisy(data.train)).mean()),
        float(score(noisy(data.validation)).mean()),
        per_row(score, data.test),
    )


def bracket(session: Session, temperatures: int, walkers: int) -> noneq.likelihood.Estimate:
    """Two-sided AIS; backward chains start at noisy training rows.

    The model has learned these by heart: chains need three times the moves to leave them.
    """
    return noneq.log_z(
        session.average,
        data=session.data,
        noise=session.recipe.train.noise,
        n=walkers,
        temperatures=temperatures,
        equilibrate=3 * temperatures,
        kernel=with_momentum(session.kernel),
        rng=torch.Generator().manual_seed(7),
    )


def _row(name: str, rows: list[float], than: list[float], *more: str) -> list[str]:
    value, error = mean_error(rows)
    paired, paired_error = mean_error([a - b for a, b in zip(rows, than, strict=True)])
    return [name, f"{value:.2f} ± {error:.2f}", f"{paired:+.2f} ± {paired_error:.2f}", *more]


def _bracket_cell(r: Result) -> str:
    sure = "no alarm" if not r.alarms else f"{len(r.alarms)} ALARMS"
    return f"{r.forward:.2f} .. {r.backward:.2f} ± {r.stderr:.2f}, {sure}"


COLUMNS = ["model", "test NLL", "against the mixture, paired", "log Z", "validation", "train"]


# -- the programs -------------------------------------------------------------------------------


def run_all(cells: list[Cell], workers: int) -> list[Result]:
    """Judge cells side by side; print each as it ends."""
    results: list[Result] = []
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        for r in pool.map(judge, cells):
            print(
                f"{r.cell.name}, tau {r.cell.tau:g}, lr {r.cell.lr:g}, seed {r.cell.seed}: "
                f"{r.iterations} iterations, validation {r.validation:.2f}, {_bracket_cell(r)} "
                f"{r.failed}",
                flush=True,
            )
            results.append(r)
    return results


def compare(seconds: float = 120.0, seeds: int = 3) -> None:
    """Three seeds against the baselines; about six minutes on two cores.

    Args:
        seconds: of training, one thread, two runs side by side.
        seeds: runs.
    """
    reference = baselines()
    mixture = reference["Gaussian mixture, chosen"]
    rows = [_row(name, values, mixture, "exact", "", "") for name, values in reference.items()]
    headline = run_all([Cell(seed=s, seconds=seconds) for s in range(seeds)], workers=2)
    rows += [
        _result_row(f"noneq, {seconds:.0f} s, seed {r.cell.seed}", r, mixture) for r in headline
    ]
    table("Digits, nats per image", COLUMNS, rows)
    record(
        "digits",
        {
            "baselines": {name: mean_error(values) for name, values in reference.items()},
            "noneq": [_plain(r, mixture) for r in headline],
        },
    )


def ablate(iterations: int = 400, seeds: int = 3) -> None:
    """Weights x trust region x start x renewal, each speed tuned by four trials.

    Args:
        iterations: of training of every cell; renewal after each fifth of them.
        seeds: of each cell.
    """
    mixture = baselines()["Gaussian mixture, chosen"]
    tuned = adapt(Cell(iterations=iterations, renew=iterations // 5))
    cells = [
        replace(cell, start=start, renewed=renewed, seed=s)
        for cell in tuned
        for start, renewed, s in itertools.product(("base", "data"), (True, False), range(seeds))
    ]
    results = run_all(cells, workers=2)
    ablation(results)
    record("digits_ablation", [_plain(r, mixture) for r in results])


def adapt(short: Cell) -> list[Cell]:
    """Four trials for each of weights x trust, on a seed of its own, by validation NLL."""
    chosen = []
    for weighted, trusted in itertools.product((True, False), (True, False)):
        cell = replace(short, weighted=weighted, trusted=trusted, seed=100)
        speeds = (0.1, 0.2, 0.4, 0.8) if trusted else (3e-4, 1e-3, 3e-3, 1e-2)
        trials = [replace(cell, tau=s) if trusted else replace(cell, lr=s) for s in speeds]
        results = run_all(trials, workers=2)
        # a likelihood that no bracket vouches for is not chosen while another one is
        best = min(results, key=lambda r: (bool(r.alarms or r.failed), _or_inf(r.validation)))
        chosen.append(best.cell)
    return chosen


def ablation(results: list[Result]) -> None:
    """Mean and worst seed of every combination."""
    rows = []
    for name in dict.fromkeys(r.cell.name for r in results):
        mine = [r for r in results if r.cell.name == name]
        values = [_or_inf(r.nll) for r in mine]
        speed = mine[0].cell
        rows.append(
            [
                name,
                f"tau {speed.tau:g}" if speed.trusted else f"lr {speed.lr:g}",
                f"{sum(values) / len(values):.2f}",
                f"{max(values):.2f}",
                f"{sum(r.validation for r in mine) / len(mine):.2f}",
                str(sum(bool(r.alarms or r.failed) for r in mine)),
            ]
        )
    columns = ["cell", "chosen", "test NLL, mean", "worst seed", "validation", "alarmed or failed"]
    table("Ablation: same network, kernel, N, K, optimiser, iterations and trials", columns, rows)


def rates(iterations: int = 400, seeds: int = 3) -> None:
    """The same trust region over learning rates: the NLL must not care.

    Args:
        iterations: of training.
        seeds: runs of each rate.
    """
    cells = [
        Cell(lr=lr, seed=s, iterations=iterations)
        for lr, s in itertools.product((1e-4, 1e-3, 1e-2), range(seeds))
    ]
    results = run_all(cells, workers=2)
    mixture = baselines()["Gaussian mixture, chosen"]
    table(
        "Digits over learning rates, one tau",
        COLUMNS,
        [_result_row(f"lr {r.cell.lr:g}, seed {r.cell.seed}", r, mixture) for r in results],
    )
    record("digits_rates", [_plain(r, mixture) for r in results])


def _result_row(name: str, r: Result, mixture: list[float]) -> list[str]:
    if r.failed:
        return [name, "failed", "", r.failed, "", ""]
    more = (_bracket_cell(r), f"{r.validation:.2f}", f"{r.train:.2f}")
    return _row(name, r.test, mixture, *more)


def _plain(r: Result, mixture: list[float]) -> dict[str, object]:
    plain: dict[str, object] = asdict(r)
    plain["test"] = mean_error(r.test) if r.test else None
    if r.test:
        plain["paired"] = mean_error([a - b for a, b in zip(r.test, mixture, strict=True)])
    return plain


def _or_inf(value: float) -> float:
    return value if math.isfinite(value) else math.inf


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict({"table": compare, "ablate": ablate, "rates": rates})
