"""Where samples differ from rows: what chance alone does, and what it does not."""

import math

import known
import numpy as np
import pandas
import pytest
from scipy.stats import binom, multivariate_normal
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
    assert first.size > 5 * first.stderr
    assert "cost" not in str(found)


@pytest.mark.parametrize("shift", [0.8, -0.8])
def test_what_is_found_is_the_surest_of_the_shares(shift):
    # of n rows and m samples: the logarithm of a ratio of likelihoods, by scipy's binomial ones
    rng = np.random.default_rng(2)
    rows, samples = rng.normal(size=(300, 1)), shift + rng.normal(size=(200, 1))
    (found,) = compared(rows, samples, columns=[Column("x", 1)])
    assert found.among == "all rows"
    cut = float(found.what.removeprefix("x is ").removesuffix(" or less"))

    def evidence(cut):
        k, m = int((rows <= cut).sum()), int((samples <= cut).sum())
        own = binom.logpmf(k, 300, k / 300) + binom.logpmf(m, 200, m / 200)
        return own - binom.logpmf(k, 300, (k + m) / 500) - binom.logpmf(m, 200, (k + m) / 500)

    assert evidence(cut) > 0.8 * max(map(evidence, np.concatenate([rows, samples])[:, 0]))
    k, m = (rows <= cut).mean(), (samples <= cut).mean()
    assert (found.data, found.model) == pytest.approx((k, m), abs=0.01)
    error = math.hypot(math.sqrt(k * (1 - k) / 300), math.sqrt(m * (1 - m) / 200))
    assert found.stderr == pytest.approx(error, rel=0.05)


def test_a_group_without_any_such_row_is_enough():
    # no row of 60 children is above 30, and a sixth of the samples: p = 1e-4, too much for chance
    # only since the shares are near 0, which a distance of distributions does not see
    rng = np.random.default_rng(8)
    rows, samples = table(2000, rng), table(8000, rng)
    child = samples[:, 0] == 0
    samples[child & (rng.random(8000) < 0.12), 1] = 60.0
    (first, *_) = compared(rows, samples)
    assert first.among == "ward is child"
    assert first.data == pytest.approx(round(first.data))  # 0 or 1
    assert first.size == pytest.approx(0.12, abs=0.03)


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
    few, many = (compared(rows, x, columns=column, worth=n)[0].stderr for n in (200.0, 400.0))
    assert few > 1.1 * many


def test_a_gap_that_the_model_fills_is_found():
    # a tenth of the samples in the gap between two modes, where shares up to a number are alike
    rng = np.random.default_rng(9)
    rows = rng.normal(size=(2000, 1)) + rng.choice([0.0, 20.0], (2000, 1))
    samples = rng.normal(size=(4000, 1)) + rng.choice([0.0, 20.0], (4000, 1))
    samples[:400] = rng.uniform(8.0, 12.0, (400, 1))
    (found,) = compared(rows, samples, columns=[Column("x", 1)])
    low, high = map(float, found.what.removeprefix("x is above ").split(", up to "))
    assert 2 < low < 11
    assert 9 < high < 18
    assert found.data < 0.01 < 0.02 < found.model


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
    assert "The report lists 1 more. Likelihoods" in both


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
    # the rows have two modes, and the base is one Gaussian: the samples are blurred
    assert verdict.differences[0].size > 0.3
