"""The commands of the program ``noneq``: train and logz here, the others in `noneq.cli.using`.

Each command is a function, whose docstring is the help of the command. Nothing heavy is imported
before a command runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional

from noneq.cli.options import (
    BracketChoices,
    Choices,
    File,
    Flag,
    Integers,
    Names,
    Seed,
    Steps,
    Time,
    Words,
    described,
    given,
)
from noneq.cli.using import report, sample, score
from noneq.cli.values import integers, length, table_choice

__all__ = ["COMMANDS", "app"]

_DATA = tyro.conf.arg(metavar="[DATA]", help_behavior_hint="")
_RUN = tyro.conf.arg(metavar="[RUN]", help_behavior_hint="")
_GAPS = tyro.conf.arg(metavar="refuse|drop", help_behavior_hint="")
_FROM = tyro.conf.arg(name="from", metavar="state|good", help_behavior_hint="")


@described
def train(
    data: Positional[Annotated[str, _DATA]] = "",
    *,
    out: File = None,
    resume: Flag = False,
    overwrite: Flag = False,
    classes: Integers = "",
    subset: Integers = "",
    binary: Flag = False,
    columns: Names = "",
    drop: Names = "",
    categories: Names = "",
    continuous: Names = "",
    grid: Names = "",
    missing: Annotated[Literal["refuse", "drop"], _GAPS] = "refuse",
    budget: Time = "",
    iterations: Steps = None,
    spline_flow: Flag = False,
    seed: Seed = None,
    device: Words = "",
    save_every: float = 30.0,
    from_: Annotated[Literal["state", "good"] | None, _FROM] = None,
    config: File = None,
    tensorboard: File = None,
    bracket: BracketChoices = BracketChoices(),  # noqa: B008
    recipe: Annotated[Choices, tyro.conf.OmitArgPrefixes] = Choices(),  # noqa: B008
) -> int:
    """Train an energy-based model on a data set, then bracket its log Z.

    Args:
        data: "digits", or a file (.npy .npz .csv .tsv .txt .parquet, IDX as MNIST has it, plain or
            .gz, or .bin of CIFAR), or a folder of IDX or CIFAR files. It may be left out with
            --resume.
        out: folder of the run; default: runs/NAME, named after the data.
        resume: continue the interrupted run in --out, with the data and choices it began with.
        overwrite: replace the run in --out, as soon as the new one has its first checkpoint.
        classes: labels of the rows to train on, e.g. 2,3,6; default: all rows.
        subset: number of rows of each class, e.g. 800,400,200; default: all rows.
        binary: set values above the middle of their range to 1 and all others to 0.
        columns: columns of a table to train on, e.g. age,height, or numbers from 1 if they have no
            names; default: all.
        drop: columns of a table to leave out.
        categories: columns whose different values are categories; default: texts and few values.
        continuous: columns to give a density, even if their values repeat.
        grid: columns of counts, or of other values on a grid, to give probabilities.
        missing: whether missing values are an error (refuse) or their rows are left out (drop).
        budget: training time, e.g. 120s, 20m or 2h; the bracket takes additional time.
        iterations: number of iterations, instead of a training time; on a CPU with the same number
            of threads the same seed then gives the same bits.
        spline_flow: try a neural spline flow as coordinates of a table, in which base and network
            are then those of nearly normal rows; it needs the extra noneq[flow].
        seed: seed of all randomness but the split of the data; default: 0.
        device: cpu, cuda, cuda:1, ...; default: cuda if there is one, else cpu.
        save_every: seconds between checkpoints.
        from_: checkpoint that --resume continues from: the last one (state), or the last good one
            (good), e.g. if state is damaged; default: state.
        config: config.json of a run, which is repeated in --out: data, rows, settings and seed,
            but for settings and a seed that are given here. A run that was resumed with another
            length is repeated as one of that length from the start.
        tensorboard: folder in which TensorBoard finds the metrics while the training goes on, in a
            subfolder called after the run; it needs the extra noneq[tensorboard].
        bracket: Settings of the bracket of log Z; defaults depend on the data.
        recipe: Settings of the training; defaults depend on the shape and kind of the data.
    """
    from noneq.cli.train import train as command

    changes = {**given(recipe), "bracket": given(bracket), **length(budget, iterations)}
    changes |= {"spline_flow": True} if spline_flow else {}
    if resume and overwrite:
        raise ValueError("--resume goes on with a run, --overwrite replaces it: give one")
    if from_ and not resume:
        raise ValueError(f"--from {from_} is what to go on from: give --resume, too")
    rows = {"classes": integers(classes), "subset": integers(subset), "binary": binary}
    lists = (columns, drop, categories, continuous, grid)
    return command(
        data,
        out,
        {**rows, "table": table_choice(*lists, missing)},
        changes,
        seed=seed,
        device=device,
        mode="resume" if resume else "overwrite" if overwrite else "new",
        start=from_ or "state",
        every=save_every,
        config=config,
        events=tensorboard,
    )


@described
def logz(
    run: Positional[Annotated[Path | None, _RUN]] = None,
    *,
    energy: Words = "",
    weights: File = None,
    data: File = None,
    test: File = None,
    noise: float = 0.0,
    seed: Seed = None,
    device: Words = "",
    bracket: BracketChoices = BracketChoices(),  # noqa: B008
) -> int:
    """Estimate log Z by forward and backward annealing, of a run or of any energy (an audit).

    noneq logz RUN, or
    noneq logz --energy pkg.module:build --weights w.safetensors --data x.npy

    Args:
        run: folder of the run.
        energy: for an audit, module:function that returns U, a torch.nn.Module (or callable)
            (B, *shape) -> (B,) with p = exp(-U) / Z. The module is imported and the function
            called, which runs their code: name none that you do not trust. The working folder is
            searched after the installed packages.
        weights: for an audit, a safetensors file of the module's state_dict.
        data: for an audit, a file of rows that the model was trained on, in its units; for a run,
            the file of its rows, if it is no longer where it was.
        test: for an audit, a file of rows whose likelihood is reported; default: that of --data.
        noise: for an audit, standard deviation of the Gaussian noise added to the model's data.
        seed: seed of all randomness; default: the run's plus 7, for an audit 0.
        device: cpu, cuda, cuda:1, ...; default: the run's, for an audit cuda if there is one.
        bracket: Settings of the bracket of log Z; defaults: the run's, for an audit those of
            noneq.log_z.
    """
    from noneq.cli import logz as command

    how = given(bracket)
    if (run is None) == (not energy):
        raise ValueError("logz takes a run folder, or --energy with --data: one of the two")
    if run is not None:
        how |= {} if seed is None else {"seed": seed}
        return command.bracket(run, how, device, data)
    how["seed"] = seed or 0
    command.audit(energy, weights, data, test, noise=noise, how=how, device=device)
    return 0


COMMANDS = {f.__name__: f for f in (train, sample, score, logz, report)}
app = tyro.extras.SubcommandApp()
for command in COMMANDS.values():
    app.command(command)
