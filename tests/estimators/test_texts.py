"""DataFrames with columns of texts: the densities are those of the numbers of the categories."""

import pickle

import numpy as np
import pandas as pd
import pytest

from noneq.data.cells import Cells
from noneq.data.kinds import Column
from noneq.estimators import EnergyDensity
from noneq.estimators.frames import Frames

HEIGHT = {"ash": -2.0, "birch": 3.0, "oak": 0.0}
SHARE = {"ash": 0.2, "birch": 0.3, "oak": 0.5}


def trees(n=500, seed=0):
    """Kinds of trees of unequal shares, whose heights differ, and a size with an order."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(list(SHARE), n, p=list(SHARE.values()))
    height = np.array([HEIGHT[k] for k in kind]) + 0.5 * rng.normal(size=n)
    size = pd.Categorical(
        rng.choice(["S", "M", "L"], n, p=[0.2, 0.7, 0.1]), ["S", "M", "L", "XL"], ordered=True
    )
    return pd.DataFrame({"height": height, "kind": kind, "size": size, "old": rng.random(n) < 0.3})


def numbers(frame):
    return pd.DataFrame({
        "height": frame["height"],
        "kind": frame["kind"].map({"ash": 0, "birch": 1, "oak": 2}),
        "size": frame["size"].astype(object).map({"S": 0, "M": 1, "L": 2}),
        "old": frame["old"].astype(float),
    })  # fmt: skip


@pytest.fixture(scope="module")
def fitted():
    return EnergyDensity(max_iter=0, random_state=0).fit(trees())


def test_texts_have_the_probabilities_of_their_numbers(fitted):
    other = EnergyDensity(max_iter=0, random_state=0).fit(numbers(trees()))
    assert fitted.kinds_ == other.kinds_ == ("continuous", "category", "category", "category")
    new = trees(50, 1)
    assert np.array_equal(fitted.score_samples(new), other.score_samples(numbers(new)))
    drawn = fitted.sample(300, random_state=1)
    pd.testing.assert_frame_equal(
        numbers(drawn).astype(float), other.sample(300, random_state=1).astype(float)
    )


def test_probabilities_sum_to_one(fitted):
    height = np.linspace(-7, 8, 301)
    total = 0.0
    for kind in SHARE:
        for size in "SML":
            for old in (False, True):
                rows = pd.DataFrame({"height": height, "kind": kind, "size": size, "old": old})
                total += np.exp(fitted.score_samples(rows)).sum() * 15 / 300
    assert 0.9 < total < 1.01  # scores are means of logarithms over intervals, i.e. lower bounds


def test_samples_are_a_frame_of_the_same_columns(fitted):
    found, wanted = fitted.sample(2000, random_state=0), trees()
    assert found.dtypes.tolist() == wanted.dtypes.tolist()
    assert found.columns.tolist() == wanted.columns.tolist()
    shares = found["kind"].value_counts(normalize=True)
    for kind, share in SHARE.items():
        # 500 rows of fit and 2,000 samples: a standard error of at most 0.025
        assert shares[kind] == pytest.approx(share, abs=0.1)
        mean = found["height"][found["kind"] == kind].mean()
        assert mean == pytest.approx(HEIGHT[kind], abs=1.0)
    assert set(found["size"]) == {"S", "M", "L"}


def test_missing_texts_are_filled_in(fitted):
    rows = pd.DataFrame({
        "height": [3.0, np.nan], "kind": [None, "ash"], "size": ["M", None], "old": [True, False]
    })  # fmt: skip
    found = fitted.sample_conditional(rows, 200, random_state=0)
    assert found.shape == (2, 200, 4)
    assert (found[0, :, 1] == "birch").mean() > 0.8
    assert set(found[1, :, 1]) == {"ash"}
    assert set(found[1, :, 2]) <= {"S", "M", "L"}
    assert float(np.mean(found[1, :, 0].astype(float))) == pytest.approx(-2, abs=1)


def test_other_texts_are_refused_in_one_line(fitted):
    new = trees(9, 2)
    with pytest.raises(ValueError, match=r"column kind: 'elm' is none of the .*fitted to \(9 of 9 "
                       r"rows have such\): 'ash', 'birch', 'oak'$"):  # fmt: skip
        fitted.score_samples(new.assign(kind="elm"))
    with pytest.raises(ValueError, match="column size: 'XL' is none of the categories"):
        fitted.score_samples(new.assign(size="XL"))
    with pytest.raises(ValueError, match=r"with texts \(column kind\): give rows as a DataFrame"):
        fitted.score_samples(numbers(new).to_numpy())
    with pytest.raises(ValueError, match="feature names should match"):
        fitted.score_samples(new[["kind", "height", "size", "old"]])


@pytest.mark.parametrize(
    ("column", "told"),
    [
        ([f"tree {i}" for i in range(60)], "column new: text, different in every row: drop it"),
        (["a", 1] * 30, "column new holds texts and numbers: convert all of it to one"),
        (["a"] * 60, "column 'new' is constant"),
        (["a", None] * 30, "contains NaN"),
        ([None] * 60, "contains NaN"),
    ],
)
def test_what_is_no_category_is_refused(column, told):
    frame = trees(60).assign(new=pd.Series(column, dtype=object))
    with pytest.raises(ValueError, match=told):
        EnergyDensity(max_iter=0).fit(frame)


def test_many_texts_are_categories_if_their_user_says_so():
    names = pd.Series([f"tree {i % 30}" for i in range(60)])
    frame = trees(60).assign(new=names)
    with pytest.raises(ValueError, match="text, 30 different ones: drop it, or make it of"):
        Frames.of(frame)
    assert len(Frames.of(frame.assign(new=names.astype("category"))).categories[4]) == 30


def test_as_many_categories_as_there_are():
    # eight numbers beside each other would be a grid
    frame = trees(80).assign(new=[f"tree {i % 8}" for i in range(80)])
    model = EnergyDensity(max_iter=0, random_state=0).fit(frame)
    assert model.kinds_[4] == "category"
    assert set(model.sample(20, random_state=0)["new"]) <= set(frame["new"])


def test_integers_come_back_where_they_are_whole():
    frame = pd.DataFrame({"count": [3, 1], "year": [1, 2]}, index=[7, 9])
    cells = Cells((Column("", 1, "grid", step=1.0, counted=True), Column("", 2)))
    found = Frames.of(frame).frame(np.array([[2.0, 0.5], [0.0, 1.0]]), cells)
    assert found["count"].tolist() == [2, 0]
    assert [kind.kind for kind in found.dtypes] == ["i", "f"]
    assert Frames.of(np.zeros((2, 2))) is None


def test_it_survives_pickling(fitted):
    again = pickle.loads(pickle.dumps(fitted))
    assert again.sample(5, random_state=1).equals(fitted.sample(5, random_state=1))


def test_dates_are_refused_by_their_names():
    rows = trees().assign(planted=pd.date_range("2020-01-01", periods=500))
    with pytest.raises(ValueError, match=r"dates or times have no density here \(planted\)"):
        EnergyDensity().fit(rows)
    with pytest.raises(ValueError, match=r"\(age\)"):
        EnergyDensity().fit(trees().assign(age=pd.to_timedelta(np.arange(500), unit="D")))
