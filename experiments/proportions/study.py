"""Do weights recover the proportions of classes where persistent contrastive divergence does not?

The digits 2, 3 and 6 in the proportions 4 : 2 : 1 at 14 x 14 pixels
(`experiments.proportions.images`). The same network on a Gaussian base, kernel, numbers of
walkers, moves, rows and iterations; three factors:

    weights         on; or off, which is persistent contrastive divergence (PCD)
    trust region    on, of size tau; or off, with Adam's learning rate
    start           noise: walkers and model start as independent Gaussian pixels; base: as a
                    Gaussian of the images' covariance; data: this base, and walkers at rows

Each cell has three trials of its speed, tau or the learning rate, on a seed of its own; the
validation rows choose by an annealed log Z; then come three seeds. "program" is weighted training
with walkers annealed anew now and then, as ``noneq train`` has it.

Further studies take the speeds that were chosen there, without trials, for five cells: "large",
the images at 28 x 28; "fashion", three classes of Fashion-MNIST, at 14 x 14; and "teacher", whose
rows are samples of a trained model of the digits (`experiments.proportions.teacher`).

    python -m experiments proportions.study --data mnist10k.npz            a killed run goes on
    python -m experiments proportions.study --data FILE --study large
    python -m experiments proportions.study --data FILE --reduced          seconds, no record
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
import tyro

from experiments.common import record, recorded
from experiments.proportions.images import load
from experiments.proportions.report import chosen, show, validation
from experiments.proportions.teacher import taught
from experiments.proportions.training import ITERATIONS, Cell, Problem, Start, run

__all__ = ["CELLS", "FIVE", "STUDIES", "Study"]

SPEEDS = {True: (0.005, 0.02, 0.1), False: (3e-4, 1e-3, 3e-3)}
"""Sizes tau of the trust region that are tried, and learning rates where there is none."""
STARTS: tuple[Start, ...] = ("base", "data", "noise")
CELLS = [
    *(
        Cell(on, trusted, start)
        for start in STARTS
        for trusted in (False, True)
        for on in (True, False)
    ),
    Cell(weighted=True, trusted=True, start="base", renewed=True),
]


FIVE = [
    Cell(weighted=True, trusted=False, start="base"),
    Cell(weighted=False, trusted=False, start="base"),
    Cell(weighted=False, trusted=False, start="data"),
    Cell(weighted=False, trusted=False, start="noise"),
    Cell(weighted=True, trusted=True, start="base", renewed=True),
]
"""The cells of the further studies; the first two differ in the weights alone."""


def digits(path: Path) -> Problem:
    """The digits 2, 3 and 6 at 14 x 14 pixels."""
    return Problem.of(load(path))


def large(path: Path) -> Problem:
    """The same at 28 x 28."""
    return Problem.of(load(path, halvings=0))


def fashion(path: Path) -> Problem:
    """Trousers, sneakers and bags of Fashion-MNIST, as many as there are."""
    return Problem.of(load(path, classes=(1, 7, 8), train=(5600, 2800, 1400)))


def teacher(path: Path) -> Problem:
    """Samples of a trained model of the digits."""
    return taught(digits(path))


@dataclass(frozen=True)
class Study:
    """Trainings of one problem.

    Attributes:
        problem: makes it of a file.
        record: name of the record.
        cells: trainings.
        seeds: models of each.
        trials: whether speeds are tried; otherwise they are those of the digits.
    """

    problem: Callable[[Path], Problem]
    record: str
    cells: list[Cell]
    seeds: int = 3
    trials: bool = False


STUDIES = {
    "digits": Study(digits, "proportions", CELLS, trials=True),
    "large": Study(large, "proportions_large", FIVE),
    "fashion": Study(fashion, "proportions_fashion", FIVE, seeds=1),
    "teacher": Study(teacher, "proportions_teacher", FIVE),
}


def main(
    data: Path,
    study: Literal["digits", "large", "fashion", "teacher"] = "digits",
    seeds: int | None = None,
    reduced: bool = False,
) -> None:
    """Train what is not recorded yet, and show the table.

    Args:
        data: file of labelled images of 28 x 28, e.g. MNIST's as .npz.
        study: which.
        seeds: trainings of each cell; None: as many as the study has. A later call with more goes
            on from what is recorded.
        reduced: two cells, few iterations, nothing is recorded.
    """
    torch.set_num_threads(1)
    own = STUDIES[study]
    problem = own.problem(data)
    print(f"classifier: {problem.classifier.accuracy:.1%} of held-out noisy images")
    done: list[dict[str, Any]] = [] if reduced else recorded(own.record) or []
    cells = own.cells[:2] if reduced else own.cells
    iterations = 10 if reduced else ITERATIONS

    def found(cell: Cell) -> dict[str, Any]:
        for one in done:
            if asdict(cell).items() <= one.items():
                return one
        one = run(problem, cell, iterations)
        done.append(one)
        if not reduced:
            record(own.record, done)
        print(cell, one.get("error"), one.get("nll"), one.get("failed", ""), flush=True)
        return one

    for cell in cells:
        if own.trials or reduced:
            speeds = SPEEDS[cell.trusted][: 1 if reduced else None]
            speed = min((found(replace(cell, speed=s)) for s in speeds), key=validation)["speed"]
        else:
            speed = chosen(recorded("proportions") or [], cell.name)[0]["speed"]
        for seed in range(1 if reduced else seeds or own.seeds):
            found(replace(cell, speed=speed, seed=seed))
    show(done)


if __name__ == "__main__":
    tyro.cli(main)
