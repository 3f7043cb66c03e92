"""Where samples differ from rows: what chance alone does, and what it does not."""

import math

import known
import numpy as np
import pandas
import pytest
from scipy.stats import ks_2samp, multivariate_normal
from sklearn.covariance import ledoit_wolf

from noneq.__main__ import main
from noneq.data import load
from noneq.data.kinds import Column
from noneq.run import Run, choose
from noneq.run.differences import Difference, differences, told
from noneq.run.evaluation import evaluate_run
from noneq.run.likelihoods import splits_of
from noneq.run.simplest import one_gaussian
from noneq.run.starts import choose_start
from noneq.run.verdict_file import read_verdict

WARDS = ("child", "old", "surgery")
COLUMNS = (
    Column("ward", 1, "category", levels=(0.0, 1.0, 2.0), texts=WARDS),
    Column("age", 2, "grid", step=1.0),
    Column("cost", 3),
)


def table(n, rng, *, blur=0.0):
    """Rows of three columns; a share ``blur`` of them has an age that belongs to no ward."""
    ward = rng.choice(3, n, p=[0.2, 0.3, 0.5])
    means, sds = np.array([8.0, 80.0, 50.0]), np.array([4.0, 6.0, 15.0])
    age = means[ward] + sds[ward] * rng.normal(size=n)
    mixed = rng.random(n) < blur
    age[mixed] = rng.permutation(age[mixed])
    return np.stack([ward, age.round(), np.exp(rng.normal(size=n))], 1)


def compared(rows, samples, p=None, worth=None, columns=COLUMNS):
    p = np.full(len(samples), 1 / len(samples)) if p is None else p
    return differences(rows, samples, p, columns, 1 / (p**2).sum() if worth is None else worth)


def test_chance_alone_is_hardly_ever_found():
    # 0.01 of a false difference in each of 200 tables: 2 are expected at most, 7 have p < 0.005
    found = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        found += bool(compared(table(300, rng), table(200, rng)))
    assert found < 7


def test_a_blurred_pair_is_found_and_named():
    rng = np.random.default_rng(1)
    rows, samples = table(800, rng), table(600, rng, blur=0.6)
    (first, *_) = found = compared(rows, samples)
    assert {one.among.partition(" ")[0] for one in found} <= {"ward", "age"}
    child, limit = rows[:, 0] == 0, float(first.what.removeprefix("age is ").split(" ")[0])
    assert first.among == "ward is child"
    assert first.what == f"age is {limit:g} or less"
    assert first.data == pytest.approx((rows[child, 1] <= limit).mean())
    own = samples[samples[:, 0] == 0, 1]
    assert first.model == pytest.approx((own <= limit).mean())
    assert first.size > first.chance
    assert "cost" not in str(found)


def test_the_largest_difference_of_a_group_is_that_of_kolmogorov_and_smirnov():
    rng = np.random.default_rng(2)
    for shift in (0.8, -0.8):
        rows, samples = rng.normal(size=(300, 1)), shift + rng.normal(size=(200, 1))
        (found,) = compared(rows, samples, columns=[Column("x", 1)])
        assert found.among == "all rows"
        assert found.size == pytest.approx(ks_2samp(rows[:, 0], samples[:, 0]).statistic)


def test_weights_count_and_few_of_them_prove_nothing():
    # samples of N(0, 1), weighted to N(1, 1): log w = x - 1/2
    rng = np.random.default_rng(3)
    rows, x = 1 + rng.normal(size=(500, 1)), rng.normal(size=(4000, 1))
    p = np.exp(x[:, 0]) / np.exp(x[:, 0]).sum()
    column = [Column("x", 1)]
    assert compared(rows, x, columns=column)
    assert not compared(rows, x, p, columns=column)
    # the same samples are evidence only if they are independent
    assert not compared(rows, x, columns=column, worth=19.0)
    shifted = compared(rows, x, columns=column, worth=400.0)
    assert shifted[0].chance == pytest.approx(math.sqrt(math.log(200) / 2 * (1 / 500 + 1 / 400)))


def test_a_pair_is_listed_only_where_it_says_more_than_its_columns():
    rng = np.random.default_rng(4)
    rows, samples = table(2000, rng), table(2000, rng)
    samples[:, 2] *= 3.0
    (found,) = compared(rows, samples)
    assert found.among == "all rows"
    assert found.what.startswith("cost is ")
    samples[:, 1] = rng.permutation(samples[:, 1])
    among = [one.among for one in compared(rows, samples)]
    assert among == ["ward is child", "all rows"]  # the largest difference first


def test_shares_of_categories_are_compared_one_by_one():
    rng = np.random.default_rng(5)
    rows = rng.choice(4, 1000, p=[0.1, 0.4, 0.3, 0.2])[:, None].astype(float)
    samples = rng.choice(4, 1000, p=[0.1, 0.2, 0.5, 0.2])[:, None].astype(float)
    column = Column("w", 1, "category", levels=(0.0, 1.0, 2.0, 3.0))
    (found,) = compared(rows, samples, columns=[column])
    level = {"w is 1": 1, "w is 2": 2}[found.what]
    assert found.data == pytest.approx((rows == level).mean())
    assert found.model == pytest.approx((samples == level).mean())


def test_what_is_told():
    own = Difference("ward is child", "age is 17 or less", 1.0, 0.58, 0.2)
    assert told(None) == told(()) == ""
    assert told([Difference("all rows", "age is 17 or less", 0.2, 0.11, 0.05)]) == ""
    assert told([own]) == (
        "Its samples differ from the rows: among those whose ward is child, age is 17 or less for "
        "100% of the rows, and for 58% of the samples. Likelihoods hold all the same."
    )
    both = told([own, Difference("all rows", "age is 17 or less", 0.2, 0.4, 0.05)])
    assert "The report shows 1 more such difference." in both


def test_a_run_tells_where_its_samples_differ_and_what_one_gaussian_does(tmp_path, capsys):
    rng = np.random.default_rng(6)
    rows = table(900, rng)
    named = pandas.DataFrame(rows, columns=["ward", "age", "cost"])
    named["ward"] = np.array(WARDS)[rows[:, 0].astype(int)]
    named.to_csv(tmp_path / "a.csv", index=False)
    words = ["--iterations=2", "--walkers=64", "--held-out=32", "--width=8", "--renew=off",
             "--bracket.walkers=640", "--bracket.temperatures=10", "--bracket.equilibrate=10",
             "--score-matching=off"]  # fmt: skip
    base = ["--base=mixture", "--components=2", "--background=False"]
    where = ["--out", str(tmp_path / "r")]
    assert main(["train", str(tmp_path / "a.csv"), *where, *base, *words]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Its samples differ from the rows: among those whose " in said
    assert "One Gaussian" in said
    run = Run(tmp_path / "r")
    found = read_verdict(run, run.model()[0])
    assert found.differences[0].size > 0.1


def test_one_gaussian_is_that_of_the_standardised_columns(tmp_path):
    rng = np.random.default_rng(7)
    cost = np.exp(rng.normal(size=400))
    np.save(
        tmp_path / "a.npy", np.stack([cost, cost + rng.normal(size=400), rng.poisson(3, 400)], 1)
    )
    plain = load(tmp_path / "a.npy")
    own = {**known.SMALL, "base": "chosen"}
    session, data, bases = choose_start(choose(plain.shape, 280, "table", **own), plain, 0)
    run = Run.create(tmp_path / "r", data, session, bases=bases)
    assert run.scaling.margins is not None
    found = one_gaussian(run, data, splits_of(run, data))
    train, test = plain.train.double().numpy(), plain.test.double()
    cov = ledoit_wolf(train - train.mean(0), assume_centered=True)[0] + 1e-4 * np.eye(3)
    exact = -multivariate_normal(train.mean(0), cov).logpdf(test.numpy())
    exact -= plain.scaling.log_volume(test).numpy()
    assert found["test"].value == pytest.approx(exact.mean(), abs=2e-3)


def test_one_gaussian_is_not_told_twice(tmp_path):
    run, data, session = known.begun(tmp_path, base="full")
    run.save(session)
    verdict = evaluate_run(run, data)
    assert verdict.simplest is None
    assert verdict.differences == ()
