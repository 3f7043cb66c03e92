"""``noneq score`` of a table: which row a score belongs to, and how unusual it is."""

import csv
import json
import shutil

import numpy as np
import pandas
import pytest
import torch

from noneq import Run
from noneq.__main__ import main
from noneq.run import checkpoint, ranks
from noneq.run.scores import score

SMALL = ("--iterations=4", "--walkers=64", "--held-out=32", "--width=8", "--renew=off",
         "--bracket.walkers=32", "--bracket.temperatures=20", "--bracket.equilibrate=20",
         "--base=full", "--early-stopping=False")  # fmt: skip
COLUMNS = ["line", "patient", "code", "log_density", "rank", "training_percentile",
           "log_density_standardised"]  # fmt: skip


def patients(n: int = 300, seed: int = 0) -> pandas.DataFrame:
    rng = np.random.default_rng(seed)
    ward = rng.choice(3, n, p=[0.5, 0.3, 0.2])
    codes = rng.permutation(2000)[:n] + 1000
    return pandas.DataFrame({
        "patient": [f"P{i:03}, {'MF'[i % 2]}" for i in range(n)],
        "admitted": pandas.to_datetime("2025-01-01") + pandas.to_timedelta(np.arange(n) // 3, "D"),
        "ward": np.array(["b", "a", "c"])[ward], "bmi": (24 + ward + rng.normal(size=n)).round(1),
        "cost": 900 + 200.0 * ward + 60 * rng.normal(size=n), "age": rng.integers(20, 60, n),
        "code": codes, "stay": rng.poisson(6, n), "country": "here",
    })  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("patients")
    patients().to_csv(home / "a.csv", index=False)
    assert main(["train", str(home / "a.csv"), "--out", str(home / "r"), *SMALL]) == 0
    left_out = dict(map(tuple, Run(home / "r").config["data"]["left_out"]))
    assert left_out == {
        "patient": "text, different in every row", "admitted": "text, 100 different ones",
        "code": "whole numbers, different in every row", "country": "constant",
    }  # fmt: skip
    return home


def scored(home, rows, *more):
    """The table of scores of a file, each column as texts."""
    out = home / "out.csv"
    assert main(["score", str(home / "r"), str(rows), "--out", str(out), *more]) == 0
    with out.open(newline="") as file:
        return dict(zip(*(lambda t: (t[0], zip(*t[1:], strict=True)))(list(csv.reader(file)))))


def test_a_score_has_its_line_and_the_identifiers_of_its_row(home, capsys):
    own = patients(6, seed=3).drop(columns="admitted")
    own.to_csv(home / "new.csv", index=False)
    lines = (home / "new.csv").read_text().splitlines()
    lines[2] = lines[2].replace("P001, F", "P0\n\n01, F")  # of lines 3 to 5
    lines[4] = lines[4].replace(f",{own['code'][3]},", ",0012,")
    lines[5] = lines[5].replace('"P004, M"', "")
    lines[1:1] = ["# from the ward", ""]
    (home / "new.csv").write_text("\n".join([*lines[:-1], "", lines[-1]]) + "\n")
    found = scored(home, home / "new.csv")
    assert list(found) == COLUMNS
    assert "new.csv: 6 rows" in capsys.readouterr().out
    assert found["line"] == ("4", "5", "8", "9", "10", "12")
    assert found["patient"] == ("P000, M", "P001, F", "P002, M", "P003, F", "", "P005, F")
    assert found["code"][3] == "0012"
    assert [int(code) for code in found["code"]] == [*own["code"][:3], 12, *own["code"][4:]]


def test_ranks_and_percentages_are_those_counted_by_hand(home):
    run = Run(home / "r")
    own = patients(40, seed=3)
    own.loc[7, "cost"] = 1e5
    own.to_csv(home / "new.csv", index=False)
    found = scored(home, home / "new.csv")
    density = [float(text) for text in found["log_density"]]
    assert [int(t) for t in found["rank"]] == [1 + sum(b < a for b in density) for a in density]
    assert found["rank"][7] == "1"
    assert found["training_percentile"][7] == "0.0"
    data = run.data()
    train = score(run, data.train, data.draws).log_density
    train = (train + run.scaling.log_units(data.train[: data.sizes[0]])).tolist()
    assert len(train) == data.sizes[0] == 210
    by_hand = [100 * sum(b < a for b in train) / len(train) for a in density]
    assert len({*by_hand}) > 20
    np.testing.assert_allclose(np.array(found["training_percentile"], float), by_hand, atol=0.0051)
    given = [float(text) for text in found["log_density_standardised"]]
    units = -run.scaling.scale.log()[[1, 2]].sum().item()  # of bmi and cost, which have densities
    np.testing.assert_allclose(np.subtract(density, given), units)


def test_equal_rows_have_the_smallest_of_their_ranks():
    density = np.array([-2.0, -7.0, -7.0, -1.0, -2.0, -2.0])
    assert ranks.ranks(density).tolist() == [3, 1, 1, 6, 3, 3]
    percentages = ranks.percentiles(density, np.array([-7.0, -2.0, -2.0, 0.0, -9.0]))
    assert percentages.tolist() == [40.0, 20.0, 20.0, 80.0, 40.0, 40.0]


def test_the_least_likely_rows_are_told(home, capsys):
    own = patients(40, seed=3)
    own.loc[7, ["cost", "patient"]] = 1e5, "Ω and a very long name indeed"
    own.loc[9, "cost"] = 1e4
    own.to_csv(home / "new.csv", index=False)
    found = scored(home, home / "new.csv", "--json")
    told = capsys.readouterr()
    result, lines = json.loads(told.out), told.err.splitlines()
    start = lines.index(
        "  the 5 least likely rows; percentile among 210 training rows, 0: below all"
    )
    table = lines[start : start + 7]
    assert all(len(line) <= 80 for line in table)
    assert table[1].split() == ["line", "patient", "code", "log-density", "percentile"]
    assert table[2].startswith("       9  Ω and a very long na  ")
    assert table[2].split()[-2:] == [f"{float(found['log_density'][7]):.2f}", "0.00"]
    assert [row["rank"] for row in result["least_likely"]] == [1, 2, 3, 4, 5]
    assert [row["line"] for row in result["least_likely"]][:2] == [9, 11]
    assert result["least_likely"][0]["patient"] == "Ω and a very long name indeed"
    assert [line.split()[0] for line in table[2:]] == [
        str(row["line"]) for row in result["least_likely"]
    ]


def test_values_that_no_training_row_had_are_told(home, capsys):
    low, high = {}, {}
    for column in Run(home / "r").scaling.cells.columns:
        low[column.name], high[column.name] = column.low, column.high
    own = patients(40, seed=3).astype({"stay": float})
    own["age"] = own["age"].clip(low["age"], high["age"])
    own["cost"], own["bmi"] = 1000.0, 25.0
    own["stay"] = own["stay"].clip(low["stay"], high["stay"])
    own.loc[[3, 9], "age"] = -3, 101
    own.loc[5, "stay"] = 2.5
    own.loc[6, "bmi"] = 25.03
    own.to_csv(home / "new.csv", index=False)
    scored(home, home / "new.csv")
    told = capsys.readouterr().out.splitlines()
    assert [line for line in told if line.startswith(("  age", "  stay", "  cost", "  bmi"))] == [
        "  bmi: 1 value is not in steps of 0.1 from 20.9 (25.03, in line 8), scored as a mean "
        "over an interval of width 0.1 around it",
        f"  age: 2 values outside {low['age']:g} to {high['age']:g}, the range of the training "
        "rows (the first, -3, in line 5)",
        "  stay: 1 value is not a whole number (2.5, in line 7), scored as an interval of width 1 "
        "around it, across two cells",
    ]
    scored(home, home / "new.csv", "--json")
    assert json.loads(capsys.readouterr().out)["unusual"] == [
        {"column": "bmi", "off_grid": {"values": 1, "first": 25.03, "line": 8},
         "grid": {"step": 0.1, "offset": 20.9}},
        {"column": "age", "outside": {"values": 2, "first": -3.0, "line": 5},
         "range": [low["age"], high["age"]]},
        {"column": "stay", "off_grid": {"values": 1, "first": 2.5, "line": 7},
         "grid": {"step": 1.0, "offset": 0.0}},
    ]  # fmt: skip


def test_half_a_day_is_scored_between_the_days_beside_it(home):
    own = pandas.concat([patients(1, seed=3)] * 3).assign(stay=[4, 4.5, 5])
    own.to_csv(home / "new.csv", index=False)
    row, cells = torch.tensor([[0.0, 25, 1000, 40, 4.5]]), Run(home / "r").scaling.cells
    ends = [float(cells.spread(row, u.expand(1, 5))[0, 4]) for u in torch.tensor([0.0, 1.0])]
    assert ends == pytest.approx([4, 5], abs=1e-4)
    density = [float(text) for text in scored(home, home / "new.csv")["log_density"]]
    assert len({*density}) == 3


def test_at_most_five_columns_are_told(tmp_path, capsys):
    rng = np.random.default_rng(0)
    table = pandas.DataFrame(rng.integers(0, 9, (200, 7)), columns=list("abcdefg"))
    table.to_csv(tmp_path / "a.csv", index=False)
    assert main(["train", str(tmp_path / "a.csv"), "--out", str(tmp_path / "r"), *SMALL]) == 0
    table[:1].assign(a=5.5, b=9, c=9, d=9, e=9, f=9, g=-1).to_csv(tmp_path / "n.csv", index=False)
    capsys.readouterr()
    assert main(["score", str(tmp_path / "r"), str(tmp_path / "n.csv")]) == 0
    told = capsys.readouterr().out.splitlines()
    assert [line[:4] for line in told if ": 1 value" in line] == [f"  {k}:" for k in "abcde"]
    assert "  and 2 more columns" in told
    assert "  the least likely row; percentile among 140 training rows, 0: below all" in told


def test_a_run_that_knows_no_ranges_tells_of_none(home, tmp_path, capsys):
    old = tmp_path / "r"
    shutil.copytree(home / "r", old)
    config = checkpoint.load_json(old / "config.json")
    for column in config["data"]["scaling"]["cells"]:
        column.pop("low", None)
        column.pop("high", None)
    checkpoint.save_json(old / "config.json", config)
    own = patients(40, seed=3).astype({"stay": float})
    own["bmi"] = 25.0
    own.loc[3, "age"], own.loc[5, "stay"] = -3, 2.5
    own.to_csv(tmp_path / "new.csv", index=False)
    assert main(["score", str(old), str(tmp_path / "new.csv")]) == 0
    told = capsys.readouterr().out
    assert "outside" not in told
    assert "  stay: 1 value is not a whole number (2.5, in line 7)" in told


@pytest.mark.parametrize(
    ("change", "why"),
    [(lambda path: path.unlink(), "are not in their place any more"),
     (lambda path: patients(seed=1).to_csv(path, index=False), "have changed since")],
)  # fmt: skip
def test_without_the_training_rows_there_are_no_percentages(home, tmp_path, capsys, change, why):
    shutil.copytree(home / "r", tmp_path / "r")
    config = checkpoint.load_json(tmp_path / "r" / "config.json")
    config["data"]["source"] = str(tmp_path / "a.csv")
    checkpoint.save_json(tmp_path / "r" / "config.json", config)
    patients().to_csv(tmp_path / "a.csv", index=False)
    patients(40, seed=3).to_csv(tmp_path / "new.csv", index=False)
    assert "training_percentile" in scored(tmp_path, tmp_path / "new.csv")
    change(tmp_path / "a.csv")
    capsys.readouterr()
    found = scored(tmp_path, tmp_path / "new.csv")
    told = capsys.readouterr().out
    assert list(found) == [name for name in COLUMNS if name != "training_percentile"]
    source = tmp_path / "a.csv"
    assert f"  no training_percentile: the data of the run, {source}, {why}" in told.splitlines()
    assert "  the 5 least likely rows" in told.splitlines()


def test_of_many_training_rows_some_are_compared_with(home, monkeypatch):
    run = Run(home / "r")
    everything = ranks.training_densities(run)
    monkeypatch.setattr(ranks, "MOST", 50)
    some = ranks.training_densities(run)
    assert len(some) == 50
    assert np.abs(np.sort(everything)[:, None] - some).min(0).max() < 1e-5, "they are among them"


def test_an_array_has_rows_and_identifiers_by_number(tmp_path):
    rng = np.random.default_rng(0)
    table = np.column_stack([np.arange(200) + 5000, rng.normal(size=(200, 3))])
    np.save(tmp_path / "a.npy", table)
    assert main(["train", str(tmp_path / "a.npy"), "--out", str(tmp_path / "r"), *SMALL]) == 0
    found = scored(tmp_path, tmp_path / "a.npy")
    assert list(found)[:3] == ["row", "column 1", "log_density"]
    assert found["row"] == tuple(str(i + 1) for i in range(200))
    assert found["column 1"] == tuple(str(i + 5000) for i in range(200))
    np.save(tmp_path / "b.npy", table[:, 1:])  # without the identifiers
    assert list(scored(tmp_path, tmp_path / "b.npy"))[:2] == ["row", "log_density"]


def test_of_a_model_with_noise_the_mean_over_it_is_written(tmp_path):
    rng = np.random.default_rng(0)
    pandas.DataFrame(rng.normal(size=(200, 2)), columns=["a", "rank"]).assign(
        line=[f"text {i}" for i in range(200)]
    ).to_csv(tmp_path / "a.csv", index=False)
    args = ["train", str(tmp_path / "a.csv"), "--out", str(tmp_path / "r"), "--noise=0.3", *SMALL]
    assert main(args) == 0
    found = scored(tmp_path, tmp_path / "a.csv")
    assert list(found) == ["line", "line_in_file", "log_density", "rank", "training_percentile",
                           "expected", "log_density_standardised"]  # fmt: skip
    assert found["expected"] != found["log_density"]
    assert found["line_in_file"][7] == "text 7"
