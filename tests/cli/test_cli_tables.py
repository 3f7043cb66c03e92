"""Tables of columns of several kinds, from the command line."""

import numpy as np
import pandas
import pytest
import torch

from noneq import Run
from noneq.__main__ import main
from noneq.data.units import scaled
from noneq.run.scores import score
from noneq.run.verdict_file import read_verdict

SMALL = ("--iterations=4", "--walkers=64", "--held-out=32", "--width=8", "--renew=off",
         "--bracket.walkers=32", "--bracket.temperatures=20", "--bracket.equilibrate=20",
         "--base=full", "--early-stopping=False")  # fmt: skip


def frame(n: int = 300, seed: int = 0) -> pandas.DataFrame:
    rng = np.random.default_rng(seed)
    group = rng.choice(3, n, p=[0.5, 0.3, 0.2])
    rain = np.where(rng.random(n) < 0.25, 0.0, rng.lognormal(1, 0.6, n))
    return pandas.DataFrame({
        "id": np.arange(n) + 1, "group": np.array(["b", "a", "c"])[group],
        "height": 170 + 8.0 * group + 6 * rng.normal(size=n), "rain": rain,
        "visits": rng.poisson(6, n), "note": [f"text {i}" for i in range(n)],
        "when": pandas.date_range("2020-01-01", periods=n).astype(str),
    })  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    home = tmp_path_factory.mktemp("tables")
    rows = frame()
    rows.loc[7, "rain"] = np.nan
    rows.to_csv(home / "a.csv", index=False)
    words = ["train", str(home / "a.csv"), "--out", str(home / "r"), "--missing", "drop", *SMALL]
    assert main(words) == 0
    return home


def test_what_train_says(tmp_path, capsys):
    frame().to_csv(tmp_path / "a.csv", index=False)
    assert main(["train", str(tmp_path / "a.csv"), "--out", str(tmp_path / "r"), *SMALL]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert (
        "group: category (a, b, c); height: continuous; rain: continuous, with atom at 0; visits: "
        "whole numbers, step 1; left out: id (numbers the rows), note (text, different in every "
        "row), when (text, different in every row)" in said
    )
    assert (
        "Values of group, visits have probabilities; atoms of rain have probabilities; all else "
        "has a density, in standard deviations of each column; in the file's units the test NLL "
        "is " in said
    )
    assert "noise 0," in said


def test_a_table_of_categories_alone_is_told_of_models_of_bits(tmp_path, capsys):
    rng = np.random.default_rng(0)
    frame()[["group"]].assign(side=rng.choice([1, 7], 300)).to_csv(tmp_path / "a.csv", index=False)
    assert main(["train", str(tmp_path / "a.csv"), "--out", str(tmp_path / "r"), *SMALL]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "all columns are categories" in said
    assert "coded as bits, 0 and 1, --model rbm models them as such" in said


def test_a_run_keeps_the_choice_of_columns(run, capsys):
    opened = Run(run / "r")
    assert opened.config["data"]["table"] == {"missing": "drop"}
    assert opened.config["data"]["gaps"] == 1
    data = opened.data()
    assert sum(data.sizes) == 299
    more = [*SMALL[1:0], "--iterations=6"]
    assert main(["train", "--out", str(run / "r"), "--resume", *more]) == 0
    assert "going on at iteration 4" in capsys.readouterr().out
    assert main(["train", "--out", str(run / "r"), "--resume", "--drop", "rain"]) == 1
    assert "--resume keeps the run's own drop: leave --drop out" in capsys.readouterr().err
    assert main(["report", str(run / "r")]) == 0


def test_samples_are_values_of_their_columns(run, capsys):
    out = run / "s.npz"
    assert main(["sample", str(run / "r"), "-n", "200", "--out", str(out)]) == 0
    assert "group: numbers, from 0, of the texts in categories_group" in capsys.readouterr().out
    found = np.load(out)
    assert found["categories_group"].tolist() == ["a", "b", "c"]
    group, _, rain, visits = found["x"].T
    assert set(group) == {0, 1, 2}
    assert 0.1 < (rain == 0).mean() < 0.4
    assert (visits == visits.round()).all()
    table = run / "s.csv"
    assert main(["sample", str(run / "r"), "-n", "50", "--out", str(table)]) == 0
    assert "categories" not in capsys.readouterr().out
    read = pandas.read_csv(table)
    assert set(read["group"]) == {"a", "b", "c"}
    assert (read["visits"] >= 0).all()
    assert main(["sample", str(run / "r"), "--out", str(run / "s.npy")]) == 0
    assert "numbers, from 0, of categories" in capsys.readouterr().out


@pytest.fixture(scope="module")
def groups(tmp_path_factory):
    """A run on rows whose other columns tell the group: heights 10 apart, of sd 1, and counts."""
    home, rng = tmp_path_factory.mktemp("groups"), np.random.default_rng(5)
    group = rng.choice(3, 900, p=[0.5, 0.3, 0.2])
    pandas.DataFrame({
        "group": np.array(["b", "a", "c"])[group], "height": 10.0 * group + rng.normal(size=900),
        "visits": rng.poisson(np.array([2, 30, 9])[group]), "side": rng.choice([1, 7], 900),
    }).to_csv(home / "a.csv", index=False)  # fmt: skip
    how = [*SMALL[:-2], "--base=mixture", "--components=3", "--ridge=1e-3"]
    words = ["train", str(home / "a.csv"), "--out", str(home / "r"), *how, "--clusters=off"]
    assert main([*words, "--tau=1e-4"]) == 0
    return home


def test_categories_and_counts_are_given_and_filled_in(groups, capsys):
    (groups / "gaps.csv").write_text(
        "note,side,visits,height,group\nx,7,,,c\ny,1,28,,\nz,NA,3,0.25,?\nw,1,10,20,c\n"
    )
    out = groups / "full.csv"
    given = ["sample", str(groups / "r"), "--given", str(groups / "gaps.csv"), "--count", "200"]
    assert main([*given, "--out", str(out)]) == 0
    assert "4 rows, 200 samples of each; 6 values were missing" in capsys.readouterr().out
    found = pandas.read_csv(out)
    assert found.columns.tolist() == ["group", "height", "visits", "side"]
    first, second, third, fourth = (found[k : k + 200] for k in range(0, 800, 200))
    # given c: heights of 20 +- 1 and visits of 9 +- 3, in 200 samples (seed 0)
    assert set(first["group"]) == {"c"}
    assert set(first["side"]) == {7}
    assert first["height"].mean() == pytest.approx(20, abs=0.4)
    assert first["height"].std() == pytest.approx(1, abs=0.35)
    assert first["visits"].mean() == pytest.approx(9, abs=1.0)
    assert (found["visits"] == found["visits"].round()).all()
    # 28 visits: group a, at a height of 10
    assert (second["visits"] == 28).all()
    assert (second["group"] == "a").mean() > 0.95
    assert second["height"].mean() == pytest.approx(10, abs=0.4)
    assert (third["group"] == "b").mean() > 0.95
    assert 0.35 < (third["side"] == 7).mean() < 0.65
    assert (third["height"] == 0.25).all()
    assert fourth.drop_duplicates().to_numpy().tolist() == [["c", 20.0, 10.0, 1.0]]
    assert main([*given, "--out", str(groups / "full.npy")]) == 0
    assert "group: numbers, from 0, of categories (.csv has texts)" in capsys.readouterr().out
    assert set(np.load(groups / "full.npy")[:200, 0]) == {2.0}


def test_one_row_is_given_on_the_command_line(groups, capsys):
    out = groups / "one.csv"
    words = ["sample", str(groups / "r"), "--count", "100", "--out", str(out), "--given"]
    assert main([*words, "group=c, side=7"]) == 0
    assert "1 rows, 100 samples of each; 2 values were missing" in capsys.readouterr().out
    found = pandas.read_csv(out)
    assert set(found["group"]) == {"c"}
    assert set(found["side"]) == {7}
    assert found["height"].mean() == pytest.approx(20, abs=0.5)  # of 100 of sd 1, seed 0
    for wrong, told in (
        ("group=d", "--given group=d: group: 'd' is none of its categories: 'a', 'b'"),
        ("size=3", "size: no such column; write column=value, one or more separated by commas"),
        ("height=tall", "'tall'"),
        ("group=c,7", "7: no such column"),
        ("group=c,group=a", "group has two values: give one"),
        ('"group=c, d"', "group: 'c, d' is none of its categories"),
        ("none.csv", "none.csv: no such file"),
    ):
        assert main([*words, wrong]) == 1
        line = capsys.readouterr().err
        assert told in line
        assert line.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("group,height,visits,side\nd,,3,1\n", "group: 'd' is none of its categories: 'a', 'b'"),
        ("group,height,visits,side\na,,3,2\n", "side: 2 is none of its categories, which are 1"),
        ("group,height,visits,side\na,tall,3,1\n",
         "column 'height' holds text ('tall', line 2), and the model takes numbers there"),
        ("group,height,visits\na,1,3\n", "no column 'side', which the model takes"),
    ],
)  # fmt: skip
def test_rows_to_fill_in_that_the_model_does_not_know(groups, capsys, text, message):
    (groups / "gaps.csv").write_text(text)
    given = ["sample", str(groups / "r"), "--given", str(groups / "gaps.csv")]
    assert main([*given, "--out", str(groups / "no.csv")]) == 1
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
    assert not (groups / "no.csv").exists()


def test_counts_and_left_out_columns_of_filled_rows(run, capsys):
    rows = frame(8, seed=5)
    rows.loc[3, "height"] = np.nan
    rows.to_csv(run / "gaps.csv", index=False)
    assert (
        main(
            [
                "sample",
                str(run / "r"),
                "--given",
                str(run / "gaps.csv"),
                "--out",
                str(run / "f.csv"),
            ]
        )
        == 0
    )
    lines = (run / "f.csv").read_text().splitlines()
    visits = lines[0].split(",").index("visits")
    assert all(line.split(",")[visits].isdigit() for line in lines[1:])
    told = capsys.readouterr().out
    left = [name for name, _ in Run(run / "r").config["data"]["left_out"]]
    assert ("without the columns" in told) is bool(left)


def test_scores_are_of_rows_and_averaged_over_draws(run, capsys):
    new = frame(40, seed=3)[["rain", "visits", "note", "group", "height"]]
    new.to_csv(run / "new.csv", index=False)
    out = run / "scores.npz"
    assert main(["score", str(run / "r"), str(run / "new.csv"), "--out", str(out)]) == 0
    assert "new.csv: 40 rows, mean NLL" in capsys.readouterr().out
    found = np.load(out)
    assert found["log_density"].shape == found["log_jacobian"].shape == (40,)
    # a density in the file's units: height's sd always, and rain's where it is not an atom
    log_sd = Run(run / "r").scaling.scale.log().numpy()
    expected = -log_sd[1] - np.where(new["rain"] == 0, 0.0, log_sd[2])
    np.testing.assert_allclose(found["log_jacobian"], expected)
    other = new.assign(group="z")
    other.to_csv(run / "other.csv", index=False)
    assert main(["score", str(run / "r"), str(run / "other.csv")]) == 1
    assert "group: 'z' is none of its categories: 'a', 'b', 'c'" in capsys.readouterr().err


def test_the_verdict_is_over_rows_and_not_over_draws(run):
    opened = Run(run / "r")
    data = opened.data()
    found = score(opened, data.test, data.draws).log_density
    nll = read_verdict(opened, opened.model()[0]).nll["test"]
    assert len(found) == data.sizes[2] == len(data.test) / 16
    assert nll.value == pytest.approx(-float(found.mean()), abs=1e-6)
    assert nll.stderr == pytest.approx(float(found.std()) / len(found) ** 0.5, rel=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--columns=hight,rain"], "no column 'hight'; did you mean 'height'?"),
        (
            ["--drop=group,height,rain,visits"],
            "no column can be used: id (numbers the rows)",
        ),
        (["--columns=when"], "column when (text, different in every row) cannot be used"),
        (
            [],
            "has 1 missing value (in line 9): fill or drop it, or leave out their rows (",
        ),
    ],
)
def test_errors_about_columns_are_one_line(run, capsys, options, message):
    assert main(["train", str(run / "a.csv"), "--out", str(run / "x"), *options, *SMALL]) == 1
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not (run / "x").exists()


TABLES = {
    "all categories": lambda rng: pandas.DataFrame({
        name: rng.choice(list("abcd"), 300, p=[0.4, 0.3, 0.2, 0.1]) for name in "xyz"
    }),
    "fewer rows than columns": lambda rng: pandas.DataFrame(
        rng.normal(size=(30, 50))
    ).add_prefix("c"),
    "counts in fewer rows than columns": lambda rng: pandas.DataFrame(
        rng.poisson(2.0, (40, 60))
    ).add_prefix("c"),
    "a value for every row": lambda rng: pandas.DataFrame({
        "x": rng.permutation(100) * 7.0, "y": rng.normal(size=100)
    }),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_tables_that_are_unusual(tmp_path, capsys, name):
    TABLES[name](np.random.default_rng(0)).to_csv(tmp_path / "a.csv", index=False)
    words = ["train", str(tmp_path / "a.csv"), "--out", str(tmp_path / "r"), "--clusters=off"]
    assert main([*words, *SMALL]) == 0, capsys.readouterr().err
    said = " ".join(capsys.readouterr().out.split())
    if name == "all categories":
        assert "Likelihoods are probabilities of whole rows: " in said
        log_p = -np.log([0.4, 0.3, 0.2, 0.1]) @ [0.4, 0.3, 0.2, 0.1]
        run = Run(tmp_path / "r")
        # independent columns: what the margins alone know
        assert run.scaling.margins is None
        assert float(run.scaling.log_units(torch.zeros(1, 3))) == 0
        assert 3 * log_p == pytest.approx(3.84, abs=0.01)


def test_draws_given_a_category_are_of_the_model_within_its_interval(tmp_path, capsys):
    """Against quadrature over the other column, and 20,000 draws of the category's interval."""
    rng = np.random.default_rng(3)
    kind = rng.choice(3, 600, p=[0.1, 0.2, 0.7])
    size = np.round(2.0 * kind + rng.normal(size=600), 4)
    table = pandas.DataFrame({"kind": np.array(["a", "b", "c"])[kind], "size": size})
    table.to_csv(tmp_path / "t.csv", index=False)
    how = [*SMALL[:-2], "--base=full", "--ridge=1e-3", "--clusters=off"]
    assert main(["train", str(tmp_path / "t.csv"), "--out", str(tmp_path / "r"), *how]) == 0
    out = tmp_path / "b.csv"
    words = ["sample", str(tmp_path / "r"), "--given", "kind=a", "--count", "4000"]
    assert main([*words, "--out", str(out)]) == 0
    capsys.readouterr()
    found = pandas.read_csv(out)["size"]
    run = Run(tmp_path / "r")
    energy, _ = run.model()
    grid = np.linspace(-6, 10, 100)
    values = np.stack([np.zeros(100), grid], 1)  # "a" is category 0, where the density rises
    rows = scaled(run.scaling, np.repeat(values[:1], 20_000, 0))  # draws of the interval
    other = scaled(run.scaling, values)[:, 1]
    both = torch.stack([rows[:, :1].expand(-1, 100), other.expand(20_000, -1)], 2).view(-1, 2)
    with torch.no_grad():
        log_p = run.scaling.log_volume(both) - energy(both).double()
    p = log_p.view(20_000, 100).logsumexp(0).softmax(0).numpy()
    mean = float((p * grid).sum())
    sd = float(np.sqrt((p * grid**2).sum() - mean**2))
    # 64 of 4,096 draws of the interval: a standard error of 0.06 sd, seed 0; 0.35 sd off where all
    # draws are equally likely
    assert float(found.mean()) == pytest.approx(mean, abs=0.15 * sd)
    assert float(found.std()) == pytest.approx(sd, rel=0.1)
