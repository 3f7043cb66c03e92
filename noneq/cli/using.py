"""The commands of the program ``noneq`` that use a run: sample, score and report.

Their docstrings are the help of the commands, as in `noneq.cli.commands`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from tyro.conf import Positional

from noneq.cli.options import (
    Data,
    File,
    Flag,
    Folder,
    Integers,
    Number,
    Steps,
    Words,
    described,
)
from noneq.cli.values import integers

__all__ = ["report", "sample", "score"]

_UNSAID = tyro.conf.arg(metavar="population|steps|ais|chains", help_behavior_hint="")


@described
def sample(
    run: Positional[Folder],
    *,
    n: Number = 64,
    out: Path = Path("samples.npz"),
    given: File = None,
    count: Steps = None,
    source: Annotated[Literal["population", "steps", "ais", "chains"] | None, _UNSAID] = None,
    steps: Steps = None,
    labels: Integers = "",
    within_range: Flag = False,
    weighted: Flag = False,
    denoise: Flag = False,
    moves: int = 100,
    seed: int = 0,
    device: Words = "",
) -> None:
    """Draw samples of a run's model, in the units of its data.

    Args:
        run: folder of the run.
        n: number of samples.
        out: .npz file for the arrays x, categories_NAME (texts of a column of categories, which x
            numbers from 0) and, with --weighted, log_w; .npy file for x alone; or .csv file for a
            table with the names of the columns.
        given: file of rows with blank cells (in .npy: NaN): they are filled in by the model, given
            the other cells of the row, and all rows are written to --out, a .csv or .npy file;
            or one row, written as column=value,column=value ('"city=Ulm, Danube",age=3').
        count: number of samples of each row of --given; default: 1.
        source: where samples come from: the walkers that the estimate of log Z has annealed and
            stored (population), walkers carried from the base by Euler-Maruyama steps (steps),
            walkers annealed from the base anew (ais), or the run's own walkers, moved under its
            final parameters (chains); default: population where none of its walkers is taken
            twice, else steps for an interpolant and ais for any other model.
        steps: number of Euler-Maruyama steps of --source steps; default: the run's.
        labels: labels of the samples of a model conditional, e.g. 3 or 3,8: -n samples of each;
            default: labels in the proportions of the training rows.
        within_range: only values in the range of their column's training rows, also of --given.
        weighted: write walkers with log-weights instead of resampled ones of equal weight.
        denoise: write denoised means x - sigma^2 grad U; only for models trained with noise.
        moves: number of kernel moves of --source chains.
        seed: seed of all randomness.
        device: cpu, cuda, cuda:1, ...; default: the run's.
    """
    from noneq.cli.sample import sample as command

    own: Any = {"within_range": within_range, "seed": seed, "device": device}
    if given is not None or count is not None:
        from noneq.cli.fill import fill_file

        others = n != 64 or bool(source or steps or labels or weighted or denoise)
        return fill_file(run, given, out, count, others=others, **own)
    own |= {"source": source, "steps": steps, "moves": moves}
    return command(run, n, out, integers(labels), weighted=weighted, denoise=denoise, **own)


@described
def score(
    run: Positional[Folder],
    data: Positional[Data],
    *,
    out: File = None,
    flow: Flag = False,
    device: Words = "",
) -> None:
    """Compute the normalised log-density of every row of a file, in nats, in the file's units.

    Values that repeat have log-probabilities. Unusual rows and columns are told.

    Args:
        run: folder of the run.
        data: file of rows like those the run was trained on, in the same units; of a model
            conditional also images without labels, whose most probable labels are then told.
        out: .csv file for line (or row, if the file is no text), identifiers that were left out
            of the training, log_density, rank (1: the least likely), training_percentile (of the
            training rows how many percent are less likely), expected (the mean over the noise of
            training, if any) and log_density_standardised; or .npz file without identifiers.
        flow: print the NLL by the probability flow of an interpolant, too (of at most 500 rows),
            which needs no log Z and differs from the other by what was learned wrong.
        device: cpu, cuda, cuda:1, ...; default: the run's.
    """
    from noneq.cli.score import score as command

    command(run, data, out, device, flow=flow)


@described
def report(
    runs: Positional[
        Annotated[tuple[Path, ...], tyro.conf.arg(metavar="RUN [RUN ...]", help_behavior_hint="")]
    ],
    *,
    out: File = None,
    data: File = None,
    device: Words = "",
) -> None:
    """Write a page about a run: may it be believed, likelihoods, training, samples, odd rows.

    Of several runs on the same data, compare the likelihoods row by row. The page is one HTML file
    of about 5 MB, which needs nothing else and fetches nothing.

    Args:
        runs: folder of the run, or folders of several.
        out: .html file, or for one page of figures a .png file; default: report.html in the folder
            of the run; of runs/a and runs/b runs/comparison_a_b.html.
        data: file of the run's rows, if it is no longer where it was.
        device: cpu, cuda, cuda:1, ...; default: the run's.
    """
    from noneq.cli.report import report as command

    if not runs:
        raise ValueError("report takes the folder of a run, e.g. noneq report runs/digits")
    command(runs, out, device, data)
