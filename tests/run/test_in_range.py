"""Samples and filled values within the range of the training rows: the model given a box.

The base is one Gaussian and nothing is learned, so that the model given a box is a truncated
Gaussian; what is estimated is judged at 4 standard errors.
"""

from dataclasses import replace

import numpy as np
import pandas
import pytest
from scipy.stats import truncnorm

from noneq import Run
from noneq.__main__ import main
from noneq.data import load
from noneq.data.cells import Cells
from noneq.data.kinds import Column
from noneq.data.within import outside
from noneq.run.samples import draw_walkers

QUICK = ("--iterations=1", "--walkers=64", "--held-out=32", "--width=8", "--renew=off",
         "--bracket.walkers=64", "--bracket.temperatures=10", "--bracket.equilibrate=10",
         "--base=full", "--score-matching=off", "--background=False")  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Costs, of which the model has some below 0, with a size that depends on them, and texts."""
    home = tmp_path_factory.mktemp("ranges")
    rng = np.random.default_rng(0)
    cost, kind = rng.exponential(10.0, 500), rng.choice(["a", "b"], 500)
    size = 0.05 * cost + rng.normal(size=500)
    pandas.DataFrame({"cost": cost, "size": size, "kind": kind}).to_csv(
        home / "a.csv", index=False
    )
    assert main(["train", str(home / "a.csv"), "--out", str(home / "r"), *QUICK]) == 0
    return home


def test_the_range_is_that_of_the_training_rows(run):
    opened, data = Run(run / "r"), load(run / "a.csv")
    rows = data.scaling.undo(data.train[: data.sizes[0]]).numpy()
    cost, size, kind = opened.scaling.cells.columns
    every = pandas.read_csv(run / "a.csv")
    assert (cost.low, cost.high) == pytest.approx((rows[:, 0].min(), rows[:, 0].max()), 1e-4)
    assert size.low in every["size"].to_numpy()  # as it is in the file, to the bit
    assert kind.low is kind.high is None


def test_values_outside_are_found():
    columns = [
        Column("a", 1, low=0.0, high=2.0),
        Column("b", 2),
        Column("c", 3, low=1.0, high=1.0),
    ]
    rows = np.array([[0.0, 9.0, 1.0], [2.0, -9.0, 2.0], [-0.1, np.nan, 0.0], [2.1, 0.0, np.nan]])
    assert outside(columns, rows).tolist() == [
        [False, False, False], [False, False, True], [True, False, True], [True, False, False],
    ]  # fmt: skip


def test_samples_are_told_that_are_outside(run, capsys):
    out = run / "s.csv"
    assert main(["sample", str(run / "r"), "-n", "2000", "--out", str(out)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    rows, cost = pandas.read_csv(out), Run(run / "r").scaling.cells.columns[0]
    beyond = (rows["cost"] < cost.low) | (rows["cost"] > cost.high)
    assert beyond.mean() > 0.1
    assert (
        f"rows with a value outside the range of the training rows: {beyond.sum()} (cost " in said
    )
    assert "--within-range draws none of these" in said


def test_samples_within_range_are_of_the_truncated_gaussian(run, capsys):
    opened, out = Run(run / "r"), run / "w.csv"
    assert main(["sample", str(run / "r"), "-n", "4000", "--within-range", "--out", str(out)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    rows, cost = pandas.read_csv(out), opened.scaling.cells.columns[0]
    assert rows["cost"].between(cost.low, cost.high).all()
    assert "draws none" not in said
    # the other columns' limits matter little: their ends are three standard deviations away
    data = opened.data()
    x = data.scaling.undo(data.train[: data.sizes[0]])[:, 0].numpy()
    ends = [(end - x.mean()) / x.std() for end in (cost.low, cost.high)]
    exact = truncnorm(*ends, x.mean(), x.std())
    assert abs(rows["cost"].mean() - exact.mean()) < 4 * exact.std() / 4000**0.5 + 0.1
    kept = draw_walkers(opened, 4000, "ais", within_range=True).kept
    mass = np.diff(truncnorm(-np.inf, np.inf).cdf(ends))[0]
    assert kept == pytest.approx(mass, abs=0.02)
    assert f"which has {kept:.1%} of its mass" in said


def test_filled_values_are_within_range_and_given_ones_are_kept(run, capsys):
    gaps, out = run / "gaps.csv", run / "full.csv"
    pandas.DataFrame({
        "cost": [np.nan] * 40 + [-5.0], "size": [-1.0] * 40 + [np.nan], "kind": ["a"] * 41,
    }).to_csv(gaps, index=False)  # fmt: skip
    words = ["sample", str(run / "r"), "--given", str(gaps), "--count", "5", "--out", str(out)]
    assert main(words) == 0
    said = " ".join(capsys.readouterr().out.split())
    rows, cost = pandas.read_csv(out), Run(run / "r").scaling.cells.columns[0]
    beyond = int((rows["cost"][:200] < cost.low).sum())
    assert beyond > 10
    assert f"filled rows with a value outside the range of the training rows: {beyond} (" in said
    assert "given rows with a value outside the range of the training rows: 1 (cost 1)" in said
    assert main([*words, "--within-range"]) == 0
    rows = pandas.read_csv(out)
    assert (rows["cost"][:200] >= cost.low).all()
    assert (rows["cost"][200:] == -5.0).all()
    assert rows["cost"][:5].nunique() == 5
    assert "filled rows" not in capsys.readouterr().out


def test_a_value_that_cannot_be_within_range_is_left_and_told(run, capsys):
    # a size of 40 goes with a cost of hundreds only
    given = ["--given", "size=40,kind=a", "--count", "3", "--out", str(run / "far.csv")]
    assert main(["sample", str(run / "r"), *given, "--within-range"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "filled rows with a value outside the range of the training rows: 3" in said
    assert "none of their draws was within" in said


def test_runs_that_know_no_range(run, tmp_path, capsys):
    np.save(tmp_path / "b.npy", np.random.default_rng(0).integers(0, 2, (200, 3)))
    quick = ["--iterations=1", "--walkers=32", "--hidden=2", "--bracket.walkers=32"]
    words = ["train", str(tmp_path / "b.npy"), "--model=rbm", "--out", str(tmp_path / "r"), *quick]
    assert main(words) == 0
    assert main(["sample", str(tmp_path / "r"), "--within-range"]) == 1
    assert "--within-range is for tables of numbers" in capsys.readouterr().err
    opened = Run(run / "r")
    columns = [replace(column, low=None, high=None) for column in opened.scaling.cells.columns]
    opened.scaling = replace(opened.scaling, cells=Cells(tuple(columns)))
    with pytest.raises(ValueError, match="an earlier version trained it"):
        draw_walkers(opened, 4, within_range=True)
